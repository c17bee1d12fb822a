"""Submissions: masks written in the file layout of the official xView2 scorer."""

import contextlib
import csv
import os
import re
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from geodamage.errors import OutputError, OutputExistsError
from geodamage.output.publication import output_errors
from geodamage.scores.scoring import NAMES, ImageId
from geodamage.scores.tallies import Masks

#: Predictions and targets lie apart: the official scorer takes any PNG beside a target for one.
FOLDERS = "predictions", "targets"
#: What may lie in them.
FILE_NAME = re.compile(
    rf"test_(localization|damage)_\d{{5,}}_(prediction|target)\.png|{re.escape(NAMES)}"
)


class SubmissionFolder:
    """Masks in the layout of the official scorer: all of them, or none.

    The masks are written beside their final place; a clean exit from the context moves them
    there, any other exit removes them.

    Parameters
    ----------
    folder
        Gets `predictions/` and `targets/`, and `targets/names.csv` with the columns `id`, `pair`.
    overwrite
        Replace both where they are there already.

    Raises
    ------
    OutputExistsError
        If one is there and `overwrite` is false.
    OutputError
        If one holds something that is no such mask, or the folder cannot be written to.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        self._folder, self._names = folder, list[str]()
        token = f"{os.getpid()}-{secrets.token_hex(3)}"
        self._partial = {name: folder / f".{name}.{token}.partial" for name in FOLDERS}
        for name in FOLDERS:
            _check_replaceable(folder / name, overwrite)

    def __enter__(self) -> Self:
        with output_errors(self._folder):
            self._is_new = not self._folder.exists()
            self._folder.mkdir(exist_ok=True)
            for partial in self._partial.values():
                partial.mkdir()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error_type is None:
                self._publish()
        finally:
            for partial in self._partial.values():
                shutil.rmtree(partial, ignore_errors=True)
            if error_type is not None and self._is_new:
                with contextlib.suppress(OSError):  # what others put there meanwhile stays
                    self._folder.rmdir()

    def add(self, pair: str, masks: Masks) -> None:
        """Write the four masks of a pair under the next number."""
        self._names.append(pair)
        image = ImageId("test", f"{len(self._names):05d}")
        for kind, predicted, target in (
            ("localization", masks.localisation, masks.localisation_target),
            ("damage", masks.damage, masks.damage_target),
        ):
            self._write("predictions", image.file_name(kind, "prediction"), predicted)
            self._write("targets", image.file_name(kind, "target"), target)

    def _write(self, folder: str, name: str, mask: np.ndarray) -> None:
        with output_errors(self._folder / folder / name):
            _, png = cv2.imencode(".png", mask)
            (self._partial[folder] / name).write_bytes(png.tobytes())

    def _publish(self) -> None:
        with output_errors(self._folder):
            names = self._partial["targets"] / NAMES
            with names.open("w", newline="", encoding="utf-8") as file:
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(["id", "pair"])
                rows.writerows((f"{n:05d}", name) for n, name in enumerate(self._names, 1))
            for name, partial in self._partial.items():
                if (self._folder / name).exists():
                    shutil.rmtree(self._folder / name)
                partial.rename(self._folder / name)


def _check_replaceable(path: Path, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise OutputExistsError(f"output {path} exists; choose another folder or give --overwrite")
    if path.is_symlink() or not path.is_dir():
        raise OutputError(f"output {path} is not a folder; choose another folder")
    strange = sorted(found.name for found in path.iterdir() if not _is_official(found))
    if strange:
        raise OutputError(
            f"output {path} holds {', '.join(strange[:3])}, which are not masks of this program; "
            "choose another folder"
        )


def _is_official(path: Path) -> bool:
    return path.is_file() and FILE_NAME.fullmatch(path.name) is not None
