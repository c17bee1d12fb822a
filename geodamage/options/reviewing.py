"""Options of what people look at, and of what follows from their answers."""

from geodamage.options.kinds import Choice, File, Flag, Number, Whole
from geodamage.options.option import Option, at

#: Samples and answers.
REVIEWS: tuple[Option, ...] = (
    Option(
        name="number", kind=Whole(), default=100, short="-n", commands=("sample",),
        takers=("SampleOptions",), help="Buildings to look at; with --areas, cells.",
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
        help="estimate: drawn by chance; adapt: those that teach a model most.",
    ),
    Option(
        name="estimate_share", kind=Number(0, 1), default=0.0, commands=("sample",),
        takers=("SampleOptions",),
        help="Share of a sample for adapt that is drawn by chance, for an estimate, too.",
    ),
    Option(
        name="reviewed", kind=File(), required=True, metavar="SAMPLE",
        takers=("EstimateOptions",),
        help="The sample; its answers stand in the field reviewed_damage, or in --answers.",
        commands=(
            "estimate",
            at("adapt", metavar="FILE", takers=(),
                help="Answers: a sample or another layer with the field reviewed_damage, a table "
                "of building_id and damage, or a journal."),
        ),
    ),
    Option(
        name="answers", kind=File(), multiple=True, commands=("estimate",),
        takers=("EstimateOptions",),
        help="Table of building_id and damage, journal of QGIS, or answers of the report; again "
        "for each reviewer.",
    ),
    Option(
        name="conflicts", kind=Choice(("majority", "worst", "mildest", "latest", "refuse")),
        default="majority", commands=("estimate",), takers=("EstimateOptions",),
        help="What counts where reviewers differ.",
    ),
    Option(
        name="by", kind=File(), metavar="AREAS", takers=("SampleOptions",),
        help="Administrative areas that have strata of their own.",
        commands=(
            "sample",
            at("estimate", takers=("EstimateOptions",),
                help="Administrative areas to estimate each of."),
        ),
    ),
    Option(
        name="familiarity", kind=Flag(), default=False, commands=("sample",),
        help="Strata of the quarter that looks least like the training imagery; needs features.",
    ),
    Option(
        name="areas", kind=Flag(), default=False,
        help="Draw cells of ground instead, to look at in full: they show what was missed.",
        commands=(
            "sample",
            at("estimate", kind=File(), default=None, takers=("EstimateOptions",),
                help="Cells of `sample --areas` with their answers."),
        ),
    ),
    Option(
        name="estimate", kind=File(), metavar="JSON", takers=("ReportOptions",),
        help="Show the totals with intervals that `estimate -o` wrote, too.",
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
