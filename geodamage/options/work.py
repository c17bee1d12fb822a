"""Options of how the work is done, and of what is said of it."""

from geodamage.options.kinds import Choice, Flag, Number, Size, Text, Whole
from geodamage.options.option import Option, at

#: Windows, memory, processors, machines.
WORK: tuple[Option, ...] = (
    Option(
        name="tile", kind=Whole(), unit="pixels", metavar="PIXELS", column=True,
        takers=("Job", "LocalisationJob", "TimingJob"),
        help="Window size; the result does not depend on it.",
        commands=(
            "assess", "buildings", "batch",
            at("models bench", help="Window with its halo; that of the card unless given."),
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
        takers=("TimingJob",), help="How often each model runs.",
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
            at("batch", default=None, takers=("BatchJob",),
                help="Memory of all workers; most of what is free unless given."),
            at("evaluate", help="Memory to plan for; images above the tile are cut up to fit."),
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
            at("batch", help="CPU threads for each scene; 0 shares the processors out."),
            "evaluate", "models optimise", "models bench",
        ),
    ),
    Option(
        name="shard", kind=Text(), metavar="K/N", commands=("batch",),
        help="Assess only the K-th of N shares, with a ledger of its own.",
    ),
    Option(
        name="retry_failed", kind=Flag(), default=False, commands=("batch",),
        takers=("BatchJob",), help="Assess scenes that failed again.",
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
        help="Split larger scenes among the cluster's workers, strip by strip.",
    ),
)  # fmt: skip

#: What may be replaced, and what is said.
WORDS: tuple[Option, ...] = (
    Option(
        name="allow_remote", kind=Flag(), default=False,
        takers=("SceneOptions", "ReportOptions"), help="Read http(s), s3, gs and az URLs.",
        commands=(
            "assess", "buildings", "batch", "report",
            at("footprints", takers=("FootprintsJob",), help="Read published data from servers."),
        ),
    ),
    Option(
        name="overwrite", kind=Flag(), default=False, help="Replace existing results.",
        takers=("Job", "LocalisationJob", "EvaluationJob", "OptimisationJob"),
        commands=(
            "assess", "buildings",
            at("batch", takers=("BatchJob",),
                help="Replace results that the ledger does not know."),
            at("event", help="Replace the existing event."),
            at("footprints", takers=("FootprintsJob",), help="Replace existing footprints."),
            "report",
            at("adapt", takers=(), help="Replace an existing event model."),
            at("regrade", takers=()),
            at("sample", help="Replace an existing sample, and the answers in it."),
            at("estimate", help="Replace an existing estimate."),
            at("export", help="Replace existing files."),
            at("compare", help="Replace existing files."),
            at("evaluate", help="Replace existing masks."),
            at("masks", help="Replace existing masks."),
            at("georeference", help="Replace existing GeoTIFFs."),
            "models import",
            at("models optimise", help="Replace existing variants."),
        ),
    ),
    Option(
        name="json", kind=Flag(), default=False, dest="as_json", help="Write JSON.",
        commands=(
            at("event", help="One JSON object on stdout."),
            at("footprints", help="One JSON object on stdout: what the sidecar says."),
            at("adapt", help="One JSON object on stdout: the card of the event model."),
            at("estimate", help="One JSON object on stdout, with every figure."),
            at("compare", help="One JSON object on stdout, with every figure."),
            at("evaluate", help="One JSON object on stdout, with every figure and event."),
            at("score", help="One JSON object on stdout, the official keys first."),
            at("georeference", help="One JSON object on stdout, with every fit."),
            "models list", "models show", "models networks", "models bench",
            at("models optimise", help="Write the report as JSON."),
            "options",
        ),
    ),
    Option(
        name="published", kind=Flag(), default=False, commands=("models list",),
        help="List the weights that others publish, and how to import them; nothing is downloaded.",
    ),
    Option(
        name="progress", kind=Choice(("auto", "json")), default="auto",
        help="json: one object per line on stderr, for programs.",
        commands=("assess", "buildings", "batch"),
    ),
    Option(
        name="quiet", kind=Flag(), default=False, short="-q", help="Print errors only.",
        commands=(
            "assess", "buildings", "batch", "report", "adapt", "regrade", "export", "masks",
            *(at(name, help="Print errors only on stderr.")
              for name in ("event", "footprints", "sample", "estimate", "compare", "evaluate",
                           "score", "georeference", "models optimise", "models bench")),
        ),
    ),
    Option(
        name="verbose", kind=Flag(), default=False, short="-v", help="Print more.",
        commands=("assess", "buildings", "batch"),
    ),
)  # fmt: skip
