"""The page in a real browser: Debian's chromium, headless, asked over its own protocol."""

import base64
import io
import json
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import geopandas as gpd
import numpy as np
import pytest
import shapely

from geodamage.assessment import Job, assess
from geodamage.damage import COLOURS, COLOURS_SAFE, DamageGrade, rgb
from geodamage.output.publication import sidecar_path
from geodamage.report.writing import write_report
from tests.browsers import needs_chromium, open_browser, wait
from tests.conftest import CORNER, POST_VALUE, ROOF, ROOFS, UTM

selenium = pytest.importorskip("selenium", reason="selenium is not installed (extra dev)")

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

pytestmark = [pytest.mark.slow, needs_chromium]

#: What would run, load and be seen if text from data were not text.
HOSTILE = "<script>window.owned=1</script><img src='http://hostile.invalid/x' onerror='owned=2'>"


class Page(NamedTuple):
    """A report and what it should say."""

    path: Path
    buildings: gpd.GeoDataFrame


@pytest.fixture(scope="module")
def page(pair, model, tmp_path_factory):
    """Return the report of `ROOFS` and of a building beside the images, with hostile names."""
    folder = tmp_path_factory.mktemp("page")
    shapes = [roof.polygon for roof in ROOFS]
    beside = shapely.box(CORNER[0] + 74, CORNER[1] - 30, CORNER[0] + 95, CORNER[1] - 10)
    gpd.GeoDataFrame(
        {"name": [f"{n} {HOSTILE}" for n in range(len(shapes) + 1)]},
        geometry=[*shapes, shapely.affinity.translate(beside, 8, 0)],
        crs=UTM,
    ).to_file(folder / "footprints.gpkg")
    output = folder / "b.gpkg"
    job = Job(pre=pair.pre, post=pair.post, output=output, model=model, id_field="name",
              footprints=folder / "footprints.gpkg")  # fmt: skip
    for _ in assess(job):
        pass
    write_report(output, folder / "r.html", pre=pair.pre, post=pair.post)
    return Page(folder / "r.html", gpd.read_file(output, layer=0))


@pytest.fixture(scope="module")
def browser():
    with open_browser() as driver:
        yield driver


