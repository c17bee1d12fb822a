"""What refuses a pair, what is odd about one, and pairs about which nothing is."""

import numpy as np
import pytest

from geodamage.errors import SceneError
from geodamage.scene.pair import oddities, require_two_files, require_two_images
from geodamage.scene.survey import Block
from geodamage.windows import Window
from tests.landscapes import landscape, later

NAMES = "pre.tif", "post.tif"


def blocks_of(pre, post, pre_valid=None, post_valid=None):
    """Return a scene of one block."""
    shape = pre.shape[1:]
    valid = [np.ones(shape, bool) if v is None else v for v in (pre_valid, post_valid)]
    return [Block(Window(0, 0, *shape), pre, post, *valid)]


PLACE = landscape(128, 128)


def test_nothing_is_odd_about_a_pair():
    blocks = blocks_of(PLACE, later(PLACE))
    require_two_images(blocks, NAMES)
    assert oddities(blocks, NAMES) == []


def test_one_file_under_two_names_is_refused(tmp_path):
    file, other = tmp_path / "a.tif", tmp_path / "b.tif"
    file.write_bytes(b"one")
    other.write_bytes(b"one")
    link = tmp_path / "link.tif"
    link.symlink_to(file)
    with pytest.raises(SceneError, match="the same file"):
        require_two_files([str(file)], [str(link)])
    require_two_files([str(file)], [str(other)])


def test_mosaics_may_share_a_tile(tmp_path):
    names = [str(tmp_path / name) for name in "abc"]
    require_two_files(names[:2], names[1:])
    with pytest.raises(SceneError, match="the same file"):
        require_two_files(names[:2], names[1::-1])


def test_the_same_pixels_are_refused():
    with pytest.raises(SceneError, match=r"post\.tif: the same pixels as pre\.tif"):
        require_two_images(blocks_of(PLACE, PLACE.copy()), NAMES)


def test_the_same_fill_is_not_the_same_image():
    flat = np.full((3, 128, 128), 200, np.uint8)
    require_two_images([*blocks_of(flat, flat), *blocks_of(PLACE, later(PLACE))], NAMES)


def test_an_image_that_is_mostly_the_older_one():
    post = later(PLACE)
    post[:, 40:] = PLACE[:, 40:]
    found = oddities(blocks_of(PLACE, post), NAMES)
    assert any("% of its pixels equal those of pre.tif" in text for text in found)


def test_the_same_image_compressed_again():
    noise = np.random.default_rng(0).integers(-1, 2, PLACE.shape)
    found = oddities(blocks_of(PLACE, (PLACE + noise).clip(0, 255).astype(np.uint8)), NAMES)
    assert any("nothing differs" in text for text in found)


@pytest.mark.parametrize(("share", "is_odd"), [(0.4, False), (0.6, True)])
def test_an_image_without_data(share, is_odd):
    valid = np.arange(128)[:, None] >= np.full(128, share * 128)
    found = oddities(blocks_of(PLACE, later(PLACE), post_valid=valid), NAMES)
    assert (found == ["post.tif: 60% of the overlap has no data in it"]) == is_odd
    assert bool(found) == is_odd


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize(("rows", "is_odd"), [(24, False), (48, True)])
def test_a_saturated_image(value, rows, is_odd):
    post = later(PLACE)
    post[:, :rows] = value
    found = oddities(blocks_of(PLACE, post), NAMES)
    assert any("black or white" in text for text in found) == is_odd


def test_equal_channels():
    grey = np.stack([PLACE[0]] * 3)
    found = oddities(blocks_of(grey, later(PLACE)), NAMES)
    (line,) = found
    assert line.startswith("pre.tif: its channels are equal; is it panchromatic, or of a radar?")


def test_colours_that_are_nearly_grey_are_colours():
    grey = np.stack([PLACE[0]] * 3)
    grey[2, ::16, ::16] -= 1
    assert oddities(blocks_of(grey, later(PLACE)), NAMES) == []


def test_images_that_share_a_part_are_two_images():
    post = later(PLACE)
    post[:, 80:] = PLACE[:, 80:]  # three eighths of it, as where two mosaics share a strip
    blocks = blocks_of(PLACE, post)
    require_two_images(blocks, NAMES)
    assert oddities(blocks, NAMES) == []


def test_a_place_where_nothing_happened_is_another_image_all_the_same():
    noise = np.random.default_rng(0).normal(0, 8, PLACE.shape)
    post = (0.9 * PLACE + 12 + noise).clip(0, 255).astype(np.uint8)  # the light of another day
    assert oddities(blocks_of(PLACE, post), NAMES) == []
