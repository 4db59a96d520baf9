"""Keep each edition of the book, dated, and publish the newest with all earlier ones below archive/.

    python book/tools/editions.py pack v1.0    dist/patchwork-v1.0-<date>.{zip,pdf}, of what is in _build
    python book/tools/editions.py pages        _build/pages: the site, the PDF, and every zip in dist/archive unpacked
"""

import argparse
import datetime
import html
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chapters import ROOT, say_anything, write_atomically

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
    write_atomically(dist / f"{name}.pdf", pdf.read_bytes())
    part = dist / f".{name}.part"  # an edition is whole, or it is not there
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(site.rglob("*")):
                if path.is_file():
                    file.write(path, f"{name}/{path.relative_to(site).as_posix()}")
        os.replace(part, dist / f"{name}.zip")
    finally:
        part.unlink(missing_ok=True)
    return dist / f"{name}.zip"


def kept_editions(archive: Path) -> dict[Path, re.Match]:
    """The zips in a folder, each with its tag and date. Raises SystemExit naming one that is no edition of the book."""
    found = {}
    for path in sorted(archive.glob("*.zip")):
        name = NAME.fullmatch(path.stem)
        try:
            with zipfile.ZipFile(path) as file:
                whole = file.testzip() is None
                inside = all(entry.startswith(f"{path.stem}/") for entry in file.namelist())
        except zipfile.BadZipFile:
            whole = False
        if not whole:
            raise SystemExit(f"{path} is damaged; fetch it again from its release, or remove it")
        if not name or not inside:
            raise SystemExit(f"{path} is no edition of the book; expected a zip from `make edition`")
        found[path] = name
    return found


def pages(root: Path) -> list[str]:
    """Write _build/pages; returns the names of the editions in its archive, the newest first."""
    target, site = root / "_build" / "pages", root / "_build" / "html"
    if not (site / "index.html").is_file():
        raise SystemExit(f"there is no site in {site}; run `make book` first")
    editions = kept_editions(root / "dist" / "archive")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(site, target)
    if (root / "_build" / "patchwork.pdf").is_file():
        shutil.copy(root / "_build" / "patchwork.pdf", target)
    for path in editions:
        with zipfile.ZipFile(path) as file:
            file.extractall(target / "archive")
    found = [(name[2], name[1], path.stem) for path, name in editions.items()]
    rows = "".join(f'<li><a href="{html.escape(folder)}/index.html">{html.escape(tag)}</a>, {date}</li>\n'
                   for date, tag, folder in sorted(found, reverse=True))
    if rows:
        (target / "archive" / "index.html").write_text(LIST.replace("ROWS", rows), encoding="utf-8")
    return [folder for _, _, folder in sorted(found, reverse=True)]


def main() -> None:
    say_anything()
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
