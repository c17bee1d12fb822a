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
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)
from qgis.core import QgsProcessingParameterDefinition as Parameter

from .commands import TTA_CHOICES, VOTE_CHOICES
from .errors import PluginError

PRE = "PRE"
POST = "POST"
MODEL = "MODEL"
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
TTA = "TTA"
VOTE = "VOTE"
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
    parameter.setFlags(parameter.flags() | Parameter.FlagAdvanced)
    return parameter


def text(name: str, title: str, help_text: str, default: str | None = None) -> Parameter:
    """Make a parameter that takes words and may be left empty."""
    parameter = QgsProcessingParameterString(name, title, defaultValue=default, optional=True)
    return explained(parameter, help_text)


def number(
    name: str, title: str, help_text: str, *, whole: bool = False, least: float = 0.0
) -> Parameter:
    """Make a parameter that takes a number and may be left empty."""
    kind = QgsProcessingParameterNumber.Integer if whole else QgsProcessingParameterNumber.Double
    parameter = QgsProcessingParameterNumber(name, title, kind, None, True, least)
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
    layers = QgsProcessingParameterMultipleLayers
    return [
        explained(
            layers(PRE, "Images before the disaster", QgsProcessing.TypeRaster),
            "One raster layer or GeoTIFF, or the tiles of one mosaic, the top one first. A layer "
            "with a GeoTIFF behind it is read as that file, a plain virtual mosaic (.vrt) as its "
            "tiles; others are exported first.",
        ),
        explained(
            layers(POST, "Images after the disaster", QgsProcessing.TypeRaster),
            "As for the images before. The two may differ in CRS, pixel size, extent and type.",
        ),
    ]


def model() -> Parameter:
    """Return the parameter of the model."""
    return text(
        MODEL,
        "Model",
        "Name of a bundled model (`geodamage models list` names them), or path of a .onnx file or "
        "of an ensemble's .toml; the program's own choice unless given.",
    )


def areas() -> list[Parameter]:
    """Return the parameters that say where buildings are and which are reported."""
    polygons = [QgsProcessing.TypeVectorPolygon]
    return [
        explained(
            QgsProcessingParameterFeatureSource(
                FOOTPRINTS, "Building footprints", polygons, optional=True
            ),
            "Grade these polygons instead of finding buildings. None of them is dropped.",
        ),
        explained(
            QgsProcessingParameterField(
                ID_FIELD, "Field with the identity of footprints", None, FOOTPRINTS, optional=True
            ),
            "Becomes building_id; else the footprints' own numbers.",
        ),
        explained(
            QgsProcessingParameterFeatureSource(
                AOI, "Area of interest (polygons)", polygons, optional=True
            ),
            "Only buildings that lie in these polygons are reported.",
        ),
        explained(
            QgsProcessingParameterExtent(AOI_EXTENT, "Area of interest (extent)", optional=True),
            "Only buildings that lie in this rectangle are reported. Give polygons or an extent, "
            "not both.",
        ),
    ]


def scene_options() -> list[Parameter]:
    """Return the parameters that few people change."""
    plain = [
        text(
            DEVICE, "Device",
            "auto, cpu, cuda or cuda:N: where the model runs; auto unless given.", "auto",
        ),
        choice(
            TTA, "Mirror images",
            "none or flips: average over mirror images; four times the work.", TTA_CHOICES,
        ),
        choice(
            VOTE, "What grades a building",
            "probabilities: those of its pixels, summed; pixels: the grade that most of its pixels "
            "have by the rules of the model.", VOTE_CHOICES,
        ),
        text(BANDS, "Channels", "As 3,2,1: channels of both images, counted from 1."),
        text(
            SCALE, "Scaling",
            "As 0,3000: values that become 0 and 255; for imagery that is not 8-bit.",
        ),
        number(MIN_AREA, "Smallest building, m²", "20 m² unless given."),
        number(SIMPLIFY, "Simplify polygons by, metres", "Not unless given."),
        number(
            TILE, "Window size, pixels", "The result does not depend on it.", whole=True, least=1
        ),
        number(BATCH_SIZE, "Windows a call of the model", "1 unless given.", whole=True, least=1),
        number(
            THREADS, "Threads", "Of the model; all processors unless given.", whole=True
        ),
        switch(
            ALLOW_REMOTE, "Read images on the network",
            "Read http, https and s3 addresses of layers; they are not read unless this is on.",
        ),
    ]  # fmt: skip
    return [advanced(parameter) for parameter in plain]


def overwrite() -> Parameter:
    """Return the parameter that lets results be replaced."""
    return switch(
        OVERWRITE,
        "Replace results that are there",
        "Without it, a result that is there is left as it is, and nothing is done.",
    )


# ------------------------------------------------------------------------------ what was given


def read_bands(given: str) -> tuple[int, ...] | None:
    """Return the numbers of `3,2,1`, or None where nothing is given.

    Raises
    ------
    PluginError
        If it is something else.
    """
    return _read_numbers(given, "Channels", "3,2,1", int)


def read_scale(given: str) -> tuple[float, float] | None:
    """Return the two numbers of `0,3000`, or None where nothing is given.

    Raises
    ------
    PluginError
        If it is something else.
    """
    numbers = _read_numbers(given, "Scaling", "0,3000", float)
    if numbers is not None and (len(numbers) != 2 or not numbers[0] < numbers[1]):
        raise PluginError(f"Scaling {given}: write two numbers, the lower first, as 0,3000")
    return numbers


def _read_numbers(given: str, title: str, example: str, kind: type) -> Any:
    if not given.strip():
        return None
    try:
        return tuple(kind(part) for part in given.split(","))
    except ValueError as error:
        raise PluginError(
            f"{title} {given}: write numbers separated by commas, as {example}"
        ) from error
