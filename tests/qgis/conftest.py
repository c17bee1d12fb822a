"""A real QGIS without its windows: application, Processing, a stand-in for the desktop.

Tests of this folder run under QGIS's own Python; where that has no `qgis`, none is collected.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from folders import PLUGIN, SAMPLE

try:
    import qgis.core  # noqa: F401
except ImportError:
    collect_ignore_glob = ["*"]


_ended = {}


def pytest_sessionfinish(session, exitstatus):
    _ended["status"] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    # Qt objects die in no order when Python ends, and QGIS crashes over it: leave before that.
    if "qgis.core" in sys.modules and "status" in _ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_ended["status"])


@pytest.fixture(scope="session")
def profile(tmp_path_factory):
    """Return a user profile of its own, so that no test reads or changes that of a person."""
    folder = tmp_path_factory.mktemp("qgis profile")
    os.environ["QGIS_CUSTOM_CONFIG_PATH"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def qgis_app(profile):
    """Return the one QgsApplication, with Processing and the native algorithms."""
    from qgis.core import QgsApplication

    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = QgsApplication([], True, str(profile))
    _ended["application"] = app  # pytest lets go of its fixtures before we leave
    app.initQgis()
    plugins = str(Path(app.pkgDataPath()) / "python" / "plugins")
    if plugins not in sys.path:
        sys.path.append(plugins)
    from processing.core.Processing import Processing

    Processing.initialize()
    registry = QgsApplication.processingRegistry()
    if registry.providerById("native") is None:
        from qgis.analysis import QgsNativeAlgorithms

        registry.addProvider(QgsNativeAlgorithms(registry))
    return app


@pytest.fixture
def provider(qgis_app):
    """Return the plugin's provider, registered while a test runs."""
    from geodamage_qgis.processing.provider import GeodamageProvider
    from qgis.core import QgsApplication

    registry = QgsApplication.processingRegistry()
    registered = GeodamageProvider()
    assert registry.addProvider(registered)
    yield registered
    registry.removeProvider("geodamage")


@pytest.fixture
def project(qgis_app):
    """Return the project, emptied before and after."""
    from qgis.core import QgsProject

    QgsProject.instance().clear()
    yield QgsProject.instance()
    QgsProject.instance().clear()


@pytest.fixture(autouse=True)
def clean_settings(request):
    """Forget the plugin's settings after each test that has an application."""
    yield
    if "qgis_app" in request.fixturenames:
        from qgis.core import QgsSettings

        QgsSettings().remove("geodamage")


class Interface:
    """What the plugin uses of `QgisInterface`, on a real window and a real canvas."""

    def __init__(self):
        from qgis.gui import QgsMapCanvas, QgsMessageBar
        from qgis.PyQt.QtWidgets import QMainWindow, QVBoxLayout, QWidget

        self.window = QMainWindow()
        self.window.resize(900, 700)
        centre = QWidget()
        layout = QVBoxLayout(centre)
        self.bar = QgsMessageBar(centre)
        self.canvas = QgsMapCanvas(centre)
        layout.addWidget(self.bar)
        layout.addWidget(self.canvas)
        self.window.setCentralWidget(centre)
        self.tool_bar_icons = []
        self.menu = []
        self.docks = []
        self.active = None

    def mainWindow(self):
        return self.window

    def mapCanvas(self):
        return self.canvas

    def messageBar(self):
        return self.bar

    def messages(self):
        """Return the texts in the message bar."""
        return [item.text() for item in self.bar.items()]

    def addToolBarIcon(self, action):
        self.tool_bar_icons.append(action)
        return len(self.tool_bar_icons)

    def removeToolBarIcon(self, action):
        self.tool_bar_icons.remove(action)

    def addPluginToRasterMenu(self, name, action):
        self.menu.append((name, action))

    def removePluginRasterMenu(self, name, action):
        self.menu.remove((name, action))

    def addPluginToMenu(self, name, action):
        self.menu.append((name, action))

    def removePluginMenu(self, name, action):
        self.menu.remove((name, action))

    def addDockWidget(self, area, dock):
        self.docks.append(dock)
        self.window.addDockWidget(area, dock)

    def removeDockWidget(self, dock):
        if dock in self.docks:
            self.docks.remove(dock)
        self.window.removeDockWidget(dock)

    def activeLayer(self):
        return self.active

    def setActiveLayer(self, layer):
        self.active = layer
        return True

    def openMessageLog(self, *tab):
        pass

    def layerTreeView(self):
        return None


