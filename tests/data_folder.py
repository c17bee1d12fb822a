"""Real imagery, where it is at hand."""

import os
from pathlib import Path

import pytest

#: The folder that `GEODAMAGE_DATA` names; it need not be there.
DATA = Path(
    os.environ.get("GEODAMAGE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)


def needs(*parts: str) -> pytest.MarkDecorator:
    """Return the mark of tests that read a part of the data, and are skipped where it is not."""
    part = DATA.joinpath(*parts)
    return pytest.mark.skipif(not part.exists(), reason=f"{part} is not here: set GEODAMAGE_DATA")
