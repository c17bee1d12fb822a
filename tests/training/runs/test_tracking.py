import csv
import sys

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from geodamage.errors import MissingExtraError, OptionError
from tests.training.runs.answers import RECIPE, make_answer
from training.runs.notification import NotificationError, Notifier
from training.runs.records import Status
from training.runs.tracking import Tracker


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("GEODAMAGE_NOTIFY", raising=False)
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "commit.txt").write_text("abc\n")
    return folder


def follow(run, steps, *, resumed_at=0, until=6, error=None):
    """Track steps with a loss of a tenth each and a validation every other one."""
    with Tracker(run, RECIPE, resumed_at=resumed_at, total=until) as tracker:
        for step in steps:
            tracker.add_step(step, step / 10, 0.001)
            if step % 2 == 0:
                row = {"lr": 0.001, "train_loss": 1.0, "score": step / 8}
                tracker.add_validation(step, row, better=step < 6)
                tracker.add_pictures(step, iter([make_answer()]))
        if error:
            raise error


def status(run):
    return Status.read(run / "status.json")


def read(run, name):
    with (run / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_run_leaves_a_folder(run, capsys):
    follow(run, range(1, 7))
    assert sorted(path.name for path in run.iterdir()) == [
        "commit.txt",
        "curve.png",
        "log.csv",
        "samples",
        "status.json",
        "steps.csv",
        "tensorboard",
    ]
    assert [float(row["loss"]) for row in read(run, "steps.csv")] == [n / 10 for n in range(1, 7)]
    assert [row["score"] for row in read(run, "log.csv")] == ["0.25", "0.5", "0.75"]
    pictures = sorted((run / "samples").iterdir())
    assert [path.name for path in pictures] == [f"step_000000{n}.png" for n in (2, 4, 6)]
    assert cv2.imread(str(pictures[0])).shape[1] > 1500
    assert cv2.imread(str(run / "curve.png")).std() > 1
    ended = status(run)
    assert (ended.status, ended.steps, ended.commit) == ("finished", 6, "abc")
    assert (ended.metric, ended.best, ended.best_step) == ("score", 0.5, 4)
    assert ended.started <= ended.ended
    assert "step 4  lr 0.001  train_loss 1  score 0.5  (best)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(run):
    with pytest.raises(KeyboardInterrupt):
        follow(run, range(1, 6), error=KeyboardInterrupt())
    begun = status(run)
    begun.started, begun.seconds = "2026-01-02T03:04:05+00:00", 7200.0
    begun.write(run / "status.json")
    # The checkpoint is that of step 3: the validation of step 4 and steps 4 and 5 come again.
    follow(run, range(4, 7), resumed_at=3)
    assert [row["step"] for row in read(run, "steps.csv")] == list("123456")
    assert [row["step"] for row in read(run, "log.csv")] == list("246")
    ended = status(run)
    assert (ended.status, ended.best_step, ended.started) == ("finished", 4, begun.started)
    assert 7200 < ended.seconds < 7260
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()
    losses = events.Scalars("train/loss")
    assert [each.step for each in losses] == [1, 2, 3, 4, 5, 6]
    assert [each.value for each in losses] == pytest.approx([n / 10 for n in range(1, 7)])
    assert [each.step for each in events.Scalars("validation/score")] == [2, 4, 6]
    image = events.Images("validation/samples")[-1]
    shown = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert (shown == cv2.imread(str(run / "samples" / "step_0000006.png"))).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "word", "line"),
    [
        (KeyboardInterrupt(), "interrupted", ""),
        (OptionError("lr = 0: no"), "failed", "lr = 0: no"),
        (RuntimeError("out of memory\nmuch more"), "failed", "RuntimeError: out of memory"),
        (RuntimeError(), "failed", "RuntimeError: "),
    ],
)
def test_how_a_run_ended_is_recorded_and_told(run, monkeypatch, error, word, line):
    told = []
    monkeypatch.setattr(Notifier, "send", lambda self, title, text: told.append((title, text)))
    with pytest.raises(type(error)):
        follow(run, [1, 2], error=error)
    assert (status(run).status, status(run).error) == (word, line)
    ((title, text),) = told
    assert title == f"geodamage: tiny {word}"
    assert text.splitlines()[1].startswith("step 2 of 6, ")
    assert text.splitlines()[2:] == ["best score 0.2500, step 2", *([line] if line else [])]


@pytest.mark.slow
def test_a_run_says_that_it_is_running(run):
    with Tracker(run, RECIPE, resumed_at=0, total=6):
        assert status(run).status == "running"


@pytest.mark.slow
def test_a_notification_that_fails_is_a_warning(run, monkeypatch, capsys):
    def send(self, title, text):
        raise NotificationError("nobody is there")

    monkeypatch.setattr(Notifier, "send", send)
    follow(run, [1])
    assert "warning: nobody is there" in capsys.readouterr().err
    assert status(run).status == "finished"


@pytest.mark.parametrize("package", ["matplotlib", "tensorboard", "apprise"])
def test_a_missing_package_ends_a_run_before_it_begins(run, monkeypatch, package):
    monkeypatch.setenv("GEODAMAGE_NOTIFY", "json://localhost")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=package):
        follow(run, [1])
    assert sorted(path.name for path in run.iterdir()) == ["commit.txt"]


@pytest.mark.slow
def test_without_validation_pairs_there_is_no_picture(run):
    with Tracker(run, RECIPE, resumed_at=0, total=6) as tracker:
        tracker.add_pictures(1, iter(()))
    assert not list((run / "samples").iterdir())
