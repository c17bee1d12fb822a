"""Under a real PyQt6, with stand-ins for QGIS: every module loads, every name of Qt is there.

    QT_QPA_PLATFORM=offscreen python tests/qgis_plugin/pyqt6_smoke.py

This shows that the plugin's own Qt code runs on Qt 6. It shows nothing of QGIS 4.
"""

import ast
import importlib
import importlib.abc
import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType

from PyQt6 import QtCore, QtGui, QtNetwork, QtTest, QtWidgets, QtXml

FOLDER = Path(__file__).resolve().parents[2] / "qgis_plugin"
STOOD_IN = ("qgis", "osgeo", "processing")


class AnyName(type):
    """Makes a class that has whatever one asks it for."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return AnyName(name, (StandIn,), {})

    def __or__(cls, other):
        return cls

    def __ge__(cls, other):
        return True


class StandIn(metaclass=AnyName):
    """Stands for a class of QGIS."""

    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name):
        return StandIn()

    def __call__(self, *args, **kwargs):
        return StandIn()

    def __getitem__(self, key):
        return StandIn()

    def __str__(self):
        return ""

    def __bool__(self):
        return False


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stand-in for every module of QGIS."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in STOOD_IN:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = ModuleType(spec.name)
        module.__getattr__ = lambda name: AnyName(name, (StandIn,), {})
        return module

    def exec_module(self, module):
        pass


def stand_in():
    """Put Qt 6 where QGIS has Qt, and stand-ins where it has its own."""
    sys.meta_path.insert(0, Finder())
    package = importlib.import_module("qgis.PyQt")
    # Source: QGIS's python/PyQt6: what Qt 6 moved to QtGui is in QtWidgets, too.
    for name in ("QAction", "QActionGroup", "QShortcut"):
        setattr(QtWidgets, name, getattr(QtGui, name))
    for module in (QtCore, QtGui, QtNetwork, QtTest, QtWidgets, QtXml):
        name = module.__name__.rpartition(".")[2]
        sys.modules[f"qgis.PyQt.{name}"] = module
        setattr(package, name, module)


def chains(tree):
    """Yield each `A.B.C` of a module, and the line that it is in."""
    for node in ast.walk(tree):
        parts, inner = [], node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if parts and isinstance(inner, ast.Name):
            yield inner.id, parts, node.lineno


def check_names(path):
    """Look every name of Qt up that a module mentions; return how many."""
    tree, known = ast.parse(path.read_text(encoding="utf-8")), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qgis.PyQt."):
            module = sys.modules[node.module]
            for alias in node.names:
                known[alias.asname or alias.name] = getattr(module, alias.name)
    count = 0
    for name, parts, line in chains(tree):
        if name not in known or name == "QVariant":
            continue
        found = known[name]
        for part in parts:
            if not hasattr(found, part):
                raise AssertionError(f"{path}:{line}: {name}.{'.'.join(parts)}")
            found = getattr(found, part)
        count += 1
    return count


def use_windows():
    """Open the windows that need nothing of QGIS, and press what can be pressed."""
    from geodamage_qgis.gui.setup_form import SetupForm
    from geodamage_qgis.gui.signs import GOOD
    from geodamage_qgis.results.journal import Review
    from geodamage_qgis.review.panel import ReviewPanel
    from geodamage_qgis.review.walk import Building, Walk

    form = SetupForm(by_name=True)
    form.show()
    GOOD.show_in(form.sign)
    panel, graded = ReviewPanel(), []
    panel.show()
    panel.graded.connect(graded.append)
    building = Building(1, "a", "destroyed", 0.7, {"destroyed": 0.7}, "partial", "nodata_post")
    walk = Walk([building], {"a": Review("a", "minor-damage", "Ada", "")})
    panel.show_building(walk, building)
    assert "70 % sure, seen in part (nodata post)" in panel.said.text(), panel.said.text()
    button, bar = panel.rows["destroyed"]
    assert bar.value() == 700
    assert panel.shares["destroyed"].text() == "70 %"
    QtTest.QTest.mouseClick(button, QtCore.Qt.MouseButton.LeftButton)
    assert graded == ["destroyed"]


def main():
    """Load everything, look every name up, and use what can be used."""
    application = QtWidgets.QApplication([])
    stand_in()
    sys.path.insert(0, str(FOLDER))
    count = 0
    for path in sorted((FOLDER / "geodamage_qgis").rglob("*.py")):
        parts = path.relative_to(FOLDER).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        importlib.import_module(name)
        count += check_names(path)
    use_windows()
    application.processEvents()
    sys.stdout.write(f"PyQt {QtCore.PYQT_VERSION_STR}: {count} names of Qt are there\n")


if __name__ == "__main__":
    main()
