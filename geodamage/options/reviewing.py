"""Options of what people look at, and of what follows from their answers."""

from geodamage.options.kinds import Choice, File, Flag, Number, Whole
from geodamage.options.option import Option, at

#: Samples and answers.
REVIEWS: tuple[Option, ...] = (
    Option(
        name="number", kind=Whole(), default=100, short="-n", commands=("sample",),
        takers=("SampleOptions",), help="Number of buildings to draw; with --areas, of cells.",
    ),
    Option(
        name="design", kind=Choice(("stratified", "simple")), default="stratified",
        commands=("sample",), takers=("SampleOptions",),
        help="Strata by predicted grade and certainty, or none.",
    ),
    Option(
        name="seed", kind=Whole(0), default=0, commands=("sample",), takers=("SampleOptions",),
        help="The same seed draws the same sample.",
    ),
    Option(
        name="for", kind=Choice(("estimate", "adapt")), default="estimate", dest="purpose",
        commands=("sample",), takers=("SampleOptions",),
        help="estimate: a random sample; adapt: the buildings that teach a model most.",
    ),
    Option(
        name="estimate_share", kind=Number(0, 1), default=0.0, commands=("sample",),
        takers=("SampleOptions",),
        help="Share of a sample for adapt that is drawn at random, so that it also serves an "
            "estimate.",
    ),
    Option(
        name="reviewed", kind=File(), required=True, metavar="SAMPLE",
        takers=("EstimateOptions",),
        help="The sample; answers are in its field reviewed_damage, or in --answers.",
        commands=(
            "estimate",
            at("adapt", metavar="FILE", takers=(),
                help="Answers: a sample or another layer with the field reviewed_damage, a table "
                "of building_id and damage, or a journal."),
        ),
    ),
    Option(
        name="answers", kind=File(), multiple=True, commands=("estimate", at("adapt", takers=())),
        takers=("EstimateOptions",),
        help="Table of building_id and damage, journal of QGIS, or answers of the report. Give "
        "it again for each reviewer.",
    ),
    Option(
        name="conflicts", kind=Choice(("majority", "worst", "mildest", "latest", "refuse")),
        default="majority", commands=("estimate",), takers=("EstimateOptions",),
        help="Which answer counts where reviewers differ.",
    ),
    Option(
        name="by", kind=File(), metavar="AREAS", takers=("SampleOptions",),
        help="Administrative areas to stratify by.",
        commands=(
            "sample",
            at("estimate", takers=("EstimateOptions",),
                help="Administrative areas to estimate one by one."),
        ),
    ),
    Option(
        name="familiarity", kind=Flag(), default=False, commands=("sample",),
        help="Strata of the quarter that looks least like the training imagery; needs features.",
    ),
    Option(
        name="areas", kind=Flag(), default=False,
        help="Draw cells of ground instead, to find buildings that were missed.",
        commands=(
            "sample",
            at("estimate", kind=File(), default=None, takers=("EstimateOptions",),
                help="Cells of `sample --areas` with their answers."),
        ),
    ),
    Option(
        name="estimate", kind=File(), metavar="JSON", takers=("ReportOptions",),
        help="Also show the totals with intervals that `estimate -o` wrote.",
        commands=(
            "report",
            at("event", takers=(),
                help="Totals with intervals that `estimate -o` wrote: the layer `estimate`, and "
                "fields of the areas."),
        ),
    ),
    Option(
        name="sample", kind=File(), commands=("report",), takers=("ReportOptions",),
        help="Sample to look at: the page begins with a form, whose answers `estimate` reads.",
    ),
)  # fmt: skip
