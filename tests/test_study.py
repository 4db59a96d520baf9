"""What the studies share: each run is kept, done runs are not repeated, and a record comes from one commit."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from common import pictures

from vitlib.checkpoint import ZOO

STUDIES = Path(__file__).parents[1] / "book" / "studies"


def tenth(number: int, dry: bool) -> dict:
    return {"validation_accuracy": number / 10, "dry": dry}


def refuse(number: int, dry: bool) -> dict:
    raise AssertionError(f"{number} was done already")


@pytest.fixture
def study(monkeypatch, tmp_path):
    """The module, with two pictures for data and its files in an empty folder."""
    monkeypatch.syspath_prepend(str(STUDIES))
    module = importlib.import_module("study")
    monkeypatch.setattr(module, "data", lambda dry: (pictures(9), pictures(3)))
    monkeypatch.setattr(sys, "argv", ["probe", "--workers", "1", "--work", str(tmp_path / "runs.json"),
                                      "--out", str(tmp_path / "record.json")])
    return module


JOBS = {"one": (1,), "two": (2,)}


def test_a_study_keeps_each_run_and_does_none_twice(study, tmp_path):
    study.collect("probe", tenth, JOBS, {"interval": "none"}, lambda runs: {"accuracy": runs})
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert record["accuracy"] == {"one": {"validation_accuracy": 0.1, "dry": False},
                                  "two": {"validation_accuracy": 0.2, "dry": False}}
    assert (record["training images"], record["validation images"], record["interval"]) == (9, 3, "none")
    assert set(json.loads((tmp_path / "runs.json").read_text(encoding="utf-8"))["runs"]) == set(JOBS)
    (tmp_path / "record.json").unlink()
    study.collect("probe", refuse, JOBS, {}, lambda runs: {"accuracy": runs})
    assert json.loads((tmp_path / "record.json").read_text(encoding="utf-8")) == record
    study.collect("probe", tenth, JOBS | {"three": (3,)}, {}, lambda runs: {"names": list(runs)})
    assert json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["names"] == ["one", "two", "three"]


def test_a_record_comes_from_one_commit(study, tmp_path):
    (tmp_path / "runs.json").write_text(json.dumps({"commit": "another", "runs": {}}), encoding="utf-8")
    with pytest.raises(ValueError, match="begun with commit another"):
        study.collect("probe", tenth, JOBS, {}, dict)


def half(number: int, dry: bool) -> dict:
    if number == 1:
        raise FloatingPointError("loss became nan")
    return tenth(number, dry)


def test_a_run_that_fails_takes_no_other_with_it(study, tmp_path, capsys):
    with pytest.raises(SystemExit, match="not done: one; .*runs.json keeps the rest"):
        study.collect("probe", half, JOBS, {}, lambda runs: {"accuracy": runs})
    assert "one failed: FloatingPointError('loss became nan')" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "runs.json").read_text(encoding="utf-8"))["runs"]) == ["two"]
    assert not (tmp_path / "record.json").exists()
    study.collect("probe", tenth, JOBS, {}, lambda runs: {"names": sorted(runs)})
    assert json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["names"] == ["one", "two"]


def test_a_dry_run_leaves_the_record_alone(study, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--dry"])
    study.collect("probe", tenth, {"one": (1,)}, {}, lambda runs: runs)
    assert [path.name for path in tmp_path.iterdir()] == ["runs-dry.json"]
    assert json.loads((tmp_path / "runs-dry.json").read_text(encoding="utf-8"))["runs"]["one"]["dry"] is True


KNOWN = ("bench", "clinic", "explanations", "inference", "loading", "lora", "mae", "mae_faults", "speed", "staircase",
         "stems", "steps", "transfer", "vit_cnn")


def test_the_list_names_every_study_and_no_helper():
    found = subprocess.run([sys.executable, STUDIES], capture_output=True, text=True, check=True).stdout
    for name in KNOWN:
        assert re.search(rf"^  {name} +\w", found, re.M), name
    assert not re.search(r"^  (study|bench_models|__main__) ", found, re.M)


def test_a_study_that_is_not_there_is_named():
    done = subprocess.run([sys.executable, STUDIES, "clinik"], capture_output=True, text=True)
    assert done.returncode == 1 and "no study 'clinik'; there are bench, clinic" in done.stderr


@pytest.mark.parametrize("name", KNOWN)
def test_each_study_says_what_it_takes(name):
    done = subprocess.run([sys.executable, STUDIES, name, "--help"], capture_output=True, text=True)
    if name == "bench" and "No module named" in done.stderr:
        pytest.skip("the bench needs other libraries: pip install -e '.[bench]'")
    assert done.returncode == 0 and f"{name} [-h]" in done.stdout, done.stderr


def test_a_record_of_a_study_names_the_command_that_repeats_it():
    commands = {path.stem: json.loads(path.read_text(encoding="utf-8")).get("about", "") for path in ZOO.glob("*.json")}
    commands = {name: command for name, command in commands.items() if command}
    assert len(commands) >= 4
    for name, command in commands.items():
        assert command == f"python book/studies {name}" and (STUDIES / f"{name}.py").is_file(), name


def test_runs_are_kept_as_they_come_and_taken_over_from_an_earlier_record(study, tmp_path):
    calls = []

    def run(number):
        calls.append(number)
        return {"accuracy": number}

    kept = study.Kept(tmp_path / "work.json", {"about": "a study"})
    assert kept("one", run, 1)["accuracy"] == 1 and kept("one", run, 2)["accuracy"] == 1 and calls == [1]
    assert "commit" in kept.record["runs"]["one"]
    again = study.Kept(tmp_path / "work.json", {"about": "a study"})
    assert again("one", run, 3)["accuracy"] == 1 and calls == [1]
    elsewhere = study.Kept(tmp_path / "new.json", {"about": "a study"}, tmp_path / "work.json")
    assert elsewhere("one", run, 4)["accuracy"] == 1 and elsewhere("two", run, 5)["accuracy"] == 5 and calls == [1, 5]
    text = (tmp_path / "new.json").read_text(encoding="utf-8")
    (tmp_path / "new.json").write_text(re.sub(r'"torch": "[^"]+"', '"torch": "1.0"', text), encoding="utf-8")
    with pytest.raises(ValueError, match="begun with torch 1.0"):
        study.Kept(tmp_path / "new.json", {"about": "a study"})
