"""The command: train, stop and go on, predict and convert, on chips that are drawn."""

import csv
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import training.chips
import training.sensors.modalities
from geodamage.errors import CheckpointError, OptionError
from sample_data.modality_chips import make_chips
from training.chips import main, parse, set_up
from training.runs.records import Status
from training.sensors.chip_networks import (
    ChipFacts,
    Trained,
    create_classifier,
    read_trained_chips,
    save_trained,
)
from training.sensors.chip_recipe import ChipRecipe
from training.sensors.modalities import begin, resume, train_chips

ROOT = Path(__file__).parents[2]
#: A network whose step takes milliseconds, and few chips.
SMALL = [
    'network="resnet18"', "widths=[4,4,4,4]", "pretrained=false", "batch=10", "epochs=1",
    "sar_size=30", 'sar_augmentation="turns"', 'eo_augmentation="turns"',
]  # fmt: skip


@pytest.fixture(scope="module")
def chips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chips")
    make_chips(folder, 40, 2)
    return folder


def words(chips, runs, recipe, *settings):
    recipe = ROOT / "training" / "recipes" / f"cross_modal_chips_{recipe}.toml"
    command = ["train", str(recipe), "--data", str(chips), "--runs", str(runs), "--device", "cpu"]
    return command + [word for setting in [*SMALL, *settings] for word in ("--set", setting)]


@pytest.fixture(scope="module")
def runs(chips, tmp_path_factory):
    """Runs of all four recipes, two of them begun from the others."""
    runs = tmp_path_factory.mktemp("runs")
    for recipe in ("sar", "baseline", "teacher"):
        main(words(chips, runs, recipe))
    main(words(chips, runs, "iterative", "iterations=2"))
    return runs


def weights(path):
    return read_trained_chips(path).network.state_dict()


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_a_run_leaves_what_tells_of_it(runs):
    run = runs / "cross_modal_chips_teacher"
    names = {path.name for path in run.iterdir()}
    assert names == {
        "recipe.toml", "commit.txt", "chips.sha256", "steps.csv", "log.csv", "curve.png",
        "status.json", "best_eo", "last.pt",
    }  # fmt: skip
    status = Status.read(run / "status.json")
    assert (status.status, status.steps, status.total, status.metric) == ("finished", 4, 4, "top_1")
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"top_1", "class_mean", "class_0", "class_9"} <= set(rows[0])
    assert ChipRecipe.read(run / "recipe.toml").method == "teacher"


@pytest.mark.slow
def test_the_checkpoint_says_what_it_takes(runs):
    trained = read_trained_chips(runs / "cross_modal_chips_sar" / "best_sar")
    assert trained.facts == ChipFacts("resnet18", "sar", 10, 30, 0.4062625, 0.12694514, (4,) * 4)
    assert "top_1" in trained.note


@pytest.mark.slow
def test_both_sensors_are_kept_for_every_iteration(runs):
    run = runs / "cross_modal_chips_iterative"
    kept = sorted(path.name for path in run.glob("iteration_*"))
    assert kept == ["iteration_1_eo", "iteration_1_sar", "iteration_2_eo", "iteration_2_sar"]
    for name in kept:
        assert read_trained_chips(run / name).facts.sensor == name.rpartition("_")[2]
    assert not same(weights(run / "iteration_1_sar"), weights(run / "iteration_2_sar"))
    assert (run / "best_eo").exists()
    assert (run / "best_sar").exists()


def work_of(chips, runs, recipe, *settings):
    _, options = parse(words(chips, runs, recipe, *settings))
    return set_up(ChipRecipe.read(options.recipe, options.set), options)


@pytest.mark.slow
def test_every_phase_reads_teacher_and_student_from_the_phases_before(chips, runs):
    # Published, the first teacher taught all along.
    work = work_of(chips, runs, "iterative", "iterations=2")
    sar, eo = (runs / f"cross_modal_chips_{name}" for name in ("sar", "baseline"))
    sources = [
        (eo / "best_eo", sar / "best_sar"),
        (sar / "best_sar", work.run / "iteration_1_eo"),
        (work.run / "iteration_1_eo", work.run / "iteration_1_sar"),
        (work.run / "iteration_1_sar", work.run / "iteration_2_eo"),
    ]
    for number, (student, teacher) in enumerate(sources):
        state = begin(work, number, runs)
        assert same(weights(student), state.network.state_dict())
        assert same(weights(teacher), state.teacher.network.state_dict())
        assert not state.teacher.network.training
        assert not any(p.requires_grad for p in state.teacher.network.parameters())


@pytest.mark.slow
def test_a_teacher_does_not_change_while_it_teaches(chips, runs):
    work = work_of(chips, runs, "teacher", 'name="still"')
    state = begin(work, 0, runs)
    before = {key: value.clone() for key, value in state.teacher.network.state_dict().items()}
    list(train_chips(work, state, runs))
    assert same(before, state.teacher.network.state_dict())


