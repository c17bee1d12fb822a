"""Work ahead of its caller, in its own thread."""

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Failure(Generic[T]):
    def __init__(self, error: BaseException) -> None:
        self.error = error


def ahead(items: Iterator[T], depth: int = 1) -> Generator[T, None, None]:
    """Run an iterator in its own thread, at most `depth` items ahead of the caller.

    An error in the thread is raised at the caller; closing this iterator stops the thread and
    closes `items`.
    """
    waiting: queue.Queue[T | _Failure[T] | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: T | _Failure[T] | None) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    break
            else:
                put(None)
        except BaseException as error:
            put(_Failure(error))
        finally:
            close(items)

    thread = threading.Thread(target=work, name="geodamage", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        stop.set()
        thread.join()


def close(items: Iterable[object]) -> None:
    """Close a generator, and with it the work behind it; other iterables are left as they are."""
    if isinstance(items, Generator):
        items.close()
