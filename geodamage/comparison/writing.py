"""Writing a comparison: a GeoPackage of what differs, a page, and the figures beside them."""

from datetime import UTC, datetime
from pathlib import Path

from geodamage._version import __version__
from geodamage.comparison.comparing import CompareOptions, Comparison, compare
from geodamage.comparison.page import render
from geodamage.output.geopackage import write_layers
from geodamage.output.publication import Publication, check_distinct, check_output, output_errors
from geodamage.output.writer import GeometryType
from geodamage.vector.layer import split_layer

#: What layers declare that are not of polygons of several parts.
GEOMETRY_TYPES: dict[str, GeometryType] = {"official": "Unknown", "cells": "Polygon"}
PAGE_EXTENSIONS = (".html", ".htm")


def write_comparison(
    result: Path,
    official: Path,
    output: Path | None,
    options: CompareOptions = CompareOptions(),
    *,
    overwrite: bool = False,
) -> Comparison:
    """Compare, and write what was asked for; all files of it appear, or none.

    Parameters
    ----------
    result, official
        What is compared.
    output
        GeoPackage with the layers `buildings`, `official` and `cells`, or None.
    options
        How, and where the page goes to.
    overwrite
        Replace files that are there.

    Raises
    ------
    GeodamageError
        If something is refused: `InputError` for the layers, `OutputError` for the files.
    """
    inputs = [result, split_layer(official).path]
    check_distinct([output, options.page])
    if output is not None:
        check_output(output, inputs=inputs, overwrite=overwrite, extensions=(".gpkg",))
    if options.page is not None:
        check_output(options.page, inputs=inputs, overwrite=overwrite, extensions=PAGE_EXTENSIONS)
    found = compare(result, official, options)
    facts = {
        **found.facts,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {"geodamage": __version__},
    }
    with Publication(overwrite=overwrite) as publication:
        if output is not None:
            layers = {name: getattr(found, name) for name in ("buildings", "official", "cells")}
            write_layers(layers, publication.partial(output), GEOMETRY_TYPES)
            publication.sidecar(output, facts)
        if options.page is not None:
            partial = publication.partial(options.page)
            with output_errors(options.page):
                partial.write_text(render(found), encoding="utf-8")
            publication.sidecar(options.page, facts)
    return found