@pytest.mark.slow
def test_images_are_mixed_before_the_forward_pass(chips, runs, monkeypatch):
    # Published, only labels were.
    work = work_of(chips, runs, "teacher", 'name="mixed"', "epochs=1")
    state = begin(work, 0, runs)
    seen = {}
    for name, network in (("student", state.network), ("teacher", state.teacher.network)):
        network.register_forward_pre_hook(
            lambda _, given, name=name: seen.setdefault(name, given[0].clone())
        )
    drawn = {
        "student": torch.randint(0, 256, (4, 30, 30), dtype=torch.uint8),
        "teacher": torch.randint(0, 256, (4, 30, 30), dtype=torch.uint8),
        "label": torch.tensor([0, 1, 2, 3]),
    }
    fixed = training.sensors.modalities.Mixing(torch.tensor([1, 2, 3, 0]), 0.25)
    monkeypatch.setattr(training.sensors.modalities.Mixing, "draw", classmethod(lambda *_: fixed))
    training.sensors.modalities.loss_of(work, state, drawn)
    for name, sensor in (("student", "eo"), ("teacher", "sar")):
        plain = ChipFacts.of(work.recipe, sensor).normalised(drawn[name].numpy())
        torch.testing.assert_close(seen[name], 0.25 * plain + 0.75 * plain[[1, 2, 3, 0]])


@pytest.fixture(scope="module")
def whole(chips, runs):
    """A training of two iterations that nobody stopped, and its losses."""
    work = work_of(chips, runs, "iterative", "iterations=2", "epochs=1", 'name="whole"')
    return work, [report.loss for report in train_chips(work, begin(work, 0, runs), runs)]


@pytest.mark.slow
@pytest.mark.parametrize("after", [4, 6, 12])
def test_a_stopped_run_goes_on_to_the_last_bit(chips, runs, whole, after):
    settings = ("iterations=2", "epochs=1", f'name="stopped{after}"')
    work = work_of(chips, runs, "iterative", *settings)
    for report in train_chips(work, begin(work, 0, runs), runs):
        if report.step > after:
            break  # as if it was killed before the checkpoint of this step
    state = resume(work, runs)
    done = state.phase.number * work.phase_steps + state.step
    assert done == after - after % 4
    unstopped, losses = whole
    assert len(losses) == 16
    assert [report.loss for report in train_chips(work, state, runs)] == losses[done:]
    for name in ("iteration_1_eo", "iteration_2_sar", "best_eo", "best_sar"):
        assert same(weights(work.run / name), weights(unstopped.run / name))


@pytest.mark.slow
def test_a_finished_run_stays_what_it_is(chips, runs):
    path = runs / "cross_modal_chips_sar" / "best_sar"
    before = path.read_bytes()
    main(words(chips, runs, "sar"))
    assert path.read_bytes() == before
    assert Status.read(path.parent / "status.json").status == "finished"


