"""A real browser for tests of pages: Debian's chromium, headless."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
#: Seconds that a page has to get somewhere.
SECONDS = 20

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no chromium and chromedriver (apt-get install chromium chromium-driver)",
)


@contextmanager
def open_browser(downloads: Path | None = None) -> Iterator[Any]:
    """Open a browser; what it saves goes to a folder."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{argument}")
    if downloads is not None:
        folder = {"download.default_directory": str(downloads)}
        options.add_experimental_option("prefs", folder)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def wait(condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds, and return what it says."""
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, "the page does not get there"
        time.sleep(0.05)
    return found
