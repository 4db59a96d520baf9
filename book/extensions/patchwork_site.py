"""What the site has beside its pages: a description for those who link to it, links to the glossary, a page for wrong
addresses; and what is taken out of the theme's pages. A Sphinx extension; the notebooks stay plain.
"""

import html
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

GLOSSARY = "book/glossary"
EVERYDAY = {"key", "mask", "query", "value"}  # the chapters use these words in other senses too
VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')
MATHJAX = re.compile(r'\s*<script>window\.MathJax = .*?</script>\s*<script[^>]*mathjax/[^>]*></script>', re.DOTALL)
ICONS = re.compile(r'\s*<script[^>]*/fontawesome\.js[^>]*></script>')
CODE = re.compile(r'(<div class="highlight-[\w-]+ notranslate"><div class="highlight"><pre>)(.*?)(</pre>)', re.DOTALL)
INDENT = re.compile(r"^((?:<[^>]+>)*)( +)")


def site_address(config) -> str:
    """Where the site is published: html_baseurl or else, for a repository on GitHub, its address on GitHub Pages."""
    place = urlsplit(config.html_theme_options.get("repository_url") or "")
    if config.html_baseurl or place.hostname != "github.com":
        return config.html_baseurl.rstrip("/")
    owner, name = place.path.strip("/").split("/")[:2]
    host = f"{owner.lower()}.github.io"
    return f"https://{host}" if name.lower() == host else f"https://{host}/{name}"


def description(doctree: nodes.document) -> str:
    """A page's first paragraph as plain text."""
    text = " ".join(next(doctree.findall(nodes.paragraph)).astext().replace("\\", "").split())
    return text if len(text) <= 300 else text[:300].rsplit(" ", 1)[0] + " …"


