"""A pipe where training expects a table is refused at once; nobody waits for what never comes."""

import os
from pathlib import Path

import pytest

import training
from geodamage.errors import InputError, OptionError
from geodamage.xbd.folders import read_image, read_split
from training.data.building_images import list_images
from training.data.building_tiles import open_raster, read_table
from training.data.index import read_index
from training.data.two_sensors import read_radar
from training.obscured import names_of
from training.recipe import Recipe
from training.runs.folder import open_run
from training.sensors.chip_recipe import ChipRecipe

RECIPE = Path(training.__file__).parent / "recipes" / "accurate.toml"

READERS = {
    "split": lambda path: read_split(path, path.parent),
    "names": lambda path: names_of(path, "train"),
    "run": lambda path: open_run(path.parent / "run", Recipe.read(RECIPE), path),
    "index": read_index,
    "images": lambda path: list_images(path, path.parent),
    "table": read_table,
    "recipe": Recipe.read,
    "recipe of chips": ChipRecipe.read,
}
RASTERS = {"pair": read_image, "radar": read_radar, "tile": open_raster}


def refused(read, path: Path) -> str:
    with pytest.raises((InputError, OptionError)) as caught:
        read(path)
    return str(caught.value)


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_no_table(tmp_path, name):
    os.mkfifo(tmp_path / "a.csv")
    assert "a.csv: a pipe, not a file" in refused(READERS[name], tmp_path / "a.csv")


@pytest.mark.parametrize("name", RASTERS)
def test_a_pipe_is_no_image(tmp_path, name):
    os.mkfifo(tmp_path / "a.png")
    assert "a.png: a pipe, not a file" in refused(RASTERS[name], tmp_path / "a.png")


@pytest.mark.parametrize("name", sorted(set(READERS) - {"run"}))
def test_an_endless_file_is_no_table(name):
    assert "/dev/zero: a device, not a file" in refused(READERS[name], Path("/dev/zero"))
