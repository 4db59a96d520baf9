"""The built site, and a browser to open it in.

The site is taken from $BOOK_HTML, or from _build/html. Chromium and its driver are found on the PATH.
"""

import os
import shutil
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).resolve().parents[2]


def give_up(reason: str) -> None:
    """A plain `python -m pytest` tests what is there and says what it left out; `make test-site` asks for all of it."""
    (pytest.fail if "BOOK_TEST_SITE" in os.environ else pytest.skip)(reason)


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built site."""
    html = Path(os.environ.get("BOOK_HTML") or ROOT / "_build" / "html").resolve()
    if not (html / "index.html").is_file():
        give_up(f"there is no site in {html}; run `make book` first, or set BOOK_HTML to the folder of a built one")
    return html


@pytest.fixture(scope="session")
def browser():
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(programs.values()):
        give_up(f"browser or driver missing: {programs}; on Debian: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--disable-background-networking"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(programs["chromedriver"]))
    driver.set_script_timeout(600)  # on a machine that is busy, axe takes a minute
    yield driver
    driver.quit()
