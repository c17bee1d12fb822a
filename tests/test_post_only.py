import json

import geopandas as gpd
import numpy as np
import pytest

from geodamage import assess
from geodamage.batch.entries import read_csv
from geodamage.errors import ManifestError, ModelError, OptionError
from geodamage.model.loading import load_model
from geodamage.output.publication import read_sidecar
from geodamage.post_only import doubts, measured, mode_facts
from geodamage.scene.dates import AFTER, ALONE, NEUTRAL, PAIR, after_alone, dates_of
from geodamage.scene.pixels import MISSING_POST
from geodamage.scene.scene import Scene
from geodamage.windows import Window
from tests.assessments import write_footprints
from tests.conftest import ROOFS, Roof, make_raster, run_command
from tests.fakes import make_card


@pytest.fixture
def footprints(tmp_path):
    far = Roof(500, 500, 20, 20, 1)
    shapes = [*(roof.polygon for roof in ROOFS), far.polygon]
    return write_footprints(tmp_path / "f.gpkg", range(6), shapes)


def alone(pair, model, footprints, output, *options):
    command = ["assess", "--post-only", pair.post, "--footprints", footprints, "--model", model]
    return run_command(*command, "-o", output, *options)


def test_images_have_names():
    assert (dates_of(1, 2), dates_of(1, None), dates_of(None, 2)) == (PAIR, ALONE, AFTER)
    with pytest.raises(TypeError, match="a scene needs an image"):
        dates_of(None, None)


def test_grey_stands_for_the_image_before():
    values = np.full((3, 2, 2), 9, np.uint8)
    valid = np.array([[True, False], [True, True]])
    pixels = after_alone(values, valid, 4, None)
    assert pixels.pre.shape == (4, 2, 2)
    assert np.unique(pixels.pre).tolist() == [NEUTRAL]
    assert pixels.post is values
    assert pixels.missing.tolist() == [[0, MISSING_POST], [0, 0]]


def test_a_scene_of_the_image_after_is_the_post_of_the_pair(pair, model):
    loaded = load_model(model)
    with (
        Scene.open(*pair, model=loaded) as both,
        Scene.open(None, pair.post, model=loaded) as after,
    ):
        assert after.grid == both.grid
        window = Window(-8, -8, 64, 64)
        seen, wanted = after.read(window), both.read(window)
        assert np.array_equal(seen.post, wanted.post)
        assert (seen.pre == NEUTRAL).all()
        assert np.array_equal(seen.missing, wanted.missing)
        assert "post" in after.facts()
        assert not {"pre", "image"} & after.facts().keys()


@pytest.mark.slow
def test_footprints_are_graded_by_the_image_after(pair, model, footprints, tmp_path):
    output = tmp_path / "b.gpkg"
    result = alone(pair, model, footprints, output, "--raster", tmp_path / "r.tif")
    assert result.exit_code == 0, result.stderr
    frame = gpd.read_file(output, layer="buildings").set_index("building_id").sort_index()
    assert frame["damage_class"].to_list()[:5] == [roof.grade for roof in ROOFS]
    assert frame["status"].to_list() == ["assessed"] * 5 + ["not_assessed"]
    assert frame["status_reason"].to_list()[5] == "outside_post"
    facts = read_sidecar(output)
    assert (facts["mode"], facts["mode_score"]) == ("post-only", {})
    assert facts["familiarity"]["why"] == "there is no pre image"
    assert facts["footprints"]["registration"]["verdict"] == "off"
    (doubt, cloud) = facts["warnings"]
    assert doubt.endswith("nobody has measured model bright without a pre image")
    assert doubt in result.stderr
    assert cloud.startswith("cloud and smoke are not detected without a pre image")


@pytest.mark.slow
def test_the_tile_does_not_matter_and_python_says_it_like_the_command(pair, model, footprints):
    options = {"model": model, "footprints": footprints, "post_only": True}
    found = [assess(pair.post, tile=tile, **options).buildings for tile in (48, None)]
    assert found[0].equals(found[1])


