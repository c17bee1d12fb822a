"""What holds for every module of the plugin, without running QGIS."""

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "qgis_plugin" / "geodamage_qgis"
MODULES = sorted(FOLDER.glob("*.py"))
#: These run, and are tested, without QGIS.
PLAIN = {
    "commands", "diagnostics", "environment", "errors", "executable", "facts", "journal", "makers",
    "mosaics", "proxy", "reasons", "runner", "scale", "version", "walk", "wheels",
}  # fmt: skip
#: Names that enumerations of Qt 6 have by their scope only.
UNSCOPED = re.compile(
    r"\b(?:Qt\.(?:UserRole|DisplayRole|AlignCenter|AlignLeft|AlignRight|Horizontal|Vertical|"
    r"Checked|Unchecked|WaitCursor|RichText|PlainText|RightDockWidgetArea|LeftDockWidgetArea|"
    r"WA_DeleteOnClose|ItemIsEnabled|Key_\w+)|QDialog\.(?:Accepted|Rejected)|"
    r"QDialogButtonBox\.(?:Ok|Cancel|Close|Apply|ActionRole)|QMessageBox\.(?:Yes|No|Ok|Cancel)|"
    r"QSizePolicy\.(?:Expanding|Fixed|Preferred)|QFrame\.(?:StyledPanel|NoFrame))\b"
)


def imported(path):
    """Return what a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def test_there_are_modules():
    assert {path.stem for path in MODULES} >= PLAIN


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_is_python_3_9(path):
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 9))
    # Annotations such as `int | None` are not evaluated.
    assert "from __future__ import annotations" in source
    for node in ast.walk(tree):
        assert not isinstance(node, getattr(ast, "Match", ())), f"{path.name}:{node.lineno}"
        keywords = [word.arg for word in node.keywords] if isinstance(node, ast.Call) else []
        assert not {"slots", "kw_only"} & set(keywords), f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_needs_nothing_but_qgis(path):
    import sys

    allowed = set(sys.stdlib_module_names) | {"qgis", "processing", "osgeo"}
    if path.stem in PLAIN:
        allowed -= {"qgis", "processing", "osgeo"}
    assert {name.partition(".")[0] for name in imported(path)} <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_works_with_qt_5_and_6(path):
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"\bexec_\(", source)
    assert UNSCOPED.findall(source) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_says_its_licence(path):
    assert path.read_text(encoding="utf-8").startswith(
        "# SPDX-License-Identifier: GPL-2.0-or-later"
    )
