"""What publishes the book: workflows that can be trusted and that only call make, containers, kept editions."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = {path.name: path for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
TARGETS = set(re.findall(r"(?m)^([a-z-]+):.*## ", (ROOT / "Makefile").read_text()))


def load(name: str):
    spec = importlib.util.spec_from_file_location(Path(name).name, ROOT / "book" / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def test_there_are_workflows():
    assert set(WORKFLOWS) == {"preview.yml", "release.yml", "tests.yml", "weekly.yml"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_and_their_version_is_told(name):
    lines = re.findall(r"uses: .*", WORKFLOWS[name].read_text())
    assert lines
    for line in lines:
        assert re.fullmatch(r"uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_is_the_same_everywhere():
    lines = {line for path in WORKFLOWS.values() for line in re.findall(r"uses: .*", path.read_text())}
    assert len(lines) == len({line.split("@")[0] for line in lines}), sorted(lines)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_and_a_job_adds_what_it_needs(name):
    workflow = yaml.safe_load(WORKFLOWS[name].read_text())
    assert workflow["permissions"] == {"contents": "read"}
    added = {job: body["permissions"] for job, body in workflow["jobs"].items() if "permissions" in body}
    publishing = {"edition": {"contents": "write"}, "publish": {"pages": "write", "id-token": "write"}}
    assert added == {"release.yml": publishing, "weekly.yml": {"report": {"issues": "write"}}}.get(name, {})
    assert "pull_request_target" not in WORKFLOWS[name].read_text()
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_steps_are_make_targets_that_exist(name):
    runs = [step["run"] for job in yaml.safe_load(WORKFLOWS[name].read_text())["jobs"].values()
            for step in job["steps"] if "run" in step]
    assert runs
    for run in runs:
        assert "${{" not in run, f"a value is pasted into a script: {run}"
        if not run.lstrip().startswith("gh "):  # releases and issues are GitHub's own affair
            match = re.match(r"make ([a-z-]+)", run)
            assert match, run
            assert match[1] in TARGETS, run


def test_every_promised_python_is_tested():
    matrix = yaml.safe_load(WORKFLOWS["tests.yml"].read_text())["jobs"]["notebooks"]["strategy"]["matrix"]
    floor = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert matrix["python"][0] == floor
    assert matrix["torch"] == ["oldest", "newest"]


def test_the_linter_finds_a_planted_fault(tmp_path):
    zizmor = Path(sys.executable).with_name("zizmor")
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    for name, path in WORKFLOWS.items():
        text = path.read_text().replace("contents: read", "contents: write")
        text = text.replace('"$WHICH"', "${{ github.head_ref }}")
        (folder / name).write_text(re.sub(r"@[0-9a-f]{40} # v", "@v", text))
    result = subprocess.run([zizmor, "--offline", "--quiet", tmp_path], capture_output=True, text=True)
    assert result.returncode != 0
    for fault in ("unpinned-uses", "excessive-permissions", "template-injection"):
        assert fault in result.stdout, fault


def test_dev_container_and_binder_call_what_exists():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert re.fullmatch(r"make ([a-z-]+)", container["postCreateCommand"])[1] in TARGETS
    assert re.search(r":3\.1[1-9]-", container["image"])
    listed = (ROOT / ".binder" / "requirements.txt").read_text()
    for name in re.findall(r"(?m)^-r (.+)$", listed):
        assert (ROOT / ".binder" / name).is_file()
    assert (ROOT / ".binder" / "postBuild").stat().st_mode & 0o111, "Binder runs postBuild only where it may"


def test_jupyterlab_has_what_the_chapters_show():
    """The sliders need the widgets' extension, and it must fit this JupyterLab. The chapters use nothing else."""
    folder = Path(sys.prefix, "share", "jupyter", "labextensions", "@jupyter-widgets", "jupyterlab-manager")
    extension = json.loads((folder / "package.json").read_text())
    assert extension["dependencies"]["@jupyterlab/application"] == f"^{version('jupyterlab').split('.')[0]}.0.0"
    directive = re.compile(r"^(:::|```\{)|\{[a-z]+(:[a-z]+)?\}`", re.M)
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            found = cell["cell_type"] == "markdown" and directive.search("".join(cell["source"]))
            assert not found, f"{path.name}: {found[0]!r} shows as raw text in Colab and JupyterLab"


