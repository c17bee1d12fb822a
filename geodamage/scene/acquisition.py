"""When and how an image was taken, as far as its metadata say: date, off-nadir angle, sun."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from geodamage.scene.beside import stac_item

#: Degrees off nadir above which roofs hide walls and neighbours, and a warning is due.
OFF_NADIR = 25.0

_MIDNIGHT = time()
_ROLES = {"pre": "pre", "before": "pre", "post": "post", "after": "post"}
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")

#: Names, in lower case and without punctuation, of what vendors write into their metadata.
_WHEN = ("acquisitiondatetime", "acquisitiondate", "acquired", "firstlinetime", "imagingdate")
_OFF_NADIR = ("viewoffnadir", "offnadir", "offnadirangle", "meanoffnadirviewangle")
_SUN_ELEVATION = ("viewsunelevation", "sunelevation", "meansunel", "sunel")
_SUN_AZIMUTH = ("viewsunazimuth", "sunazimuth", "meansunaz", "sunaz")


@dataclass(frozen=True)
class Acquisition:
    """When and how an image was taken.

    Attributes
    ----------
    date
        When, or None where nothing tells.
    is_exact
        Whether `date` is that of the acquisition; the date of a file is at or after it.
    source
        What told the date.
    role
        `pre` or `post`, where the name of the file says so.
    off_nadir, sun_elevation, sun_azimuth
        Degrees, or None.
    """

    date: datetime | None = None
    is_exact: bool = False
    source: str | None = None
    role: str | None = None
    off_nadir: float | None = None
    sun_elevation: float | None = None
    sun_azimuth: float | None = None

    def facts(self) -> dict[str, Any]:
        """Return what a sidecar says."""
        return {
            "date": None if self.date is None else self.date.isoformat(),
            "date_from": self.source,
            "off_nadir": self.off_nadir,
            "sun_elevation": self.sun_elevation,
            "sun_azimuth": self.sun_azimuth,
        }


def read_acquisition(name: str, tags: Mapping[str, str], imagery: Mapping[str, str]) -> Acquisition:
    """Return what metadata tell of an image.

    The order is: a STAC item beside the file, the tags of the vendor, a date in the name, and at
    last the modification time of the file.

    Parameters
    ----------
    name
        Path of the file; of a URL only the name is looked at.
    tags, imagery
        Tags of the file, of its default and of its `IMAGERY` domain.
    """
    item = _stac_properties(name)
    vendor = {_plain(key): value for key, value in {**tags, **imagery, **item}.items()}
    date, is_exact, source = _date(name, tags, vendor, item)
    return Acquisition(
        date,
        is_exact,
        source,
        role_of(name),
        _angle(vendor, _OFF_NADIR, 0, 90),
        _angle(vendor, _SUN_ELEVATION, -90, 90),
        _angle(vendor, _SUN_AZIMUTH, -360, 360),
    )


def role_of(name: str) -> str | None:
    """Return `pre` or `post`, where the words of a file's name say one and not the other."""
    words = re.split(r"[^a-z]+", Path(name).stem.lower())
    roles = {_ROLES[word] for word in words if word in _ROLES}
    return roles.pop() if len(roles) == 1 else None


def doubts(pre: Acquisition, post: Acquisition, names: tuple[str, str]) -> list[str]:
    """Return what metadata make doubtful about a pair, a line each.

    Parameters
    ----------
    names
        Names of both images, for the warnings.
    """
    found = []
    if _is_older(post, pre):
        dates = [
            f"{name} is of {image.date:%Y-%m-%d %H:%M} by its {image.source}"
            for name, image in zip(names, (pre, post), strict=True)
        ]
        found.append(f"{dates[0]}, and {dates[1]}, earlier; are pre and post swapped?")
    elif pre.role == "post" or post.role == "pre":
        found.append(
            f"pre is {names[0]} and post is {names[1]}: by their names they are swapped; check them"
        )
    for name, image in zip(names, (pre, post), strict=True):
        if image.off_nadir is not None and image.off_nadir > OFF_NADIR:
            found.append(
                f"{name}: taken {image.off_nadir:.0f} degrees off nadir, more than "
                f"{OFF_NADIR:.0f}; roofs lean away from their footprints, and grades are less "
                f"certain"
            )
    return found


def _is_older(one: Acquisition, other: Acquisition) -> bool:
    """Say whether one image is older than the other.

    The date of a file is never before the acquisition: it can show that an image is older than a
    known acquisition, and not that it is younger.
    """
    if one.date is None or other.date is None:
        return False
    if _MIDNIGHT in (one.date.time(), other.date.time()):  # a day, without a time
        is_before = one.date.date() < other.date.date()
    else:
        is_before = one.date < other.date
    return is_before and (other.is_exact or not one.is_exact)


def _date(
    name: str, tags: Mapping[str, str], vendor: Mapping[str, str], item: Mapping[str, str]
) -> tuple[datetime | None, bool, str | None]:
    for key in ("datetime", "start_datetime"):
        date = _parse(item.get(key))
        if date is not None:
            return date, True, "STAC item"
    for key in _WHEN:
        date = _parse(vendor.get(key))
        if date is not None:
            return date, True, f"tag {key}"
    match = _DATE.search(Path(name).stem)
    date = None if match is None else _parse("-".join(match.group(1, 3, 4)))
    if date is not None:
        return date, True, "name"
    date = _parse(tags.get("TIFFTAG_DATETIME"))
    return date, False, None if date is None else "TIFFTAG_DATETIME"


def _parse(text: str | None) -> datetime | None:
    if text is None:
        return None
    text = re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", text.strip().strip('"'))
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def _angle(
    vendor: Mapping[str, str], keys: tuple[str, ...], low: float, high: float
) -> float | None:
    for key in keys:
        try:
            value = float(vendor[key])
        except (KeyError, ValueError):
            continue
        if low <= value <= high:
            return value
    return None


def _plain(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())


def _stac_properties(name: str) -> dict[str, str]:
    """Return texts and numbers of the STAC item beside a file; nothing where there is none."""
    properties = stac_item(name).get("properties")
    if not isinstance(properties, dict):
        return {}
    return {
        str(key): str(value)
        for key, value in properties.items()
        if isinstance(value, str | int | float)
    }
