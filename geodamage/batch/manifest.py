"""Manifests: the scenes of a batch, from a list, a folder or a STAC catalogue; and their plan.

Nothing here reads pixels. An image that is missing or damaged is no reason to refuse the others:
its scene fails when its turn comes.
"""

import glob
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

import shapely

from geodamage.batch.entries import Entry, iso_time, read_csv, read_features, read_toml
from geodamage.batch.pairing import Placed, pair_up, shown_twice
from geodamage.batch.stac import EventTime, is_stac, read_document, read_stac
from geodamage.errors import (
    GeodamageError,
    InputError,
    ManifestError,
    OptionError,
    SceneReadError,
    without_secrets,
)
from geodamage.grid import GsdRange, ground_area
from geodamage.scene.image import Image, byte_scale, image_of, open_tiles
from geodamage.scene.options import SceneOptions, with_choices
from geodamage.scene.outlines import outline_of
from geodamage.scene.scene import Scene
from geodamage.sources import IMAGES, check_file, find, is_remote

#: Bytes of a scene's name in UTF-8; file systems take 255, and files are named after it.
LONGEST_NAME = 100

#: Digits that tell scenes of one name apart.
_DIGITS = 8

_NOWHERE = shapely.Polygon()

_Pair = tuple[Placed, list[Placed]]

# Source: "Naming Files, Paths, and Namespaces", Microsoft Learn.
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{p}{n}" for p in ("com", "lpt") for n in range(10)}


@dataclass(frozen=True)
class BatchScene:
    """One scene of a batch.

    Attributes
    ----------
    name
        Unique among the scenes, whatever the case of its letters, and safe as a file name.
    pre, post
        Images before and after, as `geodamage.sources.find` takes them; the first on top. There is
        no `pre` where the post image counts alone.
    date
        ISO date of the post image, with its time in UTC where that is known; or None.
    options
        Options of this scene alone, by name; those with a column in `geodamage.options.table`.
    """

    name: str
    pre: tuple[str, ...]
    post: tuple[str, ...]
    date: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)


