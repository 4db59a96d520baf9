"""Several processes train as one: the same weights, one writer, a clear end when one of them dies."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from common import PLAIN, TINY, pictures, randomise, write_folder
from torch.nn.parallel import DistributedDataParallel

from vitlib import parallel, train
from vitlib.checkpoint import load_checkpoint, save_checkpoint
from vitlib.parallel import unwrapped
from vitlib.train import batches, fit
from vitlib.vit import ViT

ROOT = Path(__file__).parents[1]
# every augmentation, no dropping: what a process draws for itself differs by design
CONFIG = replace(PLAIN, epochs=5, batch_size=6, crop=2, flip=True, augment=0.5, erase=0.5, mixup=0.5, cutmix=1.0,
                 ema=0.9)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"} | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})


class Double(ViT):
    """A model in float64, in which the order of additions does not matter."""

    def forward(self, images):
        return super().forward(images.double())


def trained(config=CONFIG, **options):
    torch.manual_seed(3)
    model = randomise(Double(TINY).double())
    history = fit(model, pictures(24), config, **options)
    return model.state_dict(), [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def join(rank, world, folder, resume=False, config=CONFIG):
    """One of several processes that train together."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet-{world}", rank=rank, world_size=world)
    result = trained(config, checkpoint=f"{folder}/checkpoint.pt", resume=resume)
    torch.save(result, f"{folder}/{rank}.pt")
    (Path(folder) / f"{rank}.seed").write_text(str(torch.initial_seed()), encoding="utf-8")
    torch.distributed.destroy_process_group()


def in_processes(folder, world, resume=False, config=CONFIG):
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(join, (world, str(folder), resume, config), nprocs=world)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]


def assert_same(found, expected, atol):
    (weights, history), (weights2, history2) = found, expected
    for name, value in weights2.items():
        torch.testing.assert_close(weights[name], value, atol=atol, rtol=0, msg=name)
    assert [row.keys() for row in history] == [row.keys() for row in history2]
    for row, row2 in zip(history, history2):
        assert row == pytest.approx(row2, abs=1e-5)  # sums of losses are float32


@pytest.mark.parametrize("world", [2, 3])
def test_after_20_steps_several_processes_have_the_weights_of_one(tmp_path, world):
    alone = trained()
    assert len(alone[1]) * (24 // CONFIG.batch_size) == 20
    start = trained(replace(CONFIG, lr=1e-12, weight_decay=0.0))[0]
    assert max((alone[0][n] - start[n]).abs().max() for n in start) > 0.01  # twenty steps lead somewhere
    for found in in_processes(tmp_path, world):
        assert_same(found, alone, atol=1e-9)
    seeds = {(tmp_path / f"{rank}.seed").read_text(encoding="utf-8") for rank in range(world)}
    assert len(seeds) == world  # dropout is not the same in every share


def test_muon_makes_the_same_steps_in_two_processes(tmp_path):
    config = replace(CONFIG, optimizer="muon+stem", muon_lr=0.01)
    alone, start = trained(config)[0], trained(replace(config, lr=1e-12, muon_lr=1e-12, weight_decay=0.0))[0]
    patches = "patch_embed.proj.weight"
    assert (alone[patches] - start[patches]).abs().max() > 0.01
    for found, _ in in_processes(tmp_path, 2, config=config):  # Muon's products are in float32
        assert max((found[n] - alone[n]).abs().max() for n in alone) < 1e-5


def test_a_run_of_three_processes_goes_on_with_two(tmp_path):
    torch.multiprocessing.spawn(join_and_stop, (3, str(tmp_path), 2), nprocs=3)
    assert len(load_checkpoint(tmp_path / "checkpoint.pt")["history"]) == 2
    for found in in_processes(tmp_path, 2, resume=True):
        assert_same(found, trained(), atol=1e-9)


def join_and_stop(rank, world, folder, epochs):
    """Like `join`, but the run is cut off when the checkpoint of some epoch has been written."""
    def save_and_stop(path, state):
        save_checkpoint(path, state)
        if len(state["history"]) == epochs:
            raise KeyboardInterrupt
    train.save_checkpoint = save_and_stop
    try:
        join(rank, world, folder)
    except (KeyboardInterrupt, RuntimeError):  # number 0 stops, and the others lose it
        os._exit(0)


def test_shares_make_up_the_whole_batch(monkeypatch):
    whole = next(batches(pictures(), CONFIG, 0, torch.Generator().manual_seed(0)))
    parts = []
    for rank in range(3):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(parallel, "processes", lambda: 3)
        parts.append(next(batches(pictures(), CONFIG, 0, torch.Generator().manual_seed(0))))
    for n, tensor in enumerate(whole):
        assert torch.equal(torch.stack([part[n] for part in parts], dim=1).flatten(0, 1), tensor)


def test_a_batch_that_cannot_be_shared_equally_is_named(monkeypatch):
    monkeypatch.setattr("vitlib.guards.processes", lambda: 4)
    with pytest.raises(ValueError, match="4 processes cannot share a batch of 6 equally"):
        trained()
    monkeypatch.setattr("vitlib.guards.processes", lambda: 2)
    with pytest.raises(ValueError, match="2 processes cannot share a batch of 3 equally"):  # all images there are
        fit(ViT(TINY), pictures(3), CONFIG)


def test_a_model_comes_out_of_all_its_wrappers():
    model = ViT(TINY)
    connected = DistributedDataParallel.__new__(DistributedDataParallel)  # a real one needs a group
    torch.nn.Module.__init__(connected)
    connected.module = torch.compile(model, backend="eager")
    for wrapped in (model, connected, torch.compile(connected, backend="eager")):
        assert unwrapped(wrapped) is model


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
               "vitlib", "train", "shapes-quick", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, start_new_session=True)


