"""Catalogues of events as Vantor and Planet publish them, written by the test."""

import json

import pytest
import rasterio
import shapely

from geodamage.batch.manifest import read_manifest
from geodamage.batch.stac_items import look_of, phase_of
from geodamage.errors import ManifestError, OptionError
from geodamage.scene.outlines import outline_of
from geodamage.sources import find
from tests.batch.tiles import tile
from tests.conftest import run_command

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def item_of(path, phase, when="2026-06-20T15:00:00Z", **properties):
    """Write an image and return its item, with the properties that Vantor gives it."""
    tile(path, 0)
    if phase == "post":  # the same image twice would be refused
        with rasterio.open(path, "r+") as dataset:
            dataset.write(255 - dataset.read())
    outline = outline_of(str(path))
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": path.stem,
        "geometry": shapely.geometry.mapping(outline),
        "bbox": list(outline.bounds),
        "properties": {
            "datetime": when, "phase": phase, "vehicle_name": "WV03", "pan_gsd": 0.31,
            "eo:cloud_cover": 3.0, "view:off_nadir": 12.0, "view:sun_elevation": 60.0,
            "license": "CC-BY-NC-4.0", "published": "2026-06-25",
        } | properties,
        "links": [],
        "assets": {"visual": {"href": f"./{path.name}", "type": COG}},
    }  # fmt: skip


def save(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def catalogue(path, *links, kind="Collection"):
    return save(
        path,
        {
            "type": kind, "stac_version": "1.0.0", "id": path.parent.name, "description": "event",
            "license": "CC-BY-NC-4.0",
            "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]},
                       "temporal": {"interval": [[None, None]]}},
            "links": [{"rel": rel, "href": href} for rel, href in links],
        },
    )  # fmt: skip


@pytest.fixture
def event(tmp_path):
    """Write an event: nested children, one item twice, one item that is not there."""
    folder = tmp_path / "event"
    for phase, when in (("pre", "2026-01-05T15:00:00Z"), ("post", "2026-06-26T15:00:00Z")):
        own = folder / phase
        own.mkdir(parents=True)
        save(own / f"{phase}.json", item_of(own / f"{phase}.tif", phase, when))
        catalogue(
            own / "collection.json",
            ("item", f"{phase}.json"), ("item", f"./{phase}.json"), ("item", "gone.json"),
        )  # fmt: skip
    links = [("child", f"{phase}/collection.json") for phase in ("pre", "post")]
    return catalogue(folder / "catalog.json", *links, kind="Catalog")


def scenes_of(manifest):
    return {
        scene.name: tuple(path.rpartition("/")[2] for path in (*scene.pre, *scene.post))
        for scene in manifest
    }


def test_phases_make_the_date_of_the_event_needless(event):
    manifest = read_manifest(event)
    assert scenes_of(manifest) == {"post": ("pre.tif", "post.tif")}
    assert manifest[0].date == "2026-06-26T15:00:00Z"
    assert len(manifest.notes) == 2
    for note in manifest.notes:
        assert "gone.json" in note
        assert note.endswith("it is left out")


def test_what_the_catalogue_says_is_recorded(event):
    pre, post = sorted(read_manifest(event).images, key=lambda facts: facts["taken"])
    assert pre["file"].endswith("/pre.tif")
    assert post | {"file": ""} == {
        "file": "", "taken": "2026-06-26T15:00:00Z", "id": "post", "phase": "post",
        "cloud_cover": 3.0, "off_nadir": 12.0, "sun_elevation": 60.0, "gsd": 0.31,
        "platform": "WV03", "licence": "CC-BY-NC-4.0", "published": "2026-06-25",
    }  # fmt: skip


@pytest.mark.slow
def test_a_batch_keeps_what_the_catalogue_says(event, tmp_path, model):
    output = tmp_path / "out"
    result = run_command("batch", event, "-o", output, "--model", model, "--no-merge")
    assert result.exit_code == 0, result.stderr
    assert "gone.json" in result.stderr
    told = json.loads((output / "images.json").read_text())["images"]
    assert {facts["licence"] for facts in told} == {"CC-BY-NC-4.0"}
    assert sorted(path.name for path in output.iterdir()) == [
        "images.json", "ledger.sqlite", "scenes",
    ]  # fmt: skip


def test_a_date_of_the_event_goes_before_phases(event):
    assert len(read_manifest(event, event_date="2026-06-24")) == 1
    with pytest.raises(ManifestError, match="no image before 2025-01-01"):
        read_manifest(event, event_date="2025-01-01")


