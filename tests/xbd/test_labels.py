import json

import numpy as np
import pytest
import shapely

from geodamage.damage import DamageGrade
from geodamage.errors import LabelError
from geodamage.xbd.labels import fit_lonlat, paired_vertices, read_label_file, read_xbd

SQUARE = "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))"


def feature(uid="a", wkt=SQUARE, **properties):
    return {"properties": {"feature_type": "building", "uid": uid, **properties}, "wkt": wkt}


@pytest.fixture
def write(tmp_path):
    def write(document):
        path = tmp_path / "labels.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return write


def xbd(*features, degrees=()):
    return {"features": {"xy": list(features), "lng_lat": list(degrees)}}


def test_labels_keep_the_order_of_the_file(write):
    labels = read_xbd(
        write(
            xbd(
                feature("b", subtype="destroyed"),
                feature("a", subtype="no-damage"),
                feature("c", subtype="un-classified"),
                feature("d"),
            )
        )
    )
    assert [label.uid for label in labels] == ["b", "a", "c", "d"]
    assert [label.grade for label in labels] == [
        DamageGrade.DESTROYED,
        DamageGrade.NO_DAMAGE,
        None,
        None,
    ]
    assert labels[0].polygon.equals(shapely.from_wkt(SQUARE))


def test_degrees_are_joined_by_the_identifier(write):
    twin = feature("b", "POLYGON ((1 1, 2 1, 2 2, 1 1))")
    a, b = read_xbd(write(xbd(feature("a"), feature("b"), degrees=[twin])))
    assert a.lonlat is None
    assert b.lonlat.equals(shapely.from_wkt(twin["wkt"]))


def test_a_file_without_features_has_no_labels(write):
    assert read_xbd(write(xbd())) == []


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        {"features": []},
        {"features": {"lng_lat": []}},
        {"features": {"xy": 5}},
        {"features": {"xy": ["a"]}},
        {"features": {"xy": [None]}},
        {"features": {"xy": [{"properties": None, "wkt": SQUARE}]}},
        {"features": {"xy": [], "lng_lat": 5}},
        {"features": {"xy": [], "lng_lat": ["a"]}},
        {"features": {}},
        {},
        {"features": {"xy": []}, "metadata": {"width": 1024}},
        {"features": {"xy": []}, "metadata": {"width": 0, "height": 1024}},
        {"features": {"xy": []}, "metadata": {"width": 1e9, "height": 1024}},
        {"features": {"xy": []}, "metadata": {"width": 10**9, "height": 1024}},
        {"features": {"xy": []}, "metadata": [1024, 1024]},
    ],
)
def test_what_is_no_label_file_is_refused(write, document):
    with pytest.raises(LabelError, match=r"labels\.json"):
        read_xbd(write(document))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LabelError, match="FileNotFoundError"):
        read_xbd(tmp_path / "none.json")


@pytest.mark.parametrize(
    "broken",
    [
        feature("a7", subtype="scratched"),
        feature("a7", wkt="POLYGON ((0 0"),
        feature("a7", wkt="POINT (1 1)"),
        feature("a7", wkt="POLYGON EMPTY"),
        feature("a7", wkt=5),
        feature("a7", wkt="MULTIPOLYGON EMPTY"),
        feature("a7", wkt="GEOMETRYCOLLECTION (POLYGON ((0 0, 9 0, 9 9, 0 0)))"),
        feature("a7", wkt="POLYGON ((0 0, 1e12 0, 9 9, 0 0))"),
        feature("a7", wkt="POLYGON ((0 0, nan 0, 9 9, 0 0))"),
        feature("a7", wkt="POLYGON ((0 0, 9 -inf, 9 9, 0 0))"),
        {"properties": {"uid": "a7"}},
    ],
)
def test_a_broken_label_is_named(write, broken):
    with pytest.raises(LabelError, match=r"label a7: .*fix or remove it"):
        read_xbd(write(xbd(feature(), broken)))


def test_the_affine_from_pixels_to_degrees_is_found(write):
    affine = np.array([[2e-6, 1e-7, 10], [-1e-7, -2e-6, 50]])

    def twin(uid, wkt):
        polygon = shapely.from_wkt(wkt)
        ring = shapely.transform(
            polygon, lambda xy: np.column_stack([xy, np.ones(len(xy))]) @ affine.T
        )
        return feature(uid, shapely.to_wkt(ring, rounding_precision=-1))

    far = "POLYGON ((900 900, 950 900, 950 1000, 900 900))"
    labels = read_xbd(
        write(
            xbd(
                feature("a"),
                feature("b", far),
                feature("c"),
                degrees=[twin("a", SQUARE), twin("b", far), feature("c", far)],
            )
        )
    )
    assert fit_lonlat(labels) == pytest.approx(affine, abs=1e-12)


