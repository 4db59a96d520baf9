"""The masked autoencoder against transformers' own, its parts against plain loops, and what it refuses."""

import os
from dataclasses import asdict, replace

import pytest
import torch
from common import PLAIN, TINY, pictures, randomise
from torch import nn
from torch.nn import functional as F
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from vitlib import pretrain as module
from vitlib.checkpoint import load_checkpoint
from vitlib.data import ImageSet, normalise
from vitlib.mae import MAEConfig, MaskedAutoencoder, patch_targets, rebuild, split_patches, take
from vitlib.mae_clinic import FAULTS, infect
from vitlib.optim import learning_rate
from vitlib.patches import patchify
from vitlib.pretrain import layer_features, pretrain
from vitlib.vit import ViT, ViTConfig

SMALL = MAEConfig(dim=8, heads=2)
VIT = ViTConfig(image_size=16, patch_size=4, dim=16, depth=2, heads=2, classes=3)


def autoencoder(vit=VIT, config=SMALL):
    return randomise(MaskedAutoencoder(ViT(vit), config), std=0.3)


def batch(B=3, vit=VIT, dtype=torch.float32):
    """Images and noise."""
    g = torch.Generator().manual_seed(1)
    side, N = vit.image_size, (vit.image_size // vit.patch_size) ** 2
    return torch.randn(B, 3, side, side, generator=g).to(dtype), torch.rand(B, N, generator=g).to(dtype)


def block_names(ours: str, theirs: str, state: dict) -> dict:
    """The weights of one of our blocks under transformers' names."""
    pairs = {"norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.o_proj",
             "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    found = {}
    for kind in ("weight", "bias"):
        found |= {f"{theirs}.{b}.{kind}": state[f"{ours}.{a}.{kind}"] for a, b in pairs.items()}
        parts = state[f"{ours}.attn.qkv.{kind}"].chunk(3)
        found |= {f"{theirs}.attention.{name}_proj.{kind}": part for name, part in zip("qkv", parts)}
    return found


def theirs_from(model: MaskedAutoencoder) -> ViTMAEForPreTraining:
    """transformers' masked autoencoder with our weights."""
    v, c, s = model.encoder.config, model.config, model.state_dict()
    other = ViTMAEForPreTraining(ViTMAEConfig(
        hidden_size=v.dim, num_hidden_layers=v.depth, num_attention_heads=v.heads,
        intermediate_size=int(v.dim * v.mlp_ratio), image_size=v.image_size, patch_size=v.patch_size,
        layer_norm_eps=1e-6, decoder_hidden_size=c.dim, decoder_num_hidden_layers=c.depth,
        decoder_num_attention_heads=c.heads, decoder_intermediate_size=int(c.dim * c.mlp_ratio), mask_ratio=c.mask,
        norm_pix_loss=c.normalised)).double().eval()
    P, codes = v.patch_size, s["decoder.pos_embed"]
    names = {"vit.embeddings.cls_token": s["encoder.cls_token"],
             "vit.embeddings.position_embeddings": s["encoder.pos_embed"],
             "decoder.mask_token": s["decoder.mask_token"][None, None],
             "decoder.decoder_pos_embed": torch.cat([torch.zeros_like(codes[:, :1]), codes], dim=1)}
    for kind in ("weight", "bias"):
        names |= {f"vit.embeddings.patch_embeddings.projection.{kind}": s[f"encoder.patch_embed.proj.{kind}"],
                  f"vit.layernorm.{kind}": s[f"encoder.norm.{kind}"],
                  f"decoder.decoder_embed.{kind}": s[f"decoder.embed.{kind}"],
                  f"decoder.decoder_norm.{kind}": s[f"decoder.norm.{kind}"]}
        rows = s[f"decoder.pixels.{kind}"].unflatten(0, (3, P, P)).movedim(0, 2)  # (P, P, C, …), their order of pixels
        names[f"decoder.decoder_pred.{kind}"] = rows.flatten(0, 2)
    for i in range(v.depth):
        names |= block_names(f"encoder.blocks.{i}", f"vit.layers.{i}", s)
    for i in range(c.depth):
        names |= block_names(f"decoder.blocks.{i}", f"decoder.decoder_layers.{i}", s)
    other.load_state_dict(names, strict=True)
    return other


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize(("depth", "mask"), [(1, 0.75), (2, 0.5)])
def test_loss_reconstruction_and_gradients_equal_transformers(normalised, depth, mask):
    model = autoencoder(config=replace(SMALL, depth=depth, mask=mask, normalised=normalised)).double()
    theirs = theirs_from(model)
    images, noise = batch(dtype=torch.float64)
    out, ours = theirs(images, noise=noise), model(images, noise)
    torch.testing.assert_close(ours, out.loss, atol=1e-10, rtol=0)
    predicted, hidden = model.predict(images, noise)
    assert torch.equal(torch.zeros_like(noise).scatter(1, hidden, 1.0), out.mask.double())
    pixels = out.logits.unflatten(2, (4, 4, 3)).movedim(4, 2).flatten(2)  # from (P, P, C) to our (C, P, P)
    torch.testing.assert_close(predicted, take(pixels, hidden), atol=1e-10, rtol=0)
    ours.backward(), out.loss.backward()
    for mine, his in ((model.encoder.patch_embed.proj.weight, "vit.embeddings.patch_embeddings.projection.weight"),
                      (model.encoder.cls_token, "vit.embeddings.cls_token"),
                      (model.decoder.mask_token, "decoder.mask_token"),
                      (model.encoder.blocks[0].mlp.fc1.weight, "vit.layers.0.mlp.fc1.weight")):
        expected = dict(theirs.named_parameters())[his].grad
        torch.testing.assert_close(mine.grad, expected.reshape(mine.shape), atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("mask", [0.1, 0.5, 0.75, 0.9])
def test_every_patch_is_seen_or_hidden_and_the_smallest_noise_stays(mask):
    noise = batch(5)[1]
    kept, hidden = split_patches(noise, mask)
    assert hidden.shape == (5, round(16 * mask))
    for row, seen, unseen in zip(noise, kept, hidden):
        assert sorted([*seen.tolist(), *unseen.tolist()]) == list(range(16))
        assert row[seen].max() < row[unseen].min()
    assert any(set(kept[0].tolist()) != set(other.tolist()) for other in kept[1:])


def test_each_patch_is_hidden_as_often_as_the_share_says():
    _, hidden = split_patches(torch.rand(4000, 16), 0.75)
    often = hidden.flatten().bincount(minlength=16) / 4000
    torch.testing.assert_close(often, torch.full((16,), 0.75), atol=0.04, rtol=0)


def test_targets_are_each_patchs_pixels_with_mean_0_and_deviation_1():
    images = batch()[0]
    targets = patch_targets(images, 4)
    patch = images[1, :, 4:8, 8:12].flatten()  # row 1, column 2
    torch.testing.assert_close(targets[1, 6], (patch - patch.mean()) / patch.std(), atol=1e-5, rtol=1e-5)
    assert torch.equal(patch_targets(images, 4, normalised=False), patchify(images, 4))
    assert torch.equal(patch_targets(torch.ones(1, 3, 8, 8), 4), torch.zeros(1, 4, 48))  # one colour: no division by 0


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("registers", [0, 2])
@pytest.mark.parametrize("positions", ["sincos", "learned"])
def test_hidden_pixels_change_no_prediction_and_seen_ones_do(pool, registers, positions):
    model = autoencoder(replace(VIT, pool=pool, registers=registers, positions=positions)).eval()
    images, noise = batch()
    predicted, hidden = model.predict(images, noise)
    other = images.clone()
    for i, patches in enumerate(hidden):
        for j in patches.tolist():
            other[i, :, j // 4 * 4:j // 4 * 4 + 4, j % 4 * 4:j % 4 * 4 + 4] = 7.0
    torch.testing.assert_close(model.predict(other, noise)[0], predicted)
    assert (model.predict(-images, noise)[0] - predicted).abs().max() > 0.01


def test_the_decoder_knows_places_and_the_encoder_reads_only_what_is_seen():
    model, seen = autoencoder().eval(), []
    images, noise = batch()
    model.encoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    predicted, _ = model.predict(images, noise)
    assert seen == [1 + 4]  # the class token and a quarter of 16 patches
    assert (predicted[:, 0] - predicted[:, 1]).abs().max() > 0.1
    with torch.no_grad():
        model.decoder.pos_embed.zero_()
    lost, _ = model.predict(images, noise)
    torch.testing.assert_close(lost, lost[:, :1].expand_as(lost), atol=1e-6, rtol=0)  # nothing tells them apart


def test_the_loss_is_on_hidden_patches_alone():
    model = autoencoder().eval()
    images, noise = batch()
    predicted, hidden = model.predict(images, noise)
    targets = patch_targets(images, 4)
    errors = [F.mse_loss(predicted[i, n], targets[i, j]) for i in range(3) for n, j in enumerate(hidden[i])]
    torch.testing.assert_close(model(images, noise), torch.stack(errors).mean())


@pytest.mark.parametrize("normalised", [True, False])
def test_rebuilding_keeps_what_is_seen_and_fills_in_the_rest(normalised):
    model = autoencoder(config=replace(SMALL, normalised=normalised)).train()
    images, noise = batch()
    whole = patchify(rebuild(model, images, noise), 4)
    kept, hidden = split_patches(noise, 0.75)
    assert torch.equal(take(whole, kept), take(patchify(images, 4), kept))
    predicted, pixels = model.predict(images, noise)[0], take(patchify(images, 4), hidden)
    if normalised:
        predicted = predicted * pixels.std(dim=-1, keepdim=True) + pixels.mean(dim=-1, keepdim=True)
    torch.testing.assert_close(take(whole, hidden), predicted, atol=1e-5, rtol=1e-5)
    assert model.training


TRAINING = replace(PLAIN, epochs=4, lr=1e-2)
MAE_TINY = MAEConfig(mask=0.5, dim=8, heads=2)


def tiny(seed=0, **changes):
    torch.manual_seed(seed)
    return MaskedAutoencoder(ViT(replace(TINY, **changes)), MAE_TINY)


def test_pretraining_lowers_the_loss_and_never_looks_at_labels():
    model, other, data = tiny(), tiny(), pictures()
    history = pretrain(model, data, replace(TRAINING, epochs=30))
    assert history[-1]["loss"] < 0.9 * history[0]["loss"] and [row["epoch"] for row in history] == list(range(1, 31))
    pretrain(other, ImageSet(data.images, data.labels.flip(0), data.classes), replace(TRAINING, epochs=30))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))
    assert not model.training


def noises_of(monkeypatch, **changes):
    """All noise of a pre-training of four passes over 24 images."""
    seen, model = [], tiny(**changes)
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda images, noise: seen.append(noise) or forward(images, noise))
    pretrain(model, pictures(), TRAINING)
    return torch.cat(seen)


def test_every_image_of_a_batch_and_every_pass_has_a_mask_of_its_own(monkeypatch):
    noises = noises_of(monkeypatch)
    assert len(noises.unique(dim=0)) == len(noises) == 24 * 4


def test_the_rate_follows_the_schedule_and_gradients_are_clipped(monkeypatch):
    factors, norms = [], []
    monkeypatch.setattr(module, "set_rate", lambda optimizers, factor: factors.append(factor))
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda parameters, largest: norms.append(largest))
    pretrain(tiny(), pictures(), TRAINING)  # 3 steps an epoch
    assert factors == [learning_rate(step, 12, 1.0, 3, "linear") for step in range(12)]
    assert norms == [TRAINING.clip] * 12
    pretrain(tiny(), pictures(), replace(TRAINING, clip=0.0))
    assert len(norms) == 12


