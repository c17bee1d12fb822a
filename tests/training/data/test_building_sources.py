import numpy as np
import pytest
import rasterio
import rasterio.shutil

from geodamage.errors import LabelError, OptionError, SceneReadError
from geodamage.windows import Window
from tests.data_folder import DATA, needs
from tests.training.building_folders import (
    picture,
    square,
    write_geojson,
    write_item,
    write_masks,
    write_open_cities,
    write_tif,
)
from training.data.building_sources import find_tiles, image_tiles, scene_of
from training.data.building_tiles import OpenTile, Tile, check_bands


def cut(tile, bands=(), scale=1.0):
    with OpenTile(tile, bands) as opened:
        rows, columns = opened.shape
        window = Window(0, 0, rows, columns)
        return opened.cut(window, (round(rows * scale), round(columns * scale)))


def test_open_cities_is_read_as_downloaded(tmp_path):
    tiles = find_tiles(write_open_cities(tmp_path / "train_tier_1"))
    assert [tile.name for tile in tiles] == ["acc_665946", "acc_a42435"]
    image, mask = cut(tiles[1])
    assert image.shape == (96, 96, 3)
    # 20 m square from (10, -30) to (30, -10): rows 10 to 30, and every pixel that it touches.
    assert mask[12:28, 12:28].min() == 255
    assert (mask[:9] == 0).all()
    assert (mask[:, 32:] == 0).all()


def test_open_cities_is_read_as_the_archive_has_it(tmp_path):
    source = tmp_path / "tier_1_source" / "tier_1_source_acc_665946"
    labels = tmp_path / "tier_1_labels" / "tier_1_labels_acc_665946"
    write_tif(source / "image.tif", picture())
    write_item(source / "stac.json", "tier_1_source_acc_665946", "image.tif", collection="acc")
    write_geojson(labels / "labels.geojson", [square(10, -30, 20)])
    write_item(labels / "stac.json", "tier_1_labels_acc_665946", "labels.geojson")
    (tile,) = find_tiles(tmp_path)
    assert (tile.name, tile.image.name) == ("acc_665946", "image.tif")


def test_labels_without_their_image_are_refused(tmp_path):
    folder = write_open_cities(tmp_path / "tier", tiles=("665946",))
    (folder / "acc" / "665946" / "665946.tif").unlink()
    with pytest.raises(LabelError, match=r"665946\.tif is not there; download it, too"):
        find_tiles(folder)


def test_what_alpha_hides_is_black_and_no_building(tmp_path):
    alpha = np.full((1, 96, 96), 255, np.uint8)
    alpha[:, :20] = 0
    folder = write_open_cities(tmp_path / "tier", tiles=("665946",))
    write_tif(folder / "acc/665946/665946.tif", np.concatenate([picture(), alpha]))
    image, mask = cut(find_tiles(folder)[0])
    assert (image[:20] == 0).all()
    assert (mask[:20] == 0).all()
    assert mask[22:28, 12:28].min() == 255


def write_rio(folder, names=("AOI_1_RIO_img1", "AOI_1_RIO_img11")):
    for number, name in enumerate(names):
        write_tif(folder / "3band" / f"3band_{name}.tif", picture(seed=number), 500.0 * number)
        shapes = [square(500.0 * number + 5, -45, 40)] if number == 0 else []
        write_geojson(folder / "vectordata" / "geojson" / f"Geo_{name}.geojson", shapes)
    return folder


def test_rio_is_read_by_its_geojson_and_what_has_no_building_is_a_negative(tmp_path):
    first, other = find_tiles(write_rio(tmp_path / "AOI_1_Rio"))
    assert first.place == "AOI_1_RIO_img1"
    assert cut(first)[1].mean() > 30
    assert not cut(other)[1].any()


def test_rio_is_read_by_its_csv_in_pixels(tmp_path):
    name = "AOI_1_RIO_img1"
    write_tif(tmp_path / "3band" / f"3band_{name}.tif", picture())
    rows = (
        "ImageId,BuildingId,PolygonWKT_Pix,PolygonWKT_Geo\n"
        f'{name},1,"POLYGON ((20 30 0,50 30 0,50 60 0,20 60 0,20 30 0))",\n'
        f'{name}0,1,"POLYGON ((0 0 0,9 0 0,9 9 0,0 9 0,0 0 0))",\n'
    )
    (tmp_path / "solution.csv").write_text(rows, encoding="utf-8")
    (tile,) = find_tiles(tmp_path, "spacenet")
    _, mask = cut(tile)
    assert mask[32:58, 22:48].min() == 255
    assert not mask[:28].any()


def test_all_looks_at_one_ground_of_atlanta_are_one_place(tmp_path):
    for look in ("nadir7_catid_10300", "nadir53_catid_10301"):
        name = f"Pan-Sharpen_Atlanta_{look}_732701_3724589.tif"
        write_tif(tmp_path / look / "Pan-Sharpen" / name, picture(channels=4))
    write_geojson(tmp_path / "geojson" / "spacenet-buildings_732701_3724589.geojson", [])
    tiles = find_tiles(tmp_path, "spacenet")
    assert len(tiles) == 2
    assert {tile.place for tile in tiles} == {"732701_3724589"}


