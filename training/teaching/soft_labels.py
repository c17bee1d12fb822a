"""What a student is asked of its teachers: the keys `distil_...` of a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from geodamage.errors import OptionError
from training.presets import near

#: How many teachers each kind takes, at least and at most; 0 is no bound.
KINDS: Mapping[str, tuple[int, int]] = {"single": (1, 1), "dual": (2, 2), "ensemble": (2, 0)}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "kind": tuple(KINDS),
    "average": ("probabilities", "logits"),
    "feature_norm": ("channels", "batch"),
    "tta": ("none", "flips"),
}
#: The terms that a teacher adds.
TERMS = ("response", "building_response", "kl", "feature")


@dataclass(frozen=True, kw_only=True)
class DistilOptions:
    """Teachers and terms; in a recipe every field has the prefix `distil_`."""

    teachers: tuple[str, ...] = ()
    """Each a run, a checkpoint, a model file or the name of a bundled model; none distils nothing.
    A pair of `kind = "dual"` is the building teacher, then the damage teacher."""
    kind: str = "single"
    """`single`; `dual`: terms of a building and of a damage teacher, mixed; `ensemble`: a mean."""
    average: str = "probabilities"
    """ensemble: what is averaged, `probabilities` or `logits`."""
    mix: float = 0.2
    """dual: m of (1 - m) L + m L', where L' are the terms of the teacher of the other task."""
    own: float = 1.0
    """Weight of the recipe's own loss, of the labels."""
    response: float = 0.0
    """Weight of LWF over background and grades: cross-entropy, each pixel by the teacher's trust in
    the label."""
    response_temperature: float = 1.0
    """Temperature of that."""
    building_response: float = 0.0
    """Weight of LWF over background and building, where a teacher or the student has no grades."""
    building_temperature: float = 2.0
    """Temperature of that."""
    kl: float = 0.0
    """Weight of the divergence from the teacher, which needs no label."""
    temperature: float = 2.0
    """Temperature of that; the term is multiplied by its square."""
    reverse: bool = False
    """Take KL(student, teacher), as published, for KL(teacher, student)."""
    feature: float = 0.0
    """Weight of LFL: distance between features of the encoders, for teachers that are networks."""
    feature_norm: str = "channels"
    """Norm of that over the `channels` of each place, or, as published, over the `batch`."""
    building_weight: float = 1.0
    """Weight of a building pixel in `response` and `kl`; of the others 1."""
    tta: str = "none"
    """`flips`: a teacher answers as the mean of four mirror images; with chips and `cache`."""
    cache: str = ""
    """Folder where answers are kept. With chips the teachers are then asked once about every whole
    pair, and their answers are cut with the chips; without, about every chip as it is drawn."""

    def __post_init__(self) -> None:
        for key, known in CHOICES.items():
            value = getattr(self, key)
            if value not in known:
                raise OptionError(f"distil_{key} = {value!r}{near(value, known)}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is float and not 0 <= value < float("inf"):
                raise OptionError(f"distil_{field.name} = {value}: not negative, and finite")
        for key in ("temperature", "response_temperature", "building_temperature"):
            if getattr(self, key) == 0:
                raise OptionError(f"distil_{key} = 0: more than none")
        if self.mix > 1:
            raise OptionError(f"distil_mix = {self.mix}: a share, at most 1")
        if self.teachers:
            self._check_teachers()

    def _check_teachers(self) -> None:
        least, most = KINDS[self.kind]
        count = len(self.teachers)
        if count < least or (most and count > most):
            wanted = f"{least} or more" if not most else str(least)
            raise OptionError(
                f"distil_kind = {self.kind!r} takes {wanted} of distil_teachers, and {count} are "
                "named"
            )
        if not any(getattr(self, term) for term in TERMS):
            raise OptionError(
                "distil_teachers are named, and nothing is asked of them; give a weight to "
                f"{', '.join('distil_' + term for term in TERMS)}"
            )
        if self.cache and self.feature:
            raise OptionError(
                "distil_cache keeps answers, no features; leave out distil_feature or distil_cache"
            )
        if self.tta != "none" and not self.cache:
            raise OptionError(
                "distil_tta needs distil_cache: four answers to every chip take too long"
            )
        if self.feature and self.kind == "ensemble":
            raise OptionError(
                "distil_feature: the features of several encoders have no mean; take distil_kind = "
                "'single' or 'dual'"
            )
