import json
import zipfile

import numpy as np
import pytest

from geodamage.adaptation.feature_file import FeatureWriter, read_features
from geodamage.errors import AdaptationError, SceneReadError

FEATURES = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float16)
IDS = ["a", "b", "ü c", "d" * 40, "e"]


def write(path, rows=(slice(0, 2), slice(2, 5))):
    writer = FeatureWriter(path)
    said = np.full((5, 4), 0.25)
    said[3] = np.nan
    for row in rows:
        writer.add(IDS[row], FEATURES[row], said[row], np.arange(10.0).reshape(5, 2)[row])
    writer.finish({"network": "drawn"})
    return path


def change(path, name, content):
    """Return a file that has another member."""
    with zipfile.ZipFile(path) as archive:
        members = {entry: archive.read(entry) for entry in archive.namelist()}
    members[f"{name}.npy"] = content
    with zipfile.ZipFile(path, "w") as archive:
        for entry, blob in members.items():
            archive.writestr(entry, blob)
    return path


def head(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_what_was_added_comes_back(tmp_path):
    found = read_features(write(tmp_path / "f.npz"))
    assert found.building_id.tolist() == IDS
    np.testing.assert_array_equal(found.features, FEATURES)
    assert found.features.dtype == np.float16
    assert np.isnan(found.probabilities).any(1).tolist() == [False, False, False, True, False]
    np.testing.assert_array_equal(found.place, np.arange(10).reshape(5, 2))
    assert found.about == {"format": 1, "network": "drawn"}


def test_numpy_reads_it_too(tmp_path):
    with np.load(write(tmp_path / "f.npz"), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["features"], FEATURES)
        assert json.loads(str(arrays["about"]))["network"] == "drawn"


def test_a_result_without_buildings_has_a_file(tmp_path):
    found = read_features(write(tmp_path / "f.npz", rows=()))
    assert len(found.building_id) == len(found.features) == 0


PICKLED = head(b"{'descr': '|O', 'fortran_order': False, 'shape': (5,), }\n")
HUGE = head(b"{'descr': '<f2', 'fortran_order': False, 'shape': (99999999999999, 6), }\n")
OTHER = head(b"{'descr': '<f2', 'fortran_order': False, 'shape': (4, 6), }\n") + b"\0" * 48
INFINITE = head(b"{'descr': '<f2', 'fortran_order': False, 'shape': (5, 6), }\n") + b"\0\x7c" * 30


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("features", PICKLED, "is not a feature file"),
        ("features", HUGE, "is cut off"),
        ("features", b"", "is not a feature file"),
        ("features", OTHER, "do not fit together"),
        ("features", INFINITE, "not finite"),
        ("about", head(b"{'descr': '<U2', 'fortran_order': False, 'shape': (), }\n") + b"\0" * 8,
         "is not a feature file"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_refused(tmp_path, name, content, why):
    path = change(write(tmp_path / "f.npz"), name, content)
    with pytest.raises(AdaptationError, match=why):
        read_features(path)


def test_a_packed_member_is_refused(tmp_path):
    path = write(tmp_path / "f.npz")
    packed = tmp_path / "p.npz"
    with np.load(path) as arrays:
        np.savez_compressed(packed, **arrays)
    with pytest.raises(AdaptationError, match="packed"):
        read_features(packed)


@pytest.mark.parametrize("content", [b"no archive", b"PK\x03\x04"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "f.npz"
    path.write_bytes(content)
    with pytest.raises(AdaptationError, match="is not a feature file"):
        read_features(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SceneReadError, match="no such file"):
        read_features(tmp_path / "f.npz")


@pytest.mark.parametrize("text", [b"{'descr': '<f2', (", b"{'descr': [[, }", b"\xff" * 20])
def test_a_head_that_cannot_be_parsed_is_refused(tmp_path, text):
    path = change(write(tmp_path / "f.npz"), "features", head(text + b"\n"))
    with pytest.raises(AdaptationError, match="is not a feature file"):
        read_features(path)
