import os

import pytest

from geodamage.model import kept
from geodamage.model.kept import make_folder, read_sealed, write_sealed


def test_what_was_sealed_is_read_again(tmp_path):
    place = tmp_path / "folder" / "a.openvino"
    assert read_sealed(place) is None
    assert write_sealed(place, b"compiled")
    assert read_sealed(place) == b"compiled"
    assert [path.name for path in place.parent.iterdir()] == ["a.openvino"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:-1],
        lambda whole: whole + b"\0",
        lambda whole: whole[:-1] + b"D",
        lambda whole: b"G" + whole[1:],
    ],
)
def test_what_is_damaged_is_not_there(tmp_path, damage):
    place = tmp_path / "a.openvino"
    write_sealed(place, b"compiled")
    place.write_bytes(damage(place.read_bytes()))
    assert read_sealed(place) is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_what_somebody_else_wrote_is_not_there(tmp_path, monkeypatch):
    place = tmp_path / "a.openvino"
    write_sealed(place, b"compiled")
    monkeypatch.setattr(os, "getuid", lambda: place.stat().st_uid + 1)
    assert read_sealed(place) is None


def test_what_is_too_large_is_neither_written_nor_read(tmp_path, monkeypatch):
    place = tmp_path / "a.openvino"
    write_sealed(place, b"compiled")
    monkeypatch.setattr(kept, "LARGEST_BYTES", 7)
    assert read_sealed(place) is None
    assert not write_sealed(tmp_path / "b.openvino", b"compiled")
    assert not (tmp_path / "b.openvino").exists()


def test_the_newest_files_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MOST_FILES", 2)
    for number in range(4):
        write_sealed(tmp_path / f"{number}.openvino", b"compiled")
        os.utime(tmp_path / f"{number}.openvino", (number, number))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["2", "3"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    assert make_folder(tmp_path / "made" / "here")
    assert not make_folder(tmp_path / "file" / "folder")
    assert not write_sealed(tmp_path / "file" / "folder" / "a.openvino", b"compiled")
