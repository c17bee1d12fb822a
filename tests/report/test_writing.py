import base64
import html
import json
import re

import cv2
import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS

from geodamage.assessment import Job, assess
from geodamage.errors import InputError, MissingExtraError, OptionError, OutputError
from geodamage.event.looks import Look
from geodamage.event.merging import merge_event
from geodamage.grid import Grid
from geodamage.output.publication import sidecar_path
from geodamage.report import page, view
from geodamage.report import writing as report
from geodamage.report.maps import scale_length, shorten
from geodamage.report.pictures import (
    CHIP_SIDE,
    EMPTY,
    Imagery,
    as_photograph,
    as_stencil,
    burn,
    read_chips,
    read_dates,
)
from geodamage.report.view import Words
from geodamage.report.writing import ReportOptions, write_event_report, write_report
from geodamage.scene.options import SceneOptions
from tests.conftest import (
    CORNER,
    GROUND,
    POST_VALUE,
    ROOF,
    ROOFS,
    UTM,
    Roof,
    listing,
    make_scene,
)

STATEMENT = "reliminary, automatic, not validated in the field"


def run(work):
    for _ in work:
        pass


@pytest.fixture(scope="module")
def layer(pair, model, tmp_path_factory):
    """Return the buildings of `ROOFS`."""
    path = tmp_path_factory.mktemp("layer") / "buildings.gpkg"
    run(assess(Job(pre=pair.pre, post=pair.post, output=path, model=model)))
    return path


def facts_of(text):
    """Return what the script of a page reads."""
    return json.loads(re.search(r'id="facts">(.*?)</script>', text, re.S)[1])


def picture(uri):
    blob = base64.b64decode(uri.partition(",")[2])
    return cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.slow
def test_a_page_says_what_was_found_and_asks_for_nothing_else(layer, pair, tmp_path):
    found = write_report(layer, tmp_path / "r.html", pre=pair.pre, post=pair.post)
    text = (tmp_path / "r.html").read_text("utf-8")
    assert [total.count for total in found.findings.grades] == [1, 1, 1, 2]
    assert STATEMENT in text
    assert "CC0-1.0" in text
    assert "pre.tif" in text
    assert "post.tif" in text
    outside = html.unescape(re.sub(r"<script>.*?</script>", "", text, flags=re.S))
    assert not re.search(r"""(src|href|action|url)\s*[=(]\s*["']?(https?:)?//""", outside)
    assert "default-src 'none'" in outside
    assert listing(tmp_path) == ["r.html", "r.html.json"]


@pytest.mark.slow
def test_a_page_is_the_same_twice(layer, pair, tmp_path):
    for name in ("a", "b"):
        write_report(
            layer,
            tmp_path / f"{name}.html",
            pre=pair.pre,
            post=pair.post,
            options=ReportOptions(map=tmp_path / f"{name}.png", pdf=tmp_path / f"{name}.pdf"),
        )
    for kind in ("html", "png", "pdf"):
        first, second = (tmp_path / f"{name}.{kind}" for name in "ab")
        assert first.read_bytes() == second.read_bytes(), kind


@pytest.mark.slow
def test_the_pictures_of_a_page_are_the_images(layer, pair, tmp_path):
    write_report(layer, tmp_path / "r.html", pre=pair.pre, post=pair.post)
    text = (tmp_path / "r.html").read_text("utf-8")
    before, after = (
        picture(re.search(rf'id="{name}"[^>]*src="([^"]+)"', text)[1])
        for name in ("before", "after")
    )
    assert before.shape == after.shape == (128, 160, 3)
    row, column = ROOFS[2].row + 30, ROOFS[2].column + 8
    assert abs(int(before[row, column, 0]) - ROOF) < 6
    assert abs(int(after[row, column, 0]) - POST_VALUE[3]) < 6
    facts = facts_of(text)
    middle = np.array(facts["buildings"]["middles"]).T
    expected = [np.array(roof.polygon.centroid.coords[0]) for roof in ROOFS]
    corner = np.array([CORNER[0], CORNER[1] - 64])
    for place in expected:
        assert np.abs(middle - (place - corner)).max(axis=1).min() < 0.3


