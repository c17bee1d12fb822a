"""PMTiles: vector tiles of one file that a web map reads by ranges, without a server of tiles.

GDAL writes them. Without options it stops at zoom 5, where a building of ten metres is smaller than
the grid of a tile. It drops what it cannot draw without a message. So the zooms are always given,
and the buildings of the greatest zoom are counted by their identities: rims of tiles hold a
building twice.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyogrio.errors
from pyogrio import raw

from geodamage.errors import OptionError, OutputError
from geodamage.exports.product import Product
from geodamage.output.publication import final_path

LAYER = "buildings"

#: Fields of ours that a web map shows or filters by; the others make tiles heavy.
KEPT = ("damage_class", "confidence", "damaged", "status", "area_m2", "damage_label")

#: GDAL goes no further. Source: its PMTiles driver.
GREATEST_ZOOM = 22


def check_zooms(least: int, greatest: int) -> None:
    """Check zooms.

    Raises
    ------
    OptionError
        If they make no sense.
    """
    if not 0 <= least <= greatest <= GREATEST_ZOOM:
        raise OptionError(
            f"--min-zoom {least} and --max-zoom {greatest}: give two from 0 to {GREATEST_ZOOM}, "
            "the lesser first"
        )


def write_tiles(product: Product, path: Path, least: int, greatest: int) -> dict[str, Any]:
    """Write PMTiles, and count what can be read of them.

    Parameters
    ----------
    product
        What is written.
    path
        Where to: a partial path of a `Publication`.
    least, greatest
        Zooms.

    Returns
    -------
    dict
        `min_zoom`, `max_zoom`, `kept` and `dropped` (attributes), `buildings_per_zoom` (that can
        be read), `without_geometry`.

    Raises
    ------
    OutputError
        If a building is missing at the greatest zoom, or there is none to write.
    """
    identity, value = product.fields[0].name, product.schema.value
    kept = [f.name for f in product.fields if f.name in {identity, value, *KEPT}]
    frame = product.frame[[*kept, "geometry"]]
    frame = frame[frame.geometry.notna()]
    if frame.empty:
        raise OutputError(f"cannot write {final_path(path)}: no building has a place to draw")
    for field in product.fields:
        if field.name in kept and field.kind == "flag":
            frame = frame.assign(**{field.name: frame[field.name].astype("Int32")})
    # The driver insists on its extension, and keeps a database beside the file while it works.
    folder = Path(f"{path}.folder")
    folder.mkdir()
    file = folder / "buildings.pmtiles"
    pyogrio.write_dataframe(
        frame,
        file,
        driver="PMTiles",
        layer=LAYER,
        MINZOOM=str(least),
        MAXZOOM=str(greatest),
        NAME=product.result.path.stem,
        DESCRIPTION=product.statement,
    )
    found = {zoom: _count(file, identity, zoom) for zoom in range(least, greatest + 1)}
    if found[greatest] != len(frame):
        raise OutputError(
            f"cannot write {final_path(path)}: {found[greatest]:,} of {len(frame):,} buildings can "
            f"be read at zoom {greatest}; give a higher --max-zoom"
        )
    file.replace(path)
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "min_zoom": least,
        "max_zoom": greatest,
        "kept": kept,
        "dropped": [field.name for field in product.fields if field.name not in kept],
        "buildings_per_zoom": found,
        "without_geometry": len(product.frame) - len(frame),
    }


def _count(file: Path, identity: str, zoom: int) -> int:
    """Return how many buildings can be read at a zoom; 0 where no tile has one."""
    try:
        _, _, _, (names,) = raw.read(
            file, columns=[identity], read_geometry=False, ZOOM_LEVEL=str(zoom)
        )
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError):
        # A file whose tiles are all empty names no layer, and the driver refuses it.
        return 0
    return len(set(names))


def told(facts: Mapping[str, Any]) -> str:
    """Return what a user should know, in one line."""
    first = next((z for z, n in facts["buildings_per_zoom"].items()
                  if n == facts["buildings_per_zoom"][facts["max_zoom"]]), None)  # fmt: skip
    return (
        f"tiles of zoom {facts['min_zoom']} to {facts['max_zoom']}; all buildings are in them from "
        f"zoom {first}; left out: {', '.join(facts['dropped']) or 'no attribute'}"
    )
