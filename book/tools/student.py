"""Write the student edition: the chapters without their solutions, into a folder (default _build/student)."""

import argparse
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def without_solutions(notebook: dict) -> dict:
    """The same notebook without the cells tagged `solution`."""
    return notebook | {"cells": [c for c in notebook["cells"] if "solution" not in c["metadata"].get("tags", [])]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "_build" / "student")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = without_solutions(json.loads(path.read_text()))
        (folder / path.name).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    print(f"chapters without solutions are in {folder}")


if __name__ == "__main__":
    main()
