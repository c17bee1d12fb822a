# SPDX-License-Identifier: GPL-2.0-or-later
"""What the plugin remembers, in QGIS's settings under `geodamage/`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qgis.core import QgsApplication, QgsNetworkAccessManager, QgsSettings
from qgis.PyQt.QtNetwork import QNetworkProxy

from geodamage_qgis.program.executable import Executable, find_executable
from geodamage_qgis.program.proxy import proxy_variables

GROUP = "geodamage"

#: Models that come with the program, where it has not been asked yet.
KNOWN_MODELS = ("fast", "accurate")


def executable() -> str | None:
    """Return the path of the geodamage program that the user named, or None."""
    return _text("executable")


def set_executable(path: str | None) -> None:
    """Name the geodamage program; None or an empty text goes back to looking for it."""
    _set_text("executable", path)


def maker() -> str | None:
    """Return the path of the Python or uv that is to make environments, or None."""
    return _text("maker")


def set_maker(path: str | None) -> None:
    """Name the Python or uv that is to make environments."""
    _set_text("maker", path)


def package() -> str | None:
    """Return the wheel or folder that was chosen last, or None."""
    return _text("package")


def set_package(path: str | None) -> None:
    """Remember the wheel or folder that was chosen."""
    _set_text("package", path)


def model() -> str | None:
    """Return the model that was used last, or None for the tool's own choice."""
    return _text("model")


def set_model(name: str | None) -> None:
    """Remember the model."""
    _set_text("model", name)


def models() -> list[str]:
    """Return the names of the program's models, as it named them last."""
    return list(QgsSettings().value(f"{GROUP}/models", None) or KNOWN_MODELS)


def set_models(names: Sequence[str]) -> None:
    """Remember what the program's models are called."""
    QgsSettings().setValue(f"{GROUP}/models", list(names))


def allow_registry() -> bool:
    """Return whether geodamage may be installed by its name: not until it is published."""
    return bool(QgsSettings().value(f"{GROUP}/allow_registry", False, type=bool))


def set_allow_registry(allowed: bool) -> None:
    """Allow or forbid installing geodamage by its name."""
    QgsSettings().setValue(f"{GROUP}/allow_registry", bool(allowed))


def environment_folder() -> Path:
    """Return where the plugin's own environment is, or would be: in the user's profile."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "geodamage" / "environment"


def find() -> Executable:
    """Find the geodamage program by these settings; asks it for its version.

    Raises
    ------
    PluginError
        If there is none that works.
    """
    return find_executable(executable(), environment_folder())


def network_variables() -> dict[str, str]:
    """Return the proxy of QGIS's options as environment variables; call it in the main thread."""
    manager = QgsNetworkAccessManager.instance()
    proxy = manager.fallbackProxy()
    kinds = {
        QNetworkProxy.ProxyType.HttpProxy: "http",
        QNetworkProxy.ProxyType.HttpCachingProxy: "http",
        QNetworkProxy.ProxyType.Socks5Proxy: "socks5h",
    }
    return proxy_variables(
        kinds.get(proxy.type()),
        proxy.hostName(),
        proxy.port(),
        login=(proxy.user(), proxy.password()),
        exclude=[*manager.noProxyList(), *manager.excludeList()],
    )


def _text(name: str) -> str | None:
    value = str(QgsSettings().value(f"{GROUP}/{name}", "") or "").strip()
    return value or None


def _set_text(name: str, value: str | None) -> None:
    if value is None or not value.strip():
        QgsSettings().remove(f"{GROUP}/{name}")
    else:
        QgsSettings().setValue(f"{GROUP}/{name}", value.strip())