def workers(process):
    """The processes below one: (number of the process, its own number in the group)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
            variables = (folder / "environ").read_text(encoding="utf-8").split("\0")
            names = dict(item.split("=", 1) for item in variables if "=" in item)
        except (OSError, IndexError):  # it has ended meanwhile
            continue
        if parent == process.pid:
            found.append((int(folder.name), int(names["RANK"])))
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the worker to kill in Linux's /proc")
def test_a_killed_worker_stops_the_run_and_the_checkpoint_resumes(tmp_path):
    for part in ("train", "test"):
        write_folder(tmp_path / "pets" / part, count=9, size=(32, 32))
    settings = ["--data", tmp_path / "pets", "--device", "cpu", "--resume", "--set", "batch_size=6", "dim=16",
                "depth=1", "heads=2", "epochs=80", "patch_drop=0.2", "dropout=0.1"]
    whole = torchrun("--out", tmp_path / "whole", *settings)
    killed = torchrun("--out", tmp_path / "killed", *settings)
    deadline = time.monotonic() + 600
    while not (tmp_path / "killed" / "checkpoint.pt").exists():
        assert time.monotonic() < deadline, "no epoch was finished"
        time.sleep(0.1)
    victim = next(number for number, rank in workers(killed) if rank == 1)
    os.kill(victim, signal.SIGKILL)
    start = time.monotonic()
    _, errors = killed.communicate(timeout=600)
    assert time.monotonic() - start < 300
    assert killed.returncode != 0
    assert "another process of this run died" in errors and "--resume" in errors, errors
    epochs = len(load_checkpoint(tmp_path / "killed" / "checkpoint.pt")["history"])
    assert 1 <= epochs < 80
    out, errors = torchrun("--out", tmp_path / "killed", *settings).communicate(timeout=600)
    first = next((line for line in out.splitlines() if line.startswith("epoch")), "")  # gloo may speak before
    assert f"epoch {epochs + 1} " in first, errors
    _, errors = whole.communicate(timeout=600)
    assert whole.returncode == 0, errors
    records = [json.loads((tmp_path / name / "record.json").read_text(encoding="utf-8"))
               for name in ("whole", "killed")]
    assert [record["processes"] for record in records] == [2, 2]
    assert len(records[0]["history"]) == 80  # one writer: each epoch stands there once
    weights = [load_checkpoint(tmp_path / name / "checkpoint.pt")["model"] for name in ("whole", "killed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
