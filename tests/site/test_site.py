"""The built site as a reader without a network meets it: in a real browser, from file://."""

import functools
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from checks import descriptions, links, look, parse, strangers, structure, visit
from selenium.webdriver.common.keys import Keys

ROOT = Path(__file__).resolve().parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *(c["file"] for part in TOC["parts"] for c in part["chapters"])]
CHAPTERS = [page for page in PAGES if page.startswith("notebooks/")]


def html_files(site):
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


def test_every_page_of_the_contents_is_built(site):
    built = {str(path.relative_to(site).with_suffix("")) for path in html_files(site)}
    assert built == {*PAGES, "index", "search", "404", "_live/index"}
    assert TOC["root"] in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("page", [*PAGES, "search", "404"])
def test_page_works_in_a_browser(site, browser, page, width, theme):
    """No error, nothing from elsewhere, nothing that a screen reader or a telephone stumbles over, at most 3 MB."""
    assert look(browser, f"file://{site}/{page}.html", width, theme) == []
    if page != "404":  # which follows the system alone
        assert browser.execute_script("return document.documentElement.dataset.theme") == theme
    text = browser.execute_script("""const main = document.querySelector('main').cloneNode(true);
        main.querySelectorAll('pre, code').forEach(node => node.remove()); return main.textContent""")
    assert "$$" not in text, "a formula is shown as it was typed"


@pytest.mark.parametrize("check", [structure, descriptions, links, strangers])
def test_every_page(site, check):
    found = {str(path.relative_to(site)): check(parse(path)) for path in html_files(site)}
    assert {path: complaints for path, complaints in found.items() if complaints} == {}


def test_styles_take_nothing_from_elsewhere(site):
    found = [(path.name, url) for path in site.rglob("*.css") for url in
             re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")]+)", path.read_text(encoding="utf-8"))]
    assert found == []


def test_maths_is_there_and_only_where_it_is_needed(site):
    for page in PAGES:
        source = parse(site / f"{page}.html").source
        assert ('class="math' in source) == ("mathjax/" in source), page
    assert sum("mathjax/" in parse(site / f"{page}.html").source for page in PAGES) >= len(CHAPTERS)


@pytest.mark.parametrize("page", CHAPTERS)
def test_chapter_ran_and_drew(site, page):
    source = parse(site / f"{page}.html").source
    outputs = source.split('class="cell_output')[1:]
    assert any("<img" in output for output in outputs), "it shows no figure"
    assert "Traceback (most recent call last)" not in source
    assert not re.search(r'class="output traceback', source), "it shows an error"


@pytest.mark.parametrize("page", CHAPTERS)
def test_welcome_page_tells_the_minutes_of_the_chapter(site, page):
    first = re.search(r"<em>(\d+) minutes\. Builds on: ", parse(site / f"{page}.html").source.split("<article")[1])
    assert first, "it does not say how many minutes it takes, and what it builds on"
    row = re.search(rf"\(\.\./{page}\.ipynb\) \| (\d+) \|", (ROOT / "book" / "intro.md").read_text(encoding="utf-8"))
    assert row, f"book/intro.md has no row for {page}"
    assert row[1] == first[1], f"book/intro.md says {row[1]} minutes, the chapter says {first[1]}"


def test_pages_follow_each_other(site):
    for before, after in zip(PAGES, PAGES[1:]):
        for page, kind, other in ((before, "next", after), (after, "prev", before)):
            found = [Path(a["href"]).stem for tag, a in parse(site / f"{page}.html").tags
                     if tag == "a" and kind in a.get("title", "")]
            assert Path(other).stem in found, f"{page}: no {kind} page {other}"


