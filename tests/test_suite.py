"""What the test suite itself says, and what has to be said on other systems than Linux."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["tests", "tests/site"])
def test_a_process_that_dies_is_named_last_with_what_to_try(tmp_path, folder):
    pytest.importorskip("xdist", reason="one process: pytest-xdist is not installed (pip install -e '.[dev]')")
    here = tmp_path / folder
    here.mkdir(parents=True)
    (tmp_path / "tests" / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"),
                                                    encoding="utf-8")
    (here / "test_dies.py").write_text("import os\n\ndef test_dies():\n    os.abort()\n\ndef test_lives():\n    pass\n",
                                       encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", "--rootdir=.", "tests"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout, done.stdout
    lines = re.findall(r"(?m)^A PROCESS OF THE TESTS DIED during (\S+): .*$", done.stdout)
    assert lines == [f"{folder}/test_dies.py::test_dies"], done.stdout
    assert "python -X faulthandler -m pytest -n 0 'tests/" in done.stdout and "ONEDNN_MAX_CPU_ISA=AVX2" in done.stdout


def recipe(target: str) -> str:
    """What `make TARGET` runs, as one text without make's own parts."""
    block = re.search(rf"(?m)^{target}:.*\n((?:\t.*\n)+)", MAKEFILE)[1]
    return re.sub(r"\s+", " ", block.replace("\\\n", " ").replace("$(RUN)/", ""))


# The commands without make, and the targets whose recipes hold the same words.
PLAIN = {
    "$(VENV)/ready": "python -m pip install -r requirements.txt -e",
    "lab": "jupyter lab --notebook-dir=notebooks",
    "book": "jupyter-book build . --all -W -n --keep-going",
    "pdf": "python book/tools/pdf.py",
    "student": "python book/tools/student.py",
}


@pytest.mark.parametrize("target", PLAIN)
@pytest.mark.parametrize("page", ["README.md", "book/how_to_use.md"])
def test_the_commands_without_make_are_those_of_the_makefile(target, page):
    assert PLAIN[target] in recipe(re.escape(target)).replace("--quiet ", "")
    text = (ROOT / page).read_text(encoding="utf-8")
    said = re.findall(r"(?m)^(\S.*?)(?: +#.*)?$", text.split("```powershell\n")[1].split("```")[0])
    if page == "README.md" and target in ("pdf", "student"):
        assert "book/how_to_use.md" in text  # which has them
    elif target == "$(VENV)/ready":
        assert f'{PLAIN[target]} ".[dev]"' in said
    else:
        assert PLAIN[target] in said


def test_the_book_built_without_make_leaves_the_sliders_out_too():
    assert "BOOK_STATIC=1" in recipe("book")
    for page in ("README.md", "book/how_to_use.md"):
        assert '$env:BOOK_STATIC = "1"' in (ROOT / page).read_text(encoding="utf-8"), page


def test_pytest_alone_runs_what_needs_no_built_site():
    """`python -m pytest` works as it stands and says what it leaves out; `make test-site` asks for all of it."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert options["testpaths"] == ["tests"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/site", "-k", "contents_is_built"]
    clean = {key: value for key, value in os.environ.items() if key != "BOOK_TEST_SITE"}
    clean["BOOK_HTML"] = str(ROOT / "no such folder")
    ends = [subprocess.run(command, cwd=ROOT, env=clean | asked, capture_output=True, text=True, encoding="utf-8")
            for asked in ({}, {"BOOK_TEST_SITE": "1"})]
    assert [done.returncode for done in ends] == [0, 1], ends[0].stdout[-2000:]
    assert all("run `make book` first" in done.stdout for done in ends)
    assert "1 skipped" in ends[0].stdout and "BOOK_TEST_SITE=1" in recipe("test-site")


POSIX = {"fcntl", "grp", "pty", "pwd", "resource", "termios"}


def test_no_module_of_posix_alone_is_imported_where_windows_would_stop():
    """Such an import stands inside what says so: pytest.importorskip with a reason, or a function for Linux."""
    for path in [path for folder in ("book", "vitlib", "tests") for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not POSIX & set(names), f"{path.name} imports {names} for every system"


def test_a_test_of_signals_that_windows_lacks_says_so():
    found = []
    for path in (ROOT / "tests").glob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            is_test = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
            body = ast.get_source_segment(text, node) if is_test else ""
            if re.search(r"signal\.SIG[A-Z]+", body):
                found.append(node.name)
                marks = " ".join(map(ast.unparse, node.decorator_list))
                assert "skipif" in marks and "reason=" in marks, f"{path.name}: {node.name}"
    assert len(found) >= 3


LIMITS = {  # seconds at which something is given up; four times what a busy machine with AVX2 needed must fit
    "_config.yml": (r"(?m)^  timeout: (\d+)", 1048),
    "Makefile": (r"--nbval-cell-timeout=(\d+)", 1048),
    "book/tools/corners.py": (r"--nbval-cell-timeout=(\d+)", 1048),
    "book/tools/twice.py": (r"(?m)^LIMIT = (\d+)", 1048),
    "notebooks/11_speed.ipynb": (r"timeout=(\d+)", 240),
    "tests/site/conftest.py": (r"set_script_timeout\((\d+)\)", 240),
    "tests/test_cli.py": (r"timeout=(\d+)", 480),
    "tests/test_parallel.py": (r"timeout=(\d+)|monotonic\(\) \+ (\d+)", 480),
}


@pytest.mark.parametrize("file", LIMITS)
def test_a_slow_machine_does_not_run_out_of_time(file):
    pattern, least = LIMITS[file]
    found = [int(number) for groups in re.findall(pattern, (ROOT / file).read_text(encoding="utf-8"))
             for number in ([groups] if isinstance(groups, str) else groups) if number]
    assert found and min(found) >= least, f"{file}: {found}"


def test_the_chapter_of_tiny_models_runs_on_one_thread():
    """Two threads on two busy cores took chapter 14 ten times as long as one: they wait for each other all the time."""
    assert "torch.set_num_threads(1)" in (ROOT / "notebooks" / "14_bug_clinic.ipynb").read_text(encoding="utf-8")


def test_a_chapter_that_cannot_be_run_twice_is_named(tmp_path):
    twice = ROOT / "book" / "tools" / "twice.py"
    book = {"metadata": {"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}}, "nbformat": 4,
            "nbformat_minor": 5}
    for name, text in (("good", "n = 1"), ("bad", "assert 'seen' not in globals()\nseen = 1")):
        cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [],
                "source": [text]}
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(book | {"cells": [cell]}), encoding="utf-8")
    done = subprocess.run([sys.executable, twice, tmp_path / "good.ipynb", tmp_path / "bad.ipynb"], text=True,
                          capture_output=True, encoding="utf-8")
    assert done.returncode == 1 and "good: ran twice" in done.stdout and "bad: FAILED" in done.stdout, done.stderr
    assert "bad cannot be run twice" in done.stderr
    done = subprocess.run([sys.executable, twice, "99_none"], text=True, capture_output=True, encoding="utf-8")
    assert done.returncode == 1 and "there is no chapter '99_none'; there are 01_" in done.stderr
