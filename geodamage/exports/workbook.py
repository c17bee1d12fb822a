"""Workbooks: a summary, the buildings and the fields, as sheets of one XLSX.

XlsxWriter writes row by row and keeps every text a text. GDAL's driver writes what begins with = as
a formula, turns a column to text for one infinite number, and rounds times up.
"""

import math
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from geodamage.damage import GRADES
from geodamage.errors import MissingExtraError, OptionError, install
from geodamage.exports.product import Product
from geodamage.exports.schemas import PLAIN_WORDS

#: Rows of a sheet, the head included, and letters of a cell. Source: Excel specifications.
MOST_ROWS = 2**20
LONGEST_CELL = 32_767


def require_excel_extra() -> None:
    """Raise `MissingExtraError` unless workbooks can be written."""
    if find_spec("xlsxwriter") is None:
        raise MissingExtraError(f"XLSX needs xlsxwriter; run {install('excel')}, or give .csv")


def check_rows(buildings: int) -> None:
    """Check that all buildings fit on one sheet.

    Raises
    ------
    OptionError
        If they do not.
    """
    if buildings >= MOST_ROWS:
        raise OptionError(
            f"{buildings:,} buildings, and a sheet of a workbook has {MOST_ROWS - 1:,} rows for "
            "them; export .csv"
        )


def write_workbook(product: Product, path: Path, about: Mapping[str, Any]) -> None:
    """Write a workbook.

    Parameters
    ----------
    product
        What is written.
    path
        Where to.
    about
        Facts of the export, as its sidecar has them.
    """
    import xlsxwriter

    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_numbers": False,
        "strings_to_urls": False,
    }
    with xlsxwriter.Workbook(str(path), options) as book:
        bold = book.add_format({"bold": True, "bottom": 1})
        _write_rows(book.add_worksheet("Summary"), _summary(product), widths=(28, 60))
        sheet = book.add_worksheet("Buildings")
        sheet.freeze_panes(1, 1)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        names = [field.name for field in product.fields]
        sheet.set_column(0, 0, 22)
        sheet.set_column(1, len(names) - 1, 14)
        for column, name in enumerate(names):
            sheet.write_string(0, column, name, bold)
        _write_buildings(sheet, product)
        if len(product.frame):
            sheet.autofilter(0, 0, len(product.frame), len(names) - 1)
        colour(book, sheet, product)
        _write_rows(book.add_worksheet("Fields"), _fields(product, about), widths=(24, 90))


def colour(book: Any, sheet: Any, product: Product) -> None:
    """Colour the cells that say the damage."""
    names = [field.name for field in product.fields]
    column, rows = names.index(product.schema.value), max(len(product.frame), 1)
    for value, _, fill in product.schema.categories(product.labels):
        said = f'"{value}"' if isinstance(value, str) else value
        form = book.add_format({"bg_color": fill})
        rule = {"type": "cell", "criteria": "==", "value": said, "format": form}
        sheet.conditional_format(1, column, rows, column, rule)


def _write_buildings(sheet: Any, product: Product) -> None:
    columns = [product.frame[field.name] for field in product.fields]
    for row, values in enumerate(zip(*columns, strict=True), 1):
        for column, value in enumerate(values):
            _write(sheet, row, column, value)


def _write(sheet: Any, row: int, column: int, value: Any) -> None:
    """Write a cell; what is null or not finite stays empty."""
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return
    if isinstance(value, str):
        sheet.write_string(row, column, value[:LONGEST_CELL])
    elif isinstance(value, bool | np.bool_):
        sheet.write_boolean(row, column, bool(value))
    else:
        sheet.write_number(row, column, float(value))


def _write_rows(sheet: Any, rows: Iterable[tuple[Any, ...]], widths: tuple[int, ...]) -> None:
    sheet.fit_to_pages(1, 0)
    for column, width in enumerate(widths):
        sheet.set_column(column, column, width)
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            _write(sheet, number, column, value)


def _summary(product: Product) -> list[tuple[Any, ...]]:
    facts, grades = product.result.facts, product.grades
    frame = product.result.frame
    area = frame["area_m2"].to_numpy()
    rows: list[tuple[Any, ...]] = [
        ("Result", product.result.path.name),
        ("Statement", product.statement),
        ("Date of the post image", product.result.date or "not recorded"),
        ("Made", str(facts.get("created", ""))[:19].replace("T", " ")),
        ("Model", _model(facts)),
        ("Assessed, km²", facts.get("assessed_km2")),
        (),
        ("Damage", "buildings", "area, m²"),
    ]
    for grade in GRADES:
        is_grade = grades == grade
        rows.append(
            (PLAIN_WORDS[grade], int(is_grade.sum()), round(float(area[is_grade].sum()), 1))
        )
    rows += [
        ("Not assessed", int((grades == 0).sum()), round(float(area[grades == 0].sum()), 1)),
        ("All", len(frame), round(float(area.sum()), 1)),
        (),
        *(("Warning", str(warning)) for warning in facts.get("warnings") or ()),
    ]
    return rows


def _model(facts: Mapping[str, Any]) -> str:
    model = facts.get("model")
    if not isinstance(model, Mapping):
        models = facts.get("models")  # of an event
        return ", ".join(map(str, models)) if isinstance(models, list) else ""
    return f"{model.get('name')} {model.get('version')}, {model.get('licence')}"


def _fields(product: Product, about: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    schema = about["schema"]
    rows: list[tuple[Any, ...]] = [
        ("Schema", schema["name"]),
        ("Source of its words", f"{schema['source']}, {schema['source_date']}"),
        (),
        *((field.name, field.description) for field in product.fields),
        (),
        *((f"our {ours}", f"{theirs}") for ours, theirs in schema["mapping"].items()),
        (),
        *(("lost", line) for line in schema["loses"]),
        *(("differs", line) for line in schema["differs"]),
    ]
    return rows
