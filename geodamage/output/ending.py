"""What a context completes at its end, or lets go of by an exception."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Completed(ABC):
    """A file, or several, that a context completes; an exception leaves nothing complete."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error_type is None:
            self.close()
        else:
            self.discard()

    @abstractmethod
    def close(self) -> None:
        """Complete it."""

    @abstractmethod
    def discard(self) -> None:
        """Release it unchanged; may be called twice."""
