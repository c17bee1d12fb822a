# The commands of .ci/run, one by one. They use the Python environment that is active.
.PHONY: help fast test lint forms format types coverage prose links docs package plugin

help: ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

fast: ## Tests that take seconds
	python -m pytest -m "not slow" -n auto --ignore=tests/qgis

test: ## All tests that this machine can run
	python -m pytest -n auto

lint: forms ## Rules and format
	ruff check .
	ruff format --check .
	bandit -q -r qgis_plugin/geodamage_qgis

forms: ## The forge's workflow and issue forms, and the citation, against their schemas
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml
	check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

format: ## Format the code
	ruff check --fix .
	ruff format .

types: ## Types, strict
	mypy

coverage: ## Branch coverage of the fast tests, and whether it has fallen
	coverage erase
	coverage run -m pytest -m "not slow" -n 0 -q --ignore=tests/qgis
	coverage report
	mkdir -p build
	coverage json -q -o build/coverage.json
	python -m benchmarks.coverage build/coverage.json

prose: ## Sentences of the docs, and the ten longest
	python -m benchmarks.readability

links: ## Addresses in the repository, asked for over the network
	python -m benchmarks.links --online

docs: prose ## The site, strictly
	python -m mkdocs build --strict

package: ## Wheel and sdist, checked
	rm -rf dist
	python -m build
	python -m twine check --strict dist/*

plugin: ## The plugin as a ZIP for QGIS
	python qgis_plugin/package.py
