"""Checkpoints: published weights, recognised by their keys and loaded whole or not at all.

Nothing of a file is executed: only tensors, plain Python values and the NumPy number that the
published files carry are allowed. Which network a file belongs to is read from the names and
shapes in it. A network is built without memory, and the tensors of the file become its weights; so
nothing random can remain in it.
"""

import _codecs
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geodamage.errors import (
    CheckpointError,
    GeodamageWarning,
    MissingExtraError,
    OptionError,
    install,
)
from geodamage.model.weight_files import find_weights, is_safetensors
from geodamage.networks.registry import create_network, named_tasks
from geodamage.sources import read_text

#: What DataParallel puts before every key.
PARALLEL = "module."
#: Where families keep the weights inside a checkpoint: the first place, its students and Open
#: Cities; xView2SiameseUNet while training.
_STATE_KEYS = ("state_dict", "model_state_dict")

#: Where ours keep the name and the options of a network that was created with some.
_NETWORK, _OPTIONS = "network", "network_options"

_scalar = np.float64(0).__reduce__()[0]
#: The types of a NumPy float64, under the names that NumPy 1 and NumPy 2 write: the best score.
_ALLOWED: list[Any] = [
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
    _codecs.encode,
]
#: How the PyTorch unpickler names what it does not let through.
_REFUSED = re.compile(r"[Uu]nsupported (?:global: )?GLOBAL ([\w.]+)")

#: Parts of published file names, the networks that carry them, and the task they tell.
#: Source: weights/ of the first place; train_student*.py of building_damage_kd; manager.py of
#: MetaDamageNet.
_NAME_NETWORKS = (
    (re.compile(r"^res34_"), "res34_unet"),
    (re.compile(r"^res50_"), "seresnext50_unet"),
    (re.compile(r"^dpn92_"), "dpn92_unet"),
    (re.compile(r"^se154_"), "senet154_unet"),
    (re.compile(r"^(loc|cls)_kd_|^res50_.*_kd_"), "seresnext50_unet_student"),
)
_NAME_TASKS = (
    (re.compile(r"(^|_)loc_|localizer"), "localisation"),
    (re.compile(r"(^|_)cls2?_|classifier"), "damage"),
)

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Checkpoint:
    """Weights of one network, complete and checked."""

    network: str
    """Name of the network, as `create_network` takes it."""
    task: str
    """`localisation`, `damage` or `assess`."""
    family: str
    """Family of the network."""
    state: Mapping[str, Tensor]
    """The weights, float32, without the prefix of DataParallel."""
    best_score: float | None
    """Score that its training noted, on its own validation images; None if it noted none."""
    epoch: int | None
    """Epochs trained; None if not noted."""
    source: Path
    """The file the weights were read from."""
    best_loss: float | None = None
    """Loss that its training noted instead of a score; None if it noted none."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What else it takes to create the network, where the file says so."""


