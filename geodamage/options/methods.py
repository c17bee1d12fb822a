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
            at("assess", help="A bundled model, a .onnx file, an ensemble's .toml, or an event "
                "model's .toml of adapt."),
            at("regrade", kind=File(), default=None, required=True, column=False, takers=(),
                help="Event model of adapt: .toml."),
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
        name="per_event", kind=Flag(), default=False, help="Also show the scores of each event.",
        commands=(
            "evaluate",
            at("score", help="Also show the scores of each event; needs TARGET_DIR/names.csv."),
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
        help="Grade these polygons instead of finding buildings: a vector file, or FILE:LAYER.",
        commands=("assess", "batch"),
    ),
    Option(
        name="post_only", kind=Flag(), default=False, column=True, takers=("Job",),
        help="Grade the footprints by the post image alone. Such grades are worth less.",
        commands=(
            "assess",
            at("batch", help="Grade footprints by the post images alone, in every scene."),
        ),
    ),
    Option(
        name="id_field", kind=Text(), metavar="NAME", column=True, takers=("Job",),
        help="Field of the footprints that holds their id.", commands=("assess", "batch"),
    ),
    Option(
        name="keep", kind=Text(), default="all", metavar="[all|none|NAMES]",
        takers=("Job", "OptimisationJob"),
        help="Attributes of the footprints to copy to the result: all that are not named "
        "like its own fields, none, or their names separated by commas.",
        commands=(
            "assess", "batch",
            at("models optimise", kind=Flag(), default=False, metavar=None,
                help="Also write a variant that fails; its card says so."),
        ),
    ),
    Option(
        name="skip_broken", kind=Flag(), default=False, takers=("Job",),
        help="Leave out footprints that cannot be read, and count them.",
        commands=("assess", "batch"),
    ),
    Option(
        name="ids_from", kind=File(), metavar="RESULT", takers=("Job", "LocalisationJob"),
        help="An earlier result. A building that overlaps one of its buildings by more than half "
        "takes over that building_id.",
        commands=("assess", "buildings"),
    ),
    Option(
        name="aoi", kind=File(), column=True, takers=("SceneOptions", "ScoringOptions"),
        help="Report only the buildings in these polygons.",
        commands=(
            "assess", "buildings", "batch",
            at("score", help="With --buildings: count only the pixels in these polygons."),
        ),
    ),
    Option(
        name="device", kind=Device(), default="auto", error=DeviceError,
        help="Where the model runs: auto, cpu, cuda[:N], tensorrt[:N], openvino.",
        takers=("Job", "LocalisationJob", "EvaluationJob", "OptimisationJob", "TimingJob"),
        commands=(
            "assess", "buildings",
            at("batch", help="Where the model runs: auto, cpu, cuda[:N], tensorrt[:N], "
                "openvino; auto and cuda share the GPUs among the scenes."),
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
        help="Engine on the processor: onnxruntime, openvino, or auto: openvino where it is "
        "correct and faster on this machine, which is measured once for each model.",
        takers=("Job", "LocalisationJob", "EvaluationJob"),
        commands=("assess", "buildings", "batch", "evaluate"),
    ),
    Option(
        name="precision", kind=Choice(("auto", "float32", "bfloat16", "int8")), default="auto",
        help="Number format of the computation; refused where the card does not say that grades "
            "stay "
        "the same. auto: bfloat16 where it is faster on this machine, and else what the file "
        "holds.",
        takers=("Job", "LocalisationJob", "EvaluationJob"),
        commands=(
            "assess", "buildings", "batch",
            at("evaluate", kind=Choice(("stored", "float32", "bfloat16", "int8")),
                default="stored", help="Number format of the computation; stored: that of the "
                "file."),
            at("models optimise", kind=Choice(("fp16", "half", "int8", "bfloat16")), default=None,
                multiple=True, dest="precisions", takers=("OptimisationJob",),
                help="What to make; fp16 and int8 unless given."),
        ),
    ),
    Option(
        name="tta", kind=Choice(("none", "flips", "enlarged")), default="none", column=True,
        help="flips: average over four flips of the image, for four times the work. enlarged: look "
        "at the image enlarged by half, too, and keep what either look finds, for two to three "
        "times the work; it finds more small buildings.",
        takers=("Job", "LocalisationJob", "EvaluationJob"),
        commands=(
            "assess",
            at("buildings", kind=Choice(("none", "flips", "full", "enlarged")),
                help="Average over four flips of the image (flips), or over these and "
                "the same transposed (full). Flips take four times as long, full eight times. "
                "enlarged: look at the image enlarged by half, too, and keep what either look "
                "finds; it finds more small buildings."),
            "batch",
            "evaluate",
        ),
    ),
    Option(
        name="tta_scales", kind=Numbers(Number(0.1, 10)), default="1", commands=("buildings",),
        takers=("LocalisationJob.scales",), help="Also average over these sizes of the image.",
    ),
    Option(
        name="vote", kind=Choice(("probabilities", "pixels")), default="probabilities",
        column=True, takers=("Job",), commands=("assess", "batch"),
        help="How a building gets its grade: by the summed probabilities of its pixels, or by the "
        "grade that most of its pixels have under the rules of the model.",
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
        help="Channels of both images for red, green and blue, counted from 1.",
        commands=(
            "assess",
            at("buildings", help="Channels of the image, counted from 1."),
            "batch",
        ),
    ),
    Option(
        name="scale", kind=Span(), column=True, takers=("SceneOptions", "ReportOptions"),
        help="Pixel values that become 0 and 255; guessed for imagery of more than 8 bits.",
        commands=(
            "assess", "buildings", "batch",
            at("report", help="Pixel values shown as black and white; guessed for more than 8 "
                "bits."),
        ),
    ),
    Option(
        name="post_sensor", kind=Choice(("optical", "sar")), default="optical", column=True,
        takers=("SceneOptions",), commands=("assess", "batch"),
        help="Sensor of the post image. With sar, --bands and --scale apply to the pre image "
        "only.",
    ),
    Option(
        name="post_bands", kind=Bands(), column=True, takers=("SceneOptions",),
        help="Channels of the post image, if they differ.", commands=("assess", "batch"),
    ),
    Option(
        name="post_scale", kind=Span(), column=True, takers=("SceneOptions",),
        help="Values of the post image that become 0 and 255, if they differ.",
        commands=("assess", "batch"),
    ),
    Option(
        name="nodata", kind=Number(), column=True, takers=("SceneOptions",), metavar="VALUE",
        help="Value of pixels without data, where the image has no tag for it or a wrong one.",
        commands=("assess", "buildings", "batch"),
    ),
    Option(
        name="post_nodata", kind=Number(), column=True, takers=("SceneOptions",),
        metavar="VALUE", commands=("assess", "batch"),
        help="Value of pixels without data in the post image, if it differs.",
    ),
    Option(
        name="registration", kind=Choice(("measure", "apply", "off")), default="measure",
        column=True, takers=("SceneOptions",), commands=("assess", "batch"),
        help="Measure the shift of post and of given footprints; apply also corrects it.",
    ),
    Option(
        name="obscured", kind=Choice(("on", "off")), default="on", column=True,
        takers=("SceneOptions",), commands=("assess", "batch"),
        help="Detect cloud, smoke and constant fill, and grade nothing under them.",
    ),
    Option(
        name="pre_unusable", kind=File(), column=True, takers=("SceneOptions",),
        help="Raster or polygons of unusable ground in the pre image.",
        commands=("assess", "batch"),
    ),
    Option(
        name="post_unusable", kind=File(), column=True, takers=("SceneOptions",),
        help="Raster or polygons of unusable ground in the post image.",
        commands=("assess", "batch"),
    ),
    Option(
        name="unusable_band", kind=Whole(1), default=1, takers=("SceneOptions",),
        help="Band of that raster; pixels that are not 0 are unusable.",
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
