"""KML and KMZ: folders by grade, a style for each, and at most so many buildings a file.

The text is written here. GDAL's KML driver gives every place its own red outline. Its LIBKML driver
adds a third coordinate, and takes no style through pyogrio. simplekml and fastkml are under the
LGPL. pykml has not been maintained for years.

Source: OGC 07-147r2, KML 2.2.
"""

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pandas as pd
import shapely

from geodamage.damage import COLOUR_NOT_ASSESSED, COLOURS, GRADES
from geodamage.exports.product import Product
from geodamage.exports.schemas import PLAIN_WORDS
from geodamage.fields import Kind
from geodamage.words import counted

#: Types of KML for what fields hold; a long whole number has none there.
_TYPES: dict[Kind, str] = {
    "text": "string", "integer": "int", "long": "string", "number": "double", "flag": "bool",
}  # fmt: skip

#: What XML cannot hold, even escaped. Source: XML 1.0, section 2.2.
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2">\n'

#: Codes of the folders, the worst first; 0 is without a grade.
_ORDER = (*reversed(GRADES), 0)
_WORDS = {**{int(grade): words for grade, words in PLAIN_WORDS.items()}, 0: "Not assessed"}
_COLOURS = {**{int(g): c for g, c in COLOURS.items()}, 0: COLOUR_NOT_ASSESSED}


@dataclass(frozen=True)
class Part:
    """One file: its name, and the rows of the buildings in it."""

    name: str
    rows: np.ndarray


def parts_of(product: Product, stem: str, most: int) -> list[Part]:
    """Return how buildings are shared out among files, by grade, the worst first.

    Parameters
    ----------
    product
        What is written.
    stem
        Name of the main file, without its ending.
    most
        Buildings a file.

    Returns
    -------
    list
        Parts; none where all fit into the main file.
    """
    grades = product.grades
    ranks = np.array([_ORDER.index(grade) for grade in range(len(GRADES) + 1)])
    order = np.argsort(ranks[grades], kind="stable")
    if len(order) <= most:
        return []
    chunks = np.array_split(order, range(most, len(order), most))
    digits = max(3, len(str(len(chunks))))
    return [Part(f"{stem}-{n:0{digits}}.kml", rows) for n, rows in enumerate(chunks, 1)]


