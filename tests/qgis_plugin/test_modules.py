"""What holds for every module of the plugin: Python 3.9, Qt 5 and 6, its licence; read, not run."""

import ast
import re
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "qgis_plugin" / "geodamage_qgis"
SOURCES = sorted(PLUGIN.rglob("*.py"))

#: Names that Qt 6 has moved to another module or taken away.
GONE = {
    "QRegExp", "QDesktopWidget", "QTextCodec", "QStringListModel.sort", "QSignalMapper",
    "QMatrix", "QGLWidget",
}  # fmt: skip

#: Classes that Qt 6 moved from QtWidgets to QtGui; QGIS 4 has them in both, QGIS 3.22 does not.
# Source: qgis/QGIS pull request 55658.
BRIDGED = {"QAction", "QActionGroup", "QShortcut", "QUndoStack"}

#: Enums themselves, which a short name is given to; their members are named by that.
ENUMS = {"Direction"}

#: Classes without such enums in Qt 6: who uses their members asks first whether they are there.
KEPT = {"QVariant", "QgsLayerMetadata"}


@pytest.fixture(params=SOURCES, ids=lambda path: path.relative_to(PLUGIN).as_posix())
def tree(request):
    return ast.parse(request.param.read_text(encoding="utf-8"))


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def class_names(tree):
    """Return the classes that a module takes from Qt and QGIS, as it calls them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qgis."):
            yield from (alias.asname or alias.name for alias in node.names)


def test_there_is_something_to_look_at():
    assert {"plugin.py", "dialog.py", "provider.py", "sources.py"} <= {p.name for p in SOURCES}


def test_qt_comes_through_qgis_only(tree):
    for name in imports(tree):
        assert not re.match(r"(PyQt|PySide)\d|sip\b", name), name


def test_nothing_that_qt_6_took_away_is_used(tree):
    assert not {name.rpartition(".")[2] for name in imports(tree)} & GONE


def test_methods_that_python_2_needed_are_not_called(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"exec_", "print_"}, node.lineno


def test_members_of_enums_are_named_with_their_enum(tree):
    names = set(class_names(tree))
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if node.value.id not in names - KEPT or node.attr in ENUMS or node.attr.isupper():
            continue
        # `Qt.AlignRight` ends there; `Qt.AlignmentFlag.AlignRight` and `QDialog.exec()` do not.
        member = node.attr[:1].isupper() and id(node) not in inner and id(node) not in called
        assert not member, f"line {node.lineno}: {node.value.id}.{node.attr}"


@pytest.mark.parametrize(
    "code",
    [
        "from qgis.core import QgsProcessing\nx = QgsProcessing.TypeRaster\n",
        "from qgis.core import QgsTask as Task\nx = Task.CanCancel | 1\n",
    ],
)
def test_an_unscoped_member_of_qgis_would_be_found(code):
    with pytest.raises(AssertionError, match="line 2"):
        test_members_of_enums_are_named_with_their_enum(ast.parse(code))


def test_an_unscoped_member_would_be_found():
    tree = ast.parse("from qgis.PyQt.QtCore import Qt\nx = Qt.AlignRight\n")
    with pytest.raises(AssertionError, match="AlignRight"):
        test_members_of_enums_are_named_with_their_enum(tree)
    scoped = ast.parse("from qgis.PyQt.QtCore import Qt\nx = Qt.AlignmentFlag.AlignRight\n")
    test_members_of_enums_are_named_with_their_enum(scoped)


def test_actions_come_from_where_qgis_puts_them(tree):
    for name in imports(tree):
        if name.rpartition(".")[2] in BRIDGED:
            assert name.startswith("qgis.PyQt.QtWidgets."), name


@pytest.mark.slow
def test_the_syntax_is_that_of_python_3_9(tree):
    for node in ast.walk(tree):
        assert type(node).__name__ not in {"Match", "TryStar", "TypeAlias"}, node.lineno
        keywords = [word.arg for word in node.keywords] if isinstance(node, ast.Call) else []
        assert not {"slots", "kw_only"} & set(keywords), node.lineno
    # Annotations such as `int | None` are not evaluated.
    sources = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert len(tree.body) == 1 or any(node.module == "__future__" for node in sources)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PLUGIN).as_posix())
def test_python_3_9_can_read_it_and_it_says_its_licence(path):
    text = path.read_text(encoding="utf-8")
    ast.parse(text, feature_version=(3, 9))
    assert text.startswith("# SPDX-License-Identifier: GPL-2.0-or-later\n")
