"""Bad inputs and what each gets; a test's id begins with its row in docs/bad-inputs.md.

E is a refusal: one line on stderr, the exit code of its kind, no file. S is a safe result.
"""

import geopandas as gpd
import pytest

from tests.conftest import (
    ROOFS,
    listing,
    make_arrays,
    make_pixels,
    make_raster,
    run_command,
)

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
        return run_command(
            "assess", pre or self.pair.pre, post or self.pair.post,
            "-o", output or self.out / "b.geojson", "--model", model or self.model, *options,
        )  # fmt: skip

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
        return gpd.read_file(self.out / "b.gpkg", layer=0)


def check_refusal(code, stderr, expected, words):
    assert code == expected, stderr
    *before, line = stderr.splitlines()
    assert line.startswith("geodamage: error: ")
    assert not any("error" in other.lower() or "Traceback" in other for other in before)
    for word in words:
        assert str(word) in line


def grades(frame):
    return sorted(frame["damage_class"].to_list())


TRUTH = sorted(roof.grade for roof in ROOFS)


def damaged(attempts, change, **layout):
    """Write a good image and change its bytes."""
    path = make_raster(attempts.folder / "bad.tif", make_pixels(256, 256), **layout)
    content = bytearray(path.read_bytes())
    path.write_bytes(change(content))
    return path


def one(attempts, **options):
    """Write a pre image that is good but for some options."""
    return make_raster(attempts.folder / "pre.tif", make_arrays()[0], **options)
