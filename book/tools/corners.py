"""Run every notebook where only the wheel is, on each promised pair of Python and PyTorch, and record how it went.

    python book/tools/corners.py --python python3.11 --python python3.13 --torch oldest --torch newest

Each pair gets a fresh environment (about 5 GB, removed afterwards) and an empty folder. The record is
book/corners.json; a new result for a pair replaces the old one. Only Python's own library is used: any interpreter
can run this file.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from functools import partial
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chapters import ROOT, chapters, read_text, say_anything, write_atomically

RECORD = ROOT / "book" / "corners.json"
# Beside the wheel and its own needs: what the parity checks, the sliders and the test runner ask for.
EXTRA = ["timm>=1.0", "ipywidgets>=8", "ipykernel", "nbval>=0.11", "pytest>=8"]
ASK = """import json, platform
from importlib.metadata import version
import vitlib
assert "site-packages" in vitlib.__file__, f"not the wheel: {vitlib.__file__}"
print(json.dumps({"python": platform.python_version(),
                  **{name: version(name) for name in ("torch", "torchvision", "numpy", "timm", "vitlib")}}))"""


def torch_wanted(which: str) -> str:
    """pip's requirement for "oldest" (the floor in pyproject.toml), "newest" or a version."""
    if which == "newest":
        return "torch"
    if which == "oldest":
        needs = tomllib.loads(read_text(ROOT / "pyproject.toml"))["project"]["dependencies"]
        floor = next(match[1] for need in needs if (match := re.fullmatch(r"torch>=([\d.]+)", need)))
        return f"torch=={floor}.0"
    if re.fullmatch(r"\d+\.\d+\.\d+", which):
        return f"torch=={which}"
    raise ValueError(f"{which!r} is no version of PyTorch; expected oldest, newest or one such as 2.9.0")


def commit() -> str:
    """The commit that is tried; "-dirty" where a file other than the record differs from it."""
    if not shutil.which("git"):
        return "unknown"
    ask = partial(subprocess.run, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    changed = ask(["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!book/corners.json"]).stdout
    return (ask(["git", "describe", "--always"]).stdout.strip() or "unknown") + ("-dirty" if changed else "")


def results(report: Path) -> dict[str, list[str]]:
    """Each notebook's failed cells, from pytest's report in JUnit's form; a notebook that is not in it did not run."""
    found: dict[str, list[str]] = {}
    if not report.is_file():  # pytest itself ended before its time
        return found
    for case in ElementTree.parse(report).iter("testcase"):
        notebook = re.search(r"(\w+)\.ipynb|(\d\d_\w+)", f"{case.get('classname')} {case.get('name')}")
        cells = found.setdefault(notebook[1] or notebook[2], [])
        if any(child.tag in ("failure", "error", "skipped") for child in case):
            cells.append(case.get("name"))
    return found


def try_corner(python: str, torch: str, wheel: Path, folder: Path) -> dict:
    """Make one environment and run all notebooks there, one kernel at a time; returns its row of the record."""
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    own = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([own, "-m", "pip", "install", "--quiet", torch, wheel, *EXTRA], check=True)
    empty = folder / "empty"
    empty.mkdir()
    notebooks = chapters()
    for notebook in notebooks:
        shutil.copy(notebook, empty)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "BOOK_", "VITLIB_"))}
    environment = clean | {"OMP_NUM_THREADS": "1", "PATH": f"{own.parent}{os.pathsep}{os.environ['PATH']}"}
    told = subprocess.run([own, "-c", ASK], cwd=empty, env=environment, check=True, stdout=subprocess.PIPE)
    subprocess.run([own, "-m", "pytest", "-q", "--rootdir=.", "-c", os.devnull, "-p", "no:python",
                    "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=1800",
                    "--junitxml=../report.xml", "."],
                   cwd=empty, env=environment)  # its exit status is not trusted: the report below is counted
    found = results(folder / "report.xml")
    failed = {notebook.stem: found.get(notebook.stem, ["did not run"]) for notebook in notebooks}
    failed = {name: cells for name, cells in failed.items() if cells}
    return json.loads(told.stdout) | {
        "commit": commit(), "date": datetime.date.today().isoformat(),
        "system": f"{platform.system()} {platform.machine()}",
        "notebooks": len(notebooks), "passed": len(notebooks) - len(failed), "failed": failed,
    }


def pair(row: dict) -> list[list[int]]:
    """What a row is known by: Python's minor version and PyTorch's version, as numbers."""
    versions = row["python"].rpartition(".")[0], row["torch"].partition("+")[0]
    return [[int(part) for part in version.split(".")] for version in versions]


def kept_rows(record: Path) -> list[dict]:
    """The rows of a record so far. Raises ValueError naming a file that is none."""
    if not record.exists():
        return []
    try:
        return json.loads(read_text(record))["corners"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f'{record} is no record of corners ({error!r}); expected {{"corners": […]}}: name another '
                         "file with --record, or take back the last good version with `git restore`") from error


def keep(record: Path, row: dict) -> None:
    """Put a row into the record, in place of an older one for the same pair."""
    kept = [old for old in kept_rows(record) if pair(old) != pair(row)]
    write_atomically(record, (json.dumps({"corners": sorted([*kept, row], key=pair)}, indent=1) + "\n").encode())


def main() -> None:
    say_anything()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="an interpreter; may be given again (default: this one)")
    parser.add_argument("--torch", action="append", help="oldest, newest or a version; may be given again")
    parser.add_argument("--wheel", type=Path, help="vitlib's wheel (default: built here)")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "corners", help="for the environments")
    parser.add_argument("--record", type=Path, default=RECORD)
    args = parser.parse_args()
    try:
        sys.exit(any(row["failed"] for row in all_rows(args)))
    except (ValueError, OSError) as error:
        raise SystemExit(f"corners.py: {error}") from error
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        raise SystemExit(f"corners.py: this command failed, and said why above: {command}") from error


def all_rows(args: argparse.Namespace) -> list[dict]:
    """Try every pair that was asked for; each row is in the record as soon as it is known."""
    pairs = list(product(args.python or [sys.executable], map(torch_wanted, args.torch or ["oldest", "newest"])))
    kept_rows(args.record)  # what cannot be added to is named before the work, not after it
    args.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=args.folder.resolve()) as folder:
        if not args.wheel:
            pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT]
            subprocess.run(pip, check=True)
        wheel = args.wheel or next(Path(folder).glob("vitlib-*.whl"))
        for python, torch in pairs:
            with tempfile.TemporaryDirectory(prefix="corner-", dir=args.folder.resolve()) as own:  # nobody's own folder
                rows.append(row := try_corner(python, torch, wheel.resolve(), Path(own)))
            keep(args.record, row)
            print("Python {python}, torch {torch}: {passed} of {notebooks} passed {failed}".format(**row), flush=True)
    return rows


if __name__ == "__main__":
    main()