def test_masks_do_not_depend_on_what_the_model_draws(monkeypatch):
    assert torch.equal(noises_of(monkeypatch), noises_of(monkeypatch, drop_path=0.3))


@pytest.mark.parametrize(("optimizer", "drop_path"), [("adamw", 0.0), ("muon", 0.3)])
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path, optimizer, drop_path):
    config = replace(TRAINING, optimizer=optimizer, crop=1, flip=True)
    whole, broken, path = tiny(drop_path=drop_path), tiny(drop_path=drop_path), tmp_path / "c.pt"
    history = pretrain(whole, pictures(), config)
    epochs = iter(range(2))

    def stop():
        if next(epochs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(broken, pictures(), config, path, each_epoch=stop)
    assert os.listdir(tmp_path) == ["c.pt"] and len(load_checkpoint(path)["history"]) == 2
    again = tiny(seed=9, drop_path=drop_path)
    resumed = pretrain(again, pictures(), config, path, resume=True)
    assert [row["loss"] for row in resumed] == [row["loss"] for row in history]
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    pretrain(tiny(), pictures(), TRAINING, tmp_path / "c.pt")
    torch.manual_seed(0)
    other = MaskedAutoencoder(ViT(TINY), replace(MAE_TINY, normalised=False))
    with pytest.raises(ValueError, match="made with autoencoder's normalised=True, not False"):
        pretrain(other, pictures(), TRAINING, tmp_path / "c.pt", resume=True)
    with pytest.raises(ValueError, match="made with lr=0.01, not 0.02"):
        pretrain(tiny(), pictures(), replace(TRAINING, lr=0.02), tmp_path / "c.pt", resume=True)


def test_a_loss_that_is_no_number_stops_the_run():
    with pytest.raises(FloatingPointError, match="Lower the learning rate"):
        pretrain(tiny(), pictures(), replace(TRAINING, lr=1e30, clip=0.0, warmup=0.0))


def test_what_pretraining_leaves_is_the_vit_itself():
    vit = ViT(TINY)
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    pretrain(MaskedAutoencoder(vit, MAE_TINY), pictures(), TRAINING)
    assert vit.state_dict().keys() == before.keys()
    changed = {name for name, value in vit.state_dict().items() if not torch.equal(value, before[name])}
    assert set(before) - changed == {"head.weight", "head.bias"}


def test_layer_features_are_the_mean_patch_after_each_block():
    model, data = randomise(ViT(replace(TINY, registers=1)), std=0.3).train(), pictures()
    features = layer_features(model, data.images, batch_size=7)
    assert features.shape == (2, 24, 16) and model.training
    with torch.no_grad():
        x = model.blocks[0](model.embed(normalise(data.images)))
    torch.testing.assert_close(features[0], x[:, 2:].mean(dim=1))
    torch.testing.assert_close(features[1], model.blocks[1](x)[:, 2:].mean(dim=1).detach())


@pytest.mark.parametrize(("changes", "message"), [
    ({"mask": 0.0}, "above 0 and below 1, got 0.0; 0.75 is"), ({"mask": 1.0}, "above 0 and below 1, got 1.0"),
    ({"mask": "0.75"}, "mask must be a finite number, got '0.75'"),
    ({"depth": 0}, "depth of the decoder must be positive"),
    ({"mask": 0.01}, "a share of 0.01 hides 0 of 16 patches.*from 0.0625 to 0.938"),
    ({"mask": 0.99}, "hides 16 of 16 patches"), ({"dim": 10}, "width that 4 divides, got 10; use 12"),
    ({"dim": 8, "heads": 3}, "cannot be shared equally by 3 heads"),
])
def test_settings_that_no_autoencoder_can_have_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        MaskedAutoencoder(ViT(VIT), MAEConfig(**asdict(SMALL) | changes))


@pytest.mark.parametrize(("vit", "message"), [
    (lambda: ViT(replace(VIT, positions="none")), "without positions nobody can tell.*positions='sincos'"),
    (lambda: ViT(replace(VIT, stem="conv")), "stem='conv' reads beyond a patch's border.*stem='patch'"),
    (lambda: ViT(replace(VIT, patch_drop=0.5)), "patch_drop=0.5 leaves patches out.*fine-tune its weights"),
    (lambda: nn.Linear(2, 2), "must be a ViT of vitlib, got Linear"),
    (lambda: ViT(replace(VIT, image_size=4)), "hides 1 of 1 patches"),
])
def test_models_that_cannot_be_the_encoder_are_refused(vit, message):
    with pytest.raises(ValueError, match=message):
        MaskedAutoencoder(vit(), SMALL)


@pytest.mark.parametrize(("images", "noise", "message"), [
    ((2, 3, 16, 16), (2, 9), r"2 images of 16 patches need noise of shape \(2, 16\), got \(2, 9\)"),
    ((2, 3, 16, 16), (1, 16), r"got \(1, 16\); draw it by torch.rand\(2, 16\)"),
    ((2, 3, 32, 32), (2, 16), r"reads images of shape \(B, 3, 16, 16\), got \(2, 3, 32, 32\)"),
    ((3, 16, 16), (1, 16), "add the batch axis"),
])
def test_images_and_noise_that_do_not_fit_are_refused(images, noise, message):
    with pytest.raises(ValueError, match=message):
        autoencoder()(torch.zeros(images), torch.rand(noise))


def test_noise_of_whole_numbers_is_refused():
    with pytest.raises(ValueError, match=r"one float for each patch, \(B, N\), got torch.int64 \(2, 4\)"):
        split_patches(torch.zeros(2, 4, dtype=torch.int64), 0.5)


@pytest.mark.parametrize(("changes", "message"), [
    ({"mixup": 0.2}, "mixup=0.2 has no place"), ({"cutmix": 1.0}, "cutmix"),
    ({"label_smoothing": 0.1}, "label_smoothing"), ({"ema": 0.9}, "ema"), ({"compile": True}, "compile=True"),
    ({"layer_decay": 0.7}, "layer_decay=0.7 is for fine-tuning"),
])
def test_settings_that_belong_to_labels_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        pretrain(tiny(), pictures(), replace(TRAINING, **changes))


def test_other_runs_that_cannot_be_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="needs the path of the checkpoint"):
        pretrain(tiny(), pictures(), TRAINING, resume=True)
    with pytest.raises(ValueError, match="the set is empty"):
        pretrain(tiny(), pictures().subset(torch.arange(0)), TRAINING)
    with pytest.raises(ValueError, match=r"reads images of shape \(B, 3, 8, 8\), got \(8, 3, 12, 12\)"):
        pretrain(tiny(), pictures(size=12), TRAINING)
    monkeypatch.setattr(module, "processes", lambda: 2)
    with pytest.raises(ValueError, match="one process; start it without torchrun"):
        pretrain(tiny(), pictures(), TRAINING)


