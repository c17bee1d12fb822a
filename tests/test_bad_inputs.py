"""Bad inputs and what each gets; a test's id begins with its row in the project's list of 92.

E is a refusal: one line on stderr, the exit code of its kind, no file. S is a safe result.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.enums import ColorInterp
from rasterio.windows import Window

import geodamage
from geodamage.output.publication import read_sidecar
from tests.conftest import (
    CORNER,
    ROOFS,
    UTM,
    listing,
    make_arrays,
    make_pixels,
    make_raster,
    make_scene,
    run_command,
)

#: Seconds within which bad input is refused.
PATIENCE = 10

TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64}


def row(number, *values, name):
    """Return the parameters of a test whose id begins with the row."""
    return pytest.param(*values, id=f"row{number}-{name}")


class Attempts:
    """Runs of the command that write into one folder.

    Parameters
    ----------
    folder
        Inputs go here; outputs into its `out`.
    """

    def __init__(self, folder, pair, model):
        self.folder, self.pair, self.model = folder, pair, model
        self.out = folder / "out"
        self.out.mkdir()

    def run(self, *options, pre=None, post=None, output=None, model=None):
        """Run the command; what is not given is good."""
        started = time.monotonic()
        result = run_command(
            "assess", pre or self.pair.pre, post or self.pair.post,
            "-o", output or self.out / "b.geojson", "--model", model or self.model, *options,
        )  # fmt: skip
        assert time.monotonic() - started < PATIENCE
        return result

    def refuse(self, *options, words, code=4, **given):
        """Run the command and check that it refuses in one line that has some words."""
        result = self.run(*options, **given)
        check_refusal(result.exit_code, result.stderr, code, words)
        assert result.stdout == ""
        assert listing(self.out) == []

    def read(self, *options, **given):
        """Run the command and return the buildings that it finds."""
        result = self.run(*options, output=self.out / "b.gpkg", **given)
        assert result.exit_code == 0, result.stderr
        return gpd.read_file(self.out / "b.gpkg")


def check_refusal(code, stderr, expected, words):
    assert code == expected, stderr
    *before, line = stderr.splitlines()
    assert line.startswith("geodamage: error: ")
    assert not any("error" in other.lower() or "Traceback" in other for other in before)
    for word in words:
        assert str(word) in line


@pytest.fixture
def attempts(tmp_path, pair, model):
    return Attempts(tmp_path, pair, model)


def grades(frame):
    return sorted(frame["damage_class"].to_list())


TRUTH = sorted(roof.grade for roof in ROOFS)


# The file itself


@pytest.mark.parametrize(
    "content",
    [
        row(1, b"", name="empty"),
        row(2, b"II*\0\x08\0\0", name="7 bytes"),
        row(3, b"II*\0\x08\0\0\0", name="header only"),
        row(3, b"II+\0\x08\0\0\0\x10" + bytes(7), name="BigTIFF header only"),
    ],
)
@pytest.mark.parametrize("role", ["pre", "post"])
def test_a_file_without_pixels_is_refused(attempts, content, role):
    path = attempts.folder / "bad.tif"
    path.write_bytes(content)
    attempts.refuse(**{role: path}, words=[path])


def damaged(attempts, change, **layout):
    """Write a good image and change its bytes."""
    path = make_raster(attempts.folder / "bad.tif", make_pixels(256, 256), **layout)
    content = bytearray(path.read_bytes())
    path.write_bytes(change(content))
    return path


@pytest.mark.parametrize(
    "layout", [{}, TILED, TILED | {"compress": "deflate"}], ids=["strips", "tiles", "deflate"]
)
@pytest.mark.parametrize("share", [row(4, 0.25, name="25%"), row(4, 0.9, name="90%")])
def test_a_truncated_file_is_refused(attempts, share, layout):
    path = damaged(attempts, lambda content: content[: int(len(content) * share)], **layout)
    attempts.refuse(pre=path, words=[path, "damaged"])
    attempts.refuse(post=path, words=[path, "damaged"])


@pytest.mark.parametrize("place", [row(5, place, name=place) for place in (0.3, 0.6, 0.9)])
def test_flipped_bytes_are_refused_with_their_rows(attempts, place):
    def flip(content):
        start = int(len(content) * place)
        content[start : start + 4096] = bytes(b ^ 0xFF for b in content[start : start + 4096])
        return content

    path = damaged(attempts, flip, **TILED, compress="deflate")
    attempts.refuse(pre=path, words=[path, "rows", "columns", "damaged"])


@pytest.mark.parametrize("layout", [row(6, {}, name="strips"), row(6, TILED, name="tiles")])
def test_a_missing_last_byte_is_refused(attempts, layout):
    path = damaged(attempts, lambda content: content[:-1], **layout)
    attempts.refuse(pre=path, words=[path, "rows"])


#: Row and column of what is in a giant; within a block.
MIDDLE = 500_000


@pytest.fixture(scope="module")
def giants(tmp_path_factory):
    """Return a sparse pair of 10^6 x 10^6 pixels with something in the middle."""
    folder = tmp_path_factory.mktemp("giants")
    paths = []
    for name, array in zip(("pre", "post"), make_arrays(), strict=True):
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", count=3, dtype="uint8",
            width=1_000_000, height=1_000_000, crs=UTM, SPARSE_OK=True, BIGTIFF="YES", tiled=True,
            transform=Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1]),
            blockxsize=4096, blockysize=4096, interleave="band", compress="deflate",
        ) as dataset:  # fmt: skip
            dataset.write(array, window=Window(MIDDLE, MIDDLE, 160, 128))
        paths.append(folder / f"{name}.tif")
    return paths


def test_row13_too_many_pixels_are_refused_with_their_number(attempts, giants):
    pre, post = giants
    attempts.refuse(pre=pre, post=post, words=["1000000 x 1000000", "--aoi"])


def test_row13_a_part_of_too_many_pixels_is_assessed(attempts, giants):
    left, top = CORNER[0] + MIDDLE / 2, CORNER[1] - MIDDLE / 2
    area = shapely.box(left, top - 64, left + 80, top)
    gpd.GeoDataFrame(geometry=[area], crs=UTM).to_file(attempts.folder / "aoi.gpkg")
    pre, post = giants
    frame = attempts.read("--aoi", attempts.folder / "aoi.gpkg", pre=pre, post=post)
    assert grades(frame) == TRUTH
    warnings = read_sidecar(attempts.out / "b.gpkg")["warnings"]
    assert [text for text in warnings if f"{pre}: no valid pixel in a sample" in text]


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        row(14, (1, 1), "line.tif: every pixel has", name="1x1"),
        row(14, (1, 300), "post.tif overlap in 1 x 160 pixels only", name="1xN"),
        row(14, (300, 1), "post.tif overlap in 128 x 1 pixels only", name="Nx1"),
    ],
)
def test_an_image_of_a_pixel_or_a_line_is_refused(attempts, shape, word):
    path = make_raster(attempts.folder / "line.tif", make_pixels(*shape))
    attempts.refuse(pre=path, words=[path, word])


@pytest.mark.parametrize("tag", [row(14, 256, name="no columns"), row(14, 257, name="no rows")])
def test_an_image_without_pixels_is_refused(attempts, tag):
    def shrink(content):
        place = content.index(struct.pack("<HHI", tag, 3, 1))
        content[place + 8 : place + 12] = bytes(4)
        return content

    path = damaged(attempts, shrink)
    attempts.refuse(pre=path, words=[path])


# Files of other kinds


@pytest.mark.parametrize("driver", [row(19, "PNG", name="PNG"), row(19, "JPEG", name="JPEG")])
def test_other_formats_named_tif_are_refused(attempts, driver):
    path = attempts.folder / "picture.tif"
    profile = {"driver": driver, "count": 3, "height": 64, "width": 64, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(make_pixels(64, 64))
    attempts.refuse(pre=path, words=[path, "not a GeoTIFF"])


VRT = '<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32616</SRS>{}</VRTDataset>'
BAND = '<VRTRasterBand dataType="Byte" band="1"{}</VRTRasterBand>'
SIMPLE = BAND.format("><SimpleSource><SourceFilename>{}</SourceFilename></SimpleSource>")
RAW = BAND.format(
    ' subClass="VRTRawRasterBand"><SourceFilename>/etc/passwd</SourceFilename>'
    "<ImageOffset>0</ImageOffset>"
)
PYTHON = BAND.format(
    ' subClass="VRTDerivedRasterBand"><PixelFunctionLanguage>Python</PixelFunctionLanguage>'
    "<PixelFunctionType>f</PixelFunctionType><PixelFunctionCode><![CDATA["
    "\ndef f(*arguments, **options):\n    open('{}', 'w')\n]]></PixelFunctionCode>"
)


@pytest.fixture
def listener():
    """Return a socket that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    "text",
    [
        row(20, VRT.format(SIMPLE.format("{pre}")), name="VRT"),
        row(21, VRT.format(SIMPLE.format("/vsicurl/{url}")), name="VRT of a URL"),
        row(22, VRT.format(RAW), name="VRT of a system file"),
        row(23, VRT.format(PYTHON.format("{out}/ran")), name="VRT with code"),
        row(
            24,
            "<GDALTileIndexDataset><IndexDataset>{url}</IndexDataset></GDALTileIndexDataset>",
            name="GTI",
        ),
        row(
            24,
            '<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}</ServerUrl>'
            "</Service><DataWindow><SizeX>64</SizeX><SizeY>64</SizeY></DataWindow></GDAL_WMS>",
            name="WMS",
        ),
        row(
            24,
            "<WCS_GDAL><ServiceURL>{url}?</ServiceURL><CoverageName>x</CoverageName></WCS_GDAL>",
            name="WCS",
        ),
        row(24, '{{"type":"gdal_streamed_alg","command_line":"gdal raster {url}"}}', name="GDALG"),
        row(24, '{{"stac_version":"1.0.0","features":[],"links":["{url}"]}}', name="STAC"),
        row(24, "<WMT_MS_Capabilities><Get>{url}</Get></WMT_MS_Capabilities>", name="XML"),
    ],
)
def test_files_that_point_elsewhere_are_refused(attempts, listener, text):
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.tif"
    path = attempts.folder / "evil.tif"
    path.write_text(text.format(pre=attempts.pair.pre, url=url, out=attempts.out))
    for role in ("pre", "post"):
        attempts.refuse("--allow-remote", **{role: path}, words=[path, "not a GeoTIFF"])


