"""Export: a network becomes one ONNX graph, and its halo is measured."""

import io
import warnings

import numpy as np
import torch
from torch import Tensor

from geodamage.errors import ModelError
from geodamage.model.heads import Predictor
from geodamage.networks.conventions import Exported

#: Largest change of a probability that counts as none.
TOLERANCE = 1e-3
#: ONNX operators that every ONNX Runtime since 1.12 knows.
OPSET = 17


def to_onnx(exported: Exported, size: int = 64) -> bytes:
    """Export the graph with free batch and size.

    Parameters
    ----------
    exported
        A network with its convention.
    size
        Rows and columns of the example that is traced, pixels; a multiple of the stride.
    """
    inputs, outputs = exported.convention.inputs, exported.convention.outputs
    # Two of them: a batch of one would be taken for a constant.
    example = tuple(
        torch.zeros(2, channels, size, size, dtype=torch.uint8)
        for channels in exported.convention.channels
    )
    buffer = io.BytesIO()
    axes = {0: "n", 2: "rows", 3: "columns"}
    with warnings.catch_warnings():
        # The tracing exporter calls itself old; it folds batch normalisation and keeps sizes free.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            exported.eval(),
            example,
            buffer,  # type: ignore[arg-type]  # the tracing exporter takes a file object
            input_names=[*inputs],
            output_names=[*outputs],
            dynamic_axes=dict.fromkeys((*inputs, *outputs), axes),
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()


def measure_halo(
    exported: Exported,
    images: np.ndarray,
    *,
    stride: int,
    core: int = 64,
    tolerance: float = TOLERANCE,
) -> int | None:
    """Measure how far from a core a pixel can still change its output.

    Pixels beyond a margin are replaced by others. The halo is the least margin, a multiple of the
    stride, at which no probability of the core changes by more than `tolerance`. It is found by
    bisection: what has no influence has none from farther away, either.

    Parameters
    ----------
    exported
        A network with its convention.
    images
        uint8 (n, 2, 3, size, size): pre and post windows.
    stride
        Stride of the network, pixels.
    core
        Rows and columns of the core, pixels.
    tolerance
        Largest change of a probability that counts as none. Where a pixel lies that near to a
        threshold, another tile may draw it otherwise: the bundled models keep to 1e-4.

    Returns
    -------
    Pixels; None if the core still moves at the largest margin that the windows allow.
    """
    tensors = torch.from_numpy(images)
    far = images.shape[-1] // 2
    others = (
        torch.zeros_like(tensors),
        255 - tensors,
        tensors.roll((1, far, far), (0, -2, -1)),
    )
    with torch.no_grad():
        whole = _core(exported, tensors, core)
        margins = range(0, (images.shape[-1] - core) // 2, stride)
        halos = [
            _least_margin(exported, (tensors, other), whole, (margins, core), tolerance)
            for other in others
        ]
    return None if None in halos else max(halo for halo in halos if halo is not None)


def _least_margin(
    exported: Exported,
    images: tuple[Tensor, Tensor],
    whole: list[Tensor],
    sizes: tuple[range, int],
    tolerance: float,
) -> int | None:
    """Return the least margin inside which nothing but the image decides about the core."""
    tensors, other = images
    margins, core = sizes
    start, middle = (tensors.shape[-1] - core) // 2, (tensors.shape[-1] + core) // 2
    low, high = 0, len(margins)
    while low < high:
        guess = (low + high) // 2
        kept = slice(start - margins[guess], middle + margins[guess])
        changed = other.clone()
        changed[..., kept, kept] = tensors[..., kept, kept]
        heads = zip(_core(exported, changed, core), whole, strict=True)
        if max(float((a - b).abs().max()) for a, b in heads) > tolerance:
            low = guess + 1
        else:
            high = guess
    return margins[low] if low < len(margins) else None


def _core(exported: Exported, images: Tensor, core: int) -> list[Tensor]:
    """Return the heads of the core of windows `(n, 2, 3, size, size)`."""
    middle = slice((images.shape[-1] - core) // 2, (images.shape[-1] + core) // 2)
    dates = dates_of(exported, images)
    return [head[..., middle, middle] for head in exported(*dates)]


def dates_of(exported: Exported, images: Tensor) -> list[Tensor]:
    """Return the images that a network takes of windows `(n, 2, 3, size, size)`."""
    channels = exported.convention.channels
    return [date[:, :count] for date, count in zip(images.unbind(1), channels, strict=False)]


def check_parity(exported: Exported, model: Predictor, images: np.ndarray) -> float:
    """Check that a model file says what its network says.

    Parameters
    ----------
    exported
        A network with its convention.
    model
        What was made of it.
    images
        uint8 (n, 2, 3, size, size): pre and post windows.

    Returns
    -------
    The largest difference of a probability.

    Raises
    ------
    ModelError
        If it is above `TOLERANCE`.
    """
    with torch.no_grad():
        dates = dates_of(exported, torch.from_numpy(images))
        expected = exported(*dates)
    shown = [date.numpy() for date in dates]
    heads = model(shown[0], shown[-1])
    worst = 0.0
    for name, theirs in zip(exported.convention.outputs, expected, strict=True):
        apart = float(np.abs(getattr(heads, name) - theirs.numpy()).max())
        # Not >, so that a NaN is refused, too.
        if not apart <= TOLERANCE:
            raise ModelError(
                f"{model.card.name}: {name} of the model file differs from the network's by "
                f"{apart:.2g}; report this network"
            )
        worst = max(worst, apart)
    return worst
