"""Feature files: the features of each building of a result, kept beside it.

A file is a `.npz` of plain arrays. `building_id` is text, and `features` is float16 with a row for
each building. `probabilities` is float32: what the model said before any adaptation, NaN where a
building has no grade. `place` is float64, longitude and latitude. `about` is JSON. It is read
without pickle.
"""

import json
import math
import shutil
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from geodamage.errors import AdaptationError
from geodamage.output.publication import output_errors
from geodamage.sources import check_file

EXTENSIONS = (".npz",)
FORMAT = 1
_ARRAYS = ("building_id", "features", "probabilities", "place", "about")
#: Most bytes of one array: beyond it a file is not one of ours.
_LARGEST = 64 * 2**30

#: What reading one raises: the archive, its members, their heads, and the text in them.
_DAMAGED = (
    OSError, ValueError, EOFError, KeyError, RuntimeError, SyntaxError, TypeError, MemoryError,
    zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip


@dataclass(frozen=True)
class Features:
    """The features of the buildings of a result.

    Attributes
    ----------
    building_id
        object (n,): texts.
    features
        float16 (n, d).
    probabilities
        float64 (n, 4): the model's; NaN where it gave no grade.
    place
        float64 (n, 2): longitude and latitude.
    about
        `network` and `network_sha256`, what made them; `model_sha256`, whose result it is;
        `result`, its fingerprint; `format`.
    path
        File that they were read from.
    """

    building_id: npt.NDArray[np.object_]
    features: npt.NDArray[np.float16]
    probabilities: npt.NDArray[np.float64]
    place: npt.NDArray[np.float64]
    about: Mapping[str, Any]
    path: Path


class FeatureWriter:
    """Takes features as buildings are found, and writes the file at the end.

    They wait in a file without a name, so that memory does not grow with the scene.

    Parameters
    ----------
    path
        Partial file of the output.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: IO[bytes] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115
        self._width = 0
        self._ids: list[str] = []
        self._probabilities: list[npt.NDArray[np.float32]] = []
        self._places: list[npt.NDArray[np.float64]] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(
        self,
        ids: list[str],
        features: npt.NDArray[np.float16],
        probabilities: npt.NDArray[np.float64],
        place: npt.NDArray[np.float64],
    ) -> None:
        """Add some buildings; the arrays are rows of those of `Features`."""
        if not ids:
            return
        with output_errors(self._path):
            self._waiting.write(np.ascontiguousarray(features, "<f2").tobytes())
        self._width = features.shape[1]
        self._ids += ids
        self._probabilities.append(probabilities.astype(np.float32))
        self._places.append(place)

    def finish(self, about: Mapping[str, Any]) -> None:
        """Write the file."""
        whole = {"format": FORMAT, **about}
        with output_errors(self._path), zipfile.ZipFile(self._path, "w") as archive:
            _write(archive, "building_id", np.array(self._ids, np.str_))
            _write(archive, "probabilities", _stacked(self._probabilities, 4, np.float32))
            _write(archive, "place", _stacked(self._places, 2, np.float64))
            _write(archive, "about", np.array(json.dumps(whole)))
            self._write_features(archive)
        self.close()

    def _write_features(self, archive: zipfile.ZipFile) -> None:
        self._waiting.seek(0)
        head = {"descr": "<f2", "fortran_order": False, "shape": (len(self), self._width)}
        with archive.open("features.npy", "w", force_zip64=True) as member:
            npy.write_array_header_1_0(member, head)
            shutil.copyfileobj(self._waiting, member)

    def close(self) -> None:
        """Let go of what was waiting."""
        self._waiting.close()


def _stacked(
    parts: list[npt.NDArray[Any]], width: int, kind: type[np.floating]
) -> npt.NDArray[np.floating]:
    return np.concatenate(parts) if parts else np.zeros((0, width), kind)


def _write(archive: zipfile.ZipFile, name: str, array: npt.NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        npy.write_array(member, array, allow_pickle=False)


def read_features(path: Path) -> Features:
    """Read a feature file.

    Raises
    ------
    AdaptationError
        If it is none, or is damaged.
    SceneReadError, SceneError
        If there is no such file, or it is no file of its own.
    """
    check_file(str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {name: _read(archive, name, path) for name in _ARRAYS}
            about: Any = json.loads(str(arrays["about"]))
    except _DAMAGED as error:
        raise AdaptationError(
            f"{path}: is not a feature file ({error}); give what `geodamage assess --features` "
            f"wrote"
        ) from error
    _check(arrays, about, path)
    return Features(
        arrays["building_id"].astype(object),
        arrays["features"],
        arrays["probabilities"].astype(np.float64),
        arrays["place"],
        about,
        path,
    )


def _read(archive: zipfile.ZipFile, name: str, path: Path) -> npt.NDArray[Any]:
    facts = archive.getinfo(f"{name}.npy")
    if facts.file_size > _LARGEST or facts.compress_type != zipfile.ZIP_STORED:
        raise AdaptationError(f"{path}: {name} is packed or too large; make the features again")
    with archive.open(facts) as member:
        # An array is made before it is filled: what is promised must be there.
        version = npy.read_magic(member)
        if version != (1, 0):
            raise ValueError(f"{name} has another version of its format")
        shape, _, kind = npy.read_array_header_1_0(member)
        if math.prod(shape) * kind.itemsize > facts.file_size:
            raise ValueError(f"{name} is cut off")
    with archive.open(facts) as member:
        array: npt.NDArray[Any] = npy.read_array(member, allow_pickle=False)
    return array


def _check(arrays: Mapping[str, npt.NDArray[Any]], about: Any, path: Path) -> None:
    count = arrays["building_id"].shape
    shaped = (
        len(count) == 1
        and arrays["building_id"].dtype.kind == "U"
        and arrays["features"].ndim == 2
        and arrays["features"].dtype == np.float16
        and arrays["features"].shape[:1] == count
        and arrays["probabilities"].shape == (*count, 4)
        and arrays["probabilities"].dtype.kind == "f"
        and arrays["place"].shape == (*count, 2)
        and arrays["place"].dtype.kind == "f"
    )
    named = isinstance(about, dict) and about.get("format") == FORMAT
    if not shaped or not named:
        raise AdaptationError(
            f"{path}: its arrays do not fit together; make the features again with"
            " `geodamage assess --features`"
        )
    if not np.isfinite(arrays["features"]).all() or not np.isfinite(arrays["place"]).all():
        raise AdaptationError(f"{path}: holds numbers that are not finite; make it again")
