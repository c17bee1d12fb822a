"""Exporting: a result, in a schema and a format, with all that goes beside it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geodamage._version import __version__
from geodamage.errors import OptionError
from geodamage.exports.geoparquet import NATIVE_NOTE, require_native_geometry, write_native
from geodamage.exports.kml import parts_of, write_kml, write_kmz
from geodamage.exports.product import Product, read_export
from geodamage.exports.schemas import SCHEMAS
from geodamage.exports.styles import categorised
from geodamage.exports.tiles import check_zooms, told, write_tiles
from geodamage.exports.workbook import check_rows, require_excel_extra, write_workbook
from geodamage.options.lookup import check_fields
from geodamage.output.disk import hash_of
from geodamage.output.geopackage import write_layer
from geodamage.output.publication import (
    RESULT_EXTENSIONS,
    Publication,
    check_output,
    output_errors,
)
from geodamage.output.seen_ground import AREA_ENDING, AREA_FIELDS, AREA_LAYER
from geodamage.output.styles import set_styles, store_styles
from geodamage.output.tables import PlainCsvWriter
from geodamage.output.vectors import vector_writer

EXPORT_EXTENSIONS = (*RESULT_EXTENSIONS, ".kml", ".kmz", ".xlsx", ".pmtiles")

#: Formats with the assessed area inside; of others it is a file beside them.
_WITH_AREA = (".gpkg", ".kml", ".kmz")


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What an export is made of.

    Attributes
    ----------
    schema
        Name of the schema.
    labels
        Words instead of codes.
    geometry
        `polygon`, `point`, or `auto` for what the schema draws.
    wkt
        Outlines in a column of CSV.
    geoparquet
        Version of GeoParquet, `1.1` or `2.0`.
    max_features
        Buildings a file of KML.
    min_zoom, max_zoom
        Zooms of PMTiles.
    """

    schema: str = "geodamage"
    labels: bool = False
    geometry: str = "auto"
    wkt: bool = False
    geoparquet: str = "1.1"
    max_features: int = 10_000
    min_zoom: int = 8
    max_zoom: int = 16

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Exported:
    """The outcome of an export.

    Attributes
    ----------
    buildings
        Buildings that were written.
    files
        All files beside the sidecar, the export first.
    notes
        What a user should know, a line each.
    facts
        What the sidecar says.
    """

    buildings: int
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]


def export(
    result: Path,
    output: Path,
    options: ExportOptions = ExportOptions(),
    *,
    overwrite: bool = False,
) -> Exported:
    """Write a result in a schema and the format that the extension names.

    Parameters
    ----------
    result
        Result of `geodamage assess`, or a GeoPackage of `geodamage event`.
    output
        Where to.
    options
        What it is made of.
    overwrite
        Replace files that are there.

    Raises
    ------
    OptionError
        If the options make no sense with the format.
    InputError
        If the result cannot be read.
    OutputError
        If a file cannot be written; `OutputExistsError` if it is there.
    MissingExtraError
        If the format needs a package that is not installed.
    """
    extension = _checked(result, output, options, overwrite)
    found = read_export(result)
    schema = SCHEMAS[options.schema]
    shape = schema.shape if options.geometry == "auto" else options.geometry
    product = Product(found, schema, options.labels, shape)  # type: ignore[arg-type]
    work = _Export(product, output, extension, options)
    if extension == ".xlsx":
        check_rows(len(product.frame))
    others = work.others()
    for path in others:
        check_output(path, inputs=[result], overwrite=overwrite, extensions=(path.suffix.lower(),))
    with Publication(overwrite=overwrite) as publication:
        work.write(publication, others)
        publication.sidecar(output, work.facts)
    return Exported(len(product.frame), (output, *others), tuple(work.notes), work.facts)


def _checked(result: Path, output: Path, options: ExportOptions, overwrite: bool) -> str:
    """Check what can be checked before anything is read; return the extension."""
    check_output(output, inputs=[result], overwrite=overwrite, extensions=EXPORT_EXTENSIONS)
    extension = output.suffix.lower()
    if extension == ".xlsx":
        require_excel_extra()
    check_zooms(options.min_zoom, options.max_zoom)
    if options.wkt and extension != ".csv":
        raise OptionError(f"--wkt is for .csv, and {output.name} has geometry of its own")
    if options.geoparquet != "1.1":
        if extension != ".parquet":
            raise OptionError(f"--geoparquet is for .parquet, and {output.name} is none")
        require_native_geometry()
    return extension


