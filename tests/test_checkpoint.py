import json
import os
import pickle
import subprocess
from dataclasses import asdict, replace

import pytest
import torch
from common import TINY, pictures, randomise
from safetensors.torch import save_file

from vitlib import checkpoint as module
from vitlib import files
from vitlib.checkpoint import (
    ZOO,
    class_names,
    environment,
    export_weights,
    fingerprint,
    load_checkpoint,
    load_record,
    load_weights,
    load_zoo,
    save_checkpoint,
    save_record,
    zoo,
)
from vitlib.files import write_atomically
from vitlib.vit import ViT, ViTConfig

STATE = {"weights": {"a": torch.arange(4.0)}, "betas": (0.9, 0.98), "history": [{"loss": 1.5}], "name": "x"}


@pytest.fixture
def path(tmp_path):
    """A good checkpoint, alone in its folder."""
    save_checkpoint(tmp_path / "c.pt", STATE)
    return tmp_path / "c.pt"


def assert_intact(path):
    assert torch.equal(load_checkpoint(path)["weights"]["a"], torch.arange(4.0))
    assert os.listdir(path.parent) == [path.name]  # no .part file


def test_a_checkpoint_comes_back_as_it_was(path):
    assert_intact(path)
    state = load_checkpoint(path)
    assert [state[name] for name in ("betas", "history", "name")] == [(0.9, 0.98), [{"loss": 1.5}], "x"]


def test_a_checkpoint_makes_its_folder(tmp_path):
    save_checkpoint(tmp_path / "a" / "b" / "c.pt", STATE)
    assert_intact(tmp_path / "a" / "b" / "c.pt")


def no_space(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("where", "call"), [(os, "fsync"), (os, "replace"), (files, "open")])
def test_a_full_disk_leaves_the_old_checkpoint_and_says_what_to_do(path, monkeypatch, where, call):
    monkeypatch.setattr(where, call, no_space, raising=False)
    with pytest.raises(OSError, match=f"cannot write {path} .No space left on device.; free some space.*unchanged"):
        save_checkpoint(path, {"weights": 0})
    monkeypatch.undo()
    assert_intact(path)


def test_a_write_that_really_fails_half_way_leaves_the_old_checkpoint(path):
    resource = pytest.importorskip("resource", reason="only Linux and macOS can limit the size of a file")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # no file may grow beyond 10 kB
    try:
        with pytest.raises(OSError, match=f"cannot write {path} .File too large"):
            save_checkpoint(path, {"weights": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_intact(path)


def test_a_disk_that_is_really_full_leaves_the_old_checkpoint(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
        mounted = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"this system has no command to mount a small disk ({error})")
    if mounted.returncode:
        pytest.skip(f"mounting a small disk needs rights that this process lacks ({mounted.stderr.strip()})")
    try:
        save_checkpoint(disk / "c.pt", STATE)
        with pytest.raises(OSError, match="No space left on device.*free some space"):
            save_checkpoint(disk / "c.pt", {"weights": torch.zeros(40_000)})
        assert_intact(disk / "c.pt")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_interrupted_write_leaves_the_old_checkpoint(path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"weights": 0})
    monkeypatch.undo()
    assert_intact(path)


def test_a_file_where_a_folder_should_be_is_named(path):
    with pytest.raises(OSError, match=f"cannot write {path}/d.pt .*choose another folder"):
        write_atomically(path / "d.pt", b"")
    assert_intact(path)


def test_readers_never_see_half_a_file(path, monkeypatch):
    """Until the new content is complete and on disk, the old file stands in its place."""
    seen = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(load_checkpoint(path)["name"]))
    save_checkpoint(path, {"name": "new"})
    assert seen == ["x"]
    assert load_checkpoint(path)["name"] == "new"


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no checkpoint {tmp_path}/no.pt; start without resume"):
        load_checkpoint(tmp_path / "no.pt")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [
    b"", b"x", b"hello, world", b"\x80\x02", b"\x80\x04\x95garbage", b"PK\x03\x04", b"\x00" * 999, b'{"format": 1}'])
def test_a_foreign_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is damaged or no checkpoint of vitlib .*; delete it"):
        load_checkpoint(path)


