# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters of the Processing algorithms, as those have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)
from qgis.core import QgsProcessingParameterDefinition as Parameter

from geodamage_qgis import settings
from geodamage_qgis.errors import PluginError
from geodamage_qgis.program.commands import (
    BUILDINGS_TTA_CHOICES,
    ENGINE_CHOICES,
    OBSCURED_CHOICES,
    REGISTRATION_CHOICES,
    SENSOR_CHOICES,
    TTA_CHOICES,
    VOTE_CHOICES,
)
from geodamage_qgis.translation import tr

PRE = "PRE"
POST = "POST"
IMAGE = "IMAGE"
MODEL = "MODEL"
MODEL_FILE = "MODEL_FILE"
FOOTPRINTS = "FOOTPRINTS"
ID_FIELD = "ID_FIELD"
AOI = "AOI"
AOI_EXTENT = "AOI_EXTENT"
OUTPUT = "OUTPUT"
RASTER = "RASTER"
PROBABILITIES = "PROBABILITIES"
REPORT = "REPORT"
SUMMARY = "SUMMARY"
DEVICE = "DEVICE"
ENGINE = "ENGINE"
KEEP = "KEEP"
SKIP_BROKEN = "SKIP_BROKEN"
FEATURES = "FEATURES"
TTA = "TTA"
VOTE = "VOTE"
POST_SENSOR = "POST_SENSOR"
REGISTRATION = "REGISTRATION"
OBSCURED = "OBSCURED"
PRE_UNUSABLE = "PRE_UNUSABLE"
POST_UNUSABLE = "POST_UNUSABLE"
UNUSABLE_BAND = "UNUSABLE_BAND"
SEEN_SHARE = "SEEN_SHARE"
NODATA = "NODATA"
POST_NODATA = "POST_NODATA"
IDS_FROM = "IDS_FROM"
THRESHOLD = "THRESHOLD"
REGULARISE = "REGULARISE"
BANDS = "BANDS"
SCALE = "SCALE"
MIN_AREA = "MIN_AREA"
SIMPLIFY = "SIMPLIFY"
TILE = "TILE"
BATCH_SIZE = "BATCH_SIZE"
MEMORY = "MEMORY"
THREADS = "THREADS"
ALLOW_REMOTE = "ALLOW_REMOTE"
OVERWRITE = "OVERWRITE"


def explained(parameter: Parameter, text: str) -> Parameter:
    """Give a parameter its help, which is its tooltip, too."""
    parameter.setHelp(text)
    return parameter


def advanced(parameter: Parameter) -> Parameter:
    """Fold a parameter away."""
    parameter.setFlags(parameter.flags() | Parameter.Flag.FlagAdvanced)
    return parameter


def text(name: str, title: str, help_text: str, default: str | None = None) -> Parameter:
    """Make a parameter that takes words and may be left empty."""
    parameter = QgsProcessingParameterString(name, title, defaultValue=default, optional=True)
    return explained(parameter, help_text)


def number(
    name: str,
    title: str,
    help_text: str,
    *,
    whole: bool = False,
    least: float | None = 0.0,
    most: float | None = None,
) -> Parameter:
    """Make a parameter that takes a number and may be left empty."""
    kind = (
        QgsProcessingParameterNumber.Type.Integer
        if whole
        else QgsProcessingParameterNumber.Type.Double
    )
    parameter = QgsProcessingParameterNumber(name, title, kind, None, True)
    if least is not None:
        parameter.setMinimum(least)
    if most is not None:
        parameter.setMaximum(most)
    return explained(parameter, help_text)


def switch(name: str, title: str, help_text: str, *, default: bool = False) -> Parameter:
    """Make a parameter that is on or off."""
    return explained(QgsProcessingParameterBoolean(name, title, default), help_text)


def choice(name: str, title: str, help_text: str, choices: Iterable[str]) -> Parameter:
    """Make a parameter that takes one of some words, the first unless given."""
    words = list(choices)
    parameter = QgsProcessingParameterEnum(name, title, words, False, words[0], False, True)
    return explained(parameter, help_text)


def images() -> list[Parameter]:
    """Return the parameters of the two images."""
    return [
        _image(PRE, "Images before the disaster", _IMAGE_HELP),
        _image(
            POST,
            "Images after the disaster",
            "As for the pre images. The two may differ in CRS, pixel size, extent and type.",
        ),
    ]


def image() -> Parameter:
    """Return the parameter of the one image."""
    return _image(IMAGE, "Image", _IMAGE_HELP)


_IMAGE_HELP = (
    "One raster layer or GeoTIFF, or the tiles of one mosaic, the top one first. A layer "
    "with a GeoTIFF behind it is read as that file, a plain virtual mosaic (.vrt) as its "
    "tiles; others are exported first."
)


