"""Each fault of the clinic is planted alone, fails its test of chapter 14, and leaves the healthy model as it was."""

import importlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from statistics import mean

import pytest
import torch
from torch.nn import functional as F

from vitlib.attention import MultiHeadAttention
from vitlib.checkpoint import load_record
from vitlib.clinic import PATIENTS, evaluate_augmented, plant
from vitlib.recipes import RECIPES
from vitlib.shapes import shapes
from vitlib.train import TrainConfig, evaluate, fit
from vitlib.vit import ViT, ViTConfig

ROOT = Path(__file__).parents[1]
RECORDS = {name: load_record(name) for name in ("clinic", "clinic_short")}
STUDIES = ROOT / "book" / "studies"
NAMES = list(PATIENTS)
FINDS = {  # the one-minute test that the chapter names for each fault
    "batch": "images_keep_apart", "heads": "order_is_nothing", "scale": "equals_pytorch", "matrix": "parameters_add_up",
    "twice": "skip_is_open", "skip": "skip_is_open", "one norm": "parameters_add_up",
    "last norm": "head_reads_normed", "positions": "places_matter", "loud": "content_is_heard",
    "softmax": "learns_by_heart", "adam": "nothing_to_learn", "rate": "rate_rises_and_falls",
    "augmented": "score_is_steady"}


