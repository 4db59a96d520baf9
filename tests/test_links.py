"""A fork gets its own links from one command, no other address remains, and its chapters run elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

import vitlib

ROOT = Path(__file__).resolve().parents[1]
LINKS = ROOT / "book" / "tools" / "links.py"


def links(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, LINKS, *arguments, "--root", root], capture_output=True, text=True)


@pytest.fixture
def small_book(tmp_path) -> Path:
    """A book of one page and one chapter, which is not run."""
    shutil.copytree(ROOT / "book", tmp_path / "book")
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    config = config.replace("execute_notebooks: force", "execute_notebooks: off")
    (tmp_path / "_config.yml").write_text(config, encoding="utf-8")
    (tmp_path / "README.md").write_text("# A book\n\nText\n", encoding="utf-8")
    toc = "format: jb-book\nroot: book/notation\nchapters:\n- file: notebooks/01_small\n"
    (tmp_path / "_toc.yml").write_text(toc, encoding="utf-8")
    text = ["# Größe\n", "\n", "*5 minutes.*\n", "\n", "Text"]
    cells = [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": text},
             {"cell_type": "code", "id": "b", "metadata": {}, "execution_count": None, "outputs": [],
              "source": ["# Setup, the same in every chapter\n", 'REPOSITORY = ""\n', 'BRANCH = "main"\n',
                         "print(REPOSITORY)"]}]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "notebooks").mkdir()
    written = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    (tmp_path / "notebooks" / "01_small.ipynb").write_text(written, encoding="utf-8")
    assert links(tmp_path, "--clear").returncode == 0  # whatever this copy's own address is
    assert (tmp_path / "notebooks" / "01_small.ipynb").read_text(encoding="utf-8") == written
    assert "github.com" not in (tmp_path / "_config.yml").read_text(encoding="utf-8")
    return tmp_path


def outward_links(book: Path) -> dict[str, list[str]]:
    """Build the small book; returns each page's links to GitHub and Colab."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", book, "-W", "-n", "--keep-going", "--all"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    found = {}
    for name in ("book/notation", "notebooks/01_small"):
        text = (book / "_build" / "html" / f"{name}.html").read_text(encoding="utf-8")
        urls = re.findall(r'<a\b[^>]*?href="([^"]*)"', text)
        found[name] = [url for url in urls if re.search("github|colab|mybinder", url)]
    return found


def test_links_lead_to_the_address_that_was_set(small_book):
    assert outward_links(small_book) == {"book/notation": [], "notebooks/01_small": []}
    assert links(small_book, "ada/patchwork", "--branch", "course").returncode == 0
    for page, urls in outward_links(small_book).items():
        suffix = "ipynb" if page.startswith("notebooks/") else "md"
        wanted = ["https://github.com/ada/patchwork", f"https://github.com/ada/patchwork/edit/course/{page}.{suffix}"]
        if suffix == "ipynb":
            wanted.append(f"https://colab.research.google.com/github/ada/patchwork/blob/course/{page}.ipynb")
            wanted.append(f"https://mybinder.org/v2/gh/ada/patchwork/course?urlpath=lab/tree/{page}.ipynb")
        assert set(wanted) <= set(urls)
        assert any(url.startswith("https://github.com/ada/patchwork/issues/new") for url in urls), urls
        assert all("/ada/patchwork" in url for url in urls), urls


def test_a_tag_has_no_edit_button(small_book):
    assert links(small_book, "ada/patchwork", "--tag", "v1.0").returncode == 0
    assert "/blob/v1.0/" in (small_book / "notebooks" / "01_small.ipynb").read_text(encoding="utf-8")
    assert not [url for urls in outward_links(small_book).values() for url in urls if "/edit/" in url]


