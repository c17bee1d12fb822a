import numpy as np
import pytest

from geodamage.errors import LabelError
from tests.training.building_folders import write_masks
from training import pseudo_labels
from training.building_predictor import Answer
from training.data.building_images import LEARNT, in_folds, read_building_index
from training.data.building_sources import image_tiles
from training.prepare_buildings import CropOptions
from training.prepare_buildings import main as prepare
from training.pseudo_labels import labelled_crops, main, write_soft


def teacher(image):
    """Be sure of what is bright, and of that nothing is where all is dark."""
    probability = (image[..., 0] / 300).astype(np.float32)
    bright = probability.max() > 0.7
    return Answer(probability * (1 if bright else 0.1), 0.9 if bright else 0.05)


def folder(tmp_path):
    return write_masks(tmp_path / "set", ["a", "b", "c_empty"], size=64)


def labelled(tmp_path):
    """Write a prepared folder of other places."""
    write_masks(tmp_path / "known", ["x", "y"], size=64)
    prepared = tmp_path / "prepared"
    prepare([str(tmp_path / "known"), "-o", str(prepared), "--folds", "2", "--scales", "1"])
    return prepared


def write(tmp_path, negatives=None, by=teacher):
    tiles = image_tiles(folder(tmp_path))
    told = []
    crops = labelled_crops(tiles, by, CropOptions(size=64, scales=(1.0,)))
    write_soft(crops, tmp_path / "soft", negatives, told.append)
    return told


def test_masks_are_as_grey_as_the_teachers_are_sure(tmp_path):
    told = write(tmp_path)
    images = read_building_index(tmp_path / "soft")
    assert [image.fold for image in images] == [LEARNT] * 3
    pixels, mask = images[0].load()
    wanted = np.rint(teacher(pixels).probability * 255)
    assert np.abs(mask - wanted).max() < 30  # the JPEG lies between
    assert len(np.unique(mask)) > 2
    assert "3 soft labels" in told[0]


def test_images_of_masks_are_not_taken_for_images(tmp_path):
    assert [tile.name for tile in image_tiles(folder(tmp_path))] == ["a", "b", "c_empty"]


def test_what_shows_no_building_becomes_a_negative_that_every_fold_learns(tmp_path):
    prepared = labelled(tmp_path)
    before = read_building_index(prepared)

    def blind(image):
        return Answer(np.full(image.shape[:2], 0.1, np.float32), 0.1)

    calls = iter([teacher, blind, teacher])
    told = write(tmp_path, prepared, by=lambda image: next(calls)(image))
    after = read_building_index(prepared)
    assert len(after) == len(before) + 1
    (mined,) = [image for image in after if image.fold == LEARNT]
    assert not mined.load()[1].any()
    assert not mined.buildings
    for fold in (0, 1):
        assert mined in in_folds(after, fold)[0]
    assert len(read_building_index(tmp_path / "soft")) == 2
    assert "1 negatives added" in told[1]


@pytest.mark.parametrize(("presence", "most"), [(0.1, 0.5), (0.5, 0.1)])
def test_both_heads_must_agree_that_nothing_is_there(tmp_path, presence, most):
    prepared = labelled(tmp_path)
    write(tmp_path, prepared, lambda i: Answer(np.full(i.shape[:2], most, np.float32), presence))
    assert all(image.fold != LEARNT for image in read_building_index(prepared))


def test_images_that_have_labels_are_not_mined(tmp_path, capsys):
    prepared = labelled(tmp_path)
    arguments = [str(tmp_path / "known"), "-o", str(tmp_path / "soft"), "--by", "x"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--negatives-to", str(prepared)])
    assert stop.value.code == 4
    assert "has labels of x; give --leave-out for it" in capsys.readouterr().err


def test_negatives_need_a_presence_head(tmp_path):
    prepared = labelled(tmp_path)
    with pytest.raises(LabelError, match="no network here has a presence head"):
        write(tmp_path, prepared, lambda i: Answer(np.zeros(i.shape[:2], np.float32), None))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--by", "nowhere"], "nowhere"),
        (["--only", "z*", "--by", "nowhere"], "no image is left"),
        (["--negatives-to", "nowhere", "--by", "x"], "no index of prepared images"),
    ],
)
def test_what_is_missing_is_said_in_one_line(tmp_path, capsys, change, words):
    arguments = [str(folder(tmp_path)), "-o", str(tmp_path / "soft"), *change]
    with pytest.raises(SystemExit):
        main(arguments)
    said = capsys.readouterr().err
    assert words in said
    assert said.strip().count("\n") == 0


def test_soft_labels_are_not_written_over(tmp_path, capsys, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr(pseudo_labels, "read_trained", lambda source: source)
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "set"), "-o", str(tmp_path / "soft"), "--by", "x"])
    assert stop.value.code == 6
    assert "is there; give another -o" in capsys.readouterr().err
