"""Keep each edition of the book, dated, and publish the newest with all earlier ones below archive/.

    python book/tools/editions.py pack v1.0    dist/patchwork-v1.0-<date>.{zip,pdf}, of what is in _build
    python book/tools/editions.py pages        _build/pages: the site, the PDF, and every zip in dist/archive unpacked
"""

import argparse
import datetime
import html
import re
import shutil
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"patchwork-([A-Za-z0-9._]+)-(\d{4}-\d\d-\d\d)")
LIST = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>Patchwork: editions</title>
</head>
<body style="font-family: sans-serif; margin: 2rem">
<h1>Editions of Patchwork</h1>
<p><a href="../index.html">The newest</a></p>
<ul>
ROWS</ul>
</body>
</html>
"""


def pack(root: Path, tag: str) -> Path:
    """The built site and the PDF, named by tag and date; returns the site's zip."""
    name = f"patchwork-{tag}-{datetime.date.today().isoformat()}"
    if not NAME.fullmatch(name):
        raise SystemExit(f"{tag!r} cannot name an edition; expected letters, digits, points: make edition TAG=v1.0")
    site, pdf = root / "_build" / "html", root / "_build" / "patchwork.pdf"
    for path in (site / "index.html", pdf):
        if not path.is_file():
            raise SystemExit(f"{path} is not there; run `make book pdf` first")
    dist = root / "dist"
    dist.mkdir(exist_ok=True)
    shutil.copy(pdf, dist / f"{name}.pdf")
    with zipfile.ZipFile(dist / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(site.rglob("*")):
            if path.is_file():
                file.write(path, f"{name}/{path.relative_to(site)}")
    return dist / f"{name}.zip"


def pages(root: Path) -> list[str]:
    """Write _build/pages; returns the names of the editions in its archive, the newest first."""
    target = root / "_build" / "pages"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "_build" / "html", target)
    if (root / "_build" / "patchwork.pdf").is_file():
        shutil.copy(root / "_build" / "patchwork.pdf", target)
    found = []
    for path in (root / "dist" / "archive").glob("*.zip"):
        name = NAME.fullmatch(path.stem)
        with zipfile.ZipFile(path) as file:
            if not name or any(not entry.startswith(f"{path.stem}/") for entry in file.namelist()):
                raise SystemExit(f"{path} is no edition of the book; expected a zip from `make edition`")
            file.extractall(target / "archive")
        found.append((name[2], name[1], path.stem))
    rows = "".join(f'<li><a href="{html.escape(folder)}/index.html">{html.escape(tag)}</a>, {date}</li>\n'
                   for date, tag, folder in sorted(found, reverse=True))
    if rows:
        (target / "archive" / "index.html").write_text(LIST.replace("ROWS", rows), encoding="utf-8")
    return [folder for _, _, folder in sorted(found, reverse=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("pack").add_argument("tag")
    what.add_parser("pages")
    args = parser.parse_args()
    if args.what == "pack":
        print(pack(ROOT, args.tag))
    else:
        print(f"{ROOT / '_build' / 'pages'}, with {len(pages(ROOT))} editions in its archive")


if __name__ == "__main__":
    main()