@pytest.fixture
def fork(tmp_path) -> Path:
    """A copy of all that git tracks, without an address."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    assert links(tmp_path, "--clear").returncode == 0
    return tmp_path


def contents(root: Path) -> dict[Path, bytes]:
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_fork_has_its_own_links_and_no_other_and_each_leads_to_a_file(fork):
    cleared = contents(fork)
    assert links(fork, "first-owner/first-name").returncode == 0
    assert links(fork, "https://github.com/ada/patchwork.git", "--branch", "course").returncode == 0
    found = []
    for path, data in contents(fork).items():
        if path.parts[0] == "tests" or path.name in ("links.py", "references.bib"):
            continue  # they speak of addresses, or cite other people's
        text = data.decode("utf-8", errors="ignore")
        assert "first-owner" not in text and "first-name" not in text, path
        for url in re.findall(r"https?://[^\s\"'<>)\\]+", text):
            hosts = ("https://colab.research.google.com", "https://mybinder.org")
            if url.startswith(hosts) and url not in hosts:
                assert "/ada/patchwork/" in url and "course" in url, f"{path}: {url}"
                inside = re.search(r"(?:/blob/course/|urlpath=lab/tree/)(.+)$", url)
                assert (fork / inside[1]).is_file(), f"{path}: {url}"
                found.append(url)
    chapters = len(list((fork / "notebooks").glob("*.ipynb")))
    assert sum("/blob/course/" in url for url in found) == chapters + 1  # and one in the README
    assert sum("lab/tree" in url for url in found) == chapters + 1
    assert links(fork, "--clear").returncode == 0
    assert contents(fork) == cleared


def test_the_setup_cell_is_the_same_in_every_chapter():
    cells = [next(c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code")
             for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    assert len({"".join(cell["source"]) for cell in cells}) == 1, "the setup cells differ: run book/tools/notebooks.py"


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
    path.write_text(path.read_text(encoding="utf-8").replace("BRANCH = ", "TRUNK = "), encoding="utf-8")
    result = links(small_book, "ada/patchwork")
    assert result.returncode != 0
    assert "01_small.ipynb" in result.stderr
    assert (small_book / "_config.yml").read_bytes() == before


def test_a_paragraph_and_a_cell_of_somebodys_own_stay(small_book):
    own = "[Open in Colab](https://colab.research.google.com/github/my/own) · our lab's copy, with data"
    readme, path = small_book / "README.md", small_book / "notebooks" / "01_small.ipynb"
    readme.write_text(f"# A book\n\n{own}\n\nText\n", encoding="utf-8")
    book = json.loads(path.read_text(encoding="utf-8"))
    mine = {"cell_type": "code", "id": "c", "metadata": {}, "execution_count": None, "outputs": [],
            "source": ['BRANCH = "oak"']}
    path.write_text(json.dumps(book | {"cells": [*book["cells"], mine]}), encoding="utf-8")
    for arguments in (["ada/patchwork"], ["ada/patchwork", "--tag", "v1"], ["--clear"]):
        result = links(small_book, *arguments)
        assert result.returncode == 0, result.stderr
        assert own in readme.read_text(encoding="utf-8")
        assert 'BRANCH = \\"oak\\"' in path.read_text(encoding="utf-8")
    assert readme.read_text(encoding="utf-8") == f"# A book\n\n{own}\n\nText\n"


@pytest.mark.parametrize(("text", "message"), [("{", "01_small.ipynb is no valid JSON"), (None, "has no chapters")])
def test_a_chapter_that_cannot_be_read_is_named_and_nothing_written(small_book, text, message):
    path, before = small_book / "notebooks" / "01_small.ipynb", (small_book / "_config.yml").read_bytes()
    path.write_text(text, encoding="utf-8") if text else path.unlink()
    result = links(small_book, "ada/patchwork")
    assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
    assert (small_book / "_config.yml").read_bytes() == before


# The setup cell, as Colab runs it


@pytest.fixture
def elsewhere(tmp_path):
    """Runs the setup cell in a fresh interpreter where all is installed but vitlib; packages go to tmp_path/site."""
    if os.name == "nt":
        pytest.skip("makes an interpreter whose folders are named as on Linux and macOS")
    (tmp_path / "site").mkdir()
    bare = tmp_path / "bare" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    packages = Path(pytest.__file__).parents[1]
    own = next((tmp_path / "bare").glob("lib/python*/site-packages"))
    # Their .pth files, vitlib's too, are not read.
    (own / "all.pth").write_text(f"{tmp_path / 'site'}\n{packages}\n", encoding="utf-8")
    cells = json.loads(next((ROOT / "notebooks").glob("01_*.ipynb")).read_text(encoding="utf-8"))["cells"]
    setup = "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])

    def run(change=lambda text: text, **environment) -> subprocess.CompletedProcess:
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        clean |= environment | {"PIP_TARGET": str(tmp_path / "site")}
        cell = change(re.sub('^REPOSITORY = ".*"', 'REPOSITORY = "ada/patchwork"', setup, flags=re.M))
        return subprocess.run([bare, "-c", cell], cwd=tmp_path, env=clean, capture_output=True, text=True)
    return run


@pytest.fixture
def server(tmp_path):
    """A web server on this machine that has ada/patchwork's branch main as GitHub gives it, in a zip; its address."""
    archive = tmp_path / "www" / "ada" / "patchwork" / "archive" / "main.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        needed = [ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")]
        for path in [*needed, *sorted((ROOT / "vitlib").rglob("*"))]:
            if path.is_file() and "__pycache__" not in path.parts:
                file.write(path, f"patchwork-main/{path.relative_to(ROOT)}")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "www")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_setup_fetches_vitlib_alone_and_twice_is_once(elsewhere, server, tmp_path):
    def here(text: str) -> str:
        return text.replace("https://github.com", server)

    first = elsewhere(here)
    assert first.returncode == 0, first.stderr
    assert re.fullmatch(r"Python 3\.\d+\.\d+, vitlib \S+, torch \S+, torchvision \S+\n", first.stdout), first.stdout
    put = {path.name for path in (tmp_path / "site").iterdir()} - {"bin"}
    assert put == {"vitlib", f"vitlib-{version('vitlib')}.dist-info"}, "something beside vitlib was installed"
    before = contents(tmp_path / "site")
    (tmp_path / "www" / "ada" / "patchwork" / "archive" / "main.zip").unlink()  # the second time nothing may be fetched
    second = elsewhere(here)
    assert (second.returncode, second.stdout) == (0, first.stdout), second.stderr
    assert contents(tmp_path / "site") == before


