"""Remote imagery, from a server on this machine."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from geodamage.errors import SceneError
from geodamage.scene.image import open_image
from geodamage.scene.tiles import open_tile
from geodamage.windows import Window
from tests.conftest import listing, make_pixels, make_raster, run_command

SCRIPT = Path(__file__).parents[1] / "range_server.py"


class Server(NamedTuple):
    """A server that answers for the files of a folder."""

    address: str
    folder: Path
    log: Path

    @property
    def asked(self) -> list[str]:
        """What it was asked: method, path, range."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture(scope="module")
def serving(tmp_path_factory, pair) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    for path in pair:
        shutil.copy(path, folder)
    log = tmp_path_factory.mktemp("log") / "asked.txt"
    command = [sys.executable, SCRIPT, folder, log]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        port = process.stdout.readline().strip()
        yield Server(f"127.0.0.1:{port}", folder, log)
        process.kill()


@pytest.fixture
def server(serving, monkeypatch) -> Server:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    serving.log.unlink(missing_ok=True)
    return serving


def assess(folder, model, *arguments):
    output = folder / "b.geojson"
    return output, run_command("assess", *arguments, "-o", output, "--model", model)


def check_refusal(result, word, folder):
    assert result.exit_code == 4, result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith("geodamage: error: ")
    assert result.stderr.count("geodamage: error: ") == 1
    assert word in line
    assert listing(folder) == []


def test_jpeg_in_ycbcr_is_decoded_alike_from_a_web_server(server, monkeypatch):
    monkeypatch.setattr("geodamage.scene.tiles.gdal_decodes_alike", lambda: False)
    path = server.folder / "a & b.tif"
    how = {"compress": "jpeg", "photometric": "ycbcr", "blockysize": 32}
    make_raster(path, make_pixels(100, 90, high=2) * 255, **how)
    url = f"/vsicurl/http://{server.address}/a%20&%20b.tif"
    shutil.copy(path, server.folder / "a%20&%20b.tif")  # the server decodes no names
    tiles = [open_tile(name, None, 3) for name in (str(path), url)]
    (local, _), (remote, _) = [tile.read(tile.window) for tile in tiles]
    assert np.array_equal(local, remote)
    assert all(tile.jpeg is not None for tile in tiles)


@pytest.mark.slow
def test_images_are_read_from_a_web_server(server, pair, model, tmp_path):
    urls = [f"http://{server.address}/{path.name}" for path in pair]
    output, result = assess(tmp_path, model, *urls, "--allow-remote")
    assert result.exit_code == 0, result.stderr
    (tmp_path / "local").mkdir()
    local, _ = assess(tmp_path / "local", model, *pair)
    assert gpd.read_file(output).equals(gpd.read_file(local))


def test_a_mask_beside_a_remote_image_is_named(server):
    make_raster(server.folder / "masked.tif", make_pixels(40, 50))
    make_raster(server.folder / "tagged.tif", make_pixels(40, 50), nodata=7)
    for name in ("masked", "tagged"):
        make_raster(server.folder / f"{name}.tif.msk", make_pixels(40, 50)[:1])
    url = f"/vsicurl/http://{server.address}/masked.tif?Signature=SECRET"
    (note,) = open_tile(url, None, 3).notes
    assert "masked.tif.msk beside it says where it is valid" in note
    assert "gdal_translate --config GDAL_TIFF_INTERNAL_MASK YES masked.tif new.tif" in note
    assert open_tile(f"/vsicurl/http://{server.address}/tagged.tif", None, 3).notes == ()
    assert open_tile(f"/vsicurl/http://{server.address}/pre.tif", None, 3).notes == ()


def test_what_stands_beside_a_remote_image_is_named(server):
    make_raster(server.folder / "noted.tif", make_pixels(40, 50))
    (server.folder / "noted.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>255</NoDataValue></PAMRasterBand>'
    )
    url = f"/vsicurl/http://{server.address}/noted.tif?Signature=SECRET"
    (note,) = open_tile(url, None, 3).notes
    assert ": noted.tif.aux.xml says that 255 is no data, and is not read; bring it" in note
    assert note.endswith("gdal_translate -a_nodata 255 noted.tif new.tif, once both are downloaded")
    assert any("/noted.tif.aux.xml?Signature=SECRET bytes=0-" in line for line in server.asked)


@pytest.mark.parametrize("name", ["placed.tif.aux.xml", "placed.prj"])
def test_a_crs_beside_a_remote_image_is_named(server, name):
    make_raster(server.folder / "placed.tif", make_pixels(40, 50), crs=None)
    told = {"aux.xml": "<PAMDataset><SRS>EPSG:32616</SRS>", "prj": 'PROJCS["x"]'}
    path = server.folder / name
    path.write_text(told[name.partition(".tif.")[2] or "prj"])
    with pytest.raises(SceneError, match=rf"has no CRS; {name} has one, and is not read; bring"):
        open_tile(f"/vsicurl/http://{server.address}/placed.tif", None, 3)
    path.unlink()


