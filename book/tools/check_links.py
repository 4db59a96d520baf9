"""Ask each address outside the book whether it still answers. Needs a network, so it is no part of the tests.

    python book/tools/check_links.py [--html _build/html] [--list]
"""

import argparse
import http.client
import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chapters import ROOT, say_anything

LINK = re.compile(r"""<a\s[^>]*?href="(https?://[^"#]+)""")
AGENT = {"User-Agent": "Mozilla/5.0 (the link check of a book)"}  # some hosts refuse Python's own name
REFUSED = {401, 403, 405, 429, 999}  # "not for programs": the page is there


def outside_links(html: Path) -> dict[str, list[str]]:
    """{address: the pages that lead to it} for a built site."""
    found: dict[str, list[str]] = {}
    for path in sorted(html.rglob("*.html")):
        for address in {unescape(link) for link in LINK.findall(path.read_text(encoding="utf-8"))}:
            found.setdefault(address, []).append(str(path.relative_to(html)))
    return dict(sorted(found.items()))


def ask(address: str, timeout: float = 20) -> str:
    """What is wrong with an address; an empty text where it answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=AGENT), timeout=timeout):
            return ""
    except urllib.error.HTTPError as error:
        return "" if error.code in REFUSED else f"it answers {error.code} {error.reason}"
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: it is no address
        return f"no answer: {getattr(error, 'reason', error)}"


def main() -> None:
    say_anything()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--html", type=Path, default=ROOT / "_build" / "html", help="the built site")
    parser.add_argument("--list", action="store_true", help="only list the addresses")
    args = parser.parse_args()
    if not (args.html / "index.html").is_file():
        raise SystemExit(f"check_links.py: there is no site in {args.html}; run `make book` first")
    links = outside_links(args.html)
    if args.list:
        print("\n".join(f"{address}  ({len(pages)} pages)" for address, pages in links.items()))
        return
    with ThreadPoolExecutor(8) as pool:
        wrong = {address: text for address, text in zip(links, pool.map(ask, links)) if text}
    if len(wrong) == len(links) > 0:
        raise SystemExit(f"check_links.py: none of {len(links)} addresses answers. Is there a network?")
    for address, text in wrong.items():
        print(f"{address}: {text}; on {', '.join(links[address])}")
    if wrong:
        raise SystemExit(f"check_links.py: {len(wrong)} of {len(links)} addresses are wrong")
    print(f"{len(links)} addresses answer")


if __name__ == "__main__":
    main()