@pytest.mark.parametrize("option", ["--footprints", "--aoi"])
@pytest.mark.parametrize("place", [row(21, "{url}", name="URL"), row(20, "{path}", name="file")])
def test_vector_files_that_point_elsewhere_are_refused(attempts, listener, option, place):
    other = attempts.folder / "other.geojson"
    gpd.GeoDataFrame(geometry=[ROOFS[0].polygon], crs=UTM).to_crs(4326).to_file(other)
    url = f"/vsicurl/http://127.0.0.1:{listener.getsockname()[1]}/x.geojson"
    path = attempts.folder / "evil.geojson"
    path.write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="other"><SrcDataSource>'
        f"{place.format(url=url, path=other)}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    attempts.refuse(option, path, words=[path, "names others"])


@pytest.mark.parametrize(
    "name",
    [
        row(25, "GTIFF_DIR:1:{pre}", name="GTIFF_DIR"),
        row(25, "MEM:::DATAPOINTER=1,PIXELS=1,LINES=1", name="MEM"),
        row(25, "/vsimem/x.tif", name="vsimem"),
        row(25, "/vsizip/{pre}/x.tif", name="vsizip"),
        row(25, "/vsicurl/{url}", name="vsicurl"),
        row(25, "/vsisubfile/0_100,{pre}", name="vsisubfile"),
        row(25, "{url}", name="URL"),
        row(25, "ftp://127.0.0.1/x.tif", name="ftp"),
        row(25, VRT.format(""), name="VRT"),
        row(25, "vrt://{pre}", name="vrt"),
    ],
)
@pytest.mark.parametrize("role", ["pre", "--footprints", "--aoi", "--model"])
def test_strings_that_are_not_paths_are_refused(attempts, listener, name, role):
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.tif"
    name = name.format(pre=attempts.pair.pre, url=url)
    if role == "pre":
        attempts.refuse(pre=name, words=[name])
    else:
        code = 5 if role == "--model" else 4
        attempts.refuse(role, name, words=[name.rsplit("//")[-1]], code=code)