@pytest.fixture(scope="module")
def chapter() -> dict:
    """What the chapter's code defines, up to the list of its tests; figures and grids after it are not run."""
    cells = json.loads((ROOT / "notebooks" / "14_bug_clinic.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"][1:]
    last = next(i for i, text in enumerate(code) if "TESTS = [" in text)
    space: dict = {}
    for text in [*code[:last], code[last].split("passed = ")[0]]:
        exec(text, space)
    return space


@pytest.fixture
def model() -> ViT:
    torch.manual_seed(0)
    model = ViT(ViTConfig(patch_size=8, dim=48))
    for p in model.parameters():
        p.data.normal_(0, 0.1)
    return model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_every_fault_has_a_test_and_every_test_a_use(chapter):
    assert set(FINDS) == {name for name, patient in PATIENTS.items() if patient.bug}
    used = {test.__name__ for test in chapter["TESTS"]}
    assert used == set(FINDS.values()) | {"starts_at_ln_k"}


@pytest.mark.parametrize("name", FINDS)
def test_the_named_test_passes_the_healthy_model_and_fails_the_patient(chapter, name):
    test = chapter[FINDS[name]]
    assert test(chapter["admit"](0))
    assert not test(chapter["admit"](1 + NAMES.index(name)))


@pytest.mark.parametrize("name", [name for name in NAMES if not PATIENTS[name].bug])
def test_who_is_not_ill_passes_every_test(chapter, name):
    assert all(test(chapter["admit"](1 + NAMES.index(name))) for test in chapter["TESTS"])


@pytest.mark.parametrize("name", NAMES)
def test_planting_leaves_the_original_as_it_was(model, images, name):
    before, kept, config = model(images), {k: v.clone() for k, v in model.state_dict().items()}, TrainConfig()
    plant(name, model, config)
    assert torch.equal(model(images), before) and config == TrainConfig()
    assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())
    assert not any(p._backward_hooks for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_planting_changes_what_it_says_and_nothing_else(model, images, name):
    sick, config = plant(name, model, TrainConfig())
    sick.eval()
    same_function = torch.allclose(sick(images), model.eval()(images), atol=1e-7)
    assert same_function == (name in ("adam", "rate", "augmented", "dropout"))  # dropout is quiet in evaluation
    assert (config != TrainConfig()) == (name in ("adam", "rate"))
    assert (PATIENTS[name].score is evaluate) == (name != "augmented")
    weights, kept = sick.state_dict(), model.state_dict()
    changed = {key for key in kept if key not in weights or not torch.equal(weights[key], kept[key])}
    expected = {"matrix": ("qkv.weight", "qkv.bias"), "one norm": ("norm2.weight", "norm2.bias"),
                "last norm": ("norm.weight", "norm.bias"), "positions": ("pos_embed",),
                "loud": ("pos_embed", "cls_token"), "mean": ("pos_embed", "cls_token")}.get(name, ())
    assert all(key.endswith(expected) for key in changed) and bool(changed) == bool(expected)
    if name == "last norm":
        assert changed == {"norm.weight", "norm.bias"}


def test_the_faults_do_what_their_names_say(model, images):
    x = model.embed(images)
    attn = model.blocks[0].attn
    q, k, v = attn.qkv(x).reshape(6, 17, 3, 4, 12).permute(2, 0, 3, 1, 4)
    flat = F.scaled_dot_product_attention(q, k, v, scale=48 ** -0.5).transpose(1, 2).flatten(2)
    assert torch.allclose(plant("scale", model, TrainConfig())[0].blocks[0].attn(x), attn.proj(flat), atol=1e-6)
    untransposed = F.scaled_dot_product_attention(q, k, v).reshape(6, 17, 48)
    assert torch.allclose(plant("heads", model, TrainConfig())[0].blocks[0].attn(x), attn.proj(untransposed), atol=1e-6)
    over = plant("batch", model, TrainConfig())[0].blocks[0].attn(x)
    assert torch.allclose(over, attn(x.transpose(0, 1)).transpose(0, 1), atol=1e-6)
    assert torch.allclose(plant("softmax", model, TrainConfig())[0](images), model(images).softmax(-1), atol=1e-6)
    adam = plant("adam", model, TrainConfig())[0]
    (0 * sum(p.sum() for p in adam.parameters())).backward()
    assert all(torch.allclose(p.grad, 0.03 * p.detach()) for p in adam.parameters())


def test_the_blocks_and_codes_are_wrong_in_the_way_that_they_say(model, images):
    x, block = model.embed(images), model.blocks[0].eval()
    skip, twice = (plant(name, model, TrainConfig())[0].eval().blocks[0] for name in ("skip", "twice"))
    y = block.norm1(x) + block.attn(block.norm1(x))
    y = block.norm2(y) + block.mlp(block.norm2(y))
    assert torch.allclose(skip(x), y, atol=1e-6)
    y = block.norm1(x + F.layer_norm(x + block.attn(x), (48,)))
    assert torch.allclose(twice(x), block.norm2(y + block.mlp(y)), atol=1e-6)
    torch.manual_seed(0)
    loud = plant("loud", ViT(ViTConfig()), TrainConfig())[0]
    assert 0.95 < loud.pos_embed.std() < 1.05 and 0.7 < loud.cls_token.std() < 1.3
    norms = plant("one norm", model, TrainConfig())[0].blocks
    assert all(b.norm1 is b.norm2 for b in norms) and norms[0].norm1 is not norms[1].norm1
    silent = plant("dropout", model, TrainConfig())[0]
    assert {m.p for m in silent.modules() if isinstance(m, torch.nn.Dropout)} == {0.1}


def test_the_training_is_wrong_in_the_way_that_it_says(model):
    for name, decay, betas in (("rate", 0.01, (0.9, 0.98)), ("adam", 0.0, (0.9, 0.999))):
        c = plant(name, model, TrainConfig())[1]
        assert (c.lr, c.schedule, c.warmup, c.clip) == (0.01, "constant", 0.0, 0.0)
        assert (c.weight_decay, c.betas) == (decay, betas)


def test_a_patient_gives_its_attention_weights_where_it_is_an_attention(model, images):
    healthy = model.attention_maps(images)
    assert torch.allclose(plant("heads", model, TrainConfig())[0].attention_maps(images)[0], healthy[0], atol=1e-6)
    assert plant("batch", model, TrainConfig())[0].attention_maps(images).shape == (4, 17, 4, 6, 6)
    assert type(model.blocks[0].attn) is MultiHeadAttention


def test_an_unknown_patient_is_named():
    with pytest.raises(ValueError, match="no patient 'flu'; the clinic has batch, "):
        plant("flu", ViT(ViTConfig()), TrainConfig())


def test_augmented_scores_repeat_with_the_seed_and_differ_without(model):
    data, scores = shapes(200, seed=0), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        scores.append(evaluate_augmented(model, data))
    assert scores[0] == scores[1] != scores[2]


@pytest.mark.parametrize("name", NAMES)
def test_every_patient_trains(name):
    torch.manual_seed(0)
    small = ViT(ViTConfig(patch_size=8, dim=16, depth=2, heads=2))
    model, config = plant(name, small, TrainConfig(epochs=1, batch_size=20))
    assert math.isfinite(fit(model, shapes(40, seed=0), config)[-1]["train_loss"])


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))
    return importlib.import_module("clinic")


