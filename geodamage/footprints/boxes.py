"""Footprints in a box: from a local file or a server, and no more of it than is needed."""

import json
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError

from geodamage.errors import FootprintError, GeodamageError, MissingExtraError, install, one_line
from geodamage.grid import transformer
from geodamage.sources import VECTOR_ERRORS, check_file
from geodamage.vector.formats import format_of
from geodamage.vector.layer import split_layer
from geodamage.vector.reading import read_vector

Bounds = tuple[float, float, float, float]

LONLAT = CRS.from_user_input("OGC:CRS84")
_ENDS = ("xmin", "ymin", "xmax", "ymax")
#: Bytes in which a PMTiles says what it is. Source: PMTiles version 3 specification.
_PMTILES = b"PMTiles"
#: How often tiles are read to find the parts of features that reach into more of them, and the
#: degrees by which the box then grows: some 10 m, into the next tile.
_MOST_ROUNDS = 5
_MARGIN = 1e-4
#: What a description of geometry raises that is JSON, and not what it should be.
_MISSHAPEN = (KeyError, TypeError, AttributeError, IndexError)


def read_box(name: Path | str, bounds: Bounds, notes: list[str]) -> gpd.GeoDataFrame:
    """Return the features of a file that a box touches, in longitude and latitude.

    Parameters
    ----------
    name
        GeoParquet, PMTiles, or another vector file; `file:layer` where it has several. A folder
        holds GeoParquet.
    bounds
        Left, bottom, right, top, degrees.
    notes
        Takes what a user should know, such as features that cannot be read.

    Raises
    ------
    FootprintError, SceneReadError
        If it cannot be read, or has no CRS.
    MissingExtraError
        If it is GeoParquet and pyarrow is not installed.
    """
    path = Path(name)
    if path.is_dir() and path.suffix.lower() != ".gdb":
        return _folder(path, bounds)
    if path.suffix.lower() == ".pmtiles":
        return _pmtiles(path, bounds)
    place, layer = split_layer(name)
    if layer is None and format_of(place).name == "Parquet":
        with place.open("rb") as file:
            return read_parquet_box(file, bounds, str(place))
    found = read_vector(name, skip_broken=True, refusal=FootprintError)
    notes += found.notes
    frame = found.frame
    if found.identities is not None and "id" not in frame.columns:
        frame = frame.assign(id=pd.Series(found.identities, frame.index, dtype=object))
    return _touched(frame.to_crs(LONLAT), bounds)


def _folder(path: Path, bounds: Bounds) -> gpd.GeoDataFrame:
    files = sorted(file for file in path.rglob("*.parquet") if file.is_file())
    if not files:
        raise FootprintError(f"{path}: a folder without .parquet; give a file, or such a folder")
    frames = []
    for file in files:
        with Path(check_file(str(file))).open("rb") as content:
            frames.append(read_parquet_box(content, bounds, str(file)))
    return joined(frames)


