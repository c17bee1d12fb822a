import cv2
import numpy as np
import pytest

from tests.landscapes import landscape, later
from training.appearance import main, weighted_median

pytestmark = pytest.mark.slow  # torch


def test_half_of_the_weight_is_at_or_below_a_median():
    assert weighted_median([3.0, 1.0, 2.0], [1.0, 1.0, 1.0]) == 2
    assert weighted_median([3.0, 1.0, 2.0], [9.0, 1.0, 1.0]) == 3


def test_the_places_of_a_part_are_looked_at(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    image = landscape(64, 64)
    for date, pixels in (("pre", image), ("post", later(image))):
        path = folder / f"storm_00000001_{date}_disaster.png"
        assert cv2.imwrite(str(path), np.ascontiguousarray(pixels.transpose(1, 2, 0)[..., ::-1]))
    split = tmp_path / "split.csv"
    split.write_text("pair,event,place,part\nstorm_00000001,storm,0,train\nother,storm,1,test\n")
    main([str(tmp_path), str(split)])
    printed = capsys.readouterr().out
    assert printed.startswith("alone: ends [")
    assert "\npair: ends [" in printed
    assert "\ndate: low 0." in printed
