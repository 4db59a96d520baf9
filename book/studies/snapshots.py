"""The weights of `shapes-tiny` on its way: before the first step, and after 1, 2, 4 and 8 of its 12 epochs.

    python book/studies snapshots       # --dry for a trial of a minute, which keeps nothing

The live page shows them under a slider; its last position is the zoo's own model. The run has that model's seed, so on
a like machine it is the same run.
"""

import argparse
from pathlib import Path

import torch

from vitlib.checkpoint import export_weights, load_record
from vitlib.recipes import RECIPES
from vitlib.sources import load_data
from vitlib.train import evaluate, fit, label_loss
from vitlib.vit import ViT

EPOCHS = (0, 1, 2, 4, 8)
FOLDER = Path(__file__).parents[1] / "_live"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="some images, and nothing is written")
    dry = parser.parse_args().dry
    recipe = RECIPES["shapes-tiny"]
    train, test = load_data(recipe.data, recipe.model.image_size)
    train, test = (train.subset(torch.arange(600)), test.subset(torch.arange(200))) if dry else (train, test)
    torch.manual_seed(recipe.train.seed)
    model, steps = ViT(recipe.model), len(train) // recipe.train.batch_size
    done = 0

    def watched(model, images, targets, config):
        """The loss as ever; before the first step of some epochs the weights are kept."""
        nonlocal done
        epoch, step = divmod(done, steps)
        if step == 0 and epoch in EPOCHS and not dry:
            export_weights(model, FOLDER / f"shapes-tiny-epoch-{epoch}.safetensors")
        done += 1
        return label_loss(model, images, targets, config)

    fit(model, train, recipe.train, objective=watched)
    reached = evaluate(model, test)["accuracy"]
    print(f"reached {reached:.2%} on the test images; the record of shapes-tiny says "
          f"{load_record('shapes-tiny')['test']['accuracy']:.2%}")
