# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the program geodamage, and reading what it writes; imports no QGIS."""
