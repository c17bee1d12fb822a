"""A graded sample of every grade and status, copied for each test that changes it."""

import shutil
from pathlib import Path

from geodamage_qgis.results.journal import journal_path
from geodamage_qgis.results.layers import load_result
from qgis.core import NULL


class Sample:
    """The sample pair and its results, in a folder of their own."""

    def __init__(self, folder, pair, command_line, footprints):
        self.folder = folder
        self._command_line = command_line
        self._footprints = shutil.copy(footprints, folder)
        # Copies: QGIS writes statistics beside the images that it draws.
        self.pre, self.post = (Path(shutil.copy(path, folder)) for path in pair)

    def assess(self, name, *options):
        """Write the result of that name."""
        output = self.folder / name
        footprints = ("--footprints", self._footprints, "--id-field", "building_id")
        self._command_line("assess", self.pre, self.post, "-o", output, *footprints, "-q", *options)
        return output

    def copy_result(self, name, folder):
        """Return a copy of a result and its sidecar, without a journal."""
        source = self.folder / name
        if not source.exists():
            self.assess(name)
        for ending in ("", ".json"):
            shutil.copy(f"{source}{ending}", folder)
        journal_path(folder / name).unlink(missing_ok=True)
        return folder / name


_made = []


def make_sample(command_line, pair, folders):
    """Return the sample; made once a session, however many modules ask."""
    if not _made:
        footprints = pair[0].parent / "footprints.geojson"
        _made.append(Sample(folders.mktemp("graded"), pair, command_line, footprints))
    return _made[0]


def reviewed(layer):
    """Return the reviewed grade of each building that has one, by its id."""
    if "reviewed_damage" not in layer.fields().names():
        return {}
    pairs = ((f["building_id"], f["reviewed_damage"]) for f in layer.getFeatures())
    return {name: grade for name, grade in pairs if grade != NULL}


def reopen(project, path):
    """Forget all layers, and load a result as in a new session."""
    project.clear()
    return load_result(path)
