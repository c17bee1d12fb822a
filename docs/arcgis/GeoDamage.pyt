# SPDX-License-Identifier: Apache-2.0
"""A Python toolbox for ArcGIS Pro that runs the program geodamage; it has not been run in ArcGIS.

It imports nothing of geodamage: the program runs as a process of its own.
"""

import json
import os
import shutil
import subprocess

import arcpy

# ArcGIS sets these for its own Python, GDAL and PROJ; the program's Python fails by them.
OWN_TO_ARCGIS = ("PYTHONHOME", "PYTHONPATH", "GDAL_DATA", "PROJ_LIB", "PROJ_DATA", "CONDA_PREFIX")
GDB_MESSAGE = "name a .gpkg or .geojson in a folder; ArcGIS copies it into a geodatabase from there"


class Toolbox:
    """What ArcGIS finds in this file."""

    def __init__(self):
        self.label = "GeoDamage"
        self.alias = "geodamage"
        self.tools = [AssessDamage]


class AssessDamage:
    """Grades the damage of every building between two images."""

    def __init__(self):
        self.label = "Assess building damage"
        self.description = (
            "One polygon per building with its damage grade, from an image before and one after. "
            "Preliminary, automatic, not validated in the field."
        )

    def getParameterInfo(self):
        """Return the parameters of the dialog."""
        return [
            _parameter("before", "Image before", "DERasterDataset"),
            _parameter("after", "Image after", "DERasterDataset"),
            _parameter("output", "Result (.gpkg or .geojson)", "DEFile", direction="Output"),
            _parameter("footprints", "Footprints (.gpkg, .geojson, .shp)", "DEFile", False),
            _parameter("id_field", "Building ID field", "GPString", False),
            _parameter("raster", "Damage raster (.tif)", "DEFile", False, "Output"),
            _parameter("report", "Report (.html)", "DEFile", False, "Output"),
            _parameter("overwrite", "Overwrite existing files", "GPBoolean", False),
            _parameter("program", "The geodamage program", "DEFile", False),
        ]

    def updateMessages(self, parameters):
        """Refuse what the program would refuse, before it runs."""
        values = {parameter.name: parameter.valueAsText for parameter in parameters}
        for parameter in parameters:
            extensions = (".gpkg", ".geojson")
            if (
                parameter.name == "output"
                and values["output"]
                and not values["output"].lower().endswith(extensions)
            ):
                parameter.setErrorMessage(GDB_MESSAGE)
            if (
                parameter.name == "after"
                and values["after"]
                and values["after"] == values["before"]
            ):
                parameter.setErrorMessage("the image after is the image before; choose another")

    def execute(self, parameters, messages):
        """Run the program, and tell its progress and its one line of error."""
        values = {parameter.name: parameter.valueAsText for parameter in parameters}
        arcpy.SetProgressor("step", "Opening the images", 0, 100, 1)
        process = subprocess.Popen(
            command(values),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**_environment(), "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        said = ""
        for line in process.stderr:
            said = _tell(line.strip(), messages) or said
            if arcpy.env.isCancelled:
                process.terminate()
        if process.wait() != 0:
            messages.addErrorMessage(said or f"geodamage ended with code {process.returncode}")
            raise arcpy.ExecuteError


def command(values):
    """Return the words of the command; `values` are the parameters' texts by name."""
    program = values.get("program") or shutil.which("geodamage")
    if not program:
        raise RuntimeError("geodamage is not on the PATH; name the program in the last parameter")
    words = [program, "assess", "--progress", "json"]
    for name in ("output", "footprints", "id_field", "raster", "report"):
        if values.get(name):
            words.append(f"--{name.replace('_', '-')}={values[name]}")
    if values.get("overwrite") == "true":
        words.append("--overwrite")
    # After `--`, a path that begins with a dash is a path.
    return [*words, "--", values["before"], values["after"]]


def _tell(line, messages):
    """Tell what a line says; return it if it is an error."""
    try:
        event = json.loads(line)
    except ValueError:
        event = {"stage": "message", "message": line}
    if not isinstance(event, dict):
        return ""
    text = str(event.get("message") or "")
    if event.get("stage") == "error":
        return text
    if event.get("total"):
        arcpy.SetProgressorPosition(round(100 * float(event.get("done") or 0) / event["total"]))
    if text and event.get("level") == "warning":
        messages.addWarningMessage(text)
    elif text:
        messages.addMessage(text)
    return ""


def _environment():
    return {name: value for name, value in os.environ.items() if name not in OWN_TO_ARCGIS}


def _parameter(name, title, kind, required=True, direction="Input"):
    return arcpy.Parameter(
        name=name,
        displayName=title,
        datatype=kind,
        parameterType="Required" if required else "Optional",
        direction=direction,
    )