@pytest.fixture
def iface(project):
    """Return a stand-in for the desktop; its window closes with the test."""
    interface = Interface()
    yield interface
    interface.canvas.setLayers([])
    interface.window.close()
    interface.window.deleteLater()


@pytest.fixture
def wait(qgis_app):
    """Return a function that runs the event loop until something is true."""
    import time

    def until(condition, seconds=60.0):
        ends = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends, "waited in vain"
            qgis_app.processEvents()
            time.sleep(0.01)
        qgis_app.processEvents()

    return until


@pytest.fixture(scope="session")
def pair():
    """Return the images of before and after that come with the project."""
    return SAMPLE / "pre.tif", SAMPLE / "post.tif"


@pytest.fixture(scope="session")
def small_pair(qgis_app, pair, tmp_path_factory):
    """Return a corner of the pair, which is graded in the time that the program takes to start."""
    from osgeo import gdal

    folder = tmp_path_factory.mktemp("small")
    for path in pair:
        gdal.Translate(str(folder / path.name), str(path), srcWin=[0, 0, 256, 256])
    return tuple(folder / path.name for path in pair)


@pytest.fixture(scope="session")
def joplin():
    """Return the folder of the real Joplin tiles."""
    from data_folder import DATA

    folder = DATA / "joplin"
    if not folder.is_dir():
        pytest.skip("GEODAMAGE_DATA is not here")
    return folder


@pytest.fixture(scope="session")
def executable():
    """Return the `geodamage` that the tests run."""
    found = os.environ.get("GEODAMAGE_EXECUTABLE") or shutil.which("geodamage")
    if not found or not Path(found).is_file():
        pytest.skip("no geodamage: set GEODAMAGE_EXECUTABLE")
    return Path(found)


@pytest.fixture
def configured(qgis_app, executable):
    """Make the plugin use the executable of the tests."""
    from geodamage_qgis import settings

    settings.set_executable(str(executable))
    return executable


