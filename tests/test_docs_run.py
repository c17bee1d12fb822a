"""The commands of the docs are run, page by page, but for those marked `# needs ...`.

A reader's folder has the files that the pages name: the synthetic pair under their names, and
small layers, labels and catalogues that fit it.
"""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely

from tests.catalogues import make_catalogue, make_item, save
from tests.conftest import make_raster, run_command
from tests.foreign.graphs import write_graph
from tests.labelled_pairs import write_pair
from tests.pages import PAGES, ROOT, blocks

SAMPLE = ROOT / "sample_data"
#: What a reader may need that no test has.
NEEDS = {
    "a Dask cluster", "a STAC server", "a model of two sensors", "a network", "published weights",
    "SLURM", "xBD",
}  # fmt: skip
#: Pages whose commands a test of their own runs, with answers that fit.
ELSEWHERE = {"new-event.md": ROOT / "tests" / "test_new_event.py"}
TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)


def lines(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield the commands of ours on a page, in words, and what each is marked to need."""
    for _, block in blocks(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            command, _, need = line.removeprefix("$ ").partition("  # needs ")
            for part in re.split(r"&&|\|", command):
                words = shlex.split(part.strip().removeprefix("srun "), comments=True)
                if words[:1] == ["geodamage"]:
                    yield words[1:], need.strip()


def runnable(page: Path) -> list[list[str]]:
    text = page.read_text(encoding="utf-8")
    return [words for words, need in lines(text) if not need]


def test_marks_say_what_is_needed():
    marks = {need for page in PAGES for _, need in lines(page.read_text(encoding="utf-8"))} - {""}
    assert marks == NEEDS


def test_commands_and_marks_are_told_apart():
    text = "x\n\n```\ngeodamage score a b\ngeodamage masks x \\\n    -o y  # needs xBD\n```\n"
    assert list(lines(text)) == [(["score", "a", "b"], ""), (["masks", "x", "-o", "y"], "xBD")]


def test_pages_of_their_own_have_a_test():
    for page, test in ELSEWHERE.items():
        assert f'"{page}"' in test.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a reader."""
    folder = tmp_path_factory.mktemp("world")
    copies = {
        "pre": ["pre", "before", "image", "sample_data/pre", "event/pre/one", "pre/one"],
        "post": ["post", "after", "sample_data/post", "event/post/one"],
    }
    for source, names in copies.items():
        for name in names:
            copy(SAMPLE / f"{source}.tif", folder / f"{name}.tif")
    (folder / "scenes.csv").write_text("name,pre,post\none,pre.tif,post.tif\n", encoding="utf-8")
    layers(folder)
    catalogue(folder)
    labels(folder)
    results(folder)
    graph(folder)
    return folder


def layers(folder: Path) -> None:
    """Write footprints, areas, people and a mask for the ground of the sample."""
    footprints = gpd.read_file(SAMPLE / "footprints.geojson")
    footprints["osm_id"] = range(len(footprints))
    footprints.to_file(folder / "footprints.geojson")
    footprints.to_file(folder / "footprints.gpkg", layer="footprints")
    footprints.to_parquet(folder / "city.parquet")
    with rasterio.open(SAMPLE / "pre.tif") as image:
        bounds, crs = image.bounds, image.crs
    ground = gpd.GeoDataFrame({"NAME_2": ["all"]}, geometry=[shapely.box(*bounds)], crs=crs)
    ground.to_file(folder / "districts.gpkg")
    ground.to_file(folder / "district.geojson")
    cells = rasterio.transform.from_origin(bounds.left, bounds.top, 100, 100)
    people = np.full((1, 5, 5), 9, np.float32)
    make_raster(folder / "people.tif", people, crs=crs, transform=cells)
    drawn = rasterio.features.rasterize(footprints.to_crs(crs).geometry, (400, 400), transform=(
        rasterio.transform.from_bounds(*bounds, 400, 400)
    ))  # fmt: skip
    place = rasterio.transform.from_bounds(*bounds, 400, 400)
    make_raster(folder / "mask.tif", drawn[None].astype(np.uint8), crs=crs, transform=place)
    for side in ("masks", "found"):
        (folder / side).mkdir()
        assert cv2.imwrite(str(folder / side / "one.png"), drawn * 255)


def catalogue(folder: Path) -> None:
    """Write a catalogue with a pre image and one after."""
    with rasterio.open(SAMPLE / "pre.tif") as image:
        outline = gpd.GeoSeries([shapely.box(*image.bounds)], crs=image.crs).to_crs(4326)[0]
    for name, day in (("pre", "2026-01-01"), ("post", "2026-02-07")):
        item = make_item(name, f"{day}T10:00:00Z", outline, visual=f"./{name}.tif")
        save(folder / f"{name}.json", item)
    links = [("item", "./pre.json"), ("item", "./post.json")]
    save(folder / "catalog.json", make_catalogue("Catalog", "storm", *links))


def labels(folder: Path) -> None:
    """Write labelled pairs as xBD has them, and PNG files for the official score."""
    for part in ("train", "test"):
        write_pair(folder / "xbd" / part, "storm_00000001")
    for side, name in (("predictions", "prediction"), ("targets", "target")):
        place = folder / side
        place.mkdir(parents=True)
        grades = np.zeros((1024, 1024), np.uint8)
        for kind in ("localization", "damage"):
            grades[100:200, 100:200] = 1 if kind == "localization" else 3
            assert cv2.imwrite(str(place / f"test_{kind}_00000_{name}.png"), grades)
    (folder / "targets" / "names.csv").write_text("id,pair\n00000,storm_00000000\n", "utf-8")


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def results(folder: Path) -> None:
    """Write results, and layers of others that say something of the same buildings."""
    first = folder / "batch-monday" / "scenes" / "one" / "buildings.gpkg"
    first.parent.mkdir(parents=True)
    ran = run_command("assess", folder / "pre.tif", folder / "post.tif", "-o", first)
    assert ran.exit_code == 0, ran.stderr
    for path in (first, Path(f"{first}.json")):
        for day in ("friday", "sunday"):
            copy(path, folder / f"batch-{day}" / "scenes" / day / path.name)
        for name in ("buildings", "earlier"):
            copy(path, folder / path.name.replace("buildings", name))
    assert run_command("event", folder / "batch-monday", "-o", folder / "event.gpkg").exit_code == 0
    buildings = gpd.read_file(folder / "buildings.gpkg", layer=0)
    graded = buildings.dropna(subset=["damage"])[["geometry"]]
    cems = graded.assign(damage_gra="Destroyed").to_crs(4326)
    cems.to_file(folder / "EMSR916_AOI02_GRA_PRODUCT_builtUpP_v1.json", driver="GeoJSON")
    sites = graded.assign(Main_Damage_Site_Class=1, Main_Damage_Site_Class_14=1)
    sites.geometry = sites.centroid
    sites.to_file(folder / "unosat.gpkg", layer="Damage_Sites")


def graph(folder: Path) -> None:
    """Write the graph that the convention of docs/weights.md describes."""
    text = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    (folder / "unet.toml").write_text(TOML.search(text)[1], encoding="utf-8")
    write_graph(folder / "unet.onnx", {"images": ["n", 6, "h", "w"]}, {"out": ["n", 5, "h", "w"]})


def remove(output: Path) -> None:
    """Remove what an earlier command of the page wrote."""
    if output.is_dir():
        shutil.rmtree(output)
    for old in (output, Path(f"{output}.json")):
        old.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if runnable(page) and page.name not in ELSEWHERE],
    ids=lambda page: page.name,
)  # fmt: skip
def test_the_commands_of_a_page_do_what_it_says(page, world, tmp_path, monkeypatch):
    folder = tmp_path / "reader"
    shutil.copytree(world, folder, symlinks=True)
    monkeypatch.chdir(folder)
    for words in runnable(page):
        output = Path(words[words.index("-o") + 1]) if "-o" in words else None
        if output is not None and "--update" not in words:
            remove(output)
        ran = run_command(*words)
        assert ran.exit_code == 0, f"geodamage {shlex.join(words)}: {ran.stderr}"
        assert output is None or "--dry-run" in words or output.exists() or list(
            folder.glob(f"{output}.*")
        ), words  # fmt: skip
        if "--json" in words:
            json.loads(ran.stdout)
