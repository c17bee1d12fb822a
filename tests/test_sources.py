import os
import socket
from pathlib import Path

import pytest

from geodamage.errors import SceneReadError
from geodamage.sources import allow_open_files, find, read_text
from tests.conftest import make_pixels


def names(found):
    return [Path(name).name for name in found]


@pytest.fixture
def folder(raster, tmp_path):
    for name in ("b.tif", "a.TIFF", "c.TIF"):
        raster(f"tiles/{name}", make_pixels(8, 8))
    (tmp_path / "tiles/deep.tif.d").mkdir()
    (tmp_path / "tiles/notes.txt").write_text("x")
    return tmp_path / "tiles"


def test_find_one_file(folder):
    assert find(folder / "b.tif") == [str(folder / "b.tif")]


def test_find_in_a_folder(folder):
    assert names(find(folder)) == ["a.TIFF", "b.tif", "c.TIF"]


def test_find_by_glob(folder):
    assert names(find(f"{folder}/[bc].*")) == ["b.tif", "c.TIF"]
    with pytest.raises(SceneReadError, match="no file matches"):
        find(f"{folder}/z*.tif")


def test_find_in_folders_of_folders(raster, tmp_path):
    paths = [raster(f"quads/{name}/{name}1.tif", make_pixels(2, 2)) for name in ("02", "03")]
    paths.append(raster("quads/0.tif", make_pixels(2, 2)))
    assert sorted(find(tmp_path / "quads" / "**" / "*.tif")) == sorted(map(str, paths))
    paths[-1].unlink()
    with pytest.raises(SceneReadError, match=r"all below this one: .*\*\*/\*\.tif, in quotes"):
        find(tmp_path / "quads")


def test_find_prefers_a_file_to_a_glob(raster):
    path = raster("odd [1]*.tif", make_pixels(8, 8))
    assert find(path) == [str(path)]


def test_find_by_list(folder):
    (folder / "list.txt").write_text("# tiles\n\nc.TIF\n../tiles/b.tif\n")
    assert names(find(f"@{folder / 'list.txt'}")) == ["c.TIF", "b.tif"]
    (folder / "list.txt").write_text("# none\n")
    with pytest.raises(SceneReadError, match="names no file"):
        find(f"@{folder / 'list.txt'}")
    (folder / "list.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(SceneReadError, match="not a list of files"):
        find(f"@{folder / 'list.txt'}")


def test_find_in_a_sequence(folder):
    assert names(find([folder / "c.TIF", str(folder / "b.tif")])) == ["c.TIF", "b.tif"]
    with pytest.raises(SceneReadError, match="no image given"):
        find([])


def test_find_remote_only_when_allowed():
    url = "https://example.org/pre.tif?x=1"
    with pytest.raises(SceneReadError, match="--allow-remote"):
        find(url)
    assert find(url, allow_remote=True) == ["/vsicurl/https://example.org/pre.tif?x=1"]
    assert find("s3://bucket/pre.tif", allow_remote=True) == ["/vsis3/bucket/pre.tif"]
    with pytest.raises(SceneReadError, match="ftp:// is not read"):
        find("ftp://example.org/pre.tif", allow_remote=True)


@pytest.mark.parametrize(
    "name",
    [
        "/vsicurl/http://127.0.0.1:9/x.tif",
        "/vsizip/x.zip/x.tif",
        "/VSIMEM/x.tif",
        "GTIFF_DIR:1:/etc/passwd",
        "MEM:::DATAPOINTER=1",
        "<VRTDataset/>",
        "a\0b.tif",
        "missing.tif",
        "zip://x.zip!x.tif",
    ],
)
@pytest.mark.parametrize("allow_remote", [False, True])
def test_find_refuses_what_is_not_a_path(name, allow_remote):
    with pytest.raises(SceneReadError) as error:
        find(name, allow_remote=allow_remote)
    assert "\n" not in str(error.value)


@pytest.mark.timeout(30)
def test_find_refuses_what_is_not_a_file_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "dangling.tif").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
    (tmp_path / "empty.tif").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.tif"))
        for name, why in [
            ("pipe.tif", "a pipe"),
            ("folder.tif", "no .tif"),
            ("dangling.tif", "leads nowhere"),
            ("loop.tif", "leads nowhere"),
            ("empty.tif", "empty"),
            ("s.tif", "a socket"),
            ("/dev/zero", "a device"),
        ]:
            with pytest.raises(SceneReadError, match=why):
                find(str(tmp_path / name))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_find_refuses_an_unreadable_file(raster):
    path = raster("secret.tif", make_pixels(8, 8))
    path.chmod(0)
    with pytest.raises(SceneReadError, match="permission denied"):
        find(path)


def test_a_text_has_a_length_and_an_encoding(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\n")
    assert read_text(path) == "a,b\n"
    with pytest.raises(SceneReadError, match=r"a\.csv: over 0 MB; is it the right file"):
        read_text(path, most=3)
    path.write_bytes(b"\xff")
    with pytest.raises(SceneReadError, match="not a text in UTF-8"):
        read_text(path)


def test_the_limit_of_open_files_is_raised_or_named(monkeypatch):
    resource = pytest.importorskip("resource")
    limits = [1024, 4096]

    def set_limits(kind, given):
        limits[:] = given

    monkeypatch.setattr(resource, "getrlimit", lambda kind: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", set_limits)
    allow_open_files(10)
    assert limits == [1024, 4096]
    allow_open_files(500)
    assert limits == [3512, 4096]
    with pytest.raises(SceneReadError, match=r"5,000 files .* only 4,096 .*ulimit"):
        allow_open_files(5_000)
