"""Keep the notebooks as they are committed: no outputs, an id for each cell, one setup cell, vitlib's own code.

    python book/tools/notebooks.py          mend every notebook in notebooks/
    python book/tools/notebooks.py --check  only say what is not as it should be; exit 1 if anything is
    python book/tools/notebooks.py FILE …   these notebooks only

A library cell (tag `vitlib`) is written anew from the library: change it there, or take the tag off.
A notebook that cannot be read is named and left as it is; the others are mended, and the exit status is 1.
"""

import argparse
import ast
import importlib
import inspect
import re
import sys
import textwrap
import tomllib
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chapters import (
    ROOT,
    SETUP_MARK,
    as_text,
    chapters,
    is_setup,
    read_notebook,
    read_text,
    say_anything,
    source,
    write_atomically,
)

PROJECT = tomllib.loads(read_text(ROOT / "pyproject.toml"))["project"]
FLOOR = next(need.removeprefix("torch>=") for need in PROJECT["dependencies"] if need.startswith("torch>="))

# What programs leave behind. Anything else in the metadata is somebody's: tags, slides, marks of a grading tool …
LEFTOVERS = {
    "collapsed", "scrolled", "execution", "ExecuteTime", "jupyter", "trusted",  # Jupyter
    "id", "outputId", "cellView", "colab", "colab_type", "executionInfo",  # Colab
    "vscode", "pycharm", "papermill", "_uuid", "_cell_guid",  # editors, runners, Kaggle
}
NOTEBOOK_LEFTOVERS = {"widgets", "accelerator", "gpuClass", "colab", "vscode", "interpreter", "orig_nbformat",
                      "papermill", "pycharm", "toc", "varInspector"}
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
          "language_info": {"name": "python"}}

# Plain text, filled in where it says @: the cell has braces of its own.
SETUP = '''\
# Setup, the same in every chapter; book/tools/notebooks.py writes it, so lines of your own belong into another cell.
# What is missing, as in Colab, is fetched; nothing that is there is changed.
REPOSITORY = ""
BRANCH = "main"

import importlib
import subprocess
import sys
from importlib.util import find_spec


def here(name: str) -> str:
    """The version of a package as Python imports it, installed or only lying here."""
    return getattr(importlib.import_module(name), "__version__", "unknown") if find_spec(name) else "none"


HOW = "in the book's folder run `make lab` or `python -m pip install -r requirements.txt -e .`, then restart the kernel"
torch = here("torch")
if torch == "none" or tuple(map(int, torch.split(".")[:2])) < (@FLOOR@):
    raise RuntimeError(f"the book needs PyTorch @TORCH@ or newer, and here is {torch}; install it first: {HOW}")
if absent := [name for name in ("torchvision", "numpy", "matplotlib", "PIL") if find_spec(name) is None]:
    raise RuntimeError(f"the book needs {', '.join(absent)}, and here is none; install it first: {HOW}")
missing = [name for name in ("safetensors", "timm", "tqdm", "vitlib") if find_spec(name) is None]
if "vitlib" in missing:
    if not REPOSITORY:
        raise RuntimeError(f"vitlib, the book's package, is not installed; {HOW}")
    missing[-1] = f"vitlib @ https://github.com/{REPOSITORY}/archive/{BRANCH}.zip"
if missing:  # --no-deps: numpy and torch stay as they are
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *missing]
    if (done := subprocess.run(pip, capture_output=True, text=True)).returncode:
        raise RuntimeError(f"pip could not install {', '.join(missing)}: {done.stderr.strip()[-500:]}")
    importlib.invalidate_caches()
if here("vitlib") != "@VITLIB@":
    where = list(importlib.import_module("vitlib").__path__)[0]
    raise RuntimeError(f"this chapter is written for vitlib @VITLIB@, and here is {here('vitlib')}, in {where}; {HOW}")
print(f"Python {sys.version.split()[0]}", *(f"{n} {here(n)}" for n in ("vitlib", "torch", "torchvision")), sep=", ")
'''.replace("@FLOOR@", FLOOR.replace(".", ", ")).replace("@TORCH@", FLOOR).replace("@VITLIB@", PROJECT["version"])
SETUP_END = 'print(f"Python {sys.version.split()[0]}"'  # how its last line begins


