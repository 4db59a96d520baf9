"""What the studies share: each run is kept, done runs are not repeated, and a record comes from one commit."""

import importlib
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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


def test_a_partial_record_trains_nothing_and_names_what_is_not_done(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--partial"])
    kept = {"commit": "of the runs", "torch": "1.0", "data": "d", "training images": 9, "interval": "none",
            "runs": {"two": {"validation_accuracy": 0.2}}}
    (tmp_path / "runs.json").write_text(json.dumps(kept), encoding="utf-8")
    study.collect("probe", refuse, JOBS | {"three": (3,)}, {}, lambda runs: {"accuracy": runs})
    assert "failed" not in capsys.readouterr().out  # as it would say of a run that `refuse` has stopped
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    del kept["runs"]
    assert record == kept | {"accuracy": {"two": {"validation_accuracy": 0.2}}, "not done": ["one", "three"]}
    assert json.loads((tmp_path / "runs.json").read_text(encoding="utf-8"))["runs"] == record["accuracy"]  # unchanged
    study.collect("probe", refuse, {"two": (2,)}, {}, lambda runs: {"accuracy": runs})
    assert "not done" not in json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))


def test_a_partial_record_of_nothing_is_not_written_over_another(study, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--partial"])
    (tmp_path / "record.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit, match="nothing is done yet: there are no runs in .*runs.json"):
        study.collect("probe", refuse, JOBS, {}, lambda runs: {"accuracy": runs})
    assert (tmp_path / "record.json").read_text(encoding="utf-8") == "{}"


def where(number: int, dry: bool, device: str) -> dict:
    return {"validation_accuracy": number / 10, "device": device}


@pytest.mark.parametrize(("arguments", "device"), [([], "cpu"), (["--device", "meta"], "meta")])
def test_a_study_for_a_gpu_hands_the_device_to_each_run(study, tmp_path, monkeypatch, arguments, device):
    monkeypatch.setattr(sys, "argv", [*sys.argv, *arguments])
    asked = []
    monkeypatch.setattr(study, "ProcessPoolExecutor", lambda workers, context: ThreadPoolExecutor(workers))
    monkeypatch.setattr(study, "environment", lambda *on: asked.append(on) or {"commit": "c", "torch": "t"})
    study.collect("probe", where, {"one": (1,)}, {}, lambda runs: {"accuracy": runs}, on_gpu=True)
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert record["accuracy"]["one"]["device"] == device and asked == [(device,)]  # the record's machine is that one


def test_a_study_without_a_gpu_has_no_such_option(study, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--device", "cuda"])
    with pytest.raises(SystemExit):
        study.collect("probe", tenth, JOBS, {}, lambda runs: runs)
    assert "unrecognized arguments: --device cuda" in capsys.readouterr().err


KNOWN = ("bench", "clinic", "clinic_short", "explanations", "family", "family_costs", "inference", "loading", "lora",
         "mae", "mae_faults", "speed", "staircase", "stems", "steps", "transfer", "vit_cnn")


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


@pytest.fixture
def family(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))
    return importlib.import_module("family")


def test_the_family_asks_for_no_run_twice_and_for_teachers_first(family):
    jobs = family.wanted()
    alike = {(name, "few" if arm == "few images" else "all", count, seed) for name, arm, count, seed in jobs.values()}
    assert len(alike) == len(jobs)  # a teacher has fewer passes than any other ResNet
    assert list(jobs)[:3] == [f"teacher, seed {seed}" for seed in (0, 1, 2)]
    for text, (name, arm, count, seed) in list(jobs.items())[3:]:
        assert text.startswith(f"{name}, ") and text.endswith(f", seed {seed}") and count > 0
        assert family.title(name, arm, count, seed) == text
    assert family.title("four registers", "equal time", 11, 0) == "four registers, equal passes, seed 0"  # the same run
    assert family.title("four registers", "equal time", 10, 0) == "four registers, equal time, seed 0"
    assert family.title("DeiT, hard", "equal time", 11, 0) == "DeiT, hard, equal time, seed 0"
    assert family.title("plain ViT", "few images", 110, 1) == "plain ViT, few images, seed 1"


def test_equal_time_is_as_many_passes_as_cost_what_the_plain_ones_cost(family):
    costs = json.loads((ZOO / "family_costs.json").read_text(encoding="utf-8"))["contenders"]
    passes = family.passes()
    assert set(passes) == {"equal passes", "equal time", "few images"}
    assert passes["equal passes"] == dict.fromkeys(family.CONTENDERS, 11)
    assert set(passes["equal time"]) == set(costs) - {"plain ViT"} and set(costs) == set(family.CONTENDERS)
    for name, count in passes["equal time"].items():
        lessons = 5 * costs["narrow ResNet-18"]["ratio"] if "DeiT" in name else 0
        assert abs(count * costs[name]["ratio"] + lessons - 11) <= costs[name]["ratio"] / 2 + 1e-9, name
    assert passes["few images"] == dict.fromkeys(family.FEW_IMAGES, 110)  # a tenth of the images, as many steps


def made_up(accuracy):
    return {"validation_accuracy": accuracy, "train_accuracy": accuracy + 0.1, "seconds": 2.0}


def test_the_familys_summary_leaves_out_what_is_not_done_and_one_run_has_no_interval(family):
    runs = {f"plain ViT, equal passes, seed {seed}": made_up(0.5 + 0.1 * seed) for seed in (0, 1, 2)}
    runs |= {"four registers, equal passes, seed 2": made_up(0.75)}
    runs |= {f"windows, equal passes, seed {seed}": made_up(0.6 + 0.1 * seed + 0.01 * seed) for seed in (0, 1)}
    runs |= {"plain ViT, few images, seed 1": made_up(0.3), "residual stem, few images, seed 1": made_up(0.4),
             "teacher, seed 1": made_up(0.8)}
    summary = family.summarise(runs)
    arms = summary["arms"]
    assert {arm: list(rows) for arm, rows in arms.items()} == {
        "equal passes": ["plain ViT", "four registers", "windows"], "equal time": [],
        "few images": ["plain ViT", "residual stem"]}
    assert summary["teacher"] == {"passes": 5, "accuracy": [0.8]}
    assert arms["equal passes"]["four registers"] == {
        "passes": 11, "seeds": [2], "accuracy": [0.75], "train_accuracy": [0.85], "seconds": [2.0],
        "over the plain ViT": {"mean": pytest.approx(5.0)}}  # 0.75 - 0.7, of the same seed; no class token, no interval
    over = arms["equal passes"]["windows"]["over the plain ViT"]
    assert over["mean"] == pytest.approx(10.5) and over["interval_95"] == pytest.approx([10.5 - 6.353, 10.5 + 6.353])
    assert arms["few images"]["residual stem"]["over the plain ViT"] == {"mean": pytest.approx(10.0)}  # with as few
    assert family.summarise({})["arms"] == {"equal passes": {}, "equal time": {}, "few images": {}}


def test_the_familys_record_is_what_its_own_runs_say(family):
    """The runs are put together again from the rows of the record, and summarised anew."""
    record, runs = json.loads((ZOO / "family.json").read_text(encoding="utf-8")), {}
    for arm, rows in record["arms"].items():
        for name, row in rows.items():
            columns = zip(row["seeds"], row["accuracy"], row["train_accuracy"], row["seconds"], strict=True)
            for seed, accuracy, train_accuracy, seconds in columns:
                one = {"validation_accuracy": accuracy, "train_accuracy": train_accuracy, "seconds": seconds}
                text = family.title(name, arm, row["passes"], seed)
                assert runs.setdefault(text, one) == one, text  # one run that stands in two arms is the same in both
    teachers = record["teacher"]["accuracy"]
    runs |= {f"teacher, seed {seed}": made_up(accuracy) for seed, accuracy in enumerate(teachers)}
    summary = json.loads(json.dumps(family.summarise(runs)))
    for key, value in summary.items():
        assert record[key] == value, key
    assert set(record.get("not done", [])) == family.wanted().keys() - runs.keys()
    assert runs.keys() <= family.wanted().keys()
    assert (record["seeds"], record["training images"], record["validation images"]) == ([0, 1, 2], 45000, 5000)
