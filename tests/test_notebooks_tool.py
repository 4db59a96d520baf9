"""book/tools/notebooks.py mends what programs leave behind, keeps what people wrote, and names what it cannot read."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "tools"))

import chapters  # noqa: E402

import notebooks  # noqa: E402

# A terminal that knows ASCII only, as `ssh` to a bare machine gives it; on Windows, code page 1252 does the same.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


def code(text: str, **more) -> dict:
    return {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [],
            "source": text} | more


def words(text: str, **more) -> dict:
    return {"cell_type": "markdown", "id": "b", "metadata": {}, "source": text} | more


def notebook(*cells: dict, **metadata) -> dict:
    numbered = [cell | {"id": f"{cell['id']}{n}"} for n, cell in enumerate(cells)]
    return {"cells": numbered, "metadata": dict(metadata), "nbformat": 4, "nbformat_minor": 5}


def mended(*cells: dict, **metadata) -> dict:
    after = notebooks.mend(notebook(*cells, **metadata), "01_small")
    nbformat.validate(nbformat.from_dict(json.loads(json.dumps(after))))
    again = json.loads(chapters.as_text(after))
    assert notebooks.mend(json.loads(chapters.as_text(after)), "01_small") == again, "mending twice is mending once"
    return after


def texts(book: dict) -> list[str]:
    return ["".join(cell["source"]) for cell in book["cells"]]


SETUP = notebooks.SETUP.rstrip()


def test_a_cell_above_the_setup_cell_is_kept():
    own = "import os\nos.environ['VITLIB_DATA'] = '/data'  # our lab's disk"
    assert texts(mended(words("# 1"), code(own), words("then"), code(SETUP), code("1 + 1"))) == \
        ["# 1", own, "then", SETUP, "1 + 1"]


def test_a_chapter_without_a_setup_cell_gets_one_before_its_first_code():
    after = mended(words("# 1"), words("more"), code("import torch"))
    assert texts(after) == ["# 1", "more", SETUP, "import torch"]
    assert after["cells"][2]["metadata"] == {"tags": ["hide-input"]}
    assert texts(mended(words("# Only words"))) == ["# Only words"]


def test_lines_around_the_setup_code_in_its_own_cell_are_kept():
    new = SETUP.replace('REPOSITORY = ""', 'REPOSITORY = "ada/patchwork"')
    old = new.replace("import subprocess\n", "")
    assert texts(mended(code(f"above = 1\n{old}\nbelow = 2"))) == [f"above = 1\n{new}\nbelow = 2"]


def test_a_setup_cell_without_its_end_is_not_written_over():
    with pytest.raises(ValueError, match="has lost its last line"):
        mended(code(SETUP.rpartition("\n")[0] + "\nmy_own = 1"))


def test_equal_ids_become_different_and_the_first_keeps_its_own():
    book = notebook(words("one"), words("two"), words("three"), words("four"))
    for cell, own in zip(book["cells"], ("same", "same", "01-003", "not an id!")):
        cell["id"] = own
    ids = [cell["id"] for cell in notebooks.mend(book, "01_small")["cells"]]
    assert ids[0] == "same" and ids[2] == "01-003" and len(set(ids)) == 4 and "not an id!" not in ids
    del book["cells"][1]["id"]
    assert len({cell["id"] for cell in notebooks.mend(book, "01_small")["cells"]}) == 4
    del book["cells"][1]["id"], book["metadata"]
    assert notebooks.mend(book, "ÄÖ")["cells"][1]["id"] == "-001"


def test_leftovers_go_and_what_people_set_stays():
    leftovers = {"id": "x1", "outputId": "x2", "cellView": "form", "vscode": {"languageId": "python"}, "colab": {},
                 "executionInfo": {"user": {"displayName": "Ada"}}, "ExecuteTime": {}, "collapsed": True}
    people = {"tags": ["solution"], "slideshow": {"slide_type": "slide"}, "nbgrader": {"grade": True},
              "editable": False, "deletable": False, "mystnb": {"image": {"alt": "A picture"}}, "our_school": 1}
    after = mended(code(SETUP), code("1", metadata=leftovers | people, execution_count=7,
                                     outputs=[{"output_type": "stream", "name": "stdout", "text": "1"}]),
                   widgets={}, accelerator="GPU", colab={"provenance": []}, vscode={}, title="Our course",
                   kernelspec={"name": "conda-env", "display_name": "x"})
    assert after["cells"][1]["metadata"] == people
    assert (after["cells"][1]["outputs"], after["cells"][1]["execution_count"]) == ([], None)
    assert set(after["metadata"]) == {"kernelspec", "language_info", "title"}
    assert after["metadata"]["kernelspec"]["name"] == "python3"


@pytest.fixture
def book(tmp_path) -> Path:
    """A small book with the tools, the package and one chapter, which is as it should be."""
    shutil.copytree(ROOT / "book" / "tools", tmp_path / "book" / "tools")
    shutil.copytree(ROOT / "vitlib", tmp_path / "vitlib", ignore=shutil.ignore_patterns("zoo", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "notebooks").mkdir()
    good = mended(words("# Größe × 2"), code(SETUP), code("1 + 1"))
    (tmp_path / "notebooks" / "01_good.ipynb").write_text(chapters.as_text(good), encoding="utf-8")
    return tmp_path


def run(book: Path, *arguments: str, tool: str = "notebooks", **environment) -> subprocess.CompletedProcess:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LC_", "LANG"))}
    return subprocess.run([sys.executable, book / "book" / "tools" / f"{tool}.py", *arguments], cwd=book,
                          env=clean | environment, capture_output=True, text=True, encoding="utf-8")


GOOD = json.dumps({"cells": [words("# 2")], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1)
ONE = '   "source": "# 2"'
CONFLICT = GOOD.replace(ONE, f"<<<<<<< HEAD\n{ONE}\n=======\n{ONE}\n>>>>>>> theirs")
GONE = {"tags": ["vitlib"], "vitlib": ["files.gone"]}
BROKEN = {  # what a file holds, and what is said of it
    "a merge conflict": (CONFLICT.encode(), "holds a merge conflict, from line 7: settle it"),
    "half a file": (GOOD[:60].encode(), "is no valid JSON: "),
    "an empty file": (b"", "is no valid JSON: "),
    "another encoding": (GOOD.encode("utf-16"), "is not UTF-8"),
    "format 3": (json.dumps({"nbformat": 3, "worksheets": [], "metadata": {}}).encode(),
                 "format 3, expected 4: open it in JupyterLab and save it, or `jupyter nbconvert --to notebook"),
    "format 5": (GOOD.replace('"nbformat": 4', '"nbformat": 5').encode(), "format 5, expected 4"),
    "no cells": (json.dumps(notebook()).encode(), "has no cells"),
    "no notebook": (b'{"a": 1}', "is JSON, but no notebook"),
    "a cell without text": (GOOD.replace('"source"', '"sauce"').encode(), "cell 0 has not all of"),
    "a wrong library name": (json.dumps(notebook(code("", metadata=GONE))).encode(),
                             "shows ['files.gone'], which vitlib does not have"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_notebook_that_cannot_be_read_is_named_and_the_others_are_mended(book, fault):
    data, message = BROKEN[fault]
    (book / "notebooks" / "02_broken.ipynb").write_bytes(data)
    last = book / "notebooks" / "03_last.ipynb"
    last.write_text(GOOD, encoding="utf-8")
    done = run(book)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "02_broken.ipynb" in done.stderr and message in done.stderr, done.stderr
    assert (book / "notebooks" / "02_broken.ipynb").read_bytes() == data
    assert done.stdout == "changed: 03_last.ipynb\n" and last.read_text(encoding="utf-8") != GOOD
    assert run(book, "--check").returncode == 1
    (book / "notebooks" / "02_broken.ipynb").unlink()
    assert run(book, "--check").returncode == 0


def test_a_byte_order_mark_is_taken_off(book):
    path = book / "notebooks" / "01_good.ipynb"
    good = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + good)
    assert run(book, "--check").returncode == 1
    assert run(book).returncode == 0 and path.read_bytes() == good


def test_only_the_notebooks_that_are_named(book):
    for name in ("02_a.ipynb", "03_b.ipynb"):
        (book / "notebooks" / name).write_text(GOOD, encoding="utf-8")
    assert run(book, "notebooks/03_b.ipynb").stdout == "changed: 03_b.ipynb\n"
    done = run(book, "notebooks/04_none.ipynb")
    assert done.returncode == 1 and "04_none.ipynb" in done.stderr and "Traceback" not in done.stderr


def test_the_tools_read_and_say_anything_on_a_terminal_of_ascii(book):
    shutil.copy(book / "notebooks" / "01_good.ipynb", book / "notebooks" / "02_größe.ipynb")
    path = book / "notebooks" / "02_größe.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace('"id": "', '"id": "x!'), encoding="utf-8")
    done = run(book, **ASCII)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("changed: 02_gr"), done.stderr
    assert run(book, "--check").stdout == "would change: nothing\n"
    assert "Größe × 2" in path.read_text(encoding="utf-8")
    for tool in ("notebooks", "links", "student", "corners", "editions", "check_links"):
        helped = run(book, "--help", tool=tool, **ASCII)
        assert helped.returncode == 0 and "usage" in helped.stdout, helped.stderr


def without_encoding(path: Path) -> list[str]:
    """Where a file opens a text and leaves its encoding to the system, which may know ASCII only."""
    found = []
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call) or any(word.arg == "encoding" for word in call.keywords):
            continue
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        function = call.func.id if isinstance(call.func, ast.Name) else ""
        mode = next((word.value for word in call.keywords if word.arg == "mode"), ast.Constant("r"))
        mode = call.args[1] if len(call.args) > 1 else mode
        binary = isinstance(mode, ast.Constant) and "b" in str(mode.value)
        if method in ("read_text", "write_text") or function == "open" and not binary:
            found.append(f"{path.name}:{call.lineno}")
    return found


def test_every_text_is_opened_with_its_encoding_named(tmp_path):
    files = [path for folder in ("book", "vitlib", "tests") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 60
    assert not [place for path in files for place in without_encoding(path)]
    planted = tmp_path / "planted.py"
    planted.write_text('p.read_text()\np.write_text("a")\nopen("a")\nopen("a", "w")\nopen("a", mode="r")\n'
                       'open("a", "rb")\np.read_text(encoding="utf-8")\n', encoding="utf-8")
    assert without_encoding(planted) == [f"planted.py:{line}" for line in (1, 2, 3, 4, 5)]


def test_a_record_is_read_as_utf_8_on_a_terminal_of_ascii(tmp_path):
    (tmp_path / "record.json").write_text('{"about": "32×32"}', encoding="utf-8")
    ask = ("import pathlib, vitlib.checkpoint as c; c.ZOO = pathlib.Path.cwd(); "
           "assert c.load_record('record') == {'about': '32\\u00d732'}")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    done = subprocess.run([sys.executable, "-c", ask], cwd=tmp_path, env=clean | {"PYTHONPATH": str(ROOT)} | ASCII,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
