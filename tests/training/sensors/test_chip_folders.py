import shutil

import cv2
import numpy as np
import pytest

from geodamage.errors import LabelError, OptionError, SceneReadError
from training.sensors.chip_folders import bare_name, labels_of, load_chips, read_chips, read_pairs

HEAD = "img_name,class_id\n"


def write(path, value=0, shape=(31, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full(shape, value, np.uint8))


@pytest.fixture
def tabled(tmp_path):
    for sensor in ("EO", "SAR"):
        for name in ("3", "10", "4"):
            write(tmp_path / f"train_{sensor}" / f"{sensor}_{name}.png", int(name))
        # Not in the order of the names: the rows alone say what belongs together.
        text = f"{HEAD}{sensor}_10.png,1\n{sensor}_3.png,0\n{sensor}_4.png,1\n"
        (tmp_path / f"train_{sensor}.csv").write_text(text)
    return tmp_path


@pytest.fixture
def foldered(tmp_path):
    for sensor in ("EO", "SAR"):
        for label, name in ((0, "3"), (1, "10"), (1, "4"), (10, "7")):
            write(tmp_path / f"train_{sensor}" / str(label) / f"{sensor}_{name}.png", int(name))
    return tmp_path


def test_tables_are_read_row_by_row(tabled):
    pairs = read_pairs(tabled, "train")
    assert [chip.name for chip in pairs.eo] == [chip.name for chip in pairs.sar] == ["10", "3", "4"]
    assert labels_of(pairs.sar, 2).tolist() == [1, 0, 1]
    assert load_chips(pairs.eo, 30)[:, 0, 0].tolist() == [10, 3, 4]


def test_tables_may_pair_images_of_other_names(tabled):
    shutil.copy(tabled / "train_SAR/SAR_3.png", tabled / "train_SAR/SAR_99.png")
    table = tabled / "train_SAR.csv"
    table.write_text(table.read_text().replace("SAR_3", "SAR_99"))
    assert read_pairs(tabled, "train").sar[1].name == "99"


def test_folders_of_classes_are_paired_by_name(foldered):
    pairs = read_pairs(foldered, "train")
    assert [(chip.label, chip.name) for chip in pairs.sar] == [
        (0, "3"), (1, "10"), (1, "4"), (10, "7")
    ]  # fmt: skip


def test_images_without_classes_are_for_prediction_alone(tmp_path):
    write(tmp_path / "test_EO" / "482.png")
    assert read_chips(tmp_path, "test", "eo")[0].label is None
    write(tmp_path / "test_SAR" / "482.png")
    with pytest.raises(LabelError, match=r"482\.png: has no class"):
        read_pairs(tmp_path, "test")


def test_chips_are_brought_to_one_size(tmp_path):
    for name, shape in (("1", (54, 54)), ("2", (60, 57)), ("3", (20, 20))):
        write(tmp_path / "test_SAR" / f"{name}.png", 90, shape)
    loaded = load_chips(read_chips(tmp_path, "test", "sar"), 48)
    assert loaded.shape == (3, 48, 48)
    assert loaded.dtype == np.uint8
    assert (loaded == 90).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("SAR_3.png,0", "SAR_3.png,1"), "pair 2 .* class 0 and .* class 1"),
        (("SAR_4.png,1\n", ""), "3 EO and 2 SAR"),
        (("class_id", "label"), "not a table of img_name and class_id"),
        ((",0", ",first"), "not a table"),
        ((",0", ",-1"), "not a table"),
        (("SAR_3", "SAR_5"), r"SAR_5\.png: is in the table"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tabled, change, words):
    table = tabled / "train_SAR.csv"
    table.write_text(table.read_text().replace(*change))
    with pytest.raises(LabelError, match=words):
        read_pairs(tabled, "train")


def test_one_table_alone_is_refused(foldered):
    rows = "0/EO_3.png,0\n1/EO_10.png,1\n1/EO_4.png,1\n10/EO_7.png,10\n"
    (foldered / "train_EO.csv").write_text(HEAD + rows)
    with pytest.raises(LabelError, match=r"only one of train_EO\.csv and train_SAR\.csv"):
        read_pairs(foldered, "train")


def test_folders_that_do_not_pair_are_refused(foldered):
    (foldered / "train_SAR/1/SAR_4.png").rename(foldered / "train_SAR/1/SAR_5.png")
    with pytest.raises(LabelError, match="pair 3 of train"):
        read_pairs(foldered, "train")


def test_a_folder_that_is_no_class_is_refused(foldered):
    write(foldered / "train_EO" / "sedan" / "EO_8.png")
    with pytest.raises(LabelError, match="named by its number"):
        read_pairs(foldered, "train")


def test_a_part_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OptionError, match="test_EO: no such folder"):
        read_chips(tmp_path, "test", "eo")
    (tmp_path / "test_EO").mkdir()
    with pytest.raises(OptionError, match="has no images"):
        read_chips(tmp_path, "test", "eo")


def test_a_damaged_image_is_named(tmp_path):
    (tmp_path / "test_EO").mkdir()
    (tmp_path / "test_EO/1.png").write_bytes(b"nothing")
    with pytest.raises(SceneReadError, match=r"1\.png"):
        load_chips(read_chips(tmp_path, "test", "eo"), 30)


def test_a_class_beyond_the_last_is_refused(foldered):
    with pytest.raises(LabelError, match="its class is 10; 0 to 9"):
        labels_of(read_pairs(foldered, "train").eo, 10)


@pytest.mark.parametrize(
    ("name", "bare"),
    [("EO_7.png", "7"), ("sar_7_b.png", "7_b"), ("7.png", "7"), ("a_7.png", "a_7")],
)
def test_a_name_loses_its_sensor(tmp_path, name, bare):
    assert bare_name(tmp_path / name) == bare
