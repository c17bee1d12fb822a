"""Trained networks as predictors: runs and checkpoints that answer like model files, by torch."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from geodamage.errors import CheckpointError, DeviceError, OptionError, ResourceError
from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble, Member, with_flips
from geodamage.model.heads import Heads, Predictor
from geodamage.model.rules import PixelRules
from geodamage.networks import importing
from geodamage.networks.checkpoints import Checkpoint, build_network, read_checkpoint
from geodamage.networks.conventions import Exported, convention_of
from geodamage.networks.registry import network_facts
from training.recipe import Recipe


@dataclass(frozen=True)
class Trained:
    """A network that was trained, here or elsewhere.

    Attributes
    ----------
    source
        Run folder or checkpoint, as it was named.
    checkpoint
        Its weights; of a run those of the best validation.
    recipe
        Recipe of a run; None of a checkpoint.
    """

    source: Path
    checkpoint: Checkpoint
    recipe: Recipe | None

    @property
    def name(self) -> str:
        """Name of the run, or of the checkpoint's file."""
        return self.source.name if self.recipe is None else self.recipe.run_name

    @property
    def split(self) -> Path | None:
        """The split that a run keeps; None of a checkpoint."""
        return None if self.recipe is None else self.source / "split.csv"

    @property
    def validation(self) -> str:
        """Name of the part of that split that the run was validated on."""
        if self.recipe is None or self.recipe.fold < 0:
            return "validation"
        return str(self.recipe.fold)

    def exported(self) -> Exported:
        """Return the network, which takes uint8 and gives heads, in evaluation mode."""
        checkpoint = self.checkpoint
        convention = convention_of(checkpoint.family, checkpoint.network, checkpoint.task)
        return Exported(build_network(checkpoint), convention).eval()


def read_trained(source: str | PathLike[str]) -> Trained:
    """Read a run folder of `training.train`, or a checkpoint as `read_checkpoint` takes it.

    Raises
    ------
    CheckpointError
        If there is no such run or file, the run has no best checkpoint, or it does not fit.
    OptionError
        If the recipe of the run cannot be read.
    """
    path = Path(source)
    if not (path / "recipe.toml").exists():
        if path.is_dir() and not (path / "model.pth").exists():
            raise CheckpointError(
                f"{path}: neither a run (no recipe.toml) nor a checkpoint; name a run folder of "
                "training.train, or a file of weights"
            )
        return Trained(path, read_checkpoint(path), None)
    recipe = Recipe.read(path / "recipe.toml")
    if not (path / "best").exists():
        raise CheckpointError(
            f"{path}: a run without a best checkpoint, so it was never validated; train it on"
        )
    checkpoint = read_checkpoint(path / "best")
    if (checkpoint.network, checkpoint.task) != (recipe.network, recipe.task):
        raise CheckpointError(
            f"{path}: best holds weights of {checkpoint.network} ({checkpoint.task}), and the "
            f"recipe says {recipe.network} ({recipe.task}); train it again"
        )
    return Trained(path, checkpoint, recipe)


class TorchModel:
    """A network that answers as the model file made of it would.

    Attributes
    ----------
    card
        Facts about it.
    provider
        Where it runs, one line.
    """

    def __init__(self, exported: Exported, card: Card, *, device: torch.device) -> None:
        """Move a network to a device.

        Parameters
        ----------
        exported
            A network with its convention.
        card
            Facts about it.
        device
            Where it runs.
        """
        self.card = card
        self.provider = f"{device}, PyTorch {torch.__version__}"
        self._exported = exported.eval().to(device)
        self._device = device

    @property
    def rules(self) -> PixelRules:
        """The threshold of the card for every grade."""
        return PixelRules.of(self.card)

    @property
    def resident_bytes(self) -> int:
        """Size of the weights."""
        state = self._exported.state_dict().values()
        return sum(tensor.numel() * tensor.element_size() for tensor in state)

    def __call__(self, pre: np.ndarray, post: np.ndarray) -> Heads:
        """Return the heads for uint8 `(n, c, rows, columns)` of both dates."""
        convention = self._exported.convention
        dates = (pre, post)[: len(convention.inputs)]
        try:
            with torch.inference_mode():
                tensors = [torch.from_numpy(np.ascontiguousarray(image)) for image in dates]
                found = self._exported(*(tensor.to(self._device) for tensor in tensors))
                heads = [head.cpu().numpy() for head in found]
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"{self.card.name}: the memory of {self._device} is too small for windows of "
                f"{pre.shape[2]} x {pre.shape[3]} pixels; give --device cpu"
            ) from error
        named = dict(zip(convention.outputs, heads, strict=True))
        return Heads(named.get("localisation"), named.get("damage"))


