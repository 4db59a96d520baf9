"""Where published weights lie: a file, the folder of published weights, or a hub."""

import difflib
import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch

from .files import data_home

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
TORCHVISION = ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32")
FILES = ("model.safetensors", "pytorch_model.bin")  # what a folder of the hub may hold, the first choice first
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".npz", ".onnx")  # of files, not of names on a hub


@dataclass(frozen=True)
class Weights:
    """A file of weights, and what must be known beside it: `heads`, `mean`, `std`, perhaps `dim`, `eps` and `pool`."""

    path: Path
    facts: dict = field(default_factory=dict)


def find_weights(source: str | Path, like: str | None = None) -> Weights:
    """Find published weights: a file or folder, else $VITLIB_DATA/published/SOURCE, else SOURCE on its hub.

    SOURCE may be a name of timm (`deit_tiny_patch16_224`), of torchvision (`vit_b_16`) or a repository of the Hugging
    Face hub (`google/vit-base-patch16-224`). A bare file does not say how many heads its model has, nor with which
    mean and standard deviation it was trained: `like` names a model of timm or torchvision that does.
    Raises FileNotFoundError, in a line that names the file that would do, where a hub is needed and not reached;
    ValueError for a name that no one knows.
    """
    known = facts_of(like) if like else {}  # first, so that a wrong name costs no download
    source = str(source)
    kept = [str(published_home() / f"{source}{end}") for end in ("", ".safetensors", ".pth")]
    for place in (os.path.expanduser(source), *kept):
        if os.path.isdir(place):
            place = weights_in(Path(place))
        if os.path.isfile(place):  # os.path, because it has no objection to a name that no file can have
            path = Path(place)
            return Weights(path, known or facts_beside(path.parent) or facts_of(path.stem, unknown_is_fine=True))
    if source.startswith((".", "/", "~")) or "://" in source or source.endswith(SUFFIXES):
        raise FileNotFoundError(f"there is no file of weights {source}")
    path = from_torchvision(source) if source in TORCHVISION else from_hugging_face(source)
    return Weights(path, known or facts_beside(path.parent) or facts_of(source, unknown_is_fine="/" in source))


def weights_in(folder: Path) -> Path:
    """The file of weights in a folder of the hub's shape. Raises FileNotFoundError where there is none."""
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    there = sorted(os.listdir(folder))[:5]
    raise FileNotFoundError(f"{folder} holds neither {' nor '.join(FILES)}, but {', '.join(there) or 'nothing'}; name "
                            "the file itself, and what it is like. Weights in several parts are not read: join them")


def published_home() -> Path:
    """The folder in which published weights are looked for before a hub is asked."""
    if (home := data_home()).is_file():
        raise NotADirectoryError(f"{home} is a file; VITLIB_DATA names the folder that data sets and weights lie in")
    return home / "published"


def facts_beside(folder: Path) -> dict:
    """What a folder's `config.json`, in timm's or Hugging Face's form, says of the weights in it; {} without one."""
    if not (path := folder / "config.json").is_file():
        return {}
    config = read_json(path)
    if isinstance(config.get("architecture"), str):  # timm's
        own = config.get("pretrained_cfg") or {}
        return facts_of(config["architecture"]) | {name: own[name] for name in ("mean", "std") if name in own} | (
            {"pool": config["global_pool"]} if "global_pool" in config else {})
    if "num_attention_heads" not in config:
        return {}
    if config.get("hidden_act", "gelu") != "gelu":
        raise ValueError(f"{path}: its MLPs use {config['hidden_act']}, ours the exact GELU, so outputs would differ")
    facts = {"heads": config["num_attention_heads"], "dim": config.get("hidden_size"),
             "eps": config.get("layer_norm_eps", 1e-12)}
    if (path := folder / "preprocessor_config.json").is_file():
        facts |= normalisation_of(read_json(path), path)
    return facts


def normalisation_of(images: dict, path: Path) -> dict:
    """Mean and std from a `preprocessor_config.json`. Raises ValueError where pixels are not brought to 0…1."""
    if not images.get("do_rescale", True) or abs(images.get("rescale_factor", 1 / 255) - 1 / 255) > 1e-6:
        raise ValueError(f"{path}: its pixels are not divided by 255; such weights are not read here")
    if not images.get("do_normalize", True):
        return {"mean": [0.0] * 3, "std": [1.0] * 3}
    return {"mean": images.get("image_mean", [0.5] * 3), "std": images.get("image_std", [0.5] * 3)}


