"""Teachers: any network, run, checkpoint or model file, asked for what it says of buildings.

Whatever a teacher's family, scaling and channels are, it answers in one form: log-odds of a
building and, where it has them, log-probabilities of the grades. It is frozen, in evaluation mode
and in 32 bits.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geodamage.errors import OptionError
from geodamage.model.heads import Predictor
from geodamage.model.loading import find_model, load_model
from geodamage.networks.conventions import Exported
from training.predictor import EvenDamage, Trained, load_predictor, read_trained
from training.teaching.answers import Answer, TeacherError, read_heads, read_logits

#: Those that both dates pass as one batch.
BOTH = ("layer16", "encoder.layers.3")
#: Layers whose output are the features of an encoder: of the U-Nets, of MetaDamageNet's, ours.
DEEPEST = ("conv5", "unet.conv5", *BOTH)


class Teacher(nn.Module):
    """Something that answers; its parts never learn, and never leave evaluation mode.

    Attributes
    ----------
    source
        Name or path that it was given by.
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
        a bundled model. They are looked for in this order.

    Raises
    ------
    GeodamageError
        If there is none or it cannot be read; which kind is raised, `geodamage.errors` says.
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
