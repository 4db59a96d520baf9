"""Score every explanation method on several models, and try register tokens: writes vitlib/zoo/explanations.json.

    python book/studies explanations scores       eight models, six of them trained here (40 minutes on one core)
    python book/studies explanations registers    six models, trained where runs/ does not hold them (an hour)
    python book/studies explanations photographs  how far the heads of a model of photographs look (a minute)

Each model is scored on images of its own, so the models' means differ by the luck of training and of images alike, and
one interval, Student's over models, holds both. With the same images for all, it would leave the images out.
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
from study import Kept  # noqa: E402

from vitlib import cli  # noqa: E402
from vitlib.checkpoint import ZOO, environment, load_record, load_weights, load_zoo, save_record  # noqa: E402
from vitlib.data import ImageSet, normalise  # noqa: E402
from vitlib.explain import fills, pictures  # noqa: E402
from vitlib.maps import attention_distance, class_rows, rollout  # noqa: E402
from vitlib.scores import (  # noqa: E402
    average_precision,
    centre_gaussian,
    edge_map,
    iou,
    over_models,
    pointing_game,
    rank_correlation,
    replacement_curve,
)
from vitlib.shapes import shapes  # noqa: E402
from vitlib.sources import load_cifar10  # noqa: E402
from vitlib.train import evaluate, predict  # noqa: E402
from vitlib.vit import ViT  # noqa: E402

IMAGES, SEED, GRID = 300, 77, (8, 8)  # the images of model k are drawn with seed SEED + k
MODELS = {"shapes-scattered": range(5), "shapes-tiny": range(3)}  # recipe: seeds; the zoo has seed 0 of each
BEST = ("rollout", "occlusion")


def trained(name: str, seed: int, dry: bool) -> ViT:
    """The zoo's model, or that of another seed, trained where runs/ does not hold it."""
    if seed == 0:
        return load_zoo(name)[0]
    out = ROOT / "runs" / f"explanations-{name}-{seed}{'-dry' if dry else ''}"
    if not (out / "record.json").exists():
        cli.main(["train", name, "--seed", str(seed), "--out", str(out), "--resume",
                  *(["--set", "epochs=1"] if dry else [])])
    return load_weights(out / "weights.safetensors")


def score(name: str, seed: int, dry: bool) -> dict:
    """Every method and baseline on one model: the mean of each score over images of its own."""
    model, images = trained(name, seed, dry), 20 if dry else IMAGES
    data = shapes(images, seed=SEED + seed, scattered=name == "shapes-scattered")
    g = torch.Generator().manual_seed(SEED + seed)
    parts = [score_part(model, data.subset(part), g) for part in torch.arange(images).split(100)]
    return {"seed": seed, "image seed": SEED + seed, "accuracy": evaluate(model, data)["accuracy"],
            "scores": {method: {kind: torch.cat([part[method][kind] for part in parts]).mean().item() for kind in row}
                       for method, row in parts[0].items()}}


def summary(models: list[dict]) -> dict:
    """Mean and 95 % interval over the models of every score, and of what one method is ahead of another in it."""
    rows = [model["scores"] for model in models]
    kinds = {method: list(row) for method, row in rows[0].items()}

    def ahead(method: str, rival: str, kind: str) -> tuple[float, float, float]:
        return over_models(torch.tensor([row[method][kind] - row[rival][kind] for row in rows]))

    return {"images": IMAGES, "models": models,
            "scores": {method: {kind: over_models(torch.tensor([row[method][kind] for row in rows])) for kind in known}
                       for method, known in kinds.items()},
            "pointing game above": {rival: {method: ahead(method, rival, "pointing game") for method in kinds
                                            if method != rival} for rival in kinds},
            "rollout minus occlusion": {kind: ahead(*BEST, kind) for kind in kinds["rollout"]}}


def score_part(model: ViT, data: ImageSet, g: torch.Generator) -> dict[str, dict[str, Tensor]]:
    """{method: {score: (B,)}} for some images; the class explained is the predicted one."""
    images = normalise(data.images)
    classes = predict(model, data.images).argmax(dim=1)
    inside = F.adaptive_avg_pool2d(data.masks.float(), GRID)
    maps = {"random": torch.rand(len(data), *GRID, generator=g),
            "centre": centre_gaussian(images, GRID), "edges": edge_map(images, GRID),
            **pictures(model, images, classes)}
    return {method: {"pointing game": pointing_game(picture, inside), "IoU": iou(picture, data.masks),
                     "average precision": average_precision(picture, data.masks),
                     **{f"{'insertion' if insert else 'deletion'}, {kind}":
                        replacement_curve(model, images, classes, picture, fill, insert).mean(dim=1)
                        for insert in (False, True) for kind, fill in fills(images).items()},
                     "agreement with occlusion":
                     rank_correlation(picture, maps["occlusion"]).nan_to_num(0)}  # no order at all: no agreement
            for method, picture in maps.items()}


def registers(count: int, seed: int) -> dict:
    """Train shapes-scattered with `count` registers, unless it is there, and look at it."""
    out = ROOT / "runs" / f"registers-{count}-{seed}"
    if not (out / "record.json").exists():
        cli.main(["train", "shapes-scattered", "--seed", str(seed), "--set", f"registers={count}",
                  "--out", str(out), "--resume"])
    model, data = load_weights(out / "weights.safetensors"), shapes(1000, seed=SEED, scattered=True)
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


def photographs() -> dict:
    """The attention distance of each head of cifar10-tiny, in pixels, on test images of CIFAR-10."""
    model, test = load_zoo("cifar10-tiny")[0], load_cifar10()[1]
    parts = normalise(test.images[::10]).split(100)  # files may come class by class
    with torch.no_grad():
        distance = [attention_distance(model.attention_maps(part), GRID, model.config.patch_size) for part in parts]
    return {"recipe": "cifar10-tiny", "data": test.name, "images": 1000,
            "attention distance": torch.cat(distance, dim=1).mean(dim=1).tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["scores", "registers", "photographs"])
    parser.add_argument("--dry", action="store_true", help="scores of two models each on 20 images, nothing written")
    parser.add_argument("--partial", action="store_true", help="train nothing: write the record of what is done")
    args = parser.parse_args()
    path = ZOO / "explanations.json"
    record = load_record("explanations") if path.exists() else {}
    if args.part == "scores":
        kept = Kept(ROOT / "runs" / f"explanations{'-dry' if args.dry else ''}.json", {"images": IMAGES})
        for name, seed in [] if args.partial else [(name, seed) for name, seeds in MODELS.items() for seed in seeds]:
            if not (args.dry and seed > 1):
                kept(f"{name} {seed}", score, name, seed, args.dry)
        for name in MODELS:
            models = [run for title, run in kept.record["runs"].items() if title.startswith(name)]
            if len(models) < 2:
                print(f"{name}: {len(models)} models are done, and an interval needs two; its record stays as it is")
                continue
            record[name] = {"recipe": name} | summary(models) | environment()
            print(name, {m: row["pointing game"] for m, row in record[name]["scores"].items()}, flush=True)
    elif args.part == "photographs":
        record["photographs"] = photographs() | environment()
    else:
        runs = [registers(count, seed) for seed in range(3) for count in (0, 4)]
        record["registers"] = {"recipe": "shapes-scattered", "runs": runs, **environment()}
    if not args.dry:
        save_record(path, record)
