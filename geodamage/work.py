"""Long work: iterated for its progress, asked for its result."""

import functools
import inspect
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, get_args

P = TypeVar("P")
R = TypeVar("R")
A = ParamSpec("A")


class Work(Generator[P, None, R]):
    """Work that begins when its first step is asked for, and can be stopped between two steps.

    Iterating yields its progress, `result` does what is left, and `close` stops it and leaves no
    file. As a context manager it is closed at the end of the block, whatever happens there:

        with assess(job) as work:
            for progress in work:
                print(progress.stage, progress.done, progress.total)
        result = work.result()

    Within a generator, `yield from work` hands on its progress and gives its result.

    Parameters
    ----------
    steps
        Generator of the progress; what it returns is the result.
    name
        Name of the work, for its `repr`.
    """

    def __init__(self, steps: Generator[P, None, R], name: str = "work") -> None:
        self._steps = steps
        self._name = name
        self._state = "has not begun"
        self._found: R | None = None

    def result(self) -> R:
        """Do the rest of the work and return the result; a second call returns it again.

        Raises
        ------
        RuntimeError
            If the work was closed or has failed before: then there is no result.
        GeodamageError
            If it fails now; `geodamage.errors` lists the kinds.
        """
        for _ in self:
            pass
        if self._state != "is done":
            raise RuntimeError(f"{self._name} {self._state}, so it has no result; begin it again")
        return self._found  # type: ignore[return-value]  # R may be None itself

    def send(self, value: None, /) -> P:
        """Do a step and return its progress."""
        return self._advance(lambda: self._steps.send(value))

    def throw(self, kind: Any, value: Any = None, trace: TracebackType | None = None, /) -> P:
        """Raise an error where the work stands."""
        error = kind if isinstance(kind, BaseException) else kind() if value is None else value
        return self._advance(lambda: self._steps.throw(error))

    def _advance(self, step: Callable[[], P]) -> P:
        if self._state == "has not begun":
            self._state = "is under way"
        try:
            return step()
        except StopIteration as stop:
            if self._state == "is under way":
                self._state, self._found = "is done", stop.value
            raise StopIteration(self._found) from None
        except BaseException as error:
            self._state = f"has failed ({type(error).__name__})"
            raise

    def close(self) -> None:
        """Stop the work, if it is not done; it leaves no file."""
        self._steps.close()
        if self._state in ("has not begun", "is under way"):
            self._state = "was closed before its end"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Work: {self._name} {self._state}>"


def long_work(function: Callable[A, Generator[P, None, R]]) -> Callable[A, Work[P, R]]:
    """Make a generator function return `Work`, with what it yields as progress."""

    @functools.wraps(function)
    def begun(*args: A.args, **options: A.kwargs) -> Work[P, R]:
        return Work(function(*args, **options), function.__name__.strip("_"))

    signature = inspect.signature(function)
    if types := get_args(signature.return_annotation):
        returned: Any = Work  # generic in what is known at run time alone
        signature = signature.replace(return_annotation=returned[types[0], types[2]])
    begun.__signature__ = signature  # type: ignore[attr-defined]  # what `help` shows
    return begun
