"""Layers as files: GeoTIFFs as they are, plain mosaics as tiles, everything else exported."""

from pathlib import Path

import pytest


@pytest.fixture
def make(qgis_app, pair, tmp_path):
    """Return a function that writes a copy of the image before, in some format."""
    from osgeo import gdal

    def write(name, **options):
        path = tmp_path / name
        gdal.Translate(str(path), str(pair[0]), **options)
        return path

    return write


@pytest.fixture
def tiles(make):
    """Return four tiles of the image before."""
    side = 160
    return [
        make(f"tile {row}-{column}.tif", srcWin=[side * column, side * row, side, side])
        for row in range(2)
        for column in range(2)
    ]


@pytest.fixture
def mosaic(tiles, tmp_path):
    """Return a virtual mosaic of the tiles."""
    from osgeo import gdal

    path = tmp_path / "mosaic.vrt"
    gdal.BuildVRT(str(path), [str(tile) for tile in tiles])
    return path


def layer_of(path, name="layer"):
    from qgis.core import QgsRasterLayer

    layer = QgsRasterLayer(str(path), name)
    assert layer.isValid(), path
    return layer


@pytest.fixture
def files(tmp_path):
    """Return a function that gives the files of a layer; what was said is in `files.said`."""
    from geodamage_qgis.processing import sources

    def find(layer, **options):
        find.said = []
        source = sources.raster_source(layer)
        export = tmp_path / "export.tif"
        return sources.image_files(source, export, say=find.said.append, **options)

    return find


def test_a_geotiff_is_used_as_it_is(files, pair):
    assert files(layer_of(pair[0])) == [str(pair[0])]
    assert files.said == []


def test_a_plain_mosaic_is_read_as_its_tiles(files, mosaic, tiles):
    assert files(layer_of(mosaic, "city")) == [str(tile) for tile in reversed(tiles)]
    assert files.said == ["city: a virtual mosaic, read as its 4 tiles"]


def test_a_mosaic_of_some_channels_is_exported(files, tiles, tmp_path):
    from osgeo import gdal

    path = tmp_path / "two.vrt"
    gdal.BuildVRT(str(path), [str(tile) for tile in tiles], bandList=[1, 2])
    (export,) = files(layer_of(path, "two"))
    assert gdal.Open(export).RasterCount == 2
    assert files.said == [
        "two: exported first, because it is not a plain mosaic: tile 1-1.tif has 3 channels, and "
        "it shows 2"
    ]


def test_a_mosaic_with_a_lost_tile_is_not_taken_for_its_tiles(files, mosaic, tiles):
    from geodamage_qgis.errors import PluginError

    layer = layer_of(mosaic)
    tiles[0].unlink()
    with pytest.raises(PluginError, match="cannot be exported"):
        files(layer)


def test_a_warped_image_is_exported(files, make, tmp_path):
    from osgeo import gdal

    path = tmp_path / "warped.vrt"
    gdal.Warp(str(path), str(make("a.tif")), dstSRS="EPSG:4326", format="VRT")
    (export,) = files(layer_of(path))
    assert gdal.Open(export).GetDriver().ShortName == "GTiff"
    assert "warps" in files.said[0]


def test_another_format_is_exported_with_its_pixels(files, make):
    from osgeo import gdal

    path = make("image.png", format="PNG")
    (export,) = files(layer_of(path, "image"))
    assert files.said == ["image: exported first, because it is no GeoTIFF"]
    assert gdal.Open(export).ReadRaster() == gdal.Open(str(path)).ReadRaster()
    assert gdal.Open(export).GetGeoTransform() == gdal.Open(str(path)).GetGeoTransform()


def test_a_crs_that_the_user_set_goes_with_the_export(files, make):
    from osgeo import gdal
    from qgis.core import QgsCoordinateReferenceSystem

    layer = layer_of(make("a.tif"))
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32617"))
    (export,) = files(layer)
    assert gdal.Open(export).GetSpatialRef().GetAuthorityCode(None) == "32617"
    assert "its CRS was set in the project" in files.said[0]


def test_a_cancelled_export_leaves_nothing_to_read(files, make):
    from geodamage_qgis.errors import CancelledError
    from qgis.core import QgsFeedback

    feedback = QgsFeedback()
    feedback.cancel()
    with pytest.raises(CancelledError):
        files(layer_of(make("image.png", format="PNG")), feedback=feedback)


def test_a_web_map_is_refused_with_what_to_do(qgis_app):
    from geodamage_qgis.errors import PluginError
    from geodamage_qgis.processing.sources import raster_source
    from qgis.core import QgsRasterLayer

    source = "type=xyz&url=http://localhost:9/{z}/{x}/{y}.png&zmax=19&zmin=0"
    layer = QgsRasterLayer(source, "tiles", "wms")
    with pytest.raises(PluginError, match=r"tiles: a web map, .* save it as a GeoTIFF first"):
        raster_source(layer)


