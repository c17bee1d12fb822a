# SPDX-License-Identifier: GPL-2.0-or-later
"""A proxy as pip, uv and geodamage take it: in environment variables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

#: Name and password in an address, or in a setting of a proxy.
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def proxy_variables(
    kind: str | None,
    host: str,
    port: int,
    *,
    login: tuple[str, str] = ("", ""),
    exclude: Iterable[str] = (),
) -> dict[str, str]:
    """Return the environment variables of a proxy; none where there is none.

    Parameters
    ----------
    kind
        Scheme of the proxy, `http` or `socks5h`; None for none, or the system's.
    host, port
        Of the proxy.
    login
        Name and password, or empty texts.
    exclude
        Addresses or hosts that are reached without it.
    """
    if kind is None or not host:
        return {}
    name, password = (quote(part, safe="") for part in login)
    user = f"{name}:{password}@" if password else f"{name}@" if name else ""
    address = f"{kind}://{user}{host}{f':{port}' if port else ''}"
    hosts = [found for found in map(_host, exclude) if found]
    variables = {"HTTP_PROXY": address, "HTTPS_PROXY": address, "NO_PROXY": ",".join(hosts)}
    variables = {key: value for key, value in variables.items() if value}
    # Programs on Linux and macOS read the small ones first, and those of QGIS may say otherwise.
    return {**variables, **{key.lower(): value for key, value in variables.items()}}


def _host(address: str) -> str:
    return (urlsplit(address).hostname or "") if "://" in address else address.strip().strip("/")


def without_logins(text: str) -> str:
    """Return a text without the names and passwords in its addresses."""
    return _LOGIN.sub("***", text)