@pytest.mark.slow
def test_a_plan_tells_no_key(server, pair, model, tmp_path):
    urls = [f"http://user:SECRET@{server.address}/{path.name}?Signature=SECRET" for path in pair]
    listed = tmp_path / "list.csv"
    listed.write_text(f"name,pre,post\na,{urls[0]},{urls[1]}\n")
    command = ("batch", listed, "-o", tmp_path / "out", "--model", model, "--dry-run")
    for options in ((), ("--progress", "json")):
        result = run_command(*command, "--allow-remote", *options)
        assert result.exit_code == 0, result.stderr
        assert f"{server.address}/{pair.pre.name}?***" in result.stdout
        assert "SECRET" not in result.stdout + result.stderr


@pytest.mark.slow
def test_a_key_in_a_url_is_told_to_nobody(server, pair, model, tmp_path):
    urls = [f"http://user:SECRET@{server.address}/{path.name}?Signature=SECRET" for path in pair]
    page = tmp_path / "b.html"
    output, result = assess(tmp_path, model, *urls, "--allow-remote", "--report", page)
    assert result.exit_code == 0, result.stderr
    assert any("Signature=SECRET" in line for line in server.asked)
    event = tmp_path / "event.gpkg"
    merged = run_command("event", output, "-o", event, "--quiet")
    assert merged.exit_code == 0, merged.stderr
    said = result.stderr.encode() + merged.stderr.encode()
    for written in (said, *(path.read_bytes() for path in tmp_path.iterdir())):
        assert b"SECRET" not in written
    assert f"{server.address}/{pair.pre.name}?***" in (tmp_path / "b.geojson.json").read_text()


@pytest.mark.parametrize("place", ["nothing.tif", "pre.tif"])
def test_no_message_tells_a_key(server, pair, model, tmp_path, place):
    url = f"http://{server.address}/{place}?Signature=SECRET"
    _, result = assess(tmp_path, model, url, url, "--allow-remote", "--bands", "7,8,9")
    assert result.exit_code in (2, 4)
    assert place in result.stderr
    assert "SECRET" not in result.stderr


@pytest.mark.slow
def test_images_are_read_from_an_object_store(server, pair, model, tmp_path, monkeypatch):
    settings = {
        "AWS_S3_ENDPOINT": server.address,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    urls = [f"s3://bucket/{path.name}" for path in pair]
    output, result = assess(tmp_path, model, *urls, "--allow-remote")
    assert result.exit_code == 0, result.stderr
    assert len(gpd.read_file(output)) > 0
    names = {f"/bucket/{name}.tif{mask}" for name in ("pre", "post") for mask in ("", ".msk")}
    assert {line.split()[1] for line in server.asked if "?" not in line} == names


def test_nothing_is_asked_without_leave(server, pair, model, tmp_path):
    urls = [f"http://{server.address}/{path.name}" for path in pair]
    _, result = assess(tmp_path, model, *urls)
    check_refusal(result, "--allow-remote", tmp_path)
    assert server.asked == []


@pytest.mark.parametrize("address", ["{}/nothing.tif", "127.0.0.1:9/nothing.tif"])
def test_what_is_not_there_is_refused(server, pair, model, tmp_path, address):
    urls = [f"http://{address.format(server.address)}", f"http://{server.address}/{pair.post.name}"]
    _, result = assess(tmp_path, model, *urls, "--allow-remote")
    check_refusal(result, "nothing.tif", tmp_path)


# By a thread: no signal interrupts GDAL.
@pytest.mark.slow
@pytest.mark.timeout(60, method="thread")
def test_a_server_that_does_not_answer_is_given_up(server, pair, model, tmp_path, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    _, result = assess(
        tmp_path, model, f"http://{server.address}/silent.tif", pair.post, "--allow-remote"
    )
    check_refusal(result, "silent.tif", tmp_path)


@pytest.mark.slow
def test_a_part_of_an_image_is_read_by_range(server):
    pixels = make_pixels(2048, 2048)
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    path = make_raster(server.folder / "large.tif", pixels, **layout)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([16], rasterio.enums.Resampling.nearest)
    image = open_image(
        "pre",
        f"http://{server.address}/large.tif",
        bands=None,
        channels=3,
        scale=None,
        allow_remote=True,
    )
    tile = image.first
    found, _ = tile.read(Window(1000, 1000, 16, 16))
    image.close()
    assert np.array_equal(found, pixels[:, 1000:1016, 1000:1016])
    beside = (".msk", ".aux.xml")
    asked = [line for line in server.asked[1:] if not any(word in line for word in beside)]
    ranges = [re.fullmatch(r"GET \S+ bytes=(\d+)-(\d+)", line) for line in asked]
    assert None not in ranges
    read = sum(int(found[2]) - int(found[1]) + 1 for found in ranges)
    assert read < path.stat().st_size / 4
