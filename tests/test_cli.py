"""`python -m vitlib train`, as a person at a terminal meets it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest
import torch
from common import TINY, pictures, randomise, write_folder

from vitlib import cli, devices, sources
from vitlib.checkpoint import load_checkpoint, load_weights
from vitlib.cli import main
from vitlib.cli import test_scores as scores_on
from vitlib.folders import load_folder
from vitlib.recipes import RECIPES
from vitlib.shapes import shapes
from vitlib.train import evaluate
from vitlib.vit import ViT

pytestmark = pytest.mark.usefixtures("home")
SMALL = ["batch_size=6", "dim=16", "depth=1", "heads=2", "epochs=2"]


@pytest.fixture
def data(tmp_path):
    for part in ("train", "test"):
        write_folder(tmp_path / "pets" / part, count=9, size=(32, 32))
    return tmp_path / "pets"


def start(*arguments):
    command = [sys.executable, "-m", "vitlib", "train", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # one order of sums in every process
    heard = None if os.name == "nt" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job may ignore it
    return subprocess.Popen(command, cwd=Path(__file__).parent.parent, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heard)


def test_help_explains_every_option_and_recipe():
    process = start("--help")
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    for word in ("RECIPE", "--out", "--data", "--seed", "--validation", "--resume", "--device", "--set", "cifar10"):
        assert word in out


def test_training_keeps_freed_memory_where_the_c_library_can(monkeypatch):
    asked = []
    limit = 2**30  # older libraries refuse more than 32 MiB for the second option
    library = SimpleNamespace(mallopt=lambda option, value: asked.append((option, value)) or value <= limit)
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: library)
    for system, expected in (("linux", [(-1, 2**31 - 1), (-3, 2**30)]), ("darwin", []), ("win32", [])):
        asked.clear()
        monkeypatch.setattr(devices.sys, "platform", system)
        devices.keep_memory()
        assert asked == expected  # options of glibc's malloc.h
    limit = 2**25
    monkeypatch.setattr(devices.sys, "platform", "linux")
    devices.keep_memory()
    assert asked == [(-1, 2**31 - 1), (-3, 2**30), (-3, 2**25)]
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: SimpleNamespace())  # musl has no mallopt
    monkeypatch.setattr(devices.sys, "platform", "linux")
    devices.keep_memory()


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
def test_under_torchrun_a_request_to_stop_ends_with_advice_whoever_catches_exceptions():
    code = """
        import os, signal
        from vitlib import cli, devices, sources

        def run(*_):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except BaseException:
                print("went on")

        cli.run_recipe = run
        cli.main(["train", "shapes-quick"])"""
    found = subprocess.run([sys.executable, "-c", dedent(code)], env=os.environ | {"TORCHELASTIC_RUN_ID": "1"},
                           cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "") and "last checkpoint is kept" in found.stderr, found.stderr
    assert "--resume" in found.stderr


def test_a_run_writes_weights_and_a_record_that_agree(data, tmp_path, capsys):
    out = tmp_path / "out"
    main(["train", "shapes-quick", "--data", str(data), "--out", str(out), "--seed", "3", "--set", *SMALL])
    record = json.loads((out / "record.json").read_text(encoding="utf-8"))
    model = load_weights(out / "weights.safetensors")
    assert record["model"]["classes"] == 2
    assert (record["model"]["dim"], record["train"]["epochs"], record["train"]["seed"]) == (16, 2, 3)
    assert (record["data"], record["training images"], record["classes"]) == ("pets", 18, ["cat", "dog"])
    assert record["parameters"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert [row["epoch"] for row in record["history"]] == [1, 2]
    assert sum(map(sum, record["confusion"])) == 18
    assert record["test"]["accuracy"] == pytest.approx((record["confusion"][0][0] + record["confusion"][1][1]) / 18)
    assert evaluate(model, load_folder(data / "test"))["loss"] == pytest.approx(record["test"]["loss"], abs=1e-2)
    assert f"test accuracy {record['test']['accuracy']:.2%}" in capsys.readouterr().out


@pytest.mark.parametrize(("source", "name"), [("shapes", "Shapes"), ("shapes-scattered", "Shapes, scattered")])
def test_drawn_images_come_from_their_source_in_the_models_size_with_a_seed_for_each_part(monkeypatch, source, name):
    asked = []

    def few(count, seed, **options):
        asked.append((count, seed))
        return shapes(20, seed, **options)

    monkeypatch.setattr(sources, "shapes", few)
    train, test = sources.load_data(source, 16)
    assert asked == [(10_000, 1), (2_000, 2)]
    for part, seed in ((train, 1), (test, 2)):
        assert part.name == name
        assert torch.equal(part.images, shapes(20, seed, 16, scattered=source != "shapes").images)


@pytest.mark.parametrize(("arguments", "name"), [
    (["shapes-quick"], "Shapes"), (["shapes-quick", "--data", "shapes-scattered"], "Shapes, scattered"),
    (["shapes-scattered"], "Shapes, scattered"), (["shapes-scattered", "--data", "shapes"], "Shapes")])
def test_the_record_says_which_shapes_were_drawn(monkeypatch, tmp_path, arguments, name):
    monkeypatch.setattr(sources, "shapes", lambda count, seed, **options: shapes(20, seed, **options))
    main(["train", *arguments, "--out", str(tmp_path / "out"), "--set", *SMALL, "epochs=1"])
    assert json.loads((tmp_path / "out" / "record.json").read_text(encoding="utf-8"))["data"] == name


def test_every_recipes_data_is_one_that_the_help_names(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    named = capsys.readouterr().out.split("--data", 2)[2].split("--seed")[0]
    assert {recipe.data for recipe in RECIPES.values()} <= {word.strip(",") for word in named.split()}


def test_confusion_counts_have_the_truth_in_rows():
    data = pictures(10)
    confusion = torch.tensor(scores_on(randomise(ViT(TINY), 0.3).eval(), data)["confusion"])
    assert confusion.sum(1).tolist() == [4, 3, 3]
    assert confusion.sum(0).tolist() != [4, 3, 3]


def test_with_a_validation_share_the_test_set_stays_shut(data, tmp_path):
    out = tmp_path / "out"
    main(["train", "shapes-quick", "--data", str(data), "--out", str(out), "--validation", "0.3", "--set", *SMALL])
    record = json.loads((out / "record.json").read_text(encoding="utf-8"))
    assert "test" not in record
    assert record["training images"] == 12
    assert "validation_accuracy" in record["history"][0]


def test_results_are_not_overwritten_unasked(data, tmp_path):
    arguments = ["train", "shapes-quick", "--data", str(data), "--out", str(tmp_path / "out"), "--set", *SMALL]
    main(arguments)
    before = (tmp_path / "out" / "checkpoint.pt").read_bytes()
    with pytest.raises(SystemExit, match="out/checkpoint.pt is already there; add --resume .* another --out"):
        main(arguments)
    assert (tmp_path / "out" / "checkpoint.pt").read_bytes() == before
    with pytest.raises(SystemExit, match="was made with dim=16, not 32"):
        main([*arguments, "dim=32", "--resume"])


@pytest.mark.parametrize(("change", "words"), [
    ("colour=3", "--set cannot change colour; it can change "), ("epochs", "epochs= does not read as int, such as 10"),
    ("lr=fast", "lr=fast does not read as float"), ("flip=maybe", "flip=maybe does not read as bool"),
    ("dim=17", "dim 17 .* 2 heads"), ("lr=-1", "lr must be positive, got -1"), ("pool=max", "'max' is not one of cls"),
    ("optimizer=sgd", "optimizer='sgd' is not one of adamw, muon")])
def test_a_wrong_setting_ends_with_one_clear_line(data, tmp_path, change, words):
    with pytest.raises(SystemExit, match=f"^vitlib train: .*{words}"):
        main(["train", "shapes-quick", "--data", str(data), "--out", str(tmp_path / "out"), "--set", *SMALL, change])


def test_a_missing_folder_and_an_unknown_recipe_are_named(tmp_path, capsys):
    with pytest.raises(SystemExit, match=f"vitlib train: there is no folder {tmp_path}/none/train"):
        main(["train", "shapes-quick", "--data", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="2"):
        main(["train", "imagenet-giant"])
    assert "imagenet-giant" in capsys.readouterr().err


def test_alone_the_package_prints_its_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        main([])
    shown = capsys.readouterr().out
    assert "usage: python -m vitlib" in shown and "train a recipe" in shown


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda", "cuda:7", "nonsense", ""])
def test_a_device_that_is_not_there_ends_with_one_clear_line(monkeypatch, name):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    with pytest.raises(SystemExit, match=f"^vitlib train: PyTorch finds no device '{name}' on this .* it finds cpu$"):
        main(["train", "shapes-quick", "--device", name])


@pytest.mark.parametrize("share", ["2", "1", "-0.1", "nan"])
def test_a_validation_share_that_is_none_ends_with_one_clear_line(share):
    with pytest.raises(SystemExit, match=f"^vitlib train: --validation is a share .*0 and 1, got {float(share)}$"):
        main(["train", "shapes-quick", "--validation", share])


def test_a_place_that_cannot_hold_results_is_named_before_the_training(data, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "fit", lambda *_: pytest.fail("the training began"))
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "deep" / "out"):
        with pytest.raises(SystemExit, match=f"^vitlib train: results cannot be written to {out}: {tmp_path}/file is"):
            main(["train", "shapes-quick", "--data", str(data), "--out", str(out), "--set", *SMALL])
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(SystemExit, match=f"{tmp_path} may not be changed; choose another --out"):
        main(["train", "shapes-quick", "--data", str(data), "--out", str(tmp_path / "out"), "--set", *SMALL])


def test_data_of_one_class_or_that_may_not_be_read_ends_with_one_clear_line(tmp_path, monkeypatch):
    for part in ("train", "test"):
        write_folder(tmp_path / "one" / part, classes=("cat",))
    with pytest.raises(SystemExit, match="^vitlib train: .*has 1 classes with images"):
        main(["train", "shapes-quick", "--data", str(tmp_path / "one"), "--out", str(tmp_path / "out")])

    def locked(path):
        raise PermissionError(13, "Permission denied", str(path))
    monkeypatch.setattr("vitlib.folders.os.listdir", locked)
    with pytest.raises(SystemExit, match=r"^vitlib train: .*Permission denied: .*one/train'$"):
        main(["train", "shapes-quick", "--data", str(tmp_path / "one"), "--out", str(tmp_path / "out")])


def test_every_set_counts_and_of_one_field_the_last_value(data, tmp_path):
    main(["train", "shapes-quick", "--data", str(data), "--out", str(tmp_path / "out"),
          "--set", *SMALL, "--set", "lr=0.5", "lr=0.25"])
    record = json.loads((tmp_path / "out" / "record.json").read_text(encoding="utf-8"))
    assert (record["train"]["lr"], record["model"]["dim"], record["train"]["epochs"]) == (0.25, 16, 2)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--seed", "x"], "argument --seed: invalid int value: 'x'"), (["--set"], "--set: expected at least one argument")])
def test_an_option_that_does_not_read_is_named(arguments, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "shapes-quick", *arguments])
    assert words in capsys.readouterr().err


def ask_for_a_petabyte(args, device):
    return torch.empty(2**50)


def fill_a_gpu(args, device):
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("fill", [ask_for_a_petabyte, fill_a_gpu])
def test_memory_that_runs_out_ends_with_one_clear_line(monkeypatch, fill):
    monkeypatch.setattr(cli, "run_recipe", fill)
    with pytest.raises(SystemExit, match="^vitlib train: the memory of cpu is full; choose a smaller model or batch"):
        main(["train", "shapes-quick", "--device", "cpu"])


def test_a_fault_of_our_own_keeps_its_traceback(monkeypatch):
    def fault(args, device):
        raise RuntimeError("a shape is wrong")
    monkeypatch.setattr(cli, "run_recipe", fault)
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        main(["train", "shapes-quick", "--device", "cpu"])


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to another process")
def test_control_c_ends_with_advice_and_resume_goes_on(data, tmp_path):
    process = start("shapes-quick", "--data", data, "--out", tmp_path / "out", "--device", "cpu", "--resume",
                    "--set", *SMALL, "epochs=100000")
    assert "epoch 1 " in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.strip().endswith("give the same command with --resume to go on")
    assert load_checkpoint(tmp_path / "out" / "checkpoint.pt")["history"]  # an epoch that was printed is kept


def result(out):
    history = json.loads((out / "record.json").read_text(encoding="utf-8"))["history"]
    history = [{name: value for name, value in row.items() if name != "seconds"} for row in history]
    return history, load_checkpoint(out / "checkpoint.pt")["model"], (out / "weights.safetensors").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_kill_minus_nine_at_random_moments_then_resume_changes_no_bit(data, tmp_path):
    settings = ["shapes-quick", "--data", data, "--device", "cpu", "--resume", "--set", *SMALL, "epochs=60",
                "dropout=0.1", "patch_drop=0.2", "mixup=0.5", "cutmix=0.5", "ema=0.9", "augment=0.5"]
    whole, ends = start("--out", tmp_path / "whole", *settings), []
    for kill in (True, True, True, False):  # three times on the way, then to the end
        process = start("--out", tmp_path / "killed", *settings)
        if kill:
            for _ in range(random.randint(1, 8)):
                process.stdout.readline()  # an epoch
            time.sleep(random.uniform(0, 0.05))
            process.kill()
        _, errors = process.communicate(timeout=600)
        ends.append(process.returncode)
        assert process.returncode in ((0, -signal.SIGKILL) if kill else (0,)), errors
    assert ends[0] == -signal.SIGKILL
    _, errors = whole.communicate(timeout=600)
    assert whole.returncode == 0, errors
    (history, model, weights), (history2, model2, weights2) = result(tmp_path / "whole"), result(tmp_path / "killed")
    assert len(history) == 60
    assert history2 == history
    assert all(torch.equal(model[name], model2[name]) for name in model)
    assert weights2 == weights
