"""What makes the site's pages complete, and what checks the links that leave it; needs no built site."""

import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

BOOK = Path(__file__).resolve().parents[1] / "book"
sys.path[:0] = [str(BOOK / "tools"), str(BOOK / "extensions")]

import check_links  # noqa: E402
import patchwork_site  # noqa: E402


@pytest.mark.parametrize(("repository", "base", "expected"), [
    ("", "", ""),
    ("https://github.com/Ada/vit-book", "", "https://ada.github.io/vit-book"),
    ("https://github.com/Ada/ada.github.io", "", "https://ada.github.io"),
    ("https://gitlab.example/ada/book", "", ""),
    ("https://github.com/ada/book", "https://book.example/", "https://book.example"),
])
def test_address_of_the_published_site(repository, base, expected):
    config = SimpleNamespace(html_theme_options={"repository_url": repository}, html_baseurl=base)
    assert patchwork_site.site_address(config) == expected


@pytest.mark.parametrize("address", ["", "https://ada.github.io/book"])
def test_page_has_a_card_where_its_address_is_known(address):
    from docutils.core import publish_doctree
    app = SimpleNamespace(config=SimpleNamespace(root_doc="intro", html_theme_options={}, html_baseurl=address))
    context = {"title": "1. <em>Images</em> &amp; tensors"}
    page = publish_doctree('Pixels "first",\nthen <layers>.\n\nMore.')
    patchwork_site.add_metadata(app, "notebooks/01", "page.html", context, page)
    tags = context["metatags"]
    assert '<meta property="og:title" content="1. Images &amp; tensors" />' in tags
    assert '<meta name="description" content="Pixels &quot;first&quot;, then &lt;layers&gt;." />' in tags
    assert ("og:image" in tags) == ("twitter:card" in tags) == bool(address)
    assert not address or f'content="{address}/_static/card.png"' in tags


def test_card_has_the_size_that_hosts_expect():
    with Image.open(BOOK / "_static" / "card.png") as card:
        assert card.size == (1200, 630)


def test_each_line_of_code_is_a_box_that_knows_its_indent_and_the_text_stays():
    code = ('<span></span><span class="k">def</span> f<span class="w"> </span>():\n\n    <span class="s">a</span>\n'
            '<span class="sd">        b</span>\n')
    page = f'<div class="highlight-python notranslate"><div class="highlight"><pre>{code}</pre></div></div>'
    found = patchwork_site.tidy(page)
    assert re.sub("<[^>]+>", "", found) == re.sub("<[^>]+>", "", page)
    assert re.findall(r'class="pw-line"(?: style="--in: (\d+)")?', found) == ["", "", "4", "8"]
    assert found.count('<span class="pw-indent">    </span>') == 1 and found.count("<span") == found.count("</span>")
    output = page.replace("highlight-python", "output text_plain highlight-myst-ansi")
    torn = page.replace("f<span", "<span>f\n</span><span")
    assert patchwork_site.tidy(output) == output, "what a cell prints is no code"
    assert patchwork_site.tidy(torn) == torn, "a tag around several lines cannot be split"


def test_tidy_page_loads_mathjax_only_for_maths():
    mathjax = '<script>window.MathJax = {"a": 1}</script>\n<script defer src="_static/mathjax/x.js"></script>'
    icons = '<script defer src="_static/scripts/fontawesome.js?digest=1"></script>'
    views = '<meta name="viewport" content="width=device-width"><meta name="viewport" content="width=device-width"/>'
    page = f'{views}{icons}{mathjax}<i class="fa-solid fa-sun"></i><p>Text</p>'
    assert patchwork_site.tidy(page) == ('<meta name="viewport" content="width=device-width">'
                                         '<i aria-hidden="true" class="fa-solid fa-sun"></i><p>Text</p>')
    formula = '<span class="math notranslate">x</span>'
    assert patchwork_site.tidy(mathjax + formula) == mathjax + formula


class Host(BaseHTTPRequestHandler):
    """/404 answers 404, /403 answers 403, and so on."""

    def do_GET(self):
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass  # the test reads the answers


@pytest.fixture
def host():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("path", "wrong"), [("200", ""), ("404", "404"), ("410", "410"), ("500", "500"), ("403", "")])
def test_link_check_names_what_is_wrong(host, path, wrong):
    answer = check_links.ask(f"{host}/{path}", timeout=5)
    assert wrong in answer
    assert bool(answer) == bool(wrong)


def test_link_check_names_a_host_that_is_not_there():
    assert check_links.ask("http://127.0.0.1:9/", timeout=5).startswith("no answer")


def test_link_check_names_what_is_no_address():
    assert check_links.ask("http://[half/", timeout=5).startswith("no answer")


def test_a_browser_that_is_missing_is_named(monkeypatch):
    screens = pytest.importorskip("screens", reason="book/tools/screens.py needs selenium: pip install -e '.[dev]'")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="not on the PATH: chromium, chromedriver"):
        screens.open_browser()


def test_link_check_finds_the_links_that_leave_the_site(tmp_path):
    pages = {"a": '<a id="x" href="https://a.example/?p=1&amp;q=2#top">a</a><a href="b.html">b</a>',
             "b": '<a href="https://a.example/?p=1&amp;q=2">a</a><link href="https://c.example">'}
    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
    assert check_links.outside_links(tmp_path) == {"https://a.example/?p=1&q=2": ["a.html", "b.html"]}
