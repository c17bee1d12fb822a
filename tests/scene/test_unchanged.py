"""An image that is written to while it is read gives no result."""

import os

import pytest

from geodamage.errors import SceneReadError
from geodamage.scene.image import open_image
from tests.conftest import make_pixels


@pytest.mark.parametrize("kind", ["other pixels", "same size and time", "gone"])
def test_a_change_is_noticed(raster, kind):
    path = raster("a.tif", make_pixels(40, 50))
    image = open_image("pre", path, bands=None, channels=3, scale=None, allow_remote=False)
    image.require_unchanged()
    found = path.stat()
    if kind == "gone":
        path.unlink()
    elif kind == "other pixels":
        raster("a.tif", make_pixels(44, 50))
    else:
        content = bytearray(path.read_bytes())
        content[-1 if len(content) < 2**16 else 1000] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    with pytest.raises(SceneReadError, match=r"a\.tif: was changed while it was read"):
        image.require_unchanged()
    image.close()
