import cv2
import numpy as np

from tests.conftest import listing, run_command
from tests.fakes import write_xbd
from tests.xbd.label_files import POST, PRE, write_labels


def fails(result, code, *words):
    """Assert that a run ended in one line on stderr that has some words."""
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("geodamage: error: ")
    for word in words:
        assert word in line


def test_a_folder_becomes_masks_and_a_summary(tmp_path):
    labels = write_labels(tmp_path / "labels", PRE, POST)
    result = run_command("masks", labels, "-o", tmp_path / "targets")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [
        f"wrote 2 masks of 6 labels to {tmp_path / 'targets'}",
        "1 label without a grade: left undrawn, as in the official targets",
    ]
    assert listing(tmp_path / "targets") == [f"{POST}_target.png", f"{PRE}_target.png"]
    mask = cv2.imread(str(tmp_path / "targets" / f"{POST}_target.png"), cv2.IMREAD_UNCHANGED)
    assert np.bincount(mask.ravel()).tolist() == [88, 16, 0, 0, 16]


def test_a_file_and_an_option(tmp_path):
    labels = write_labels(tmp_path / "labels", PRE, POST)
    file = labels / f"{POST}.json"
    result = run_command("masks", file, "-o", tmp_path, "--unclassified", "ignore")
    assert result.exit_code == 0
    assert "drawn to be ignored (255)" in result.stderr
    mask = cv2.imread(str(tmp_path / f"{POST}_target.png"), cv2.IMREAD_UNCHANGED)
    assert mask.max() == 255


def test_a_download_with_tiers(tmp_path):
    for tier in ("train", "test"):
        write_xbd(tmp_path / tier, [f"{tier}_00000001"])
    result = run_command("masks", tmp_path, "-o", tmp_path / "targets", "-q")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert len(listing(tmp_path / "targets")) == 4


def test_labels_outside_are_a_warning(tmp_path):
    squares = {
        "no-damage": "POLYGON ((0 0, 3 0, 3 3, 0 0))",
        "destroyed": "POLYGON ((50 0, 60 0, 60 3, 50 0))",
    }
    labels = write_labels(tmp_path / "labels", POST, squares=squares)
    result = run_command("masks", labels, "-o", tmp_path)
    assert result.exit_code == 0
    assert f"warning: 1 label lies outside its image and is not drawn; the first in {POST}" in (
        result.stderr
    )


def test_masks_are_replaced_only_when_asked(tmp_path):
    labels = write_labels(tmp_path / "labels", POST)
    arguments = ["masks", labels, "-o", tmp_path]
    assert run_command(*arguments).exit_code == 0
    fails(run_command(*arguments), 6, "exists", "--overwrite")
    assert run_command(*arguments, "--overwrite").exit_code == 0


def test_bad_label_files_end_in_one_line(tmp_path):
    labels = write_labels(tmp_path / "labels", POST)
    file = labels / f"{POST}.json"
    whole = file.read_text()
    for text in (
        "",
        "null",
        whole[: len(whole) // 2],
        whole.replace("POLYGON ((0 0", "POLYGON (0 0"),
        whole.replace("(0 0,", "(1e12 0,"),
        whole.replace("(0 0,", "(nan 0,"),
        whole.replace('"height": 10', '"height": -3'),
        whole.replace('"xy"', '"yx"'),
    ):
        file.write_text(text)
        fails(run_command("masks", labels, "-o", tmp_path / "targets"), 4, file.name)
    file.write_bytes(b"\xff\xfe\x00")
    fails(run_command("masks", labels, "-o", tmp_path / "targets"), 4, file.name)
    assert listing(tmp_path / "targets") == []


def test_paths_that_hold_no_labels_end_in_one_line(tmp_path):
    fails(run_command("masks", tmp_path, "-o", tmp_path), 4, "give the folder of an xBD download")
    missing = tmp_path / f"{POST}.json"
    fails(run_command("masks", missing, "-o", tmp_path), 4, "FileNotFoundError")


def test_an_output_that_is_a_file_ends_in_one_line(tmp_path):
    labels = write_labels(tmp_path / "labels", POST)
    (tmp_path / "file").write_text("")
    fails(run_command("masks", labels, "-o", tmp_path / "file"), 6, "file")


def test_help_ends_its_words_with_an_example():
    lines = run_command("masks", "--help").stdout.splitlines()
    assert (
        lines[lines.index("  Example:") + 1].strip()
        == "geodamage masks xbd/test -o xbd/test/targets"
    )
