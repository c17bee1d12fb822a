"""Folders of the project that these tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "qgis_plugin" / "geodamage_qgis"
SAMPLE = ROOT / "sample_data"
