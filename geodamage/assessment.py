"""The main job: two images in, graded buildings out, with every file that belongs to them."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, overload

import geopandas as gpd

from geodamage.adaptation.event_model import EventModel
from geodamage.adaptation.extraction import Extraction
from geodamage.adaptation.feature_file import EXTENSIONS as FEATURE_EXTENSIONS
from geodamage.adaptation.following import FOLLOWING_BYTES, Following
from geodamage.adaptation.loading import adapted_facts, find_event_model, load_base, model_source
from geodamage.adaptation.network import FeatureNetwork
from geodamage.buildings.finding import find_buildings
from geodamage.buildings.footprint_files import Footprints, read_footprints
from geodamage.buildings.footprints import voting_places
from geodamage.buildings.votes import count_pixels, plain
from geodamage.errors import OptionError
from geodamage.familiarity.looking import Familiarity, familiarity_of, find_reference
from geodamage.fields import GIVEN_FIELDS, empty_frame
from geodamage.given import GivenFootprints, footprint_facts, require_outlines
from geodamage.job import (
    Progress,
    Result,
    RunOptions,
    Source,
    call_values,
    job_fields,
    refuse_beside_job,
    run_at_once,
    with_options,
)
from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble
from geodamage.model.loading import find_model
from geodamage.model.onnx import Model
from geodamage.output.layers import read_layer
from geodamage.output.publication import Publication, check_output
from geodamage.plan import Plan
from geodamage.post_only import PAIR, check_images, doubts, mode_facts, refuse_event_model
from geodamage.prediction import Strip, run_plan
from geodamage.report.findings import STATEMENT
from geodamage.report.pictures import imagery_of
from geodamage.report.view import make_view
from geodamage.report.writing import add_page, check_page
from geodamage.run import Run
from geodamage.summary import Summary
from geodamage.work import Work, long_work

__all__ = ["STATEMENT", "Job", "Progress", "Source", "Summary", "assess"]


@dataclass(frozen=True, kw_only=True)
class Job(RunOptions):
    """One assessment: what goes in, what comes out, and how.

    Every value is checked when the job is made, in the words of `geodamage assess`.

    Attributes
    ----------
    pre
        Pre image: a GeoTIFF, a folder, a glob, `@list.txt`, or several of them.
    post
        Post image, in the same forms.
    output
        Vector file; the extension picks the format.
    model
        Name of a bundled model, or a path.
    device
        `auto`, `cpu`, `cuda`, `cuda:N`, `tensorrt`, `tensorrt:N` or `openvino`.
    threads
        CPU threads for inference; 0 takes every processor.
    engine
        What computes on the processor: `onnxruntime`, `openvino`, or `auto`, which is OpenVINO
        where it was found to be correct and faster on this machine.
    precision
        Number format of the computation: `float32`, `bfloat16`, `int8` or `auto`. `auto` is
        `bfloat16` if the card allows it and it was found to be faster, otherwise the format of the
        file.
    tta
        `none`; `flips` to average over four mirror images; `enlarged` to look at the image enlarged
        by half, too, and keep what either look finds.
    vote
        `probabilities`, or `pixels`. With `pixels`, the rules of the model grade each pixel first.
        Buildings are made of those pixels, and each takes the grade of most of its pixels.
    post_only
        Grade the footprints by the post image alone; `pre` is empty then.
    footprints
        Vector file of polygons to grade instead of finding buildings.
    id_field
        Field of the footprints that holds their identity.
    keep
        Attributes of the footprints that come with the result: `all`, `none`, or names separated by
        commas.
    skip_broken
        Leave out footprints that cannot be read, and count them.
    raster
        COG of grades: of each pixel where the model has rules for pixels, else of the buildings.
    probabilities
        COG of probabilities, five channels.
    report
        HTML page, complete in one file.
    features
        File of the features of each building, `.npz`; `geodamage.adaptation` learns from them.
    scene
        How the images are read, `SceneOptions`.
    buildings
        How polygons are made, `BuildingOptions`.
    tile
        Window size, pixels; None takes the model's. The result does not depend on it.
    batch_size
        Windows per model call.
    memory
        Memory that the work is planned for: bytes, or a text such as `2GB`.
    date
        Date of the post image, for the sidecar. Merging many scenes uses it.
    ids_from
        Earlier result; a building that overlaps one of its buildings by more than half of their
        union takes over its `building_id`.
    overwrite
        Replace results that are there already.
    """

    pre: Source
    post: Source
    vote: str = "probabilities"
    post_only: bool = False
    footprints: Path | None = None
    id_field: str | None = None
    keep: str = "all"
    skip_broken: bool = False
    report: Path | None = None
    features: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ids_from is not None and self.footprints is not None:
            raise OptionError(
                "--ids-from and --footprints: give one of the two; footprints have their own ids"
            )
        if self.tta == "enlarged" and self.footprints is not None:
            raise OptionError(
                "--tta enlarged and --footprints: give one of the two; the second look finds "
                "buildings, and footprints need no finding"
            )
        if self.post:  # the defaults of a batch have no images
            check_images(self)


Predict = Callable[..., Iterator[Strip]]


@overload
def assess(pre: Job, *, predict: Predict = run_plan) -> Work[Progress, Result[Summary]]: ...


@overload
def assess(
    pre: Source,
    post: Source,
    *,
    output: str | PathLike[str] | None = None,
    progress: Callable[[Progress], object] | None = None,
    date: str | None = None,
    **options: Any,
) -> Result[Summary]: ...


@with_options("assess", "Job")
def assess(
    pre: Job | Source,
    post: Source | None = None,
    *,
    output: str | PathLike[str] | None = None,
    progress: Callable[[Progress], object] | None = None,
    date: str | None = None,
    predict: Predict = run_plan,
    **options: Any,
) -> Result[Summary] | Work[Progress, Result[Summary]]:
    """Grade the damage of every building between two images.

        result = geodamage.assess("pre.tif", "post.tif")
        result.buildings, result.summary, result.warnings, result.facts

    With `output`, the same files are written as by `geodamage assess`. With a `Job` alone, the work
    is returned before it begins, and iterating it yields its progress.

    Parameters
    ----------
    pre
        Pre image: a GeoTIFF, a folder, a glob, `@list.txt`, or several of them; or a `Job`.
    post
        Post image, in the same forms. With `post_only`, give the post image alone, as the first
        argument.
    output
        Vector file to write; the extension picks the format. The sidecar stands beside it.
    progress
        Called with each `Progress`: `stage`, `done` of `total` pixels, `buildings`, `message`.
    date
        Date of the post image, for the sidecar.
    predict
        With a `Job`: a function called like `run_plan`. It yields the same strips, and a cluster
        may compute them.
    OPTIONS

    Returns
    -------
    `Result`; of a `Job` a `Work` that has it as its result.

    Raises
    ------
    GeodamageError
        If something is refused or fails; `geodamage.errors` lists the kinds.
    TypeError
        If there is no such option.
    """
    if isinstance(pre, Job):
        given = {"post": post, "output": output, "progress": progress, "date": date} | options
        refuse_beside_job(given)
        return _assessment(pre, predict)
    if options.get("post_only") and post is None:
        pre, post = (), pre
    if post is None:
        raise TypeError("give a post image; localise finds the buildings of one image")
    values = job_fields("assess", "Job", call_values("assess", "Job", options))

    def begin(file: Path) -> Work[Progress, Result[Summary]]:
        return _assessment(Job(pre=pre, post=post, output=file, date=date, **values), predict)

    return run_at_once(begin, output, progress)


@long_work
def _assessment(job: Job, predict: Predict) -> Generator[Progress, None, Result[Summary]]:
    return (yield from _Assessment(job, predict).steps())


class _Assessment(Run[Job, Summary]):
    """A run that grades buildings."""

    def __init__(self, job: Job, predict: Predict) -> None:
        super().__init__(job)
        self._predict = predict
        self._footprints: Footprints | None = None
        self._event: EventModel | None = None
        self._following: Following | None = None
        self._familiarity = Familiarity()

    @property
    def by_pixel(self) -> bool:
        """Whether the raster holds the grades of pixels, not those of buildings."""
        return self.model.has_pixel_rules and self.job.raster is not None and not self.job.post_only

    @property
    def _mode(self) -> dict[str, Any]:
        """What the sidecar says of the images that grades are of."""
        job = self.job
        return mode_facts(job.model, self.card) if job.post_only else {"mode": PAIR}

    def images(self) -> tuple[Source | None, Source | None]:
        """Return the pre and the post image."""
        return (None if self.job.post_only else self.job.pre), self.job.post

    def other_inputs(self) -> Sequence[Path | None]:
        """Return the files that are read beside the images."""
        scene = self.job.scene
        return (self.job.footprints, scene.aoi, scene.pre_unusable, scene.post_unusable)

    def outputs(self) -> list[Path | None]:
        """Return all files that are asked for."""
        return [*super().outputs(), self.job.report]

    def check_outputs(self, inputs: Sequence[Path]) -> None:
        """Check that all that is asked for can be written, and replaces no input."""
        super().check_outputs(inputs)
        if self.job.report is not None:
            check_page(self.job.report, inputs=inputs, overwrite=self.job.overwrite)
        if self.job.features is not None:
            check_output(
                self.job.features,
                inputs=inputs,
                overwrite=self.job.overwrite,
                extensions=FEATURE_EXTENSIONS,
            )

    def load(self) -> Model | Ensemble:
        """Load the model; of an event model the one that it starts from."""
        self._event = find_event_model(self.job.model)
        job = self.job
        if self._event is None:
            model = super().load()
            require_outlines(model.card, job.footprints)
            return model
        if job.post_only:
            refuse_event_model(job.model)
        return load_base(
            self._event,
            device=job.device,
            threads=job.threads,
            engine=job.engine,
            precision=job.precision,
            tta=job.tta,
        )

    def card_for(self, card: Card) -> Card:
        """Return the card by which buildings are graded."""
        return plain(card) if self.job.vote == "pixels" else card

    @property
    def resident_bytes(self) -> int:
        """Memory that stays taken while the scene is predicted."""
        given = 0 if self._footprints is None else self._footprints.resident_bytes
        return super().resident_bytes + given + (FOLLOWING_BYTES if self._follows else 0)

    @property
    def _follows(self) -> bool:
        """Whether features are taken of the buildings."""
        return self._event is not None or self.job.features is not None

    def open_products(self, publication: Publication, stack: ExitStack) -> None:
        """Open the file of features."""
        path = self.job.features
        if path is None or self._following is None:
            return
        source = model_source(self.job.model, self._event)
        about = {"model": source, "model_sha256": self.card.sha256}
        stack.enter_context(self._following.kept(publication.partial(path), about))

    def model_facts(self) -> dict[str, Any]:
        """Return what the sidecar says of the model; of an event model what it starts from."""
        facts = super().model_facts()
        return facts if self._event is None else adapted_facts(facts, self._event)

    def prepare(self) -> None:
        """Look at how familiar the scene is, read footprints, and load what makes features."""
        job, scene = self.job, self.scene
        self._compare()
        if self._follows:
            network = FeatureNetwork(device=job.device, threads=job.threads)
            self._following = Following(network, Extraction(scene, network, self.card), self._event)
        if job.footprints is not None:
            self._footprints = read_footprints(
                job.footprints,
                scene.grid,
                id_field=job.id_field,
                keep=job.keep,
                skip_broken=job.skip_broken,
            )
            self._footprints.require_overlap(scene)
            self.fields = (*GIVEN_FIELDS, *self._footprints.kept)
            self.geometry_type = self._footprints.geometry_type
            self.doubts += self._footprints.notes

    def _compare(self) -> None:
        """Say how the scene lies to what the model learnt from."""
        if self.job.post_only:
            self._familiarity = Familiarity(reason="there is no pre image")
            self.doubts += doubts(self._mode, self.card)
            return
        path = find_model(model_source(self.job.model, self._event))
        reference, blocks = find_reference(path, self.model.card), self.scene.take_blocks()
        is_known = reference is not None
        network = FeatureNetwork(device="cpu", threads=self.job.threads) if is_known else None
        self._familiarity = familiarity_of(blocks, reference, network, self.model.card)
        self.doubts += self._familiarity.doubts()
        self.remarks += self._familiarity.remarks()

    def counted(self, pixels: int, area: float) -> Summary:
        """Return an empty summary."""
        summary = Summary(pixels=pixels, pixel_area=area)
        if self._footprints is None:
            summary.are_candidates = True
            # The card tells of one look; a second one finds more that is no building.
            if self.job.tta != "enlarged":
                summary.real_share = self.model.card.precision_iou50
        return summary

    @property
    def predicts_in_turn(self) -> bool:
        """Whether one strip is predicted after the other, here, and not on a cluster."""
        return self._predict is run_plan

    def predicted(self, plan: Plan) -> Iterator[Strip]:
        """Predict the scene, and grade its pixels where that is asked for."""
        with_grades, asked = self.by_pixel or self.job.vote == "pixels", self._footprints
        is_shown = self.job.probabilities is not None or self.by_pixel
        # Footprints that may be moved need what the model says beside them.
        if asked and self.job.scene.registration != "apply" and not is_shown:
            plan = replace(plan, only=voting_places(asked, self.scene.grid))
        elif not (asked or is_shown or with_grades):
            plan = replace(plan, graded_above=self.card.threshold)
        return self._predict(self.scene, self.model, plan, with_grades=with_grades)

    def found(self, strips: Iterator[Strip]) -> Iterator[gpd.GeoDataFrame]:
        """Return the graded buildings of the strips, in the way that the job asks for."""
        frames = self._graded(strips)
        return frames if self._following is None else self._following.followed(frames)

    def _graded(self, strips: Iterator[Strip]) -> Iterator[gpd.GeoDataFrame]:
        """Return the buildings with the grades of the model."""
        by_vote = self.job.vote == "pixels"
        if self._footprints is not None:
            self.summary.placement = {}
            given = GivenFootprints(
                scene=self.scene,
                footprints=self._footprints,
                card=self.card,
                # Outlines are looked for in the pre image.
                registration="off" if self.job.post_only else self.job.scene.registration,
                by_vote=by_vote,
                seen_share=self.job.scene.seen_share,
                predict=lambda window: self._predict(self.scene, self.model, self.plan_of(window)),
                said=self.summary.placement,
            )
            return given.graded(strips, empty_frame(self.scene.grid.crs, self.fields))
        return find_buildings(
            count_pixels(strips, self.model.card.threshold) if by_vote else strips,
            self.scene.grid,
            self.scene.region,
            self.card,
            options=self.job.buildings,
            counts=self.counts,
            seen_share=self.job.scene.seen_share,
            former=self.former(),
        )

    def own_facts(self) -> dict[str, Any]:
        """Return what the sidecar says of the options and the figures."""
        job, card, model = self.job, self.card, self.model
        return {
            **self._mode,
            "vote": job.vote,
            "pixels": {"own": model.has_pixel_rules, **asdict(model.rules)},
            "thresholds": {
                "localisation": None if job.vote == "pixels" else card.threshold,
                "seeds": card.seed_threshold,
                "seed_depth": card.seed_depth,
                "damaged": (self._event or card).damaged_threshold,
                "temperature": card.temperature,
                "grade_weights": list(card.grade_weights),
                **job.buildings.facts(),
            },
            "familiarity": self._familiarity.facts(),
            "footprints": footprint_facts(self._footprints, self.summary.placement),
            "features": None if job.features is None else {"file": job.features.name},
            **self.count_facts(),
        }

    def finish(
        self, publication: Publication, buildings: Path, facts: dict[str, Any]
    ) -> Iterator[Progress]:
        """Write the page of what was found."""
        job = self.job
        if job.report is None:
            return
        yield Progress("write", message="writing the report")
        read = job.scene
        imagery = imagery_of(
            facts,
            None if job.post_only else job.pre,
            job.post,
            aoi=read.aoi,
            scale=read.scale,
            post_scale=read.post_scale,
            post_sensor=read.post_sensor,
            allow_remote=read.allow_remote,
        )
        view = make_view(read_layer(buildings), facts, source=job.output.name, imagery=imagery)
        add_page(publication, view, job.report)
