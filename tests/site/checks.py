"""What must hold on every page of the built site. Each check returns its complaints; none means that all is well.

The checks are themselves tested on small pages with one planted fault each: test_checks.py.
"""

import json
import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

MEGABYTE = 2**20
LIMIT = 3 * MEGABYTE  # for all that a page loads, but for MathJax, whose one file of 2.2 MB all pages share
# axe takes ten seconds over the thousands of words of code in a chapter. They are coloured by class: of each class and
# colour in each kind of box, one word stands for all, and the others lose their tags (lines keep theirs, or they would
# not wrap). So do the strokes of formulas, which are hidden from screen readers: those read the MathML beside them.
SAMPLE = """
    document.querySelectorAll("mjx-container > svg[aria-hidden=true]").forEach((drawing) => drawing.replaceChildren());
    const seen = new Set(), repeated = [];
    for (const word of document.querySelectorAll("pre span:not(.pw-line)")) {
        const style = getComputedStyle(word), paper = getComputedStyle(word.closest("pre"));
        const kind = [word.className, style.color, style.backgroundColor, paper.backgroundColor, paper.fontSize,
                      word.closest(".cell_input, .cell_output, section")?.className].join();
        if (!seen.has(kind)) seen.add(kind);
        else if (!word.children.length && !word.id) repeated.push(word);
    }
    repeated.forEach((word) => word.replaceWith(word.textContent));"""
RUN_AXE = """
    const done = arguments[arguments.length - 1];
    const rules = {"label-content-name-mismatch": {enabled: true}};  // an experiment of axe's: off by default
    axe.run({resultTypes: ["violations"], rules}).then(({violations}) => done(violations.flatMap(
        ({id, impact, nodes}) => nodes.map(node => `${impact} ${id}: ${node.failureSummary} ${node.html.slice(0, 200)}`)
    )))"""