def test_icons_come_from_the_style_sheet(site):
    """The theme's script of 1.5 MB draws the same ones."""
    assert [str(path) for path in html_files(site) if "fontawesome.js" in path.read_text(encoding="utf-8")] == []
    assert "fa-solid-900.woff2" in (site / "_static" / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8")


def test_chapters_link_their_terms_to_the_glossary(site):
    terms = {page: [a for tag, a in parse(site / f"{page}.html").tags if "pw-term" in a.get("class", "")]
             for page in CHAPTERS}
    assert all(terms[page] for page in CHAPTERS if page != CHAPTERS[0]), "a chapter has no term"
    for page, found in terms.items():
        assert len({a["href"] for a in found}) == len(found), f"{page} links a term twice"
        assert sum("title" in a for a in found) >= len(found) / 2, f"{page}: few terms show their definition"


def test_where_a_page_names_a_chapter_it_leads_there(site):
    def named(page):
        return [a["href"] for tag, a in parse(site / f"{page}.html").tags
                if tag == "a" and a.get("title") and re.search(r"(^|/)\d\d_\w+\.html$", a.get("href", ""))]
    assert len(named("book/glossary")) > 50  # each entry says which chapter explains it
    for page in CHAPTERS:
        own = page.rpartition("/")[2] + ".html"
        assert named(page), f"{page} leads to no other chapter"
        assert own not in named(page)


def test_each_page_describes_itself(site):
    seen = {}
    for page in PAGES:
        tags = {a.get("property") or a.get("name"): a["content"] for tag, a in parse(site / f"{page}.html").tags
                if tag == "meta" and "content" in a}
        assert tags["description"] == tags["og:description"], page
        assert 30 <= len(tags["description"]) <= 310, f"{page}: {tags['description']!r}"
        assert all(tags[key] for key in ("og:title", "og:type", "og:site_name")), page
        assert tags.get("og:image", "https:").startswith("https:"), f"{page}: a card's picture needs a whole address"
        seen.setdefault(tags["description"], []).append(page)
    assert [pages for pages in seen.values() if len(pages) > 1] == []


def wait_for(browser, script: str):
    """What a script returns, as soon as that is not false, within ten seconds."""
    value = browser.execute_async_script(f"""const done = arguments[0], end = Date.now() + 10000;
        (function look() {{ const value = (() => {{ {script} }})();
            value || Date.now() > end ? done(value) : setTimeout(look, 50); }})()""")
    assert value, f"nothing came of: {script}"
    return value


@pytest.mark.parametrize(("words", "page"), [("positional", "03_tokens"), ("missing transpose", "05_multi_head"),
                                             ("rollout", "glossary")])
def test_search_finds(site, browser, words, page):
    visit(browser, f"file://{site}/search.html?q={words.replace(' ', '+')}")
    found = wait_for(browser, """const results = document.querySelector('#search-results');
        return /found|finished/i.test(results.textContent) && [...results.querySelectorAll('li a')].map(a => a.href)""")
    assert any(page in address for address in found[:5]), found


def test_code_is_copied_by_mouse_and_by_keyboard(site, browser):
    """All of the cell's code, and nothing else."""
    visit(browser, f"file://{site}/notebooks/02_patches.html")
    browser.execute_script("""window.copied = [];
        document.addEventListener("copy", (event) => copied.push(event.target.value), true)""")
    cell = browser.find_elements("css selector", "div.cell_input div.highlight")[1]
    button = cell.find_element("tag name", "button")
    code = cell.find_element("tag name", "pre").get_property("textContent")  # .text leaves empty lines out
    for press in (button.click, lambda: button.send_keys(Keys.ENTER)):
        press()
        assert wait_for(browser, "return copied.pop()").strip() == code.strip()


def test_button_to_copy_shows_when_the_keyboard_reaches_it(site, browser):
    visit(browser, f"file://{site}/notebooks/02_patches.html")
    browser.find_element("tag name", "body").send_keys(Keys.TAB)  # from now on the browser shows where the focus is
    shown = browser.execute_script("""const button = document.querySelectorAll('button.copybtn')[1];
        const before = getComputedStyle(button).opacity; button.focus({focusVisible: true});
        return [before, getComputedStyle(button).opacity]""")
    assert [float(opacity) for opacity in shown] == [0, 1]


@pytest.mark.parametrize("wide", [
    '<div class="cell_output docutils container"><div class="output text_html"><table class="dataframe"><tbody><tr>'
    + "<td>0.123456</td>" * 30 + "</tr></tbody></table></div></div>",
    '<div class="pst-scrollable-table-container"><table class="table"><tbody><tr>' + "<td>0.123456</td>" * 30
    + "</tr></tbody></table></div>",
    '<div class="highlight-ipython3 notranslate"><div class="highlight"><pre>' + "x" * 400 + "</pre></div></div>",
    '<div class="math notranslate"><mjx-container class="MathJax" jax="SVG" display="true"><svg width="2000">'
    "</svg></mjx-container></div>",
], ids=["data frame", "table", "code", "formula"])
def test_what_is_wide_scrolls_in_its_box(site, browser, wide):
    visit(browser, f"file://{site}/notebooks/02_patches.html", 375)
    page, boxes = browser.execute_script("""const section = document.querySelector("article section");
        section.insertAdjacentHTML("afterbegin", arguments[0]);
        const all = [section.firstElementChild, ...section.firstElementChild.querySelectorAll("*")];
        return [document.documentElement.scrollWidth, all.filter(e => e.scrollWidth > e.clientWidth + 50
            && ["auto", "scroll"].includes(getComputedStyle(e).overflowX)).length]""", wide)
    assert page <= 375
    assert boxes == 1, "nothing scrolls, so a part of it cannot be seen"


def test_a_line_of_code_is_seen_with_its_shape_on_a_small_desktop_screen(site, browser):
    visit(browser, f"file://{site}/notebooks/02_patches.html", 1280)
    fits = browser.execute_script("""
        const box = [...document.querySelectorAll("article .cell_input pre")].find(pre => pre.clientWidth);
        return [92, 140].map(length => {
            box.textContent = "x".repeat(length);
            return box.scrollWidth <= box.clientWidth; })""")
    assert fits == [True, False]


def test_printed_page_is_light_and_whole(site, browser):
    """On A4 paper: dark letters on white, no menus, nothing cut off, nothing that is folded."""
    visit(browser, f"file://{site}/notebooks/04_attention.html", 794, "dark")
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        ink, cut, seen = browser.execute_script("""
            const article = document.querySelector("article.bd-article");
            const all = (selector) => [...document.querySelectorAll(selector)];
            return [getComputedStyle(article).color.match(/\\d+/g).map(Number),
                    all("article pre").filter(p => p.scrollWidth > p.clientWidth + 1).map(p => p.textContent),
                    all(".bd-sidebar, .bd-header-article, .copybtn, article details").filter(e => e.checkVisibility())
                        .map(e => e.className || e.tagName)]""")
        assert max(ink) < 90, f"letters are {ink}"
        assert cut == []
        assert seen == []
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script("return document.documentElement.dataset.theme") == "dark"


class BelowAFolder(SimpleHTTPRequestHandler):
    """A host such as GitHub Pages: the site lies in /book/, and what is not there is answered with its 404.html."""

    def translate_path(self, path):
        inside = path.split("?")[0].removeprefix("/book/")
        return super().translate_path("/" + inside if path.startswith("/book/") else "/nowhere")

    def send_error(self, code, message=None, explain=None):
        self.server.missed.append(self.path)
        page = (Path(self.directory) / "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(page)

    def log_message(self, *_):
        pass  # the test asks the server what was missed


@pytest.fixture
def host(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(BelowAFolder, directory=site))
    server.missed = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("page", ["index", "notebooks/07_vision_transformer", "book/notation", "search"])
def test_site_is_whole_below_a_folder(host, browser, page):
    visit(browser, f"http://127.0.0.1:{host.server_port}/book/{page}.html")
    assert wait_for(browser, "return document.querySelector('.bd-main, main h1') && document.readyState === 'complete'")
    assert host.missed == []


@pytest.mark.parametrize("path", ["/book/gone.html", "/book/notebooks/old/03_tokens.html"])
def test_wrong_address_shows_the_way_at_any_depth(host, browser, path):
    home = f"http://127.0.0.1:{host.server_port}/book/"
    visit(browser, f"http://127.0.0.1:{host.server_port}{path}")
    assert "no page at this address" in browser.find_element("css selector", "h1").text
    wait_for(browser, "return document.querySelector('base')")
    found = browser.execute_script("return [...document.querySelectorAll('li a')].map(a => a.href)")
    assert found == [f"{home}{page}.html" for page in PAGES]
