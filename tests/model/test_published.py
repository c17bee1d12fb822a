"""The list of published weights says what can be done with each."""

import re
import shlex

import pytest

from geodamage.cli.models import import_command
from geodamage.foreign.convention import built_in
from geodamage.model.published import find_published, list_published


@pytest.mark.parametrize("weights", list_published(), ids=lambda weights: weights.name)
def test_every_entry_is_whole(weights):
    assert len(weights.files) == len(weights.bytes) == len(weights.sha256)
    assert all(re.fullmatch(r"[0-9a-f]{64}|", sha256) for sha256 in weights.sha256)
    assert weights.licence
    assert "://" not in weights.source
    program, *words = shlex.split(weights.command)
    assert program == "geodamage"
    given = import_command.make_context("import", words[2:], resilient_parsing=True).params
    assert given["output"]
    assert all(file in weights.command for file in weights.files)


def test_a_file_is_found_by_its_hash():
    weights = next(w for w in list_published() if w.name.startswith("ChangeOS"))
    assert find_published(weights.sha256[0]) is weights
    assert find_published("") is None


def test_the_conventions_know_the_same_hashes():
    listed = {sha256 for weights in list_published() for sha256 in weights.sha256}
    stated = {sha256 for convention in built_in().values() for sha256 in convention.sha256}
    assert stated <= listed