def test_no_affine_without_degrees_or_with_points_on_a_line(write):
    assert fit_lonlat(read_xbd(write(xbd(feature())))) is None
    flat = "POLYGON ((0 0, 5 0, 10 0, 0 0))"
    assert fit_lonlat(read_xbd(write(xbd(feature(wkt=flat), degrees=[feature(wkt=flat)])))) is None


TWO = "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 0), (2 1, 3 1, 3 2, 2 1)), ((6 6, 9 6, 9 9, 6 6)))"


def test_the_parts_of_a_multipolygon_are_labels_that_share_their_identifier(write):
    twin = feature("a", TWO.replace("9", "8"))
    labels = read_xbd(write(xbd(feature("a", TWO, subtype="destroyed"), degrees=[twin])))
    assert [(label.uid, label.grade) for label in labels] == [("a", DamageGrade.DESTROYED)] * 2
    assert shapely.MultiPolygon([label.polygon for label in labels]).equals(shapely.from_wkt(TWO))
    assert [label.lonlat.bounds for label in labels] == [(0, 0, 4, 4), (6, 6, 8, 8)]


def test_parts_without_a_twin_each_have_no_degrees(write):
    labels = read_xbd(write(xbd(feature("a", TWO), degrees=[feature("a")])))
    assert [label.lonlat for label in labels] == [None, None]


def test_the_size_of_the_image_is_read(write):
    document = xbd(feature()) | {"metadata": {"width": 30, "height": 20}}
    assert read_label_file(write(document)).shape == (20, 30)
    assert read_label_file(write(xbd(feature()))).shape is None


@pytest.mark.parametrize(
    "features",
    [{"lng_lat": [feature("a", subtype="destroyed")]}, {"xy": [], "lng_lat": [feature("a")]}],
)
def test_buildings_in_degrees_alone_need_a_georeference(write, features):
    path = write({"features": features})
    with pytest.raises(LabelError, match=r"1 building in degrees .*\.\./images as labels\.tif"):
        read_xbd(path)
    (label,) = read_label_file(path, to_pixels=lambda degrees: degrees * 2 + 1).labels
    assert label.polygon.bounds == (1, 1, 21, 21)
    assert label.lonlat.equals(shapely.from_wkt(SQUARE))


def test_a_georeference_far_from_the_labels_is_refused(write):
    path = write({"features": {"lng_lat": [feature("a7")]}})
    with pytest.raises(LabelError, match="label a7: a vertex at"):
        read_label_file(path, to_pixels=lambda degrees: degrees * 1e9)


def test_the_georeference_is_not_asked_where_there_are_pixels(write):
    assert read_label_file(write(xbd(feature())), to_pixels=lambda _: 1 / 0).labels


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(LabelError, match="a folder, a device or a pipe"):
        read_xbd(tmp_path)


def test_vertices_are_paired_where_their_number_agrees(write):
    triangle = "POLYGON ((0 0, 1 0, 1 1, 0 0))"
    degrees = [feature("a", triangle), feature("b")]
    labels = read_xbd(write(xbd(feature("a"), feature("b"), feature("c"), degrees=degrees)))
    xy, lonlat = paired_vertices(labels)
    assert xy.shape == lonlat.shape == (5, 2)
    assert (xy == lonlat).all()
    assert paired_vertices([])[0].shape == (0, 2)


@pytest.mark.parametrize("sides", [("1024", "512"), (1024.0, 512.0), (1024, 512)])
def test_a_size_may_be_written_as_a_text_or_with_a_point(write, sides):
    document = xbd(feature()) | {"metadata": {"width": sides[0], "height": sides[1]}}
    assert read_label_file(write(document)).shape == (512, 1024)


def test_what_is_no_building_is_no_label(write):
    road = feature("b", "LINESTRING (0 0, 1 1)", feature_type="road")
    assert [label.uid for label in read_xbd(write(xbd(feature("a"), road)))] == ["a"]


def test_well_known_text_that_nests_is_refused_by_us(write):
    nested = "GEOMETRYCOLLECTION(" * 9 + "POINT(1 2)" + ")" * 9
    with pytest.raises(LabelError, match="label a: nested 10 deep"):
        read_xbd(write(xbd(feature("a", nested))))
