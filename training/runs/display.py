"""What a training says while it works: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections import deque
from typing import Any

#: Seconds between two plain lines.
LINE_EVERY = 30.0
#: Steps over which the pace is measured.
WINDOW = 50
#: Share of the last shown loss in the next.
SMOOTHING = 0.95


class Display:
    """Shows step, loss, learning rate, images per second and the time that is left, on stderr.

    Parameters
    ----------
    name
        Name of the run.
    total
        Steps of the whole training.
    done
        Steps done before.
    batch
        Images of a step, over all processes.
    """

    def __init__(self, name: str, total: int, *, done: int, batch: int) -> None:
        self._name, self._total, self._batch = name, total, batch
        self._first = self._step = done
        self._started = self._last_line = time.monotonic()
        self._marks: deque[float] = deque(maxlen=WINDOW + 1)
        self._loss: float | None = None
        self._bar: Any = None
        self._task: Any = None
        if sys.stderr.isatty():
            self._start_bar(done)

    def add_step(self, step: int, loss: float, lr: float) -> None:
        """Show a step."""
        now = time.monotonic()
        self._step = step
        self._marks.append(now)
        before = loss if self._loss is None else self._loss
        self._loss = SMOOTHING * before + (1 - SMOOTHING) * loss
        if self._bar is not None:
            self._bar.update(self._task, completed=step, text=self._text(lr, now))
        elif now - self._last_line >= LINE_EVERY:
            self._last_line = now
            self.say(f"step {step:,} of {self._total:,}  {self._text(lr, now)}")

    def say(self, text: str) -> None:
        """Print a line, above the bar where there is one."""
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def pause(self) -> None:
        """Leave what comes before the next step out of the pace."""
        self._marks.clear()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _text(self, lr: float, now: float) -> str:
        parts = [f"loss {self._loss:.4f}", f"lr {lr:.2e}"]
        if len(self._marks) > 1:
            seconds = max(self._marks[-1] - self._marks[0], 1e-9)
            parts.append(f"{(len(self._marks) - 1) * self._batch / seconds:.1f} images/s")
        # With validations, unlike the pace: they are part of what is still to come.
        each = (now - self._started) / max(self._step - self._first, 1)
        return "  ".join([*parts, f"{duration(each * (self._total - self._step))} left"])

    def _start_bar(self, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
        self._task = self._bar.add_task(self._name, total=self._total, completed=done, text="")
        self._bar.start()


def duration(seconds: float) -> str:
    """Return a length of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"
