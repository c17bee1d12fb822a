import json
import shutil

import numpy as np
import pytest

from geodamage.cli.tables import print_scores
from geodamage.scores.buildings import grading_score
from geodamage.scores.calibration import calibration
from geodamage.scores.metrics import report
from geodamage.scores.pixels import OfficialScore
from tests.conftest import run_command
from tests.official_vectors import COUNTS, VECTORS, write_masks

KEYS = [
    "score", "localization_f1", "damage_f1", "damage_f1_no_damage", "damage_f1_minor_damage",
    "damage_f1_major_damage", "damage_f1_destroyed", "damage_f1_defined", "counts", "classes",
    "buildings", "images", "official", "official_reason",
]  # fmt: skip


def write(folder, images):
    """Write masks in the official layout; return the two folders."""
    named = {f"{number:05d}": masks for number, masks in enumerate(images)}
    return write_masks(folder, named, part="hold")


def small(seed=0):
    rng = np.random.default_rng(seed)
    located = np.kron(rng.random((8, 8)) < 0.4, np.ones((4, 4))).astype(np.uint8)
    damage = located * rng.integers(1, 5, located.shape).astype(np.uint8)
    return located, damage, located, damage


@pytest.fixture
def folders(tmp_path):
    """Two small images with the names of their pairs."""
    folders = write(tmp_path, [small(0), small(1)])
    (folders[1] / "names.csv").write_text("id,pair\n00000,flood_00000001\n00001,fire_00000002\n")
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("case", VECTORS)
def test_the_command_gives_what_the_official_scorer_gives(tmp_path, case):
    images, score, damage_f1, localisation_f1, grades = VECTORS[case]
    images = images()
    result = run_command("score", *write(tmp_path, images), "--json", "--strict")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    figures = json.loads(result.stdout)
    assert list(figures) == KEYS
    official = list(figures.values())[:7]
    printed = [score, localisation_f1, damage_f1, *grades]
    assert official == pytest.approx(printed, rel=1e-8, abs=1e-9)
    counts = [tuple(c[k] for k in ("tp", "fn", "fp")) for c in figures["counts"].values()]
    assert counts == COUNTS[case]
    assert (figures["images"], figures["official"]) == (len(images), True)
    # The formula once more, from the counts as printed.
    f1 = [2 * tp / (2 * tp + fn + fp) if tp else 0 for tp, fn, fp in counts]
    harmonic = 4 / sum(1 / (f + 1e-6) for f in f1[1:])
    exact = [0.3 * f1[0] + 0.7 * harmonic, f1[0], harmonic, *f1[1:]]
    assert official == pytest.approx(exact, rel=1e-12, abs=1e-15)


@pytest.mark.slow
def test_the_table_says_what_is_not_defined(tmp_path):
    result = run_command("score", *write(tmp_path, VECTORS["F"][0]()))
    assert result.exit_code == 0, result.stderr
    lines = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert "0.3000" in lines["xView2 score"]
    assert "the targets have no destroyed" in lines["damage F1"]
    assert "1.0000  over the grades that occur" in result.stdout
    (absent,) = (line for line in result.stdout.splitlines() if "class absent" in line)
    assert absent.split()[:2] == ["destroyed", "n/a"]
    assert absent.endswith("not defined: class absent")
    assert "not the official score" not in result.stdout
    assert "connected components" in result.stdout


def test_columns_of_the_table_are_aligned(folders):
    lines = run_command("score", *folders).stdout.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("by pixel"))
    header, *rows = lines[first : first + 6]
    assert [row.split()[0] for row in rows] == [
        "localization", "no-damage", "minor-damage", "major-damage", "destroyed"
    ]  # fmt: skip
    for column in ("F1", "precision", "recall", "TP", "FN", "FP"):
        end = header.index(column) + len(column)
        assert all(row[end - 1].isdigit() and row[end : end + 1] in ("", " ") for row in rows)


def test_events_are_shown_where_they_are_asked_for(folders):
    assert "flood" not in run_command("score", *folders).stdout
    lines = run_command("score", *folders, "--per-event").stdout.splitlines()
    names = [line.split()[0] for line in lines if line.startswith(("fire", "flood"))]
    assert names == ["fire", "flood"]
    figures = json.loads(run_command("score", *folders, "--json").stdout)
    assert list(figures) == [*KEYS, "events"]
    assert list(figures["events"]["fire"]) == KEYS