class Manifest(list[BatchScene]):
    """The scenes of a batch.

    Attributes
    ----------
    notes
        What is in no scene, and why, or hidden below another image: a line for each.
    images
        What a STAC catalogue says of each image that takes part.
    """

    def __init__(
        self,
        scenes: Iterable[BatchScene] = (),
        notes: Iterable[str] = (),
        images: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(scenes)
        self.notes = tuple(map(without_secrets, notes))
        self.images = tuple(images)


def read_manifest(
    source: str | os.PathLike[str],
    *,
    event_date: str | None = None,
    asset: str | None = None,
    max_cloud: float | None = None,
    allow_remote: bool = False,
) -> Manifest:
    """Read the scenes of a batch.

    Parameters
    ----------
    source
        A list (CSV, GeoJSON, TOML), a folder with `pre/` and `post/`, or something of STAC: a
        catalogue, a collection, an item or an item collection. It is a file, its folder, or a URL.
    event_date
        ISO date, or date and time, of the event. A STAC catalogue needs it where its items have no
        `phase`; nothing else takes it.
    asset
        Key of the image among a STAC item's assets; see `geodamage.batch.stac.read_stac`.
    max_cloud
        Images of a STAC catalogue with more cloud, %, are left out.
    allow_remote
        Whether URLs are allowed.

    Raises
    ------
    ManifestError
        If there is no such list, it makes no sense, or none of its images exists.
    OptionError
        If the date of the event is missing, or makes no sense.
    MissingExtraError
        If it is a STAC catalogue and pystac is not installed.
    """
    name = os.fspath(source)
    place, document = _looked_at(name)
    if place is None or (document is not None and is_stac(document)):
        return _from_stac(str(place or name), event_date, asset, max_cloud, allow_remote)
    if event_date is not None or asset is not None or max_cloud is not None:
        raise OptionError(
            f"{name}: is not a STAC catalogue, and only those take --event-date, --asset and "
            "--max-cloud; leave them out"
        )
    if place.is_dir():
        return _from_folder(place)
    if document is not None:
        entries = read_features(place, document, allow_remote=allow_remote)
    else:
        read = read_toml if place.suffix.lower() == ".toml" else read_csv
        entries = read(place, allow_remote=allow_remote)
    return _from_list(name, entries)


def _looked_at(name: str) -> tuple[Path | None, dict[str, Any] | None]:
    """Return the file or folder that a manifest is, None for a URL, and what JSON is in it."""
    if is_remote(name):
        return None, None
    path = Path(name)
    if path.is_dir():
        if (path / "pre").is_dir() and (path / "post").is_dir():
            return path, None
        found = [path / f"{kind}.json" for kind in ("catalog", "collection")]
        found = [file for file in found if file.is_file()]
        if not found:
            raise ManifestError(
                f"{name}: no folders pre and post in it, and no catalog.json; "
                "give a list of scenes, or sort the images into these two"
            )
        path = found[0]
    try:
        check_file(str(path))
    except SceneReadError as error:
        raise ManifestError(str(error)) from error
    suffix = path.suffix.lower()
    if suffix in (".json", ".geojson"):
        return path, read_document(str(path))
    if suffix not in (".csv", ".tsv", ".txt", ".toml"):
        raise ManifestError(
            f"{name}: not a list of scenes; give a .csv, .geojson or .toml, a folder with pre and "
            "post, or a STAC catalogue"
        )
    return path, None


def _from_list(source: str, entries: Sequence[Entry]) -> Manifest:
    """Name the scenes that somebody wrote down."""
    if not entries:
        raise ManifestError(f"{source}: no scene in it; write at least one")
    _check_some_exist(source, entries)
    written: dict[str, str] = {}
    for entry in entries:
        if entry.name in written:
            raise ManifestError(
                f"{entry.where}: a scene {entry.name!r} is there already, in "
                f"{written[entry.name]}; give each its own name"
            )
        if entry.name is not None:
            written[entry.name] = entry.where.removeprefix(f"{source}: ")
    try:
        names = unique_names(
            (entry.name or _named_after(entry.post[0]), entry.identity) for entry in entries
        )
    except ManifestError as error:
        raise ManifestError(f"{source}: {error}") from error
    return Manifest(
        BatchScene(name, entry.pre, entry.post, entry.date, entry.options)
        for name, entry in zip(names, entries, strict=True)
    )


def _check_some_exist(source: str, entries: Iterable[Entry]) -> None:
    """Raise if no image of any scene is there: then it is the list that is wrong."""
    first: SceneReadError | None = None
    for name in (name for entry in entries for name in (*entry.pre, *entry.post)):
        try:
            find(name, allow_remote=True)
        except SceneReadError as error:
            first = first or error
        else:
            return
    raise ManifestError(f"{source}: none of its images can be used; the first is {first}")


def _from_folder(folder: Path) -> Manifest:
    """Pair the images of two folders by where they lie: a scene for each post image."""
    before, bad_before = _placed(folder / "pre")
    after, bad_after = _placed(folder / "post")
    if not before:
        raise ManifestError(f"{folder / 'pre'}: no usable image ({bad_before[0][1]})")
    pairs, unpaired = _paired(before, after)
    doubled = list(shown_twice(pairs))
    if not pairs:
        why = str(bad_after[0][1]) if bad_after else "no post image overlaps a pre image"
        raise ManifestError(f"{folder}: no pair of images ({why})")
    # Why an image cannot be used is said when it is opened; it needs a partner to get there.
    pairs += [(Placed(Path(path).stem, path, _NOWHERE), before[:1]) for path, _ in bad_after]
    pairs.sort(key=lambda pair: pair[0].path)
    notes = [f"{error}; it is in no scene" for _, error in bad_before]
    notes += [f"{image.path}: overlaps no pre image, so it is in no scene" for image in unpaired]
    return Manifest(_scenes_of(pairs, folder), [*notes, *doubled])


def _placed(folder: Path) -> tuple[list[Placed], list[tuple[str, InputError]]]:
    """Return the images of a folder, and those that cannot be placed, with the reason."""
    try:
        entries = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise ManifestError(f"{folder}: cannot be listed ({error.strerror})") from error
    names = [name for name in entries if name.lower().endswith(IMAGES)]
    if not names:
        raise ManifestError(f"{folder}: no .tif or .tiff in it; put the images there")
    placed, bad = [], []
    for name in names:
        path = str((folder / name).absolute())
        try:
            placed.append(Placed(PurePath(name).stem, path, outline_of(check_file(path))))
        except InputError as error:
            bad.append((path, error))
    return placed, bad


def _from_stac(
    source: str,
    event_date: str | None,
    asset: str | None,
    max_cloud: float | None,
    allow_remote: bool,
) -> Manifest:
    if is_remote(source) and not allow_remote:
        raise ManifestError(f"{source}: remote catalogues are read with --allow-remote only")
    event = None if event_date is None else EventTime.parse(event_date)
    found = read_stac(
        source, event=event, asset=asset, max_cloud=max_cloud, allow_remote=allow_remote
    )
    pairs, unpaired = _paired(found.before, found.after)
    if not pairs:
        raise ManifestError(f"{source}: no image after the event overlaps one before it")
    lost = [f"{image.name}: overlaps no pre image, so it is in no scene" for image in unpaired]
    notes = [*found.notes, *lost, *shown_twice(pairs)]
    return Manifest(_scenes_of(pairs, Path(source).parent), notes, _facts_of(pairs))


def _facts_of(pairs: Iterable[_Pair]) -> list[dict[str, Any]]:
    """Return what a catalogue says of the images that take part, each once."""
    images = {image.path: image for after, before in pairs for image in (after, *before)}
    return [
        {
            "file": without_secrets(image.path),
            "taken": None if image.taken is None else iso_time(image.taken),
            **image.facts,
        }
        for image in images.values()
    ]


def _paired(before: Sequence[Placed], after: Sequence[Placed]) -> tuple[list[_Pair], list[Placed]]:
    pairs: list[_Pair] = []
    unpaired = []
    for image, found in pair_up(before, after):
        if found:
            pairs.append((image, found))
        else:
            unpaired.append(image)
    return pairs, unpaired


def _scenes_of(pairs: Sequence[_Pair], folder: Path) -> Iterator[BatchScene]:
    """Yield a scene for each post image, named after it."""
    start = f"{folder.absolute()}{os.sep}"  # names stay when the folder moves
    names = unique_names((image.name, image.path.removeprefix(start)) for image, _ in pairs)
    for name, (image, before) in zip(names, pairs, strict=True):
        date = None if image.taken is None else iso_time(image.taken)
        yield BatchScene(name, tuple(other.path for other in before), (image.path,), date)


def safe_name(text: str) -> str:
    """Return a text as the name of a file: no separators, no leading dot, not too long.

    Letters and digits of any script, dots, hyphens and underscores stay.
    """
    name = re.sub(r"[^\w.\-]+", "_", unicodedata.normalize("NFC", text)).strip("._-")
    if name.partition(".")[0].lower() in _RESERVED:
        name = f"scene_{name}"
    name = name.encode()[:LONGEST_NAME].decode(errors="ignore").strip("._-")
    return name or "scene"


def unique_names(wanted: Iterable[tuple[str, str]]) -> list[str]:
    """Return a safe name for each scene; of those that would be the same, later ones get digits.

    Parameters
    ----------
    wanted
        The name of each scene, and what distinguishes it from others of that name. The digits at
        the end of a name are made from this, so they stay when other scenes are added.

    Raises
    ------
    ManifestError
        If two scenes cannot be told apart.
    """
    names: dict[str, str] = {}
    seen = set()
    for text, identity in wanted:
        name = safe_name(text)
        if name.casefold() in names:
            digits = hashlib.sha256(f"{text}\0{identity}".encode(errors="replace")).hexdigest()
            start = name.encode()[: LONGEST_NAME - _DIGITS - 1].decode(errors="ignore")
            name = f"{start}-{digits[:_DIGITS]}"
        if (text, identity) in seen or name.casefold() in names:
            raise ManifestError(
                f"scene {text!r} is there twice, with the same images; keep one, or name both"
            )
        seen.add((text, identity))
        names[name.casefold()] = name
    return list(names.values())


def _named_after(image: str) -> str:
    path = PurePath(urlsplit(image).path if is_remote(image) else image.removeprefix("@"))
    return path.parent.name if glob.has_magic(path.name) else path.stem


@dataclass(frozen=True)
class PlannedScene:
    """What a scene will take, as far as the headers of its images tell.

    Attributes
    ----------
    scene
        The scene.
    overlap
        Share of the smaller image that lies in the other; None where the scene cannot be used.
    area_km2
        Ground that is to be assessed, geodesic.
    megapixels
        Pixels that are to be assessed, of the grid that the model works on.
    seconds
        Expected time; None where no speed was given.
    notes
        What is odd about the scene, or why it cannot be used.
    """

    scene: BatchScene
    overlap: float | None = None
    area_km2: float | None = None
    megapixels: float | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether nothing in the headers stands in the way."""
        return self.overlap is not None


def plan_scenes(
    scenes: Iterable[BatchScene],
    *,
    gsd: GsdRange,
    options: SceneOptions | None = None,
    speed: float | None = None,
) -> Iterator[PlannedScene]:
    """Yield what each scene will take, as it is looked at; a scene that cannot be used says why.

    Parameters
    ----------
    scenes
        The scenes.
    gsd
        The ground sample distances the model was made for, metres per pixel.
    options
        How images are read where a scene does not say otherwise; None for the defaults.
    speed
        Megapixels a second that the machine gets through.
    """
    common = SceneOptions() if options is None else options
    for scene in scenes:
        try:
            yield _planned(scene, gsd, with_choices(common, scene.options), speed)
        except GeodamageError as error:
            yield PlannedScene(scene, notes=(str(error),))


def _planned(
    scene: BatchScene, gsd: GsdRange, options: SceneOptions, speed: float | None
) -> PlannedScene:
    footprints = scene.options.get("footprints")
    if isinstance(footprints, Path) and footprints.suffix.lower() != ".gdb":
        check_file(str(footprints))
    with ExitStack() as opened:
        pre, post = (
            _headers(role, names, scale, options, opened) if names else None
            for role, names, scale in zip(
                ("pre", "post"), (scene.pre, scene.post), options.scales, strict=True
            )
        )
        placed = Scene(pre, post, gsd=gsd, options=options)
    overlap = shapely.intersection(placed.pre_outline, placed.post_outline)
    part = overlap if placed.aoi is None else shapely.intersection(overlap, placed.aoi)
    megapixels = placed.region.size / 1e6
    return PlannedScene(
        scene,
        min(overlap.area / min(placed.pre_outline.area, placed.post_outline.area), 1.0),
        ground_area(part, placed.grid.crs) / 1e6,
        megapixels,
        None if speed is None else megapixels / speed,
        tuple(placed.warnings),
    )


def _headers(
    role: str,
    names: tuple[str, ...],
    scale: tuple[float, float] | None,
    options: SceneOptions,
    opened: ExitStack,
) -> Image:
    """Return an image whose pixels are not looked at, but for those of an alpha channel."""
    tiles = open_tiles(role, names, **options.tiles_of(role))
    for tile in tiles:
        opened.callback(tile.dataset.close)
    byte_scale(role, tiles[0], scale)
    return image_of(role, tiles)