# Paths


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
    started = time.monotonic()
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
    assert time.monotonic() - started < 2


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


# What takes a process of its own: another user, a limit on files

SCRIPT = """
import json, os, resource, sys, time
from click.testing import CliRunner
from geodamage.cli import main

job = json.load(sys.stdin)
results = []
for number, arguments in enumerate(job["commands"]):
    if number == job["good"]:  # by now every module is imported, which another user may not read
        if job["uid"]:
            os.setgroups([])
            os.setresgid(job["uid"], job["uid"], job["uid"])
            os.setresuid(job["uid"], job["uid"], job["uid"])
        if job["fsize"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["fsize"], job["fsize"]))
    started = time.monotonic()
    result = CliRunner().invoke(main, arguments)
    seconds = time.monotonic() - started
    results.append({"code": result.exit_code, "stderr": result.stderr, "seconds": seconds})
json.dump(results, sys.stdout)
"""


def run_apart(good, commands, *, uid=0, fsize=0):
    """Run commands in a process of their own: the good ones as we are, then the others limited."""
    job = {
        "commands": [[str(argument) for argument in c] for c in (*good, *commands)],
        "good": len(good),
        "uid": uid,
        "fsize": fsize,
    }
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(geodamage.__file__).parents[1])},
    )
    assert process.returncode == 0, process.stderr
    results = json.loads(process.stdout)
    for result in results[: len(good)]:
        assert result["code"] == 0, result["stderr"]
    assert all(result["seconds"] < PATIENCE for result in results)
    return results[len(good) :]


