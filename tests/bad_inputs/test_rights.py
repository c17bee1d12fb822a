import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import geopandas as gpd
import pytest

import geodamage
from tests.bad_inputs.attempts import (
    check_refusal,
)
from tests.conftest import (
    ROOFS,
    UTM,
    listing,
)

SCRIPT = """
import json, os, resource, sys
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
    result = CliRunner().invoke(main, arguments)
    results.append({"code": result.exit_code, "stderr": result.stderr})
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
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(geodamage.__file__).parents[1])},
    )
    assert process.returncode == 0, process.stderr
    results = json.loads(process.stdout)
    for result in results[: len(good)]:
        assert result["code"] == 0, result["stderr"]
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert listing(public / "other") == [
        "good.geojson",
        "good.geojson.assessed_area.geojson",
        "good.geojson.json",
    ]


@pytest.mark.slow
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