def write_kml(product: Product, path: Path, parts: Sequence[Part], files: Sequence[Path]) -> None:
    """Write a KML file, and its parts beside it.

    Parameters
    ----------
    product
        What is written.
    path
        The main file.
    parts
        From `parts_of`; the main file links to them by name.
    files
        Where each part is written to.
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        _write_main(file, product, parts)
    for part, target in zip(parts, files, strict=True):
        with target.open("w", encoding="utf-8", newline="\n") as file:
            _write_document(file, product, part.rows)


def write_kmz(product: Product, path: Path, most: int) -> None:
    """Write a KMZ: an archive whose `doc.kml` comes first, with its parts beside it."""
    parts = parts_of(product, "part", most)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        _member(archive, "doc.kml", lambda file: _write_main(file, product, parts))
        for part in parts:
            _member(archive, part.name, partial(_write_document, product=product, rows=part.rows))


def _member(archive: zipfile.ZipFile, name: str, write: Callable[[Any], None]) -> None:
    """Write a file of an archive in one piece: libkml does not read what was streamed into one."""
    # A fixed time, so that equal results are equal files.
    about = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    about.compress_type = zipfile.ZIP_DEFLATED
    text = StringIO()
    write(text)
    archive.writestr(about, text.getvalue().encode())


def _write_main(file: Any, product: Product, parts: Sequence[Part]) -> None:
    if not parts:
        _write_document(file, product, np.arange(len(product.frame)), with_area=True)
        return
    file.write(f"{_HEAD}<Document>{_about(product)}\n")
    for part in parts:
        text = f"{part.name}: {counted(len(part.rows), 'building')}"
        file.write(
            f"<NetworkLink><name>{_text(text)}</name><Link><href>{_text(part.name)}</href></Link>"
            "</NetworkLink>\n"
        )
    _write_area(file, product)
    file.write("</Document>\n</kml>\n")


def _write_document(
    file: Any, product: Product, rows: np.ndarray, *, with_area: bool = False
) -> None:
    file.write(f"{_HEAD}<Document>{_about(product)}\n")
    for code in _ORDER:
        file.write(_style(code))
    columns = "".join(
        f'<SimpleField type="{_TYPES[field.kind]}" name={quoteattr(field.name)}>'
        f"<displayName>{_text(field.name)}</displayName></SimpleField>"
        for field in product.fields
    )
    file.write(f'<Schema name="buildings" id="buildings">{columns}</Schema>\n')
    grades = product.grades[rows]
    for code in _ORDER:
        members = rows[grades == code]
        if len(members):
            name = f"{_WORDS[code]} ({len(members):,})"
            file.write(f"<Folder><name>{_text(name)}</name>\n")
            for line in _placemarks(product, members, code):
                file.write(line)
            file.write("</Folder>\n")
    if with_area:
        _write_area(file, product)
    file.write("</Document>\n</kml>\n")


def _about(product: Product) -> str:
    name = product.result.path.stem
    return f"<name>{_text(name)}</name><description>{_text(product.statement)}</description>"


def _style(code: int) -> str:
    """Return the style of a grade; KML writes a colour as alpha, blue, green, red."""
    red, green, blue = (_COLOURS[code][n : n + 2] for n in (1, 3, 5))
    return (
        f'<Style id="grade{code}"><IconStyle><color>ff{blue}{green}{red}</color><scale>0.6</scale>'
        "</IconStyle><LabelStyle><scale>0</scale></LabelStyle>"
        f"<LineStyle><color>ff{blue}{green}{red}</color><width>1.5</width></LineStyle>"
        f"<PolyStyle><color>99{blue}{green}{red}</color></PolyStyle></Style>\n"
    )


def _placemarks(product: Product, rows: np.ndarray, code: int) -> Iterator[str]:
    frame = product.lonlat.iloc[rows]
    names = [field.name for field in product.fields]
    values = [_values(frame[field.name], field.kind) for field in product.fields]
    for shape, *row in zip(frame.geometry.to_numpy(), *values, strict=True):
        data = "".join(
            f"<SimpleData name={quoteattr(name)}>{value}</SimpleData>"
            for name, value in zip(names, row, strict=True)
            if value is not None
        )
        place = "" if shape is None or shape.is_empty else _geometry(shape)
        yield (
            f"<Placemark><name>{_WORDS[code]}</name><styleUrl>#grade{code}</styleUrl>"
            f'<ExtendedData><SchemaData schemaUrl="#buildings">{data}</SchemaData></ExtendedData>'
            f"{place}</Placemark>\n"
        )


def _values(column: pd.Series, kind: Kind) -> list[str | None]:
    """Return values as KML writes them; None for null."""
    known = column.notna().to_numpy()
    said = ("1" if v else "0" for v in column[known]) if kind == "flag" else map(str, column[known])
    given = iter([_text(text) for text in said])
    return [next(given) if is_known else None for is_known in known]


def _write_area(file: Any, product: Product) -> None:
    if product.result.area is None:
        return
    file.write(
        '<Style id="area"><LineStyle><color>ffffffff</color><width>2</width></LineStyle>'
        "<PolyStyle><fill>0</fill></PolyStyle></Style>\n<Folder><name>Assessed area</name>"
        "<Placemark><name>Assessed area</name><styleUrl>#area</styleUrl>"
        f"{_geometry(product.result.area)}</Placemark></Folder>\n"
    )


def _geometry(shape: shapely.Geometry) -> str:
    parts = list(shapely.get_parts(shape))
    listed = "".join(map(_single, parts))
    return listed if len(parts) == 1 else f"<MultiGeometry>{listed}</MultiGeometry>"


def _single(shape: Any) -> str:
    if shape.geom_type == "Point":
        return f"<Point>{_coordinates(shape)}</Point>"
    outer = f"<outerBoundaryIs>{_ring(shape.exterior)}</outerBoundaryIs>"
    inner = "".join(f"<innerBoundaryIs>{_ring(r)}</innerBoundaryIs>" for r in shape.interiors)
    return f"<Polygon>{outer}{inner}</Polygon>"


def _ring(ring: shapely.Geometry) -> str:
    return f"<LinearRing>{_coordinates(ring)}</LinearRing>"


def _coordinates(shape: shapely.Geometry) -> str:
    points: Iterable[Any] = shapely.get_coordinates(shape)
    return f"<coordinates>{' '.join(f'{x:.7f},{y:.7f}' for x, y in points)}</coordinates>"


def _text(text: str) -> str:
    return escape(_UNWRITABLE.sub("\ufffd", text))
