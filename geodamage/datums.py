"""Changes of datum: how well places are known once they are moved from one to another."""

import warnings

from pyproj import CRS
from pyproj.aoi import AreaOfInterest
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup

from geodamage.grid import transformer

#: Metres of uncertainty that go without a word: half a small house. What PROJ lists of NAD83, 4 m,
#: is of all North America, and of its first realisation.
UNSAID = 4.0


def datum_doubt(
    name: str, crs: CRS, target: CRS, bounds: tuple[float, float, float, float]
) -> str | None:
    """Return what a user should know of the way from one CRS to another; None if it is exact.

    Parameters
    ----------
    name
        The file, for the message.
    crs, target
        From where to where.
    bounds
        Left, bottom, right, top of the place, in `target`.
    """
    if crs == target or crs.geodetic_crs == target.geodetic_crs:
        return None
    try:
        to_lonlat = transformer(target, "OGC:CRS84")
        place = AreaOfInterest(*to_lonlat.transform_bounds(*bounds))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of grids that are not installed
            ways = TransformerGroup(
                crs,
                target,
                always_xy=True,
                area_of_interest=place,  # type: ignore[arg-type]  # its stubs name another module
            )
    except ProjError:
        return None  # whoever moves something there says what is wrong
    if not ways.transformers:
        return None
    best = ways.transformers[0]
    if 0 <= best.accuracy <= UNSAID:
        return None
    better = ways.unavailable_operations
    known = f"to {best.accuracy:g} m" if best.accuracy > 0 else "not at all"
    told = f"{name}: from {_datum(crs)} to {_datum(target)} places are known {known}"
    steps = [step for step in best.description.split(" + ") if " to " in step]
    told += f" ({steps[0]})" if steps else ""
    if better:
        told += f"; to {better[0].accuracy:g} m with the grid of '{better[0].name.split(' + ')[0]}'"
    return told + "; look whether things lie where they are"


def _datum(crs: CRS) -> str:
    base = crs.geodetic_crs
    return str(crs.name if base is None else base.name)
