import os
import socket
from pathlib import Path

import geopandas as gpd
import pytest

from tests.bad_inputs.attempts import row
from tests.conftest import (
    ROOFS,
    UTM,
    listing,
    make_scene,
)


def kinds(folder):
    """Make what is no file: (row, path, what an error says of it)."""
    (folder / "folder.tif").mkdir()
    os.mkfifo(folder / "pipe.tif")
    (folder / "dangling.tif").symlink_to(folder / "nowhere")
    (folder / "loop.tif").symlink_to(folder / "loop.tif")
    return {
        "row30-folder": folder / "folder.tif",
        "row31-pipe": folder / "pipe.tif",
        "row32-device": Path("/dev/zero"),
        "row32-socket": folder / "socket.tif",
        "row33-dangling": folder / "dangling.tif",
        "row33-loop": folder / "loop.tif",
    }


NAMES = (
    "row30-folder", "row31-pipe", "row32-device", "row32-socket", "row33-dangling", "row33-loop",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "role", ["pre", "post", "list", "--footprints", "--aoi", "--model", "member"]
)
def test_what_is_no_file_is_refused_at_once(attempts, name, role):
    path = kinds(attempts.folder)[name]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(attempts.folder / "socket.tif"))
        if role in ("pre", "post"):
            attempts.refuse(**{role: path}, words=[path])
        elif role == "list":
            attempts.refuse(pre=f"@{path}", words=[path])
        elif role == "--model":
            link = attempts.folder / "m.onnx"
            link.symlink_to(path)
            attempts.refuse("--model", link, words=[link], code=5)
        elif role == "member":
            (attempts.folder / "m.onnx").symlink_to(path)
            (attempts.folder / "m.toml").write_text('[[member]]\nfile = "m.onnx"\n')
            words = [attempts.folder / "m.onnx"]
            attempts.refuse("--model", attempts.folder / "m.toml", words=words, code=5)
        else:
            attempts.refuse(role, path, words=[path])


@pytest.mark.parametrize("role", ["-o", "--raster", "--probabilities"])
@pytest.mark.parametrize(
    ("name", "code"),
    [
        row(30, "row30-folder", 2, name="folder"),
        row(31, "row31-pipe", 2, name="pipe"),
        row(32, "row32-device", 2, name="device"),
        row(33, "row33-dangling", 6, name="dangling"),
        row(33, "row33-loop", 6, name="loop"),
    ],
)
def test_an_output_that_is_no_file_is_refused_at_once(attempts, role, name, code):
    path = kinds(attempts.folder)[name]
    extension = ".geojson" if role == "-o" else ".tif"
    target = attempts.folder / f"target{extension}"
    target.symlink_to(path)
    before = listing(attempts.folder)
    if role == "-o":
        attempts.refuse(output=target, words=[target], code=code)
    else:
        attempts.refuse(role, target, words=[target], code=code)
    assert listing(attempts.folder) == before


def test_row37_an_output_that_is_an_input_is_refused(attempts):
    folder = attempts.folder / "in"
    attempts.pair = make_scene(folder)
    footprints = folder / "f.gpkg"
    gpd.GeoDataFrame(geometry=[ROOFS[0].polygon], crs=UTM).to_file(footprints)
    (folder / "link.tif").symlink_to(folder / "pre.tif")
    (folder / "list.txt").write_text("pre.tif\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    words, code = ["is also an input"], 2
    pre, post = attempts.pair
    attempts.refuse("--raster", pre, "--overwrite", words=[pre, *words], code=code)
    attempts.refuse("--probabilities", post, "--overwrite", words=[post, *words], code=code)
    attempts.refuse("--raster", folder / "link.tif", "--overwrite", words=words, code=code)
    attempts.refuse("--raster", pre, "--overwrite", pre=folder, words=words, code=code)
    attempts.refuse("--raster", pre, "--overwrite", pre=f"{folder}/p?e.tif", words=words, code=code)
    listed = f"@{folder / 'list.txt'}"
    attempts.refuse("--raster", pre, "--overwrite", pre=listed, words=words, code=code)
    for option in ("--footprints", "--aoi"):
        options = option, footprints, "--overwrite"
        attempts.refuse(*options, output=footprints, words=words, code=code)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
