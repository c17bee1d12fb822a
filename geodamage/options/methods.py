"""Options of how buildings are found and graded."""

from geodamage.errors import DeviceError
from geodamage.options.kinds import (
    Bands,
    Choice,
    Device,
    File,
    Flag,
    Name,
    Number,
    Numbers,
    Span,
    Text,
    Whole,
)
from geodamage.options.option import Option, at

#: The model, what it is asked, and where.
MODELS: tuple[Option, ...] = (
    Option(
        name="model", kind=Name(), default="fast", column=True,
        help="A bundled model, a .onnx file or an ensemble's .toml.",
        takers=("Job", "LocalisationJob", "EvaluationJob"),
        commands=(
            "assess",
            at("buildings", help="A bundled model, a .onnx file or an ensemble's .toml; its "
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
            at("models optimise", default="validation",
                help="Part of the split to compare on; others are calibrated on."),
        ),
    ),
    Option(
        name="per_event", kind=Flag(), default=False, help="Show the scores of each event, too.",
        commands=(
            "evaluate",
            at("score", help="Show the scores of each event, too; needs TARGET_DIR/names.csv."),
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
        name="ids_from", kind=File(), metavar="RESULT", takers=("Job", "LocalisationJob"),
        help="An earlier result: a building that overlaps one of it by more than half takes over "
        "its building_id.",
        commands=("assess", "buildings"),
    ),
    Option(
        name="aoi", kind=File(), column=True, takers=("SceneOptions", "ScoringOptions"),
        help="Report only what lies in these polygons.",
        commands=(
            "assess", "buildings", "batch",
            at("score", help="With --buildings: count only what lies in these polygons."),
        ),
    ),
    Option(
        name="device", kind=Device(), default="auto", error=DeviceError,
        help="Where it runs: auto, cpu, cuda[:N], tensorrt[:N], openvino.",
        takers=("Job", "LocalisationJob", "EvaluationJob", "OptimisationJob", "TimingJob"),
        commands=(
            "assess", "buildings",
            at("batch", help="Where it runs: auto, cpu, cuda[:N], tensorrt[:N], openvino; auto "
                "and cuda deal the GPUs out."),
            "evaluate",
            at("models optimise", default="cpu",
                help="Where variants are compared: cpu, cuda[:N], tensorrt[:N], openvino."),
            at("models bench", default=None, multiple=True, dest="devices",
                help="cpu, cuda[:N], tensorrt[:N], openvino; all that ONNX Runtime has unless "
                "given."),
        ),
    ),
    Option(
        name="engine", kind=Choice(("auto", "onnxruntime", "openvino")), default="auto",
        help="What computes on the processor: onnxruntime, openvino, or auto: openvino where "
        "geodamage models bench has found it right and faster on this machine.",
        takers=("Job", "LocalisationJob", "EvaluationJob"),
        commands=("assess", "buildings", "batch", "evaluate"),
    ),
    Option(
        name="tta", kind=Choice(("none", "flips")), default="none", column=True,
        help="Average over mirror images; four times the work.",
        takers=("Job", "LocalisationJob", "EvaluationJob"),
        commands=(
            "assess",
            at("buildings", kind=Choice(("none", "flips", "full")),
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
            at("score", help="With --buildings: a raster of probabilities is building above "
                "this; 0.5 unless given."),
        ),
    ),
)  # fmt: skip

#: How images are read, and polygons made.
SCENES: tuple[Option, ...] = (
    Option(
        name="bands", kind=Bands(), column=True, takers=("SceneOptions.pre_bands",),
        help="Channels of both images, counted from 1.",
        commands=(
            "assess",
            at("buildings", help="Channels of the image, counted from 1."),
            "batch",
        ),
    ),
    Option(
        name="scale", kind=Span(), column=True, takers=("SceneOptions", "ReportOptions"),
        help="Values that become 0 and 255; for imagery that is not 8-bit.",
        commands=(
            "assess", "buildings", "batch",
            at("report", help="Values shown as black and white; for imagery that is not 8-bit."),
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
        help="Measure how far the image after lies off; apply: move it by that, too.",
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
        name="seen_share", kind=Number(0, 1), default=0.5, column=True, takers=("SceneOptions",),
        help="Share of a building that both images must show for a grade.",
        commands=("assess", "batch"),
    ),
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
)  # fmt: skip
