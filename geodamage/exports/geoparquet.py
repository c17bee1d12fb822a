"""GeoParquet 2.0: geometries of a type of their own, which keep the box of each row group.

GeoPandas writes it. Other formats write 1.1: its geometries are bytes that every reader knows.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import geopandas as gpd

from geodamage.errors import MissingExtraError

#: The first versions that write and read such geometries. Source: their release notes.
NEEDED = {"geopandas": (1, 2), "pyarrow": (21, 0)}

#: Buildings of a row group: a reader skips those whose box lies elsewhere.
ROW_GROUP = 50_000

NATIVE_NOTE = (
    "GeoParquet 2.0 was a release candidate when this was written; readers of 1.1, and GDAL before "
    "its support, see no geometry in it"
)


def require_native_geometry() -> None:
    """Check that what writes GeoParquet 2.0 is installed.

    Raises
    ------
    MissingExtraError
        If not.
    """
    for name, least in NEEDED.items():
        wanted = ".".join(map(str, least))
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "none"
        if found == "none" or tuple(map(int, found.split(".")[:2])) < least:
            raise MissingExtraError(
                f"--geoparquet 2.0 needs {name} {wanted} or newer, and {found} is installed; "
                f'run pip install "{name}>={wanted}", or leave the option out'
            )


def write_native(frame: gpd.GeoDataFrame, path: Path) -> None:
    """Write buildings as GeoParquet 2.0.

    Parameters
    ----------
    frame
        All of them.
    path
        Where to.
    """
    frame.to_parquet(
        path,
        index=False,
        compression="zstd",
        schema_version="2.0.0",
        write_covering_bbox=True,
        row_group_size=ROW_GROUP,
    )
