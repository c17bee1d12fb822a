import cv2
import numpy as np
import pytest

from geodamage.damage import COLOURS, rgb
from geodamage.errors import OptionError
from tests.fakes import write_xbd
from training import show
from training.data.building_images import TEST, BuildingImage, write_building_index
from training.data.labelled import Sample
from training.data.overlay import BUILDING, overlay


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_xbd(tmp_path_factory.mktemp("data"), ["flood_00000001", "flood_00000002"])


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["show", *map(str, arguments)])
    return show.main()


@pytest.mark.slow
def test_a_sheet_of_a_recipe_can_be_looked_at(folder, tmp_path, monkeypatch):
    recipe, sheet = tmp_path / "mine.toml", tmp_path / "sheet.png"
    network = 'network = "res34_unet"\ntask = "damage"\nsteps = 1\n'
    recipe.write_text(
        f'name = "mine"\n{network}augmentation = "geodamage"\naugmentation_crop = 64\n'
    )
    assert run(monkeypatch, recipe, "--data", folder, "-o", sheet, "--count", 3) == 0
    image = cv2.imread(str(sheet))
    assert image.shape == (2 * (show.SIZE + show.GAP), 2 * (3 * show.SIZE + show.GAP), 3)
    # The fourth place is empty.
    assert (image[-show.SIZE :, -show.SIZE :] == 255).all()
    assert image[: show.SIZE, : show.SIZE].std() > 0
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_the_seed_makes_the_sheet(folder):
    pairs = show.find_pairs(folder)
    drawn = [
        show.samples_of("first_place_res34_damage", pairs, count=2, seed=seed) for seed in (1, 1, 2)
    ]
    one, two, other = (
        show.contact_sheet([show.as_sample(s.draw(n)) for n in (0, 1)]) for s in drawn
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_chips_are_shown_as_the_compact_network_sees_them(folder, tmp_path, monkeypatch):
    recipe, sheet = tmp_path / "chips.toml", tmp_path / "sheet.png"
    recipe.write_text(
        'name = "chips"\nnetwork = "compact"\ntask = "assess"\nsampling = "chips"\nsteps = 1\n'
        "chips_crop = 48\nchips_generated = 0\n"
    )
    assert run(monkeypatch, recipe, "--data", folder, "-o", sheet, "--count", 2) == 0
    image = cv2.imread(str(sheet))
    assert image.shape == (show.SIZE + show.GAP, 2 * (3 * show.SIZE + show.GAP), 3)
    samples = show.samples_of(str(recipe), show.find_pairs(folder), count=2, seed=0)
    assert show.as_sample(samples.draw(0)).pre.shape == (48, 48, 3)


def test_prepared_images_are_shown_without_a_second_date(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images = []
    for name, fold in (("a", 0), ("b", 1), ("c", TEST)):
        image, mask = tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png"
        cv2.imwrite(str(image), rng.integers(0, 255, (64, 64, 3)).astype(np.uint8))
        cv2.imwrite(str(mask), np.full((64, 64), 255, np.uint8))
        images.append(BuildingImage(image, mask, name, "drawn", 1.0, 0.5, fold, True, name))
    write_building_index(tmp_path, images)
    recipe, sheet = tmp_path / "mine.toml", tmp_path / "sheet.png"
    recipe.write_text(
        'name = "mine"\nnetwork = "efficient_fpn_b0"\ntask = "localisation"\nsteps = 1\n'
        'metric = "jaccard"\ndata = "buildings"\nfold = 0\naugmentation_crop = 32\n'
        'augmentation_images = "pre"\n'
    )
    assert run(monkeypatch, recipe, "--data", tmp_path, "-o", sheet, "--count", 2) == 0
    drawn = cv2.imread(str(sheet))
    assert drawn.shape == (show.SIZE + show.GAP, 2 * (2 * show.SIZE + show.GAP), 3)
    # What validates and what tests is not learnt from, so it is not shown.
    assert [image.name for image in show.examples_of(str(recipe), tmp_path)] == ["b"]


@pytest.mark.slow
def test_a_sheet_is_never_overwritten(folder, tmp_path, monkeypatch, capsys):
    sheet = tmp_path / "sheet.png"
    sheet.write_text("mine")
    code = run(monkeypatch, "siamese_resnet50", "--data", folder, "-o", sheet, "--count", 1)
    assert code == 6
    assert "exists" in capsys.readouterr().err
    assert sheet.read_text() == "mine"


def test_grades_have_the_colours_of_the_scale():
    grades = np.array([[0, 1, 2, 3, 4]], np.uint8)
    black = np.zeros((1, 5, 3), np.uint8)
    painted = overlay(Sample(black, black, grades, (grades > 0).astype(np.uint8)))
    assert painted[0, 0].tolist() == [0, 0, 0]
    for grade, colour in COLOURS.items():
        assert painted[0, grade] == pytest.approx(0.55 * np.array(rgb(colour)), abs=1)


def test_localisation_shows_buildings_over_pre():
    grades = np.array([[0, 4]], np.uint8)
    pre = np.full((1, 2, 3), 100, np.uint8)
    sample = Sample(pre, None, grades, np.array([[0, 1]], np.uint8))
    painted = overlay(sample)
    assert painted[0, 0].tolist() == [100] * 3
    assert painted[0, 1] == pytest.approx(45 + 0.55 * np.array(BUILDING), abs=1)
    assert show.contact_sheet([sample]).shape[1] == 2 * (2 * show.SIZE + show.GAP)


@pytest.mark.parametrize(("text", "why"), [("= 1", "not TOML"), (None, "no such recipe")])
def test_what_is_no_recipe_is_said(tmp_path, text, why):
    path = tmp_path / "bad.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OptionError, match=rf"bad\.toml: {why}"):
        show.samples_of(str(path), [], count=1, seed=0)


def test_an_unknown_preset_is_one_line_and_a_usage_error(folder, tmp_path, monkeypatch, capsys):
    code = run(monkeypatch, "first_plaice", "--data", folder, "-o", tmp_path / "sheet.png")
    assert code == 2
    assert capsys.readouterr().err.count("\n") == 1
