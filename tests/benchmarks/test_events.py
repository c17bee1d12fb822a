import argparse
import itertools
from pathlib import Path

import numpy as np
import pytest

from benchmarks import events
from benchmarks.events import FOLDS, Event, command, main, measure, told, train_all
from geodamage.buildings.finding import Grading
from geodamage.errors import OptionError
from geodamage.scores.buildings import grading_score
from geodamage.scores.tallies import Drawing, Tally
from geodamage.xbd.folders import read_split
from tests.fakes import write_xbd
from tests.run_folders import write_run
from training.calibrate import Chosen
from training.recipe import Recipe

NAMES = [f"{event}_{n:08d}" for fold in FOLDS.values() for event in fold for n in range(3)]


@pytest.fixture
def options(tmp_path):
    folders = {name: tmp_path / name for name in ("data", "half", "masked", "runs")}
    return argparse.Namespace(steps=10, threads=1, folds="", set=[], tuned=False, **folders)


def test_every_event_is_left_out_once():
    left = [*itertools.chain(*FOLDS.values())]
    recorded = {pair.event for pair in read_split(events.RECIPES / "compact.csv", "")}
    assert sorted(left) == sorted(recorded)


def test_no_fold_learns_from_what_knows_its_events(options):
    for fold in FOLDS:
        arguments = command(fold, options)
        changes = [b for a, b in itertools.pairwise(arguments) if a == "--set"]
        recipe = Recipe.read(Path(arguments[0]), changes)
        assert recipe.distil.teachers == ()
        assert recipe.init == ""
        mexico = "mexico-earthquake" in FOLDS[fold]
        assert (recipe.chips.half_share == 0) == mexico == ("--half" not in arguments)


def test_folders_that_were_not_given_are_named(options):
    options.half = None
    with pytest.raises(OptionError, match="--half and --masked"):
        command("michael", options)


@pytest.mark.slow
def test_training_splits_by_event_and_skips_what_is_done(options, monkeypatch):
    write_xbd(options.data, NAMES)
    options.runs.mkdir()
    trained = []
    monkeypatch.setattr(events.train, "main", trained.append)
    monkeypatch.setattr(events, "is_done", lambda run: run.name == "michael")
    assert len([*train_all(options)]) == len(FOLDS)
    assert len(trained) == len(FOLDS) - 1
    held_out = read_split(options.runs / "guatemala-midwest.csv", "", "test")
    assert {pair.event for pair in held_out} == {*FOLDS["guatemala-midwest"]}


@pytest.mark.slow
def test_a_fold_is_measured_event_by_event(options, monkeypatch):
    write_xbd(options.data, NAMES)
    run = write_run(options.runs / "guatemala-midwest", "compact_small", sampling="chips")
    rows = [f"{n},{'test' if n.startswith(('guatemala', 'midwest')) else 'train'}" for n in NAMES]
    (run / "split.csv").write_text("\n".join(["pair,part", *rows]) + "\n")
    found = measure("guatemala-midwest", options)
    assert {*found} == {*FOLDS["guatemala-midwest"]}
    for event in found.values():
        assert len(event.tallies) == len(event.by_pixels) == len(event.most_frequent) == 3
        row = event.row("x")
        assert row.count("n/a (3)") == 4  # three buildings of each grade give no rate
        assert row.endswith("0.000, 0.100 |")  # one of four right: F1 of one grade is 0.4


@pytest.mark.slow
def test_what_is_tuned_is_chosen_on_known_events_and_used(options, monkeypatch):
    names = [name for name in NAMES if name.startswith(("guatemala", "midwest", "hurricane"))]
    write_xbd(options.data, names)
    run = write_run(options.runs / "guatemala-midwest", "compact_small", sampling="chips")
    parts = {"guatemala": "test", "midwest": "test", "hurricane": "train"}
    rows = [f"{name},{parts[name.partition('-')[0]]}" for name in names]
    rows[-1] = rows[-1].replace("train", "validation")
    (run / "split.csv").write_text("\n".join(["pair,part", *rows]) + "\n")
    weighty = Chosen(Drawing(0.4, 0.7, 3), Grading(weights=(1.0, 0.7, 0.7, 1.0)), 0.6)
    looked_at, used = [], []

    def choose_there(part):
        looked_at.extend(predicted.labelled.pair.name for predicted in part)
        return weighty

    def count(truth, prediction, masks, grading, drawing):
        used.append((grading.weights, drawing.threshold, drawing.seed_threshold))
        return Tally.empty()

    monkeypatch.setattr(events, "choose", choose_there)
    monkeypatch.setattr(events, "count_pair", count)
    options.tuned = True
    measure("guatemala-midwest", options)
    assert looked_at == [names[-1]]
    assert used == [((1.0, 0.7, 0.7, 1.0), 0.4, 0.7)] * 6


def test_known_places_are_split_as_the_recipe_says(options):
    assert "--split" in command("michael", options)
    assert "--split" not in command("known", options)


def test_one_change_goes_into_the_folds_that_are_asked_for(options):
    options.folds, options.set = "santa-rosa,michael", ["chips_haze=0.25"]
    assert events.chosen(options) == ["michael", "santa-rosa"]
    assert "chips_haze=0.25" in command("michael", options)
    options.folds = "michael,moon"
    with pytest.raises(OptionError, match="--folds moon: none of michael"):
        events.chosen(options)


@pytest.mark.slow
def test_known_places_stand_apart(options, monkeypatch, tmp_path):
    monkeypatch.setattr(events, "is_done", Path.exists)
    write_xbd(options.data, NAMES)
    run = write_run(options.runs / "known", "compact_small", sampling="chips")
    rows = [f"{name},{'test' if name.endswith('0') else 'train'}" for name in NAMES]
    (run / "split.csv").write_text("\n".join(["pair,part", *rows]) + "\n")
    options.folds, options.facts = "known", [tmp_path / "no.json"]
    told = [line.split(" |")[0] for line in events.table(options)][2:]
    assert told == [f"| {name}, known" for name in sorted({*itertools.chain(*FOLDS.values())})]


def test_a_figure_has_its_interval():
    assert told(None) == "n/a"
    assert told(0.5) == "0.500"
    assert told(0.5, (0.25, 0.75)) == "0.500 (0.25-0.75)"


@pytest.mark.slow
def test_grades_of_enough_buildings_have_a_rate():
    event = Event()
    grades = np.repeat([1, 2], 40)
    score = grading_score(grades, grades)
    event.by_pixels = event.most_frequent = [score]
    tally = Tally.empty()
    event.tallies = [type(tally)(**{**vars(tally), "pairs": 1, "footprints": score})]
    row = event.row("x")
    assert row.count("n/a (0)") == 2
    assert "| 1.000 |" in row


def test_nothing_trained_is_an_empty_table(tmp_path, capsys):
    main(["table", "--data", str(tmp_path), "--runs", str(tmp_path)])
    assert len(capsys.readouterr().out.splitlines()) == 2