def _image(name: str, title: str, help_text: str) -> Parameter:
    kind = QgsProcessing.SourceType.TypeRaster
    return explained(QgsProcessingParameterMultipleLayers(name, title, kind), help_text)


def models() -> list[Parameter]:
    """Return the parameters of the model: one of the program's, or a file."""
    bundled = text(
        MODEL, "Model",
        "A model of the program, or one of 'Import a model'; the program's default unless given.",
    )  # fmt: skip
    bundled.setMetadata({"widget_wrapper": {"value_hints": settings.models()}})
    return [
        bundled,
        advanced(
            explained(
                QgsProcessingParameterFile(
                    MODEL_FILE, "Model file", optional=True, fileFilter=tr("Models (*.onnx *.toml)")
                ),
                "Another model (.onnx) or ensemble (.toml) instead.",
            )
        ),
    ]


def footprints() -> list[Parameter]:
    """Return the parameters that say where buildings are."""
    return [
        explained(
            _polygons(FOOTPRINTS, "Building footprints"),
            "Grade these polygons instead of finding buildings. None of them is dropped.",
        ),
        explained(
            QgsProcessingParameterField(
                ID_FIELD, "Building ID field of the footprints", None, FOOTPRINTS, optional=True
            ),
            "Becomes building_id; else the footprints' own numbers.",
        ),
    ]


def areas() -> list[Parameter]:
    """Return the parameters that say which buildings are reported."""
    return [
        explained(
            _polygons(AOI, "Area of interest (polygons)"),
            "Only buildings that lie in these polygons are reported.",
        ),
        explained(
            QgsProcessingParameterExtent(AOI_EXTENT, "Area of interest (extent)", optional=True),
            "Only buildings that lie in this rectangle are reported. Give polygons or an extent, "
            "not both.",
        ),
    ]


def _polygons(name: str, title: str) -> Parameter:
    kinds = [QgsProcessing.SourceType.TypeVectorPolygon]
    return QgsProcessingParameterFeatureSource(name, title, kinds, optional=True)


def scene_options() -> list[Parameter]:
    """Return the parameters of grading that few people change."""
    plain = [
        *_work(),
        choice(
            TTA, "Looks at the images",
            "flips: average over flipped images; takes four times as long. enlarged: look at the "
            "enlarged images, too, which finds more small buildings; takes two to three times as "
            "long.", TTA_CHOICES,
        ),
        choice(
            VOTE, "Grade from",
            "probabilities: those of its pixels, summed; pixels: the grade that most of its pixels "
            "have by the rules of the model.", VOTE_CHOICES,
        ),
        choice(
            POST_SENSOR, "Sensor of the post images",
            "optical or sar: a radar image needs a model that takes one; bands and value range are "
            "then of the images before alone.", SENSOR_CHOICES,
        ),
        text(
            KEEP, "Attributes of the footprints",
            "all, none, or names separated by commas: which come with the result; all unless "
            "given.",
        ),
        switch(
            SKIP_BROKEN, "Leave out broken footprints",
            "A broken polygon is left out and named; without it the run is refused.",
        ),
        *_examination(),
        number(
            POST_NODATA, "Fill value of the post images",
            "Value of their pixels without data, if it differs.", least=None,
        ),
        *_image_options("As 3,2,1: red, green and blue of both images, counted from 1."),
    ]  # fmt: skip
    return [advanced(parameter) for parameter in plain]


def _examination() -> list[Parameter]:
    """Return the parameters of what is looked at before anything is graded."""
    return [
        choice(
            REGISTRATION, "Registration",
            "measure: measure the shift of the post images; apply: also correct it; off: measure "
            "nothing.", REGISTRATION_CHOICES,
        ),
        choice(
            OBSCURED, "Cloud, smoke and fill",
            "on: find them, and grade nothing under them; off: do not.", OBSCURED_CHOICES,
        ),
        _unusable(PRE_UNUSABLE, "Unusable ground before"),
        _unusable(POST_UNUSABLE, "Unusable ground after"),
        number(
            UNUSABLE_BAND, "Band of unusable ground", "Of such rasters; 1 unless given.",
            whole=True, least=1,
        ),
        number(
            SEEN_SHARE, "Share that must be seen",
            "A building of which either image shows less is not graded; 0.5 unless given.", most=1,
        ),
    ]  # fmt: skip


def _unusable(name: str, title: str) -> Parameter:
    return explained(
        QgsProcessingParameterFile(name, title, optional=True),
        "A raster that is not 0 where the image is unusable, as a band of a UDM2 file, or "
        "polygons.",
    )


