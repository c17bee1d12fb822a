"""Put the folder of the plugin on the path, as QGIS does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "qgis_plugin"))
