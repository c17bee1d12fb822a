import json
import zlib

import cv2
import numpy as np
import pytest
import rasterio
from scipy import ndimage

from geodamage.errors import ScoringError
from geodamage.scores.pixels import official_score
from geodamage.scores.scoring import (
    ImageId,
    MaskScore,
    find_submission,
    read_mask,
    report_scores,
    score_components,
    score_images,
)
from tests.official_vectors import write_masks

SIDE = 32


def draw(seed=0, side=SIDE):
    """Draw predictions and targets: blocks of 4 pixels, each with a grade."""
    rng = np.random.default_rng(seed)
    located = np.kron(rng.random((2, side // 4, side // 4)) < 0.4, np.ones((4, 4))).astype(np.uint8)
    grades = rng.integers(1, 5, (2, side // 4, side // 4))
    painted = (np.kron(grades, np.ones((4, 4), int)) * located).astype(np.uint8)
    return located[0], painted[0], located[1], painted[1]


@pytest.fixture
def folders(tmp_path):
    """Two images of one submission."""
    return write_masks(tmp_path, {"00000": draw(0), "00001": draw(1)})


def score(folders, **options):
    submission = find_submission(*folders)
    return report_scores(submission, score_images(submission, **options))


def refusal(folders, **options):
    with pytest.raises(ScoringError) as caught:
        score(folders, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_images_are_counted_one_by_one_and_added_up(folders):
    submission = find_submission(*folders)
    images = dict(score_images(submission))
    assert list(images) == [ImageId("test", "00000"), ImageId("test", "00001")]
    for seed, one in enumerate(images.values()):
        assert one.official == official_score(*draw(seed))
        assert one.images == one.odd_shapes == 1
    whole = MaskScore.empty()
    for one in images.values():
        whole = whole.plus(one)
    assert score(folders) == whole.report()


def test_the_result_is_the_same_for_test_and_hold(tmp_path):
    images = {"00000": draw(0)}
    reports = [score(write_masks(tmp_path / part, images, part)) for part in ("test", "hold")]
    assert reports[0] == reports[1]


def test_odd_shapes_are_scored_and_said_to_be_no_official_score(folders):
    figures = score(folders)
    assert figures["official"] is False
    assert figures["official_reason"].startswith("2 of 2 images are not 1024 x 1024 pixels")
    assert "32 x 32 pixels; the official scorer takes 1024 x 1024 only" in refusal(
        folders, strict=True
    )


@pytest.mark.slow
def test_a_full_image_is_official(tmp_path):
    figures = score(write_masks(tmp_path, {"00000": draw(0, 1024)}), strict=True)
    assert (figures["official"], figures["official_reason"], figures["images"]) == (True, None, 1)


def test_the_report_is_json(folders):
    figures = score(folders)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert "connected components" in figures["buildings"]["unit"]
    assert "events" not in figures
    assert "calibration" not in figures


def test_predictions_without_a_target_are_not_looked_at(folders):
    before = score(folders)
    (folders[0] / "test_damage_00009_prediction.png").write_bytes(b"nothing")
    (folders[0] / "notes.png").write_bytes(b"nothing")
    assert score(folders) == before


def test_other_files_beside_the_targets_are_let_be(folders):
    before = score(folders)
    (folders[1] / "README.txt").write_text("targets")
    assert score(folders) == before


@pytest.mark.parametrize(
    "name",
    [
        "notes.png",
        "train_damage_00000_target.png",
        "test_damage_00000_prediction.png",
        "test_buildings_00000_target.png",
        "test_damage_00_000_target.png",
        "test_damage__target.png",
        "test_localization_00000_target.png.png",
    ],
)
def test_a_target_of_another_name_is_refused(folders, name):
    (folders[1] / name).write_bytes(b"")
    message = refusal(folders)
    assert name in message
    assert "not the name of a target" in message


def test_a_folder_without_targets_is_refused(tmp_path):
    assert "no target" in refusal(write_masks(tmp_path, {}))


def test_a_folder_that_is_not_there_is_refused(folders, tmp_path):
    assert "nowhere: no such folder" in refusal((tmp_path / "nowhere", folders[1]))
    assert "nowhere: no such folder" in refusal((folders[0], tmp_path / "nowhere"))


@pytest.mark.parametrize("kind", ["localization", "damage"])
def test_a_missing_prediction_is_named(folders, kind):
    (folders[0] / f"test_{kind}_00001_prediction.png").unlink()
    assert f"test_{kind}_00001_prediction.png: no such prediction; every" in refusal(folders)


def test_missing_predictions_are_counted(folders):
    for path in folders[0].iterdir():
        path.unlink()
    assert "test_localization_00000_prediction.png: no such prediction (and 3 more)" in refusal(
        folders
    )


@pytest.mark.parametrize("kind", ["localization", "damage"])
def test_a_target_without_its_other_half_is_refused(folders, kind):
    (folders[1] / f"test_{kind}_00001_target.png").unlink()
    assert f"test_{kind}_00001_target.png: no such target" in refusal(folders)


@pytest.mark.parametrize("folder", [0, 1])
@pytest.mark.parametrize("value", [5, 255])
def test_other_values_are_named(folders, folder, value):
    role = ("prediction", "target")[folder]
    path = folders[folder] / f"test_damage_00001_{role}.png"
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[3, 4] = value
    cv2.imwrite(str(path), mask)
    assert refusal(folders) == f"{path}: holds the value {value}; a mask holds 0-4 only"


def test_of_many_other_values_five_are_named(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.arange(256, dtype=np.uint8).reshape(16, 16))
    with pytest.raises(ScoringError, match=r"holds the value 5, 6, 7, 8, 9, \.\.\.;"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("index", range(1, 4))
def test_masks_of_one_image_lie_on_one_grid(tmp_path, index):
    masks = list(draw(0))
    masks[index] = masks[index][:, :-1]
    message = refusal(write_masks(tmp_path, {"00000": masks}))
    assert "31 x 32 pixels, but" in message
    assert "has 32 x 32" in message


def grey(path):
    cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))


def colour(path):
    cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))


def wide(path):
    cv2.imwrite(str(path), np.zeros((4, 4), np.uint16))


def black_and_white(path):
    cv2.imwrite(str(path), np.zeros((4, 4), np.uint8), [cv2.IMWRITE_PNG_BILEVEL, 1])


def palette(path):
    profile = {"driver": "PNG", "width": 4, "height": 4, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.ones((1, 4, 4), np.uint8))
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})


def jpeg(path):
    path.write_bytes(cv2.imencode(".jpg", np.zeros((4, 4), np.uint8))[1].tobytes())


def truncated(path):
    noise = np.random.default_rng(0).integers(0, 5, (64, 64)).astype(np.uint8)
    path.write_bytes(cv2.imencode(".png", noise)[1].tobytes()[:300])


def too_short(path):
    """Write a PNG of whole chunks whose pixels end early."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return len(content).to_bytes(4, "big") + kind + content + checksum.to_bytes(4, "big")

    header = (64).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    pixels = zlib.compress(bytes(2000))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def corrupt(path):
    noise = np.random.default_rng(0).integers(0, 5, (64, 64)).astype(np.uint8)
    whole = bytearray(cv2.imencode(".png", noise)[1].tobytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)


def huge(path):
    grey(path)
    whole = bytearray(path.read_bytes())
    whole[16:24] = (100_000).to_bytes(4, "big") * 2
    path.write_bytes(whole)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (colour, "a RGB PNG of 8 bits; a mask has one grey channel of 8 bits"),
        (wide, "a grey PNG of 16 bits"),
        (black_and_white, "a grey PNG of 1 bits"),
        (palette, "a palette PNG of 8 bits"),
        (jpeg, "not a PNG"),
        (lambda path: path.write_bytes(b""), "not a PNG"),
        (lambda path: path.mkdir(), "not a file"),
        (truncated, "a damaged PNG"),
        (too_short, "a damaged PNG"),
        (corrupt, "a damaged PNG"),
        (huge, "100000 x 100000 pixels are too many"),
    ],
)
def test_a_file_that_is_no_mask_is_refused(tmp_path, spoil, reason):
    path = tmp_path / "test_damage_00000_target.png"
    spoil(path)
    with pytest.raises(ScoringError) as caught:
        read_mask(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mask_is_read_as_it_was_written(tmp_path):
    mask = draw(3)[1]
    cv2.imwrite(str(tmp_path / "a.png"), mask)
    read = read_mask(tmp_path / "a.png")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, mask)


def test_a_submission_is_checked_before_anything_is_read(folders):
    (folders[0] / "test_damage_00001_prediction.png").unlink()
    (folders[1] / "test_damage_00000_target.png").write_bytes(b"nothing")
    with pytest.raises(ScoringError, match="no such prediction"):
        find_submission(*folders)


def test_events_are_those_of_the_names(folders):
    names = "id,pair\n00000,hurricane-michael_00000012\n00001,mexico-earthquake_00000003\n"
    (folders[1] / "names.csv").write_text(names)
    figures = score(folders)
    assert list(figures["events"]) == ["hurricane-michael", "mexico-earthquake"]
    for seed, event in enumerate(figures["events"].values()):
        assert event["score"] == official_score(*draw(seed)).score
        assert event["images"] == 1
        assert list(event) == [name for name in figures if name != "events"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("number,name\n00000,a_1\n", "needs the columns id and pair"),
        ("id,pair\n00000\n", "needs the columns id and pair"),
        ("id,pair\n00000,a_1\n", "no line for id 00001"),
    ],
)
def test_a_bad_list_of_names_is_refused(folders, text, reason):
    (folders[1] / "names.csv").write_text(text)
    assert reason in refusal(folders)


def test_components_get_the_grade_of_most_of_their_pixels():
    located = np.zeros((6, 12), np.uint8)
    located[1:5, 1:5] = 1
    located[1:5, 7:11] = 3  # any value is a building
    damage = np.zeros_like(located)
    damage[1:5, 1:5] = 2
    damage[1, 1:5] = 4
    damage[1:3, 7:9] = 3  # most of the second says nothing
    found = score_components(located, damage, located, np.where(damage == 3, 4, damage))
    assert found.confusion.tolist() == [[0] * 4, [0, 1, 0, 0], [0] * 4, [0, 0, 1, 0]]
    ungraded = score_components(located, damage * 0, located, damage * 0)
    assert ungraded.detection == (2, 0, 0)
    assert ungraded.confusion.sum() == 0


def test_components_that_touch_at_a_corner_are_two():
    located = np.kron(np.eye(2), np.ones((3, 3))).astype(np.uint8)
    assert score_components(located, located, located, located).detection.tp == 2


@pytest.mark.parametrize("seed", range(5))
def test_components_are_those_of_a_plain_count(seed):
    found, grades, true, true_grades = draw(seed)
    score = score_components(found, grades, true, true_grades)
    index, count = ndimage.label(true)
    assert score.detection.tp + score.detection.fn == count
    assert score.detection.tp + score.detection.fp == ndimage.label(found)[1]
    votes = [np.bincount(true_grades[index == n], minlength=5)[1:] for n in range(1, count + 1)]
    expected = np.bincount([v.argmax() for v in votes], minlength=4)
    figures = score.figures(1)["grades"]
    assert [rates["truth"] for rates in figures.values()] == expected.tolist()
