import click
import pytest
from geodamage_qgis.errors import PluginError
from geodamage_qgis.program.commands import (
    BUILDINGS_TTA_CHOICES,
    SENSOR_CHOICES,
    AssessParameters,
    BatchParameters,
    BuildingsParameters,
    MasksParameters,
    ScoreParameters,
    assess_command,
    batch_command,
    buildings_command,
    masks_command,
    score_command,
    write_list,
)

from geodamage.cli import main
from geodamage.sources import find

#: Every field that `assess`, `buildings` and `batch` have in common, none of them at its default.
OF_IMAGES = {
    "model": "my model.onnx",
    "aoi": "aoi.geojson",
    "device": "cuda:1",
    "engine": "onnxruntime",
    "tta": "flips",
    "bands": (3, 2, 1),
    "scale": (-5.5, 2000.0),
    "nodata": -9999.0,
    "min_area": 12.5,
    "simplify": 0.3,
    "tile": 512,
    "batch_size": 2,
    "threads": 3,
    "allow_remote": True,
    "overwrite": True,
}
#: Those of `assess` and `batch`.
OF_SCENES = {
    **OF_IMAGES,
    "footprints": "roofs.gpkg",
    "id_field": "key",
    "keep": "name,floors",
    "skip_broken": True,
    "vote": "pixels",
    "post_sensor": "sar",
    "registration": "apply",
    "obscured": "off",
    "pre_unusable": "udm2.tif",
    "post_unusable": "cloud.gpkg",
    "unusable_band": 6,
    "seen_share": 0.25,
    "post_nodata": -32768.0,
}
EVERYTHING = AssessParameters(
    "pre.tif",
    "post.tif",
    "out.gpkg",
    raster="r.tif",
    probabilities="p.tif",
    report="p.html",
    features="f.npz",
    memory="3GB",
    ids_from="before.gpkg",
    **OF_SCENES,
)


FOUND = BuildingsParameters(
    "image.tif",
    "out.gpkg",
    threshold=0.25,
    raster="r.tif",
    probabilities="p.tif",
    regularise=True,
    memory="3GB",
    ids_from="before.gpkg",
    **OF_IMAGES,
)


def understood(argv: list[str]) -> dict[str, object]:
    """Return what the tool's own command line makes of a command."""
    name, *words = argv[1:]
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command.make_context(name, words).params


def assert_given(given: dict[str, object], expected: dict[str, object]) -> None:
    """Check what the tool's own command line has made of options."""
    for name, value in expected.items():
        assert str(given[name]) == str(value), name


def test_the_tool_understands_every_option_of_an_assessment():
    given = understood(assess_command("geodamage", EVERYTHING))
    assert_given(given, OF_SCENES)
    assert (given["pre"], given["post"]) == ("pre.tif", "post.tif")
    names = ("output", "raster", "probabilities", "report", "features")
    assert [str(given[name]) for name in names] == [
        "out.gpkg", "r.tif", "p.tif", "p.html", "f.npz",
    ]  # fmt: skip
    assert (given["memory"], given["progress"]) == (3e9, "json")
    assert str(given["ids_from"]) == "before.gpkg"


def test_the_tool_understands_every_option_of_finding_buildings():
    given = understood(buildings_command("geodamage", FOUND))
    assert_given(given, OF_IMAGES)
    assert given["image"] == "image.tif"
    assert [str(given[name]) for name in ("output", "raster", "probabilities")] == [
        "out.gpkg", "r.tif", "p.tif",
    ]  # fmt: skip
    assert (given["threshold"], given["regularise"]) == (0.25, True)
    assert str(given["ids_from"]) == "before.gpkg"
    assert (given["memory"], given["progress"]) == (3e9, "json")


@pytest.mark.parametrize("tta", BUILDINGS_TTA_CHOICES)
def test_the_tool_knows_every_way_to_look_at_an_image(tta):
    parameters = BuildingsParameters("image.tif", "out.gpkg", tta=tta)
    assert understood(buildings_command("geodamage", parameters))["tta"] == tta


def test_the_first_sensor_is_what_the_tool_takes_unless_told():
    argv = assess_command("geodamage", AssessParameters("pre.tif", "post.tif", "out.gpkg"))
    assert understood(argv)["post_sensor"] == SENSOR_CHOICES[0]


