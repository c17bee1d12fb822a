"""Import of published checkpoints: model files of the house, one or an ensemble, made from them."""

import dataclasses
import hashlib
import json
import sys
import warnings
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from geodamage.errors import GeodamageWarning, MissingExtraError, OptionError, install
from geodamage.model.card import Card, with_card
from geodamage.model.measuring import measure_memory, oddity, pattern_windows
from geodamage.model.onnx import Model
from geodamage.model.published import find_published
from geodamage.networks.checkpoints import Checkpoint, build_network, read_checkpoint
from geodamage.networks.conventions import Exported, convention_of
from geodamage.networks.export import TOLERANCE, check_parity, measure_halo, to_onnx
from geodamage.networks.registry import network_facts
from geodamage.output.publication import Publication, check_output, output_errors
from geodamage.words import counted

#: Families that answer by the rules of the first place. Source: building_damage_kd keeps its
#: teachers' inference and create_submission.py as they are.
FIRST_PLACE_RULES = ("first_place", "distillation")
#: Source: predict*.py and create_submission.py of the first place: four mirror images; a pixel is
#: building above these localisations, by its best grade; minor damage grown by a 5 x 5 square.
#: What the last step was meant to cover, not what an operator's precedence made of it.
_FLIPS = ["none", "horizontal", "vertical", "both"]
_THRESHOLD = 0.38
_PIXEL_RULES = """
[pixels]
thresholds = [0.38, 0.13, 0.13, 0.14]
dilation = 5
dilation_covers = "intended"
"""

#: Window of a card, pixels; fixed for networks of global context, with this halo around the core.
TILE, GLOBAL_HALO = 1024, 128
#: Windows and their cores that the halo is measured on, pixels. The largest halo that they show
#: leaves a quarter of a tile to the core; with more, a fixed tile costs less.
HALO_WINDOW, CORE = 640, 64
#: Windows that a graph is traced with, pixels; it is compared on other ones of twice the size.
EXAMPLE_WINDOW = 64
#: Windows that the memory of a local network is measured on, pixels: it grows with the pixels, so
#: small ones will do. One of global context is measured on its tile.
MEMORY_WINDOW = 256
#: Bytes per pixel. Source: measured on Linux, the networks here take 259 to 1,480.
ENOUGH_MEMORY = 1500.0