def test_a_broken_layer_is_refused(qgis_app):
    from geodamage_qgis.errors import PluginError
    from geodamage_qgis.processing.sources import raster_source
    from qgis.core import QgsRasterLayer

    with pytest.raises(PluginError, match="gone: the layer is broken"):
        raster_source(QgsRasterLayer("/nowhere/gone.tif", "gone"))


def test_images_on_the_network_are_named_as_the_tool_takes_them():
    from geodamage_qgis.processing.sources import remote_name

    assert remote_name("/vsicurl/https://a.b/c.tif") == "https://a.b/c.tif"
    assert remote_name("/vsis3/bucket/c.tif") == "s3://bucket/c.tif"
    assert remote_name("/data/c.tif") == "/data/c.tif"


def test_images_on_the_network_are_read_only_where_allowed(tmp_path):
    from geodamage_qgis.errors import PluginError
    from geodamage_qgis.processing.sources import RasterSource, image_argument

    source = RasterSource("far", "https://a.b/c.tif")
    with pytest.raises(PluginError, match="far: an image on the network; allow remote"):
        image_argument([source], tmp_path, "pre")
    found = image_argument([source], tmp_path, "pre", allow_remote=True)
    assert found == "https://a.b/c.tif"


def test_several_images_are_listed_the_top_one_first(tiles, tmp_path):
    from geodamage_qgis.processing.sources import image_argument, raster_source

    found = image_argument([raster_source(layer_of(tile)) for tile in tiles], tmp_path, "post")
    assert found == f"@{tmp_path / 'post.txt'}"
    listed = Path(found[1:]).read_text(encoding="utf-8").splitlines()
    assert listed == [str(tile) for tile in tiles]


# Vector layers.


@pytest.fixture
def footprints(qgis_app):
    from folders import SAMPLE
    from qgis.core import QgsVectorLayer

    return QgsVectorLayer(str(SAMPLE / "footprints.geojson"), "footprints", "ogr")


def test_a_plain_file_of_polygons_is_used_as_it_is(footprints):
    from geodamage_qgis.processing.sources import vector_path

    assert vector_path(footprints) == footprints.source()


def test_a_layer_that_is_not_its_file_is_exported(footprints, tmp_path):
    from geodamage_qgis.processing.sources import vector_path
    from qgis.core import QgsCoordinateReferenceSystem, QgsVectorLayer

    footprints.setSubsetString("1 = 0")
    assert vector_path(footprints) is None
    footprints.setSubsetString("")
    footprints.setCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    assert vector_path(footprints) is None
    memory = QgsVectorLayer("Polygon?crs=EPSG:4326", "memory", "memory")
    assert vector_path(memory) is None


def test_one_of_several_layers_of_a_file_is_exported(footprints, tmp_path):
    from geodamage_qgis.processing import sources
    from qgis.core import QgsCoordinateTransformContext, QgsVectorFileWriter, QgsVectorLayer

    path = tmp_path / "two.gpkg"
    context = QgsCoordinateTransformContext()
    for name in ("one", "two"):
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.layerName = name
        if path.exists():
            options.actionOnExistingFile = QgsVectorFileWriter.CreateOrOverwriteLayer
        QgsVectorFileWriter.writeAsVectorFormatV3(footprints, str(path), context, options)
        layer = QgsVectorLayer(f"{path}|layername=one", "one", "ogr")
        expected = str(path) if name == "one" else None
        assert sources.vector_path(layer) == expected
    # The key of a GeoPackage is a field in QGIS and none for the tool.
    assert sources.vector_path(layer, id_field="fid") is None


def test_an_export_keeps_fields_and_crs(footprints, tmp_path):
    from geodamage_qgis.processing.polygons import export_features
    from qgis.core import QgsCoordinateTransformContext, QgsVectorLayer

    path = tmp_path / "export.gpkg"
    export_features(footprints, path, transforms=QgsCoordinateTransformContext())
    exported = QgsVectorLayer(str(path), "exported", "ogr")
    assert exported.featureCount() == footprints.featureCount()
    assert set(footprints.fields().names()) <= set(exported.fields().names())
    assert exported.crs() == footprints.crs()


def test_an_extent_without_area_is_refused(qgis_app, tmp_path):
    from geodamage_qgis.errors import PluginError
    from geodamage_qgis.processing.polygons import export_extent
    from qgis.core import (
        QgsCoordinateReferenceSystem,
        QgsCoordinateTransformContext,
        QgsRectangle,
    )

    crs = QgsCoordinateReferenceSystem("EPSG:4326")
    with pytest.raises(PluginError, match="no area or no CRS"):
        export_extent(
            QgsRectangle(0, 0, 0, 1), crs, tmp_path / "e.gpkg",
            transforms=QgsCoordinateTransformContext(),
        )  # fmt: skip
