"""Reports: an assessment as a page that opens offline, as a PNG map and as a one-page PDF."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from geodamage._version import __version__
from geodamage.errors import InputError, OptionError
from geodamage.options.lookup import check_fields
from geodamage.output.layers import pair_doubt, read_facts, read_layer
from geodamage.output.publication import (
    Publication,
    check_output,
    output_errors,
    sidecar_path,
)
from geodamage.report.estimates import estimate_tables, read_estimate
from geodamage.report.event_view import is_event, view_event
from geodamage.report.form import Form, make_form
from geodamage.report.maps import MAP_EXTENSIONS, PDF_EXTENSIONS, write_sheet
from geodamage.report.page import render, require_report_extra
from geodamage.report.pictures import Source, imagery_of
from geodamage.report.view import View, Words, is_post_only, make_view, statement
from geodamage.sources import find

PAGE_EXTENSIONS = (".html", ".htm")


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report is made of, beside the page."""

    words: Words = field(default_factory=Words)
    """Heading, dates and colours."""
    map: Path | None = None
    """PNG map to write, too."""
    pdf: Path | None = None
    """One-page PDF to write, too."""
    scale: tuple[float, float] | None = None
    """What becomes black and white in the images; None where they are as assess takes them."""
    allow_remote: bool = False
    """Whether the images may be URLs."""
    estimate: Path | None = None
    """What `geodamage estimate` wrote: totals with intervals."""
    sample: Path | None = None
    """What `geodamage sample` drew: the page begins with a form that asks what people see."""

    def __post_init__(self) -> None:
        check_fields(self)


def write_report(
    buildings: Path,
    output: Path,
    *,
    pre: Source | None = None,
    post: Source | None = None,
    options: ReportOptions = ReportOptions(),
    overwrite: bool = False,
) -> View:
    """Write the report of an assessment; all files of it appear, or none.

    Parameters
    ----------
    buildings
        Layer of `geodamage assess`; its sidecar stands beside it.
    output
        The page, `.html`.
    pre, post
        The images that were assessed; without them the map has no imagery.
    options
        What else.
    overwrite
        Replace files that are there.

    Returns
    -------
    What is shown.

    Raises
    ------
    OptionError
        If one image is given without the other, or a name makes no sense.
    InputError
        If the layer is no result of an assessment; `SceneError`, `SceneReadError` of the images.
    OutputError
        If a file cannot be written; `OutputExistsError` if it is there.
    MissingExtraError
        If the packages for reports are not installed.
    """
    require_report_extra()
    if pre is not None or not _is_alone(buildings):
        _check_pair(pre, post)
    if options.sample is not None and post is None:
        raise OptionError("--sample needs --pre and --post: its form shows the buildings")
    _check_targets(buildings, output, options, (pre, post), overwrite=overwrite)
    facts = read_facts(buildings)
    if is_event(facts):
        if post is not None:
            raise OptionError(
                f"{buildings} is an event of many scenes; give no --pre and --post with it"
            )
        view = _estimated(view_event(buildings, words=options.words), options)
        publish(view, output, options=options, overwrite=overwrite)
        return view
    imagery = None
    if post is not None:
        imagery = imagery_of(
            facts, pre, post, scale=options.scale, allow_remote=options.allow_remote
        )
    layer = read_layer(buildings)
    view = make_view(layer, facts, source=buildings.name, words=options.words, imagery=imagery)
    view = _estimated(replace(view, doubt=pair_doubt(buildings, facts, layer)), options)
    form = None
    if options.sample is not None and imagery is not None:
        form = make_form(options.sample, view, imagery)
    publish(view, output, options=options, overwrite=overwrite, form=form)
    return view


