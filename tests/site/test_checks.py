"""Each check finds the one fault that is planted on a small page, and has nothing to say about the page without it."""

import pytest
from checks import LIMIT, Page, descriptions, links, look, strangers, structure, weight

GOOD = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,">
<style>body { background: #fff; color: #222; margin: 0 } pre span { color: #005f96 }</style></head>
<body><main>
<h1>One</h1>
<p>Text with <a href="other.html#place">a link</a>.</p>
<h2 id="place">Two</h2>
<img src="picture.svg" alt="A grey circle">
<pre><span class="k">def</span> <span class="k">class</span> <span class="n">name</span></pre>
<details><summary>More</summary><p id="folded">Folded.</p></details>
</main></body></html>
"""
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle r="40" fill="#888"/></svg>'
HTML_FAULTS = [
    (structure, "language", '<html lang="en">', "<html>"),
    (structure, "no title", "<title>A page</title>", "<title> </title>"),
    (structure, "main landmarks", "<main>", "<div>"),
    (structure, "2 headings of level 1", "<h2", "<h1>Again</h1><h2"),
    (structure, "0 headings of level 1", "<h1>One</h1>", ""),
    (structure, "jumps from heading level 1 to 3", "<h2", "<h3"),
    (structure, "id place is given 2 times", "<h1>", '<h1 id="place">'),
    (descriptions, "no alternative text", ' alt="A grey circle"', ""),
    (descriptions, "no alternative text", "A grey circle", " "),
    (descriptions, "a file's name", "A grey circle", "../_images/3f2a.png"),
    (descriptions, "aria-label", "<h2", '<svg role="img"></svg><h2'),
    (links, "no such file", "other.html#place", "gone.html"),
    (links, "no such place", "#place", "#nowhere"),
    (strangers, "takes https://example.org/x.js", "<h2", '<script src="https://example.org/x.js"></script><h2'),
    (strangers, "takes //example.org/x.css", "<h2", '<link rel="stylesheet" href="//example.org/x.css"><h2'),
    (strangers, "takes https://example.org/x.png", "picture.svg", "https://example.org/x.png"),
]
BROWSER_FAULTS = [
    ("asks for http://127.0.0.1:9/", "<h2", '<script src="http://127.0.0.1:9/x.js"></script><h2'),
    ("the console says", "</main>", "</main><script>console.error('lost')</script>"),
    ("the console says", "</main>", "</main><script>nothing.there()</script>"),
    ("does not show", "picture.svg", "missing.svg"),
    ("scrolls sideways", "<h2", '<div style="width: 2000px">wide</div><h2'),
    ("is cut at the right", "<pre>", '<pre style="overflow: auto">' + "x" * 400),
    ("a formula fails", "<h2", "<mjx-merror>x</mjx-merror><h2"),
    ("has 1 formulas and shows 0", "<h2", r'<span class="math notranslate">\(x\)</span><h2'),
    ("it weighs", "<h2", '<img src="heavy.svg" alt="A grey circle"><h2'),
    ("serious color-contrast", "color: #222", "color: #bbb"),
    ("serious color-contrast", "</style>", "@media (prefers-color-scheme: dark) { body { background: #333 } }</style>"),
    ("serious color-contrast", "</style>", "@media (max-width: 400px) { p { color: #ccc } }</style>"),
    ("serious color-contrast", "</style>", ".n { color: #ddd !important }</style>"),
    ("serious color-contrast", "</style>", "#folded { color: #ddd }</style>"),
    ("critical button-name", "<h2", "<button></button><h2"),
    ("serious label-content-name-mismatch", "<h2", '<button aria-label="Colour">Search</button><h2'),
    ("serious link-name", ">a link<", "><"),
    ("moderate region", "</main>", "</main><p>Outside.</p>"),
]


def plant(folder, old="", new=""):
    """The small page, with one of its parts replaced, and what it needs."""
    assert not old or GOOD.count(old) >= 1
    (folder / "page.html").write_text(GOOD.replace(old, new, 1) if old else GOOD, encoding="utf-8")
    (folder / "other.html").write_text(GOOD, encoding="utf-8")
    (folder / "picture.svg").write_text(PICTURE, encoding="utf-8")
    (folder / "heavy.svg").write_text(PICTURE + " " * LIMIT, encoding="utf-8")
    return folder / "page.html"


@pytest.mark.parametrize("check", [structure, descriptions, links, strangers])
def test_good_page_has_no_complaint(tmp_path, check):
    assert check(Page(plant(tmp_path))) == []


@pytest.mark.parametrize(("check", "complaint", "old", "new"), HTML_FAULTS)
def test_check_finds(tmp_path, check, complaint, old, new):
    found = check(Page(plant(tmp_path, old, new)))
    assert any(complaint in line for line in found), found


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (375, "dark")])
def test_browser_has_no_complaint_about_the_good_page(tmp_path, browser, width, theme):
    assert look(browser, plant(tmp_path).as_uri(), width, theme) == []


@pytest.mark.parametrize(("complaint", "old", "new"), BROWSER_FAULTS)
def test_browser_finds(tmp_path, browser, complaint, old, new):
    found = look(browser, plant(tmp_path, old, new).as_uri(), 375, "dark")
    assert any(complaint in line for line in found), found


def test_mathjax_is_weighed_apart_and_nothing_else_is():
    assert weight({"file:///a/mathjax/tex.js": LIMIT + 1, "file:///a/x.js": LIMIT}) == []
    assert weight({"file:///a/x.js": LIMIT, "file:///a/y.js": 1}) != []