def joined(frames: list[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    """Return the rows of frames in longitude and latitude as one."""
    full = [frame for frame in frames if len(frame)]
    if not full:
        return frames[0] if frames else gpd.GeoDataFrame(geometry=[], crs=LONLAT)
    return gpd.GeoDataFrame(pd.concat(full, ignore_index=True), crs=LONLAT)


def _touched(frame: gpd.GeoDataFrame, bounds: Bounds) -> gpd.GeoDataFrame:
    inside = shapely.intersects(frame.geometry.to_numpy(), shapely.box(*bounds))
    kept = frame[inside].reset_index(drop=True)
    return kept if kept.geometry.name == "geometry" else kept.rename_geometry("geometry")


# GeoParquet ------------------------------------------------------------------------------------


def read_parquet_box(content: IO[bytes] | Any, bounds: Bounds, name: str) -> gpd.GeoDataFrame:
    """Return the features of a GeoParquet that a box touches.

    Row groups whose boxes lie elsewhere are not read, if the file has a column of boxes. GeoParquet
    1.1 has it as its covering, and Overture as `bbox`.

    Parameters
    ----------
    content
        A file to read and seek in, also on a server.
    bounds
        Left, bottom, right, top, degrees.
    name
        What it is called, for messages.

    Raises
    ------
    FootprintError
        If it is no GeoParquet.
    MissingExtraError
        If pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise MissingExtraError(f"{name}: GeoParquet needs pyarrow; run {install('parquet')}")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(content)
        column, crs, covering = _described(file.schema_arrow, name)
        box = _in_crs(bounds, crs)
        groups = [n for n in range(file.num_row_groups) if _may_touch(file, n, covering, box)]
        names = [f for f in file.schema_arrow.names if covering is None or f != covering[0][0]]
        frames = [_rows(file, n, names, column, crs, box) for n in groups]
    except GeodamageError:
        raise
    except (*VECTOR_ERRORS, *_MISSHAPEN, CRSError, pa.ArrowException) as error:
        raise FootprintError(
            f"{name}: not a readable GeoParquet file ({one_line(error)})"
        ) from error
    return _touched(joined(frames), bounds)


_Covering = Mapping[int, tuple[str, ...]]


def _described(schema: Any, name: str) -> tuple[str, CRS, "_Covering | None"]:
    """Return the column of geometries, its CRS, and the columns of their boxes."""
    text = (schema.metadata or {}).get(b"geo")
    if text is None:
        raise FootprintError(f"{name}: a Parquet without geometry (no `geo`); give GeoParquet")
    told = json.loads(text)
    column = told["primary_column"]
    own = told["columns"][column]
    if str(own.get("encoding", "WKB")).upper() != "WKB":
        raise FootprintError(f"{name}: its geometries are not WKB; write them so (gpq convert)")
    crs = own.get("crs", "OGC:CRS84")
    if crs is None:
        raise FootprintError(f"{name}: has no CRS, so its place is unknown; assign one")
    try:
        known = CRS.from_user_input(crs)
    except CRSError as error:
        raise FootprintError(f"{name}: its CRS is unknown ({one_line(error)})") from error
    covering = (own.get("covering") or {}).get("bbox")
    if covering is None and "bbox" in schema.names:
        covering = {end: ["bbox", end] for end in _ENDS}
    if covering is None:
        return column, known, None
    return column, known, {n: tuple(covering[end]) for n, end in enumerate(_ENDS)}


def _in_crs(bounds: Bounds, crs: CRS) -> Bounds:
    to_crs = transformer(LONLAT, crs)
    left, bottom, right, top = to_crs.transform_bounds(*bounds, densify_pts=21)
    return left, bottom, right, top


def _may_touch(file: Any, group: int, covering: "_Covering | None", box: Bounds) -> bool:
    """Say whether a row group has a feature in a box, as far as its statistics tell."""
    if covering is None:
        return True
    paths = {".".join(path): n for n, path in covering.items()}
    least, most = [-np.inf] * 4, [np.inf] * 4
    metadata = file.metadata.row_group(group)
    for number in range(metadata.num_columns):
        column = metadata.column(number)
        n = paths.get(column.path_in_schema)
        statistics = column.statistics if n is not None else None
        if n is not None and statistics is not None and statistics.has_min_max:
            least[n], most[n] = statistics.min, statistics.max
    return bool(
        least[0] <= box[2] and most[2] >= box[0] and least[1] <= box[3] and most[3] >= box[1]
    )


def _rows(
    file: Any, group: int, names: list[str], column: str, crs: CRS, box: Bounds
) -> gpd.GeoDataFrame:
    table = file.read_row_group(group, columns=names)
    shapes = shapely.from_wkb(table.column(column).to_pandas().to_numpy(), on_invalid="ignore")
    near = shapely.intersects(shapes, shapely.box(*box))
    kept = table.drop_columns([column]).take(np.flatnonzero(near)).to_pandas()
    geometry = gpd.GeoSeries(shapes[near], crs=crs)
    frame = gpd.GeoDataFrame(kept.reset_index(drop=True), geometry=geometry)
    return frame.to_crs(LONLAT)


# PMTiles ---------------------------------------------------------------------------------------


def _pmtiles(path: Path, bounds: Bounds) -> gpd.GeoDataFrame:
    """Return the features of tiles; those that the rims of tiles cut are put together again."""
    name = check_file(str(path))
    with path.open("rb") as file:
        if not file.read(len(_PMTILES)).startswith(_PMTILES):
            raise FootprintError(f"{path}: not a PMTiles file; give the right file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            frame = _of_tiles(name, bounds)
    except (*VECTOR_ERRORS, IndexError, CRSError) as error:
        raise FootprintError(f"{path}: not a readable PMTiles file ({one_line(error)})") from error
    return _touched(frame, bounds)


def _of_tiles(name: str, bounds: Bounds) -> gpd.GeoDataFrame:
    """Return the features of the tiles that a box touches, whole: with their parts in others."""
    layers = [str(layer) for layer, _ in pyogrio.list_layers(name)]
    chosen = next((layer for layer in layers if "building" in layer), layers[0])
    about = pyogrio.read_info(name, layer=chosen)
    if about["driver"] != "PMTiles":
        raise ValueError(f"opened as {about['driver']}")
    crs = CRS(about["crs"])
    wanted = bounds
    for _ in range(_MOST_ROUNDS):
        frame = pyogrio.read_dataframe(name, layer=chosen, bbox=_in_crs(wanted, crs))
        frame = frame.to_crs(LONLAT)
        identity = next((key for key in ("id", "building_id", "mvt_id") if key in frame), None)
        if identity is None:
            break
        frame = _whole(frame, identity)
        reach = _touched(frame, bounds).total_bounds
        if not np.isfinite(reach).all() or _holds(wanted, reach):
            break
        low, high = np.minimum(wanted[:2], reach[:2]), np.maximum(wanted[2:], reach[2:])
        wanted = (*(low - _MARGIN).tolist(), *(high + _MARGIN).tolist())
    return frame


def _holds(box: Bounds, reach: np.ndarray) -> bool:
    return bool((reach[:2] >= box[:2]).all() and (reach[2:] <= box[2:]).all())


def _whole(frame: gpd.GeoDataFrame, identity: str) -> gpd.GeoDataFrame:
    """Return each feature once, with the union of its parts."""
    numbers, _ = pd.factorize(frame[identity].astype(object), use_na_sentinel=False)
    unnamed = frame[identity].isna().to_numpy()
    numbers = np.where(unnamed, len(frame) + np.arange(len(frame)), numbers)
    shapes = shapely.make_valid(frame.geometry.to_numpy())
    _, first, group = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(group, kind="stable")
    parts = np.split(shapes[order], np.cumsum(np.bincount(group))[:-1])
    own = frame.iloc[first].reset_index(drop=True)
    return own.set_geometry(gpd.GeoSeries([shapely.union_all(p) for p in parts], crs=LONLAT))


def polygons(frames: Iterator[gpd.GeoDataFrame]) -> Iterator[gpd.GeoDataFrame]:
    """Yield frames with their polygons only; those that cross themselves are repaired."""
    for frame in frames:
        shapes = shapely.force_2d(frame.geometry.to_numpy())
        bad = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
        shapes[bad] = shapely.make_valid(shapes[bad], method="structure", keep_collapsed=False)
        kept = np.isin(shapely.get_type_id(shapes), (3, 6)) & ~shapely.is_empty(shapes)
        own = frame[kept].reset_index(drop=True)
        yield own.set_geometry(gpd.GeoSeries(shapes[kept], crs=frame.crs))