class _Export:
    """One export, from its facts to its files."""

    def __init__(
        self, product: Product, output: Path, extension: str, options: ExportOptions
    ) -> None:
        self.product, self.output = product, output
        self.extension, self.options = extension, options
        doubt = product.result.doubt
        self.notes = [] if doubt is None else [doubt]
        self.area = product.area_frame()
        if self.area is None:
            self.notes.append(
                f"{product.result.path}: its sidecar does not say the assessed area, so the export "
                "has no layer of it; assess again for one"
            )
        self.facts = self._about()

    def _about(self) -> dict[str, Any]:
        result, labels = self.product.result, self.options.labels
        told_of = ("date", "model", "models", "mode", "mode_score", "assessed_km2",
                   "assessed_area", "buildings_per_grade", "not_assessed_by_reason",
                   "warnings")  # fmt: skip
        sha256 = None
        with suppress(OSError):
            sha256 = hash_of(result.path)
        return {
            "statement": self.product.statement,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "software": {"geodamage": __version__},
            "export_of": {
                "file": result.path.name,
                "sha256": sha256,
                **{key: result.facts[key] for key in told_of if key in result.facts},
            },
            "schema": self.product.schema.facts(labels),
            "labels": labels,
            "geometry": self.product.shape,
            "fields": {field.name: field.description for field in self.product.fields},
            "buildings": len(self.product.frame),
        }

    def others(self) -> tuple[Path, ...]:
        """Return the files that are written beside the export."""
        found = [self.output.with_name(part.name) for part in self._parts()]
        if self.area is not None and self.extension not in _WITH_AREA:
            found.append(self.output.with_name(self.output.name + AREA_ENDING))
        return tuple(found)

    def _parts(self) -> Any:
        if self.extension != ".kml":
            return []
        return parts_of(self.product, self.output.stem, self.options.max_features)

    def write(self, publication: Publication, others: tuple[Path, ...]) -> None:
        """Write all files under their partial names."""
        partial = publication.partial(self.output)
        files = [publication.partial(path) for path in others]
        with output_errors(self.output):
            _WRITERS.get(self.extension, _Export._as_vectors)(self, partial, files)
        if self.area is not None and self.extension not in _WITH_AREA:
            with vector_writer(files[-1], self.area.crs, AREA_LAYER, fields=AREA_FIELDS) as writer:
                writer.append(self.area)
        self.facts["files"] = [path.name for path in others]
        self.facts["warnings"] = list(self.notes)

    def _as_vectors(self, partial: Path, files: list[Path]) -> None:
        product = self.product
        if self.extension == ".csv" and not self.options.wkt:
            writer: Any = PlainCsvWriter(
                partial, product.frame.crs, "buildings", product.geometry_type, product.fields
            )
        else:
            writer = vector_writer(
                partial,
                product.frame.crs,
                geometry_type=product.geometry_type,
                fields=product.fields,
            )
        with writer:
            writer.append(product.frame)
        self.notes += writer.notes

    def _as_parquet(self, partial: Path, files: list[Path]) -> None:
        if self.options.geoparquet == "1.1":
            self._as_vectors(partial, files)
            return
        write_native(self.product.frame, partial)
        self.facts["geoparquet"] = "2.0.0"
        self.notes.append(NATIVE_NOTE)

    def _as_geopackage(self, partial: Path, files: list[Path]) -> None:
        self._as_vectors(partial, files)
        product, labels = self.product, self.options.labels
        is_point = product.shape == "point"
        style = categorised(
            product.schema.value, product.schema.categories(labels), is_point=is_point
        )
        set_styles(partial, "buildings", {"geodamage": style})
        if self.area is not None:
            write_layer(self.area.to_crs(product.frame.crs), partial, AREA_LAYER, append=True)
            store_styles(partial, AREA_LAYER, list(self.area.columns))

    def _as_kml(self, partial: Path, files: list[Path]) -> None:
        parts = self._parts()
        write_kml(self.product, partial, parts, files[: len(parts)])

    def _as_kmz(self, partial: Path, files: list[Path]) -> None:
        write_kmz(self.product, partial, self.options.max_features)

    def _as_workbook(self, partial: Path, files: list[Path]) -> None:
        write_workbook(self.product, partial, self.facts)

    def _as_tiles(self, partial: Path, files: list[Path]) -> None:
        options = self.options
        tiles = write_tiles(self.product, partial, options.min_zoom, options.max_zoom)
        self.facts["pmtiles"] = tiles
        self.notes.append(told(tiles))


_WRITERS: Mapping[str, Callable[[_Export, Path, list[Path]], None]] = {
    ".gpkg": _Export._as_geopackage,
    ".parquet": _Export._as_parquet,
    ".kml": _Export._as_kml,
    ".kmz": _Export._as_kmz,
    ".xlsx": _Export._as_workbook,
    ".pmtiles": _Export._as_tiles,
}