def former() -> Parameter:
    """Return the parameter of an earlier result."""
    parameter = QgsProcessingParameterFile(IDS_FROM, "Earlier result", optional=True)
    return advanced(
        explained(
            parameter,
            "A building that overlaps one of it by more than half takes over its building_id.",
        )
    )


def building_options() -> list[Parameter]:
    """Return the parameters of finding buildings that few people change."""
    plain = [
        *_work(),
        choice(
            TTA, "Looks at the image",
            "flips or full: average over flipped images, which takes four times as long, or over "
            "these and the same transposed, eight times. enlarged: look at the enlarged image, "
            "too, which finds more small buildings; takes three times as long.",
            BUILDINGS_TTA_CHOICES,
        ),
        number(
            THRESHOLD, "Threshold",
            "A pixel is building above this probability; the model's own unless given.", most=1,
        ),
        *_image_options("As 3,2,1: red, green and blue of the image, counted from 1."),
    ]  # fmt: skip
    return [advanced(parameter) for parameter in plain]


def _work() -> list[Parameter]:
    return [
        text(
            DEVICE, "Device",
            "auto, cpu, cuda or cuda:N: where the model runs; auto unless given.", "auto",
        ),
        choice(
            ENGINE, "Engine",
            "What computes on the processor; auto takes openvino where it was found correct and "
            "faster on this machine.", ENGINE_CHOICES,
        ),
    ]  # fmt: skip


def _image_options(bands: str) -> list[Parameter]:
    return [
        text(BANDS, "Bands", bands),
        text(
            SCALE, "Value range",
            "As 0,3000: values that become 0 and 255; guessed for more than 8 bits.",
        ),
        number(
            NODATA, "Fill value",
            "Value of pixels without data, where no tag of the file says it, or a wrong one does.",
            least=None,
        ),
        number(MIN_AREA, "Smallest building, m²", "20 m² unless given."),
        number(SIMPLIFY, "Simplify outlines by, metres", "No simplification unless given."),
        switch(
            REGULARISE, "Right-angled outlines",
            "Give buildings right angles along their main direction, where these fit.",
        ),
        number(
            TILE, "Window size, pixels", "The result does not depend on it.", whole=True, least=1
        ),
        number(BATCH_SIZE, "Windows per batch", "1 unless given.", whole=True, least=1),
        number(
            THREADS, "Threads", "Of the model; all processors unless given.", whole=True
        ),
        switch(
            ALLOW_REMOTE, "Allow remote images",
            "Read http, https and s3 addresses of layers; they are not read unless this is on.",
        ),
    ]  # fmt: skip


def memory() -> Parameter:
    """Return the parameter of the memory of one scene."""
    help_text = "As 800MB: what the work is planned for; 1.5GB unless given."
    return advanced(text(MEMORY, "Memory", help_text))


def overwrite() -> Parameter:
    """Return the parameter that lets results be replaced."""
    return switch(
        OVERWRITE,
        "Overwrite existing files",
        "Without it, a result that is there is left as it is, and nothing is done.",
    )


def result(help_text: str | None = None) -> Parameter:
    """Return the parameter of the layer of buildings."""
    kind = QgsProcessing.SourceType.TypeVectorPolygon
    return explained(
        QgsProcessingParameterVectorDestination(OUTPUT, "Buildings", kind),
        help_text
        or "A file: .gpkg, .geojson, .geojsonl, .fgb, .parquet or .shp. Its facts come beside it, "
        "in OUTPUT.json.",
    )


def raster_file(name: str, title: str, help_text: str) -> Parameter:
    """Make a parameter of an image that is written where one asks for it."""
    parameter = QgsProcessingParameterRasterDestination(name, title, None, True, False)
    return explained(parameter, help_text)


# ------------------------------------------------------------------------------ what was given


def read_bands(given: str) -> tuple[int, ...] | None:
    """Return the numbers of `3,2,1`, or None where nothing is given.

    Raises
    ------
    PluginError
        If it is something else.
    """
    return _read_numbers(given, "Bands", "3,2,1", int)


def read_scale(given: str) -> tuple[float, float] | None:
    """Return the two numbers of `0,3000`, or None where nothing is given.

    Raises
    ------
    PluginError
        If it is something else.
    """
    numbers = _read_numbers(given, "Value range", "0,3000", float)
    if numbers is not None and (len(numbers) != 2 or not numbers[0] < numbers[1]):
        raise PluginError(
            tr("Value range {given}: write two numbers, the lower first, as 0,3000", given=given)
        )
    return numbers


def _read_numbers(given: str, title: str, example: str, kind: type) -> Any:
    if not given.strip():
        return None
    try:
        return tuple(kind(part) for part in given.split(","))
    except ValueError as error:
        raise PluginError(
            tr(
                "{title} {given}: write numbers separated by commas, as {example}",
                title=title,
                given=given,
                example=example,
            )
        ) from error