def read_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read a checkpoint and recognise its network.

    Parameters
    ----------
    path
        A file that the training scripts of the first place, its students, MetaDamageNet,
        xView2SiameseUNet or Open Cities write, whatever its extension. Or a folder of MetaDamageNet
        with model.pth in it.

    Raises
    ------
    CheckpointError
        If it cannot be read, holds more than weights, or fits no network exactly.
    """
    source = find_weights(Path(path))
    content = _read_content(source)
    state = _state_of(content, source)
    options = _options_of(content)
    network, task, family = _recognise(state, source, options)
    _check_name(source, network, task)
    facts = _facts_of(content, source)
    return Checkpoint(
        network=network,
        task=task,
        family=family,
        state={key: _checked(value, key, source) for key, value in state.items()},
        best_score=_number(facts.get("best_score")),
        epoch=None if (epoch := _number(facts.get("epoch"))) is None else int(epoch),
        source=source,
        best_loss=_number(facts.get("best_loss")),
        options={} if options is None else options[1],
    )


def load_checkpoint(path: str | PathLike[str]) -> nn.Module:
    """Return the network of a checkpoint with its weights, in evaluation mode.

    It takes and returns what its family's did: see `geodamage.networks.conventions`.

    Parameters
    ----------
    path
        Path that `read_checkpoint` takes.

    Raises
    ------
    CheckpointError
        If it cannot be read, holds more than weights, or fits no network exactly.
    """
    return build_network(read_checkpoint(path))


def build_network(checkpoint: Checkpoint) -> nn.Module:
    """Return the network of a checkpoint that was read, in evaluation mode."""
    network = _empty(checkpoint.network, checkpoint.task, **checkpoint.options)
    network.load_state_dict(dict(checkpoint.state), strict=True, assign=True)
    left = [name for name, tensor in _tensors(network) if tensor.is_meta]
    if left:
        raise CheckpointError(
            f"{checkpoint.source}: {_some(left)} of {checkpoint.network} are no weights and were "
            "not made; report this network"
        )
    return network.eval()


def save_checkpoint(
    module: nn.Module,
    path: str | PathLike[str],
    *,
    epoch: int,
    best_score: float,
    prefix: str = "",
) -> None:
    """Write the weights of a network as the first place did.

    Where `create_network` was given options, they are written, too: without them a network such as
    one on another encoder would not be recognised.

    Parameters
    ----------
    module
        A network, or DataParallel around one.
    path
        File to write; one that is there is replaced when the new one is complete.
    epoch
        Epochs trained, counted from 1.
    best_score
        Score of these weights.
    prefix
        Put before every key; `module.` gives what DataParallel would.
    """
    path = Path(path)
    state = {
        prefix + key.removeprefix(PARALLEL): value.detach().cpu()
        for key, value in module.state_dict().items()
    }
    partial = path.with_name(f".{path.name}.partial")
    content = {"epoch": epoch, "state_dict": state, "best_score": np.float64(best_score)}
    created = getattr(getattr(module, "module", module), "created", None)
    if created is not None and created.options:
        content |= {_NETWORK: created.name, _OPTIONS: dict(created.options)}
    try:
        torch.save(content, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_content(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors" or is_safetensors(path):
        return _read_safetensors(path)
    try:
        with torch.serialization.safe_globals(_ALLOWED), warnings.catch_warnings():
            # PyTorch's own, about pickles that it did not write.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch.load raises whatever a damaged file brings about
        refused = _REFUSED.search(str(error))
        if refused:
            raise CheckpointError(
                f"{path}: holds Python objects ({refused[1]}), not weights alone, and reading them "
                "would run their code; where you trust it, load it with its own program and write "
                "torch.save(model.state_dict(), PATH)"
            ) from error
        raise CheckpointError(
            f"{path}: no PyTorch checkpoint, or a damaged one; get the file again"
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise MissingExtraError(f"safetensors is not installed; run {install('train')}") from error
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"{path}: cut off, or no safetensors; get the file again") from error


def _state_of(content: Any, path: Path) -> dict[str, Any]:
    """Return the weights in what was read, without the prefix of DataParallel."""
    state = content
    if isinstance(content, Mapping):
        state = next((content[key] for key in _STATE_KEYS if key in content), content)
    if not isinstance(state, Mapping) or not any(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(
            f"{path}: no weights in it (keys state_dict, model_state_dict, or tensors by name); "
            "give a checkpoint"
        )
    strange = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(
            f"{path}: {_some(strange)} are not tensors; save the state_dict alone"
        )
    if all(str(key).startswith(PARALLEL) for key in state):
        return {str(key).removeprefix(PARALLEL): value for key, value in state.items()}
    return {str(key): value for key, value in state.items()}


def _options_of(content: Any) -> tuple[str, dict[str, Any]] | None:
    """Return name and options of a network that a file says it was created with."""
    if not isinstance(content, Mapping):
        return None
    name, options = content.get(_NETWORK), content.get(_OPTIONS)
    if not isinstance(name, str) or not isinstance(options, dict):
        return None
    return name, {str(key): value for key, value in options.items()}


def _recognise(
    state: Mapping[str, Tensor], path: Path, options: tuple[str, dict[str, Any]] | None = None
) -> tuple[str, str, str]:
    """Return name, task and family of the network with exactly these keys and shapes."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    if options is not None:
        return _recognise_created(shapes, path, *options)
    nearest: tuple[int, str, str] | None = None
    for name, task, family in named_tasks():
        wanted = _shapes(name, task)
        if shapes == wanted:
            return name, task, family
        fitting = sum(wanted.get(key) == shape for key, shape in shapes.items())
        # Ties go to the network with fewer keys of its own.
        likeness = 2 * fitting - len(wanted)
        if fitting and (nearest is None or likeness > nearest[0]):
            nearest = likeness, name, task
    if nearest is None:
        raise CheckpointError(
            f"{path}: the weights of no network known here; see geodamage models networks"
        )
    raise CheckpointError(_difference(shapes, nearest[1], nearest[2], path))


