# SPDX-License-Identifier: GPL-2.0-or-later
"""Why pip or uv failed, in one line that says what to do."""

from __future__ import annotations

import re

from geodamage_qgis.translation import tr

_NOT_FOUND = (
    "{name} was not found where packages are looked for; add its wheel, or choose another source"
)

#: What they say, by what it means.
_REASONS = (
    (r"No space left on device|Errno 28|not enough space", "the disk is full; free some space"),
    (
        r"hashe?s? (?:do|did|does)(?:n't| not) match|Hash mismatch",
        "the wheel is not the one that was chosen; choose it again",
    ),
    (
        r"ProxyError|Tunnel connection failed|407 Proxy|Missing dependencies for SOCKS",
        "packages cannot be downloaded through the proxy; look at the proxy in QGIS's options",
    ),
    (
        r"NewConnectionError|Name or service not known|getaddrinfo failed|dns error|"
        r"Temporary failure in name resolution|ConnectTimeoutError|Network is unreachable",
        "packages cannot be downloaded; check the network and the proxy in QGIS's options",
    ),
    (
        r"(?:No matching distribution found for|Could not find a version that satisfies the "
        r"requirement|Because) (?P<name>[^\s;<>=!~(]+)(?: was not found)?",
        _NOT_FOUND,
    ),
)


def reason(log: str) -> str | None:
    """Return one line of why pip or uv failed: what users know, else their last error.

    Parameters
    ----------
    log
        All that it said.
    """
    for pattern, text in _REASONS:
        found = re.search(pattern, log, re.IGNORECASE)
        if found:
            return tr(text, **found.groupdict())
    errors = [line.strip() for line in log.splitlines() if _is_error(line)]
    return errors[-1].partition(":")[2].strip() if errors else None


def _is_error(line: str) -> bool:
    return re.match(r"\s*error: ", line, re.IGNORECASE) is not None
