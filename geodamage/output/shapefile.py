"""Shapefiles of buildings: names of ten letters that stay unique, and a table of them beside."""

import csv
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import geopandas as gpd
import pandas as pd
import pyogrio

from geodamage.errors import OutputError
from geodamage.fields import DTYPES, empty_frame
from geodamage.output.companions import COMPANIONS
from geodamage.output.publication import final_path
from geodamage.output.writer import VectorWriter, check_count

#: Letters of a name, and bytes of a text. Source: dBASE III, whose tables Shapefiles have.
LONGEST_NAME = 10
LONGEST_TEXT = 254
#: Fields that every reader of dBASE reads.
MOST_FIELDS = 255

#: Ending of the table of names.
NAMES_ENDING = ".fields.csv"

#: What becomes of our own names; cut at ten letters they would say less.
SHORT: Mapping[str, str] = MappingProxyType(
    {
        "building_id": "bldg_id",
        "damage_class": "dmg_class",
        "p_destroyed": "p_destroy",
        "damage_score": "dmg_score",
        "status_reason": "reason",
        "valid_fraction": "valid_frac",
        "probability": "probab",
        "event_building_id": "event_bldg",
    }
)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return names of at most ten letters, by the names that they stand for.

    Parameters
    ----------
    names
        Different from each other. Those that fit stay as they are.

    Returns
    -------
    dict
        Letters, digits and underscores alone; different from each other in any case, for dBASE
        knows no small letters.
    """
    found: dict[str, str] = {}
    names = list(names)
    wanted = {name: SHORT.get(name, re.sub(r"[^A-Za-z0-9_]", "_", name)) for name in names}
    # Those that need no change are not to lose their names to others.
    taken: set[str] = set()
    for name in sorted(names, key=lambda name: wanted[name] != name or len(name) > LONGEST_NAME):
        found[name] = _free(wanted[name] or "field", taken)
        taken.add(found[name].lower())
    return {name: found[name] for name in names}


def _free(wanted: str, taken: set[str]) -> str:
    short, number = wanted[:LONGEST_NAME], 1
    while short.lower() in taken:
        number += 1
        short = f"{wanted[: LONGEST_NAME - len(str(number)) - 1]}_{number}"
    return short


class ShapefileWriter(VectorWriter):
    """A Shapefile in a folder of its own, whose files lie beside the partial one in the end."""

    def _open(self) -> None:
        if len(self.fields) > MOST_FIELDS:
            raise OutputError(
                f"{final_path(self.path)}: a Shapefile has {MOST_FIELDS} fields at most, and these "
                f"are {len(self.fields):,}; keep fewer (--keep), or write .gpkg"
            )
        # The driver insists on `.shp`; inside a folder the name is out of reach of `*.shp`.
        self._folder = Path(f"{self.path}.folder")
        self._folder.mkdir()
        self._file = self._folder / "buildings.shp"
        self._names = short_names(field.name for field in self.fields)
        self._count = 0
        self._cut: dict[str, int] = {}
        self._append(empty_frame(self.crs, self.fields), append=False)

    def _write(self, frame: gpd.GeoDataFrame) -> None:
        for field in self.fields:
            if field.kind == "text":
                frame[field.name] = self._fitting(field.name, frame[field.name])
        self._append(frame, append=True)

    def _fitting(self, name: str, texts: pd.Series) -> pd.Series:
        """Cut texts between letters, where their bytes are too many, and count them."""
        kept = [None if pd.isna(text) else fitting(str(text)) for text in texts]
        pairs = zip(texts, kept, strict=True)
        cut = sum(not pd.isna(text) and text != short for text, short in pairs)
        if cut:
            self._cut[name] = self._cut.get(name, 0) + cut
        return pd.Series(kept, index=texts.index, dtype=DTYPES["text"])

    def _append(self, frame: gpd.GeoDataFrame, *, append: bool) -> None:
        pyogrio.write_dataframe(
            frame.rename(columns=self._names),
            self._file,
            driver="ESRI Shapefile",
            append=append,
            # A type of Shapefile holds both: the parts of a polygon are rings like its holes.
            geometry_type="Point" if self.geometry_type == "Point" else "Polygon",
            ENCODING="UTF-8",
        )
        self._count += len(frame)

    def _finish(self) -> None:
        check_count(self._file, "buildings", self._count)
        self._write_names()
        for ending in COMPANIONS[".shp"]:
            file = self._file.with_suffix(ending)
            if file.exists():
                file.replace(f"{self.path}{ending}")
        self._file.replace(self.path)
        for name, cut in self._cut.items():
            self.notes.append(
                f"{name}: {cut:,} texts are cut to {LONGEST_TEXT} bytes, the most that a Shapefile"
                " holds"
            )

    def _write_names(self) -> None:
        with self._file.with_suffix(NAMES_ENDING).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["field", "name", "description"])
            for field in self.fields:
                table.writerow([self._names[field.name], field.name, field.description])

    def _release(self) -> None:
        with suppress(OSError):
            shutil.rmtree(self._folder, ignore_errors=True)


def fitting(text: str, most: int = LONGEST_TEXT) -> str:
    """Return a text of at most so many bytes in UTF-8, cut between letters."""
    return text.encode()[:most].decode(errors="ignore")
