# SPDX-License-Identifier: GPL-2.0-or-later
"""The review: buildings one by one, with both dates side by side."""