@pytest.mark.slow
def test_a_page_without_images_has_a_map_still(layer, tmp_path):
    found = write_report(layer, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text("utf-8")
    assert found.dates is None
    assert 'id="before"' not in text
    assert 'id="swipe"' not in text
    assert len(facts_of(text)["buildings"]["grade"]) == len(ROOFS)


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["geojson", "fgb", "parquet", "geojsonl"])
def test_an_assessment_of_any_format_writes_its_page(pair, model, tmp_path, extension):
    output = tmp_path / f"b.{extension}"
    job = Job(pre=pair.pre, post=pair.post, output=output, model=model, report=tmp_path / "r.html")
    run(assess(job))
    assert "buildings" in (tmp_path / "r.html").read_text("utf-8")
    again = write_report(output, tmp_path / "again.html", pre=pair.pre, post=pair.post)
    assert again.findings.buildings == len(ROOFS)


@pytest.mark.slow
def test_an_assessment_and_the_command_make_one_page(layer, pair, model, tmp_path):
    output = tmp_path / "b.gpkg"
    run(assess(Job(pre=pair.pre, post=pair.post, output=output, model=model,
                   report=tmp_path / "r.html")))  # fmt: skip
    write_report(output, tmp_path / "again.html", pre=pair.pre, post=pair.post)
    first, second = ((tmp_path / name).read_bytes() for name in ("r.html", "again.html"))
    assert first == second


@pytest.mark.slow
def test_only_the_worst_are_shapes_where_there_are_many(layer, pair, tmp_path, monkeypatch):
    monkeypatch.setattr(view, "MOST_SHAPES", 2)
    monkeypatch.setattr(view, "MOST_PICKED", 1)
    found = write_report(layer, tmp_path / "r.html", pre=pair.pre, post=pair.post)
    text = (tmp_path / "r.html").read_text("utf-8")
    grades = facts_of(text)["buildings"]["grade"]
    assert len(grades) == 2
    assert 4 in grades
    assert f"2 of {len(ROOFS)} buildings, the worst first, are shapes that can be clicked" in text
    assert found.findings.buildings == len(ROOFS)
    stencils = re.findall(r'data-grade="(\d)"\s+style="-webkit-mask-image:url\(([^)]+)\)', text)
    drawn = {code: int((picture(uri)[..., 3] > 0).sum()) for code, uri in stencils}
    assert sum(drawn.values()) > 0
    assert len(grades) + len(drawn) >= 4


def hostile(layer, folder, text):
    """Return a copy of a layer in which every text is `text`, sidecar too."""
    frame = gpd.read_file(layer, layer=0)
    frame["building_id"] = [f"{text}{n}" for n in range(len(frame))]
    frame["source"] = text
    frame["status_reason"] = text
    path = folder / "hostile.gpkg"
    frame.to_file(path)
    facts = json.loads(sidecar_path(layer).read_text())
    facts["model"] = dict.fromkeys(facts["model"], text)
    facts["warnings"] = [text]
    facts["created"] = text
    facts["scene"]["pre"]["files"] = [{"path": text}]
    sidecar_path(path).write_text(json.dumps(facts))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", '"><b onclick=x>'],
)
def test_text_from_data_stays_text(layer, tmp_path, text):
    path = hostile(layer, tmp_path, text)
    words = Words(title=text, pre_date=text, post_date=text)
    write_report(path, tmp_path / "r.html", options=ReportOptions(words=words))
    written = (tmp_path / "r.html").read_text("utf-8")
    assert text not in written
    assert len(re.findall("<script", written)) == 4
    assert facts_of(written)["buildings"]["details"][0][0][1].startswith(text)


@pytest.mark.slow
def test_a_sidecar_of_nonsense_is_survived(layer, tmp_path):
    path = hostile(layer, tmp_path, "x")
    for facts in ({}, {"scene": [], "model": 3, "warnings": "no", "assessed_km2": "much"},
                  {"scene": {"region": [1, 2], "pre": {"files": [4]}, "post": None},
                   "buildings": True, "thresholds": [], "software": None}):  # fmt: skip
        sidecar_path(path).write_text(json.dumps(facts))
        write_report(path, tmp_path / "r.html", overwrite=True)
        assert STATEMENT in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("crs", ["EPSG:999999", "[" * 10_000, ""])
def test_an_unknown_crs_in_a_sidecar_is_refused(layer, tmp_path, crs):
    path = hostile(layer, tmp_path, "x")
    facts = json.loads(sidecar_path(path).read_text())
    facts["scene"]["crs"] = crs
    sidecar_path(path).write_text(json.dumps(facts))
    with pytest.raises(InputError, match="the sidecar has a region of no known CRS"):
        write_report(path, tmp_path / "r.html")
    assert listing(tmp_path) == ["hostile.gpkg", "hostile.gpkg.json"]


