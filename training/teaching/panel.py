"""A panel: the teachers of a recipe, who answer together, and what they said before."""

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from geodamage.arrays import predict_pair
from geodamage.errors import InputError
from geodamage.model.heads import Heads, Predictor
from geodamage.networks.conventions import Exported
from training.predictor import EvenDamage
from training.teaching.answers import Answer, TeacherError, average, decode, encode, read_heads
from training.teaching.soft_labels import DistilOptions
from training.teaching.teachers import NetworkTeacher, Teacher, feature_width, find_teacher


class Panel(nn.Module):
    """The teachers of a recipe, who answer together.

    Parameters
    ----------
    options
        How many they are, and how they answer.
    runs
        Folder of the runs that may be among them.
    """

    def __init__(self, options: DistilOptions, runs: Path) -> None:
        super().__init__()
        self.options = options
        self.members = [find_teacher(source, runs) for source in options.teachers]
        # A list of modules, so that they come along to a device; the list above keeps their type.
        self.teachers = nn.ModuleList(self.members)
        self._predictors: dict[str, Predictor] = {}

    def forward(self, pre: Tensor, post: Tensor | None) -> list[Answer]:
        """Return the answers to a batch: one, or of a dual pair the building teacher's first."""
        return self._joined([teacher(pre, post) for teacher in self.members])

    def _joined(self, answers: list[Answer]) -> list[Answer]:
        if self.options.kind == "ensemble":
            return [average(answers, self.options.average)]
        if self.options.kind == "dual":
            return [replace(answers[0], grades=None), answers[1]]
        return answers

    def networks(self) -> list[nn.Module]:
        """Return the networks whose features can be watched.

        Raises
        ------
        TeacherError
            If one of the teachers is a model file.
        """
        return [exported.network for exported in self._shown()]

    def widths(self) -> list[int]:
        """Return the channels of the features of each."""
        return [feature_width(exported.network, exported) for exported in self._shown()]

    def _shown(self) -> list[Exported]:
        for teacher in self.members:
            if not isinstance(teacher, NetworkTeacher):
                raise TeacherError(
                    f"distil_feature: {teacher.source} is a model file, which shows no features; "
                    "name runs or checkpoints as distil_teachers, or leave it out"
                )
        return [one.exported for one in self.members if isinstance(one, NetworkTeacher)]

    def planes(self, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
        """Return the answers to a whole pair in 8 bits, from the cache where they are there.

        Parameters
        ----------
        pre, post
            uint8 (rows, columns, 3).

        Returns
        -------
        uint8 (rows, columns, k)
        """
        said = [self._whole(teacher, pre, post) for teacher in self.members]
        if self.options.kind == "ensemble":
            answer = average([decode(as_batch(one)) for one in said], self.options.average)
            return np.concatenate([*as_planes(encode(answer))])
        if self.options.kind == "dual":
            said[0] = said[0][..., :1]
        return np.concatenate(said, 2)

    def _whole(self, teacher: Teacher, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
        tta = self.options.tta
        path = self._path(teacher, f"whole {tta}", pre, post)
        if path.exists():
            return read_planes(path, pre.shape[:2])
        if teacher.digest not in self._predictors:
            self._predictors[teacher.digest] = teacher.predictor(tta)
        predictor = self._predictors[teacher.digest]
        found = predict_pair(predictor, pre, post)
        damage = None if isinstance(predictor, EvenDamage) else found.damage[None]
        answer = read_heads(Heads(found.localisation[None, None], damage))
        planes = np.concatenate([*as_planes(encode(answer))])
        write_planes(path, planes)
        return planes

    def cached(self, pre: Tensor, post: Tensor | None) -> list[Answer]:
        """Return the answers to a batch, through the cache."""
        return self._joined([self._asked_once(teacher, pre, post) for teacher in self.members])

    def _asked_once(self, teacher: Teacher, pre: Tensor, post: Tensor | None) -> Answer:
        others = [None] * len(pre) if post is None else [*post.cpu().numpy()]
        paths = [
            self._path(teacher, "crop", one, other)
            for one, other in zip(pre.cpu().numpy(), others, strict=True)
        ]
        if not all(path.exists() for path in paths):
            for path, planes in zip(paths, as_planes(encode(teacher(pre, post))), strict=True):
                write_planes(path, planes)
        shape = pre.shape[2], pre.shape[3]
        kept = np.stack([read_planes(path, shape) for path in paths])
        return decode(torch.from_numpy(kept).permute(0, 3, 1, 2).to(pre.device))

    def _path(self, teacher: Teacher, how: str, pre: np.ndarray, post: np.ndarray | None) -> Path:
        """Return the file of an answer; another teacher, image or way to ask has another."""
        key = hashlib.sha256(f"{teacher.digest} {how} {pre.shape}".encode())
        for image in (pre, post):
            key.update(b"" if image is None else np.ascontiguousarray(image).tobytes())
        name = key.hexdigest()
        return Path(self.options.cache) / name[:2] / f"{name}.npz"


def as_planes(encoded: Tensor) -> np.ndarray:
    """Return (n, k, h, w) as an array (n, h, w, k)."""
    return np.ascontiguousarray(encoded.permute(0, 2, 3, 1).cpu().numpy())


def as_batch(planes: np.ndarray) -> Tensor:
    """Return an array (h, w, k) as (1, k, h, w)."""
    return torch.from_numpy(planes).permute(2, 0, 1)[None]


def unfold(planes: Tensor, kind: str) -> list[Answer]:
    """Return the answers in planes of 8 bits, uint8 (n, k, h, w)."""
    if kind == "dual":
        return [decode(planes[:, :1]), decode(planes[:, 1:])]
    return [decode(planes)]


def write_planes(path: Path, planes: np.ndarray) -> None:
    """Write an answer beside its place, then put it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Processes that train together may be at the same pair.
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.npz")
    try:
        np.savez_compressed(partial, planes=planes)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_planes(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return an answer that was kept, uint8 (rows, columns, k).

    Raises
    ------
    InputError
        If the file is damaged, or of another size.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            planes: np.ndarray = content["planes"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: no kept answer ({error}); remove it") from error
    if planes.dtype != np.uint8 or planes.ndim != 3 or planes.shape[:2] != tuple(shape[:2]):
        raise InputError(f"{path}: {planes.dtype} {planes.shape}, not an answer; remove it")
    return planes
