# SPDX-License-Identifier: GPL-2.0-or-later
"""Which plugin this is."""

from __future__ import annotations

import configparser
from pathlib import Path


def plugin_version() -> str:
    """Return the version in metadata.txt."""
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(Path(__file__).with_name("metadata.txt"), encoding="utf-8")
    return metadata.get("general", "version", fallback="not known")
