"""Options of what is handed on to others, and of what comes from them."""

from geodamage.options.kinds import Choice, File, Flag, Number, Whole
from geodamage.options.option import Option, at

#: Schemas that a result is written in.
WRITTEN = ("geodamage", "cems", "unosat", "fema", "ems98", "microsoft", "binary")
#: Schemas that an official layer is read in.
READ = ("auto", "geodamage", "cems", "unosat", "fema", "ems98", "microsoft", "hot", "binary")

#: Exports and comparisons.
EXCHANGE: tuple[Option, ...] = (
    Option(
        name="schema", kind=Choice(WRITTEN), default="geodamage", takers=("ExportOptions",),
        help="Schema of the export: its fields and terms.",
        commands=(
            "export",
            at("compare", kind=Choice(READ), default="auto", takers=("CompareOptions",),
                help="Schema of the official layer; recognised by its fields unless given."),
        ),
    ),
    Option(
        name="labels", kind=Flag(), default=False, commands=("export",),
        takers=("ExportOptions",), help="Words instead of codes, where the schema has codes.",
    ),
    Option(
        name="geometry", kind=Choice(("auto", "polygon", "point")), default="auto",
        commands=("export",), takers=("ExportOptions",),
        help="Outlines or points; that of the schema unless given.",
    ),
    Option(
        name="wkt", kind=Flag(), default=False, commands=("export",), takers=("ExportOptions",),
        help="Outlines in a column of .csv, as well-known text.",
    ),
    Option(
        name="geoparquet", kind=Choice(("1.1", "2.0")), default="1.1", commands=("export",),
        takers=("ExportOptions",),
        help="Version of .parquet; 2.0 has geometries that readers of 1.1 cannot read.",
    ),
    Option(
        name="max_features", kind=Whole(), default=10_000, commands=("export",),
        takers=("ExportOptions",), help="Buildings a file of .kml or .kmz.",
    ),
    Option(
        name="min_zoom", kind=Whole(0), default=8, commands=("export",),
        takers=("ExportOptions",), help="Lowest zoom level of .pmtiles.",
    ),
    Option(
        name="max_zoom", kind=Whole(0), default=16, commands=("export",),
        takers=("ExportOptions",), help="Highest zoom level of .pmtiles.",
    ),
    Option(
        name="tolerance", kind=Number(0, 1000), default=5.0, unit="metres", metavar="METRES",
        commands=("compare",), takers=("CompareOptions",),
        help="Largest distance between a point and its building.",
    ),
    Option(
        name="unlisted", kind=Choice(("auto", "undamaged", "unknown")), default="auto",
        commands=("compare",), takers=("CompareOptions",),
        help="How a building counts that the official layer does not list; auto: undamaged if the "
        "layer lists only damaged ones.",
    ),
    Option(
        name="within", kind=File(), metavar="AREA", commands=("compare",),
        takers=("CompareOptions",), help="Polygon of the area that the official layer covers.",
    ),
    Option(
        name="epoch", kind=Whole(), commands=("compare",), takers=("CompareOptions",),
        help="Which of several assessments in one layer; the last one unless given.",
    ),
    Option(
        name="page", kind=File(), metavar="HTML", commands=("compare",),
        takers=("CompareOptions",), help="Also write a page with a map of the differences.",
    ),
)  # fmt: skip
