"""What the tools share: chapters read and written so that nothing of anybody's is lost, on every system."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from vitlib.files import write_atomically  # noqa: E402, F401

SETUP_MARK = "# Setup, the same in every chapter"  # how the first line of the setup cell begins


def say_anything() -> None:
    """Let print show what a terminal without UTF-8 has no letter for as \\u2026, where it would stop the program."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks of the book below `root`, in order."""
    return sorted((root / "notebooks").glob("*.ipynb"))


def read_text(path: Path) -> str:
    """A text file as it is, a byte-order mark included. Raises ValueError naming a file that is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); open it in an editor and save "
                         "it as UTF-8") from error


def read_notebook(path: Path) -> dict:
    """A notebook of format 4. Raises ValueError that names the file, what is wrong with it, and what to do."""
    text = read_text(path).removeprefix("\ufeff")
    try:
        notebook = json.loads(text)
    except json.JSONDecodeError as error:
        if conflict := re.search(r"(?m)^(<{7}|={7}|>{7})( |$)", text):
            line = text.count("\n", 0, conflict.start()) + 1
            raise ValueError(f"{path} holds a merge conflict, from line {line}: settle it in an editor, or take one "
                             f"side with `git checkout --ours` or `--theirs` and the file's name") from error
        raise ValueError(f"{path} is no valid JSON: {error}; mend that line, or take back the last good version with "
                         "`git restore` and the file's name") from error
    if not isinstance(notebook, dict) or not {"nbformat", "cells", "worksheets"} & notebook.keys():
        raise ValueError(f"{path} is JSON, but no notebook: it has neither nbformat nor cells")
    if (version := notebook.get("nbformat")) != 4:
        raise ValueError(f"{path} is a notebook of format {version}, expected 4: open it in JupyterLab and save it, or "
                         "`jupyter nbconvert --to notebook --nbformat 4 --inplace` and the file's name")
    if not isinstance(notebook.get("cells"), list) or not notebook["cells"]:
        raise ValueError(f"{path} has no cells; expected a chapter. Write one, or remove the file")
    for number, cell in enumerate(notebook["cells"]):
        if not isinstance(cell, dict) or not {"cell_type", "metadata", "source"} <= cell.keys():
            raise ValueError(f"{path}: cell {number} has not all of cell_type, metadata and source: open the notebook "
                             "in JupyterLab and save it")
    return notebook


def source(cell: dict) -> str:
    """The text of a cell, which a notebook holds as one text or as a list of lines."""
    return "".join(cell["source"])


def is_setup(cell: dict) -> bool:
    """Whether a cell is the setup cell, wherever it stands."""
    return cell["cell_type"] == "code" and any(row.startswith(SETUP_MARK) for row in source(cell).splitlines())


def as_text(notebook: dict) -> str:
    """A notebook as it stands in its file."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
