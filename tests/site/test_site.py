"""The built site, as a reader without a network meets it: opened in a real browser, from file://.

The site is taken from $BOOK_HTML, or from _build/html. Chromium and its driver are found on the PATH.
"""

import json
import os
import re
import shutil
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
import yaml
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).resolve().parents[1]
HTML = Path(os.environ.get("BOOK_HTML") or ROOT / "_build" / "html").resolve()
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
CHAPTERS = [c["file"] for part in TOC["parts"] for c in part["chapters"] if c["file"].startswith("notebooks/")]
PAGES = [TOC["root"], *(c["file"] for part in TOC["parts"] for c in part["chapters"])]
MEGABYTE = 2**20


class Page(HTMLParser):
    """A page's tags with their attributes, in order, and the headings of its article (others are for print)."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.tags, self.headings = path, [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.ids = {a["id"] for _, a in self.tags if a.get("id")}

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if re.fullmatch("h[1-6]", tag) and any(seen == "article" for seen, _ in self.tags):
            self.headings.append(int(tag[1]))

    def values(self, tag: str, attribute: str) -> list[str]:
        return [a[attribute] or "" for t, a in self.tags if t == tag and attribute in a]


@cache
def parse(path: Path) -> Page:
    return Page(path)


@pytest.fixture(scope="session", autouse=True)
def site() -> Path:
    """The built site; every test needs it."""
    if not (HTML / "index.html").is_file():
        pytest.fail(f"there is no site in {HTML}; run `make book` first, or set BOOK_HTML to the folder of a built one")
    return HTML


@pytest.fixture(scope="session")
def browser():
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(programs.values()):
        pytest.fail(f"browser or driver missing: {programs}; on Debian: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--disable-background-networking"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(programs["chromedriver"]))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


def visit(browser, page: str, width: int, theme: str) -> list[str]:
    """Open a page as a reader with this screen and this preference would; returns what it asked for from elsewhere."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    scheme = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get_log("performance"), browser.get_log("browser")  # forget the page before
    browser.get(f"file://{HTML}/{page}.html")
    browser.execute_async_script("Promise.resolve(window.MathJax?.startup?.promise).then(arguments[0])")
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert urls, "the browser reported no request at all: the log is not being read"
    return [url for url in urls if urlsplit(url).scheme not in ("file", "data", "blob")]


def test_every_page_of_the_contents_is_built():
    assert [page for page in PAGES if not (HTML / f"{page}.html").is_file()] == []
    assert TOC["root"] in (HTML / "index.html").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_page_works_in_a_browser(browser, page):
    """At two widths, light and dark: no error, nothing from elsewhere, images there, nothing wider than the screen."""
    for width in (1280, 375):
        for theme in ("light", "dark"):
            where = f"{page} at {width} px, {theme}"
            assert visit(browser, page, width, theme) == [], f"{where} asks for addresses elsewhere"
            assert browser.execute_script("return document.documentElement.dataset.theme") == theme, where
            errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
            assert errors == [], where
            missing = "return [...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)"
            assert browser.execute_script(missing) == [], f"{where} has images that do not show"
            assert browser.execute_script("return innerWidth") == width
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width + 1, f"{where} scrolls sideways: it is {wide} px wide"


@pytest.mark.parametrize("page", PAGES)
def test_maths_is_typeset(browser, page):
    visit(browser, page, 1280, "light")
    written = len(re.findall(r'class="math notranslate', parse(HTML / f"{page}.html").source))
    shown = browser.execute_script("return document.querySelectorAll('mjx-container').length")
    assert shown >= written, f"{page} has {written} formulas and shows {shown}"
    assert browser.execute_script("return document.querySelectorAll('mjx-merror, [data-mjx-error]').length") == 0
    text = browser.execute_script("""const article = document.querySelector('article').cloneNode(true);
        article.querySelectorAll('pre, code').forEach(node => node.remove()); return article.textContent""")
    assert "$$" not in text, f"{page} shows a raw $$"


def test_some_page_has_maths():
    assert any('class="math notranslate' in parse(HTML / f"{page}.html").source for page in PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_images_are_described(page):
    for tag, a in parse(HTML / f"{page}.html").tags:
        alt = a.get("alt") or ""
        if tag == "img":
            assert alt.strip(), f"{page}: {a['src']} has no alternative text"
            assert not re.search(r"^\S*/\S*$|\.(png|svg|jpe?g|gif)$", alt.strip()), f"{page}: {alt!r} is a file's name"


@pytest.mark.parametrize("page", PAGES)
def test_headings_are_in_order(page):
    levels = parse(HTML / f"{page}.html").headings
    assert levels.count(1) == 1, f"{page} has {levels.count(1)} headings of level 1"
    for before, after in zip(levels, levels[1:]):
        assert after <= before + 1, f"{page} jumps from heading level {before} to {after}"


@pytest.mark.parametrize("page", CHAPTERS)
def test_chapter_ran_and_drew(page):
    source = parse(HTML / f"{page}.html").source
    outputs = source.split('class="cell_output')[1:]
    assert any("<img" in output for output in outputs), f"{page} shows no figure"
    assert "Traceback (most recent call last)" not in source
    assert not re.search(r'class="output traceback', source), f"{page} shows an error"


@pytest.mark.parametrize("page", CHAPTERS)
def test_welcome_page_tells_the_minutes_of_the_chapter(page):
    first = re.search(r"(\d+) minutes", parse(HTML / f"{page}.html").source.split("<article")[1])
    assert first, f"{page} does not say how many minutes it takes"
    row = re.search(rf"\(\.\./{page}\.ipynb\) \| (\d+) \|", (ROOT / "book" / "intro.md").read_text())
    assert row, f"book/intro.md has no row for {page}"
    assert row[1] == first[1], f"book/intro.md says {row[1]} minutes, {page} says {first[1]}"


def test_links_inside_the_site_lead_somewhere():
    broken = []
    for path in sorted(HTML.rglob("*.html")):
        for link in parse(path).values("a", "href"):
            address, anchor = urldefrag(link)
            if urlsplit(link).scheme:
                continue
            target = (path.parent / unquote(urlsplit(address).path)).resolve() if address else path
            if not target.is_file():
                broken.append(f"{path.relative_to(HTML)}: {link}: no such file")
            elif anchor and target.suffix == ".html" and unquote(anchor) not in parse(target).ids:
                broken.append(f"{path.relative_to(HTML)}: {link}: no such place on that page")
    assert broken == []


def test_nothing_is_taken_from_elsewhere():
    found = []
    for path in sorted(HTML.rglob("*.html")):
        for tag, a in parse(path).tags:
            if tag in ("script", "link", "img", "iframe", "source", "video", "audio", "embed", "object"):
                found += [f"{path.relative_to(HTML)}: <{tag}> {a[k]}" for k in ("src", "href", "srcset", "data")
                          if re.match("(https?:)?//", a.get(k) or "")]
    for path in sorted(HTML.rglob("*.css")):
        urls = re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")]+)", path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(HTML)}: {url}" for url in urls]
    assert found == []


@pytest.mark.parametrize("page", PAGES)
def test_page_is_light(page):
    """At most 3 MB for a page and its own images; style, scripts and fonts are shared by all pages."""
    parsed = parse(HTML / f"{page}.html")
    sources = {unquote(src) for src in parsed.values("img", "src") if not urlsplit(src).scheme}
    size = len(parsed.source.encode()) + sum((parsed.path.parent / source).stat().st_size for source in sources)
    assert size <= 3 * MEGABYTE, f"{page} weighs {size / MEGABYTE:.1f} MB"