@pytest.mark.slow
def test_what_is_missing_is_missing_after(model, footprints, tmp_path):
    after = np.random.default_rng(0).integers(50, 70, (3, 128, 160)).astype(np.uint8)
    after[:, :, 80:] = 0
    image = make_raster(tmp_path / "post.tif", after, nodata=0)
    result = run_command(
        "assess", "--post-only", image, "--footprints", footprints, "--model", model,
        "-o", tmp_path / "b.gpkg",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    frame = gpd.read_file(tmp_path / "b.gpkg", layer="buildings").set_index("building_id")
    assert frame.loc["2", "status_reason"] == "nodata_post"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "needs --footprints"),
        (("--footprints", "f.gpkg", "--probabilities", "p.tif"), "--probabilities holds"),
        (("--footprints", "f.gpkg", "--features", "f.npz"), "--features describes"),
        (("--footprints", "f.gpkg", "--registration", "apply"), "--registration apply compares"),
        (("--footprints", "f.gpkg", "--pre-unusable", "u.tif"), "--pre-unusable belongs to it"),
        (("--footprints", "f.gpkg", "--post-sensor", "sar"), "was not measured"),
    ],
)
def test_what_needs_the_image_before_is_refused(options, words, tmp_path):
    result = run_command("assess", "--post-only", "a.tif", "-o", tmp_path / "b.gpkg", *options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_one_image_is_one_image(tmp_path):
    result = run_command("assess", "--post-only", "a.tif", "b.tif", "-o", tmp_path / "b.gpkg")
    assert "--post-only takes only the post image" in result.stderr
    result = run_command("assess", "a.tif", "-o", tmp_path / "b.gpkg")
    assert "Missing argument 'POST'" in result.stderr
    with pytest.raises(TypeError, match="give a post image"):
        assess("a.tif")
    with pytest.raises(OptionError, match="no pre image is given"):
        assess((), "a.tif")


def test_an_event_model_is_refused(pair, footprints, tmp_path):
    path = tmp_path / "event.toml"
    path.write_text("x = 1\n")
    with pytest.raises(ModelError):
        assess(pair.post, post_only=True, footprints=footprints, model=path)


def test_the_score_of_a_bundled_network_is_said():
    card = make_card(name="fast")
    facts = mode_facts("fast", card)
    assert facts["mode_score"] == measured()
    assert 0.3 < measured()["kappa"] < measured()["kappa_pair"] < 1
    assert measured()["kappa_without"] < 0.3
    (said, _) = doubts(facts, card)
    for name in ("kappa", "kappa_without", "kappa_pair"):
        assert f"{measured()[name]:.2f}" in said
    assert measured()["without"] in said


def test_a_model_that_was_made_for_it_has_its_own_word():
    card = make_card(name="hot", scores={"dates": ["post"], "published": "F1 .62"})
    facts = mode_facts("hot.onnx", card)
    assert facts["mode_score"] == {"published": "F1 .62"}
    said, _ = doubts(facts, card)
    assert "for which model hot was made" in said


@pytest.mark.slow
def test_the_page_shows_one_date(pair, model, footprints, tmp_path):
    output, page = tmp_path / "b.gpkg", tmp_path / "r.html"
    assert alone(pair, model, footprints, output, "--report", page).exit_code == 0
    text = page.read_text()
    assert "Made by a computer from one image" in text
    assert "The network saw the post image alone" in text
    assert 'id="swipe"' not in text
    assert 'alt="before"' not in text
    assert "Pre image" not in text
    command = ["report", output, "--post", pair.post, "-o", tmp_path / "again.html"]
    result = run_command(*command, "--map", tmp_path / "m.png")
    assert result.exit_code == 0, result.stderr
    assert 'id="swipe"' not in (tmp_path / "again.html").read_text()


def test_a_list_may_have_scenes_without_an_image_before(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("name,post,post_only,footprints\na,a.tif,true,f.gpkg\nb,b.tif,false,f.gpkg\n")
    with pytest.raises(ManifestError, match="line 3: pre is empty"):
        read_csv(path)
    path.write_text("pre,post,post_only\n,a.tif,TRUE\nb.tif,c.tif,\n")
    first, second = read_csv(path)
    assert (first.pre, first.options) == ((), {"post_only": True})
    assert (len(second.pre), second.options) == (1, {})
    path.write_text("post,post_only\na.tif,perhaps\n")
    with pytest.raises(ManifestError, match="write true or false"):
        read_csv(path)


@pytest.mark.slow
def test_a_batch_grades_by_the_image_after(pair, model, footprints, tmp_path):
    path, output = tmp_path / "list.csv", tmp_path / "out"
    path.write_text(f"name,post,post_only,footprints\na,{pair.post},true,{footprints}\n")
    result = run_command("batch", path, "-o", output, "--model", model, "--workers", 1, "--report")
    assert result.exit_code == 0, result.stderr
    facts = json.loads((output / "scenes" / "a" / "buildings.gpkg.json").read_text())
    assert facts["mode"] == "post-only"
    assert "was graded by the post image alone" in result.stderr
    assert "1 scene done" in result.stdout + result.stderr
    assert run_command("batch", path, "-o", output, "--model", model, "--dry-run").exit_code == 0
