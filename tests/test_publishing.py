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
TARGETS = set(re.findall(r"(?m)^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8")))


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
    lines = re.findall(r"uses: .*", WORKFLOWS[name].read_text(encoding="utf-8"))
    assert lines
    for line in lines:
        assert re.fullmatch(r"uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_is_the_same_everywhere():
    lines = {line for path in WORKFLOWS.values() for line in re.findall(r"uses: .*", path.read_text(encoding="utf-8"))}
    assert len(lines) == len({line.split("@")[0] for line in lines}), sorted(lines)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_and_a_job_adds_what_it_needs(name):
    workflow = yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    added = {job: body["permissions"] for job, body in workflow["jobs"].items() if "permissions" in body}
    publishing = {"edition": {"contents": "write"}, "publish": {"pages": "write", "id-token": "write"}}
    assert added == {"release.yml": publishing, "weekly.yml": {"report": {"issues": "write"}}}.get(name, {})
    assert "pull_request_target" not in WORKFLOWS[name].read_text(encoding="utf-8")
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_steps_are_make_targets_that_exist(name):
    runs = [step["run"] for job in yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))["jobs"].values()
            for step in job["steps"] if "run" in step]
    assert runs
    for run in runs:
        assert "${{" not in run, f"a value is pasted into a script: {run}"
        if not run.lstrip().startswith("gh "):  # releases and issues are GitHub's own affair
            match = re.match(r"make ([a-z-]+)", run)
            assert match, run
            assert match[1] in TARGETS, run


def test_every_promised_python_is_tested():
    jobs = yaml.safe_load(WORKFLOWS["tests.yml"].read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["notebooks"]["strategy"]["matrix"]
    floor = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]
    assert matrix["python"][0] == floor
    assert matrix["torch"] == ["oldest", "newest"]


def test_the_linter_finds_a_planted_fault(tmp_path):
    zizmor = Path(sys.executable).with_name("zizmor")
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    for name, path in WORKFLOWS.items():
        text = path.read_text(encoding="utf-8").replace("contents: read", "contents: write")
        text = text.replace('"$WHICH"', "${{ github.head_ref }}")
        (folder / name).write_text(re.sub(r"@[0-9a-f]{40} # v", "@v", text), encoding="utf-8")
    result = subprocess.run([zizmor, "--offline", "--quiet", tmp_path], capture_output=True, text=True)
    assert result.returncode != 0
    for fault in ("unpinned-uses", "excessive-permissions", "template-injection"):
        assert fault in result.stdout, fault


def test_dev_container_and_binder_call_what_exists():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert re.fullmatch(r"make ([a-z-]+)", container["postCreateCommand"])[1] in TARGETS
    assert re.search(r":3\.1[1-9]-", container["image"])
    listed = (ROOT / ".binder" / "requirements.txt").read_text(encoding="utf-8")
    for name in re.findall(r"(?m)^-r (.+)$", listed):
        assert (ROOT / ".binder" / name).is_file()
    assert (ROOT / ".binder" / "postBuild").stat().st_mode & 0o111, "Binder runs postBuild only where it may"


def test_jupyterlab_has_what_the_chapters_show():
    """The sliders need the widgets' extension, and it must fit this JupyterLab. The chapters use nothing else."""
    folder = Path(sys.prefix, "share", "jupyter", "labextensions", "@jupyter-widgets", "jupyterlab-manager")
    extension = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    assert extension["dependencies"]["@jupyterlab/application"] == f"^{version('jupyterlab').split('.')[0]}.0.0"
    directive = re.compile(r"^(:::|```\{)|\{[a-z]+(:[a-z]+)?\}`", re.M)
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            found = cell["cell_type"] == "markdown" and directive.search("".join(cell["source"]))
            assert not found, f"{path.name}: {found[0]!r} shows as raw text in Colab and JupyterLab"