@pytest.fixture(scope="session")
def command_line(executable):
    """Return a function that runs the command as a person would in a terminal."""

    def run(*arguments, expect=0):
        finished = subprocess.run(
            [str(executable), *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert finished.returncode == expect, finished.stderr
        return finished

    return run


@pytest.fixture(scope="session")
def sample_result(command_line, pair, tmp_path_factory):
    """Return the command line's result of the sample pair, as a GeoPackage."""
    output = tmp_path_factory.mktemp("command line") / "buildings.gpkg"
    command_line("assess", *pair, "-o", output, "-q")
    return output


@pytest.fixture(scope="session")
def qgis_process(tmp_path_factory, executable):
    """Return a function that runs `qgis_process` with the plugin linked into a profile."""
    # Debian's script hands on an option that its program does not know.
    program = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
    if program is None:
        pytest.skip("no qgis_process")
    folder = tmp_path_factory.mktemp("qgis_process profile")
    plugins = folder / "profiles" / "default" / "python" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / PLUGIN.name).symlink_to(PLUGIN)

    def start(*arguments, with_program=True):
        # The Python inside QGIS takes the first on the path for its home: the system's.
        folders = ["/usr/bin", "/bin", *([str(executable.parent)] if with_program else [])]
        variables = {
            **os.environ,
            "QGIS_CUSTOM_CONFIG_PATH": str(folder),
            "QT_QPA_PLATFORM": "offscreen",
            "HOME": str(folder),
            "PATH": os.pathsep.join(folders),
        }
        return subprocess.Popen(
            [program, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=variables,
        )

    def run(*arguments, expect=0, **options):
        process = start(*arguments, **options)
        out, err = process.communicate(timeout=300)
        assert process.returncode == expect, err + out
        return out, err

    run("plugins", "enable", PLUGIN.name)
    run.start = start
    return run


@pytest.fixture(scope="session")
def raster_elsewhere(qgis_app, pair, tmp_path_factory):
    """Return a copy of the image after, on the other side of the globe."""
    from osgeo import gdal

    path = tmp_path_factory.mktemp("elsewhere") / "post.tif"
    left, top, right, bottom = 0.0, 0.0029, 0.0033, 0.0  # about half a metre a pixel
    gdal.Translate(
        str(path), str(pair[1]), outputSRS="EPSG:4326", outputBounds=[left, top, right, bottom]
    )
    return path


@pytest.fixture(scope="session")
def big_pair(qgis_app, pair, tmp_path_factory):
    """Return the pair laid side by side many times, so that there is time to cancel."""
    from osgeo import gdal

    folder = tmp_path_factory.mktemp("big")
    found = []
    for path in pair:
        big = folder / path.name
        dataset = gdal.Open(str(path))
        columns, rows = dataset.RasterXSize, dataset.RasterYSize
        times = 6
        target = gdal.GetDriverByName("GTiff").Create(
            str(big), times * columns, times * rows, dataset.RasterCount,
            options=["TILED=YES", "PHOTOMETRIC=RGB"],
        )  # fmt: skip
        target.SetProjection(dataset.GetProjection())
        target.SetGeoTransform(dataset.GetGeoTransform())
        pixels = dataset.ReadRaster()
        for row in range(times):
            for column in range(times):
                target.WriteRaster(column * columns, row * rows, columns, rows, pixels)
        target = None  # closes the file
        found.append(big)
    return tuple(found)


@pytest.fixture
def run(provider, configured, project):
    """Return a function that runs an algorithm; what was said is in `run.feedback`."""
    import processing
    from qgis.core import QgsProcessingFeedback

    def call(name, **values):
        call.feedback = QgsProcessingFeedback()
        return processing.run(f"geodamage:{name}", values, feedback=call.feedback)

    return call


@pytest.fixture
def assess(run, small_pair):
    """Return a function that assesses a corner of the sample pair."""
    pre, post = map(str, small_pair)
    return lambda **values: run("assess", PRE=pre, POST=[post], **values)


@pytest.fixture
def layers(pair, project):
    """Return the sample pair as layers of the project."""
    from qgis.core import QgsRasterLayer

    found = [QgsRasterLayer(str(path), path.stem) for path in pair]
    project.addMapLayers(found)
    return found


@pytest.fixture
def footprints(project):
    """Return the sample's footprints as a layer of the project."""
    from qgis.core import QgsVectorLayer

    layer = QgsVectorLayer(str(SAMPLE / "footprints.geojson"), "footprints", "ogr")
    assert layer.isValid()
    project.addMapLayer(layer)
    return layer


@pytest.fixture
def inside(footprints, small_pair):
    """Return a footprint that lies in the middle of the corner of the pair."""
    from qgis.core import QgsCoordinateTransform, QgsProject, QgsRasterLayer

    image = QgsRasterLayer(str(small_pair[0]), "corner")
    change = QgsCoordinateTransform(footprints.crs(), image.crs(), QgsProject.instance())
    box = image.extent().buffered(-20)
    for feature in footprints.getFeatures():
        if box.contains(change.transformBoundingBox(feature.geometry().boundingBox())):
            return feature
    raise AssertionError("no footprint in the corner")


@pytest.fixture
def extent(layers):
    """Return the extent of the north-western 80 metres, in words."""
    box = layers[0].extent()
    box.setYMinimum(box.yMaximum() - 80)
    box.setXMaximum(box.xMinimum() + 80)
    return f"{box.xMinimum()},{box.xMaximum()},{box.yMinimum()},{box.yMaximum()} [EPSG:32616]"