def test_what_is_left_out_is_left_to_the_tool():
    argv = assess_command("geodamage", AssessParameters("pre.tif", "post.tif", "out.gpkg"))
    assert argv == [
        "geodamage", "assess", "--progress", "json", "--output=out.gpkg", "--", "pre.tif",
        "post.tif",
    ]  # fmt: skip
    argv = buildings_command("geodamage", BuildingsParameters("image.tif", "out.gpkg"))
    assert argv == [
        "geodamage", "buildings", "--progress", "json", "--output=out.gpkg", "--", "image.tif",
    ]  # fmt: skip


def test_a_path_that_begins_with_a_dash_is_a_path():
    parameters = AssessParameters("-pre.tif", "--post.tif", "-out.gpkg", scale=(-1, 1))
    given = understood(assess_command("geodamage", parameters))
    assert (given["pre"], given["post"], str(given["output"])) == (
        "-pre.tif", "--post.tif", "-out.gpkg",
    )  # fmt: skip
    assert given["scale"] == (-1, 1)


def test_zero_is_a_value():
    parameters = AssessParameters("a.tif", "b.tif", "c.gpkg", min_area=0.0, threads=0)
    assert understood(assess_command("geodamage", parameters))["min_area"] == 0


@pytest.mark.parametrize("image", ["", [], ["a.tif", "b.tif"]])
def test_an_image_is_one_path(image):
    with pytest.raises(PluginError, match=r"pre image has .*@list\.txt"):
        assess_command("geodamage", AssessParameters(image, "post.tif", "out.gpkg"))
    with pytest.raises(PluginError, match=r"input image has .*@list\.txt"):
        buildings_command("geodamage", BuildingsParameters(image, "out.gpkg"))


def test_the_outputs_are_all_files_that_are_asked_for():
    assert EVERYTHING.outputs == ["out.gpkg", "r.tif", "p.tif", "p.html", "f.npz"]
    assert AssessParameters("a", "b", "c.gpkg").outputs == ["c.gpkg"]
    assert FOUND.outputs == ["out.gpkg", "r.tif", "p.tif"]
    assert BuildingsParameters("a", "c.gpkg").outputs == ["c.gpkg"]


def test_the_tool_understands_every_option_of_a_batch():
    parameters = BatchParameters(
        "scenes.csv",
        "out",
        event_date="2026-03-01",
        asset="visual",
        raster=True,
        probabilities=True,
        report=True,
        merge=False,
        admin="admin.gpkg",
        workers=2,
        memory="8GB",
        scene_memory="2GB",
        retry_failed=True,
        **OF_SCENES,
    )
    given = understood(batch_command("geodamage", parameters))
    assert_given(given, OF_SCENES)
    assert given["merge"] is False
    assert given["report"] is given["raster"] is given["probabilities"] is True
    assert given["retry_failed"] is given["overwrite"] is True
    assert (given["workers"], given["scene_memory"], given["event_date"]) == (
        2,
        2e9,
        "2026-03-01",
    )
    assert understood(batch_command("geodamage", BatchParameters("a", "b")))["merge"] is True


def test_the_tool_understands_a_scoring():
    parameters = ScoreParameters("predictions", "-targets", per_event=True, strict=True)
    given = understood(score_command("geodamage", parameters))
    assert given["as_json"] is given["per_event"] is given["strict"] is True
    assert str(given["target_dir"]) == "-targets"


def test_the_tool_understands_a_drawing_of_masks():
    parameters = MasksParameters(["a.json", "b"], "out", unclassified="ignore", overwrite=True)
    given = understood(masks_command("geodamage", parameters))
    assert [str(path) for path in given["labels"]] == ["a.json", "b"]
    assert (given["unclassified"], given["overwrite"]) == ("ignore", True)


def test_masks_of_nothing_are_refused():
    with pytest.raises(PluginError, match="choose a label file"):
        masks_command("geodamage", MasksParameters([], "out"))


def test_the_tool_reads_a_list_of_tiles_in_its_order(tmp_path):
    tiles = [tmp_path / name for name in ("zwei größe.tif", "#eins.tif", "drei.tif")]
    for tile in tiles:
        tile.write_text("pixels")
    paths = [str(tile) for tile in tiles]
    assert find(write_list(paths, tmp_path / "list.txt")) == paths


@pytest.mark.parametrize("name", ["a\nb.tif", "a.tif ", "a\u2028b.tif"])
def test_a_path_that_a_list_cannot_hold_is_refused(tmp_path, name):
    with pytest.raises(PluginError, match="rename"):
        write_list([f"/x/{name}"], tmp_path / "list.txt")


def test_a_list_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(PluginError, match="cannot be written"):
        write_list(["/x/a.tif"], tmp_path / "missing" / "list.txt")
