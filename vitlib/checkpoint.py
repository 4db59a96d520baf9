"""Files that outlive a run: checkpoints to resume from, weights to share, and the record of how they came about."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from .data import ImageSet
from .devices import hardware, random_states, same_draws, set_random_states
from .files import write_atomically
from .parallel import rank, unwrapped
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


def describe(model: nn.Module, data: ImageSet, settings: dict) -> dict:
    """Which run it is: what a checkpoint must have in common with the run that goes on from it."""
    architecture = asdict(model.config) if isinstance(model, ViT) else {}
    return settings | architecture | {
        "data": data.name, "training images": len(data), "fingerprint of the images": fingerprint(data),
        "frozen parameters": sum(p.numel() for p in model.parameters() if not p.requires_grad),
        "device": data.images.device.type}


def fingerprint(data: ImageSet) -> str:
    """A short text that is another one for any other images or labels."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in (data.images, data.labels):
        digest.update(tensor.cpu().contiguous().flatten().numpy())
    return digest.hexdigest()


def snapshot(about: dict, model: nn.Module, optimizers: list, average: nn.Module | None,
             g: torch.Generator, history: list[dict]) -> dict:
    """Everything that the next step depends on; `about` says which run it is. Built in chapter 8."""
    return {"config": about, "history": history,
            "model": model.state_dict(), "average": average.state_dict() if average else None,
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "random": {"data": g.get_state(), **random_states(g.device)}}


def restore(state: dict, about: dict, model: nn.Module, optimizers: list, average: nn.Module | None,
            g: torch.Generator) -> list[dict]:
    """Put a snapshot back; returns the history so far.

    On a device of another type the run goes on with other random draws, and says so. Raises ValueError for a
    checkpoint of another run.
    """
    check_same_run(state["config"], about)
    try:
        model.load_state_dict(plain_names(state["model"]))
    except RuntimeError as error:
        raise ValueError(f"the checkpoint holds another model: {str(error).splitlines()[1].strip()}") from error
    try:
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
    except ValueError as error:
        raise ValueError("the checkpoint was made while other parameters were trained; freeze the same ones "
                         f"({error})") from error
    if average:
        average.load_state_dict(plain_names(state["average"]))
    history, here = state["history"], g.device.type
    if (there := state["config"].get("device", here)) == here:
        g.set_state(state["random"]["data"])
        set_random_states(state["random"], g.device)
        return history
    for manual_seed in (g.manual_seed, torch.manual_seed):  # generators of two devices cannot read each other's state
        manual_seed(about.get("seed", 0) + 1000 * len(history))
    if rank() == 0:
        print(f"the checkpoint was made on {there}, and this is {here}: weights, optimisers and history go on, but the "
              "random draws are new ones, so the result is no longer bit for bit that of one device", flush=True)
    return history


def check_same_run(old: dict, new: dict) -> None:
    """Raise ValueError, with the differences, unless a checkpoint's description fits that of the run.

    What only one of them names is not compared (older versions described less), nor is the device.
    """
    changed = [name for name in old if name in new and old[name] != new[name] and name != "device"]
    if not changed:
        return
    differences = ", ".join(f"{name}={old[name]}, not {new[name]}" for name in changed)
    way = "" if "epochs" not in changed else (
        ". The learning rate is laid out over all epochs, so more of them are another run: finish this one with "
        f"epochs={old['epochs']}; to train its result further, load the weights (load_weights) and call fit with them "
        "and another checkpoint")
    raise ValueError(f"the checkpoint was made with {differences}; resume with the same configuration, or start a new "
                     f"run in another folder{way}")


def plain_names(weights: dict) -> dict:
    """The same weights without the marks that `torch.compile` leaves in the names of what it wraps."""
    return {name.replace("_orig_mod.", ""): value for name, value in weights.items()}


def export_weights(model: ViT, path: str | Path, dtype: torch.dtype = torch.float16,
                   classes: Sequence[str] = ()) -> None:
    """Write weights, configuration and the names of the classes as safetensors, a format that holds no code.

    A tensor with a number too large for `dtype` stays in float32; fp16 ends at 65504. Raises ValueError for a model
    that `load_weights` could not build again, for weights that are no numbers, and for too few or too many names.
    """
    model = unwrapped(model)
    check_is_plain(model)
    if classes and len(classes) != model.config.classes:
        raise ValueError(f"the model tells {model.config.classes} classes apart, but {len(classes)} have a name")
    weights = {name: smaller(name, value, dtype) for name, value in plain_names(model.state_dict()).items()}
    about = {"config": json.dumps(asdict(model.config))} | ({"classes": json.dumps(list(classes))} if classes else {})
    write_atomically(path, save(weights, about))


def smaller(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in `dtype` where its numbers fit, else in float32; counters stay whole numbers."""
    if not value.is_floating_point():
        return value.contiguous()
    full, short = value.float(), value.to(dtype)
    if not full.isfinite().all():
        raise ValueError(f"the weights {name} hold nan or infinity; a run that blew up has nothing to export")
    return (short if short.isfinite().all() else full).contiguous()


def check_is_plain(model: nn.Module) -> None:
    """Raise ValueError unless the model is a ViT with the parameters that its configuration builds."""
    if not isinstance(model, ViT):
        inside = [name for name, part in model.named_modules() if isinstance(part, ViT)]
        hint = f"; the one inside is .{inside[0]}" if inside else ", or save model.state_dict() yourself"
        raise ValueError(f"export_weights writes a ViT of vitlib, got {type(model).__name__}{hint}")
    with same_draws(torch.device("cpu")):
        expected = {name: value.shape for name, value in ViT(model.config).state_dict().items()}
    found = {name: value.shape for name, value in plain_names(model.state_dict()).items()}
    if changed := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        raise ValueError("the model was changed after it was built, so its configuration does not describe it "
                         f"({', '.join(changed[:3])}); build a ViT of that configuration and copy the weights")


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


def class_names(path: str | Path) -> tuple[str, ...]:
    """The classes' names in a file that `load_weights` reads; numbers where it holds none. Raises ValueError."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
        count = json.loads(about["config"])["classes"]
        names = tuple(map(str, json.loads(about["classes"]) if "classes" in about else range(count)))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not name its classes as export_weights does ({error})") from error
    if len(names) != count:
        raise ValueError(f"{path} tells {count} classes apart, but names {len(names)}; write it anew")
    return names


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
    return {"commit": commit, "device": hardware(torch.device(device)), "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "torchvision", "numpy")}}
