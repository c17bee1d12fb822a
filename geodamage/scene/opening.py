"""Opening a raster: the one place that decides what GDAL may open, and under which settings.

GDAL is given one driver. A file that is neither a GeoTIFF nor a JPEG 2000 is refused, whatever its
name. So is everything that would make GDAL open another file.
"""

import os
import warnings
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import CRSError as RasterioCRSError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geodamage.errors import SceneReadError, one_line
from geodamage.scene.beside import (
    TIFF,
    hint_of,
    is_jpeg2000,
    require_plain_siblings,
    siblings,
    start_of,
)
from geodamage.sources import is_remote

#: GDAL keeps at most this many bytes of blocks; its own default is a share of the memory.
CACHE_BYTES = 128 * 2**20

# No .aux.xml: it can name other files, of any driver and on any server, as overviews.
_LOCAL = {"GDAL_CACHEMAX": CACHE_BYTES, "GDAL_PAM_ENABLED": "NO"}

# Source: titiler, docs/src/advanced/performance_tuning.md. EMPTY_DIR would hide the .ovr and
# .tfw of local files, so it is for remote ones only.
_REMOTE = _LOCAL | {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "VSI_CACHE": True,
    "VSI_CACHE_SIZE": 5_000_000,
}

# A dead server is found out within half a minute, and a slow one is borne. Seconds and bytes per
# second; a user's own, in the environment, go first.
_PATIENCE = {
    "GDAL_HTTP_CONNECTTIMEOUT": "5",
    "GDAL_HTTP_LOW_SPEED_TIME": "10",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_MAX_RETRY": "1",
    "GDAL_HTTP_RETRY_DELAY": "1",
}


#: How messages call what a driver reads.
_KINDS = {"GTiff": "GeoTIFF", "PNG": "PNG", "JPEG": "JPEG"}


def environment(name: str) -> rasterio.Env:
    """Return the settings of GDAL under which a file is opened and read."""
    if not is_remote(name):
        return rasterio.Env(**_LOCAL)
    patience = {key: value for key, value in _PATIENCE.items() if key not in os.environ}
    return rasterio.Env(**_REMOTE, **patience)


def open_plain(name: str, driver: str | None = None) -> Any:
    """Return an open dataset of rasterio, of a file that makes GDAL open no other one.

    Parameters
    ----------
    name
        Absolute path of a file that was checked, or a path of GDAL's for a URL.
    driver
        What opens it; None takes GeoTIFF or JPEG 2000, as the content says.

    Raises
    ------
    SceneReadError
        If it is of another format, damaged or out of reach, or what lies beside it is no TIFF.
    """
    require_plain_siblings(name)
    _require_plain_tags(name)
    chosen = driver or ("JP2OpenJPEG" if is_jpeg2000(name) else "GTiff")
    try:
        return _opened(name, chosen)
    except (RasterioError, RasterioCRSError) as error:
        where = "out of reach, " if is_remote(name) else ""
        kinds = "GeoTIFF or JPEG 2000" if driver is None else _KINDS[driver]
        raise SceneReadError(
            f"{name}: {where}not a {kinds}, or damaged ({reason_of(error)}){hint_of(name)}"
        ) from error


def _opened(name: str, driver: str) -> Any:
    """Open a raster; nothing is read before it is known to name no other file."""
    with environment(name), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(name, driver=driver)
        if "OVERVIEW_FILE" in dataset.tags(ns="OVERVIEWS"):  # of any format, and anywhere
            dataset.close()
            raise SceneReadError(f"{name}: names another file as its overviews; remove that tag")
    return dataset


def _require_plain_tags(name: str) -> None:
    """Check that the TIFFs beside a local file are whole, and name no further files."""
    for other in [] if is_remote(name) else siblings(Path(name)):
        if start_of(other, 4) not in TIFF:
            continue
        try:
            _opened(str(other), "GTiff").close()
        except (RasterioError, RasterioCRSError) as error:  # GDAL would pass it over in silence
            raise SceneReadError(
                f"{name}: {other.name} beside it is damaged ({reason_of(error)}); make it again, "
                "or move it away"
            ) from error


def reason_of(error: BaseException) -> str:
    """Return what GDAL said first; rasterio says "see previous exception"."""
    return one_line(error.__cause__ or error)[:200]
