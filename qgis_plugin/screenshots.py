# SPDX-License-Identifier: GPL-2.0-or-later
"""Photograph the plugin in a real QGIS, for `README.md`, on the synthetic pair of `sample_data/`.

    xvfb-run -a -s "-screen 0 1600x1200x24" python qgis_plugin/screenshots.py --home /home/analyst

It needs QGIS (`qgis`), an X display, `geodamage` (`--executable`, else the PATH) and Pillow. QGIS
starts with its own profile below `--home`. The plugin is linked in there, and the sample and the
program are put there. So the pictures show that folder, and no folder of the person who makes them.
Everything pictured is real: the run is started by the dialog's own button, the corrections by the
keys of the review.

The same file runs on both sides: `main` outside, `photograph` inside QGIS, where `--code` calls it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parent / "sample_data"
IMAGES = HERE / "images"

#: How both sides know the folders: QGIS passes no arguments on to `--code`.
HOME, RAW, EXECUTABLE = "GEODAMAGE_SHOTS_HOME", "GEODAMAGE_SHOTS_RAW", "GEODAMAGE_SHOTS_EXECUTABLE"

#: Pixels of the whole window; a page shows it at this size or smaller.
WINDOW = (1180, 780)

LARGEST = 400_000  # bytes of a picture
COLOURS = 256  # of a picture, taken from it: without this the imagery makes it twice as large

#: Colours that are kept exactly, at most; they are looked for in the pixels at the left, where the
#: layer panel with the legend is.
KEPT, PANEL = 96, 300
OUTLINE = (0, 229, 255)  # of the building under review, a thin line

#: Settings of the profile: no tips, no news, no questions, a grey window in English.
SETTINGS = """\
[qgis]
checkVersion=false
showTips324=false
showTips322=false
askToSaveProjectChanges=false
newsFeed=false
firstRunVersionFlag=32216
hideSplash=true

[app]
projections\\unknownCrsBehavior=NoAction

[core]
NewsFeed\\httpsfeedqgisorg\\disabled=true

[locale]
overrideFlag=true
userLocale=en_US
globalLocale=en_US

[PythonPlugins]
geodamage_qgis=true
processing=true
"""

#: What QGIS runs at its start. It shows its window only after that, so the work waits.
START = """\
import sys
sys.path.insert(0, {folder!r})
from qgis.PyQt.QtCore import QTimer
import screenshots
QTimer.singleShot(3000, screenshots.photograph)
"""


# Outside -------------------------------------------------------------------------------------


def main() -> None:
    """Start QGIS, let it take the pictures, and write them small."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=IMAGES)
    parser.add_argument("--home", type=Path, help="folder of the profile and the copied sample")
    parser.add_argument("--executable", default=shutil.which("geodamage"))
    options = parser.parse_args()
    if not options.executable:
        sys.exit("error: no geodamage on the PATH; name it with --executable")
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder) / "home"
        raw = Path(folder) / "raw"
        raw.mkdir()
        _prepare(home)
        _run_qgis(home, raw, str(_install(home, Path(options.executable))))
        options.output.mkdir(exist_ok=True)
        for picture in sorted(raw.glob("*.png")):
            size = shrink(picture, options.output / picture.name)
            sys.stdout.write(f"{options.output / picture.name}: {size / 1e3:.0f} kB\n")


def _prepare(home: Path) -> None:
    """Copy the sample, and link the plugin into a new profile."""
    work = home / "storm"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name in ("pre.tif", "post.tif", "footprints.geojson"):
        shutil.copy(SAMPLE / name, work)
    profiles = home / "QGIS"
    shutil.rmtree(profiles, ignore_errors=True)
    profile = profiles / "profiles" / "default"
    plugins = profile / "python" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "geodamage_qgis").symlink_to(HERE / "geodamage_qgis")
    (profile / "QGIS").mkdir()
    (profile / "QGIS" / "QGIS3.ini").write_text(SETTINGS, encoding="utf-8")
    (work / "start.py").write_text(START.format(folder=str(HERE)), encoding="utf-8")


def _install(home: Path, executable: Path) -> Path:
    """Put the program into an environment below the home, and return it.

    The environment borrows the packages of the one that has the program; so the pictures show paths
    of the home alone.
    """
    folder = home / "geodamage"
    own = executable.with_name("python")
    subprocess.run([own, "-m", "venv", "--clear", "--without-pip", folder], check=True)
    python, program = folder / "bin" / "python", folder / "bin" / "geodamage"
    lent, taken = (_packages_of(path) for path in (own, python))
    (taken / "lent.pth").write_text(f"import site; site.addsitedir({str(lent)!r})\n", "utf-8")
    code = "import sys\nfrom geodamage.cli import main\n\nsys.exit(main())\n"
    program.write_text(f"#!{python}\n{code}", encoding="utf-8")
    program.chmod(0o755)
    return program