def test_images_without_phases_need_a_date(event):
    for phase in ("pre", "post"):
        path = event.parent / phase / f"{phase}.json"
        document = json.loads(path.read_text())
        del document["properties"]["phase"]
        save(path, document)
    with pytest.raises(OptionError, match="give --event-date"):
        read_manifest(event)
    assert len(read_manifest(event, event_date="2026-06-24")) == 1


@pytest.mark.parametrize(
    ("text", "taken"),
    [("2026-06-26:T00.00.00Z", "2026-06-26T00:00:00Z"), ("soon", None), ("2026-13-45", None)],
)
def test_a_malformed_date_is_mended_or_missing_with_a_note(event, text, taken):
    path = event.parent / "post" / "post.json"
    document = json.loads(path.read_text())
    document["properties"]["datetime"] = text
    save(path, document)
    manifest = read_manifest(event)
    assert [scene.date for scene in manifest] == [taken]
    assert any(f"datetime {text!r} is not a date" in note for note in manifest.notes)
    if taken is None:
        with pytest.raises(ManifestError, match="no image after"):
            read_manifest(event, event_date="2026-06-24")


def test_items_above_the_folder_are_left_out_with_a_warning(event):
    aside = event.parent.parent / "items"
    aside.mkdir()
    save(aside / "more.json", item_of(aside / "more.tif", "post"))
    path = event.parent / "catalog.json"
    links = json.loads(path.read_text())["links"]
    catalogue(
        path, *((link["rel"], link["href"]) for link in links), ("item", "../items/more.json")
    )
    manifest = read_manifest(path)
    assert list(scenes_of(manifest)) == ["post"]
    assert any("more.json, outside of its folder" in note for note in manifest.notes)
    # The catalogue above holds both.
    above = catalogue(
        event.parent.parent / "catalog.json",
        ("child", "event/catalog.json"), ("item", "items/more.json"),
    )  # fmt: skip
    assert sorted(scenes_of(read_manifest(above))) == ["more", "post"]


def test_clouds_filter_and_rank(event):
    folder, names = event.parent / "pre", ("pre", "cloudy", "clear")
    for name, cloud, when in (("cloudy", 60.0, "2026-06-01T15:00:00Z"),
                              ("clear", 0.0, "2025-06-01T15:00:00Z")):  # fmt: skip
        own = item_of(folder / f"{name}.tif", "pre", when, **{"eo:cloud_cover": cloud})
        save(folder / f"{name}.json", own)
    catalogue(folder / "collection.json", *(("item", f"{n}.json") for n in names))
    # All show the same ground, so the best look is enough: clear enough, and the latest of those.
    assert scenes_of(read_manifest(event))["post"] == ("pre.tif", "post.tif")
    manifest = read_manifest(event, max_cloud=50)
    assert "cloudy: left out, 60 % of it are cloud, over --max-cloud 50" in manifest.notes


def test_nothing_clear_is_no_scene(event):
    with pytest.raises(ManifestError, match="3 % of it are cloud, over --max-cloud 1"):
        read_manifest(event, max_cloud=1)
    assert len(read_manifest(event, max_cloud=3)) == 1


def test_lists_know_no_clouds(tmp_path):
    (tmp_path / "a.csv").write_text("pre,post\na.tif,b.tif\n")
    with pytest.raises(OptionError, match="--max-cloud; leave them out"):
        read_manifest(tmp_path / "a.csv", max_cloud=10)


def test_words_for_phases():
    words = ("pre", "Post", "pre-event", "POST_EVENT", "before", "during", 3, None)
    assert [phase_of({"phase": word}) for word in words] == [
        "pre", "post", "pre", "post", "pre", None, None, None,
    ]  # fmt: skip


def test_a_look_is_ranked_in_steps():
    assert look_of({"cloud_cover": 4.0, "off_nadir": 3}) == look_of({})
    assert look_of({"cloud_cover": 30.0}) > look_of({"cloud_cover": 4.0, "off_nadir": 40})
    assert look_of({"off_nadir": -30}) > look_of({"off_nadir": 10})


def test_buckets_of_three_kinds_are_images(tmp_path):
    names = ["s3://b/a.tif", "gs://b/a.tif", "az://b/a.tif", "https://x.org/a.tif"]
    assert find(names, allow_remote=True) == [
        "/vsis3/b/a.tif", "/vsigs/b/a.tif", "/vsiaz/b/a.tif", "/vsicurl/https://x.org/a.tif",
    ]  # fmt: skip