def library_source(name: str) -> str:
    """Source of "module.name" in vitlib, without its docstring (a class: without its methods' docstrings too)."""
    module, attribute = name.split(".")
    source = textwrap.dedent(inspect.getsource(getattr(importlib.import_module(f"vitlib.{module}"), attribute)))
    rows = source.splitlines()
    drop = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            text = node.body[0]
            drop |= set(range(text.lineno - 1, text.end_lineno))
            if len(node.body) > 1 and not rows[text.end_lineno].strip():
                drop.add(text.end_lineno)  # the blank line after a docstring
    return "\n".join(row for i, row in enumerate(rows) if i not in drop).rstrip()


def shown(cell: dict) -> list[str]:
    """The library names that a cell tagged `vitlib` shows, from its metadata."""
    return cell["metadata"].get("vitlib", []) if "vitlib" in cell["metadata"].get("tags", []) else []


def setup_cell(old: str) -> str:
    """The setup cell, with the address that a notebook already has, between the lines that stand above and below it."""
    rows, new = old.splitlines(), SETUP.splitlines()
    first = next(n for n, row in enumerate(rows) if row.startswith(SETUP_MARK))
    last = next((n for n, row in enumerate(rows) if n > first and row.startswith(SETUP_END)), None)
    if last is None:
        raise ValueError(f"the setup cell has lost its last line, {SETUP_END}…, so it cannot be told from lines of "
                         "your own: move those to another cell, delete this one, and it is written anew")
    address = [row for row in rows[first:last] if row.startswith(("REPOSITORY = ", "BRANCH = "))]
    if len(address) == 2:
        place = new.index(next(row for row in new if row.startswith("REPOSITORY = ")))
        new[place:place + 2] = address
    return "\n".join(rows[:first] + new + rows[last + 1:])


def library_cell(cell: dict) -> str:
    """What a cell tagged `vitlib` shows. Raises ValueError where its metadata names nothing of vitlib."""
    try:
        return "\n\n\n".join(map(library_source, shown(cell)))
    except (AttributeError, ImportError, TypeError, ValueError) as error:
        raise ValueError(f'cell {cell["id"]} shows {shown(cell)!r}, which vitlib does not have ({error}); expected a '
                         'list such as ["patches.patchify"]') from error


def with_own_ids(cells: list[dict], stem: str) -> None:
    """Give each cell without an id, or with one that stands further up, an id that no other cell has."""
    used: set[str] = set()
    without, chapter = [], re.sub(r"[^a-zA-Z0-9]", "", stem[:2])
    for number, cell in enumerate(cells):
        own = cell.get("id")
        if isinstance(own, str) and re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", own) and own not in used:
            used.add(own)
        else:
            without.append(number)
    for number in without:
        cells[number]["id"] = next(new for n in count(number) if (new := f"{chapter}-{n:03}") not in used)
        used.add(cells[number]["id"])


def mend(notebook: dict, stem: str) -> dict:
    """A notebook as it should be committed."""
    kept = notebook.get("metadata", {}).items()
    notebook["metadata"] = KERNEL | {key: value for key, value in kept if key not in NOTEBOOK_LEFTOVERS | KERNEL.keys()}
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    cells = notebook["cells"]
    code = [number for number, cell in enumerate(cells) if cell["cell_type"] == "code"]
    if code and not any(map(is_setup, cells)):
        cells.insert(code[0], {"cell_type": "code", "execution_count": None, "id": None,
                               "metadata": {"tags": ["hide-input"]}, "outputs": [], "source": SETUP})
    with_own_ids(cells, stem)
    for cell in cells:
        for key in LEFTOVERS & cell["metadata"].keys():
            del cell["metadata"][key]
        text = source(cell)
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            if is_setup(cell):
                text = setup_cell(text)
            elif shown(cell):
                text = library_cell(cell)
        cell["source"] = text.rstrip().splitlines(keepends=True)
    return notebook


def main(arguments: list[str] | None = None) -> None:
    say_anything()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where something would change")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="notebooks (default: all in notebooks/)")
    args = parser.parse_args(arguments)
    changed, refused = [], []
    for path in args.files or chapters():
        try:
            after = as_text(mend(read_notebook(path), path.stem)).encode()
            if read_text(path).encode() != after:
                changed.append(path.name)
                if not args.check:
                    write_atomically(path, after)
        except (ValueError, OSError) as error:
            text = str(error)
            refused.append(text if str(path) in text else f"{path}: {text}")
    print(("would change: " if args.check else "changed: ") + (", ".join(changed) or "nothing"))
    for text in refused:
        print(f"notebooks.py: left as it is: {text}", file=sys.stderr)
    sys.exit(bool(refused or args.check and changed))


if __name__ == "__main__":
    main()