@pytest.mark.slow
def test_what_masks_writes_is_scored_by_pair_and_event(tmp_path):
    square = "POLYGON ((100 100, 400 100, 400 400, 100 400, 100 100))"
    for pair, grade in (("quake_1", "destroyed"), ("flood_1", "no-damage")):
        for date in ("pre", "post"):
            building = {"feature_type": "building", "uid": "a"}
            building |= {"subtype": grade} if date == "post" else {}
            label = {"features": {"xy": [{"properties": building, "wkt": square}], "lng_lat": []}}
            label["metadata"] = {"width": 1024, "height": 1024}
            (tmp_path / f"{pair}_{date}_disaster.json").write_text(json.dumps(label))
    targets, predictions = tmp_path / "targets", tmp_path / "predictions"
    drawn = run_command("masks", tmp_path, "-o", targets)
    assert drawn.exit_code == 0, drawn.stderr
    assert "wrote 4 masks of 4 labels" in drawn.stderr
    predictions.mkdir()
    for path in targets.glob("*.png"):
        shutil.copy(path, predictions / path.name.replace("target", "prediction"))
    done = run_command("score", predictions, targets, "--per-event", "--json")
    assert done.exit_code == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["localization_f1"] == 1
    assert set(figures["events"]) == {"quake", "flood"}


def test_events_without_names_are_refused(folders):
    (folders[1] / "names.csv").unlink()
    result = run_command("score", *folders, "--per-event")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "names.csv is not there" in result.stderr


def test_images_of_another_size_are_scored_with_a_word(folders):
    result = run_command("score", *folders)
    assert result.exit_code == 0
    assert "not the official score: 2 of 2 images are not 1024 x 1024 pixels" in result.stdout
    strict = run_command("score", *folders, "--strict")
    assert strict.exit_code == 4
    assert strict.stdout == ""


def test_a_refused_input_is_one_line_and_exit_code_4(folders):
    (folders[0] / "hold_damage_00001_prediction.png").unlink()
    result = run_command("score", *folders, "--json")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.count("\n") == 1
    assert "hold_damage_00001_prediction.png: no such prediction" in result.stderr


def test_long_work_says_how_far_it_is_unless_quiet(folders, monkeypatch):
    monkeypatch.setattr("geodamage.cli.score.LINE_EVERY", 0)
    assert run_command("score", *folders).stderr == "1 of 2 images\n2 of 2 images\n"
    assert run_command("score", *folders, "--quiet").stderr == ""


def test_the_help_ends_its_words_with_an_example_on_a_line_of_its_own():
    words = run_command("score", "--help").stdout.split("Options:")[0]
    assert words.rstrip().endswith("\n    geodamage score predictions targets --json")


def printed(capsys, figures):
    print_scores(figures)
    return capsys.readouterr().out.splitlines()


def test_a_table_shows_buildings_and_calibration_where_a_report_has_them(capsys):
    p = np.array([[0.86, 0.14, 0, 0], [0.84, 0.16, 0, 0]])
    grading = grading_score([1] * 40 + [4] * 2, [1] * 39 + [2] + [4] * 2)
    lines = printed(capsys, report(OfficialScore.empty(), grading, calibration(p, [1, 2])))
    rows = {line.split()[0]: line.split() for line in lines if line.strip()}
    assert "expected error 0.3500" in next(line for line in lines if "calibration" in line)
    assert ["0.80", "0.90", "2", "0.8500", "0.5000"] in [line.split() for line in lines]
    confusion = next(i for i, line in enumerate(lines) if line.startswith("truth"))
    assert lines[confusion + 1].split() == ["no-damage", "39", "1", "0", "0", "0"]
    assert ["destroyed", "2", "2", "n/a", "n/a"] in [line.split() for line in lines]
    assert rows["macro"][2:] == ["0.9873", "0.9873"]


def test_a_table_needs_neither_buildings_nor_calibration(capsys):
    lines = printed(capsys, report(OfficialScore.empty()))
    assert len([line for line in lines if line.endswith("not defined: class absent")]) == 5
    assert not [line for line in lines if "by building" in line or "calibration" in line]
