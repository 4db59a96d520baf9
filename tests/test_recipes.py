"""Every recipe can be run: twenty steps of a narrow one on a few images, without its data."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from common import pictures

from vitlib.checkpoint import ZOO
from vitlib.optim import make_optimizers
from vitlib.recipes import RECIPES
from vitlib.train import fit
from vitlib.vit import ViT

RECORDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(ZOO.glob("*.json"))}
RUNS = {name: record for name, record in RECORDS.items() if "history" in record}


@pytest.mark.parametrize("name", RECIPES)
def test_twenty_steps_of_each_recipe_change_every_parameter_and_stay_finite(name):
    recipe = RECIPES[name]
    torch.manual_seed(0)
    # all of the recipe but its size, length, batches and the compiler, which takes a minute and changes no result
    small = replace(recipe.model, classes=3, dim=16 * recipe.model.heads, depth=min(2, recipe.model.depth))
    model = ViT(small)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    history = fit(model, pictures(40, size=32), replace(recipe.train, epochs=1, batch_size=2, compile=False, calm=0.0))
    assert history[0]["train_loss"] < 10
    still = [n for n, p in model.named_parameters() if p.requires_grad and torch.equal(p, before[n])]
    assert not still
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("name", RECIPES)
def test_the_model_of_each_recipe_can_be_built_in_full_size(name):
    recipe = RECIPES[name]
    model = ViT(recipe.model).to("meta")  # shapes without numbers: the pass takes no time
    assert model(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, 10)
    optimizers = make_optimizers(model, recipe.train.optimizer, 1e-3, 0.0, (0.9, 0.98), 1e-3, 0.0)
    trained = sum(p.numel() for o in optimizers for group in o.param_groups for p in group["params"])
    assert trained == sum(p.numel() for p in model.parameters() if p.requires_grad) > 50_000


def test_recipes_differ_and_each_says_what_it_is_for():
    assert len({str(asdict(recipe)) for recipe in RECIPES.values()}) == len(RECIPES)
    assert all(recipe.about for recipe in RECIPES.values())


def test_recipes_without_a_record_say_so():
    for name, recipe in RECIPES.items():
        if name.startswith(("cpu", "gpu")):
            assert (ZOO / f"{name}.json").is_file() != ("no record yet" in recipe.about), name


@pytest.mark.parametrize("name", RUNS)
def test_a_record_is_of_its_recipe_as_it_stands(name):
    record = RUNS[name]
    recipe, seed = RECIPES[record["recipe"]], record["train"]["seed"]
    now = json.loads(json.dumps({"model": asdict(recipe.model), "train": asdict(recipe.train) | {"seed": seed}}))
    if cut := name.endswith("-20min"):  # a tutorial's recipe with as many passes as fit into the time of cpu-20
        now["train"]["epochs"] = record["train"]["epochs"]
        assert 0.8 < record["training seconds"] / RUNS["cpu-20"]["training seconds"] < 1.1
    assert name == record["recipe"] + ("-20min" if cut else "") + (f"-seed{seed}" if seed else "")
    for part in now:  # fields that came later than a record had no effect on it
        assert record[part] == {field: now[part][field] for field in record[part]}
    assert len(record["history"]) == record["train"]["epochs"] and "dirty" not in record["commit"]


def test_the_readme_promises_what_the_records_hold():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    promises = re.findall(r"vitlib train (\S+) +#.* (\d+) % in (\d+) minutes", text)
    assert [name for name, *_ in promises] == ["cifar10-tiny", "cpu-60"]
    for name, percent, minutes in promises:
        assert int(percent) == int(100 * RUNS[name]["test"]["accuracy"]), name
        assert 0.9 * int(minutes) < RUNS[name]["training seconds"] / 60 < int(minutes), name
    welcome = " ".join((Path(__file__).parents[1] / "book" / "intro.md").read_text(encoding="utf-8").split())
    assert re.findall(r"with (\d+) % in (\d+) minutes", welcome) == [promise[1:] for promise in promises]