def test_a_truncated_checkpoint_is_refused_at_every_length(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is damaged or no checkpoint"):
            load_checkpoint(path)


def test_a_checkpoint_with_scrambled_bytes_gives_a_state_or_a_clear_error(path):
    whole, g, refused = path.read_bytes(), torch.Generator().manual_seed(0), 0
    for _ in range(300):
        content = bytearray(whole)
        for position in torch.randint(len(whole), (3,), generator=g):
            content[position] = int(torch.randint(256, (), generator=g))
        path.write_bytes(content)
        try:
            assert isinstance(load_checkpoint(path), dict)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
    assert refused > 50


class Trap:
    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_code_in_a_checkpoint_is_never_run(path, tmp_path, write):
    trap = Trap()
    trap.target = tmp_path / "sprung"
    write({"format": module.FORMAT, "model": trap}, path)
    with pytest.raises(ValueError, match="damaged or no checkpoint"):
        load_checkpoint(path)
    assert not trap.target.exists()
    torch.load(path, weights_only=False) if write is torch.save else pickle.loads(path.read_bytes())
    assert trap.target.exists()  # the trap is a real one


@pytest.mark.parametrize("content", [{"format": 0}, {"model": {}}, {"format": "1"}, [1, 2]])
def test_another_format_is_refused_by_number(path, content):
    torch.save(content, path)
    found = content.get("format") if isinstance(content, dict) else None
    with pytest.raises(ValueError, match=f"format {found}, this vitlib reads {module.FORMAT}; finish the run"):
        load_checkpoint(path)


@pytest.mark.parametrize("positions", ["learned", "sincos"])
def test_exported_weights_rebuild_the_model(tmp_path, positions):
    model = randomise(ViT(replace(TINY, positions=positions))).eval()
    x = torch.randn(2, 3, 8, 8)
    export_weights(model, tmp_path / "w.safetensors", torch.float32)
    again = load_weights(tmp_path / "w.safetensors")
    assert again.config == model.config
    assert not again.training
    assert torch.equal(again(x), model(x))
    export_weights(model, tmp_path / "w.safetensors")  # half precision by default
    half = load_weights(tmp_path / "w.safetensors")
    assert half.head.weight.dtype == torch.float32
    torch.testing.assert_close(half(x), model(x), atol=2e-3, rtol=0)
    assert not torch.equal(half(x), model(x))


def test_names_of_the_classes_travel_with_the_weights(tmp_path):
    path, model = tmp_path / "w.safetensors", ViT(TINY)
    export_weights(model, path, classes=("cat", "Möwe", "狗 \"x\""))
    assert class_names(path) == ("cat", "Möwe", "狗 \"x\"") and load_weights(path).config == TINY
    with pytest.raises(ValueError, match="3 classes apart, but 2 have a name"):
        export_weights(model, path, classes=("cat", "dog"))
    assert class_names(path)[0] == "cat"  # a refused file changes nothing
    export_weights(model, path)
    assert class_names(path) == ("0", "1", "2")
    assert class_names(ZOO / "shapes-tiny.safetensors") == tuple("0123456789")  # written before there were names
    for about in ({}, {"config": "{}"}, {"config": '{"classes": 3}', "classes": "3"}, {"config": "x"}):
        save_file({"a": torch.zeros(1)}, path, about)
        with pytest.raises(ValueError, match="does not name its classes"):
            class_names(path)
    save_file({"a": torch.zeros(1)}, path, {"config": '{"classes": 3}', "classes": '["a"]'})
    with pytest.raises(ValueError, match="tells 3 classes apart, but names 1"):
        class_names(path)


def test_weights_that_are_missing_damaged_or_of_something_else_are_named(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match=f"no file of weights {path}"):
        load_weights(path)
    weights, config = ViT(TINY).state_dict(), {"config": json.dumps(asdict(TINY))}
    save_file(weights, path, config)
    whole = path.read_bytes()
    load_weights(path)
    bad = {"truncated": lambda: path.write_bytes(whole[:-9]),
           "empty": lambda: path.write_bytes(b""),
           "text": lambda: path.write_text("hello", encoding="utf-8"),
           "a folder's worth": lambda: path.write_bytes(b"\xff" * 99),
           "without a config": lambda: save_file(weights, path),
           "an unknown field": lambda: save_file(weights, path, {"config": '{"colour": 1}'}),
           "an impossible field": lambda: save_file(weights, path, {"config": '{"depth": 0}'}),
           "no json": lambda: save_file(weights, path, {"config": "{"}),
           "another model": lambda: save_file(weights, path, {"config": json.dumps(asdict(replace(TINY, dim=8)))}),
           "a weight missing": lambda: save_file({k: v for k, v in weights.items() if k != "norm.bias"}, path, config)}
    for name, make in bad.items():
        make()
        with pytest.raises(ValueError, match=f"{path} does not hold the weights of a ViT.*export_weights"):
            pytest.fail(f"{name} was loaded: {load_weights(path)}")


def test_wrappers_leave_no_mark_in_exported_weights(tmp_path):
    model, x, path = randomise(ViT(TINY)).eval(), torch.randn(2, 3, 8, 8), tmp_path / "w.safetensors"
    partly = ViT(TINY)
    partly.load_state_dict(model.state_dict())
    partly.blocks[1] = torch.compile(partly.blocks[1], backend="eager")
    for wrapped in (torch.compile(model, backend="eager"), partly):
        export_weights(wrapped, path, torch.float32)
        assert torch.equal(load_weights(path)(x), model(x))
        path.unlink()


class Adapter(torch.nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.base_model = inside


def test_a_model_that_could_not_be_loaded_again_is_not_exported(tmp_path):
    path, other_head, grown = tmp_path / "w.safetensors", ViT(TINY), ViT(TINY)
    other_head.head = torch.nn.Linear(16, 5)
    grown.addition = torch.nn.Linear(16, 16)
    for model, words in (
            (torch.nn.Linear(2, 2), "writes a ViT of vitlib, got Linear, or save model.state_dict"),
            (Adapter(ViT(TINY)), "got Adapter; the one inside is .base_model"),
            (other_head, "changed after it was built.*head.bias, head.weight"),
            (grown, "changed after it was built.*addition.bias, addition.weight")):
        with pytest.raises(ValueError, match=words):
            export_weights(model, path)
        assert not path.exists()


def test_exporting_draws_nothing(tmp_path):
    model = ViT(TINY)
    state = torch.get_rng_state()
    export_weights(model, tmp_path / "w.safetensors")
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_too_large_for_half_precision_keep_their_values(tmp_path):
    model, path = randomise(ViT(TINY)), tmp_path / "w.safetensors"
    with torch.no_grad():
        model.head.weight[0, 0] = 1e5
    export_weights(model, path)
    again = load_weights(path)
    assert torch.equal(again.head.weight, model.head.weight)
    assert torch.equal(again.norm.weight, model.norm.weight.half().float())  # the others are small
    assert path.stat().st_size < sum(p.numel() for p in model.parameters()) * 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_weights_that_are_no_numbers_are_named(tmp_path, value, dtype):
    model = ViT(TINY)
    with torch.no_grad():
        model.norm.bias[2] = value
    with pytest.raises(ValueError, match="the weights norm.bias hold nan or infinity"):
        export_weights(model, tmp_path / "w.safetensors", dtype)
    assert not os.listdir(tmp_path)


def test_any_other_pixel_or_label_is_another_fingerprint():
    data = pictures()
    found = {fingerprint(data)}
    for part in ("images", "labels"):
        for position in (0, -1):
            changed = getattr(data, part).clone()
            changed.view(-1)[position] = (changed.view(-1)[position] + 1) % 3
            found.add(fingerprint(replace(data, **{part: changed})))
    assert len(found) == 5
    turned = replace(data, images=data.images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2))
    assert fingerprint(turned) == fingerprint(data)  # another order in memory


def test_the_zoo_lists_loads_and_names_the_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ZOO", tmp_path)
    export_weights(randomise(ViT(TINY)), tmp_path / "b.safetensors")
    export_weights(ViT(TINY), tmp_path / "a.safetensors")
    save_record(tmp_path / "a.json", {"recipe": "a"})
    assert zoo() == ["a", "b"]
    model, record = load_zoo("a")
    assert model.config == TINY
    assert record == {"recipe": "a"}
    with pytest.raises(ValueError, match="the zoo has no model 'c'; it has a, b"):
        load_zoo("c")
    with pytest.raises(ValueError, match="no record 'b'; there are a"):
        load_record("b")


@pytest.mark.parametrize("name", zoo())
def test_every_model_of_the_zoo_loads_with_its_record(name):
    model, record = load_zoo(name)
    assert model.config == ViTConfig(**record["model"])  # what a record does not know yet has its default
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_record_is_json_that_a_person_can_read(tmp_path):
    record = {"a": 1, "b": [1.5, None], "c": "ü"}
    save_record(tmp_path / "r.json", record)
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert json.loads(text) == record
    assert "ü" in text
    assert text.endswith("}\n")
    assert text.count("\n") > 4


def test_the_environment_names_versions_device_and_commit(monkeypatch):
    found = environment()
    assert {"commit", "device", "python", "torch", "torchvision", "numpy"} == found.keys()
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    monkeypatch.setattr(subprocess, "run", no_space)
    assert environment()["commit"] is None


def test_an_installed_wheel_does_not_name_the_commit_of_the_project_around_it(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "another project"], check=True)
    (tmp_path / "site-packages").mkdir()
    monkeypatch.setattr("vitlib.checkpoint.ZOO", tmp_path / "site-packages" / "vitlib" / "zoo")
    assert environment()["commit"] is None
    monkeypatch.setattr("vitlib.checkpoint.ZOO", tmp_path / "vitlib" / "zoo")
    assert environment()["commit"]
