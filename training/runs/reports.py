"""Reports of a training, step by step, and the stop between two of them."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from geodamage.errors import GeodamageError


class TrainingError(GeodamageError):
    """Training cannot go on."""


@dataclass(frozen=True)
class Report:
    """What one step came to; `row` where the network was validated after it."""

    step: int
    loss: float
    lr: float
    row: dict[str, float] | None = None
    better: bool = False


@contextlib.contextmanager
def stop_between_steps(reports: Iterator[Report]) -> Iterator[Iterator[Report]]:
    """Let Ctrl-C and SIGTERM end a training when a step is done and recorded; the second at once.

    An interrupt anywhere would leave the queues of TensorBoard's writer waiting for two minutes.
    """
    asked = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    def watched() -> Iterator[Report]:
        for report in reports:
            yield report
            if asked.is_set():
                raise KeyboardInterrupt

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield watched()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