FAULTS = {  # what is changed in the cell, and what the reader is told
    "no address": ('"ada/patchwork"', '""', "vitlib, the book's package, is not installed; in the book's folder"),
    "no network": ("https://github.com", "http://127.0.0.1:9", "pip could not install vitlib @ http"),
    "old torch": ('here("torch")', '"2.8.0+cpu"', "newer, and here is 2.8.0+cpu; install it first"),
    "no torch": ('here("torch")', 'here("torsch")', "newer, and here is none; install it first"),
    "no torchvision": ('"torchvision", "numpy"', '"torchwision", "numpy"', "needs torchwision, and here is none;"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_setup_stops_with_one_clear_message(elsewhere, fault):
    old, new, message = FAULTS[fault]

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)
    result = elsewhere(change, PIP_RETRIES="0")
    assert result.returncode != 0 and result.stdout == ""
    assert message in result.stderr.split("RuntimeError: ", 1)[1], result.stderr
    assert "another exception" not in result.stderr


def test_setup_names_another_version_of_vitlib(elsewhere, tmp_path):
    (tmp_path / "site" / "vitlib").mkdir()
    (tmp_path / "site" / "vitlib" / "__init__.py").write_text('__version__ = "9.9"\n', encoding="utf-8")
    result = elsewhere()
    here = tmp_path / "site" / "vitlib"
    assert f"written for vitlib {version('vitlib')}, and here is 9.9, in {here}; in the book's folder" in result.stderr


NOT_INSTALLED = """
from importlib import metadata
def version(name, ask=metadata.version):
    if name == "vitlib":
        raise metadata.PackageNotFoundError(name)
    return ask(name)
metadata.version = version
"""  # the environment that runs the tests knows vitlib's version


def test_setup_works_in_a_copy_of_the_repository_where_nothing_is_installed(elsewhere, tmp_path):
    shutil.copytree(ROOT / "vitlib", tmp_path / "vitlib", ignore=shutil.ignore_patterns("zoo", "__pycache__"))
    result = elsewhere(lambda text: NOT_INSTALLED + text)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split(", ")[1] == f"vitlib {version('vitlib')}"
    assert not list((tmp_path / "site").iterdir()), "nothing had to be fetched"


def test_setup_names_a_folder_that_is_only_called_vitlib(elsewhere, tmp_path):
    (tmp_path / "vitlib").mkdir()
    result = elsewhere()
    assert f"and here is unknown, in {tmp_path / 'vitlib'}; in the book's folder" in result.stderr
    assert "another exception" not in result.stderr


def test_the_package_says_the_version_that_the_setup_cell_asks_for():
    assert vitlib.__version__ == version("vitlib")
