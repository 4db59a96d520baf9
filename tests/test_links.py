"""The links of a fork: one command sets every address, and no other remains."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINKS = ROOT / "book" / "tools" / "links.py"


def links(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, LINKS, *arguments, "--root", root], capture_output=True, text=True)


@pytest.fixture
def small_book(tmp_path) -> Path:
    """A book of one page and one chapter, which is not run."""
    shutil.copytree(ROOT / "book", tmp_path / "book")
    config = (ROOT / "_config.yml").read_text()
    (tmp_path / "_config.yml").write_text(config.replace("execute_notebooks: force", "execute_notebooks: off"))
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/notation\nchapters:\n- file: notebooks/01_small\n")
    cells = [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# Größe\n", "\n", "Text"]},
             {"cell_type": "code", "id": "b", "metadata": {}, "execution_count": None, "outputs": [],
              "source": ['REPOSITORY = ""\n', 'BRANCH = "main"\n', "print(REPOSITORY)"]}]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "notebooks").mkdir()
    written = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    (tmp_path / "notebooks" / "01_small.ipynb").write_text(written)
    assert links(tmp_path, "--clear").returncode == 0  # whatever this copy's own address is
    assert (tmp_path / "notebooks" / "01_small.ipynb").read_text() == written
    assert "github.com" not in (tmp_path / "_config.yml").read_text()
    return tmp_path


def outward_links(book: Path) -> dict[str, list[str]]:
    """Build the small book; returns each page's links to GitHub and Colab."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", book, "-W", "-n", "--keep-going", "--all"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    found = {}
    for name in ("book/notation", "notebooks/01_small"):
        text = (book / "_build" / "html" / f"{name}.html").read_text()
        found[name] = [url for url in re.findall(r'<a\b[^>]*?href="([^"]*)"', text) if re.search("github|colab", url)]
    return found


def test_links_lead_to_the_address_that_was_set(small_book):
    assert outward_links(small_book) == {"book/notation": [], "notebooks/01_small": []}
    assert links(small_book, "ada/patchwork", "--branch", "course").returncode == 0
    for page, urls in outward_links(small_book).items():
        suffix = "ipynb" if page.startswith("notebooks/") else "md"
        wanted = ["https://github.com/ada/patchwork", f"https://github.com/ada/patchwork/edit/course/{page}.{suffix}"]
        if suffix == "ipynb":
            wanted.append(f"https://colab.research.google.com/github/ada/patchwork/blob/course/{page}.ipynb")
        assert set(wanted) <= set(urls)
        assert (small_book / f"{page}.{suffix}").is_file()
        assert all("/ada/patchwork" in url for url in urls), urls


def test_setting_and_clearing_changes_nothing_else(small_book):
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(path, small_book / "notebooks")
    assert links(small_book, "--clear").returncode == 0
    files = [small_book / "_config.yml", *(small_book / "notebooks").glob("*.ipynb")]
    before = {path: path.read_bytes() for path in files}
    assert links(small_book, "https://github.com/ada/patchwork.git").returncode == 0
    for path in files:
        assert "ada/patchwork" in path.read_text(), path
    small = json.loads((small_book / "notebooks" / "01_small.ipynb").read_text())
    assert "".join(small["cells"][1]["source"]) == 'REPOSITORY = "ada/patchwork"\nBRANCH = "main"\nprint(REPOSITORY)'
    assert links(small_book, "--clear").returncode == 0
    assert {path: path.read_bytes() for path in files} == before


@pytest.mark.parametrize("bad", ["ada", "ada/", "/patchwork", "ada/patch work", "ada/..", "https://example.org/ada/patchwork"])
def test_bad_address_is_named_and_nothing_written(small_book, bad):
    before = (small_book / "_config.yml").read_bytes()
    result = links(small_book, bad)
    assert result.returncode != 0
    assert f"{bad!r} is no address of a repository; expected owner/name" in result.stderr
    assert (small_book / "_config.yml").read_bytes() == before


def test_chapter_without_the_lines_is_named_and_nothing_written(small_book):
    before = (small_book / "_config.yml").read_bytes()
    path = small_book / "notebooks" / "01_small.ipynb"
    path.write_text(path.read_text().replace("BRANCH = ", "TRUNK = "))
    result = links(small_book, "ada/patchwork")
    assert result.returncode != 0
    assert "01_small.ipynb" in result.stderr
    assert (small_book / "_config.yml").read_bytes() == before
