"""The file layout of the official xView2 scorer: folders of masks, checked and counted.

Every image has four PNGs, `{test|hold}_{localization|damage}_{id}_prediction.png` in one folder
and `..._target.png` in another. The targets say which images there are. The names of xBD's own
targets, as `geodamage masks` writes them, are taken, too: `{pair}_{pre|post}_disaster_target.png`.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import rasterio
from rasterio.errors import RasterioError

from geodamage.damage import GRADES
from geodamage.errors import ScoringError, one_line
from geodamage.scene.opening import environment, open_plain
from geodamage.scores.buildings import BuildingScore, building_score
from geodamage.scores.metrics import report
from geodamage.scores.pixels import OfficialScore, official_score
from geodamage.xbd.folders import Pair

#: Source: DIUx-xView/xView2_scoring, xview2_metrics.py: names, shape and values of the masks.
TARGET_NAME = re.compile(r"(?P<part>test|hold)_(?P<kind>localization|damage)_(?P<id>[^_]+)_target")
#: Source: xBD, folder `targets`: buildings are drawn for the date before, grades for that after.
PAIR_NAME = re.compile(r"(?P<pair>.+)_(?P<date>pre|post)_disaster_target")
KINDS = {"pre": "localization", "post": "damage"}
OFFICIAL_SHAPE = (1024, 1024)
HIGHEST = max(GRADES)
#: Pixels above which a mask is refused before it is decoded: four of them are held at a time.
LARGEST = 8192 * 8192
#: Columns `id`, `pair`, in the folder of targets: which xBD pair each image is.
NAMES = "names.csv"
#: What was taken for a building, in a report.
UNIT = "connected components (4 neighbours) of the localization masks, majority grade"

# Source: ISO/IEC 15948 (PNG), 11.2.2: signature, length, "IHDR", width, height, bit depth, colour.
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 26
_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}


class ImageId(NamedTuple):
    """Which image: `test` or `hold` and its id, or nothing and the name of its pair."""

    part: str
    id: str

    def file_name(self, kind: str, role: str) -> str:
        """Return the name of its mask, such as `test_damage_00001_target.png`."""
        if not self.part:
            date = next(date for date, drawn in KINDS.items() if drawn == kind)
            return f"{self.id}_{date}_disaster_{role}.png"
        return f"{self.part}_{kind}_{self.id}_{role}.png"


@dataclass(frozen=True)
class Submission:
    """A folder of predictions beside the folder of their targets.

    Attributes
    ----------
    predictions, targets
        The folders.
    images
        What is scored, sorted.
    events
        Event of each id; empty where the targets do not say.
    """

    predictions: Path
    targets: Path
    images: tuple[ImageId, ...]
    events: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MaskScore:
    """Counts of a set of images; they add up.

    Attributes
    ----------
    images
        How many.
    odd_shapes
        How many of them the official scorer would refuse for their shape.
    official
        Official score, by pixel.
    buildings
        Score by connected component.
    """

    images: int
    odd_shapes: int
    official: OfficialScore
    buildings: BuildingScore

    @classmethod
    def empty(cls) -> "MaskScore":
        """Return the counts of no image."""
        return cls(0, 0, OfficialScore.empty(), BuildingScore.empty())

    def plus(self, other: "MaskScore") -> "MaskScore":
        """Return the counts of both sets together."""
        return MaskScore(
            self.images + other.images,
            self.odd_shapes + other.odd_shapes,
            self.official.plus(other.official),
            self.buildings.plus(other.buildings),
        )

    def report(self) -> dict[str, Any]:
        """Return all figures, ready for JSON; `geodamage.scores.metrics` says their form."""
        figures = report(self.official, self.buildings)
        figures["buildings"]["unit"] = UNIT
        rows, columns = OFFICIAL_SHAPE
        reason = (
            f"{self.odd_shapes} of {self.images} images are not {columns} x {rows} pixels; "
            "the official scorer refuses them"
        )
        return {
            **figures,
            "images": self.images,
            "official": self.odd_shapes == 0,
            "official_reason": reason if self.odd_shapes else None,
        }


def find_submission(predictions: str | PathLike[str], targets: str | PathLike[str]) -> Submission:
    """Find the images of a folder of targets, and check that every mask is there.

    Predictions without a target are not looked at, as by the official scorer.

    Raises
    ------
    ScoringError
        If a folder or a mask is not there, a target has another name, or there is none.
    """
    predictions, targets = Path(predictions), Path(targets)
    for folder in (predictions, targets):
        if not folder.is_dir():
            raise ScoringError(f"{folder}: no such folder; give PRED_DIR and TARGET_DIR")
    images = _find_targets(targets)
    _check_predictions(predictions, images)
    return Submission(predictions, targets, images, _read_events(targets, images))


def _find_targets(targets: Path) -> tuple[ImageId, ...]:
    kinds: dict[str, set[ImageId]] = {"localization": set(), "damage": set()}
    for path in targets.glob("*.png"):
        kind, image = _target(path)
        kinds[kind].add(image)
    for kind, other in (("damage", "localization"), ("localization", "damage")):
        lone = sorted(kinds[other] - kinds[kind])
        if lone:
            missing = targets / lone[0].file_name(kind, "target")
            raise ScoringError(f"{missing}: no such target; its {other} target is there")
    if not kinds["damage"]:
        raise ScoringError(
            f"{targets}: no target; it needs {{test|hold}}_{{localization|damage}}_ID_target.png"
        )
    return tuple(sorted(kinds["damage"]))


def _target(path: Path) -> tuple[str, ImageId]:
    """Return what a target shows, and of which image it is."""
    if name := TARGET_NAME.fullmatch(path.stem):
        return name["kind"], ImageId(name["part"], name["id"])
    if name := PAIR_NAME.fullmatch(path.stem):
        return KINDS[name["date"]], ImageId("", name["pair"])
    raise ScoringError(
        f"{path}: not the name of a target; it must be {{test|hold}}_{{localization|damage}}_ID_"
        "target.png or PAIR_{pre|post}_disaster_target.png, and no other PNG may lie there"
    )


def _check_predictions(predictions: Path, images: Iterable[ImageId]) -> None:
    paths = (
        predictions / image.file_name(kind, "prediction")
        for image in images
        for kind in ("localization", "damage")
    )
    missing = [path for path in paths if not path.exists()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ScoringError(f"{missing[0]}: no such prediction{more}; every target needs one")


def _read_events(targets: Path, images: Iterable[ImageId]) -> dict[str, str]:
    """Return the event of each id; nothing where the targets have no list of names."""
    path = targets / NAMES
    if not path.exists():
        return {image.id: Pair(image.id, targets).event for image in images if not image.part}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            pairs = {row["id"]: Pair(row["pair"], targets) for row in csv.DictReader(file)}
        events = {number: pair.event for number, pair in pairs.items()}
    except (OSError, KeyError, AttributeError, UnicodeDecodeError, csv.Error) as error:
        raise ScoringError(
            f"{path}: not a list of names ({type(error).__name__}: {error}); "
            "it needs the columns id and pair"
        ) from error
    unknown = [image.id for image in images if image.id not in events]
    if unknown:
        raise ScoringError(f"{path}: no line for id {unknown[0]}; every target needs one")
    return events


def score_images(
    submission: Submission, *, strict: bool = False
) -> Iterator[tuple[ImageId, MaskScore]]:
    """Count image after image; a generator that holds one at a time.

    Parameters
    ----------
    strict
        Refuse masks that are not 1024 x 1024, as the official scorer does.

    Raises
    ------
    ScoringError
        If a mask cannot be read, or is none.
    """
    for image in submission.images:
        found, grades, true, true_grades = _read_masks(submission, image, strict)
        yield (
            image,
            MaskScore(
                images=1,
                odd_shapes=int(found.shape != OFFICIAL_SHAPE),
                official=official_score(found, grades, true, true_grades),
                buildings=score_components(found, grades, true, true_grades),
            ),
        )


def _read_masks(submission: Submission, image: ImageId, strict: bool) -> list[np.ndarray]:
    """Read predictions and targets of localisation and damage, all of one shape."""
    paths = [
        folder / image.file_name(kind, role)
        for folder, role in (
            (submission.predictions, "prediction"),
            (submission.targets, "target"),
        )
        for kind in ("localization", "damage")
    ]
    masks: list[np.ndarray] = []
    for path in paths:
        mask = read_mask(path)
        if strict and mask.shape != OFFICIAL_SHAPE:
            raise ScoringError(
                f"{path}: {_size(mask.shape)} pixels; the official scorer takes "
                f"{_size(OFFICIAL_SHAPE)} only; leave out --strict to score it anyway"
            )
        if masks and mask.shape != masks[0].shape:
            raise ScoringError(
                f"{path}: {_size(mask.shape)} pixels, but {paths[0]} has "
                f"{_size(masks[0].shape)}; prediction and target must lie on one grid"
            )
        masks.append(mask)
    return masks


def read_mask(path: str | PathLike[str]) -> np.ndarray:
    """Read a mask of building or damage.

    Returns
    -------
    uint8 (rows, columns)
        0-4.

    Raises
    ------
    ScoringError
        If it is no PNG with one channel of 8 bits, is damaged or too large, or holds another
        value.
    """
    path = Path(path)
    _check_header(path)
    try:
        # GDAL's shortcut for whole PNGs gives what memory held where a file is cut short.
        with (
            environment(str(path)),
            rasterio.Env(GDAL_PNG_WHOLE_IMAGE_OPTIM="NO"),
            open_plain(str(path), "PNG") as dataset,
        ):
            mask: np.ndarray = dataset.read(1)
    except (RasterioError, OSError) as error:
        reason = one_line(error.__cause__ or error)
        raise ScoringError(f"{path}: a damaged PNG ({reason}); write it again") from error
    if mask.max(initial=0) > HIGHEST:
        strange = np.unique(mask[mask > HIGHEST])
        some = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
        raise ScoringError(f"{path}: holds the value {some}; a mask holds 0-{HIGHEST} only")
    return mask


def _check_header(path: Path) -> None:
    """Check kind and size before anything is decoded."""
    if not path.is_file():
        raise ScoringError(f"{path}: not a file; give a PNG")
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        raise ScoringError(f"{path}: cannot be read ({error.strerror}); look at it") from error
    if len(header) < _HEADER_BYTES or not header.startswith(_SIGNATURE):
        raise ScoringError(f"{path}: not a PNG; write the mask as PNG")
    columns, rows = (int.from_bytes(header[i : i + 4], "big") for i in (16, 20))
    bits, colour = header[24], header[25]
    if (bits, colour) != (8, 0):
        kind = _COLOURS.get(colour, f"colour type {colour}")
        raise ScoringError(
            f"{path}: a {kind} PNG of {bits} bits; a mask has one grey channel of 8 bits, "
            "and its values are the grades"
        )
    if rows * columns > LARGEST:
        raise ScoringError(
            f"{path}: {_size((rows, columns))} pixels are too many; score it in parts of at most "
            f"{LARGEST:,} pixels"
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"


def score_components(
    localisation: np.ndarray,
    damage: np.ndarray,
    localisation_target: np.ndarray,
    damage_target: np.ndarray,
) -> BuildingScore:
    """Match connected components of two localisation masks, each with its majority grade.

    Buildings that touch are one component, in truth and prediction alike.

    Parameters
    ----------
    localisation, localisation_target
        uint8 (rows, columns); any value above 0 is a building.
    damage, damage_target
        uint8 (rows, columns), 0-4. A component gets the grade of most of its pixels, the lower
        of two that are equal; pixels of 0 are not asked.
    """
    true, true_grades = _components(localisation_target, damage_target)
    found, found_grades = _components(localisation, damage)
    return building_score(true, found, truth_grades=true_grades, found_grades=found_grades)


def _components(localisation: np.ndarray, damage: np.ndarray) -> tuple[np.ndarray, dict[int, int]]:
    mask = (localisation > 0).view(np.uint8)
    count, index = cv2.connectedComponents(mask, connectivity=4, ltype=cv2.CV_32S)
    graded = (mask > 0) & (damage > 0)
    cells = (index[graded] - 1) * len(GRADES) + damage[graded] - 1
    votes = np.bincount(cells, minlength=(count - 1) * len(GRADES)).reshape(-1, len(GRADES))
    grades = votes.argmax(1) + 1
    return index, {int(n) + 1: int(grades[n]) for n in np.flatnonzero(votes.any(1))}


def report_scores(
    submission: Submission, scores: Iterable[tuple[ImageId, MaskScore]]
) -> dict[str, Any]:
    """Add up the counts of images and return all figures, with those of every event.

    Parameters
    ----------
    submission
        Says the event of each image.
    scores
        Scores from `score_images`; taken one at a time.

    Returns
    -------
    dict
        Ready for JSON; `geodamage.scores.metrics` says its form.
    """
    whole, events = MaskScore.empty(), dict[str, MaskScore]()
    for image, score in scores:
        whole = whole.plus(score)
        if submission.events:
            event = submission.events[image.id]
            events[event] = events.get(event, MaskScore.empty()).plus(score)
    figures = whole.report()
    if events:
        figures["events"] = {name: events[name].report() for name in sorted(events)}
    return figures
