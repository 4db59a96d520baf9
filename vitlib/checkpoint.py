"""Files that outlive a run: checkpoints to resume from, weights to share, and the record of how they came about."""

import json
import platform
import subprocess
from dataclasses import asdict
from importlib import metadata
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from .files import write_atomically
from .vit import ViT, ViTConfig

FORMAT = 1  # raised when a checkpoint's layout changes
ZOO = Path(__file__).parent / "zoo"


def save_checkpoint(path: str | Path, state: dict) -> None:
    """Keep tensors, numbers and strings, nested in dicts and lists, in one file. Built in chapter 8."""
    buffer = BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: str | Path) -> dict:
    """Read what `save_checkpoint` wrote; never runs code from the file.

    Raises FileNotFoundError, or ValueError for a damaged, foreign or older file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}; start without resume to make one")
    try:
        if (damaged := ZipFile(path).testzip()) is not None:  # torch.load does not compare the checksums
            raise ValueError(f"the part {damaged} has changed")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes fail in any of a dozen ways
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ValueError(f"{path} is damaged or no checkpoint of vitlib ({reason}); "
                         "delete it and start again, or resume from another") from error
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path} has checkpoint format {found}, this vitlib reads {FORMAT}; "
                         "finish the run with the version that began it, or start again")
    return state


def snapshot(about: dict, model: nn.Module, optimizers: list, average: nn.Module | None,
             g: torch.Generator, history: list[dict]) -> dict:
    """Everything that the next step depends on; `about` says which run it is. Built in chapter 8."""
    cuda = torch.cuda.get_rng_state(g.device) if g.device.type == "cuda" else None
    return {"config": about, "history": history,
            "model": model.state_dict(), "average": average.state_dict() if average else None,
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "random": {"data": g.get_state(), "torch": torch.get_rng_state(), "cuda": cuda}}


def restore(state: dict, about: dict, model: nn.Module, optimizers: list, average: nn.Module | None,
            g: torch.Generator) -> list[dict]:
    """Put a snapshot back; returns the history so far.

    Raises ValueError for a checkpoint of another run.
    """
    changed = {name: (old, about[name]) for name, old in state["config"].items() if old != about.get(name, old)}
    if changed:
        differences = ", ".join(f"{name}={old}, not {new}" for name, (old, new) in changed.items())
        raise ValueError(f"the checkpoint was made with {differences}"
                         "; resume with the same configuration, or start a new run in another folder")
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise ValueError(f"the checkpoint holds another model: {str(error).splitlines()[1].strip()}") from error
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    if average:
        average.load_state_dict(state["average"])
    g.set_state(state["random"]["data"])
    torch.set_rng_state(state["random"]["torch"])
    if state["random"]["cuda"] is not None:
        torch.cuda.set_rng_state(state["random"]["cuda"], g.device)
    return state["history"]


def export_weights(model: ViT, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Write weights and configuration as safetensors, a format that holds no code."""
    weights = {name: (value.to(dtype) if value.is_floating_point() else value).contiguous()  # counters stay whole
               for name, value in model.state_dict().items()}
    write_atomically(path, save(weights, {"config": json.dumps(asdict(model.config))}))


def load_weights(path: str | Path) -> ViT:
    """Rebuild the model that `export_weights` wrote, in float32 and evaluation mode.

    Raises FileNotFoundError, or ValueError for a file that is damaged or holds something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file of weights {path}")
    try:
        with safe_open(path, "pt") as file:
            config = ViTConfig(**json.loads((file.metadata() or {})["config"]))
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118, it is no dict
        model = ViT(config)
        model.load_state_dict(weights)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{path} does not hold the weights of a ViT ({reason}); "
                         "write them with export_weights") from error
    return model.eval()


def zoo() -> list[str]:
    """Names of the trained models that come with vitlib."""
    return sorted(path.stem for path in ZOO.glob("*.safetensors"))


def load_zoo(name: str) -> tuple[ViT, dict]:
    """A trained model of the zoo and the record of its run. Raises ValueError for an unknown name."""
    if name not in zoo():
        raise ValueError(f"the zoo has no model {name!r}; it has {', '.join(zoo())}")
    return load_weights(ZOO / f"{name}.safetensors"), load_record(name)


def load_record(name: str) -> dict:
    """The record of a run: configuration, versions, device, curve, time and results."""
    path = ZOO / f"{name}.json"
    if not path.is_file():
        known = sorted(path.stem for path in ZOO.glob("*.json"))
        raise ValueError(f"there is no record {name!r}; there are {', '.join(known)}")
    return json.loads(path.read_text(encoding="utf-8"))


def save_record(path: str | Path, record: dict) -> None:
    """Write a record as JSON that a person can read and git can compare."""
    write_atomically(path, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())


def environment(device: str | torch.device = "cpu") -> dict:
    """What a result depends on besides the configuration: commit, versions, device, threads."""
    root = ZOO.parent.parent  # named to git, or it would describe another repository that holds an installed wheel
    git = ["git", f"--git-dir={root / '.git'}", f"--work-tree={root}", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None  # an installed wheel has no repository around it
    gpu = torch.device(device).type == "cuda"
    hardware = torch.cuda.get_device_name(device) if gpu else f"CPU, {torch.get_num_threads()} threads"
    return {"commit": commit, "device": hardware, "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "torchvision", "numpy")}}