class Page(HTMLParser):
    """A page's tags with their attributes, in order, and the headings of its article (others are for print)."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.tags, self.headings = path, [], []
        self.source = path.read_text(encoding="utf-8")
        self.has_article = "<article" in self.source
        self.feed(self.source)
        self.ids = {a["id"] for _, a in self.tags if a.get("id")}

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if re.fullmatch("h[1-6]", tag) and (not self.has_article or any(seen == "article" for seen, _ in self.tags)):
            self.headings.append(int(tag[1]))

    def values(self, tag: str, attribute: str) -> list[str]:
        return [a[attribute] or "" for t, a in self.tags if t == tag and attribute in a]


@cache
def parse(path: Path) -> Page:
    return Page(path)


def structure(page: Page) -> list[str]:
    """What a screen reader steers by: language, title, landmarks, headings in order, each name given once."""
    found = []
    if page.values("html", "lang") != ["en"]:
        found.append(f"its language is {page.values('html', 'lang')}, expected ['en']")
    if not re.search(r"<title>\s*\S.*?</title>", page.source, re.DOTALL):
        found.append("it has no title")
    mains = [tag for tag, a in page.tags if tag == "main" or a.get("role") == "main"]
    if len(mains) != 1:
        found.append(f"it has {len(mains)} main landmarks, expected one")
    if page.headings.count(1) != 1:
        found.append(f"it has {page.headings.count(1)} headings of level 1, expected one")
    found += [f"it jumps from heading level {before} to {after}"
              for before, after in zip(page.headings, page.headings[1:]) if after > before + 1]
    ids = Counter(a["id"] for _, a in page.tags if a.get("id"))
    return found + [f"the id {name} is given {count} times" for name, count in ids.items() if count > 1]


def descriptions(page: Page) -> list[str]:
    """Each picture says what it shows."""
    found = []
    for tag, a in page.tags:
        alt = (a.get("alt") or "").strip()
        if tag == "img" and not alt:
            found.append(f"{a.get('src')} has no alternative text")
        elif tag == "img" and re.search(r"^\S*/\S*$|\.(png|svg|jpe?g|gif)$", alt):
            found.append(f"{alt!r} is a file's name, not a description")
        elif tag == "svg" and a.get("role") == "img" and not a.get("aria-label"):
            found.append("a drawing (svg) has no aria-label")
    return found


def links(page: Page) -> list[str]:
    """Each link to another place in the site leads to a file, and to an anchor that is there."""
    found = []
    for link in page.values("a", "href"):
        address, anchor = urldefrag(link)
        if urlsplit(link).scheme:
            continue
        target = (page.path.parent / unquote(urlsplit(address).path)).resolve() if address else page.path
        if not target.is_file():
            found.append(f"{link}: no such file")
        elif "_live" in target.parts and "=" in anchor:
            continue  # it carries a state, which test_live.py opens
        elif anchor and target.suffix == ".html" and unquote(anchor) not in parse(target).ids:
            found.append(f"{link}: no such place on that page")
    return found


def strangers(page: Page) -> list[str]:
    """Scripts, styles, pictures and frames that a page takes from elsewhere."""
    return [f"<{tag}> takes {a[name]}" for tag, a in page.tags
            if tag in ("script", "link", "img", "iframe", "source", "video", "audio", "embed", "object")
            and a.get("rel") != "canonical"
            for name in ("src", "href", "srcset", "data") if re.match("(https?:)?//", a.get(name) or "")]


def weight(sizes: dict[str, int]) -> list[str]:
    """At most 3 MB for all that a page loads; {address: bytes}."""
    total = sum(size for address, size in sizes.items() if "/mathjax/" not in address)
    heaviest = ", ".join(f"{Path(address).name} {size / MEGABYTE:.1f}" for address, size
                         in sorted(sizes.items(), key=lambda item: -item[1])[:3])
    return [f"it weighs {total / MEGABYTE:.1f} MB without MathJax, most of it {heaviest}"] if total > LIMIT else []


def axe_source() -> str:
    """axe-core, as the package axe-playwright-python brings it; nothing else of that package is used."""
    return (Path(find_spec("axe_playwright_python").origin).parent / "axe.min.js").read_text(encoding="utf-8")


def visit(browser, address: str, width: int = 1280, theme: str = "light") -> list[str]:
    """Open a page as a reader with this screen and this preference would; returns all addresses that it asked for."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    wishes = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}  # no colour is caught half-way
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia",
                            {"features": [{"name": name, "value": value} for name, value in wishes.items()]})
    browser.get_log("performance"), browser.get_log("browser")  # forget the page before
    browser.get(address)
    browser.execute_async_script("Promise.resolve(window.MathJax?.startup?.promise).then(arguments[0])")
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert urls, "the browser reported no request at all: the log is not being read"
    return list(dict.fromkeys(urls))


def look(browser, address: str, width: int, theme: str) -> list[str]:
    """All that can be wrong with a page once a browser shows it."""
    urls = visit(browser, address, width, theme)
    ask = browser.execute_script
    found = [f"it asks for {url}" for url in urls if urlsplit(url).scheme not in ("file", "data", "blob")]
    found += weight({url: Path(unquote(urlsplit(url).path)).stat().st_size for url in urls
                     if url.startswith("file:") and Path(unquote(urlsplit(url).path)).is_file()})
    found += [f"the console says {entry['message']}" for entry in browser.get_log("browser")
              if entry["level"] == "SEVERE"]
    found += [f"{source} does not show" for source in
              ask("return [...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)")]
    found += [f"a formula fails: {text}" for text in
              ask("return [...document.querySelectorAll('mjx-merror, [data-mjx-error]')].map(e => e.textContent)")]
    formulas, shown = ask("""return ['.math.notranslate', '.math.notranslate mjx-container'].map(
        selector => document.querySelectorAll(selector).length)""")
    if shown < formulas:
        found.append(f"it has {formulas} formulas and shows {shown}")
    ask("document.querySelectorAll('details').forEach(folded => { folded.open = true })")  # solutions are read, too
    wide = ask("return document.documentElement.scrollWidth")
    if wide > width + 1:
        found.append(f"it scrolls sideways: it is {wide} px wide")
    found += [f"code or output is cut at the right: {text[:60]!r}" for text in ask("""
        const cut = [...document.querySelectorAll('pre')].filter(box => box.scrollWidth > box.clientWidth + 1);
        return cut.map(box => box.textContent)""")]
    ask(SAMPLE)
    ask(axe_source())
    return found + browser.execute_async_script(RUN_AXE)
