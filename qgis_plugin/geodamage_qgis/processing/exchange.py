# SPDX-License-Identifier: GPL-2.0-or-later
"""The algorithms that hand results on: `geodamage:export`, `:compare` and `:event`."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorLayer,
)
from qgis.core import QgsProcessingParameterDefinition as Parameter

from geodamage_qgis.errors import PluginError
from geodamage_qgis.processing import parameters
from geodamage_qgis.processing.result_files import (
    POLYGONS,
    RESULT,
    RESULTS,
    ResultAlgorithm,
    areas,
    file_of,
)
from geodamage_qgis.processing.tool import Dresser, Values, write_page
from geodamage_qgis.program.exchange import (
    EXPORT_EXTENSIONS,
    GEOMETRY_CHOICES,
    GEOPARQUET_CHOICES,
    OFFICIAL_CHOICES,
    SCHEMA_CHOICES,
    UNLISTED_CHOICES,
    CompareParameters,
    EventParameters,
    ExportParameters,
    compare_command,
    compare_html,
    event_command,
    export_command,
)
from geodamage_qgis.program.facts import read_facts, summary_html
from geodamage_qgis.program.learning import read_figures
from geodamage_qgis.translation import tr

PAGE = "PAGE"
OFFICIAL = "OFFICIAL"
WITHIN = "WITHIN"
POPULATION = "POPULATION"
FOLDER = "FOLDER"

#: Names of the formats of an export, for its file dialog.
_FORMATS = {
    ".gpkg": "GeoPackage", ".geojson": "GeoJSON", ".geojsonl": "GeoJSON", ".fgb": "FlatGeobuf",
    ".parquet": "GeoParquet", ".shp": "Shapefile", ".kml": "KML", ".kmz": "KML", ".csv": "CSV",
    ".xlsx": "Excel", ".pmtiles": "PMTiles",
}  # fmt: skip


class Export(ResultAlgorithm):
    """Write a result in the format and the fields that others use."""

    command = "export"
    title = "Export a result"
    about = (
        "Writes a result in the format and with the fields that others use: those of Copernicus "
        "EMS, UNOSAT, FEMA, EMS-98 or Microsoft. The extension of the file picks the format. The "
        "log and the file beside the export (OUTPUT.json) say what the schema loses."
    )
    keywords = ("damage", "export", "shapefile", "kml", "excel", "copernicus", "unosat", "fema")
    layers = (RESULT,)

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        filters = ";;".join(f"{_FORMATS[end]} (*{end})" for end in EXPORT_EXTENSIONS)
        declared = [
            QgsProcessingParameterVectorLayer(RESULT, "Result", [POLYGONS]),
            parameters.choice(
                "SCHEMA", "Schema", "Fields and words of the export.", SCHEMA_CHOICES
            ),
            parameters.switch(
                "LABELS", "Words instead of codes", "Where the schema has codes."
            ),
            parameters.choice(
                "GEOMETRY", "Geometry",
                "polygon or point; auto takes what the schema draws.", GEOMETRY_CHOICES,
            ),
            *(parameters.advanced(parameter) for parameter in _export_options()),
            parameters.overwrite(),
            QgsProcessingParameterFileDestination(parameters.OUTPUT, "Export", filters),
        ]  # fmt: skip
        self.declare(declared)

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse a format that the tool does not write, too."""
        super().check(values, context)
        path = values.get(parameters.OUTPUT)
        if not isinstance(path, str) or path == QgsProcessing.TEMPORARY_OUTPUT:
            return
        if Path(path).suffix.lower() not in EXPORT_EXTENSIONS:
            ends = ", ".join(EXPORT_EXTENSIONS)
            raise PluginError(
                tr("{path}: an export is one of {ends}; rename it", path=path, ends=ends)
            )

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Export the result."""
        asked = ExportParameters(
            result=str(self.file(RESULT)),
            output=self.parameterAsFileOutput(values, parameters.OUTPUT, context),
            schema=self.parameterAsEnumString(values, "SCHEMA", context),
            labels=self.switch(values, "LABELS", context),
            geometry=self.parameterAsEnumString(values, "GEOMETRY", context),
            wkt=self.switch(values, "WKT", context),
            geoparquet=self.parameterAsEnumString(values, "GEOPARQUET", context),
            max_features=self.whole(values, "MAX_FEATURES", context),
            min_zoom=self.whole(values, "MIN_ZOOM", context),
            max_zoom=self.whole(values, "MAX_ZOOM", context),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )
        self.run_tool(export_command(self.executable(feedback), asked), feedback)
        return {parameters.OUTPUT: asked.output}


class Compare(ResultAlgorithm):
    """Compare a result with an official layer."""

    command = "compare"
    title = "Compare with an official layer"
    about = (
        "Compares a result with an official layer of damage, of Copernicus EMS, UNOSAT, Microsoft, "
        "HOT or FEMA, or with another result. The fields of the layer tell which it is. Agreement "
        "is no proof of truth: the other layer was drawn from images, too."
    )
    keywords = ("damage", "compare", "official", "agreement", "kappa", "copernicus", "unosat")
    layers = (RESULT, OFFICIAL, WITHIN)

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        any_vector = [QgsProcessing.SourceType.TypeVectorAnyGeometry]
        within = QgsProcessingParameterVectorLayer(
            WITHIN, "Area that the official layer covers", [POLYGONS], None, True
        )
        declared = [
            QgsProcessingParameterVectorLayer(RESULT, "Result", [POLYGONS]),
            QgsProcessingParameterVectorLayer(OFFICIAL, "Official layer", any_vector),
            parameters.choice(
                "SCHEMA", "Schema of the official layer", "auto: told by its fields.",
                OFFICIAL_CHOICES,
            ),
            parameters.explained(within, "Only buildings in these polygons are compared."),
            *(parameters.advanced(parameter) for parameter in _compare_options()),
            parameters.overwrite(),
            QgsProcessingParameterFileDestination(
                PAGE, "Page with a map of the differences", "HTML (*.html)", None, True, False
            ),
            QgsProcessingParameterFileDestination(
                parameters.OUTPUT, "What differs, and the cells", "GeoPackage (*.gpkg)", None, True,
                False,
            ),
        ]  # fmt: skip
        outputs = [
            QgsProcessingOutputNumber("COMPARED", "Buildings that were compared"),
            QgsProcessingOutputNumber("KAPPA", "Kappa"),
            QgsProcessingOutputHtml(parameters.SUMMARY, "Summary"),
        ]
        self.declare(declared, outputs)

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse a result as its own official layer, which QGIS proposes where it is alone, too."""
        super().check(values, context)
        layers = [self.parameterAsLayer(values, name, context) for name in (RESULT, OFFICIAL)]
        if None not in layers and len({Path(file_of(layer)).resolve() for layer in layers}) == 1:
            raise PluginError(
                tr(
                    "{layer}: given as the result and as the official layer; choose another for "
                    "one of them",
                    layer=layers[0].name(),
                )
            )

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Compare, and show the agreement."""
        asked = CompareParameters(
            result=str(self.file(RESULT)),
            official=str(self.file(OFFICIAL)),
            output=self.parameterAsFileOutput(values, parameters.OUTPUT, context) or None,
            schema=self.parameterAsEnumString(values, "SCHEMA", context),
            tolerance=self.decimal(values, "TOLERANCE", context),
            unlisted=self.parameterAsEnumString(values, "UNLISTED", context),
            within=self.file(WITHIN),
            epoch=self.whole(values, "EPOCH", context),
            page=self.parameterAsFileOutput(values, PAGE, context) or None,
            cell=self.decimal(values, "CELL", context),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )
        argv = compare_command(self.executable(feedback), asked)
        figures = read_figures(self.run_tool(argv, feedback).output)
        outputs: Values = {
            "COMPARED": int(figures.get("compared") or 0),
            parameters.SUMMARY: write_page(compare_html(figures)),
        }
        kappa = ((figures.get("damaged") or {}).get("kappa") or {}).get("value")
        if kappa is not None:
            outputs["KAPPA"] = kappa
        files = {parameters.OUTPUT: asked.output, PAGE: asked.page}
        return {**outputs, **{name: path for name, path in files.items() if path}}


class Event(ResultAlgorithm):
    """Merge the results of many scenes into one layer."""

    command = "event"
    title = "Merge results into an event"
    about = (
        "Merges the results of many scenes into one layer of the event. Each building comes out "
        "once, with its best look. All looks, the scenes, the assessed area and counts by cell and "
        "by area are further layers of the same GeoPackage."
    )
    keywords = ("damage", "event", "merge", "totals", "districts", "population")
    layers = (RESULTS, "BY", POPULATION)
    files = ("DATES", "ESTIMATE")

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        results = QgsProcessingParameterMultipleLayers(RESULTS, "Results", POLYGONS, optional=True)
        folder = QgsProcessingParameterFile(
            FOLDER, "Folder of a batch", QgsProcessingParameterFile.Behavior.Folder, optional=True
        )
        declared = [
            parameters.explained(results, "Of 'Assess building damage', each with its sidecar."),
            parameters.explained(folder, "Give this, results, or both."),
            *areas("Areas to sum up by"),
            *(parameters.advanced(parameter) for parameter in _event_options()),
            parameters.overwrite(),
            parameters.result("The layer of the event, a GeoPackage (.gpkg)."),
        ]
        self.declare(declared, [QgsProcessingOutputHtml(parameters.SUMMARY, "Summary")])

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse a call without results, or a folder that is not there, too."""
        super().check(values, context)
        folder = self.string(values, FOLDER, context)
        if not folder and not values.get(RESULTS):
            raise PluginError(tr("no results: give layers of results, or the folder of a batch"))
        if folder and not Path(folder).is_dir():
            raise PluginError(tr("{folder}: no such folder; check the path", folder=folder))

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Merge the results."""
        folder = self.string(values, FOLDER, context)
        asked = EventParameters(
            results=[*self._files[RESULTS], *([folder] if folder else [])],
            output=self.parameterAsOutputLayer(values, parameters.OUTPUT, context),
            dates=self.string(values, "DATES", context),
            estimate=self.string(values, "ESTIMATE", context),
            admin=self.file("BY"),
            admin_name=self.string(values, "ADMIN_NAME", context),
            cell=self.decimal(values, "CELL", context),
            population=self.file(POPULATION),
            update=self.switch(values, "UPDATE", context),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )
        self.run_tool(event_command(self.executable(feedback), asked), feedback)
        Dresser.attach(context, asked.output)
        summary = write_page(summary_html(read_facts(asked.output)))
        return {parameters.OUTPUT: asked.output, parameters.SUMMARY: summary}


def _export_options() -> list[Parameter]:
    return [
        parameters.switch("WKT", "Outlines in a column of a table", "Of .csv, as text."),
        parameters.choice(
            "GEOPARQUET",
            "Version of GeoParquet",
            "2.0 has geometries that readers of 1.1 cannot read.",
            GEOPARQUET_CHOICES,
        ),
        parameters.number(
            "MAX_FEATURES", "Buildings per file of KML", "10,000 unless given.", whole=True, least=1
        ),
        parameters.number("MIN_ZOOM", "Least zoom of PMTiles", "8 unless given.", whole=True),
        parameters.number("MAX_ZOOM", "Greatest zoom of PMTiles", "16 unless given.", whole=True),
    ]


def _compare_options() -> list[Parameter]:
    return [
        parameters.number(
            "TOLERANCE", "Tolerance, metres",
            "Largest distance between a point and its building; 5 unless given.",
        ),
        parameters.choice(
            "UNLISTED", "Buildings that the official layer lacks",
            "undamaged or unknown; auto: undamaged if the layer lists damaged ones only.",
            UNLISTED_CHOICES,
        ),
        parameters.number(
            "EPOCH", "Assessment", "Of a layer that has several; the last unless given.",
            whole=True, least=1,
        ),
        parameters.number("CELL", "Side of the cells, metres", "Of the grid of counts."),
    ]  # fmt: skip


def _event_options() -> list[Parameter]:
    population = QgsProcessingParameterRasterLayer(POPULATION, "People per cell", None, True)
    dates = QgsProcessingParameterFile("DATES", "Dates of the scenes", optional=True)
    estimate = QgsProcessingParameterFile("ESTIMATE", "Estimate", optional=True)
    return [
        parameters.explained(population, "A GeoTIFF; the people in buildings are counted by it."),
        parameters.number("CELL", "Side of the cells, metres", "Of the grid of counts."),
        parameters.explained(dates, "A .csv with the columns name and date."),
        parameters.explained(estimate, "What 'Estimate totals' wrote; its totals come with it."),
        parameters.switch("UPDATE", "Add to the event that is there", "Its identities stay."),
    ]
