import cv2
import numpy as np
import pytest

from tests.training.runs.answers import make_answer
from training.runs.pictures import GAP, SIZE, STRIP, binned, draw_curve, sample_sheet

GREEN = 44, 162, 95  # no-damage


def cell(sheet, column, row=0):
    top = STRIP + row * (SIZE + GAP)
    left = column * (SIZE + GAP)
    return sheet[top : top + SIZE, left : left + SIZE].astype(int)


def is_red(pixels):
    return (pixels[..., 0] > pixels[..., 1] + 50).mean()


def is_green(pixels):
    return (pixels[..., 1] > pixels[..., 0] + 30).mean()


def test_a_row_is_pre_post_truth_and_prediction():
    sheet = sample_sheet([make_answer(), make_answer()])
    assert sheet.shape == (2 * STRIP + 2 * SIZE + GAP, 4 * SIZE + 3 * GAP, 3)
    for row in (0, 1):
        pre, post, truth, said = (cell(sheet, column, row) for column in range(4))
        assert (pre == 200).all()
        assert (post == 100).all()
        assert is_red(truth[: SIZE // 2]) == 1  # destroyed above
        assert (is_red(truth[SIZE // 2 :]), is_green(truth)) == (0, 0)
        assert is_green(said[:, : SIZE // 2]) == 1  # said no-damage on the left
        assert (is_green(said[:, SIZE // 2 :]), is_red(said)) == (0, 0)


def test_localisation_has_no_post():
    sheet = sample_sheet([make_answer(graded=False)])
    assert sheet.shape[1] == 3 * SIZE + 2 * GAP
    truth, said = cell(sheet, 1), cell(sheet, 2)
    blue = truth[..., 2] > truth[..., 0] + 50
    assert blue[: SIZE // 2].all()
    assert not blue[SIZE // 2 :].any()
    blue = said[..., 2] > said[..., 0] + 50
    assert blue[:, : SIZE // 2].all()
    assert not blue[:, SIZE // 2 :].any()


def test_a_long_image_keeps_its_shape():
    sheet = sample_sheet([make_answer(rows=32)])
    pre = cell(sheet, 0)
    assert (pre[: SIZE // 2] == 200).all()
    assert (pre[SIZE // 2 :] == 255).all()


def test_without_pairs_there_is_no_picture():
    assert sample_sheet([]) is None


def test_losses_are_smoothed_by_means_of_equal_runs():
    middles, mean, low, high = binned(range(1, 1001), np.arange(1000.0), points=10)
    assert middles == pytest.approx(np.arange(50.5, 1000, 100))
    assert mean == pytest.approx(np.arange(49.5, 1000, 100))
    assert (low < mean).all()
    assert (mean < high).all()
    assert binned([7], [0.5])[1].tolist() == [0.5]


@pytest.mark.parametrize("best", [None, ("score", 2, 0.5), ("loss", 2, 1.5)])
@pytest.mark.parametrize("losses", [[], [1.0], [3.0, -1.0, 0.001], [1000.0] * 5 + [0.001] * 5])
def test_a_curve_can_be_drawn_of_any_run(tmp_path, losses, best):
    series = {"score": [(1, 0.25), (2, 0.5)], "loss": [(2, 1.5)], "epoch": [(1, 1.0)]}
    path = tmp_path / "curve.png"
    steps = range(1, len(losses) + 1)
    draw_curve(path, steps, losses, series if best else {}, title="a run", best=best)
    picture = cv2.imread(str(path))
    assert picture.shape[0] > 500
    assert picture.std() > 1
    assert [each.name for each in tmp_path.iterdir()] == ["curve.png"]