@pytest.fixture
def public(pair, model):
    """Return a folder that every user can reach, with a pair, a model and a folder for results."""
    folder = Path(tempfile.mkdtemp(prefix="geodamage-"))
    for path in (*pair, model):
        shutil.copy(path, folder)
    (folder / "out").mkdir()
    for path in folder.iterdir():
        path.chmod(0o755)
    folder.chmod(0o755)
    (folder / "out").chmod(0o777)
    yield folder
    (folder / "out").chmod(0o777)
    shutil.rmtree(folder)


def command(folder, *options, output="out/b.geojson"):
    return [
        "assess", folder / "pre.tif", folder / "post.tif", "-o", folder / output,
        "--model", folder / "bright.onnx", *options,
    ]  # fmt: skip


#: A user without rights; where the tests run as such a user, they stay it.
NOBODY = 65534 if os.geteuid() == 0 else 0


def test_row34_a_file_that_may_not_be_read_is_refused(public):
    footprints = public / "f.gpkg"
    gpd.GeoDataFrame(geometry=[ROOFS[0].polygon], crs=UTM).to_file(footprints)
    secret = public / "secret"
    secret.mkdir()
    for name in ("pre.tif", "f.gpkg", "bright.onnx"):
        shutil.copy(public / name, secret)
        (secret / name).chmod(0)
    closed = public / "closed"
    shutil.copytree(public / "secret", closed) if NOBODY else closed.mkdir()
    (public / "list.txt").write_text("secret/pre.tif\n")
    (public / "good.txt").write_text("pre.tif\n")
    good = [command(public, "--footprints", footprints, output="out/good.gpkg")]
    good += [command(public, "--aoi", footprints, output="out/good.geojson")]
    good += [["assess", f"@{public / 'good.txt'}", *command(public, output="out/g.fgb")[2:]]]
    commands = {
        "pre.tif": ["assess", secret / "pre.tif", *command(public)[2:]],
        "secret/pre.tif": ["assess", f"@{public / 'list.txt'}", *command(public)[2:]],
        "closed": ["assess", closed, *command(public)[2:]],
        "f.gpkg": command(public, "--footprints", secret / "f.gpkg"),
        "/f.gpkg": command(public, "--aoi", secret / "f.gpkg"),
        "bright.onnx": [*command(public)[:-1], secret / "bright.onnx"],
    }
    closed.chmod(0)
    results = run_apart(good, commands.values(), uid=NOBODY)
    closed.chmod(0o755)
    for word, result in zip(commands, results, strict=True):
        code = 5 if word == "bright.onnx" else 4
        check_refusal(result["code"], result["stderr"], code, [word])
        assert "denied" in result["stderr"].lower()
    assert not (public / "out/b.geojson").exists()