def show(browser, page, width=1280, height=900):
    """Open a page at a size, and wait until its map stands."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what was before
    browser.get(page.path.as_uri())
    wait(lambda: browser.execute_script("return document.documentElement.dataset.ready"))
    browser.execute_script(
        "document.documentElement.style.scrollBehavior = 'auto';"
        "document.getElementById('frame').scrollIntoView()"
    )


def find(browser, name):
    return browser.find_element(By.ID, name)


def place(browser, number):
    """Return where the middle of a roof is in the window, pixels, by the ranges of the map."""
    left, right, bottom, top, box = browser.execute_script(
        "const m = Bokeh.documents[0].roots()[0];"
        "const b = document.getElementById('plot').getBoundingClientRect();"
        "return [m.x_range.start, m.x_range.end, m.y_range.start, m.y_range.end, b.toJSON()]"
    )
    middle = ROOFS[number].polygon.centroid
    x, y = middle.x - CORNER[0], middle.y - (CORNER[1] - 64)
    across, down = (x - left) / (right - left), (top - y) / (top - bottom)
    return box["left"] + across * box["width"], box["top"] + down * box["height"]


def click(browser, x, y):
    plot = find(browser, "plot")
    box = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", plot)
    right, below = x - box["left"] - box["width"] / 2, y - box["top"] - box["height"] / 2
    ActionChains(browser).move_to_element_with_offset(
        plot, round(right), round(below)
    ).click().perform()


def colour(browser, x, y):
    """Return what is seen at a place of the window, red, green, blue."""
    time.sleep(0.3)  # two frames, also of a slow machine
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {})["data"]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(shot), np.uint8), cv2.IMREAD_COLOR)
    return image[round(y), round(x), ::-1].astype(int)


def choose(browser, name, value):
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change'))",
        name,
        value,
    )


def test_no_request_leaves_the_file_and_the_console_is_silent(browser, page):
    show(browser, page)
    click(browser, *place(browser, 1))
    find(browser, "safe").click()
    find(browser, "closer").click()
    time.sleep(0.5)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:")] == [page.path.as_uri()]
    assert browser.get_log("browser") == []


def test_text_from_data_does_not_run(browser, page):
    show(browser, page)
    click(browser, *place(browser, 1))
    wait(lambda: HOSTILE in find(browser, "building-facts").text)
    assert browser.execute_script("return window.owned") is None
    assert browser.execute_script("return document.images.length") == len(
        re.findall("<img ", re.sub(r"<script.*?</script>", "", page.path.read_text(), flags=re.S))
    )


def test_the_policy_stops_scripts_and_requests_that_are_not_the_pages_own(browser, page):
    show(browser, page)
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.owned = 3';"
        "document.body.append(s); const i = new Image(); i.src = 'http://hostile.invalid/y'"
    )
    refused = []
    wait(lambda: len(refused.extend(browser.get_log("browser")) or refused) >= 2)
    assert browser.execute_script("return window.owned") is None
    assert all("Content Security Policy" in entry["message"] for entry in refused)


def test_swipe_moves_the_border_between_the_dates(browser, page):
    show(browser, page)
    choose(browser, "style", "hidden")
    x, y = place(browser, 2)
    clip = "return getComputedStyle(document.getElementById('before-clip')).clipPath"
    before = browser.execute_script(clip)
    choose(browser, "swipe", "100")
    assert browser.execute_script(clip) != before
    assert abs(colour(browser, x, y)[0] - ROOF) < 8
    choose(browser, "swipe", "0")
    assert abs(colour(browser, x, y)[0] - POST_VALUE[3]) < 8


def test_swipe_goes_by_keys_and_by_its_handle(browser, page):
    show(browser, page)
    share = "return parseFloat(document.getElementById('frame').style.getPropertyValue('--before'))"
    find(browser, "swipe").send_keys(Keys.ARROW_RIGHT * 3)
    assert browser.execute_script(share) == 53
    browser.execute_script("document.getElementById('frame').scrollIntoView()")
    grip = browser.find_element(By.CSS_SELECTOR, "#handle i")
    ActionChains(browser).drag_and_drop_by_offset(grip, -200, 0).perform()
    assert 20 < browser.execute_script(share) < 40


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_click_shows_the_probabilities_of_a_building(browser, page, number):
    show(browser, page)
    click(browser, *place(browser, number))
    text = wait(lambda: "Probability" in (said := find(browser, "building").text) and said)
    names = page.buildings["building_id"].str.startswith(f"{number} ")
    building = page.buildings[names].iloc[0]
    assert building["damage"] in text
    assert f"{number} {HOSTILE}" in text
    for field in ("p_none", "p_minor", "p_major", "p_destroyed"):
        share = building[field]
        assert f"{100 * share:.{0 if share > 0.0995 else 1}f} %" in text


def test_a_picture_below_shows_its_building_on_the_map(browser, page):
    show(browser, page)
    chip = browser.find_element(By.CSS_SELECTOR, "#worst .chip")
    browser.execute_script("arguments[0].click()", chip)
    wait(lambda: "destroyed" in find(browser, "building").text)
    assert chip.get_attribute("aria-pressed") == "true"
    picture = chip.find_element(By.TAG_NAME, "img")
    assert browser.execute_script("return arguments[0].naturalWidth", picture) == 200


def test_the_palette_changes_what_is_filled(browser, page):
    show(browser, page)
    choose(browser, "swipe", "0")
    x, y = place(browser, 4)
    swatch = "return getComputedStyle(document.querySelector('.chart .swatch.g4')).backgroundColor"
    grade, seen = DamageGrade.DESTROYED, {}
    for palette in (COLOURS, COLOURS_SAFE):
        red, green, blue = rgb(palette[grade])
        assert browser.execute_script(swatch) == f"rgb({red}, {green}, {blue})"
        expected = 0.4 * np.array([red, green, blue]) + 0.6 * POST_VALUE[4]
        seen[palette[grade]] = colour(browser, x, y)
        assert np.abs(seen[palette[grade]] - expected).max() < 12
        find(browser, "safe").click()


def test_a_grade_can_be_hidden(browser, page):
    show(browser, page)
    choose(browser, "swipe", "0")
    x, y = place(browser, 4)
    filled = colour(browser, x, y)
    browser.execute_script("""document.querySelector('input.grade[value="4"]').click()""")
    plain = colour(browser, x, y)
    assert np.abs(filled - plain).max() > 20
    assert np.abs(plain - POST_VALUE[4]).max() < 8


def test_zoom_keeps_pictures_under_buildings(browser, page):
    show(browser, page)
    choose(browser, "style", "hidden")
    choose(browser, "swipe", "100")
    browser.execute_script("document.getElementById('closer').click()")
    x, y = place(browser, 1)
    assert abs(colour(browser, x, y)[0] - ROOF) < 8


@pytest.mark.parametrize(("ctrl", "zooms"), [(2, True), (0, False)])
def test_the_wheel_zooms_with_ctrl_and_scrolls_the_page_without(browser, page, ctrl, zooms):
    show(browser, page)
    x, y = place(browser, 1)
    state = (
        "const r = Bokeh.documents[0].roots()[0].x_range; return [r.end - r.start, window.scrollY]"
    )
    across, scrolled = browser.execute_script(state)
    turn = {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": -120, "modifiers": ctrl}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", turn)
    time.sleep(0.5)
    after = browser.execute_script(state)
    assert (after[0] < 0.99 * across) == zooms
    assert (after[1] < scrolled) == (not zooms)


@pytest.mark.timeout(300)
def test_many_buildings_without_a_grade_do_not_freeze_the_map(browser, page, tmp_path):
    count = 4_000
    columns, rows = np.arange(count) % 80 * 20.0, np.arange(count) // 80 * 20.0
    frame = page.buildings.iloc[[-1] * count].reset_index(drop=True)
    frame["building_id"] = [str(number) for number in range(count)]
    frame["damage_class"] = None
    frame["status"] = "not_assessed"
    frame["geometry"] = shapely.box(columns, rows + 3e6, columns + 12, rows + 3e6 + 12)
    frame = frame.set_geometry("geometry", crs=UTM)
    frame.to_file(tmp_path / "b.gpkg")
    sidecar_path(tmp_path / "b.gpkg").write_text("{}")
    write_report(tmp_path / "b.gpkg", tmp_path / "r.html")
    show(browser, Page(tmp_path / "r.html", frame))
    # With a hatch for each building it was two seconds a frame: all have one.
    pattern = browser.execute_script(
        "return Bokeh.documents[0].roots()[0].renderers.filter(r => r.glyph)"
        ".map(r => JSON.stringify(r.glyph.hatch_pattern ?? null))"
    )
    assert any("right_diagonal_line" in text for text in pattern)
    assert not any('"field"' in text for text in pattern)
    moved = browser.execute_async_script(
        "const done = arguments[0], r = Bokeh.documents[0].roots()[0].x_range;"
        "const start = r.start; let n = 0;"
        "const step = () => { r.setv({start: r.start + 5, end: r.end + 5}); n += 1;"
        "  if (n > 5) done(r.start - start);"
        "  else requestAnimationFrame(() => requestAnimationFrame(step)); }; step();"
    )
    assert moved == pytest.approx(30)


def test_a_telephone_shows_all_of_it_without_scrolling_sideways(browser, page):
    show(browser, page, 390, 844)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    box = browser.execute_script(
        "return document.getElementById('frame').getBoundingClientRect().toJSON()"
    )
    assert box["width"] > 330
    assert 300 < box["height"] < 844 * 0.8
    click(browser, *place(browser, 1))
    wait(lambda: "Probability" in find(browser, "building").text)


def test_what_can_be_used_has_a_name_and_headings_go_down_by_one(browser, page):
    show(browser, page)
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    used = ("button", "slider", "checkbox", "combobox", "image", "img")
    nameless = [
        node
        for node in nodes
        if node.get("role", {}).get("value") in used
        and not node["ignored"]
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3')].map((h) => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    assert browser.execute_script("return document.documentElement.lang") == "en"


def test_a_page_prints(browser, page):
    show(browser, page)
    blob = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert io.BytesIO(blob).read(4) == b"%PDF"
    pages = len(re.findall(rb"/Type\s*/Page\b", blob))
    assert 1 < pages < 9
