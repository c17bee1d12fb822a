import json
import os
import shutil
import sys
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from rasterio._err import CPLE_AppDefinedError
from rasterio.errors import RasterioIOError

import geodamage.output.publication
from geodamage.errors import (
    MissingExtraError,
    OptionError,
    OutputError,
    OutputExistsError,
    SceneReadError,
)
from geodamage.output.publication import (
    RASTER_EXTENSIONS,
    VECTOR_EXTENSIONS,
    Publication,
    check_free_space,
    check_output,
    final_path,
    output_errors,
    read_sidecar,
    sidecar_path,
)


class FreeSpace(NamedTuple):
    free: int


def publish(path, text, facts=None, *, overwrite=False):
    with Publication(overwrite=overwrite) as publication:
        publication.partial(path).write_text(text)
        if facts is not None:
            publication.sidecar(path, facts)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("extension", VECTOR_EXTENSIONS)
def test_check_output_knows_the_formats_and_leaves_nothing(tmp_path, extension):
    path = tmp_path / f"buildings{extension}"
    assert check_output(str(path)) == path
    assert names(tmp_path) == []


def test_check_output_lists_the_formats(tmp_path):
    with pytest.raises(OptionError, match=r"'\.shp'; use \.geojson, .*\.parquet"):
        check_output(tmp_path / "buildings.shp")
    with pytest.raises(OptionError, match=r"use \.tif, \.tiff"):
        check_output(tmp_path / "grades.png", extensions=RASTER_EXTENSIONS)


def test_check_output_refuses_what_is_no_file(tmp_path):
    folder = tmp_path / "folder.geojson"
    folder.mkdir()
    with pytest.raises(OptionError, match="is a folder"):
        check_output(folder, overwrite=True)
    with pytest.raises(OutputError, match="there is no folder"):
        check_output(tmp_path / "missing" / "b.geojson")
    with pytest.raises(OptionError, match="shorter"):
        check_output(tmp_path / f"{'x' * 250}.geojson")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_check_output_refuses_a_pipe_at_once(tmp_path):
    pipe = tmp_path / "pipe.geojson"
    os.mkfifo(pipe)
    with pytest.raises(OptionError, match="a device or a pipe"):
        check_output(pipe, overwrite=True)


def test_check_output_refuses_an_input_by_name_and_by_inode(tmp_path):
    footprints = tmp_path / "footprints.geojson"
    with pytest.raises(OptionError, match="is also an input"):
        check_output(footprints, inputs=[footprints])
    footprints.touch()
    link = tmp_path / "other.geojson"
    link.hardlink_to(footprints)
    with pytest.raises(OptionError, match="is also an input"):
        check_output(link, inputs=[tmp_path / "pre.tif", footprints], overwrite=True)
    with pytest.raises(OptionError, match="is also an input"):
        check_output(tmp_path / "a.gpkg", inputs=[tmp_path / "a.gpkg.json"], overwrite=True)


@pytest.mark.parametrize("there", ["b.gpkg", "b.gpkg.json", "b.gpkg-journal"])
def test_check_output_keeps_what_is_there(tmp_path, there):
    (tmp_path / there).touch()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        check_output(tmp_path / "b.gpkg")
    check_output(tmp_path / "b.gpkg", overwrite=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_check_output_tries_the_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="choose a folder you may write to"):
        check_output(tmp_path / "b.geojson")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write to")
def test_check_output_tries_the_folder_as_root():
    with pytest.raises(OutputError, match=r"^cannot write /proc/self/b\.geojson: "):
        check_output("/proc/self/b.geojson")


def test_check_output_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(geodamage.output.publication, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"\.\[parquet\]"):
        check_output(tmp_path / "b.parquet")


def test_check_free_space_gives_numbers(tmp_path):
    check_free_space(tmp_path, 1)
    with pytest.raises(OutputError, match=r"1,000,000,000,000 MB .* [\d,]+ MB"):
        check_free_space(tmp_path, 10**18)


def test_publication_adds_up_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: FreeSpace(100))
    with Publication() as publication:
        publication.partial(tmp_path / "a.gpkg", bytes_needed=60)
        with pytest.raises(OutputError, match="are free"):
            publication.partial(tmp_path / "b.tif", bytes_needed=60)
    assert names(tmp_path) == ["a.gpkg"]


def test_output_errors_says_what_to_do(tmp_path):
    with pytest.raises(OutputError) as caught, output_errors(tmp_path / ".a.tif.1-abcdef.partial"):
        raise OSError(28, "whatever")
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'a.tif'}: No space left on device;"
        " free some space or choose another folder"
    )
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(SceneReadError), output_errors(tmp_path):
        raise SceneReadError("a block is damaged")


def test_output_errors_goes_back_to_the_cause(tmp_path):
    cause = CPLE_AppDefinedError(3, 1, "TIFFRead\n failed")
    wanted = pytest.raises(OutputError, match="TIFFRead failed; check the free space")
    with wanted, output_errors(tmp_path / "a.tif"):
        raise RasterioIOError("See previous exception for details.") from cause