def test_sixteen_bits_are_stretched_between_two_percentiles(tmp_path):
    ramp = np.arange(96 * 96, dtype=np.uint16).reshape(1, 96, 96) * 3 + 100
    write_tif(tmp_path / "a.tif", np.concatenate([ramp, ramp, ramp]))
    image, _ = cut(Tile(tmp_path / "a.tif", None, "a", "s", "p"))
    share = (ramp[0] - np.percentile(ramp, 2)) / (np.percentile(ramp, 98) - np.percentile(ramp, 2))
    wanted = np.clip(255 * share, 0, 255)
    assert np.abs(image[..., 0].astype(float) - wanted).max() <= 1


def test_one_channel_becomes_grey_only_where_it_is_asked_for(tmp_path):
    write_tif(tmp_path / "a.tif", picture(channels=1))
    tile = Tile(tmp_path / "a.tif", None, "a", "s", "p")
    with pytest.raises(OptionError, match="has 1 channel; give --bands 1,1,1"):
        OpenTile(tile)
    image, _ = cut(tile, (1, 1, 1))
    assert (image[..., 0] == image[..., 2]).all()


def test_masks_are_found_at_any_depth_and_strips_are_of_one_scene(tmp_path):
    write_masks(tmp_path / "all" / "inria", ["austin1_0", "austin1_20", "tyrol-w2_12"])
    tiles = find_tiles(tmp_path / "all")
    assert [tile.place for tile in tiles] == ["inria/austin1", "inria/austin1", "inria/tyrol-w2"]
    _, mask = cut(tiles[0], scale=0.5)
    assert mask.shape == (32, 32)
    assert set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize(
    ("stem", "scene"), [("banepa_0_512", "banepa"), ("156", "156"), ("OAM-12-34-21", "OAM")]
)
def test_numbers_at_the_end_are_no_part_of_a_scene(stem, scene):
    assert scene_of(stem) == scene


def test_a_folder_of_nothing_is_refused_in_one_line(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(LabelError, match=rf"{tmp_path.name}: .*open_cities\.md"):
        find_tiles(tmp_path)
    with pytest.raises(LabelError, match="no such folder"):
        find_tiles(tmp_path / "nowhere")
    with pytest.raises(LabelError, match="holds no image"):
        image_tiles(tmp_path)


def test_a_damaged_image_is_refused(tmp_path):
    write_masks(tmp_path, ["a", "b"])
    (tmp_path / "images" / "a.jpg").write_bytes(b"not an image")
    tile = find_tiles(tmp_path)[0]
    with pytest.raises(SceneReadError, match="not a JPEG, or damaged"):
        OpenTile(tile)


def test_labels_that_name_another_file_are_refused(tmp_path):
    tile = find_tiles(write_rio(tmp_path))[0]
    other = tile.labels.replace(tmp_path / "other.geojson")
    tile.labels.write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="other"><SrcDataSource>'
        f"{other}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(LabelError, match="names others"):
        OpenTile(tile)


def test_an_image_that_names_another_file_is_refused(tmp_path):
    tile = find_tiles(write_rio(tmp_path))[0]
    other = tile.image.replace(tmp_path / "other.tif")
    rasterio.shutil.copy(other, tile.image, driver="VRT")
    with pytest.raises(SceneReadError, match="not a GeoTIFF"):
        OpenTile(tile)


def test_labels_without_a_place_are_refused(tmp_path):
    tile = find_tiles(write_rio(tmp_path))[0]
    write_tif(tile.image, picture(), crs=None)
    with pytest.raises(LabelError, match=r"img1\.tif: has no CRS, .*Geo_AOI_1"):
        OpenTile(tile)


def test_a_mask_of_another_size_is_refused(tmp_path):
    write_masks(tmp_path, ["a"], size=64)
    write_masks(tmp_path / "other", ["a"], size=32)
    (tmp_path / "other" / "masks" / "a.png").replace(tmp_path / "masks" / "a.png")
    with pytest.raises(LabelError, match=r"a\.png: \(32, 32\) .*\(64, 64\)"):
        OpenTile(find_tiles(tmp_path)[0])


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "0,1,2"])
def test_bands_are_three_numbers(text):
    with pytest.raises(OptionError, match="give three numbers"):
        check_bands(text)


@pytest.mark.slow
@needs("spacenet")
@pytest.mark.data
def test_the_tile_of_spacenet_at_hand_has_its_buildings():
    (tile,) = find_tiles(DATA / "spacenet")
    image, mask = cut(tile, (1, 1, 1))
    assert image.shape == (900, 900, 3)
    assert 0.02 < (mask > 0).mean() < 0.5


@needs("spacenet")
@pytest.mark.data
@pytest.mark.parametrize(("folder", "count"), [("open_cities", 2), ("openaerialmap", 59)])
def test_drone_images_at_hand_have_their_masks(folder, count):
    tiles = find_tiles(DATA / folder)
    assert len(tiles) == count
    image, mask = cut(tiles[0], scale=0.5)
    assert image.shape[:2] == mask.shape
    assert image.std() > 10
