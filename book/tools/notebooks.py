"""Keep the notebooks as they are committed: no outputs, ids present, one setup cell, library code as in the library.

    python book/tools/notebooks.py          mend every notebook in notebooks/
    python book/tools/notebooks.py --check  only say what is not as it should be; exit 1 if anything is
"""

import argparse
import ast
import importlib
import inspect
import json
import sys
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from vitlib.files import write_atomically  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FLOOR = next(need.removeprefix("torch>=") for need in PROJECT["dependencies"] if need.startswith("torch>="))

# Plain text, filled in where it says @: the cell has braces of its own.
SETUP = '''\
# Setup, the same in every chapter. What is missing, as in Colab, is fetched; nothing that is there is changed.
REPOSITORY = ""
BRANCH = "main"

import importlib.util
import subprocess
import sys
from importlib.metadata import version

missing = [name for name in ("safetensors", "timm", "tqdm", "vitlib") if importlib.util.find_spec(name) is None]
torch = version("torch") if importlib.util.find_spec("torch") else "none"
if torch == "none" or tuple(map(int, torch.split(".")[:2])) < (@FLOOR@):
    raise RuntimeError(f"the book needs PyTorch @TORCH@ or newer, and here is {torch}; install it first, then restart")
if "vitlib" in missing:
    if not REPOSITORY:
        raise RuntimeError("vitlib is not installed; run `make lab` in the book's folder, or `pip install` its wheel")
    missing[-1] = f"vitlib @ https://github.com/{REPOSITORY}/archive/{BRANCH}.zip"
if missing:  # --no-deps: numpy and torch stay as they are
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *missing]
    if (done := subprocess.run(pip, capture_output=True, text=True)).returncode:
        raise RuntimeError(f"pip could not install {', '.join(missing)}: {done.stderr.strip()[-500:]}")
    importlib.invalidate_caches()
if version("vitlib") != "@VITLIB@":
    raise RuntimeError(f"this chapter is written for vitlib @VITLIB@, and here is {version('vitlib')}: use its own")
print(f"Python {sys.version.split()[0]}", *(f"{n} {version(n)}" for n in ("vitlib", "torch", "torchvision")), sep=", ")
'''.replace("@FLOOR@", FLOOR.replace(".", ", ")).replace("@TORCH@", FLOOR).replace("@VITLIB@", PROJECT["version"])


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
    """The setup cell, with the address that a notebook already has."""
    address = [row for row in old.splitlines() if row.startswith(("REPOSITORY = ", "BRANCH = "))]
    rows = SETUP.splitlines()
    return "\n".join(rows[:1] + (address if len(address) == 2 else rows[1:3]) + rows[3:])


def mend(notebook: dict, stem: str) -> dict:
    """A notebook as it should be committed."""
    notebook["metadata"] = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                            "language_info": {"name": "python"}}
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    first = True
    for i, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        cell.setdefault("id", f"{stem[:2]}-{i:03}")
        for key in ("collapsed", "scrolled", "execution", "ExecuteTime", "jupyter", "colab"):
            cell["metadata"].pop(key, None)
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            if first:
                source, first = setup_cell(source), False
            elif shown(cell):
                source = "\n\n\n".join(map(library_source, shown(cell)))
        cell["source"] = source.rstrip().splitlines(keepends=True)
    return notebook


def as_text(notebook: dict) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where something would change")
    check = parser.parse_args().check
    changed = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        before = path.read_text()
        after = as_text(mend(json.loads(before), path.stem))
        if before != after:
            changed.append(path.name)
            if not check:
                write_atomically(path, after.encode())
    print(("would change: " if check else "changed: ") + (", ".join(changed) or "nothing"))
    sys.exit(bool(check and changed))


if __name__ == "__main__":
    main()