def test_row38_a_folder_that_may_not_be_written_to_is_refused_before_the_work(public):
    names = ["b.geojson", "b.gpkg", "b.fgb", "b.parquet"]
    commands = [command(public, output=f"out/{name}") for name in names]
    options = ["--raster", public / "out/r.tif"]
    (public / "other").mkdir()
    (public / "other").chmod(0o777)
    commands += [command(public, *options, output="other/b.geojson")]
    good = [command(public, "-q", output="other/good.geojson")]
    (public / "out").chmod(0o555)
    for result in run_apart(good, commands, uid=NOBODY):
        check_refusal(result["code"], result["stderr"], 6, [public / "out", "may write"])
        assert len(result["stderr"].splitlines()) == 1  # the model has not been loaded
    assert listing(public / "out") == []
    assert listing(public / "other") == ["good.geojson", "good.geojson.json"]


def test_row39_a_full_disk_leaves_no_file(public):
    names = ["b.geojson", "b.geojsonl", "b.gpkg", "b.fgb", "b.parquet"]
    commands = [command(public, output=f"out/{name}") for name in names]
    commands += [
        command(public, "--raster", public / "out/r.tif", output="out/r.geojson"),
        command(public, "--probabilities", public / "out/p.tif", output="out/p.geojson"),
    ]
    good = [[str(part).replace("/out/", "/good/") for part in arguments] for arguments in commands]
    (public / "good").mkdir()
    results = run_apart(good, commands, fsize=1000)
    for arguments, result in zip(commands, results, strict=True):
        check_refusal(result["code"], result["stderr"], 6, ["cannot write"])
        assert str(public / "out") in result["stderr"], arguments
    assert listing(public / "out") == []


# Where the images lie


def one(attempts, **options):
    """Write a pre image that is good but for some options."""
    return make_raster(attempts.folder / "pre.tif", make_arrays()[0], **options)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        row(48, {"crs": None}, ["has no CRS", "a_srs"], name="no CRS"),
        row(53, {"transform": Affine.identity()}, ["not georeferenced"], name="identity"),
        row(53, {"transform": Affine(0, 0, 5, 0, 0, 6)}, ["transform"], name="zero scale"),
        row(53, {"transform": Affine(np.nan, 0, 5, 0, -1, 6)}, ["transform"], name="NaN"),
        row(53, {"transform": Affine(0.5, 0, 5, 0, -np.inf, 6)}, ["transform"], name="infinity"),
        row(
            60,
            {"transform": Affine(0.5, 0, CORNER[0] + 500, 0, -0.5, CORNER[1])},
            ["do not overlap", "pre covers -85.6", "post covers -85.6"],
            name="no overlap",
        ),
        row(60, {"crs": "EPSG:32717"}, ["do not overlap", "post covers -85.6"], name="far apart"),
    ],
)
def test_an_image_of_no_or_another_place_is_refused(attempts, options, words):
    path = one(attempts, **options)
    named = [] if "overlap" in words[0] else [path]
    attempts.refuse(pre=path, words=[*named, *words])


def test_row51_an_unknown_epsg_code_is_refused(attempts):
    path = one(attempts)
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<HHHH", 3072, 0, 1, 32616))
    content[place + 6 : place + 8] = struct.pack("<H", 32500)
    path.write_bytes(content)
    attempts.refuse(pre=path, words=[path, "PROJ does not know its CRS", "UTM zone 16N", "EPSG"])


def test_row57_images_in_degrees_are_measured_in_metres(attempts):
    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(*CORNER)
    across, down = 0.5 / (111_320 * np.cos(np.radians(lat))), 0.5 / 110_860
    place = {"crs": "EPSG:4326", "transform": Affine(across, 0, lon, 0, -down, lat)}
    pair = make_scene(attempts.folder / "in", **place)
    frame = attempts.read(pre=pair.pre, post=pair.post)
    assert grades(frame) == TRUTH
    expected = sum(roof.height * roof.width / 4 for roof in ROOFS)
    assert frame["area_m2"].sum() == pytest.approx(expected, rel=0.05)
    facts = read_sidecar(attempts.out / "b.gpkg")["scene"]
    assert facts["crs"] == UTM
    assert facts["gsd"] == pytest.approx(0.5, rel=0.01)


