"""Options of what comes out, and of what a command works on."""

from geodamage.options.kinds import File, Flag, Folder, Number, Text, Whole
from geodamage.options.option import Option, at

#: What is worked on, and where the result goes.
SOURCES: tuple[Option, ...] = (
    Option(
        name="output", kind=File(), short="-o", required=True,
        help="Result: .geojson, .geojsonl, .gpkg, .fgb, .parquet, .csv or .shp.",
        takers=("Job", "LocalisationJob"),
        commands=(
            "assess",
            "buildings",
            at("batch", kind=Folder(), help="Folder of the results.", takers=("BatchJob",)),
            at("event", help="Result: a GeoPackage.", takers=()),
            at("footprints", takers=("FootprintsJob",),
                help="Footprints: .geojson, .geojsonl, .gpkg, .fgb or .parquet."),
            at("report", help="The page: .html.", takers=()),
            at("adapt", help="The event model: .toml.", takers=()),
            at("regrade", takers=(), help="Result: .geojson, .geojsonl, .gpkg, .fgb or .parquet; a "
                "folder for several."),
            at("export", takers=(),
                help="Export: .gpkg, .geojson, .geojsonl, .fgb, .parquet, .shp, .kml, .kmz, .csv, "
                ".xlsx or .pmtiles."),
            at("compare", required=False, takers=(),
                help="Also write the comparison: .gpkg, with the differences and the cells."),
            at("sample", help="Sample: .geojson, .gpkg, .fgb or .parquet.", takers=()),
            at("estimate", required=False, takers=(),
                help="Also write the estimate: .json, for --estimate of other commands."),
            at("masks", kind=Folder(), takers=(),
                help="Folder for NAME_target.png; made if it does not exist."),
            at("georeference", kind=Folder(), takers=(),
                help="Folder for the GeoTIFFs; made if it does not exist."),
            at("models import", metavar="NAME", takers=(),
                help="Name of the model, without extension."),
            at("models optimise", kind=Folder(), default=".", required=False,
                takers=("OptimisationJob",), help="Folder of the variants."),
        ),
    ),
    Option(
        name="like", kind=Text(), metavar="IMAGE", required=True, commands=("footprints",),
        takers=("FootprintsJob",), help="The image whose ground needs footprints, as `assess` "
            "takes it.",
    ),
    Option(
        name="source", kind=Text(), metavar="NAME|FILE", required=True, multiple=True,
        commands=("footprints",), takers=("FootprintsJob",),
        help="overture, osm, microsoft, google or a file. Give it again to fill gaps of the first.",
    ),
    Option(
        name="release", kind=Text(), commands=("footprints",), takers=("FootprintsJob",),
        help="Release of Overture, such as 2026-11-18.0; the latest unless given.",
    ),
    Option(
        name="mirror", kind=Text(), metavar="URL", commands=("footprints",),
        takers=("FootprintsJob",), help="Address of a copy of the published files.",
    ),
    Option(
        name="force", kind=Flag(), default=False, commands=("adapt",),
        help="Write the event model even if it is not shown to help.",
    ),
    Option(
        name="dry_run", kind=Flag(), default=False,
        help="Print the plan, and assess nothing.", commands=("batch",),
    ),
    Option(
        name="event_date", kind=Text(), metavar="DATE", commands=("batch",),
        help="Date of the event; sorts the images of a STAC catalogue that has no phases.",
    ),
    Option(
        name="asset", kind=Text(), metavar="KEY", commands=("batch",),
        help="The image among a STAC item's assets.",
    ),
    Option(
        name="max_cloud", kind=Number(0, 100), unit="per cent", metavar="PERCENT",
        commands=("batch",), help="Leave out images of a STAC catalogue with more cloud.",
    ),
    Option(
        name="dates", kind=File(), metavar="CSV", commands=("event",),
        help="Dates of the scenes: columns name and date, as in a manifest.",
    ),
    Option(
        name="pre", kind=Text(), metavar="IMAGE", commands=("report",),
        help="Pre image, as `assess` took it.",
    ),
    Option(name="post", kind=Text(), metavar="IMAGE", commands=("report",), help="Post image."),
    Option(
        name="map", kind=File(), commands=("report",), takers=("ReportOptions",),
        help="Also write a map as .png.",
    ),
    Option(
        name="pdf", kind=File(), commands=("report",), takers=("ReportOptions",),
        help="Also write one page as .pdf.",
    ),
    Option(name="title", kind=Text(), commands=("report",), takers=("Words",), help="Heading."),
    Option(
        name="pre_date", kind=Text(), commands=("report",), takers=("Words",),
        help="When the pre image was taken.",
    ),
    Option(
        name="post_date", kind=Text(), commands=("report",), takers=("Words",),
        help="When the post image was taken.",
    ),
    Option(
        name="safe_colours", kind=Flag(), default=False, commands=("report",), takers=("Words",),
        help="Colours that people tell apart without red and green.",
    ),
    Option(
        name="licence", kind=Text(), commands=("models import",),
        help="Licence of the weights, to write on the card.",
    ),
    Option(
        name="stac", kind=Flag(), default=False, commands=("models show",),
        help="Write a STAC item of the Machine Learning Model extension, version 1.5.",
    ),
    Option(
        name="install", kind=Flag(), default=False, commands=("models import",),
        help="Put it into your folder of models: its name is enough for --model, and QGIS "
        "lists it.",
    ),
    Option(
        name="convention", kind=Text(), metavar="NAME|FILE", multiple=True, dest="conventions",
        commands=("models import",),
        help="How an ONNX file takes images, and what its channels mean: a built-in name or a TOML "
        "file; one for all files, or one for each.",
    ),
    Option(
        name="calibration", kind=Folder(), metavar="XBD_DIR", required=True,
        commands=("models optimise",), takers=("OptimisationJob",),
        help="Labelled pairs: images set the ranges, labels are the test.",
    ),
)  # fmt: skip