def _recognise_created(
    shapes: Shapes, path: Path, name: str, options: Mapping[str, Any]
) -> tuple[str, str, str]:
    """Return name, task and family of a network whose name and options the file says."""
    tasks = [(task, family) for known, task, family in named_tasks() if known == name]
    if not tasks:
        raise CheckpointError(f"{path}: of a network {name!r}, which is not known here; update")
    try:
        wanted = {task: _shapes_of(_empty(name, task, **options)) for task, _ in tasks}
    except OptionError as error:
        raise CheckpointError(f"{path}: {error}; the file says what no network is") from error
    for task, family in tasks:
        if wanted[task] == shapes:
            return name, task, family
    task = tasks[0][0]
    raise CheckpointError(_difference(shapes, name, task, path, wanted[task]))


def _difference(
    shapes: Shapes, name: str, task: str, path: Path, wanted: Shapes | None = None
) -> str:
    wanted = _shapes(name, task) if wanted is None else wanted
    missing = [key for key in wanted if key not in shapes]
    unexpected = [key for key in shapes if key not in wanted]
    misshapen = [
        f"{key} {[*shapes[key]]} for {[*wanted[key]]}"
        for key in wanted
        if key in shapes and shapes[key] != wanted[key]
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
    found = "; ".join(f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in kinds if keys)
    return f"{path}: nearest to {name} ({task}), but does not fit: {found}; nothing was loaded"


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _empty(name: str, task: str, **options: Any) -> nn.Module:
    """Build a network that has shapes and no memory."""
    with torch.device("meta"):
        return create_network(name, task=task, **options)


@cache
def _shapes(name: str, task: str) -> dict[str, tuple[int, ...]]:
    return _shapes_of(_empty(name, task))


def _shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _checked(value: Tensor, key: str, path: Path) -> Tensor:
    """Return a weight as float32, a counter as int64."""
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise CheckpointError(f"{path}: {key} is {value.dtype}; save it as plain float32")
    if not value.is_floating_point():
        if key.endswith(".relative_position_index"):
            from geodamage.networks.changeos import check_index

            return check_index(key, value, path)
        if value.ndim:
            raise CheckpointError(f"{path}: {key} is {value.dtype}; save it as float32")
        return value.to(torch.int64)
    value = value.to(torch.float32)
    if not value.isfinite().all():
        raise CheckpointError(f"{path}: {key} is not finite; its training went wrong, or the file")
    return value


def _facts_of(content: Any, path: Path) -> Mapping[str, Any]:
    """Return epoch and best score, which MetaDamageNet keeps in a file beside the weights."""
    if isinstance(content, Mapping) and any(key in content for key in _STATE_KEYS):
        return content
    beside = path.with_name("metadata.json")
    if path.name != "model.pth" or not beside.exists():
        return {}
    try:
        facts = json.loads(read_text(beside))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{beside}: cannot be read ({error}); fix or remove it") from error
    if not isinstance(facts, dict):
        raise CheckpointError(f"{beside}: not a JSON object; fix or remove it")
    return facts | {"epoch": facts.get("trained_epochs")}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _check_name(path: Path, network: str, task: str) -> None:
    """Warn if the name of a file says something else than what is in it."""
    name = (path.parent.name if path.name == "model.pth" else path.name).lower()
    told = {"network": _told(_NAME_NETWORKS, name), "task": _told(_NAME_TASKS, name)}
    for what, found in (("network", network), ("task", task)):
        if told[what] not in (None, found):
            warnings.warn(
                f"{path}: named like {told[what]}, but its weights are those of {network} ({task})",
                GeodamageWarning,
                stacklevel=3,
            )


def _told(patterns: tuple[tuple[re.Pattern[str], str], ...], name: str) -> str | None:
    """Return what the last fitting pattern tells."""
    return next((what for pattern, what in reversed(patterns) if pattern.search(name)), None)
