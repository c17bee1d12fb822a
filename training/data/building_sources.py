"""Building data as downloaded: images, and where their buildings are.

open_cities   STAC: a catalogue of collections of tiles, each a COG, and their GeoJSON labels
spacenet      images, and footprints as GeoJSON for each image or as one CSV in pixels
masks         folders with `masks/` beside `images/` or `chips/`
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from geodamage.errors import LabelError
from geodamage.sources import read_text
from training.data.building_tiles import FOOTPRINTS, Tile, name_ends, read_table

IMAGES = (".tif", ".tiff", ".jpg", ".jpeg", ".png")


def find_tiles(folder: Path, layout: str = "auto") -> list[Tile]:
    """Return the labelled tiles of a download, by name.

    Parameters
    ----------
    layout
        One of `LAYOUTS`; `auto` takes the first that finds anything.

    Raises
    ------
    LabelError
        If the folder has none, or the files of a tile are not there.
    """
    if not folder.is_dir():
        raise LabelError(f"{folder}: no such folder; give one with images and labels")
    names = list(LAYOUTS) if layout == "auto" else [layout]
    for name in names:
        tiles = sorted(LAYOUTS[name](folder), key=lambda tile: (tile.source, tile.name))
        if tiles:
            return _distinct(tiles)
    raise LabelError(
        f"{folder}: no labelled image, read as {' or '.join(names)}; see "
        "training/open_cities.md for the layouts"
    )


def _distinct(tiles: list[Tile]) -> list[Tile]:
    again = [key for key, n in Counter((t.source, t.name) for t in tiles).items() if n > 1]
    if again:
        raise LabelError(f"{'/'.join(again[0])}: comes more than once; rename or leave out one")
    return tiles


def plain(name: str) -> str:
    """Return a name that is one harmless word in a file name."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("._-") or "tile"


def scene_of(stem: str) -> str:
    """Return the scene that neighbouring strips were cut from, as far as their names tell.

    Numbers at the end are taken off: `austin1_0` and `austin1_20` are both of `austin1`.
    """
    return re.sub(r"([_-]\d+)+$", "", stem)


# STAC, as Open Cities is.


def open_cities_tiles(folder: Path) -> Iterator[Tile]:
    """Yield the labelled tiles of a STAC folder."""
    items = {path: item for path in sorted(folder.rglob("*.json")) if (item := _item(path))}
    for path, item in items.items():
        labels = _asset(item, path, FOOTPRINTS)
        if labels is None:
            continue
        image_item = _source_of(path, item)
        if image_item not in items:
            raise LabelError(
                f"{path}: its image {image_item} is no STAC item here; download the images, too"
            )
        image = _asset(items[image_item], image_item, IMAGES)
        if image is None or not image.is_file() or not labels.is_file():
            raise LabelError(
                f"{path}: {labels if image and image.is_file() else image} is not there; download "
                "it, too"
            )
        collection = str(item.get("collection") or path.parent.parent.name)
        number = _number(image_item, str(items[image_item].get("id")))
        name = plain(number if number.startswith(collection) else f"{collection}_{number}")
        yield Tile(image, labels, name, "open_cities", name)


