"""For Sphinx: fills the tables of book/timings.md when the book is built: what built it, and book/corners.json."""

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def table(heads: list[str], rows: list[list]) -> str:
    """Rows as a table in Markdown."""
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [heads, ["---"] * len(heads), *rows])


def this_build() -> str:
    """What the pages of this build came from."""
    names = ("vitlib", "torch", "torchvision", "timm", "numpy", "jupyter-book", "sphinx")
    described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True,
                               encoding="utf-8")
    rows = [["Built on", datetime.date.today().isoformat()], ["Commit", described.stdout.strip() or "unknown"],
            ["System", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"],
            ["Python", platform.python_version()], *([name, version(name)] for name in names)]
    return table(["What", "Which"], rows)


def corners() -> str:
    """The record of book/tools/corners.py."""
    rows = json.loads((ROOT / "book" / "corners.json").read_text(encoding="utf-8"))["corners"]
    keys = ("python", "torch", "torchvision", "numpy", "date", "commit")
    chapters = len(list((ROOT / "notebooks").glob("*.ipynb")))
    table_rows = []
    for row in rows:
        missing = chapters - row["notebooks"]
        ran = f"{row['passed']} of {row['notebooks']}" + (f", before {missing} more came" if missing else "")
        table_rows.append([*(row[key] for key in keys), ran])
    return table(["Python", "PyTorch", "torchvision", "NumPy", "Tried on", "Commit", "Notebooks that ran"], table_rows)


def fill(app, docname: str, source: list[str]) -> None:
    """Put the tables where the page has their marks; a page that lacks one is an error."""
    if docname == "book/timings":
        for mark, write in (("<!-- this build -->", this_build), ("<!-- corners -->", corners)):
            if mark not in source[0]:
                raise ValueError(f"book/timings.md has no {mark}, where patchwork_timings.py writes a table")
            source[0] = source[0].replace(mark, write())


def setup(app) -> dict:
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
