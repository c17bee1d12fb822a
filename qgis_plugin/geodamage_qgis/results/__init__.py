# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as layers: recognised, loaded, styled, described, with their corrections."""