def test_row57_degrees_called_metres_are_refused(attempts):
    place = {"transform": Affine(5e-6, 0, CORNER[0], 0, -4.5e-6, CORNER[1])}
    attempts.refuse(pre=one(attempts, **place), words=["m per pixel"])


# Pixels


@pytest.mark.parametrize("channels", [row(68, n, name=n) for n in (1, 2, 4, 8)])
def test_channels_that_are_not_rgb_need_bands(attempts, channels):
    array = np.concatenate([make_arrays()[0]] * 3)[:channels]
    colours = {"photometric": "RGB", "alpha": "NO"} if channels == 4 else {}
    path = make_raster(attempts.folder / "bands.tif", array, **colours)
    attempts.refuse(pre=path, words=[path, f"{channels} channel", "--bands"])
    if channels > 1:
        return
    frame = attempts.read("--bands", "1,1,1", pre=path)
    assert grades(frame) == TRUTH


def test_row68_blue_green_red_needs_bands(attempts):
    path = one(attempts)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    attempts.refuse(pre=path, words=[path, "--bands 3,2,1"])
    assert grades(attempts.read("--bands", "3,2,1", pre=path)) == TRUTH


@pytest.mark.parametrize(
    "dtype", [row(69, name, name=name) for name in ("int16", "int32", "complex64", "int8")]
)
def test_types_that_need_a_decision_are_refused(attempts, dtype):
    array = (make_arrays()[0] // 4).astype(dtype)
    path = make_raster(attempts.folder / "type.tif", array)
    attempts.refuse(pre=path, words=[path, dtype, "gdal_translate"])


@pytest.mark.parametrize(
    "dtype", [row(69, name, name=name) for name in ("uint16", "float32", "float64")]
)
def test_types_of_more_than_8_bits_are_scaled_and_the_scaling_is_recorded(attempts, dtype):
    array = make_arrays()[0].astype(dtype) * 40 + 7
    path = make_raster(attempts.folder / "type.tif", array)
    frame = attempts.read(pre=path)
    assert grades(frame) == TRUTH
    facts = read_sidecar(attempts.out / "b.gpkg")["scene"]["pre"]
    assert facts["dtype"] == dtype
    assert facts["scaling"] is not None


@pytest.mark.parametrize(
    "options",
    [
        row(70, {"nodata": 7}, name="nodata"),
        row(70, {"mask": np.zeros((128, 160), np.uint8)}, name="mask"),
    ],
)
def test_an_image_without_a_valid_pixel_is_refused(attempts, options):
    path = make_raster(attempts.folder / "none.tif", np.full((3, 128, 160), 7, np.uint8), **options)
    attempts.refuse(pre=path, words=[path, "no valid pixel"])
    attempts.refuse(post=path, words=[path, "no valid pixel"])


def test_row70_an_image_all_transparent_or_black_is_refused(attempts):
    clear = np.concatenate([make_arrays()[0], np.zeros((1, 128, 160), np.uint8)])
    path = make_raster(attempts.folder / "a.tif", clear, photometric="RGB", alpha="YES")
    attempts.refuse(pre=path, words=[path, "no valid pixel"])
    black = make_raster(attempts.folder / "b.tif", np.zeros((3, 128, 160), np.uint8))
    attempts.refuse(post=black, words=[black, "no valid pixel"])


# Footprints


def curve(roof):
    """Return a circle within a roof as a WKB CurvePolygon."""
    x, y = roof.polygon.centroid.coords[0]
    points = [(x - 2, y), (x, y + 2), (x + 2, y), (x, y - 2), (x - 2, y)]
    ring = struct.pack("<BII", 1, 8, len(points)) + b"".join(struct.pack("<dd", *p) for p in points)
    return struct.pack("<BII", 1, 10, 1) + ring


def test_row76_odd_footprints_all_come_out_and_are_counted(attempts):
    first, second = (roof.polygon for roof in ROOFS[:2])
    left, bottom, right, top = second.bounds
    bow = shapely.Polygon([(left, bottom), (right, top), (right, bottom), (left, top)])
    angles = np.linspace(0, 2 * np.pi, 10**6)
    x, y = ROOFS[2].polygon.centroid.coords[0]
    many = shapely.Polygon(np.column_stack([x + 3 * np.cos(angles), y + 3 * np.sin(angles)]))
    shapes = {
        "null": None,
        "empty": shapely.Polygon(),
        "bow": bow,
        "flat": shapely.Polygon([(left, bottom), (right, top), (left, bottom)]),
        "vertices": many,
        "3D": shapely.force_3d(first, 12.0),
        "several": shapely.MultiPolygon([first, second]),
        "curve": curve(ROOFS[3]),
        "twice": ROOFS[4].polygon,
        "collection": shapely.GeometryCollection([first, shapely.Point(left, top)]),
    }
    ids = [*shapes, "twice", "twice"]
    wkb = [s if isinstance(s, bytes) else shapely.to_wkb(s) for s in shapes.values()]
    wkb += [shapely.to_wkb(ROOFS[4].polygon)] * 2
    pyogrio.raw.write(
        attempts.folder / "odd.gpkg",
        geometry=np.array(wkb, object),
        field_data=[np.array(ids, object)],
        fields=["uid"],
        geometry_type="Unknown",
        crs=UTM,
    )
    frame = attempts.read("--footprints", attempts.folder / "odd.gpkg")
    assert len(frame) == len(ids)
    frame = frame.set_index("building_id")
    assert {*shapes, "twice-2", "twice-3"} == set(frame.index)
    assert (frame.loc[["null", "empty"], "status_reason"] == "no_geometry").all()
    expected = {"bow": 2, "vertices": 3, "3D": 1, "several": 2, "curve": 4, "twice-3": 4}
    assert frame.loc[list(expected), "damage_class"].to_dict() == expected
    assert frame.loc["flat", "status"] != "assessed"
    facts = read_sidecar(attempts.out / "b.gpkg")
    assert facts["footprints"]["duplicate_ids"] == 2
    assert facts["footprints"]["repaired"] >= 1
    assert facts["buildings"] == len(ids)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("crs", "words"),
    [
        row(77, None, ["no CRS", "a_srs"], name="no CRS"),
        row(77, 4326, ["CRS", "wrong"], name="metres called degrees"),
        row(77, 32756, ["no footprint lies in the scene"], name="another zone"),
    ],
)
@pytest.mark.parametrize("extension", ["gpkg", "fgb", "shp"])
def test_footprints_without_a_right_crs_are_refused(attempts, crs, words, extension):
    path = attempts.folder / f"f.{extension}"
    frame = gpd.GeoDataFrame(geometry=[roof.polygon for roof in ROOFS], crs=UTM)
    frame.set_crs(crs, allow_override=True).to_file(path)
    attempts.refuse("--footprints", path, words=[path.name, *words])


