"""What a reviewer does at the desktop, and sees there."""

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication


def press(dock, key, modifier=Qt.KeyboardModifier.NoModifier):
    """Press a key on the widget that has the focus, as a keyboard does."""
    window = dock.window()
    QTest.qWaitForWindowActive(window)
    widget = QApplication.focusWidget()
    assert widget is not None
    assert dock.isAncestorOf(widget)
    QTest.keyClick(widget, key, modifier)


def click(widget):
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


def current(dock):
    return dock.walk.current.building_id


def extent_of(dock):
    return dock.before.canvas.extent()