_XBD = "xBD (Gupta et al. 2019, CC BY-NC-SA 4.0; imagery Maxar Open Data)"
_OPEN_CITIES = (
    "Open Cities AI Challenge (GFDRR Labs 2020, CC BY 4.0), SpaceNet Rio and Atlanta (CC BY-SA)"
)
_BRIGHT = "BRIGHT (Chen et al. 2025, CC BY-NC 4.0)"
#: What a user of them has to know. Source: 26 tiles of the Libya flood, by an outsider (2026), of
#: the files that had not seen it: recall of damaged and destroyed pixels of 0.013 and 0 %.
_CAUTIONS = {
    "bright": "outsiders measured that the networks of BRIGHT found 0 to 0.013 % of the damaged "
    "pixels of a flood that they had not seen; check what it finds before you rely on it",
}
_LICENCES = {
    "first_place": "MIT (repository); trained on xBD, CC BY-NC-SA 4.0",
    "distillation": "MIT (repository); trained on xBD, CC BY-NC-SA 4.0",
    "metadamagenet": "MIT (repository); trained on xBD, CC BY-NC-SA 4.0",
    "siamese_resnet50": "none stated; trained on xBD, CC BY-NC-SA 4.0",
    "open_cities": "MIT (repository); trained on Open Cities, CC BY 4.0, and SpaceNet, CC BY-SA",
    "changeos": "Apache-2.0 (card); trained on xBD, CC BY-NC-SA 4.0",
    "microsoft": "MIT (repository); trained on xBD, CC BY-NC-SA 4.0",
    "bright": "CC BY 4.0 (its record, as third parties note it); trained on BRIGHT, CC BY-NC 4.0",
    "geodamage": "CC BY-NC-SA 4.0",
}
_SOURCES = {
    "open_cities": "by the third place of Open Cities (Busta 2020): tier 1, then soft labels",
    "first_place": "by the xView2 first place (Durnov 2020): train and tier3",
    "distillation": "by distillation from the first place (Bai et al. 2023): train and tier3",
    "metadamagenet": "by MetaDamageNet (Afshar 2024): train and tier3",
    "siamese_resnet50": "by xView2SiameseUNet (Scholz 2025): train and three quarters of tier3",
    "changeos": "by torchange (ChangeOS, Zheng et al. 2021, with Swin-T): train and tier3",
    "microsoft": "by building-damage-assessment-cnn-siamese (2022)",
    "bright": "by the benchmark of BRIGHT: its standard split, or all events but the one it names",
    "geodamage": "by geodamage",
}
#: Scores that authors state, and not their files, by network. Source: card of torchange's file;
#: tables 5 and 10 of the paper of BRIGHT.
_STATED = {
    "bright_unet": "mean IoU 64.94 on the standard split, 33.25 on the Libya flood that it had not "
    "seen: BRIGHT, of the files that its authors published",
    "bright_siamattnunet": "mean IoU 64.26 on the standard split, 33.76 on the Libya flood that it "
    "had not seen: BRIGHT, of the files that its authors published",
    "changeos_swint": "76.91 overall, 85.03 localisation, 73.43 damage; 89.39 / 58.03 / 72.75 / "
    "81.25 by grade: xView2 hold, per pixel, of the file that its authors published",
}
#: Who trained those of `timm_fpn` is not known from their weights; none is published.
_NOT_PUBLISHED = frozenset({"timm_fpn"})
#: Ground sample distances, metres per pixel: native, finest and coarsest taken as they are. Source:
#: xBD, mean of its images; the range is that of the bundled model.
_GSD = (0.47, 0.3, 0.8)
#: Source: drone imagery of Open Cities; dataset.py of its third place rescales to 7 cm.
_OPEN_CITIES_GSD = (0.07, 0.02, 0.2)
#: Source: paper of BRIGHT: pixels of 0.3 to 1 m, and no rescaling.
_BRIGHT_GSD = (0.5, 0.3, 1.0)
_RANGES = {"open_cities": _OPEN_CITIES_GSD, "bright": _BRIGHT_GSD}
#: Source: third place of Open Cities: README (one network), config/combine.yaml (ensemble).
_OPEN_CITIES_THRESHOLD, _OPEN_CITIES_TOGETHER = 0.56, 0.54


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of one checkpoint."""

    source: Path
    """The checkpoint."""
    path: Path
    """The model file."""
    network: str
    """Name of the network that was recognised."""
    family: str
    """Its family."""
    task: str
    """`localisation`, `damage` or `assess`."""
    epoch: int | None
    """Epochs trained; None if not noted."""
    best_score: float | None
    """Score that its training noted; None if it noted none."""
    context: str
    """`local` or `global`."""
    halo: int
    """Pixels; measured, or the fixed overlap of a network of global context."""
    size: int
    """Size of the model file, bytes."""
    difference: float
    """Largest difference of a probability between the model file and the network."""
    published: str = ""
    """Name of the published weights that it is by its SHA-256; empty where none is known."""


def import_checkpoints(
    sources: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    licence: str | None = None,
    overwrite: bool = False,
    tolerance: float = TOLERANCE,
) -> Generator[Imported, None, None]:
    """Make a model file of one checkpoint, or an ensemble of several; all of them or nothing.

    Parameters
    ----------
    sources
        Published checkpoints.
    output
        Name without extension: NAME.onnx for one checkpoint, for several NAME.toml beside its
        members NAME-<network>-<task>-<number>.onnx.
    licence
        Licence of the weights, instead of what is known of their family.
    overwrite
        Replace files that are there already.
    tolerance
        Tolerance of the halo; see `measure_halo`.

    Yields
    ------
    One result for each checkpoint. The files appear after the last.

    Raises
    ------
    CheckpointError
        If a file cannot be read or fits no network exactly.
    OptionError
        If there is no source, or the extension of the output is wrong.
    OutputError
        If the output exists or cannot be written.
    MissingExtraError
        If ONNX Runtime is not installed.
    """
    if find_spec("onnxruntime") is None:
        raise MissingExtraError(
            f"onnxruntime is not installed; run {install('cpu')}, so that what was "
            "imported can be measured and compared"
        )
    paths = [Path(source) for source in sources]
    target = _target(Path(output), len(paths))
    found = [_recognise(path) for path in paths]
    names = _names(target, found)
    for path in {target, *names}:
        check_output(path, inputs=paths, overwrite=overwrite, extensions=(".onnx", ".toml"))
    with Publication(overwrite=overwrite) as publication:
        members = []
        for source, name in zip(paths, names, strict=True):
            partial = publication.partial(name)
            member = _write_model(source, (name, partial), licence, tolerance)
            members.append(member)
            yield member
        if len(members) > 1:
            partial = publication.partial(target)
            with output_errors(target):
                partial.write_text(ensemble_text(target.stem, members), encoding="utf-8")


def _target(output: Path, count: int) -> Path:
    """Return the file that the user will name: the model, or the ensemble."""
    if not count:
        raise OptionError("no checkpoint was given; name at least one")
    extension = ".onnx" if count == 1 else ".toml"
    if output.suffix.lower() in (".onnx", ".toml"):
        if output.suffix.lower() != extension:
            raise OptionError(
                f"output {output}: {counted(count, 'checkpoint becomes', 'checkpoints become')} "
                f"a {extension}"
            )
        output = output.with_suffix("")
    return output.with_name(output.name + extension)


def _recognise(path: Path) -> tuple[str, str]:
    """Return network and task; its weights are let go, so that a large set fits in memory."""
    checkpoint = read_checkpoint(path)
    return checkpoint.network, checkpoint.task


def _names(target: Path, found: Iterable[tuple[str, str]]) -> list[Path]:
    if target.suffix == ".onnx":
        return [target]
    counts: Counter[tuple[str, str]] = Counter()
    names = []
    for network, task in found:
        counts[network, task] += 1
        name = f"{target.stem}-{network}-{task}-{counts[network, task]}.onnx"
        names.append(target.with_name(name))
    return names


def _write_model(
    source: Path, places: tuple[Path, Path], licence: str | None, tolerance: float
) -> Imported:
    """Write one model file to a partial file and check that it says what the network says."""
    path, partial = places
    with warnings.catch_warnings():
        # They were given when it was recognised.
        warnings.simplefilter("ignore", GeodamageWarning)
        checkpoint = read_checkpoint(source)
    exported = Exported(
        build_network(checkpoint),
        convention_of(checkpoint.family, checkpoint.network, checkpoint.task),
    )
    card = _card(checkpoint, path.stem, licence)
    facts = exported.convention.card_facts | _field(exported, checkpoint, tolerance)
    card = dataclasses.replace(card, **facts)
    if card.caution:
        warnings.warn(f"{source}: {card.caution}", GeodamageWarning, stacklevel=3)
    example = max(EXAMPLE_WINDOW, _least_traced(checkpoint.network))
    blob = to_onnx(exported, example)
    with output_errors(path):
        partial.write_bytes(blob)
    card = dataclasses.replace(card, bytes_per_pixel=_memory(partial, card))
    with output_errors(path):
        partial.write_bytes(with_card(blob, card))
    model = Model(partial, device="cpu")
    windows = pattern_windows(1, 2 * example, seed=1)
    difference = check_parity(exported, model, windows)
    _look(source, model, windows)
    return Imported(
        source=source,
        path=path,
        network=checkpoint.network,
        family=checkpoint.family,
        task=checkpoint.task,
        epoch=checkpoint.epoch,
        best_score=checkpoint.best_score,
        context=card.context,
        halo=card.halo,
        size=partial.stat().st_size,
        difference=difference,
        published=card.scores.get("published_weights", ""),
    )


def _look(source: Path, model: Model, windows: np.ndarray) -> None:
    """Warn of what wrong weights of the right shapes bring about."""
    counts = len(model.card.pre_channels), len(model.card.post_channels)
    dates = zip(windows.swapaxes(0, 1), counts, strict=True)
    pre, post = (np.ascontiguousarray(date[:, :count]) for date, count in dates)
    if found := oddity(model.card, model(pre, post)):
        warnings.warn(
            f"{source}: {found} in a synthetic pair; names and shapes are right, which proves no "
            "right weights: try it on a pair that you know",
            GeodamageWarning,
            stacklevel=3,
        )


def _card(checkpoint: Checkpoint, name: str, licence: str | None) -> Card:
    """Return what is known of a model before it is measured."""
    native, finest, coarsest = _RANGES.get(checkpoint.family, _GSD)
    known_licence, training_data = _origin(checkpoint)
    kind, noted = "score", checkpoint.best_score
    if noted is None and checkpoint.best_loss is not None:
        kind, noted = "loss", checkpoint.best_loss
    note = f"{kind} that its training noted: {noted}, epoch {checkpoint.epoch}"
    sha256 = _file_hash(checkpoint.source)
    known = find_published(sha256)
    note = _STATED.get(checkpoint.network, note)
    return Card(
        name=name,
        version="1",
        # A damage network knows background from building, so it has both heads.
        task="localisation" if checkpoint.task == "localisation" else "assess",
        gsd_native=native,
        gsd_min=finest,
        gsd_max=coarsest,
        stride=1,
        context="global",
        halo=GLOBAL_HALO,
        tile=TILE,
        licence=licence or known_licence,
        training_data=training_data,
        caution=_CAUTIONS.get(checkpoint.family, ""),
        threshold=_OPEN_CITIES_THRESHOLD if _of_open_cities(checkpoint) else 0.5,
        scores={
            "network": checkpoint.network,
            "checkpoint": checkpoint.source.name,
            "checkpoint_sha256": sha256,
            "published": note,
            "published_weights": "" if known is None else known.name,
        },
    )


def _least_traced(network: str) -> int:
    """Return the pixels of a window below which a network is traced wrongly."""
    if network != "changeos_swint":
        return 0
    from geodamage.networks.changeos import LEAST_TRACED

    return LEAST_TRACED


def _of_open_cities(checkpoint: Checkpoint) -> bool:
    return checkpoint.family == "open_cities"


def _origin(checkpoint: Checkpoint) -> tuple[str, str]:
    """Return licence and training data, as far as they are known."""
    if checkpoint.network in _NOT_PUBLISHED:
        return "not stated", "not stated"
    data = {"open_cities": _OPEN_CITIES, "bright": _BRIGHT}.get(checkpoint.family, _XBD)
    return _LICENCES[checkpoint.family], f"{data}, {_SOURCES[checkpoint.family]}"


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _field(exported: Exported, checkpoint: Checkpoint, tolerance: float) -> dict[str, Any]:
    """Return stride, context and halo of a card."""
    facts = network_facts(checkpoint.network, checkpoint.task)
    overlap = {"stride": facts.stride, "context": "global", "halo": GLOBAL_HALO}
    if facts.context == "global":
        return overlap
    windows = pattern_windows(1, HALO_WINDOW)
    halo = measure_halo(exported, windows, stride=facts.stride, core=CORE, tolerance=tolerance)
    if halo is None:
        seen = (HALO_WINDOW - CORE) // 2 - facts.stride
        warnings.warn(
            f"{checkpoint.source}: pixels over {seen} away still affect its output, so its "
            f"windows are fixed at {TILE} pixels, overlap {GLOBAL_HALO}, as those of a network of "
            "global context",
            GeodamageWarning,
            stacklevel=2,
        )
        return overlap
    return {"stride": facts.stride, "context": "local", "halo": halo}


def _memory(partial: Path, card: Card) -> float:
    """Return bytes per window pixel: measured, or where that cannot be done, enough."""
    if sys.platform != "linux":
        warnings.warn(
            f"{card.name}: memory is measured on Linux only; its card assumes {ENOUGH_MEMORY:g} "
            "bytes per pixel",
            GeodamageWarning,
            stacklevel=2,
        )
        return ENOUGH_MEMORY
    return measure_memory(partial, MEMORY_WINDOW if card.context == "local" else card.tile)


def ensemble_text(name: str, members: Sequence[Imported]) -> str:
    """Return the TOML of an ensemble.

    Sets of the first place and its students predict as the first place did, with four mirror images
    and its rules for pixels. Localisation comes from the localisation networks, with equal weight
    for each architecture. Damage comes from the damage networks alone. Sets of Open Cities answer
    as its third place did: the mean over the mirror images of all. Others are averaged as they are.
    """
    ruled = all(member.family in FIRST_PLACE_RULES for member in members)
    tasks = {member.task for member in members}
    both = ruled and tasks == {"localisation", "damage"}
    cities = all(member.family == "open_cities" for member in members)
    threshold = _THRESHOLD if ruled and "localisation" in tasks else 0.5
    threshold = _OPEN_CITIES_TOGETHER if cities else threshold
    lines = [f"name = {_quoted(name)}", 'version = "1"', f"threshold = {threshold}"]
    text = "\n".join(lines) + "\n" + (_PIXEL_RULES if both else "")
    seeds = Counter(member.network for member in members if member.task == "localisation")
    for member in members:
        located = member.task == "localisation"
        text += f"\n[[member]]\nfile = {_quoted(member.path.name)}\n"
        if both:
            text += f"heads = [{_quoted(member.task)}]\n"
        if ruled:
            text += f"weight = {round(1 / seeds[member.network], 9) if located else 1.0}\n"
        if ruled or cities:
            text += f"flips = [{', '.join(map(_quoted, _FLIPS))}]\n"
    return text


def _quoted(text: str) -> str:
    # A JSON string is a TOML string, too.
    return json.dumps(text, ensure_ascii=False)