def write_event_report(
    event: Path,
    output: Path,
    *,
    options: ReportOptions = ReportOptions(),
    overwrite: bool = False,
) -> View:
    """Write the report of an event: its totals, scenes and cells, and a map without imagery.

    Parameters
    ----------
    event
        GeoPackage of `geodamage event` or `geodamage batch`; its sidecar stands beside it.
    output
        The page, `.html`.
    options
        What else.
    overwrite
        Replace files that are there.

    Returns
    -------
    What is shown.

    Raises
    ------
    GeodamageError
        What `write_report` raises.
    """
    require_report_extra()
    _check_targets(event, output, options, (), overwrite=overwrite)
    view = _estimated(view_event(event, words=options.words), options)
    publish(view, output, options=options, overwrite=overwrite)
    return view


def _estimated(view: View, options: ReportOptions) -> View:
    """Return a view with the estimate that the options name."""
    if options.estimate is None:
        return view
    found = read_estimate(options.estimate, view.findings.graded)
    return replace(view, estimate=found, tables=(*estimate_tables(found), *view.tables))


def publish(
    view: View, output: Path, *, options: ReportOptions, overwrite: bool, form: Form | None = None
) -> None:
    """Write the page of a view, its map and its PDF, together or not at all."""
    with Publication(overwrite=overwrite) as publication:
        add_page(publication, view, output, form)
        for path in (options.map, options.pdf):
            if path is not None:
                write_sheet(view, publication.partial(path), path.suffix.lower())
                publication.sidecar(path, _facts(view))


def add_page(publication: Publication, view: View, output: Path, form: Form | None = None) -> None:
    """Write the page of a view as one of the files of a run."""
    text = render(view, form)
    partial = publication.partial(output, bytes_needed=len(text))
    with output_errors(output):
        partial.write_text(text, encoding="utf-8", newline="\n")
    publication.sidecar(output, _facts(view))


def check_page(
    output: Path, *, inputs: Sequence[str | os.PathLike[str]], overwrite: bool = False
) -> None:
    """Check, before any work, that a page can be made and written.

    Raises
    ------
    MissingExtraError
        If the packages for reports are not installed.
    OptionError, OutputError
        If the name makes no sense or is taken.
    """
    require_report_extra()
    check_output(output, inputs=inputs, overwrite=overwrite, extensions=PAGE_EXTENSIONS)


def _is_alone(buildings: Path) -> bool:
    """Say whether a result is of the post image alone; what cannot be read is refused later."""
    try:
        return is_post_only(read_facts(buildings))
    except InputError:
        return False


def _check_pair(pre: Source | None, post: Source | None) -> None:
    if (pre is None) != (post is None):
        given, other = ("--pre", "--post") if post is None else ("--post", "--pre")
        raise OptionError(f"{given} is given without {other}; give both, or neither")


def _check_targets(
    buildings: Path,
    output: Path,
    options: ReportOptions,
    images: tuple[Source | None, ...],
    *,
    overwrite: bool,
) -> None:
    """Check that each file of a report can be written, and that no two have one name."""
    inputs: list[str | os.PathLike[str]] = [buildings, sidecar_path(buildings)]
    inputs += [path for path in (options.estimate, options.sample) if path is not None]
    for source in images:
        if source is not None:
            inputs += find(source, allow_remote=options.allow_remote)
    targets = [
        (output, PAGE_EXTENSIONS),
        (options.map, MAP_EXTENSIONS),
        (options.pdf, PDF_EXTENSIONS),
    ]
    for path, extensions in targets:
        if path is not None:
            check_output(path, inputs=inputs, overwrite=overwrite, extensions=extensions)


def _facts(view: View) -> Mapping[str, Any]:
    """Return what the sidecar of a report says."""
    found = view.findings
    return {
        "statement": statement(view.facts),
        "created": view.facts.get("created"),
        "software": {"geodamage": __version__},
        "layer": view.source,
        "buildings": found.buildings,
        "buildings_per_grade": {total.grade.label: total.count for total in found.grades},
        "not_assessed": found.not_assessed,
        "drawn_as_shapes": len(view.drawn),
        "imagery": view.dates is not None,
    }