def test_each_fault_changes_what_it_says_and_nothing_else():
    images, noise = batch()
    healthy = autoencoder().eval()
    loss, predicted = healthy(images, noise), healthy.predict(images, noise)[0]
    sick = {}
    for name in FAULTS:
        sick[name] = MaskedAutoencoder(ViT(VIT), SMALL).eval()
        sick[name].load_state_dict(healthy.state_dict())
        assert infect(sick[name], name) is sick[name] and sick[name].state_dict().keys() == healthy.state_dict().keys()
    one, late, lost, raw = sick.values()
    torch.testing.assert_close(one(images, noise), healthy(images, noise[:1].expand(3, -1)))
    assert (one(images, noise) - loss).abs() > 1e-4
    kept = split_patches(noise, 0.75)[0]
    first = torch.arange(4).expand(3, -1)
    plain, codes = healthy.encoder.embed(images)[:, 1:], healthy.encoder.pos_embed[:, 1:]
    expected = take(plain - codes, kept) + codes[:, :4]
    seen = []
    late.encoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    late.predict(images, noise)
    torch.testing.assert_close(seen[0][:, 1:], expected)
    torch.testing.assert_close(late.encode(images, first), healthy.encode(images, first))  # there, nothing is wrong
    blind = lost.predict(images, noise)[0]
    torch.testing.assert_close(blind, blind[:, :1].expand_as(blind), atol=1e-5, rtol=0)
    torch.testing.assert_close(raw(images, noise), healthy(63.75 * images + 127.5, noise))
    assert torch.equal(healthy.predict(images, noise)[0], predicted)  # the others share nothing with it
    with pytest.raises(ValueError, match="there is no fault 'flu'; there are one mask"):
        infect(healthy, "flu")