def test_editions_are_kept_and_published_together(tmp_path):
    editions = load("editions")
    (tmp_path / "_build" / "html" / "book").mkdir(parents=True)
    (tmp_path / "_build" / "patchwork.pdf").write_bytes(b"%PDF-")
    (tmp_path / "dist" / "archive").mkdir(parents=True)
    for tag in ("v1.0", "v1.1"):
        (tmp_path / "_build" / "html" / "index.html").write_text(f"edition {tag}")
        (tmp_path / "_build" / "html" / "book" / "intro.html").write_text(tag)
        shutil.copy(editions.pack(tmp_path, tag), tmp_path / "dist" / "archive")
    kept = editions.pages(tmp_path)
    assert [name.split("-")[1] for name in kept] == ["v1.1", "v1.0"]
    out = tmp_path / "_build" / "pages"
    assert (out / "index.html").read_text() == "edition v1.1"
    assert (out / "patchwork.pdf").is_file()
    assert [(out / "archive" / name / "index.html").read_text() for name in kept] == ["edition v1.1", "edition v1.0"]
    listed = (out / "archive" / "index.html").read_text()
    assert all((out / "archive" / link).is_file() for link in re.findall('href="([^"]+)"', listed))
    with pytest.raises(SystemExit, match="cannot name an edition"):
        editions.pack(tmp_path, "../v1")
    shutil.copy(tmp_path / "dist" / "archive" / f"{kept[0]}.zip", tmp_path / "dist" / "archive" / "other.zip")
    with pytest.raises(SystemExit, match="is no edition"):
        editions.pages(tmp_path)


def test_the_citation_and_the_package_have_one_version():
    assert re.search(r"(?m)^version: (\S+)$", (ROOT / "CITATION.cff").read_text())[1] == version("vitlib")


def test_corners_are_read_from_the_promise(tmp_path):
    corners = load("corners")
    assert corners.torch_wanted("oldest") == "torch==2.9.0"
    assert corners.torch_wanted("newest") == "torch"
    with pytest.raises(ValueError, match="'2.9' is no version of PyTorch; expected oldest, newest"):
        corners.torch_wanted("2.9")
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite><testcase classname="01_images" name="01_images::Cell 0"/>'
                      '<testcase classname="02_patches" name="02_patches::Cell 3"><failure/></testcase>'
                      '</testsuite></testsuites>')
    assert corners.results(report) == {"01_images": [], "02_patches": ["02_patches::Cell 3"]}


def test_the_page_of_timings_is_filled():
    timings = load("../extensions/patchwork_timings")
    page = [(ROOT / "book" / "timings.md").read_text()]
    timings.fill(None, "book/timings", page)
    assert "<!--" not in page[0]
    assert f"| torch | {version('torch')} |" in page[0]
    rows = json.loads((ROOT / "book" / "corners.json").read_text())["corners"]
    assert rows
    for row in rows:
        assert row["passed"] == row["notebooks"], f"{row['python']} with {row['torch']}: {row['failed']}"
        line = next(line for line in page[0].splitlines() if f"| {row['python']} | {row['torch']} |" in line)
        missing = len(list((ROOT / "notebooks").glob("*.ipynb"))) - row["notebooks"]
        later = f", before {missing} more came" if missing else ""
        assert line.endswith(f"| {row['passed']} of {row['notebooks']}{later} |")
    with pytest.raises(ValueError, match="has no <!-- this build -->"):
        timings.fill(None, "book/timings", ["no marks"])
