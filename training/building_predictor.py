"""Trained localisation networks on single images: ensembles, mirror images, presence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geodamage.errors import OptionError
from geodamage.networks.conventions import Exported
from training.predictor import Trained, find_device
from training.validation import mirrored

#: Each is a number of quarter turns, then whether rows become columns.
SYMMETRIES = {
    "none": [(0, False)],
    "flips": [(0, False), (2, False), (1, True), (3, True)],
    "full": [(turns, transposed) for transposed in (False, True) for turns in range(4)],
}


@dataclass(frozen=True)
class Answer:
    """What networks say of one image.

    Attributes
    ----------
    probability
        float32 (rows, columns): building.
    presence
        Probability that there is any building in it; None where no network says so.
    """

    probability: np.ndarray
    presence: float | None


def turned(image: np.ndarray, turns: int, transposed: bool) -> np.ndarray:
    """Turn an image (rows, columns, ...) by quarters, then make rows columns."""
    image = np.rot90(image, turns)
    return image.swapaxes(0, 1) if transposed else image


def turned_back(image: np.ndarray, turns: int, transposed: bool) -> np.ndarray:
    """Undo `turned`, the last step first."""
    # Published (Open Cities' third place): un-flipped before un-transposed, which turned the map by
    # 180 degrees.
    image = image.swapaxes(0, 1) if transposed else image
    return np.rot90(image, -turns)


class BuildingEnsemble:
    """The mean of localisation networks, each over the same mirror images.

    Parameters
    ----------
    trained
        Runs or checkpoints of localisation networks.
    tta
        `none`, `flips` (four) or `full` (all eight symmetries of a square).
    device
        `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises
    ------
    OptionError
        If there is none, or one does something else.
    """

    def __init__(
        self, trained: Sequence[Trained], *, tta: str = "none", device: str = "auto"
    ) -> None:
        if not trained:
            raise OptionError("no run and no checkpoint was given; name at least one")
        for one in trained:
            if one.checkpoint.task != "localisation":
                raise OptionError(
                    f"{one.source}: its task is {one.checkpoint.task}; give localisation networks"
                )
        self.device = find_device(device)
        self.members = [one.exported().to(self.device) for one in trained]
        self.symmetries = SYMMETRIES[tta]

    def __call__(self, image: np.ndarray) -> Answer:
        """Return what the networks say of uint8 (rows, columns, 3)."""
        total = np.zeros(image.shape[:2], np.float64)
        presences: list[float] = []
        for turns, transposed in self.symmetries:
            seen = turned(image, turns, transposed)
            for member in self.members:
                found, presence = self._ask(member, seen)
                total += turned_back(found, turns, transposed)
                presences += [] if presence is None else [presence]
        count = len(self.symmetries) * len(self.members)
        presence = float(np.mean(presences)) if presences else None
        return Answer((total / count).astype(np.float32), presence)

    def _ask(self, member: Exported, image: np.ndarray) -> tuple[np.ndarray, float | None]:
        rows, columns = image.shape[:2]
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
        heard: list[Tensor] = []
        hook = listen(member, heard.append)
        try:
            with torch.inference_mode():
                (found,) = member(mirrored(tensor.to(self.device)))
        finally:
            hook.remove()
        presence = float(heard[0].softmax(1)[0, 1]) if heard else None
        return found[0, 0, :rows, :columns].float().cpu().numpy(), presence


def listen(member: Exported, hear: Callable[[Tensor], None]) -> torch.utils.hooks.RemovableHandle:
    """Hand on the logits of the presence head, (n, 2), where a network has one."""

    def after(network: torch.nn.Module, inputs: object, outputs: object) -> None:
        presence = getattr(outputs, "presence", None)
        if presence is not None:
            hear(presence)

    return member.network.register_forward_hook(after)
