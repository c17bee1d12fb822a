# SPDX-License-Identifier: GPL-2.0-or-later
"""Making the environment of the program, and saying what is wrong with it; imports no QGIS."""