def read_json(path: Path) -> dict:
    """A JSON file that holds an object. Raises ValueError naming the file for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged or no JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} should hold an object in braces, it holds a {type(content).__name__}; fetch it again")
    return content


def facts_of(name: str, unknown_is_fine: bool = False) -> dict:
    """Heads, mean, standard deviation, eps and pooling of a model of torchvision or timm, by name.

    Raises ValueError for an unknown name (or returns {}), or a model of timm that is no plain ViT.
    """
    if name in TORCHVISION:
        return {"heads": 12 if "_b_" in name else 16, "dim": 768 if "_b_" in name else 1024, "eps": 1e-6, **IMAGENET}
    timm = timm_here(name)
    if not timm.is_model(name.split(".")[0]):
        if unknown_is_fine:
            return {}
        known = [*timm.list_models("*vit*"), *timm.list_models("deit*"), *TORCHVISION]
        near = ", ".join(difflib.get_close_matches(name, known, 3)) or "none"
        raise ValueError(f"neither timm nor torchvision has a model {name!r}; the nearest: {near}")
    try:
        with torch.device("meta"):  # its structure, without memory
            model = timm.create_model(name)
    except RuntimeError as error:
        raise ValueError(f"timm cannot make {name} ({error}); without what follows the dot it takes the usual "
                         "weights") from error
    if not isinstance(model, timm.models.VisionTransformer):
        raise ValueError(f"{name} is a {type(model).__name__}, not a plain Vision Transformer such as "
                         "deit_tiny_patch16_224, vit_base_patch16_224 or vit_small_patch14_dinov2")
    block, norm = model.blocks[0], next(m for m in model.modules() if isinstance(m, torch.nn.LayerNorm))
    if getattr(block.mlp.act, "approximate", "none") != "none":
        raise ValueError(f"{name}: its MLPs use the tanh form of GELU, ours the exact one; their outputs would differ")
    return {"heads": block.attn.num_heads, "dim": model.embed_dim, "eps": norm.eps, "pool": model.global_pool,
            "mean": list(model.pretrained_cfg["mean"]), "std": list(model.pretrained_cfg["std"])}


def timm_here(name: str):
    """The package timm, loaded when it is asked (that takes a second). Raises ValueError where it is not installed."""
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"what {name} is like stands in the package timm, which is not here: pip install "
                         "timm") from error
    return timm


def from_torchvision(name: str) -> Path:
    """Fetch torchvision's weights into the folder of published weights, whole or not at all."""
    from torchvision.models import get_model_weights
    url = get_model_weights(name).DEFAULT.url
    path = published_home() / f"{name}.pth"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=url.rsplit("-", 1)[1].split(".")[0])
    except (OSError, RuntimeError) as error:  # RuntimeError: a cut or changed file, by its hash
        raise not_fetched(name, url, f"at {path}") from error
    return path


def from_hugging_face(name: str) -> Path:
    """Fetch a model of timm, or of a repository, from the Hugging Face hub, or from its cache on this machine."""
    repo, timms = name, "/" not in name
    if timms:
        facts_of(name)  # an unknown name ends here, with its neighbours
        if not (repo := timm_here(name).get_pretrained_cfg(name).hf_hub_id):
            raise ValueError(f"timm has {name}, but no weights for it on the hub; give a file, with like={name!r}")
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
    except ImportError as error:
        raise ValueError(f"fetching {name} needs the package huggingface_hub: pip install huggingface_hub") from error
    found = []
    try:
        check_network(repo)
        for file in (*FILES, "config.json", "preprocessor_config.json"):
            if file == FILES[1] and found:
                continue  # the first form of the weights is there
            try:
                found.append(Path(hf_hub_download(repo, file)))
            except EntryNotFoundError:
                continue  # such as timm's repositories, which have no preprocessor_config.json
    except (OSError, HfHubHTTPError, ValueError) as error:
        address = f"https://huggingface.co/{repo}"
        if timms:
            place = published_home() / f"{name}.safetensors"
            raise not_fetched(name, f"{address}/resolve/main/{FILES[0]}", f"at {place}") from error
        raise not_fetched(name, f"model.safetensors, config.json and preprocessor_config.json of {address}",
                          f"in the folder {published_home() / name}") from error
    if not found or found[0].name not in FILES:
        raise ValueError(f"the repository {repo} holds neither {' nor '.join(FILES)}; convert its weights, or take "
                         "another")
    return found[0]


def check_network(repo: str) -> None:
    """Raise OSError at once where no hub is reached and its cache lacks the weights: it would retry for long."""
    from huggingface_hub import constants, try_to_load_from_cache
    here = any(isinstance(try_to_load_from_cache(repo, name), str) for name in FILES)
    if not (here or getproxies()):  # a proxy knows more ways
        address = urlsplit(constants.ENDPOINT)
        socket.create_connection((address.hostname, address.port or 443), timeout=5).close()


def not_fetched(name: str, what: str, where: str) -> FileNotFoundError:
    """The one line for weights that neither lie here nor could be fetched."""
    return FileNotFoundError(f"the weights {name} are not here and could not be fetched (no network?); "
                             f"put {what} {where}, and run this again")