def test_students_factor_is_that_of_the_tables(study):
    for degrees, t in ((2, 4.303), (4, 2.776), (6, 2.447), (10, 2.228), (30, 2.042), (60, 2.000), (120, 1.980)):
        assert study.student(degrees) == pytest.approx(t, abs=0.001)


def test_what_seed_and_patient_explain_is_no_scatter(study):
    rows = [[0.90, 0.91, 0.93], [0.80, 0.81, 0.83]]  # the same steps from seed to seed
    assert study.scatter(rows) == (pytest.approx(0, abs=1e-9), 2)
    g = torch.Generator().manual_seed(0)
    noise = 0.01 * torch.randn(40, 30, generator=g, dtype=torch.float64)
    seeds, patients = torch.rand(30, generator=g), torch.rand(40, 1, generator=g)
    deviation, degrees = study.scatter((noise + seeds + patients).tolist())
    assert deviation == pytest.approx(1, rel=0.05) and degrees == 39 * 29


def test_a_record_that_was_cut_off_has_the_seeds_that_are_whole(study, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "fit", lambda *_: [{"train_loss": 1.0}])  # nothing is trained
    images = shapes(40, seed=1), shapes(50, seed=2)
    part = study.Part(lambda: images, TrainConfig(), 3, ("batch", "augmented", "rate"))
    small, out, work = ViTConfig(patch_size=8, dim=8, depth=1, heads=2), tmp_path / "out.json", tmp_path / "work.json"
    monkeypatch.setattr("sys.argv", ["clinic", "--work", str(work), "--out", str(out)])
    study.collect("clinic", small, {"Shapes": part})
    whole = json.loads(out.read_text(encoding="utf-8"))
    assert whole["data"]["Shapes"]["seeds"] == [0, 1, 2] and "not done" not in whole["data"]["Shapes"]
    kept = json.loads(work.read_text(encoding="utf-8"))
    del kept["data"]["Shapes"]["runs"]["rate"]["2"]
    work.write_text(json.dumps(kept), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["clinic", "--work", str(work), "--out", str(out), "--partial"])
    study.collect("clinic", small, {"Shapes": part})
    cut = json.loads(out.read_text(encoding="utf-8"))["data"]["Shapes"]
    assert cut["seeds"] == [0, 1] and cut["not done"] == [2] and all(len(runs) == 2 for runs in cut["runs"].values())


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_costs_follow_from_the_runs_of_every_patient(study, record):
    assert not record["commit"].endswith("dirty")
    for part in record["data"].values():
        n, pool = len(part["seeds"]), part["pool"]
        assert n >= (2 if "not done" in part else 3) and set(part["runs"]) == {"healthy", *part["costs"]}
        runs = {name: 100 * torch.tensor(accuracy, dtype=torch.float64) for name, accuracy in part["runs"].items()}
        near = [name for name in part["costs"] if name in pool["patients"]]
        if near:
            x = torch.stack([runs[name] for name in ("healthy", *near)])
            chance = x - x.mean(0) - x.mean(1, keepdim=True) + x.mean()
            degrees = len(near) * (n - 1)
            half = study.student(degrees) * (2 * chance.square().sum() / degrees / n).sqrt().item()
            assert pool["degrees"] == degrees and pool["half_width"] == pytest.approx(half, abs=0.002)
        for name, cost in part["costs"].items():
            d = runs["healthy"] - runs[name]
            own = study.student(n - 1) * d.std().item() / n ** 0.5
            assert (name in near) == (abs(d.mean().item()) <= study.NEAR and name != "augmented")
            assert cost["mean"] == pytest.approx(d.mean().item(), abs=0.002)
            width = half if name in near else own
            assert cost["interval_95"] == pytest.approx([cost["mean"] - width, cost["mean"] + width], abs=0.01)


def test_the_record_is_of_a_well_trained_model_and_knows_every_patient():
    parts, cut_off = RECORDS["clinic"]["data"], "not done" in RECORDS["clinic"]
    brought = {name for name in NAMES if PATIENTS[name].training}  # they have a part of their own
    known = sorted(name for part in parts.values() for name in part["costs"])
    assert known == sorted(set(NAMES) - brought if cut_off else NAMES)
    for label, part in parts.items():  # the AdamW control needs more steps than Muon, and still ends lower
        assert mean(part["runs"]["healthy"]) > (0.85 if "AdamW" in label else 0.9), label
    assert RECORDS["clinic"]["model"] == asdict(RECIPES["shapes-quick"].model)