def test_editions_are_kept_and_published_together(tmp_path):
    editions = load("editions")
    (tmp_path / "_build" / "html" / "book").mkdir(parents=True)
    (tmp_path / "_build" / "patchwork.pdf").write_bytes(b"%PDF-")
    (tmp_path / "dist" / "archive").mkdir(parents=True)
    for tag in ("v1.0", "v1.1"):
        (tmp_path / "_build" / "html" / "index.html").write_text(f"edition {tag}", encoding="utf-8")
        (tmp_path / "_build" / "html" / "book" / "intro.html").write_text(tag, encoding="utf-8")
        shutil.copy(editions.pack(tmp_path, tag), tmp_path / "dist" / "archive")
    kept = editions.pages(tmp_path)
    assert [name.split("-")[1] for name in kept] == ["v1.1", "v1.0"]
    out = tmp_path / "_build" / "pages"
    assert (out / "index.html").read_text(encoding="utf-8") == "edition v1.1"
    assert (out / "patchwork.pdf").is_file()
    first_pages = [(out / "archive" / name / "index.html").read_text(encoding="utf-8") for name in kept]
    assert first_pages == ["edition v1.1", "edition v1.0"]
    listed = (out / "archive" / "index.html").read_text(encoding="utf-8")
    assert all((out / "archive" / link).is_file() for link in re.findall('href="([^"]+)"', listed))
    with pytest.raises(SystemExit, match="cannot name an edition"):
        editions.pack(tmp_path, "../v1")
    shutil.copy(tmp_path / "dist" / "archive" / f"{kept[0]}.zip", tmp_path / "dist" / "archive" / "other.zip")
    with pytest.raises(SystemExit, match="is no edition"):
        editions.pages(tmp_path)


def test_the_citation_and_the_package_have_one_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"(?m)^version: (\S+)$", citation)[1] == version("vitlib")


def test_corners_are_read_from_the_promise(tmp_path):
    corners = load("corners")
    assert corners.torch_wanted("oldest") == "torch==2.9.0"
    assert corners.torch_wanted("newest") == "torch"
    with pytest.raises(ValueError, match="'2.9' is no version of PyTorch; expected oldest, newest"):
        corners.torch_wanted("2.9")
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite><testcase classname="01_images" name="01_images::Cell 0"/>'
                      '<testcase classname="02_patches" name="02_patches::Cell 3"><failure/></testcase>'
                      '</testsuite></testsuites>', encoding="utf-8")
    assert corners.results(report) == {"01_images": [], "02_patches": ["02_patches::Cell 3"]}


def test_a_corner_that_left_no_report_did_not_run(tmp_path):
    assert load("corners").results(tmp_path / "report.xml") == {}


ROW = {"python": "3.11.7", "torch": "2.9.0+cpu", "passed": 1, "notebooks": 1, "failed": {}}


def test_a_corner_is_put_into_the_record_and_the_record_is_whole_at_any_moment(tmp_path, monkeypatch):
    corners, record = load("corners"), tmp_path / "corners.json"
    corners.keep(record, ROW)
    corners.keep(record, ROW | {"python": "3.13.1"})
    corners.keep(record, ROW | {"passed": 0})
    before = record.read_bytes()
    assert [row["passed"] for row in corners.kept_rows(record)] == [0, 1]
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        corners.keep(record, ROW)
    assert record.read_bytes() == before and list(tmp_path.iterdir()) == [record]


def test_a_record_that_is_none_is_named_before_the_work(tmp_path, monkeypatch):
    corners, record = load("corners"), tmp_path / "corners.json"
    record.write_text('{"corners": [', encoding="utf-8")
    folder = tmp_path / "mine"
    (folder / "one").mkdir(parents=True)  # a folder of the user's, in the place for the environments
    monkeypatch.setattr(sys, "argv", ["corners.py", "--record", str(record), "--folder", str(folder)])
    monkeypatch.setattr(corners.subprocess, "run", lambda *_, **__: pytest.fail("work began"))
    with pytest.raises(SystemExit, match="corners.json is no record of corners"):
        corners.main()
    assert (folder / "one").is_dir()


