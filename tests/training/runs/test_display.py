import re

import pytest
import rich.console

import training.runs.display
from training.runs.display import Display, duration


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(training.runs.display, "time", made)
    return made


def test_without_a_terminal_a_line_comes_every_half_minute(clock, capsys):
    display = Display("a", 100, done=0, batch=8)
    for step in range(1, 71):
        clock.now += 1
        display.add_step(step, 0.5, 1e-4)
    display.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "step 30 of 100  loss 0.5000  lr 1.00e-04  8.0 images/s  70 s left",
        "step 60 of 100  loss 0.5000  lr 1.00e-04  8.0 images/s  40 s left",
    ]


def test_the_pace_leaves_validations_out_and_the_time_left_does_not(clock, capsys):
    display = Display("a", 20, done=0, batch=2)
    for step in range(1, 11):
        clock.now += 1
        display.add_step(step, 1, 1)
    clock.now += 90
    display.pause()
    for step in (11, 12):
        clock.now += 1
        display.add_step(step, 1, 1)
        display._last_line = -100
    err = capsys.readouterr().err
    assert "2.0 images/s  68 s left" in err


def test_a_run_that_goes_on_is_as_fast_as_its_steps_of_today(clock, capsys):
    display = Display("a", 1100, done=1000, batch=1)
    clock.now = 31
    display.add_step(1001, 1, 1)
    assert "51 min left" in capsys.readouterr().err


def test_a_terminal_shows_a_bar_and_lines_above_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    terminal = rich.console.Console
    made = []

    def console(**options):
        made.append(terminal(**options, force_terminal=True, width=120))
        return made[-1]

    monkeypatch.setattr(rich.console, "Console", console)
    display = Display("my run", 10, done=4, batch=2)
    display.say("[not] markup")
    display.add_step(5, 0.25, 1e-3)
    display.close()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "[not] markup" in text
    assert re.search(r"my run .* 5/10 loss 0\.2500  lr 1\.00e-03  \d+ s left", text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h"), (3 * 86400, "3.0 d")],
)
def test_lengths_of_time_are_said_plainly(seconds, text):
    assert duration(seconds) == text
