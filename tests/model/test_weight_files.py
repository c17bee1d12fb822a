"""Files of weights are known before torch is loaded, which takes most of a gigabyte."""

import pickle
import zipfile

import pytest

from geodamage.errors import CheckpointError
from geodamage.model.weight_files import find_weights

MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


@pytest.mark.parametrize("start", [b"\x80\x02", b"\x80\x04\x95\r" + bytes(7)])
def test_checkpoints_of_old_are_known(tmp_path, start):
    path = tmp_path / "a.pth"
    path.write_bytes(start + MAGIC + b"\x80\x02M\xe9\x03.")
    assert find_weights(path) == path


@pytest.mark.parametrize("member", ["archive/data.pkl", "model/data.pkl"])
def test_checkpoints_of_today_are_known(tmp_path, member):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"")
    assert find_weights(path) == path


def test_other_pickles_and_archives_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x" * 1000)
    whole = path.read_bytes()
    for content in (whole, whole[:-10], b"PK\3\4", pickle.dumps({"a": 1}), pickle.dumps([], 5)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="no PyTorch checkpoint, or a damaged one"):
            find_weights(path)
