"""The table of options: a row for each, in the order in which `--help` has them."""

from typing import Any

from geodamage.errors import DeviceError
from geodamage.options.kinds import (
    Bands,
    Choice,
    Device,
    File,
    Flag,
    Folder,
    Name,
    Number,
    Numbers,
    Size,
    Span,
    Text,
    Whole,
)
from geodamage.options.option import At, Option


def _at(command: str, **changes: Any) -> At:
    return command, changes


_VECTOR = "Result: .geojson, .geojsonl, .gpkg, .fgb or .parquet."

TABLE: tuple[Option, ...] = (
    # ------------------------------------------------------------------ what comes out, of what
    Option(
        name="output", kind=File(), short="-o", required=True, help=_VECTOR,
        takers=("Job", "LocalisationJob"),
        commands=(
            "assess",
            "buildings",
            _at("batch", kind=Folder(), help="Folder of the results.", takers=("BatchJob",)),
            _at("event", help="Result: a GeoPackage.", takers=()),
            _at("report", help="The page: .html.", takers=()),
            _at("masks", kind=Folder(), takers=(),
                help="Folder for NAME_target.png; made where it is not there."),
            _at("georeference", kind=Folder(), takers=(),
                help="Folder for the GeoTIFFs; made where it is not there."),
            _at("models import", metavar="NAME", takers=(),
                help="Name of the model, without extension."),
            _at("models optimise", kind=Folder(), default=".", required=False,
                takers=("OptimisationJob",), help="Folder of the variants."),
        ),
    ),
    Option(
        name="dry_run", kind=Flag(), default=False,
        help="Say what would be done, and do nothing.", commands=("batch",),
    ),
    Option(
        name="event_date", kind=Text(), metavar="DATE", commands=("batch",),
        help="Date of the event; sorts the images of a STAC catalogue.",
    ),
    Option(
        name="asset", kind=Text(), metavar="KEY", commands=("batch",),
        help="The image among a STAC item's assets.",
    ),
    Option(
        name="dates", kind=File(), metavar="CSV", commands=("event",),
        help="Dates of the scenes: columns name and date, as in a manifest.",
    ),
    Option(
        name="pre", kind=Text(), metavar="IMAGE", commands=("report",),
        help="Image before, as `assess` took it.",
    ),
    Option(name="post", kind=Text(), metavar="IMAGE", commands=("report",), help="Image after."),
    Option(
        name="map", kind=File(), commands=("report",), takers=("ReportOptions",),
        help="Write a map as .png, too.",
    ),
    Option(
        name="pdf", kind=File(), commands=("report",), takers=("ReportOptions",),
        help="Write one page as .pdf, too.",
    ),
    Option(name="title", kind=Text(), commands=("report",), takers=("Words",), help="Heading."),
    Option(
        name="pre_date", kind=Text(), commands=("report",), takers=("Words",),
        help="When the image before was taken.",
    ),
    Option(
        name="post_date", kind=Text(), commands=("report",), takers=("Words",),
        help="When the image after was taken.",
    ),
    Option(
        name="safe_colours", kind=Flag(), default=False, commands=("report",), takers=("Words",),
        help="Colours that are told apart without red and green.",
    ),
    Option(
        name="licence", kind=Text(), commands=("models import",),
        help="Licence of the weights, for the card.",
    ),
    Option(
        name="calibration", kind=Folder(), metavar="XBD_DIR", required=True,
        commands=("models optimise",), takers=("OptimisationJob",),
        help="Labelled pairs: images set the ranges, labels are the test.",
    ),
    Option(
        name="precision", kind=Choice(("fp16", "half", "int8")), multiple=True, dest="precisions",
        commands=("models optimise",), takers=("OptimisationJob",),
        help="What to make; fp16 and int8 unless given.",
    ),
    # ------------------------------------------------------------------ what it is done with
    Option(
        name="model", kind=Name(), default="fast", column=True,
        help="A bundled model, a .onnx file or an ensemble's .toml.",
        takers=("Job", "LocalisationJob", "EvaluationJob"),
        commands=(
            "assess",
            _at("buildings", help="A bundled model, a .onnx file or an ensemble's .toml; its "
                "localisation is used."),
            "batch",
            "evaluate",
        ),
    ),
    Option(
        name="split", kind=File(), takers=("EvaluationJob", "OptimisationJob"),
        help="CSV with the columns pair and part; every pair unless given.",
        commands=("evaluate", "models optimise"),
    ),
    Option(
        name="part", kind=Text(), metavar="NAME", takers=("EvaluationJob", "OptimisationJob"),
        help="Only this part of the split.",
        commands=(
            "evaluate",
            _at("models optimise", default="validation",
                help="Part of the split to compare on; others are calibrated on."),
        ),
    ),
    Option(
        name="per_event", kind=Flag(), default=False, help="Show the scores of each event, too.",
        commands=(
            "evaluate",
            _at("score", help="Show the scores of each event, too; needs TARGET_DIR/names.csv."),
        ),
    ),
    Option(
        name="strict", kind=Flag(), default=False, commands=("score",),
        help="Refuse what is not 1024 x 1024, as the official scorer does.",
    ),
    Option(
        name="buildings", kind=Flag(), default=False, commands=("score",),
        help="Score buildings without grades: PRED_DIR and TARGET_DIR are a prediction and its "
        "truth, or folders of them.",
    ),
    Option(
        name="unclassified", kind=Choice(("undrawn", "no-damage", "own", "ignore")),
        default="undrawn", commands=("masks",),
        help="Labels without a grade: undrawn as in the official targets, no-damage (1), own (5) "
        "or ignore (255).",
    ),
    Option(
        name="footprints", kind=File(), column=True, takers=("Job",),
        help="Grade these polygons instead of finding buildings.", commands=("assess", "batch"),
    ),
    Option(
        name="id_field", kind=Text(), metavar="NAME", column=True, takers=("Job",),
        help="Field of the footprints with their identity.", commands=("assess", "batch"),
    ),
    Option(
        name="aoi", kind=File(), column=True, takers=("SceneOptions", "ScoringOptions"),
        help="Report only what lies in these polygons.",
        commands=(
            "assess", "buildings", "batch",
            _at("score", help="With --buildings: count only what lies in these polygons."),
        ),
    ),
    Option(
        name="device", kind=Device(), default="auto", error=DeviceError,
        help="Where it runs: auto, cpu, cuda[:N], tensorrt[:N], openvino.",
        takers=("Job", "LocalisationJob", "EvaluationJob", "OptimisationJob", "TimingJob"),
        commands=(
            "assess", "buildings",
            _at("batch", help="Where it runs: auto, cpu, cuda[:N], tensorrt[:N], openvino; auto "
                "and cuda deal the GPUs out."),
            "evaluate",
            _at("models optimise", default="cpu",
                help="Where variants are compared: cpu, cuda[:N], tensorrt[:N], openvino."),
            _at("models bench", default=None, multiple=True, dest="devices",
                help="cpu, cuda[:N], tensorrt[:N], openvino; all that ONNX Runtime has unless "
                "given."),
        ),
    ),
    Option(
        name="tta", kind=Choice(("none", "flips")), default="none", column=True,
        help="Average over mirror images; four times the work.",
        takers=("Job", "LocalisationJob", "EvaluationJob"),
        commands=(
            "assess",
            _at("buildings", kind=Choice(("none", "flips", "full")),
                help="Average over mirror images (flips, four times the work), or over these and "
                "the same transposed (full, eight times)."),
            "batch",
            "evaluate",
        ),
    ),
    Option(
        name="tta_scales", kind=Numbers(Number(0.1, 10)), default="1", commands=("buildings",),
        takers=("LocalisationJob.scales",), help="Average over these sizes of the image, too.",
    ),
    Option(
        name="vote", kind=Choice(("probabilities", "pixels")), default="probabilities",
        column=True, takers=("Job",), commands=("assess", "batch"),
        help="What grades a building: the probabilities of its pixels, summed, or the grade that "
        "most of its pixels have by the rules of the model.",
    ),
    Option(
        name="threshold", kind=Number(0, below=1), metavar="P",
        takers=("LocalisationJob", "ScoringOptions"),
        help="A pixel is building above this probability; the model's own unless given.",
        commands=(
            "buildings",
            _at("score", help="With --buildings: a raster of probabilities is building above "
                "this; 0.5 unless given."),
        ),
    ),
    # ------------------------------------------------------------------ what comes out, too
    Option(
        name="raster", kind=File(), takers=("Job", "LocalisationJob"),
        help="Write the grades as a COG, too: of the buildings, or of each pixel where the model "
        "has rules for pixels.",
        commands=(
            "assess",
            _at("buildings", help="Write the buildings as a COG, too: 1 where there is one."),
            _at("batch", kind=Flag(), default=False, takers=("BatchJob",),
                help="Write the grades of each scene as a COG, too."),
        ),
    ),
    Option(
        name="probabilities", kind=File(), takers=("Job", "LocalisationJob"),
        help="Write the probabilities as a COG of five channels, too.",
        commands=(
            "assess",
            _at("buildings", help="Write the probability of a building as a COG, too."),
            _at("batch", kind=Flag(), default=False, takers=("BatchJob",),
                help="Write the probabilities of each scene as a COG, too."),
        ),
    ),
    Option(
        name="report", kind=File(), takers=("Job",),
        help="Write a page for people, too: .html, opens offline.",
        commands=(
            "assess",
            _at("batch", kind=Flag(), default=False, takers=("BatchJob",),
                help="Write a page for each scene and one for the event, too."),
        ),
    ),
    Option(
        name="regularise", kind=Flag(), default=False, commands=("buildings",),
        takers=("LocalisationJob",), help="Give buildings right-angled outlines, where these fit.",
    ),
    Option(
        name="merge", kind=Flag(), default=True, commands=("batch",), takers=("BatchJob",),
        help="Write the layer of the event at the end.",
    ),
    Option(
        name="admin", kind=File(), takers=("BatchJob",),
        help="Count by these administrative areas, too.",
        commands=(
            _at("batch", help="Areas to sum up the event by, besides cells of a grid."), "event",
        ),
    ),
    Option(
        name="admin_name", kind=Text(), metavar="FIELD", commands=("event",),
        help="Field with their names; else `name`.",
    ),
    # Larger and smaller cells are a slip of the keyboard.
    Option(
        name="cell", kind=Number(10, 100_000), default=500.0, unit="metres", metavar="METRES",
        commands=("event",), help="Side of the cells of the grid.",
    ),
    Option(
        name="update", kind=Flag(), default=False, commands=("event",),
        help="Add to the event that is there; its identities stay.",
    ),
    Option(
        name="predictions", kind=Folder(), commands=("evaluate",), takers=("EvaluationJob",),
        help="Write DIR/predictions and DIR/targets for the official scorer.",
    ),
    Option(
        name="bootstrap", kind=Whole(0), default=0, commands=("evaluate",),
        takers=("EvaluationJob",), help="95 % intervals from N resamplings of the pairs.",
    ),
    # ------------------------------------------------------------------ how images are read
    Option(
        name="bands", kind=Bands(), column=True, takers=("SceneOptions.pre_bands",),
        help="Channels of both images, counted from 1.",
        commands=(
            "assess",
            _at("buildings", help="Channels of the image, counted from 1."),
            "batch",
        ),
    ),
    Option(
        name="scale", kind=Span(), column=True, takers=("SceneOptions", "ReportOptions"),
        help="Values that become 0 and 255; for imagery that is not 8-bit.",
        commands=(
            "assess", "buildings", "batch",
            _at("report", help="Values shown as black and white; for imagery that is not 8-bit."),
        ),
    ),
    Option(
        name="post_sensor", kind=Choice(("optical", "sar")), default="optical", column=True,
        takers=("SceneOptions",), commands=("assess", "batch"),
        help="What took the image after; with sar, --bands and --scale are of the image before "
        "alone.",
    ),
    Option(
        name="post_bands", kind=Bands(), column=True, takers=("SceneOptions",),
        help="Channels of the image after, where they are others.", commands=("assess", "batch"),
    ),
    Option(
        name="post_scale", kind=Span(), column=True, takers=("SceneOptions",),
        help="Values of the image after that become 0 and 255, where they are others.",
        commands=("assess", "batch"),
    ),
    Option(
        name="registration", kind=Choice(("measure", "apply", "off")), default="measure",
        column=True, takers=("SceneOptions",), commands=("assess", "batch"),
        help="Measure how far the image after lies off; or move it by that, too.",
    ),
    Option(
        name="obscured", kind=Choice(("on", "off")), default="on", column=True,
        takers=("SceneOptions",), commands=("assess", "batch"),
        help="Look for cloud, smoke and constant fill, and grade nothing under them.",
    ),
    Option(
        name="pre_unusable", kind=File(), column=True, takers=("SceneOptions",),
        help="Raster or polygons of what is unusable in the image before.",
        commands=("assess", "batch"),
    ),
    Option(
        name="post_unusable", kind=File(), column=True, takers=("SceneOptions",),
        help="Raster or polygons of what is unusable in the image after.",
        commands=("assess", "batch"),
    ),
    Option(
        name="unusable_band", kind=Whole(1), default=1, takers=("SceneOptions",),
        help="Band of such a raster that is not 0 where it is unusable.",
        commands=("assess", "batch"),
    ),
    Option(
        name="seen_share", kind=Number(0, 1), default=0.5, takers=("SceneOptions",),
        help="Share of a building that both images must show for a grade.",
        commands=("assess", "batch"),
    ),
    # ------------------------------------------------------------------ how polygons are made
    Option(
        name="min_area", kind=Number(0), default=20.0, unit="m²", metavar="M2", column=True,
        takers=("BuildingOptions", "EvaluationJob"), help="Smallest building.",
        commands=("assess", "buildings", "batch", "evaluate"),
    ),
    Option(
        name="simplify", kind=Number(0), default=0.0, unit="metres", metavar="METRES",
        column=True, takers=("BuildingOptions",), help="Simplify polygons by this tolerance.",
        commands=("assess", "buildings", "batch"),
    ),
    Option(
        name="gsd", kind=Number(0.001, 1000), unit="metres per pixel", metavar="METRES",
        commands=("score",), takers=("ScoringOptions",),
        help="With --buildings: size of a pixel where both sides are polygons; 0.5 unless given.",
    ),
    # ------------------------------------------------------------------ how the work is done
    Option(
        name="tile", kind=Whole(), unit="pixels", metavar="PIXELS", column=True,
        takers=("Job", "LocalisationJob", "TimingJob"),
        help="Window size; the result does not depend on it.",
        commands=(
            "assess", "buildings", "batch",
            _at("models bench", help="Window with its halo; that of the card unless given."),
        ),
    ),
    Option(
        name="batch_size", kind=Whole(), default=1, takers=("Job", "LocalisationJob"),
        help="Windows per model call.", commands=("assess", "buildings", "batch"),
    ),
    Option(
        name="windows", kind=Whole(), default=32, commands=("models optimise",),
        takers=("OptimisationJob",), help="Windows to calibrate on.",
    ),
    Option(
        name="rounds", kind=Whole(), default=5, commands=("models bench",),
        takers=("TimingJob",), help="How often each is asked.",
    ),
    Option(
        name="workers", kind=Whole(), commands=("batch",), takers=("BatchJob",),
        help="Scenes at a time; as many as fit unless given.",
    ),
    Option(
        name="memory", kind=Size(), default="1.5GB", unit="bytes",
        takers=("Job", "LocalisationJob", "EvaluationJob"),
        help="Memory that the work is planned for.",
        commands=(
            "assess", "buildings",
            _at("batch", default=None, takers=("BatchJob",),
                help="Memory of all workers; most of what is free unless given."),
            _at("evaluate", help="Memory that images above the model's tile are cut up for."),
        ),
    ),
    Option(
        name="scene_memory", kind=Size(), default="1.5GB", unit="bytes", commands=("batch",),
        takers=("Job.memory",), help="Memory that each scene is planned for.",
    ),
    Option(
        name="threads", kind=Whole(0), default=0,
        takers=("Job", "LocalisationJob", "EvaluationJob", "OptimisationJob", "TimingJob"),
        help="CPU threads for inference; 0 takes every processor.",
        commands=(
            "assess", "buildings",
            _at("batch", help="CPU threads for each scene; 0 deals the processors out."),
            "evaluate", "models optimise", "models bench",
        ),
    ),
    Option(
        name="shard", kind=Text(), metavar="K/N", commands=("batch",),
        help="Do the K-th of N shares only, with a ledger of its own.",
    ),
    Option(
        name="retry_failed", kind=Flag(), default=False, commands=("batch",),
        takers=("BatchJob",), help="Try the scenes again that failed.",
    ),
    Option(
        name="dask", kind=Text(), metavar="ADDRESS", commands=("batch",), takers=("BatchJob",),
        help="Run on the Dask cluster of this scheduler.",
    ),
    Option(
        name="dask_local", kind=Whole(), commands=("batch",), takers=("BatchJob",),
        help="Run on a Dask cluster of N processes on this machine.",
    ),
    Option(
        name="split_scenes", kind=Number(0), unit="megapixels", metavar="MEGAPIXELS",
        commands=("batch",),
        help="Share larger scenes among the cluster's workers, strip by strip.",
    ),
    # ------------------------------------------------------------------ what it says and keeps
    Option(
        name="keep", kind=Flag(), default=False, commands=("models optimise",),
        takers=("OptimisationJob",), help="Write what fails, too; its card says so.",
    ),
    Option(
        name="allow_remote", kind=Flag(), default=False,
        takers=("SceneOptions", "ReportOptions"), help="Read http(s) and s3 URLs.",
        commands=("assess", "buildings", "batch", "report"),
    ),
    Option(
        name="overwrite", kind=Flag(), default=False, help="Replace results that are there.",
        takers=("Job", "LocalisationJob", "EvaluationJob", "OptimisationJob"),
        commands=(
            "assess", "buildings",
            _at("batch", takers=("BatchJob",),
                help="Replace results that the ledger does not know."),
            _at("event", help="Replace the event that is there."),
            "report",
            _at("evaluate", help="Replace masks that are there."),
            _at("masks", help="Replace masks that are there."),
            _at("georeference", help="Replace GeoTIFFs that are there."),
            "models import",
            _at("models optimise", help="Replace variants that are there."),
        ),
    ),
    Option(
        name="json", kind=Flag(), default=False, dest="as_json", help="Write JSON.",
        commands=(
            _at("event", help="One JSON object on stdout."),
            _at("evaluate", help="One JSON object on stdout, with every figure and event."),
            _at("score", help="One JSON object on stdout, the official keys first."),
            _at("georeference", help="One JSON object on stdout, with every fit."),
            "models list", "models show", "models networks", "models bench",
            _at("models optimise", help="Write the report as JSON."),
            "options",
        ),
    ),
    Option(
        name="progress", kind=Choice(("auto", "json")), default="auto",
        help="json: one object a line on stderr, for programs.",
        commands=("assess", "buildings", "batch"),
    ),
    Option(
        name="quiet", kind=Flag(), default=False, short="-q", help="Say nothing but errors.",
        commands=(
            "assess", "buildings", "batch", "report", "masks",
            *(_at(name, help="Say nothing on stderr but errors.")
              for name in ("event", "evaluate", "score", "georeference", "models optimise",
                           "models bench")),
        ),
    ),
    Option(
        name="verbose", kind=Flag(), default=False, short="-v", help="Say more.",
        commands=("assess", "buildings", "batch"),
    ),
)  # fmt: skip
