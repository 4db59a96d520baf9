"""Run the cells of chapters twice in one kernel, as a reader does who goes back to the top: it must work again.

    python book/tools/twice.py [08_training …]      default: every chapter, one after the other

Each chapter runs in an empty folder, with the sliders left out as in the site. Takes twice the time of the chapters.
"""

import argparse
import copy
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chapters import ROOT, as_text, chapters, read_notebook, say_anything

LIMIT = 1800  # seconds a cell


def doubled(notebook: dict) -> dict:
    """The notebook with all its cells a second time below; the second ids end in -again."""
    again = copy.deepcopy(notebook["cells"])
    for cell in again:
        cell["id"] = f"{cell['id'][:58]}-again"
    return notebook | {"cells": [*notebook["cells"], *again]}


def run_twice(path: Path) -> str:
    """What went wrong; an empty text where nothing did."""
    notebook = nbformat.reads(as_text(doubled(read_notebook(path))), as_version=4)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        try:
            NotebookClient(notebook, timeout=LIMIT, resources={"metadata": {"path": empty}}).execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            return str(error)
    return ""


def main(arguments: list[str] | None = None) -> None:
    say_anything()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {path.stem: path for path in chapters()}
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="such as 08_training, or a notebook's path")
    names = parser.parse_args(arguments).chapters or list(known)
    os.environ["BOOK_STATIC"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    failed = []
    for name in names:
        path = known.get(Path(name).stem if not Path(name).is_file() else "", Path(name))
        if not path.is_file():
            raise SystemExit(f"twice.py: there is no chapter {name!r}; there are {', '.join(known)}")
        start = time.monotonic()
        if error := run_twice(path):
            failed.append(path.stem)
            print(error, flush=True)
        print(f"{path.stem}: {'FAILED' if error else 'ran twice'} in {time.monotonic() - start:.0f} s", flush=True)
    if failed:
        raise SystemExit(f"twice.py: {', '.join(failed)} cannot be run twice in one kernel")


if __name__ == "__main__":
    main()