def test_another_recipe_or_other_chips_are_not_mixed_into_a_run(chips, runs, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words(chips, runs, "sar", "lr=0.5"))
    assert caught.value.code == 2
    assert "was begun with lr = 0.01, not 0.5" in capsys.readouterr().err
    make_chips(tmp_path, 41, 2, seed=3)
    with pytest.raises(SystemExit):
        main(words(tmp_path, runs, "sar"))
    assert "was begun with other chips" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (('teacher="cross_modal_chips_baseline"',), "with best_sar, and no such file"),
        (('teacher="{runs}/cross_modal_chips_baseline/best_eo"',), "is a network for eo"),
        (("sar_size=40",), "chips of 30 pixels, the recipe 10 and 40"),
        (('init="nowhere"',), "with best_eo, and no such file"),
        (("widths=[4,4,4,8]",), "weights do not fit the network"),
        (('network="resnet1"', 'init=""'), "timm cannot make it"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(chips, runs, settings, text):
    filled = [setting.replace("{runs}", str(runs)) for setting in settings]
    work = work_of(chips, runs, "teacher", 'name="odd"', *filled)
    with pytest.raises((OptionError, CheckpointError), match=text):
        begin(work, 0, runs)


def predict(chips, runs, output, *more):
    checkpoint = runs / "cross_modal_chips_teacher" / "best_eo"
    main(["predict", str(checkpoint), "--data", str(chips), "-o", str(output), *more])
    with output.open(newline="") as file:
        return list(csv.reader(file))


def test_the_submission_is_the_challenge_s(chips, runs, tmp_path, capsys):
    rows = predict(chips, runs, tmp_path / "results.csv")
    assert rows[0] == ["image_id", "class_id"]
    names = [row[0] for row in rows[1:]]
    assert names == sorted(path.stem.removeprefix("EO_") for path in chips.glob("test_EO/*.png"))
    assert all(row[1] in set("0123456789") for row in rows[1:])
    said = capsys.readouterr().out
    assert "top-1" in said
    assert "class 9" in said
    assert "by quota" not in said


def test_quotas_hold_in_the_submission(chips, runs, tmp_path, capsys):
    rows = predict(chips, runs, tmp_path / "results.csv", "--quota", "0-9=2")
    assert sorted(row[1] for row in rows[1:]) == sorted("0123456789" * 2)
    out, err = capsys.readouterr()
    assert "by quota" in out
    assert "class 0:" in err


def test_chips_without_labels_are_classified_and_not_scored(chips, runs, tmp_path, capsys):
    (tmp_path / "test_EO").symlink_to(chips / "test_EO")
    assert len(predict(tmp_path, runs, tmp_path / "results.csv")) == 21
    assert capsys.readouterr().out == ""


def test_nothing_is_replaced_unasked(chips, runs, tmp_path, capsys):
    output = tmp_path / "results.csv"
    output.write_text("mine")
    with pytest.raises(SystemExit) as caught:
        predict(chips, runs, output)
    assert caught.value.code == 6
    assert output.read_text() == "mine"
    assert "--overwrite" in capsys.readouterr().err
    assert len(predict(chips, runs, output, "--overwrite")) == 21


class Hostile:
    """What runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def published(name="resnet34"):
    """Return what CMKD pickled: torchvision's ResNet with a first layer of one channel."""
    network = getattr(torchvision.models, name)(num_classes=10)
    network.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return network.eval()


def convert(source, output, *more):
    main(["convert", str(source), "--sensor", "eo", "-o", str(output), *more])


@pytest.mark.slow
def test_a_pickled_network_is_converted_and_says_the_same(tmp_path, capsys):
    network = published()
    torch.save(network, tmp_path / "kd.pt")
    convert(tmp_path / "kd.pt", tmp_path / "ours")
    assert "resnet34, eo, 10 classes, 21,283,530 parameters" in capsys.readouterr().err
    trained = read_trained_chips(tmp_path / "ours")
    chips = np.random.default_rng(0).integers(0, 256, (2, 30, 30)).astype(np.uint8)
    expected = network(trained.facts.normalised(chips)).detach()
    torch.testing.assert_close(trained.logits(chips), expected)


@pytest.mark.slow
def test_code_in_a_pickle_runs_only_when_it_is_asked_for(tmp_path, capsys):
    network, mark = published("resnet18"), tmp_path / "ran"
    network.more = Hostile(mark)
    torch.save(network, tmp_path / "kd.pt")
    with pytest.raises(SystemExit) as caught:
        convert(tmp_path / "kd.pt", tmp_path / "ours", "--network", "resnet18")
    assert caught.value.code == 5
    said = capsys.readouterr().err
    assert "mkdir" in said
    assert "--i-trust-this-file" in said
    assert len(said.splitlines()) == 1
    assert not mark.exists()
    assert not (tmp_path / "ours").exists()
    convert(tmp_path / "kd.pt", tmp_path / "ours", "--network", "resnet18", "--i-trust-this-file")
    assert mark.exists()
    assert "its code runs now" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: path.write_bytes(b"PK nothing"), "damaged"),
        (lambda path: torch.save({"a": torch.zeros(2)}, path), "holds a dict, no pickled network"),
        (lambda path: torch.save(nn.Linear(2, 2), path), "weights do not fit the network"),
        (lambda path: None, "cannot be read"),
    ],
)
def test_what_is_no_pickled_network_is_refused(tmp_path, make, text, capsys):
    make(tmp_path / "kd.pt")
    with pytest.raises(SystemExit) as caught:
        convert(tmp_path / "kd.pt", tmp_path / "ours")
    assert caught.value.code == 5
    assert text in capsys.readouterr().err


def test_a_pickled_network_is_no_checkpoint(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "kd.pt")
    with pytest.raises(CheckpointError, match=r"training\.chips convert"):
        read_trained_chips(tmp_path / "kd.pt")
    torch.save({"a": 1}, tmp_path / "kd.pt")
    with pytest.raises(CheckpointError, match="best_eo or best_sar"):
        read_trained_chips(tmp_path / "kd.pt")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_trained_chips(tmp_path / "none")


def test_a_checkpoint_comes_back(tmp_path):
    facts = ChipFacts("resnet18", "eo", 3, 30, 0.5, 0.2, (4, 4, 4, 4))
    made = create_classifier(facts)
    save_trained(Trained(facts, made, "note"), tmp_path / "x")
    again = read_trained_chips(tmp_path / "x")
    assert (again.facts, again.note) == (facts, "note")
    assert same(made.state_dict(), again.network.state_dict())


def test_the_command_says_in_one_line_what_is_wrong(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["train", "none.toml", "--data", "."])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("training.chips: error: none.toml: no such recipe")
    assert len(said.splitlines()) == 1


def readme_commands():
    """Return the words of every command of this module in the run book."""
    text = (ROOT / "training" / "README.md").read_text(encoding="utf-8")
    lines = text.partition("# Chips of two sensors\n")[2].replace("\\\n", " ").splitlines()
    return [shlex.split(line)[3:] for line in lines if line.startswith("python -m training.chips ")]


def test_the_run_book_s_commands_are_understood():
    commands = readme_commands()
    assert {words[0] for words in commands} == {"train", "predict", "convert"}
    for words in commands:
        _, options = parse(words)
        if options.command == "train":
            ChipRecipe.read(ROOT / options.recipe)