def add_metadata(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Title and description of each page for search engines and social cards; a picture where the address is known."""
    if doctree is None:
        return
    home, address = pagename == app.config.root_doc, site_address(app.config)
    title = "Patchwork: build a Vision Transformer" if home else html.unescape(re.sub("<.*?>", "", context["title"]))
    tags = {"og:title": title, "og:description": description(doctree), "og:type": "website" if home else "article",
            "og:site_name": "Patchwork", "og:locale": "en_GB"}
    if address:  # a card needs whole addresses
        tags |= {"og:url": f"{address}/{pagename}.html", "og:image": f"{address}/_static/card.png",
                 "og:image:alt": "An image, its patches, tokens, an encoder and a class, joined by arrows",
                 "twitter:card": "summary_large_image"}
    lines = [f'<meta name="description" content="{html.escape(tags["og:description"])}" />']
    lines += [f'<meta {"name" if key.startswith("twitter") else "property"}="{key}" content="{html.escape(value)}" />'
              for key, value in tags.items()]
    context["metatags"] = context.get("metatags", "") + "\n    " + "\n    ".join(lines)
    if home:
        context["docstitle"] = ""  # the page is called what the book is called: once is enough
        app.patchwork_card = "\n".join(lines)


def glossary(app: Sphinx) -> dict[str, tuple[str, str, int]]:
    """{term in lower case: (anchor, definition, the chapter that explains it)}"""
    terms = {}
    for item in app.env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        term, definition = item[0], item[-1]
        name, chapter = term.astext().lower(), re.search(r"[Cc]hapters? (\d+)", definition.astext())
        if chapter and "(" not in name and name not in EVERYDAY:
            text = definition.astext()[:chapter.start()].replace("\n", " ").strip()
            plain = all(re.fullmatch(r"[\w /=×]+", formula.astext()) for formula in definition.findall(nodes.math))
            terms[name] = (term["ids"][0], text if plain else "", int(chapter[1]))  # a tooltip cannot show a fraction
    return terms


def link_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """In chapters after the one that explains a term, its first use leads to the glossary and shows its definition."""
    number = re.match(r"notebooks/(\d+)", docname)
    if app.builder.format != "html" or not number or GLOSSARY not in app.env.found_docs:
        return
    terms = {name: place for name, place in glossary(app).items() if place[2] < int(number[1])}
    if not terms:
        return
    words = "|".join(re.escape(name) for name in sorted(terms, key=len, reverse=True))  # "class token" before "token"
    pattern = re.compile(rf"\b({words})(?:s|es)?\b", re.IGNORECASE)
    page = app.builder.get_relative_uri(docname, GLOSSARY)

    def link(match: re.Match) -> list[nodes.Node]:
        if not (place := terms.pop(match[1].lower(), None)):
            return [nodes.Text(match[0])]
        return [nodes.reference(match[0], match[0], internal=True, classes=["pw-term"], refuri=f"{page}#{place[0]}",
                                **({"reftitle": place[1]} if place[1] else {}))]
    replace_in_prose(doctree, pattern, link)


def link_chapters(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Where the prose names another chapter, its number leads there."""
    if app.builder.format != "html":
        return
    chapters = {int(name[10:12]): name for name in app.env.found_docs if name.startswith("notebooks/")}

    def link(match: re.Match) -> list[nodes.Node]:
        parts = [match[0]] if match[1] else re.split(r"(\d+)", match[0])  # of "chapters 4 and 5" only the numbers
        found: list[nodes.Node] = []
        for part in parts:
            name = chapters.get(int(part.split()[-1])) if part[-1:].isdigit() else None
            if name in (None, docname):
                found.append(nodes.Text(part))
            else:
                place = app.builder.get_relative_uri(docname, name)
                found.append(nodes.reference(part, part, internal=True, refuri=place,
                                             reftitle=app.env.titles[name].astext()))
        return found
    replace_in_prose(doctree, re.compile(r"[Cc]hapter\s(\d+)|[Cc]hapters\s\d+(?:(?:,|\sand|\sto)\s\d+)*"), link)


def replace_in_prose(doctree: nodes.document, pattern: re.Pattern,
                     link: Callable[[re.Match], list[nodes.Node]]) -> None:
    """Make links of what the pattern finds in paragraphs, outside of links, headings and code."""
    inside = (nodes.reference, nodes.title, nodes.literal, nodes.caption, nodes.raw, addnodes.pending_xref)
    for text in list(doctree.findall(nodes.Text)):
        above, parent = set(), text.parent
        while parent is not None:
            above.add(type(parent))
            parent = parent.parent
        if nodes.paragraph not in above or any(issubclass(kind, inside) for kind in above):
            continue
        new, end = [], 0
        for match in pattern.finditer(text):
            new += [nodes.Text(text[end:match.start()]), *link(match)]
            end = match.end()
        if new:
            text.parent.replace(text, [*new, nodes.Text(text[end:])])


def code_by_lines(match: re.Match) -> str:
    """Code with each line in a box of its own that knows its indent, so that a long one wraps below its own beginning.

    The text, and so what the copy button copies, stays the same.
    """
    lines = []
    for line in match[2].removesuffix("\n").split("\n"):
        if line.count("<span") != line.count("</span>"):
            return match[0]  # a box around half of a span would break the page
        indent = len(found[2]) if (found := INDENT.match(line)) else 0
        style = f' style="--in: {indent}"' if indent else ""
        line = INDENT.sub(r'\1<span class="pw-indent">\2</span>', line)
        lines.append(f'<span class="pw-line"{style}>{line}\n</span>')
    return match[1] + "".join(lines) + match[3]


def tidy(page: str) -> str:
    """A page without 1.5 MB of icons that the style sheet draws too, and without MathJax where there is no maths.

    Its lines of code are boxes.
    """
    page = CODE.sub(code_by_lines, ICONS.sub("", page))
    if 'class="math' not in page:
        page = MATHJAX.sub("", page)
    first = VIEWPORT.search(page)
    if first:
        page = page[:first.end()] + VIEWPORT.sub("", page[first.end():])
    for sign, word in (("✅", "ran"), ("❌", "failed")):  # the table of timings
        page = page.replace(f"<td><p>{sign}</p></td>", f"<td><p>{word}</p></td>")
    page = re.sub(r'<i class="([^"]*\bfa-)', r'<i aria-hidden="true" class="\1', page)
    sidebar = '<div id="pst-primary-sidebar"'
    return page.replace(sidebar, f'{sidebar} role="complementary" aria-label="Book"')


def write_pages(app: Sphinx, exception: Exception | None) -> None:
    """index.html, which leads to the first page, and 404.html, which a host shows for any address that is not there."""
    if exception or app.builder.format != "html":
        return
    out, root = Path(app.outdir), app.config.root_doc
    for path in out.rglob("*.html"):
        path.write_text(tidy(path.read_text(encoding="utf-8")), encoding="utf-8")
    for path in (out / "_static" / "scripts").glob("fontawesome.js*"):
        path.unlink()
    titles = {name: app.env.titles[name].astext() for name in app.env.toctree_includes[root]}
    items = "\n".join(f'<li><a href="{name}.html">{html.escape(title)}</a></li>' for name, title in titles.items())
    here = Path(__file__).parent
    for name in ("404.html", "index.html"):
        text = (here / name).read_text(encoding="utf-8")
        for key, value in (("{{pages}}", items), ("{{root}}", root), ("{{card}}", getattr(app, "patchwork_card", "")),
                           ("{{logo}}", (here.parent / "_static" / "logo.svg").read_text(encoding="utf-8"))):
            text = text.replace(key, value)
        (out / name).write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", add_metadata)
    app.connect("doctree-resolved", link_terms)
    app.connect("doctree-resolved", link_chapters)
    app.connect("build-finished", write_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}
