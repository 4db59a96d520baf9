"""Score every explanation method, and try register tokens: writes vitlib/zoo/explanations.json.

    python book/studies explanations scores       the zoo's two models on 1,000 images (ten minutes on two cores)
    python book/studies explanations registers    six models, trained where runs/ does not hold them (an hour)
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from vitlib import cli  # noqa: E402
from vitlib.checkpoint import ZOO, environment, load_record, load_weights, load_zoo, save_record  # noqa: E402
from vitlib.data import ImageSet, normalise  # noqa: E402
from vitlib.explain import fills, pictures  # noqa: E402
from vitlib.maps import class_rows, rollout  # noqa: E402
from vitlib.scores import (  # noqa: E402
    average_precision,
    bootstrap,
    centre_gaussian,
    edge_map,
    iou,
    pointing_game,
    replacement_curve,
)
from vitlib.shapes import shapes  # noqa: E402
from vitlib.train import evaluate, predict  # noqa: E402
from vitlib.vit import ViT  # noqa: E402

IMAGES, SEED, GRID = 1000, 77, (8, 8)
MODELS = {"shapes-scattered": True, "shapes-tiny": False}  # name: are its objects scattered?


def score(name: str) -> dict:
    """Every method and baseline on held-out images, each score with its 95 % bootstrap interval."""
    model, data = load_zoo(name)[0], shapes(IMAGES, seed=SEED, scattered=MODELS[name])
    parts = [score_part(model, data.subset(part)) for part in torch.arange(IMAGES).split(200)]
    values = {method: {kind: torch.cat([part[method][kind] for part in parts]) for kind in parts[0][method]}
              for method in parts[0]}
    above = {rival: {method: bootstrap(values[method]["pointing game"] - values[rival]["pointing game"])
                     for method in values} for rival in ("centre", "random")}
    gap = {kind: bootstrap(values["rollout"][kind] - values["occlusion"][kind]) for kind in values["rollout"]}
    return {"data": data.name, "images": IMAGES, "image seed": SEED, "accuracy": evaluate(model, data)["accuracy"],
            "scores": {method: {kind: bootstrap(v) for kind, v in row.items()} for method, row in values.items()},
            "pointing game above": above, "rollout minus occlusion": gap}


def score_part(model: ViT, data: ImageSet) -> dict[str, dict[str, Tensor]]:
    """{method: {score: (B,)}} for some images; the class explained is the predicted one."""
    images = normalise(data.images)
    classes = predict(model, data.images).argmax(dim=1)
    inside = F.adaptive_avg_pool2d(data.masks.float(), GRID)
    maps = {"random": torch.rand(len(data), *GRID, generator=torch.Generator().manual_seed(SEED)),
            "centre": centre_gaussian(images, GRID), "edges": edge_map(images, GRID),
            **pictures(model, images, classes)}
    return {method: {"pointing game": pointing_game(picture, inside), "IoU": iou(picture, data.masks),
                     "average precision": average_precision(picture, data.masks),
                     **{f"{'insertion' if insert else 'deletion'}, {kind}":
                        replacement_curve(model, images, classes, picture, fill, insert).mean(dim=1)
                        for insert in (False, True) for kind, fill in fills(images).items()}}
            for method, picture in maps.items()}


def registers(count: int, seed: int) -> dict:
    """Train shapes-scattered with `count` registers, unless it is there, and look at it."""
    out = ROOT / "runs" / f"registers-{count}-{seed}"
    if not (out / "record.json").exists():
        cli.main(["train", "shapes-scattered", "--seed", str(seed), "--set", f"registers={count}",
                  "--out", str(out), "--resume"])
    model, data = load_weights(out / "weights.safetensors"), shapes(IMAGES, seed=SEED, scattered=True)
    images, R = normalise(data.images), model.config.registers
    with torch.no_grad():
        x = model.embed(images)
        for block in model.blocks:
            x = block(x)
        norms = x[:, 1 + R:].norm(dim=-1)  # (B, N), of the patches, before the last norm
        maps = model.attention_maps(images)
    pictured = class_rows(rollout(maps), GRID, model.prefix)
    points = pointing_game(pictured, F.adaptive_avg_pool2d(data.masks.float(), GRID)).mean().item()
    commit = json.loads((out / "record.json").read_text(encoding="utf-8"))["commit"]  # a finished run is not made again
    return {"seed": seed, "registers": count, "commit": commit, "accuracy": evaluate(model, data)["accuracy"],
            "largest norm over median": (norms.amax(dim=1) / norms.median(dim=1).values).mean().item(),
            "pointing game of rollout": points,
            "attention on registers": maps[:, :, :, 0, 1:1 + R].sum(dim=-1).mean().item()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["scores", "registers"])
    part = parser.parse_args().part
    path = ZOO / "explanations.json"
    record = load_record("explanations") if path.exists() else {}
    if part == "scores":
        for name in MODELS:
            record[name] = score(name) | environment()
            print(name, {m: round(row["pointing game"][0], 3) for m, row in record[name]["scores"].items()}, flush=True)
    else:
        runs = [registers(count, seed) for seed in range(3) for count in (0, 4)]
        record["registers"] = {"recipe": "shapes-scattered", "runs": runs, **environment()}
    save_record(path, record)
