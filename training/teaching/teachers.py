"""Teachers: any network, run, checkpoint or model file, asked for what it says of buildings.

Whatever a teacher's family, scaling and channels are, it answers in one form: log-odds of a
building and, where it has them, log-probabilities of the grades. It is frozen, in evaluation mode
and in 32 bits.
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.arrays import predict_pair
from geodamage.errors import InputError, ModelError, OptionError
from geodamage.model.heads import Heads, Predictor
from geodamage.model.loading import find_model, load_model
from geodamage.networks.conventions import Convention, Exported
from training.losses.distillation import building_logit
from training.predictor import EvenDamage, Trained, load_predictor, read_trained
from training.teaching.soft_labels import DistilOptions

#: Probabilities are kept from 0 and 1 by this, so that their logarithms are finite.
LEAST = 1e-6
#: Kept answers: 8 bits hold a logarithm in steps of a sixteenth, from -8 to 8; 0 is unknown.
STEP, MIDDLE = 1 / 16, 128
#: Those that both dates pass as one batch.
BOTH = ("layer16", "encoder.layers.3")
#: Layers whose output are the features of an encoder: of the U-Nets, of MetaDamageNet's, ours.
DEEPEST = ("conv5", "unet.conv5", *BOTH)


class TeacherError(ModelError):
    """A teacher cannot be asked what a recipe asks of it."""


@dataclass(frozen=True)
class Answer:
    """What a network says of a batch.

    Attributes
    ----------
    building
        float (n, 1, h, w): log-odds of a building.
    grades
        float (n, 4, h, w): log-probabilities of the grades, given a building; None where there
        are none.
    known
        float (n, h, w): 1 where something was said, 0 where not; None is 1 everywhere.
    joint
        Whether background and grades are one softmax, and no head says buildings alone.
    """

    building: Tensor
    grades: Tensor | None = None
    known: Tensor | None = None
    joint: bool = False

    def channels(self) -> Tensor:
        """Return log-probabilities of background and the grades, (n, 5, h, w).

        Of a network with one softmax over them, these are its logits but for a constant.
        """
        if self.grades is None:
            raise TeacherError("an answer without grades has no damage channels")
        background = -functional.softplus(self.building)
        building = -functional.softplus(-self.building)
        return torch.cat([background, building + self.grades], 1)


def read_logits(output: Any, convention: Convention) -> Answer:
    """Return what the raw output of a network says.

    Parameters
    ----------
    output
        As the network gives it: one tensor, or the three of the compact network.
    convention
        Of the network.

    Raises
    ------
    OptionError
        If the output of such a network is not known here.
    """
    if convention.layout == "apart" and not isinstance(output, Tensor):
        located, _, damage = (tensor.float() for tensor in output)
        finer = functional.interpolate(damage.log_softmax(1), scale_factor=2.0, mode="nearest")
        return Answer(located, finer)
    if convention.layout == "heads":
        classes = functional.interpolate(output.building.float(), scale_factor=4.0, mode="bilinear")
        return Answer(classes[:, 1:] - classes[:, :1])
    if not isinstance(output, Tensor):
        raise OptionError(f"family {convention.family}: its output is not one to distil")
    logits = output.float()
    if convention.task == "localisation":
        return Answer(logits)
    if convention.layout == "paired":
        return Answer(logits[:, 1:2] - logits[:, :1], logits[:, 3:7].log_softmax(1))
    if convention.activation == "sigmoid":
        return Answer(logits[:, :1], functional.logsigmoid(logits[:, 1:]).log_softmax(1))
    return Answer(building_logit(logits), logits[:, 1:].log_softmax(1), joint=True)


def read_heads(heads: Heads) -> Answer:
    """Return what the heads of a model file say.

    Raises
    ------
    TeacherError
        If there is no localisation head.
    """
    if heads.localisation is None:
        raise TeacherError(
            "a teacher gives grades without buildings; join it with a localisation model in an "
            "ensemble file"
        )
    p = torch.from_numpy(np.ascontiguousarray(heads.localisation)).float().clamp(LEAST, 1 - LEAST)
    if heads.damage is None:
        return Answer(p.logit())
    damage = torch.from_numpy(np.ascontiguousarray(heads.damage)).float()
    share = damage / damage.sum(1, keepdim=True).clamp(min=1e-12)
    return Answer(p.logit(), share.clamp(min=LEAST).log().log_softmax(1))


def average(answers: Sequence[Answer], how: str) -> Answer:
    """Return one answer for several; each head over those that have it.

    Parameters
    ----------
    how
        `probabilities`, or `logits`: the mean of log-odds and of log-probabilities, which lets a
        teacher that is sure count for more.
    """
    # Source: system 000 names an ensemble and has no code for one; probabilities are averaged as
    # the first place averages its networks.
    graded = [answer.grades for answer in answers if answer.grades is not None]
    buildings = torch.stack([answer.building for answer in answers])
    grades = torch.stack(graded) if graded else None
    if how == "logits":
        return Answer(buildings.mean(0), None if grades is None else grades.mean(0).log_softmax(1))
    p = buildings.sigmoid().mean(0).clamp(LEAST, 1 - LEAST)
    return Answer(p.logit(), None if grades is None else grades.exp().mean(0).log())


def encode(answer: Answer) -> Tensor:
    """Return an answer in 8 bits, (n, 1 or 5, h, w): building, then the grades.

    What is beyond -8 and 8 is brought there, which is a probability of 0.0003.
    """
    parts = [answer.building] if answer.grades is None else [answer.building, answer.grades]
    steps = (torch.cat(parts, 1) / STEP).round() + MIDDLE
    return steps.clamp(1, 255).to(torch.uint8)


def decode(planes: Tensor) -> Answer:
    """Return the answer that was encoded, to half a step; unknown where a plane is 0."""
    values = (planes.float() - MIDDLE) * STEP
    grades = values[:, 1:].log_softmax(1) if planes.shape[1] > 1 else None
    return Answer(values[:, :1], grades, (planes > 0).all(1).float())


# What is asked.


class Teacher(nn.Module):
    """Something that answers; its parts never learn, and never leave evaluation mode.

    Attributes
    ----------
    source
        As it was named.
    digest
        SHA-256 of its weights.
    """

    def __init__(self, source: str, digest: str) -> None:
        super().__init__()
        self.source, self.digest = source, digest

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, pre: Tensor, post: Tensor | None) -> Answer:
        """Answer to uint8 (n, 3, h, w) of one or both dates."""
        raise NotImplementedError

    def predictor(self, tta: str) -> Predictor:
        """Return what answers to whole pairs, cut into windows where they are large."""
        raise NotImplementedError


class NetworkTeacher(Teacher):
    """A run or a checkpoint."""

    def __init__(self, source: str, trained: Trained) -> None:
        super().__init__(source, digest_of(trained.checkpoint.source))
        self.trained = trained
        self.exported = trained.exported().requires_grad_(False)
        self.train(False)

    def forward(self, pre: Tensor, post: Tensor | None) -> Answer:
        """Answer to a batch; without a post image one that needs it is shown pre twice."""
        convention = self.exported.convention
        # In 32 bits: what 16 leave of a probability near 1 has no logarithm worth learning.
        with torch.no_grad(), torch.autocast(pre.device.type, enabled=False):
            dates = [pre, pre if post is None else post][: len(convention.inputs)]
            return read_logits(run_network(self.exported.network, self.exported, dates), convention)

    def predictor(self, tta: str) -> Predictor:
        """Return the network as a predictor."""
        model: Predictor = load_predictor([self.trained], device="cpu", tta=tta)
        return EvenDamage(model) if self.trained.checkpoint.task == "localisation" else model


class FileTeacher(Teacher):
    """A model file or an ensemble of them, run by ONNX Runtime; it has no features."""

    def __init__(self, source: str) -> None:
        path = find_model(source)
        super().__init__(source, digest_of(path))
        self.model = load_model(source)

    def forward(self, pre: Tensor, post: Tensor | None) -> Answer:
        """Answer to a batch."""
        dates = [image.cpu().numpy() for image in (pre, pre if post is None else post)]
        answer = read_heads(self.model(*dates))
        grades = None if answer.grades is None else answer.grades.to(pre.device)
        return Answer(answer.building.to(pre.device), grades)

    def predictor(self, tta: str) -> Predictor:
        """Return the model."""
        model: Predictor = load_model(self.source, tta=tta)
        return EvenDamage(model) if model.card.task == "localisation" else model


def run_network(network: Any, scaling: Exported, dates: Sequence[Tensor]) -> Any:
    """Return the raw output of a network for uint8 images, scaled and laid out as it wants."""
    images = [scaling.scaled(date) for date in dates]
    if scaling.convention.layout == "apart":
        return network(*images)
    return network(torch.cat(images, 1))


def find_teacher(source: str, runs: Path) -> Teacher:
    """Return a teacher by its name in a recipe.

    Parameters
    ----------
    source
        A run below `runs`, the path of a run or a checkpoint, a `.onnx` or `.toml`, or the name of
        a bundled model; looked for in this order.

    Raises
    ------
    GeodamageError
        Of the kind that fits, if there is none or it cannot be read.
    """
    if (runs / source / "best").exists():
        return NetworkTeacher(source, read_trained(runs / source))
    path = Path(source)
    if path.suffix.lower() not in (".onnx", ".toml") and path.exists():
        return NetworkTeacher(source, read_trained(path))
    try:
        return FileTeacher(source)
    except FileNotFoundError as error:
        raise OptionError(
            f"distil_teachers: {source!r} is no run with a best checkpoint in {runs}, no "
            f"checkpoint and no model ({error}); train it first, or name a model file"
        ) from error


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file; of an ensemble, of its members, too."""
    found = hashlib.sha256(path.read_bytes())
    if path.suffix.lower() == ".toml":
        for member in sorted(path.parent.glob("*.onnx")):
            found.update(hashlib.sha256(member.read_bytes()).digest())
    return found.hexdigest()


