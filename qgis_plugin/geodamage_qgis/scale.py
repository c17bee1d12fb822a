# SPDX-License-Identifier: GPL-2.0-or-later
"""The damage scale, by make_styles.py from geodamage/damage.py: do not edit."""

from __future__ import annotations

from collections.abc import Mapping

#: Codes of the grades, from no damage to destroyed.
CLASSES: Mapping[str, int] = {
    "no-damage": 1,
    "minor-damage": 2,
    "major-damage": 3,
    "destroyed": 4,
}

#: Names for people.
TITLES: Mapping[str, str] = {
    "no-damage": "no damage",
    "minor-damage": "minor damage",
    "major-damage": "major damage",
    "destroyed": "destroyed",
}

#: Field of the probability of each grade.
PROBABILITIES: Mapping[str, str] = {
    "no-damage": "p_none",
    "minor-damage": "p_minor",
    "major-damage": "p_major",
    "destroyed": "p_destroyed",
}

COLOURS: Mapping[str, str] = {
    "no-damage": "#2ca25f",
    "minor-damage": "#ffe14d",
    "major-damage": "#ff8c1a",
    "destroyed": "#d7191c",
}
COLOUR_NOT_ASSESSED = "#9e9e9e"
