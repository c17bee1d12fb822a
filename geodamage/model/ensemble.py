"""Ensembles: members that are asked in many ways, and their mean."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from geodamage.codes import MAP_UNKNOWN
from geodamage.errors import ModelError
from geodamage.model.averaging import WeightedMean, as_probability, find_outlier
from geodamage.model.card import Card
from geodamage.model.heads import Heads, Predictor
from geodamage.model.rules import PixelRules


@dataclass(frozen=True)
class Member:
    """One model of an ensemble, with the ways it is asked.

    Attributes
    ----------
    model
        Any predictor.
    weight
        Weight in the mean of each head that the member has.
    flips
        Some of `none`, `horizontal`, `vertical`, `both`; the answers are flipped back and averaged.
    transpose
        Ask each way a second time with rows and columns exchanged.
    scales
        Sizes at which it is asked, 1 is the window's own.
    heads
        Which of its heads count: `localisation`, `damage` or both.
    """

    model: Predictor
    weight: float = 1.0
    flips: tuple[str, ...] = ("none",)
    transpose: bool = False
    scales: tuple[float, ...] = (1.0,)
    heads: tuple[str, ...] = Heads._fields


@dataclass(frozen=True)
class SavedMap:
    """A member of an ensemble that has spoken already: a raster of the probability of a building.

    Attributes
    ----------
    path
        Path of the raster; it has its place on the ground.
    weight
        Weight in the mean of localisation.
    """

    path: Path
    weight: float = 1.0


#: Axes of (n, c, rows, columns) that each flip reverses.
FLIPS: dict[str, tuple[int, ...]] = {
    "none": (),
    "horizontal": (3,),
    "vertical": (2,),
    "both": (2, 3),
}


class Ensemble:
    """Several members; every head is averaged over the members that have it.

    Parameters
    ----------
    card
        Facts about the ensemble: its own thresholds, the halo and stride of its members.
    members
        One or more.
    rules
        How the averaged heads become one grade per pixel; None takes the threshold of the card.
    maps
        Saved maps that count as members of localisation; the scene reads them.
    drops_outliers
        Leave the localisation out that the others speak against; see `averaging.find_outlier`.
        It looks at whole windows, so the card must be global.
    """

    def __init__(
        self,
        card: Card,
        members: Sequence[Member],
        *,
        rules: PixelRules | None = None,
        maps: Sequence[SavedMap] = (),
        drops_outliers: bool = False,
    ) -> None:
        self._members = tuple(members)
        self._card = card
        self._rules = rules
        self.maps = tuple(maps)
        self.drops_outliers = drops_outliers
        self.provider = (
            getattr(members[0].model, "provider", "") if members else "saved probability maps"
        )

    def __repr__(self) -> str:
        spoken = f" and {len(self.maps)} saved maps" if self.maps else ""
        return (
            f"<Ensemble {self._card.name} {self._card.version}: {self._card.task}, "
            f"{len(self._members)} members{spoken}, {self.provider}>"
        )

    @property
    def members(self) -> tuple[Member, ...]:
        """The models, with the ways they are asked."""
        return self._members

    @property
    def card(self) -> Card:
        """Facts about the ensemble: its own thresholds, the halo and stride of its members."""
        return self._card

    @property
    def rules(self) -> PixelRules:
        """How the averaged heads become one grade per pixel."""
        return PixelRules.of(self._card) if self._rules is None else self._rules

    @property
    def has_pixel_rules(self) -> bool:
        """Whether the rules are its own, and more than the threshold of the card."""
        return self._rules is not None or self._card.background_competes

    @property
    def resident_bytes(self) -> int:
        """Size of the files of its members, each once."""
        models = {id(member.model): member.model for member in self._members}
        return sum(model.resident_bytes for model in models.values())

    def __call__(self, pre: np.ndarray, post: np.ndarray, maps: np.ndarray | None = None) -> Heads:
        """Return the averaged heads for uint8 `(n, c, rows, columns)` of both dates.

        Parameters
        ----------
        maps
            uint8 (n, maps, rows, columns) of the saved maps, as `geodamage.scene.Pixels` holds
            them.

        Raises
        ------
        ModelError
            If saved maps are asked for and not given.
        """
        if self.maps and (maps is None or maps.shape[1] != len(self.maps)):
            raise ModelError(
                f"ensemble {self._card.name!r} reads saved maps, and none came with the scene; "
                "leave them out, or use it with geodamage buildings or assess"
            )
        localisation, damage = WeightedMean(), WeightedMean()
        kept: list[_Answer] = []
        for member in self._members:
            said = _ask(member, pre, post)
            if said.damage is not None and "damage" in member.heads:
                damage.add(said.damage, member.weight)
            if said.localisation is not None and "localisation" in member.heads:
                localisation.add(said.localisation, member.weight)
                kept += [_Answer(said.localisation, member.weight)] * self.drops_outliers
        for number, saved in enumerate(self.maps):
            codes = np.asarray(maps)[:, number : number + 1]
            answer = _Answer(as_probability(codes), saved.weight, codes != MAP_UNKNOWN)
            localisation.add(answer.localisation, answer.weight, known=answer.known)
            kept += [answer] * self.drops_outliers
        mean = localisation.value
        if mean is not None and self.drops_outliers:
            mean = _without_outliers(kept, mean)
        return Heads(mean, damage.value)


class _Answer(NamedTuple):
    """What one member says of localisation, float32 (n, 1, rows, columns), and where it does."""

    localisation: np.ndarray
    weight: float
    known: np.ndarray | None = None


def _without_outliers(answers: Sequence[_Answer], mean: np.ndarray) -> np.ndarray:
    """Return the mean of a batch, each window without the answer that the others speak against."""
    result = mean.copy()
    for n, window in enumerate(mean):
        outlier = find_outlier([a.localisation[n, 0] for a in answers], window[0])
        if outlier is None:
            continue
        rest = WeightedMean()
        for number, (said, weight, known) in enumerate(answers):
            if number != outlier:
                rest.add(said[n], weight, known=None if known is None else known[n])
        result[n] = rest.value
    return result


def _ask(member: Member, pre: np.ndarray, post: np.ndarray) -> Heads:
    """Ask one member in all its ways; each answer is brought back in the reverse order."""
    answers: list[Heads] = []
    for scale in member.scales:
        sized = [resize(image, scale) for image in (pre, post)]
        for turned in (False, True) if member.transpose else (False,):
            for flip in member.flips:
                axes = FLIPS[flip]
                images = [np.swapaxes(i, 2, 3) if turned else i for i in sized]
                images = [np.ascontiguousarray(np.flip(i, axes)) for i in images]
                heads = member.model(*images)
                answers.append(Heads(*(_undo(h, axes, turned, pre.shape[2:]) for h in heads)))
    return Heads(*(_mean([a[i] for a in answers]) for i in range(2)))


def _mean(arrays: list[np.ndarray | None]) -> np.ndarray | None:
    known = [a for a in arrays if a is not None]
    return np.asarray(np.mean(known, axis=0, dtype=np.float32)) if known else None


def _undo(
    head: np.ndarray | None, axes: tuple[int, ...], turned: bool, shape: tuple[int, ...]
) -> np.ndarray | None:
    if head is None:
        return None
    head = np.flip(head, axes)
    head = np.swapaxes(head, 2, 3) if turned else head
    return head if head.shape[2:] == shape else resize(head, shape=shape)


def resize(
    images: np.ndarray, scale: float = 1.0, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """Return images (n, c, rows, columns) at another size, linear between pixels.

    Parameters
    ----------
    scale
        How many times as long the sides become.
    shape
        Rows and columns; they count instead of the scale.
    """
    if shape is None:
        shape = tuple(round(side * scale) for side in images.shape[2:])
    if shape == images.shape[2:]:
        return images
    rows, columns = shape
    planes = images.reshape(-1, *images.shape[2:])
    sized = [cv2.resize(p, (columns, rows), interpolation=cv2.INTER_LINEAR) for p in planes]
    return np.stack(sized).reshape(*images.shape[:2], rows, columns)


#: Test-time augmentation, by name: whether each way is asked transposed as well, too.
TTA = {"none": False, "flips": False, "full": True}


def with_flips(model: Predictor) -> Ensemble:
    """Return the model asked four ways: as it is, mirrored in each axis, and in both.

    Its rules stay.
    """
    return with_ways(model, "flips")


def with_ways(model: Predictor, tta: str, scales: tuple[float, ...] = (1.0,)) -> Ensemble:
    """Return the model asked in several ways; its rules and its saved maps stay.

    Parameters
    ----------
    model
        Any predictor.
    tta
        One of `TTA`: `none`; `flips`, mirrored in each axis and in both; `full`, these and the same
        again with rows and columns exchanged.
    scales
        Sizes at which it is asked in all these ways, 0.1-10; 1 is the window's own.

    Raises
    ------
    ModelError
        If a scale does not fit the window of the model.
    """
    rules = model.rules if getattr(model, "has_pixel_rules", False) else None
    flips = ("none",) if tta == "none" else tuple(FLIPS)
    way = Member(model, flips=flips, transpose=TTA[tta], scales=scales)
    card = at_scales(model.card, [way])
    check_sizes(Path(model.card.name), card, [way])
    if not isinstance(model, Ensemble) or not (model.maps or model.drops_outliers):
        return Ensemble(card, [way], rules=rules)
    members = [_turned(member, way) for member in model.members]
    return Ensemble(
        card, members, rules=rules, maps=model.maps, drops_outliers=model.drops_outliers
    )


def _turned(member: Member, way: Member) -> Member:
    """Return a member asked in its own ways and, of each, in all those of another one."""
    flips = member.flips if way.flips == ("none",) else way.flips
    scales = tuple(mine * other for mine in member.scales for other in way.scales)
    turned = member.transpose or way.transpose
    return dataclasses.replace(member, flips=flips, transpose=turned, scales=scales)


def at_scales(card: Card, members: Sequence[Member]) -> Card:
    """Return a card whose windows fit the scales at which members are asked."""
    if all(scale == 1 for member in members for scale in member.scales):
        return card
    stride = common_stride(members)
    return dataclasses.replace(
        card,
        stride=stride,
        halo=max(seen_halo(m.model.card.halo, scale) for m in members for scale in m.scales),
        tile=-(-card.tile // stride) * stride,
        bytes_per_pixel=bytes_per_pixel(members),
    )


def common_stride(members: Sequence[Member]) -> int:
    """Return the least step of windows that suits all members at all their scales.

    What sees its window at once answers otherwise wherever that begins; so there the windows need
    not keep step with the pixels of a scaled one.
    """
    cards = [member.model.card for member in members]
    if any(card.context == "global" for card in cards):
        return math.lcm(*(card.stride for card in cards))
    return math.lcm(*(_aligned(m.model.card.stride, scale) for m in members for scale in m.scales))


def bytes_per_pixel(members: Sequence[Member]) -> float:
    """Return the bytes that the hungriest member needs for each pixel of a window."""
    return max(m.model.card.bytes_per_pixel * max(m.scales) ** 2 for m in members)


def seen_halo(halo: int, scale: float) -> int:
    """Return the halo in pixels of the window; resizing there and back looks at neighbours, too."""
    return halo if scale == 1 else math.ceil((halo + 1) / scale) + 1


def _aligned(stride: int, scale: float) -> int:
    """Return the least window origin that is a multiple of the stride after scaling, too."""
    step = Fraction(stride) / Fraction(scale).limit_denominator(64)
    return math.lcm(stride, step.numerator)


def check_sizes(path: Path, card: Card, members: Sequence[Member]) -> None:
    """Refuse a member that takes another size of window than it would be asked for."""
    for member in members:
        fixed = getattr(member.model, "fixed_size", None)
        for scale in member.scales:
            side = round(card.tile * scale)
            step = member.model.card.stride
            if side % step:
                raise ModelError(
                    f"{path}: {member.model.card.name} would be asked for windows of {side} pixels "
                    f"(scale {scale:g}), and takes multiples of {step}; change scales, width or "
                    "tile"
                )
            if fixed not in (None, (side, side)):
                raise ModelError(
                    f"{path}: {member.model.card.name} takes windows of {fixed[0]} pixels alone, "
                    f"and would be asked for {side}; set tile, or export it with free rows"
                )