class EvenDamage:
    """A localisation model whose buildings have every grade alike.

    With it, what needs both heads can be asked of a network that has one.

    Attributes
    ----------
    card
        Card of the localisation model, for both tasks.
    """

    def __init__(self, model: Predictor) -> None:
        """Wrap a localisation model."""
        self.card = as_assessing(model.card)
        self._model = model

    @property
    def rules(self) -> PixelRules:
        """Those of the model."""
        return self._model.rules

    @property
    def resident_bytes(self) -> int:
        """Those of the model."""
        return self._model.resident_bytes

    def __call__(self, pre: np.ndarray, post: np.ndarray) -> Heads:
        """Return the heads for uint8 `(n, c, rows, columns)` of both dates."""
        even = np.full((len(post), 4, *post.shape[2:]), 0.25, np.float32)
        return Heads(self._model(pre, post).localisation, even)


def load_predictor(
    trained: Sequence[Trained], *, device: str = "auto", tta: str = "none"
) -> Ensemble:
    """Return one or more trained networks as one predictor.

    Every head is averaged over the networks that have it. Beside localisation networks, damage
    networks give their grades alone: that is the two-stage model. A network gives exactly the
    output of its model file. Images larger than `importing.TILE` are cut with a fixed overlap,
    because the halo is measured on export only.

    Parameters
    ----------
    trained
        One or more.
    device
        `auto`, `cpu`, `cuda` or `cuda:N`.
    tta
        `none`, or `flips` to average over four mirror images.

    Raises
    ------
    OptionError
        If no network is given.
    CheckpointError
        If weights do not fit.
    DeviceError
        If the device is not there.
    """
    if not trained:
        raise OptionError("no run and no checkpoint was given; name at least one")
    place = find_device(device)
    located = any(one.checkpoint.task == "localisation" for one in trained)
    members = []
    for one in trained:
        model = TorchModel(one.exported(), plain_card(one), device=place)
        two_stages = located and one.checkpoint.task == "damage"
        members.append(Member(model, heads=("damage",) if two_stages else Heads._fields))
    ensemble = Ensemble(_joined([member.model.card for member in members]), members)
    return with_flips(ensemble) if tta == "flips" else ensemble


def find_device(name: str) -> torch.device:
    """Return a device by name; `auto` takes a GPU where there is one.

    Raises
    ------
    DeviceError
        If there is no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise DeviceError(f"--device {name}: unknown; give auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(number or 0) >= count:
        raise DeviceError(f"--device {name}: PyTorch finds {count} GPUs; give another, or cpu")
    return torch.device(name)


def plain_card(trained: Trained) -> Card:
    """Return what is known of a network before anything is measured or chosen."""
    checkpoint = trained.checkpoint
    facts = network_facts(checkpoint.network, checkpoint.task)
    return Card(
        name=trained.name,
        version=f"epoch {checkpoint.epoch}",
        # A damage network knows background from building, so it has both heads.
        task="localisation" if checkpoint.task == "localisation" else "assess",
        # Source: xBD, mean of its images; the range is that of the bundled model.
        gsd_native=0.47,
        gsd_min=0.3,
        gsd_max=0.8,
        stride=facts.stride,
        context=facts.context,
        halo=importing.GLOBAL_HALO,
        tile=importing.TILE,
        licence="not published",
        training_data="see the run",
        **convention_of(checkpoint.family, checkpoint.network, checkpoint.task).card_facts,
    )


def as_assessing(card: Card) -> Card:
    """Return the card of a model to which another gives the head that it lacks."""
    return dataclasses.replace(card, task="assess")


def _joined(cards: Sequence[Card]) -> Card:
    """Return the card of several networks together."""
    tasks = {card.task for card in cards}
    return dataclasses.replace(
        cards[0],
        name=" + ".join(card.name for card in cards),
        task="assess" if "assess" in tasks else "localisation",
        version=", ".join(dict.fromkeys(card.version for card in cards)),
        stride=math.lcm(*(card.stride for card in cards)),
        context="local" if all(card.context == "local" for card in cards) else "global",
    )