#: What comes out beside the result.
PRODUCTS: tuple[Option, ...] = (
    Option(
        name="raster", kind=File(), takers=("Job", "LocalisationJob"),
        help="Also write the grades as a COG: of the buildings, or of each pixel if the model "
        "has rules for pixels.",
        commands=(
            "assess",
            at("buildings", help="Also write the buildings as a COG: 1 where there is one."),
            at("batch", kind=Flag(), default=False, takers=("BatchJob",),
                help="Also write the grades of each scene as a COG."),
        ),
    ),
    Option(
        name="probabilities", kind=File(), takers=("Job", "LocalisationJob"),
        help="Also write the probabilities as a COG of five channels.",
        commands=(
            "assess",
            at("buildings", help="Also write the probability of a building as a COG."),
            at("batch", kind=Flag(), default=False, takers=("BatchJob",),
                help="Also write the probabilities of each scene as a COG."),
        ),
    ),
    Option(
        name="report", kind=File(), takers=("Job",),
        help="Also write a page that opens offline: .html.",
        commands=(
            "assess",
            at("batch", kind=Flag(), default=False, takers=("BatchJob",),
                help="Also write a page for each scene and one for the event."),
        ),
    ),
    Option(
        name="features", kind=File(), takers=("Job",),
        help="Also write the features of each building: .npz, for adapt and regrade.",
        commands=(
            "assess",
            at("batch", kind=Flag(), default=False, takers=("BatchJob",),
                help="Also write the features of each building, for adapt and regrade."),
            *(at(name, takers=(), help="Features of the result; those beside it unless given.")
              for name in ("adapt", "regrade")),
        ),
    ),
    Option(
        name="regularise", kind=Flag(), default=False, commands=("assess", "buildings", "batch"),
        takers=("BuildingOptions",), help="Draw right-angled outlines where they fit.",
    ),
    Option(
        name="merge", kind=Flag(), default=True, commands=("batch",), takers=("BatchJob",),
        help="Write the layer of the event at the end.",
    ),
    Option(
        name="admin", kind=File(), takers=("BatchJob",),
        help="Also count by these administrative areas.",
        commands=(
            at("batch", help="Areas to count by, besides the cells of a grid."), "event",
        ),
    ),
    Option(
        name="admin_name", kind=Text(), metavar="FIELD", takers=("BatchJob",),
        help="Field with the names of the areas; `name` unless given.",
        commands=(
            "batch",
            "event",
            at("sample", takers=("SampleOptions",)),
            at("estimate", takers=("EstimateOptions",)),
        ),
    ),
    # Larger and smaller cells are a slip of the keyboard.
    Option(
        name="cell", kind=Number(10, 100_000), default=500.0, unit="metres", metavar="METRES",
        commands=(
            "event",
            at("sample", default=100.0, help="Side of the cells of --areas."),
            at("compare", default=100.0, takers=("CompareOptions",)),
        ),
        help="Side of the cells of the grid.",
    ),
    Option(
        name="population", kind=File(), metavar="RASTER", commands=("batch", "event"),
        takers=("BatchJob",),
        help="Also count the people in buildings: a GeoTIFF of people per cell.",
    ),
    Option(
        name="update", kind=Flag(), default=False, commands=("event",),
        help="Add to the existing event; its identities stay.",
    ),
    Option(
        name="predictions", kind=Folder(), commands=("evaluate",), takers=("EvaluationJob",),
        help="Write DIR/predictions and DIR/targets for the official scorer.",
    ),
    Option(
        name="bootstrap", kind=Whole(0), default=0, commands=("evaluate",),
        takers=("EvaluationJob",), help="95 % intervals from N resamplings of the pairs.",
    ),
)  # fmt: skip
