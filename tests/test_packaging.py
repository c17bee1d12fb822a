"""The Dockerfile, the recipe of conda and the page of Kubernetes fit the project."""

import re
import tomllib
from pathlib import Path

import jinja2
import pytest
import yaml

from geodamage._version import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
#: Packages that conda-forge calls otherwise, and those that pip takes by an extra.
CONDA = {"opencv-python-headless": "py-opencv", "geopandas": "geopandas-base"}


@pytest.fixture(scope="module")
def recipe() -> dict:
    text = (ROOT / "packaging" / "conda" / "meta.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(jinja2.Template(text).render(PYTHON="python"))


def needs(text: str) -> tuple[str, str]:
    """Return the name and the bound of a requirement, however it is written."""
    name, _, bound = text.replace(" ", "").partition(">=")
    return name, bound


def test_the_recipe_needs_what_the_project_needs(recipe):
    wanted = {CONDA.get(name, name): bound for name, bound in map(needs, PROJECT["dependencies"])}
    wanted |= {"python": needs(PROJECT["requires-python"])[1]}
    runtime = next(text for text in PROJECT["optional-dependencies"]["cpu"] if "runtime" in text)
    wanted |= dict([needs(runtime)])
    assert dict(map(needs, recipe["requirements"]["run"])) == wanted
    assert recipe["package"]["version"] == __version__
    assert recipe["about"]["license"] == PROJECT["license"]
    assert sorted(recipe["about"]["license_file"]) == sorted(PROJECT["license-files"])
    (script,) = PROJECT["scripts"].items()
    assert recipe["build"]["entry_points"] == [" = ".join(script)]


def test_the_image_is_built_in_two_stages_and_runs_as_a_user():
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 2
    assert len(set(stages)) == 1
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "pip install" not in last
    user = re.search(r"^USER (\w+)$", last, re.MULTILINE)[1]
    assert user != "root"
    assert f"useradd --create-home --uid 1000 {user}" in last
    assert last.index("USER") < last.index("ENTRYPOINT")


def test_the_image_has_extras_and_files_that_are_there():
    extras = re.search(r"^ARG EXTRAS=(\S+)$", DOCKERFILE, re.MULTILINE)[1].split(",")
    assert set(extras) <= PROJECT["optional-dependencies"].keys()
    assert "cluster" in extras  # workers of Dask are of this image
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists()
            assert f"!{name}" in ignored


def test_kubernetes_runs_this_image():
    text = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    cluster = yaml.safe_load(block)["spec"]
    built = f"your-registry/geodamage:{__version__}"
    assert f"docker build -t {built} ." in text
    for role in ("worker", "scheduler"):
        (container,) = cluster[role]["spec"]["containers"]
        assert container["image"] == built
        # The image starts geodamage; a pod of Dask has to start Dask instead.
        assert container["command"] == ["dask", role]
    mounted = {
        mount["name"] for mount in cluster["worker"]["spec"]["containers"][0]["volumeMounts"]
    }
    assert mounted == {volume["name"] for volume in cluster["worker"]["spec"]["volumes"]}
