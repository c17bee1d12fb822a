"""From a pre- and a post-disaster GeoTIFF to one polygon per building with its damage grade.

    from geodamage import Scene, find_buildings, load_model, predict, write_buildings

    model = load_model("fast")
    with Scene.open("pre.tif", "post.tif", gsd=model.card.gsd) as scene:
        bands = predict(scene, model)
        buildings = find_buildings(bands, scene.grid, scene.region, model.card)
        write_buildings(buildings, "buildings.geojson", scene.grid.crs)

Importing the package is instant: a name's module is imported when the name is first used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from geodamage._version import __version__

if TYPE_CHECKING:
    from geodamage.assessment import Job, Progress, Summary, assess
    from geodamage.buildings.finding import find_buildings
    from geodamage.model.card import Card
    from geodamage.damage import DamageGrade
    from geodamage.errors import GeodamageError
    from geodamage.buildings.footprints import grade_footprints, read_footprints
    from geodamage.grid import Grid
    from geodamage.model.onnx import load_model
    from geodamage.prediction import predict
    from geodamage.scene.scene import Scene, SceneOptions
    from geodamage.output.vectors import write_buildings

_MODULES = {
    "Card": "card",
    "DamageGrade": "damage",
    "GeodamageError": "errors",
    "Grid": "grid",
    "Job": "assess",
    "Progress": "assess",
    "Scene": "scene",
    "SceneOptions": "scene",
    "Summary": "assess",
    "assess": "assess",
    "find_buildings": "buildings",
    "grade_footprints": "footprints",
    "load_model": "model",
    "predict": "predict",
    "read_footprints": "footprints",
    "write_buildings": "vectors",
}

__all__ = [
    "Card",
    "DamageGrade",
    "GeodamageError",
    "Grid",
    "Job",
    "Progress",
    "Scene",
    "SceneOptions",
    "Summary",
    "__version__",
    "assess",
    "find_buildings",
    "grade_footprints",
    "load_model",
    "predict",
    "read_footprints",
    "write_buildings",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"geodamage.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """The package; `assess` and `predict` are its functions, never the modules of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing a module binds it to its package, and would hide the function.
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