def _packages_of(python: Path) -> Path:
    """Return the folder of the packages of a Python."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    said = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True)
    return Path(said.stdout.strip())


def _run_qgis(home: Path, raw: Path, executable: str) -> None:
    qgis = shutil.which("qgis")
    if qgis is None:
        sys.exit("error: no qgis on the PATH; install QGIS")
    variables = {
        **os.environ,
        # QGIS takes the modules of the first python3 that it meets: its own must come first.
        "PATH": f"{Path(qgis).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        HOME: str(home),
        RAW: str(raw),
        EXECUTABLE: executable,
        "HOME": str(home),
        "GDAL_PAM_ENABLED": "NO",
    }
    command = [qgis, "--nologo", "--noversioncheck", "--profiles-path", str(home / "QGIS")]
    command += ["--code", str(home / "storm" / "start.py")]
    done = subprocess.run(command, env=variables, timeout=1500, check=False)
    if done.returncode:
        sys.exit(f"error: QGIS ended with {done.returncode}")


def shrink(source: Path, target: Path) -> int:
    """Write a picture with a palette of its own colours; return its size in bytes.

    Colours of the legend stay as they are, for it must not lie. The imagery shares the rest.
    """
    from PIL import Image

    image = Image.open(source).convert("RGB")
    panel: Any = image.crop((0, 0, PANEL, image.height))
    counts = sorted(panel.getcolors(panel.width * panel.height), reverse=True)
    kept = [part for _, colour in counts[:KEPT] for part in colour] + list(OUTLINE)
    for colours in (COLOURS, 192, 128):
        others = colours - len(kept) // 3
        shared: Any = image.quantize(others, kmeans=1).getpalette()
        palette = Image.new("P", (1, 1))
        palette.putpalette(kept + shared[: 3 * others])
        image.quantize(palette=palette, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size < LARGEST:
            break
    return target.stat().st_size


# Inside --------------------------------------------------------------------------------------


def photograph() -> None:
    """Take all pictures, and end QGIS."""
    try:
        Photographer().take_all()
    except BaseException:  # an exception would only open a window that nobody sees
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    # QGIS would ask, and clean up in an order that Python does not survive.
    os._exit(0)


class Photographer:
    """Works the plugin as a person would, and takes pictures of its windows."""

    def __init__(self) -> None:
        from qgis.utils import iface, plugins

        self.iface: Any = iface
        self.plugin: Any = plugins["geodamage_qgis"]
        self.work = Path(os.environ[HOME]) / "storm"
        self.raw = Path(os.environ[RAW])

    def take_all(self) -> None:
        """Go through the windows in the order of the README."""
        self._set_up()
        self._load_images()
        self._assess()
        self._show_result()
        self._review()
        self._diagnose()

    def _set_up(self) -> None:
        """Make the window small and plain: what is pictured is the plugin."""
        from qgis.core import QgsSettings
        from qgis.PyQt.QtWidgets import QDockWidget, QToolBar

        from geodamage_qgis import settings

        settings.set_executable(os.environ[EXECUTABLE])
        QgsSettings().setValue("geodamage/reviewer", "A. Analyst")
        window = self.iface.mainWindow()
        window.showNormal()
        window.resize(*WINDOW)
        for dock in window.findChildren(QDockWidget):
            dock.setVisible(dock.objectName() == "Layers")
        shown = ("mFileToolBar", "mMapNavToolBar", "mPluginToolBar")
        for bar in window.findChildren(QToolBar):
            bar.setVisible(bar.objectName() in shown)
        self._wait(2)

    def _load_images(self) -> None:
        for name in ("pre", "post"):
            self.iface.addRasterLayer(str(self.work / f"{name}.tif"), name)
        self.iface.addVectorLayer(str(self.work / "footprints.geojson"), "footprints", "ogr")
        self._wait_for_map()

    def _assess(self) -> None:
        """Fill the dialog, take its picture, and run it."""
        from qgis.core import QgsProject

        self.plugin.open_dialog()
        dialog = self.plugin.dialog
        self._wait(6)
        layer = QgsProject.instance().mapLayersByName("footprints")[0]
        dialog.form.footprints.setLayer(layer)
        dialog.form.id_field.setField("building_id")
        dialog.form.output.setFilePath(str(self.work / "buildings.gpkg"))
        dialog.form.beside["REPORT"].setChecked(True)
        self._wait(1)
        self._take(dialog, "dialog")
        dialog.run_button.click()
        self._wait_until(lambda: bool(QgsProject.instance().mapLayersByName("buildings")), 300)
        self._wait(2)
        dialog.tabs.setCurrentIndex(2)
        self._wait(1)
        self._take(dialog, "summary")
        dialog.close()
        QgsProject.instance().removeMapLayer(layer.id())

    def _show_result(self) -> None:
        from qgis.core import QgsProject

        self.layer = QgsProject.instance().mapLayersByName("buildings")[0]
        root = QgsProject.instance().layerTreeRoot()
        for name in ("pre", "post"):
            image = QgsProject.instance().mapLayersByName(name)[0]
            root.findLayer(image.id()).setExpanded(False)
        self.iface.messageBar().clearWidgets()
        self.iface.setActiveLayer(self.layer)
        self._fill_map()
        self._take(self.iface.mainWindow(), "result")
        self.layer.styleManager().setCurrentStyle("colour-blind safe")
        self._wait_for_map()
        self._take(self.iface.mainWindow(), "colour_blind")
        self.layer.styleManager().setCurrentStyle("damage")

    def _review(self) -> None:
        """Correct some buildings by keys, and take a picture of one that is damaged."""
        from qgis.PyQt.QtCore import Qt
        from qgis.PyQt.QtTest import QTest

        self.plugin.open_review(self.layer)
        dock = self.plugin.review
        self.iface.mainWindow().resizeDocks([dock], [330], Qt.Orientation.Vertical)
        self._wait(2)
        keys = (Qt.Key.Key_Return, Qt.Key.Key_2, Qt.Key.Key_Return, Qt.Key.Key_1, Qt.Key.Key_Right)
        for key in keys:
            QTest.keyClick(dock.widget(), key)
            self._wait(0.5)
        while not _is_telling(dock.walk.current):
            QTest.keyClick(dock.widget(), Qt.Key.Key_Right)
        self.iface.mapCanvas().zoomScale(1200)
        self._wait_for_map()
        self._wait(3)
        self._take(self.iface.mainWindow(), "review")
        dock.close()

    def _diagnose(self) -> None:
        from geodamage_qgis.gui.diagnostics_page import DiagnosticsPage

        page = DiagnosticsPage(self.iface.mainWindow())
        page.resize(760, 470)
        page.show()
        self._wait_until(lambda: "ready" in _texts(page), 120)
        self._wait(1)
        self._take(page, "diagnostics")
        page.close()

    def _fill_map(self) -> None:
        from qgis.core import QgsProject, QgsRectangle

        QgsProject.instance().setCrs(self.layer.crs())
        canvas = self.iface.mapCanvas()
        box = self.layer.extent()
        # The east, where not all is assessed, as wide as the canvas allows.
        height = 0.93 * box.width() * canvas.height() / canvas.width()
        top = box.yMaximum() - 0.08 * box.height()
        canvas.setExtent(
            QgsRectangle(box.xMaximum() - 0.93 * box.width(), top - height, box.xMaximum(), top)
        )
        self._wait_for_map()

    def _take(self, widget: Any, name: str) -> None:
        widget.repaint()
        self._wait(0.5)
        if not widget.grab().save(str(self.raw / f"{name}.png")):
            raise OSError(f"no picture {name}")

    def _wait_for_map(self) -> None:
        canvas = self.iface.mapCanvas()
        canvas.refreshAllLayers()
        self._wait(1)
        self._wait_until(lambda: not canvas.isDrawing(), 60)
        self._wait(1)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._wait_until(lambda: time.monotonic() >= end, seconds + 60)

    def _wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        from qgis.PyQt.QtWidgets import QApplication

        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("waited in vain")
            QApplication.processEvents()
            time.sleep(0.02)


def _is_telling(building: Any) -> bool:
    """Return whether a building makes a picture: seen whole, large, and damaged."""
    whole = building.status == "assessed" and building.area > 100
    return bool(whole and building.damage == "major-damage")


def _texts(widget: Any) -> str:
    from qgis.PyQt.QtWidgets import QLabel

    return " ".join(label.text() for label in widget.findChildren(QLabel))


if __name__ == "__main__":
    main()
