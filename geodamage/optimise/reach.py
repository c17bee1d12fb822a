"""Reach: how far from a core a pixel still changes what a model says of it."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from geodamage.errors import ModelError
from geodamage.model.ensemble import Ensemble
from geodamage.model.heads import Heads, heads_of
from geodamage.model.onnx import Model
from geodamage.windows import round_up

#: Largest change of a probability that counts as none; the same as of the bundled models' halos.
TOLERANCE = 1e-4
#: Rows and columns of the core that is looked at, pixels.
CORE = 64

#: One window: the images of a call by their name, uint8 (1, c, rows, columns).
Window = Mapping[str, np.ndarray]


def measure_reach(model: Model | Ensemble, windows: Sequence[Window], least: int) -> int:
    """Return the least halo beyond which nothing moves a probability.

    Parameters
    ----------
    model
        A local model.
    windows
        Square windows of real images, all of one size.
    least
        Pixels that the halo has at least; what is more is in whole strides.

    Raises
    ------
    ModelError
        If a core still moves at the largest halo that the windows allow.
    """
    stride = model.card.stride
    size = next(iter(windows[0].values())).shape[-1]
    core = max(min(CORE, size // 4) // stride, 1) * stride
    whole = [_core(model, window, core) for window in windows]
    first = round_up(least, stride)
    for margin in range(first, (size - core) // 2, stride):
        changes = (
            _difference(_core(model, other, core), answers)
            for window, answers in zip(windows, whole, strict=True)
            for other in _replaced(window, core // 2 + margin)
        )
        if all(change <= TOLERANCE for change in changes):
            return least if margin == first else margin
    raise ModelError(
        f"model {model.card.name!r} looks further than {(size - core) // 2} pixels around, so its "
        "results would change with --tile; use fp16"
    )


def _replaced(window: Window, half: int) -> Iterator[Window]:
    """Yield the window with something else beyond a square around its middle."""
    for other in (np.zeros_like, np.invert, _rolled):
        changed = {name: other(image) for name, image in window.items()}
        for name, image in window.items():
            kept = _middle(image, half)
            changed[name][kept] = image[kept]
        yield changed


def _rolled(image: np.ndarray) -> np.ndarray:
    far = image.shape[-1] // 2
    return np.roll(image, (far, far), (-2, -1))


def _middle(image: np.ndarray, half: int) -> tuple[slice, slice, slice, slice]:
    """Return the index of a square of twice `half` pixels in the middle of some images."""
    centre = image.shape[-1] // 2
    kept = slice(centre - half, centre + half)
    return slice(None), slice(None), kept, kept


def _core(model: Model | Ensemble, window: Window, core: int) -> list[np.ndarray]:
    """Return what is said of the middle, as probabilities."""
    pre = window["pre"]
    said: Heads = model(pre, window.get("post", pre))
    found = []
    for name in heads_of(model.card):
        head = getattr(said, name)
        inner = head[_middle(head, core // 2)]
        if name == "damage":
            inner = inner / np.maximum(inner.sum(1, keepdims=True), 1e-12)
        found.append(inner)
    return found


def _difference(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(some, others, strict=True))