def test_output_errors_tells_a_full_disk_from_any_error(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: FreeSpace(0))
    with pytest.raises(OutputError, match="No space left"), output_errors(tmp_path / "a.tif"):
        raise RasterioIOError("write failed\nsomehow")


def test_partial_is_hidden_from_globs(tmp_path):
    path = tmp_path / "buildings.geojson"
    with Publication() as publication:
        partial = publication.partial(path)
        assert partial.exists()
        assert partial.parent == tmp_path
        assert final_path(partial) == path
        assert not list(tmp_path.rglob("*.geojson"))
    assert names(tmp_path) == ["buildings.geojson"]


def test_partial_shows_at_once_that_a_folder_refuses(tmp_path):
    with pytest.raises(OutputError, match="cannot write"), Publication() as publication:
        publication.partial(tmp_path / "missing" / "a.gpkg")


def test_publication_writes_the_sidecar_last(tmp_path, monkeypatch):
    order = []
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda path, target: (order.append(target.name), replace(path, target))[1]
    )
    with Publication() as publication:
        publication.partial(tmp_path / "a.gpkg")
        publication.sidecar(tmp_path / "a.gpkg", {})
        publication.partial(tmp_path / "a.tif")
    assert order == [".a.gpkg.publishing", "a.gpkg", "a.tif", "a.gpkg.json"]


def test_sidecar_is_valid_json_whatever_it_is_given(tmp_path):
    facts = {
        "version": "1",
        "gsd": np.float32(0.5),
        "missing": float("nan"),
        "limits": (np.inf, np.int64(3)),
        "path": tmp_path,
        "date": date(2024, 1, 2),
        "nested": {1: np.array([1.5, np.nan])},
    }
    publish(tmp_path / "b.geojson", "{}", facts)
    text = (tmp_path / "b.geojson.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    read = read_sidecar(tmp_path / "b.geojson")
    assert list(read) == [*facts, "result_sha256"]
    assert read["limits"] == [None, 3]
    assert read["nested"] == {"1": [1.5, None]}
    assert (read["gsd"], read["missing"], read["date"]) == (0.5, None, "2024-01-02")
    assert text == json.dumps(read, indent=2) + "\n"


def test_read_sidecar_refuses(tmp_path):
    with pytest.raises(OutputError, match="not a complete result"):
        read_sidecar(tmp_path / "b.geojson")
    for text in ("{", "[]"):
        sidecar_path(tmp_path / "b.geojson").write_text(text)
        with pytest.raises(OutputError, match="run again"):
            read_sidecar(tmp_path / "b.geojson")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.tif"
    publish(path, "old", {"run": 1})
    before = names(tmp_path)

    def fail():
        with Publication(overwrite=True) as publication:
            partial = publication.partial(path)
            for ending in ("-journal", "-wal", ".aux.xml", ".msk", ".ovr", ".working"):
                Path(f"{partial}{ending}").touch()
            Path(f"{partial}.folder").mkdir()
            (Path(f"{partial}.folder") / "buildings.fgb").touch()
            publication.sidecar(path, {"run": 2})
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == before
    assert path.read_text() == "old"
    assert read_sidecar(path)["run"] == 1


def test_a_generator_that_is_closed_leaves_nothing(tmp_path):
    def run():
        with Publication() as publication:
            yield publication.partial(tmp_path / "a.tif")

    running = run()
    next(running)
    assert len(names(tmp_path)) == 2  # with its lock
    running.close()
    assert names(tmp_path) == []


def test_overwrite_replaces_and_removes_what_drivers_left(tmp_path):
    path = tmp_path / "a.gpkg"
    publish(path, "old", {"run": 1})
    for ending in ("-journal", ".aux.xml"):
        Path(f"{path}{ending}").touch()
    with pytest.raises(OutputExistsError):
        publish(path, "new")
    assert path.read_text() == "old"
    publish(path, "new", overwrite=True)
    assert names(tmp_path) == ["a.gpkg"]
    assert path.read_text() == "new"


def test_an_old_sidecar_never_stands_beside_a_new_file(tmp_path, monkeypatch):
    path = tmp_path / "a.gpkg"
    publish(path, "old", {"run": 1})

    replace = Path.replace

    def fail(source, target):
        if target.name.endswith(".publishing"):
            return replace(source, target)
        raise OSError(5, "as if the disk went")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError):
        publish(path, "new", {"run": 2}, overwrite=True)
    assert names(tmp_path) == ["a.gpkg"]
    assert path.read_text() == "old"


def test_what_appears_during_the_run_is_kept(tmp_path):
    path = tmp_path / "a.gpkg"
    publication = Publication()
    publication.partial(path)
    path.write_text("of another run")
    with pytest.raises(OutputExistsError), publication:
        pass
    assert names(tmp_path) == ["a.gpkg"]
    assert path.read_text() == "of another run"


@pytest.mark.skipif(sys.platform == "win32", reason="names with quotes and newlines")
@pytest.mark.parametrize("name", ["a b'\"\n.gpkg", "-x.gpkg", "été🏠.gpkg", "[a]*.gpkg"])
def test_odd_names(tmp_path, name):
    publish(check_output(tmp_path / name), "text", {})
    assert names(tmp_path) == sorted([name, f"{name}.json"])
