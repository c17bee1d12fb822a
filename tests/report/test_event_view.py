import json
import re
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine

from geodamage.report.event_view import EventView, people_cards, trust_cards, view_event
from geodamage.report.page import render
from geodamage.report.view import Words
from tests.conftest import CORNER, UTM, make_raster, run_command

pytest.importorskip("bokeh", reason="the extra report is not installed")


@pytest.fixture(scope="module")
def event(pair, model, tmp_path_factory):
    """Assess a pair, and merge it with a population into an event; return it and the images."""
    folder = tmp_path_factory.mktemp("event")
    images = []
    for name, path in zip(("pre", "post"), pair, strict=False):
        images.append(folder / f"{name}.tif")
        images[-1].write_bytes(path.read_bytes())
    scene = folder / "out" / "scenes" / "north"
    scene.mkdir(parents=True)
    result = run_command("assess", *images, "-o", scene / "buildings.gpkg", "--model", model)
    assert result.exit_code == 0, result.stderr
    transform = Affine(1000, 0, CORNER[0] - 500, 0, -1000, CORNER[1] + 500)
    people = folder / "people.tif"
    make_raster(people, np.full((1, 1, 1), 5000.0), crs=UTM, transform=transform)
    result = run_command(
        "event", folder / "out", "-o", folder / "event.gpkg", "--population", people
    )
    assert result.exit_code == 0, result.stderr
    return folder / "event.gpkg", images


@pytest.mark.slow
def test_the_worst_have_pictures_of_their_scene(event):
    view = view_event(event[0], words=Words())
    assert isinstance(view, EventView)
    assert set(view.chips) == {*view.worst.tolist(), *view.uncertain.tolist()}
    chip = view.chips[int(view.worst[0])]
    assert (chip.pre != chip.post).any()
    assert len(view.cells) > 0
    assert view.cells.crs == view.crs


@pytest.mark.slow
def test_the_page_has_cells_places_links_and_people(event):
    page = render(view_event(event[0], words=Words()))
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', page, re.DOTALL)[1])
    assert len(facts["cells"]["xs"]) == len(facts["cells"]["words"]) > 0
    assert re.fullmatch(r"\d+/\d+", facts["cells"]["words"][0])
    links = re.findall(r'class="place" href="([^"]+)"[^>]*>([^<]+)<', page)
    assert links
    for link, place in links:
        lat, lon = place.split(", ")
        assert f"mlat={lat}" in link.replace("&amp;", "&")
        assert f"mlon={lon}" in link.replace("&amp;", "&")
    assert "people in damaged buildings" in page
    assert "<th" in page
    for column in ("Hidden after", "Familiarity", "Model", "People in damaged", "Middle"):
        assert f">{column}<" in page


@pytest.mark.slow
def test_what_was_hidden_and_unlike_has_cards(event):
    view = view_event(event[0], words=Words())
    assert view.familiar == ("unknown",)
    (hidden,) = trust_cards(view)
    assert hidden[:2] == ("0", "hidden by cloud, smoke or fill")
    told = view.buildings.assign(status_reason=["obscured_post", *view.buildings.status_reason[1:]])
    view = replace(view, buildings=told, familiar=("unlike training (1.40)", "like training"))
    hidden, unlike = trust_cards(view)
    assert hidden[0] == "1"
    assert unlike[:2] == ("1", "scenes unlike what the model learnt from")
    assert unlike[2].startswith("of 2")


@pytest.mark.slow
def test_images_that_are_gone_are_said(event):
    path, images = event
    moved = images[1].with_suffix(".moved")
    images[1].rename(moved)
    try:
        view = view_event(path, words=Words())
    finally:
        moved.rename(images[1])
    assert view.chips == {}
    (line,) = [line for line in view.facts["warnings"] if "no pictures" in line]
    assert line.startswith("scene north: no pictures (")
    assert "is not on this machine" in line
    assert "scene north: no pictures" in render(view)


def test_people_have_a_card_where_they_were_counted():
    assert people_cards({}) == people_cards({"people": None}) == []
    told = {"people": {"per_grade": {"damaged": {"people": 1234.4}}}}
    assert people_cards(told)[0][:2] == ("1,234", "people in damaged buildings")
    told["people"]["per_grade"]["damaged"] |= {"low": 1000.0, "high": 2000.0}
    assert people_cards(told)[0][2] == "1,000 to 2,000 from a reviewed sample"