@pytest.mark.slow
def test_a_layer_that_was_changed_is_said_to_be(layer, tmp_path):
    path = hostile(layer, tmp_path, "x")
    facts = json.loads(sidecar_path(path).read_text()) | {"buildings": 77}
    sidecar_path(path).write_text(json.dumps(facts))
    write_report(path, tmp_path / "r.html")
    written = (tmp_path / "r.html").read_text("utf-8")
    assert "is not the file that its sidecar was written with" in written


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["gpkg", "geojson", "parquet", "fgb"])
def test_a_place_without_buildings_has_a_page(model, tmp_path, extension):
    pair = make_scene(tmp_path, roofs=[Roof(10, 10, 2, 2, 1)])
    output = tmp_path / f"b.{extension}"
    run(assess(Job(pre=pair.pre, post=pair.post, output=output, model=model,
                   report=tmp_path / "r.html")))  # fmt: skip
    found = write_report(output, tmp_path / "again.html", options=ReportOptions(
        map=tmp_path / "r.png"))  # fmt: skip
    assert found.findings.buildings == 0
    assert "No building has damage." in (tmp_path / "again.html").read_text("utf-8")


@pytest.mark.slow
def test_a_building_without_geometry_is_counted(layer, tmp_path):
    frame = gpd.read_file(layer, layer=0)
    frame.loc[2, "geometry"] = None
    path = tmp_path / "b.gpkg"
    frame.to_file(path)
    sidecar_path(path).write_text("{}")
    found = write_report(path, tmp_path / "r.html", options=ReportOptions(map=tmp_path / "r.png"))
    assert (found.findings.buildings, len(found.drawn)) == (5, 4)


def test_what_is_no_result_is_refused(layer, tmp_path):
    alone = tmp_path / "alone.gpkg"
    alone.write_bytes(layer.read_bytes())
    with pytest.raises(InputError, match="no sidecar"):
        write_report(alone, tmp_path / "r.html")
    other = tmp_path / "other.gpkg"
    gpd.GeoDataFrame({"x": [1]}, geometry=[shapely.Point(1, 2)], crs=UTM).to_file(other)
    sidecar_path(other).write_text("{}")
    with pytest.raises(InputError, match="has no field building_id"):
        write_report(other, tmp_path / "r.html")
    with pytest.raises(InputError, match="no such"):
        write_report(tmp_path / "none.gpkg", tmp_path / "r.html")
    assert "r.html" not in listing(tmp_path)


def test_one_image_alone_is_refused(layer, pair, tmp_path):
    with pytest.raises(OptionError, match="--pre is given without --post"):
        write_report(layer, tmp_path / "r.html", pre=pair.pre)


