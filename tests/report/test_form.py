"""The form of a report in a real browser, and what it refuses."""

import json
import re
from typing import NamedTuple

import geopandas as gpd
import pytest

from geodamage.assessment import Job, assess
from geodamage.errors import InputError, OptionError
from geodamage.report.writing import ReportOptions, write_report
from geodamage.reviews.answers import read_answers
from geodamage.reviews.sampling import SampleOptions, write_sample
from tests.browsers import needs_chromium, open_browser, wait
from tests.conftest import run_command

selenium = pytest.importorskip("selenium", reason="selenium is not installed (extra dev)")

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

pytestmark = pytest.mark.slow


class Made(NamedTuple):
    """A result, a sample of all of its buildings, and the page with the form."""

    result: object
    sample: object
    page: object


@pytest.fixture(scope="module")
def made(pair, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("form")
    result, sample, page = folder / "b.gpkg", folder / "s.gpkg", folder / "look.html"
    for _ in assess(Job(pre=pair.pre, post=pair.post, output=result, model=model)):
        pass
    write_sample([result], sample, SampleOptions(number=5))
    options = ReportOptions(sample=sample)
    write_report(result, page, pre=pair.pre, post=pair.post, options=options)
    return Made(result, sample, page)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def browser(saved):
    with open_browser(saved) as driver:
        yield driver


@pytest.fixture
def page(browser, made):
    """Open the page as one who has never been there."""
    browser.get(made.page.as_uri())
    browser.execute_script("localStorage.clear()")
    reopen(browser)
    return browser


def reopen(browser):
    browser.refresh()
    wait(lambda: browser.execute_script("return document.documentElement.dataset.ready"))
    browser.execute_script("document.documentElement.style.scrollBehavior = 'auto'")


def press(browser, *keys):
    ActionChains(browser).send_keys(*keys).perform()


def said(browser):
    return browser.find_element(By.ID, "form-said").text


def is_seen(browser, name):
    return browser.find_element(By.ID, name).is_displayed()


@needs_chromium
def test_the_grade_is_hidden_until_a_building_is_answered(page, made):
    frame = gpd.read_file(made.sample, layer=0).sort_values("sample_order")
    assert said(page) == ""
    assert not is_seen(page, "summary")
    assert not is_seen(page, "map")
    assert not is_seen(page, "worst")
    text = page.find_element(By.TAG_NAME, "main").text
    assert f"1 of 5 · {frame['building_id'].iloc[0]}" in text
    # The names of the grades stand on the buttons and in what they mean, and nowhere else.
    assert len(re.findall("destroyed", text)) == 1
    press(page, "2")
    told = f"you said minor-damage; the model said {frame['damage'].iloc[0]}."
    assert told in said(page)
    assert "1 of 5 are answered" in page.find_element(By.ID, "form-count").text


@needs_chromium
def test_keys_answer_and_the_file_is_what_estimate_reads(page, made, saved):
    order = gpd.read_file(made.sample, layer=0).sort_values("sample_order")["building_id"].tolist()
    press(page, "1", "4", "u", "x", Keys.ARROW_LEFT, "3")
    press(page, "2")
    name = page.find_element(By.ID, "form-reviewer")
    name.send_keys("Ada 1 x")  # letters there are no answers
    page.find_element(By.ID, "form-export").click()
    path = wait(lambda: next(saved.glob("*.answers.json"), None))
    found = read_answers(path)
    expected = ["no-damage", "destroyed", "unclear", "major-damage", "minor-damage"]
    assert dict(zip(found["building_id"], found["damage"], strict=True)) == dict(
        zip(order, expected, strict=True)
    )
    assert set(found["reviewer"]) == {"Ada 1 x"}
    assert found["reviewed_at"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()
    ran = run_command(
        "estimate", made.result, "--reviewed", made.sample, "--answers", path, "--json"
    )
    # One is unclear: with it all five would have been looked at.
    assert ran.exit_code == 4
    assert "4 randomly drawn buildings have a clear answer" in ran.stderr
    told = json.loads(path.read_text())
    told["answers"][2]["damage"] = "no building"
    path.write_text(json.dumps(told))
    ran = run_command(
        "estimate", made.result, "--reviewed", made.sample, "--answers", path, "--json"
    )
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["damaged"]["total"] == 3


@needs_chromium
def test_a_page_that_is_opened_again_has_the_answers(page):
    press(page, "4", "4")
    reopen(page)
    assert "2 of 5 are answered" in page.find_element(By.ID, "form-count").text
    assert page.find_element(By.ID, "form-building").text.startswith("3 of 5")


@needs_chromium
def test_the_report_is_a_button_away(page):
    page.find_element(By.ID, "form-report").click()
    assert is_seen(page, "summary")
    frame = page.find_element(By.ID, "frame")
    assert frame.size["width"] > 500
    press(page, "4")  # the map has keys of its own
    assert "0 of 5" in page.find_element(By.ID, "form-count").text
    assert page.get_log("browser") == []


def test_a_sample_needs_both_images(made, tmp_path):
    with pytest.raises(OptionError, match="--sample needs --pre and --post"):
        write_report(made.result, tmp_path / "r.html", options=ReportOptions(sample=made.sample))


@pytest.mark.parametrize("kind", ["no sample", "of another result"])
def test_another_sample_is_refused(made, pair, tmp_path, kind):
    sample = made.result
    if kind == "of another result":
        sample = tmp_path / "s.gpkg"
        frame = gpd.read_file(made.sample, layer=0).assign(building_id=[f"z{n}" for n in range(5)])
        frame.to_file(sample)
        beside = made.sample.with_name(f"{made.sample.name}.json").read_text()
        sample.with_name("s.gpkg.json").write_text(beside)
    with pytest.raises(InputError, match=r"is not a sample|none of its buildings"):
        write_report(
            made.result, tmp_path / "r.html", pre=pair.pre, post=pair.post,
            options=ReportOptions(sample=sample),
        )  # fmt: skip
    assert not (tmp_path / "r.html").exists()
