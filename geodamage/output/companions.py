"""Companions: the other files of an output that is more than one file."""

from collections.abc import Mapping
from pathlib import Path

#: Files that make up an output together with the one that names it, by its extension. A writer puts
#: them beside the partial file, each called as that and its own ending.
COMPANIONS: Mapping[str, tuple[str, ...]] = {
    ".shp": (".shx", ".dbf", ".prj", ".cpg", ".fields.csv"),
}


def companions(path: Path) -> dict[str, Path]:
    """Return the other files of an output by their endings."""
    endings = COMPANIONS.get(path.suffix.lower(), ())
    return {ending: path.with_name(f"{path.stem}{ending}") for ending in endings}