def test_row78_footprints_elsewhere_are_refused_with_both_places(attempts):
    path = attempts.folder / "f.gpkg"
    shapes = [shapely.transform(roof.polygon, lambda xy: xy + 5000) for roof in ROOFS]
    gpd.GeoDataFrame(geometry=shapes, crs=UTM).to_file(path)
    words = [path.name, "no footprint lies in the scene", "629600", "634605"]
    attempts.refuse("--footprints", path, words=words)


@pytest.mark.parametrize(
    "shapes",
    [row(76, [], name="none at all"), row(76, [shapely.Point(CORNER)], name="points")],
)
def test_a_file_without_footprints_is_refused(attempts, shapes):
    path = attempts.folder / "f.gpkg"
    gpd.GeoDataFrame({"uid": range(len(shapes))}, geometry=shapes, crs=UTM).to_file(path)
    attempts.refuse("--footprints", path, words=[path, "no polygon"])


@pytest.mark.parametrize(
    "content", [row(76, b"hello", name="text"), row(76, b"", name="empty file")]
)
def test_what_is_no_vector_file_is_refused(attempts, content):
    for name, option in (("f.geojson", "--footprints"), ("a.gpkg", "--aoi")):
        path = attempts.folder / name
        path.write_bytes(content)
        attempts.refuse(option, path, words=[path])
