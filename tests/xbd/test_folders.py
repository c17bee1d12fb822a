import cv2
import numpy as np
import pytest

from geodamage.errors import LabelError, SceneReadError
from geodamage.xbd.folders import Pair, read_image, read_split


def test_the_event_is_the_name_without_its_number(tmp_path):
    assert Pair("storm-b_00000007", tmp_path).event == "storm-b"
    assert Pair("alone", tmp_path).event == "alone"


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_an_image_is_read_in_red_green_blue(tmp_path, suffix):
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    path = tmp_path / f"image{suffix}"
    cv2.imwrite(str(path), image[..., ::-1])
    assert (read_image(path) == image).all()


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.zeros((4, 4), np.uint8), "1 channel of uint8"),
        (np.zeros((4, 4, 3), np.uint16), "3 channels of uint16"),
    ],
)
def test_an_image_of_another_kind_is_refused(tmp_path, image, why):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), image)
    with pytest.raises(SceneReadError, match=why):
        read_image(path)


def test_what_is_no_image_is_refused(tmp_path):
    path = tmp_path / "image.tif"
    path.write_text('<VRTDataset rasterXSize="2" rasterYSize="2"/>')
    with pytest.raises(SceneReadError, match="not a GeoTIFF, or damaged"):
        read_image(path)


def test_a_split_names_pairs(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("pair,part\na_1,train\nb_1,test\n")
    assert [pair.name for pair in read_split(path, tmp_path)] == ["a_1", "b_1"]
    assert [pair.name for pair in read_split(path, tmp_path, "test")] == ["b_1"]
    with pytest.raises(LabelError, match="its parts are test, train"):
        read_split(path, tmp_path, "validation")
    path.write_text(path.read_text() + "c_1\n")
    with pytest.raises(LabelError, match="line 4 is short"):
        read_split(path, tmp_path)


@pytest.mark.parametrize("text", [None, "name\na\n", b"\xff\xfe\x00"])
def test_what_is_no_split_is_refused(tmp_path, text):
    path = tmp_path / "split.csv"
    if isinstance(text, bytes):
        path.write_bytes(text)
    elif text is not None:
        path.write_text(text)
    with pytest.raises(LabelError, match=r"split.csv: (not a split|no such|not a text)"):
        read_split(path, tmp_path, "train")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_truncated_image_is_refused(tmp_path, suffix):
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / f"image{suffix}"
    cv2.imwrite(str(path), image)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SceneReadError, match=r"or damaged|cannot be read as PNG"):
        read_image(path)
