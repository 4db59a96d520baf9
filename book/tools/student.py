"""Write the student edition: the chapters without their solutions, into a folder (default _build/student).

A file that is already there is written over only in the default folder, or with --replace.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chapters import ROOT, as_text, chapters, read_notebook, say_anything, write_atomically

DEFAULT = ROOT / "_build" / "student"


def without_solutions(notebook: dict) -> dict:
    """The same notebook without the cells tagged `solution`."""
    return notebook | {"cells": [c for c in notebook["cells"] if "solution" not in c["metadata"].get("tags", [])]}


def write_edition(folder: Path, replace: bool) -> None:
    """All chapters or none. Raises ValueError where a file that somebody may have changed would be written over."""
    if folder.resolve() == (ROOT / "notebooks").resolve():
        raise ValueError(f"{folder} holds the chapters themselves; expected another folder for those without solutions")
    new = {folder / path.name: as_text(without_solutions(read_notebook(path))).encode() for path in chapters()}
    other = [path.name for path, data in new.items() if path.exists() and path.read_bytes() != data]
    if other and not replace:
        raise ValueError(f"{folder} has files of these names with other contents: {', '.join(other)}; choose another "
                         "folder, or add --replace to write over them")
    for path, data in new.items():
        write_atomically(path, data)


def main(arguments: list[str] | None = None) -> None:
    say_anything()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--replace", action="store_true", help="write over files that are there and differ")
    args = parser.parse_args(arguments)
    try:
        write_edition(args.folder, args.replace or args.folder == DEFAULT)
    except (ValueError, OSError) as error:
        raise SystemExit(f"student.py: {error}") from error
    print(f"chapters without solutions are in {args.folder}")


if __name__ == "__main__":
    main()