def _item(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise LabelError(f"{path}: not JSON ({error}); download it again") from error
    is_item = isinstance(content, dict) and content.get("type") == "Feature"
    return content if is_item and isinstance(content.get("assets"), dict) else None


def _asset(item: Mapping[str, Any], path: Path, endings: Sequence[str]) -> Path | None:
    hrefs = [str(asset.get("href", "")) for asset in item["assets"].values()]
    fitting = [href for href in hrefs if Path(href).suffix.lower() in endings]
    # What lies on a server was downloaded beside the item.
    local = [Path(href).name if "://" in href else href for href in fitting]
    return (path.parent / local[0]).resolve() if local else None


def _source_of(path: Path, item: Mapping[str, Any]) -> Path:
    """Return the item of the image that labels belong to."""
    for link in item.get("links", []):
        href = str(link.get("href", ""))
        if link.get("rel") == "source" and "://" not in href:
            return Path(os.path.normpath(path.parent / href))
    # As the archive of the data set has it: two trees, of sources and of labels.
    return Path(str(path).replace("labels", "source"))


def _number(item: Path, identity: str) -> str:
    """Return the short name of a tile: items of the archive repeat the whole data set's."""
    return re.sub(r"^.*_source_", "", item.parent.name if identity == "None" else identity)


# SpaceNet.


def spacenet_tiles(folder: Path) -> Iterator[Tile]:
    """Yield the labelled images of a SpaceNet folder: Rio, off-nadir Atlanta and their like.

    A label file belongs to every image that ends in its name without the first word
    (`Geo_AOI_1_RIO_img1.geojson`, `spacenet-buildings_732701_3724589.geojson`). So all images of
    one ground belong to one place.
    """
    images = _files(folder, (".tif", ".tiff"))
    labels = _files(folder, (".geojson",))
    if len(images) == len(labels) == 1:
        name = plain(images[0].stem)
        yield Tile(images[0], labels[0], name, folder.name, name)
        return
    keys = {_key(path.stem): path for path in labels}
    for table in _files(folder, (".csv",)):
        keys |= dict.fromkeys(_listed(table), table)
    for image in images:
        key = next((end for end in name_ends(image.stem) if end in keys), None)
        if key is not None:
            yield Tile(image, keys[key], plain(image.stem), folder.name, plain(_ground(key)))


def _files(folder: Path, endings: Sequence[str]) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in endings]


def _key(stem: str) -> str:
    return stem.partition("_")[2] or stem


def _ground(key: str) -> str:
    """Return the place of a key: off-nadir images end in the coordinates of their corner."""
    corner = re.search(r"\d{5,}_\d{5,}$", key)
    return corner.group() if corner else key


def _listed(table: Path) -> list[str]:
    return sorted({row["ImageId"] for row in read_table(table)})


# Folders of masks.


def mask_tiles(folder: Path) -> Iterator[Tile]:
    """Yield the images that have a mask, from every folder with `masks/` in it."""
    for masks in sorted(path for path in [folder, *folder.rglob("*")] if path.name == "masks"):
        images = next((masks.parent / n for n in ("images", "chips") if _is_beside(masks, n)), None)
        if images is None:
            raise LabelError(f"{masks.parent}: masks without images/ or chips/ beside them")
        by_stem = {path.stem: path for path in _files(images, IMAGES)}
        for mask in _files(masks, IMAGES):
            stem = re.sub(r"[._-]mask$", "", mask.stem)
            if stem not in by_stem:
                raise LabelError(f"{mask}: no image {stem} in {images}")
            source = masks.parent.name
            yield Tile(by_stem[stem], mask, plain(stem), source, f"{source}/{scene_of(stem)}")


def image_tiles(folder: Path) -> list[Tile]:
    """Return all images of a folder, by name, but for masks; nobody labelled them.

    Raises
    ------
    LabelError
        If there is none.
    """
    if not folder.is_dir():
        raise LabelError(f"{folder}: no such folder; give one with images")
    found = [path for path in _files(folder, IMAGES) if path.parent.name != "masks"]
    if not found:
        raise LabelError(f"{folder}: holds no image ({', '.join(IMAGES)})")
    return _distinct(
        [
            Tile(path, None, plain(path.stem), folder.name, f"{folder.name}/{scene_of(path.stem)}")
            for path in found
        ]
    )


def _is_beside(masks: Path, name: str) -> bool:
    return (masks.parent / name).is_dir()


#: How downloads are laid out.
LAYOUTS = {
    "open_cities": open_cities_tiles,
    "spacenet": spacenet_tiles,
    "masks": mask_tiles,
}