@pytest.mark.slow
def test_a_failure_leaves_no_file(layer, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OutputError("the disk is full")

    monkeypatch.setattr(report, "write_sheet", fail)
    with pytest.raises(OutputError, match="full"):
        write_report(layer, tmp_path / "r.html", options=ReportOptions(pdf=tmp_path / "r.pdf"))
    assert listing(tmp_path) == []


def test_a_missing_extra_is_said_before_any_work(layer, pair, model, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "find_spec", lambda name: None if name == "bokeh" else object())
    with pytest.raises(MissingExtraError, match=r'needs bokeh; run pip install "\.\[report\]"'):
        write_report(layer, tmp_path / "r.html")
    job = Job(pre=pair.pre, post=pair.post, output=tmp_path / "b.gpkg", model=model,
              report=tmp_path / "r.html")  # fmt: skip
    with pytest.raises(MissingExtraError):
        next(assess(job))
    assert listing(tmp_path) == []


@pytest.mark.slow
def test_an_event_is_shown_with_its_scenes_and_cells(layer, tmp_path):
    looks = [
        Look(name, date, layer, sidecar_path(layer))
        for name, date in (("monday", "2026-03-02"), ("friday", "2026-03-06"))
    ]
    event = tmp_path / "event.gpkg"
    run(merge_event(looks, event))
    found = write_event_report(event, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text("utf-8")
    assert found.findings.buildings == len(ROOFS)
    assert [table.title for table in found.tables] == ["Scenes", "Cells of 500 m"]
    assert [row[:3] for row in found.tables[0].rows] == [
        ("monday", "2026-03-02", "5"),
        ("friday", "2026-03-06", "5"),
    ]
    assert "monday" in text
    assert "CC0-1.0" in text
    assert "2 scenes were assessed one by one" in text
    same = write_report(event, tmp_path / "same.html")
    assert same.tables == found.tables
    with pytest.raises(InputError, match="is not an event"):
        write_event_report(layer, tmp_path / "other.html")


@pytest.mark.slow
def test_a_large_scene_is_averaged_down(pair):
    imagery = Imagery(pre=pair.pre, post=pair.post)
    whole = read_dates(imagery)
    small = read_dates(imagery, most_pixels=128 * 160 // 4)
    assert whole.pre.shape == (128, 160, 3)
    assert small.pre.shape == pytest.approx((64, 80, 3), abs=1)
    assert small.grid.bounds == pytest.approx(whole.grid.bounds, abs=1.5)
    assert (small.pre[10, 11, 0], small.pre[60, 60, 0]) == (
        pytest.approx(ROOF),
        pytest.approx(GROUND),
    )


def test_a_picture_covers_the_region(pair):
    left, top = CORNER
    found = read_dates(Imagery(pre=pair.pre, post=pair.post), (left + 5, top - 30, left + 25, top))
    assert found.grid.bounds == (left + 5, top - 30, left + 25, top)
    assert found.pre.shape == (60, 40, 3)


def test_a_chip_shows_the_building_outlined_and_grey_beyond_the_image(pair):
    roof = ROOFS[0]
    chips = read_chips(Imagery(pre=pair.pre, post=pair.post), [roof.polygon], CRS(UTM))
    before, after = chips[0]
    assert before.shape == (CHIP_SIDE, CHIP_SIDE, 3)
    middle = CHIP_SIDE // 2
    assert abs(int(before[middle, middle, 0]) - ROOF) < 3
    assert abs(int(after[middle, middle, 0]) - POST_VALUE[roof.grade]) < 3
    assert (before[:4] == EMPTY).all()
    assert (after > 240).any()


def test_one_channel_is_shown_grey(tmp_path):
    pair = make_scene(tmp_path)
    options = SceneOptions(pre_bands=(1,), post_bands=(1,), pre_channels=1, post_channels=1)
    found = read_dates(Imagery(pre=pair.pre, post=pair.post, options=options))
    assert found.pre.shape == (128, 160, 3)


def test_burnt_buildings_have_a_pixel_each_and_the_worse_is_on_top():
    grid = Grid(CRS(UTM), Affine(1, 0, 0, 0, -1, 10), (10, 12))
    shapes = np.array(
        [shapely.box(1, 1, 4, 4), shapely.box(2, 2, 5, 5), shapely.box(8.4, 8.4, 8.5, 8.5), None]
    )
    burnt = burn(shapes, np.array([4, 2, 3, 1], np.uint8), grid)
    assert burnt[7, 2] == 4
    assert (burnt == 3).sum() == 1
    assert not (burnt == 1).any()


def test_pictures_survive_their_files():
    grey = np.full((20, 30, 3), 90, np.uint8)
    assert np.abs(picture(as_photograph(grey)).astype(int) - 90).max() < 3
    mask = np.arange(12).reshape(3, 4) % 2 == 0
    assert ((picture(as_stencil(mask))[..., 3] > 0) == mask).all()


@pytest.mark.parametrize(
    ("most", "length"), [(1, 1), (9.9, 5), (10, 10), (199, 100), (200, 200), (0.3, 0.2)]
)
def test_a_scale_bar_has_a_round_length(most, length):
    assert scale_length(most) == pytest.approx(length)


def test_long_names_lose_their_middle():
    assert shorten("a" * 50 + "b" * 50, 11) == "aaaaa…bbbbb"
    assert shorten("two\nlines", 20) == "two lines"


@pytest.mark.slow
def test_a_map_of_formulas_and_far_places_is_drawn(layer, tmp_path):
    words = Words(title="$\\frac{1}$ <b> \u65e5", pre_date="$x^", post_date="_{")
    options = ReportOptions(words=words, map=tmp_path / "r.png", pdf=tmp_path / "r.pdf")
    write_report(layer, tmp_path / "r.html", options=options)
    sheet = cv2.imread(str(tmp_path / "r.png"))
    assert sheet.shape == (1654, 2338, 3)
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF")
    assert (sheet < 128).any(axis=2).mean() > 0.005