# Features.


@contextlib.contextmanager
def watched(network: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what the last stage of the encoder gives meanwhile, date by date.

    The encoder runs once for everything. Published, it ran a second time for its features, in
    training mode, so that batch normalisation counted every batch twice.
    """
    layer, both = deepest(network)
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.extend(output.chunk(2) if both else (output,))

    handle = layer.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def deepest(network: nn.Module) -> tuple[nn.Module, bool]:
    """Return the last stage of the encoder, and whether both dates pass it as one batch.

    Raises
    ------
    TeacherError
        If the network has none that is known here.
    """
    for path in DEEPEST:
        with contextlib.suppress(AttributeError):
            return network.get_submodule(path), path in BOTH
    raise TeacherError(
        f"distil_feature: the encoder of {type(network).__name__} has no known last stage; leave "
        "out distil_feature"
    )


def feature_width(network: nn.Module, scaling: Exported) -> int:
    """Return the channels of the features of a network, after one look at an empty image."""
    mode = network.training
    device = next(network.parameters()).device
    empty = torch.zeros(1, 3, 64, 64, dtype=torch.uint8, device=device)
    with torch.no_grad(), watched(network.eval()) as seen:
        run_network(network, scaling, [empty] * len(scaling.convention.inputs))
    network.train(mode)
    return seen[0].shape[1]


# Several teachers, and what they said before.


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