def test_a_corner_that_cannot_be_made_ends_in_one_message_and_leaves_other_folders(tmp_path, monkeypatch):
    corners = load("corners")
    for name in ("one", "wheel"):
        (tmp_path / name).mkdir()
    (tmp_path / "some.whl").touch()
    monkeypatch.setattr(sys, "argv", ["corners.py", "--record", str(tmp_path / "r.json"), "--folder", str(tmp_path),
                                      "--wheel", str(tmp_path / "some.whl"), "--python", sys.executable])
    real = subprocess.run
    def run(command, **settings):
        if "venv" in command:
            return real([sys.executable, "-c", "raise SystemExit(1)"], **settings)
        return real(command, **settings)
    monkeypatch.setattr(corners.subprocess, "run", run)
    with pytest.raises(SystemExit, match="corners.py: this command failed, and said why above: "):
        corners.main()
    assert {path.name for path in tmp_path.iterdir()} == {"one", "wheel", "some.whl"}


def test_a_student_edition_writes_over_nothing_of_anybodys(tmp_path):
    student = load("student")
    student.main([str(tmp_path)])
    chapter = next(iter(sorted(tmp_path.glob("*.ipynb"))))
    student.main([str(tmp_path)])  # the same again changes nothing
    chapter.write_text("my notes", encoding="utf-8")
    with pytest.raises(SystemExit, match=f"files of these names with other contents: {chapter.name}; choose another"):
        student.main([str(tmp_path)])
    assert chapter.read_text(encoding="utf-8") == "my notes"
    student.main([str(tmp_path), "--replace"])
    assert json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    with pytest.raises(SystemExit, match="holds the chapters themselves"):
        student.main([str(ROOT / "notebooks"), "--replace"])


def test_pages_are_left_alone_where_there_is_no_site_or_an_archive_is_damaged(tmp_path):
    editions = load("editions")
    (tmp_path / "_build" / "pages").mkdir(parents=True)
    old = tmp_path / "_build" / "pages" / "index.html"
    old.write_text("published", encoding="utf-8")
    with pytest.raises(SystemExit, match="there is no site in .*run `make book` first"):
        editions.pages(tmp_path)
    (tmp_path / "_build" / "html").mkdir()
    (tmp_path / "_build" / "html" / "index.html").write_text("new", encoding="utf-8")
    (tmp_path / "dist" / "archive").mkdir(parents=True)
    (tmp_path / "dist" / "archive" / "patchwork-v1-2026-01-01.zip").write_bytes(b"half a zip")
    with pytest.raises(SystemExit, match="is damaged; fetch it again"):
        editions.pages(tmp_path)
    assert old.read_text(encoding="utf-8") == "published"


def test_an_edition_is_packed_whole_or_not_at_all(tmp_path, monkeypatch):
    editions = load("editions")
    (tmp_path / "_build" / "html").mkdir(parents=True)
    (tmp_path / "_build" / "html" / "index.html").write_text("one", encoding="utf-8")
    (tmp_path / "_build" / "patchwork.pdf").write_bytes(b"%PDF-")
    packed = editions.pack(tmp_path, "v1.0").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(editions.zipfile.ZipFile, "write", full)
    with pytest.raises(OSError, match="No space left"):
        editions.pack(tmp_path, "v1.0")
    assert next((tmp_path / "dist").glob("*.zip")).read_bytes() == packed
    assert len(list((tmp_path / "dist").iterdir())) == 2


def test_the_page_of_timings_is_filled():
    timings = load("../extensions/patchwork_timings")
    page = [(ROOT / "book" / "timings.md").read_text(encoding="utf-8")]
    timings.fill(None, "book/timings", page)
    assert "<!--" not in page[0]
    assert f"| torch | {version('torch')} |" in page[0]
    rows = json.loads((ROOT / "book" / "corners.json").read_text(encoding="utf-8"))["corners"]
    assert rows
    for row in rows:
        assert row["passed"] == row["notebooks"], f"{row['python']} with {row['torch']}: {row['failed']}"
        line = next(line for line in page[0].splitlines() if f"| {row['python']} | {row['torch']} |" in line)
        missing = len(list((ROOT / "notebooks").glob("*.ipynb"))) - row["notebooks"]
        later = f", before {missing} more came" if missing else ""
        assert line.endswith(f"| {row['passed']} of {row['notebooks']}{later} |")
    with pytest.raises(ValueError, match="has no <!-- this build -->"):
        timings.fill(None, "book/timings", ["no marks"])
