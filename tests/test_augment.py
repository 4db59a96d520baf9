from dataclasses import replace

import pytest
import torch
from common import pictures

from vitlib.augment import (
    beta,
    cutmix,
    mixup,
    random_affine,
    random_augment,
    random_box,
    random_colour,
    random_crop,
    random_erase,
    random_flip,
)
from vitlib.train import TrainConfig, batches

EACH = {  # every change of images alone, at a strength that is seen
    "flip": random_flip,
    "crop": lambda x, g: random_crop(x, 3, g),
    "erase": lambda x, g: random_erase(x, 0.9, g),
    "affine": lambda x, g: random_affine(x, 1.0, g),
    "colour": lambda x, g: random_colour(x, 1.0, g),
    "augment": lambda x, g: random_augment(x, 1.0, g)}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=64):
    return torch.rand(count, 3, 8, 8, generator=rng(9))


def kinds(x):
    return len(x.flatten(1).unique(dim=0))


@pytest.mark.parametrize("name", EACH)
def test_every_image_of_a_batch_gets_its_own_draw(name):
    same = images(1).expand(64, -1, -1, -1)
    expected = {"flip": 2, "crop": 30, "erase": 20, "affine": 64, "colour": 64, "augment": 40}[name]
    assert kinds(EACH[name](same, rng())) >= expected


@pytest.mark.parametrize("name", EACH)
def test_the_generator_alone_decides(name):
    x = images()
    kept = x.clone()
    first = EACH[name](x, rng(1))
    torch.manual_seed(123)
    assert torch.equal(EACH[name](x, rng(1)), first)
    assert not torch.equal(EACH[name](x, rng(2)), first)
    assert torch.equal(x, kept)  # the input is left alone
    assert first.shape == x.shape
    assert first.min() >= 0
    assert first.max() <= 1


def test_flip_mirrors_left_and_right_about_half_of_the_images():
    x = images(400)
    flipped = random_flip(x, rng())
    mirrored = (flipped == x.flip(-1)).flatten(1).all(1)
    assert (mirrored | (flipped == x).flatten(1).all(1)).all()
    assert 150 < mirrored.sum() < 250


def test_crop_is_a_shift_with_mirrored_borders():
    x = torch.arange(48.0).reshape(1, 3, 4, 4).expand(200, -1, -1, -1)
    padded = torch.nn.functional.pad(x[:1], (2, 2, 2, 2), mode="reflect")[0]
    windows = {tuple(padded[:, i:i + 4, j:j + 4].flatten().tolist()) for i in range(5) for j in range(5)}
    found = {tuple(y.flatten().tolist()) for y in random_crop(x, 2, rng())}
    assert found == windows  # every shift occurs, and nothing else: values come from the image


@pytest.mark.parametrize("change", ["flip", "crop", "erase"])
def test_flip_crop_and_erase_keep_bytes(change):
    assert EACH[change]((images() * 255).byte(), rng()).dtype == torch.uint8


@pytest.mark.parametrize("padding", [-1, 8])
def test_a_padding_that_does_not_fit_is_named(padding):
    with pytest.raises(ValueError, match=f"padding {padding} must lie in 0…7 for images of 8×8"):
        random_crop(images(), padding, rng())


def test_erase_blanks_one_box_with_the_images_mean():
    x = images(300)
    changed = random_erase(x, 0.5, rng())
    different = (changed != x).any(1)  # (B, H, W)
    touched = different.flatten(1).any(1)
    assert 100 < touched.sum() < 200
    assert different.float().mean((1, 2)).max() <= 0.4
    for before, after, where in zip(x[touched], changed[touched], different[touched]):
        rows, columns = where.any(1), where.any(0)
        assert torch.equal(where, rows[:, None] & columns[None])  # a box
        torch.testing.assert_close(after[:, where], before.mean((1, 2))[:, None].expand(-1, int(where.sum())))
    assert torch.equal(random_erase(x, 0.0, rng()), x)


def test_a_box_covers_its_share_unless_it_leaves_the_image():
    box = random_box(2000, 32, 32, torch.full((2000,), 0.25), rng()).float().mean((1, 2, 3))
    assert box.max().item() == pytest.approx(0.25, abs=0.03)
    assert 0.15 < box.mean() < 0.24


def test_affine_at_strength_zero_changes_nothing():
    torch.testing.assert_close(random_affine(images(), 0.0, rng()), images(), atol=1e-5, rtol=0)


def test_affine_fills_the_corners_from_the_image():
    assert random_affine(images() / 2 + 0.5, 1.0, rng()).min() >= 0.499  # no black


def test_affine_moves_and_turns_a_dot():
    x = torch.zeros(200, 1, 33, 33)
    x[:, :, 16, 26] = 1  # 10 pixels right of the centre
    y = random_affine(x, 1.0, rng())
    y, axis = y[y.sum((1, 2, 3)) > 0.5], torch.arange(33.0)  # where the dot is still in the picture
    position = torch.stack([(y * axis[:, None]).sum((1, 2, 3)), (y * axis).sum((1, 2, 3))], 1) / y.sum((2, 3))
    assert (position.std(0) > 2).all()  # up and down, left and right
    assert (position.mean(0) - torch.tensor([16.0, 26.0])).abs().max() < 3


def test_colour_changes_brightness_contrast_and_saturation():
    x = images() * 0.3 + 0.35
    y = random_colour(x, 0.3, rng())
    spread = lambda z: [z.mean((1, 2, 3)), z.std((1, 2, 3)), (z - z.mean(1, keepdim=True)).std((1, 2, 3))]  # noqa: E731
    for before, after in zip(spread(x), spread(y)):
        assert (after / before - 1).std() > 0.05
    torch.testing.assert_close(random_colour(x, 0.0, rng()), x)


def test_augment_changes_place_or_colour_of_about_three_quarters():
    x = images(400)
    changed = (random_augment(x, 1.0, rng()) != x).flatten(1).any(1)
    assert 260 < changed.sum() < 340


def labelled(count=64):
    """Image i holds the number i + 1 everywhere, and its target is row i of the identity."""
    return (torch.arange(count) + 1.0)[:, None, None, None].expand(-1, 3, 8, 8), torch.eye(count)


def test_mixup_blends_each_image_and_its_target_in_its_own_share():
    x, targets = labelled()
    y, mixed = mixup(x, targets, 1.0, rng())
    torch.testing.assert_close(mixed.sum(1), torch.ones(64))
    torch.testing.assert_close(y[:, 0, 0, 0], mixed @ (torch.arange(64) + 1.0))
    torch.testing.assert_close(y, y[:, :1, :1, :1].expand_as(y))
    assert mixed.diagonal().unique().numel() > 55
    assert (mixed.gt(0).sum(1) == 2).float().mean() > 0.9
    assert mixed.gt(0).sum(0).max() <= 2  # everyone is a partner once


def test_cutmix_targets_are_shares_of_pixels():
    x, targets = labelled()
    y, mixed = cutmix(x, targets, 1.0, rng())
    torch.testing.assert_close(mixed.sum(1), torch.ones(64))
    for i in range(64):
        pixels = y[i, 0].flatten().int() - 1
        assert torch.equal(y[i, 0], y[i, 2])
        torch.testing.assert_close(mixed[i], pixels.bincount(minlength=64) / 64)
        other = y[i, 0] != i + 1
        assert torch.equal(other, other.any(1)[:, None] & other.any(0)[None])  # a box
    assert mixed.diagonal().unique().numel() > 15


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_mixing_follows_the_generator_alone(mix):
    x, targets = labelled()
    first = mix(x, targets, 0.8, rng(1))
    torch.manual_seed(5)
    assert all(torch.equal(a, b) for a, b in zip(first, mix(x, targets, 0.8, rng(1))))
    assert not torch.equal(first[1], mix(x, targets, 0.8, rng(2))[1])


def test_beta_has_the_right_mean_and_spread():
    for alpha in (0.2, 1.0, 5.0):
        share = beta(20_000, alpha, rng())
        assert share.mean().item() == pytest.approx(0.5, abs=0.01)
        assert share.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
    with pytest.raises(ValueError, match="alpha > 0, got 0"):
        beta(3, 0, rng())


CHANGES = {"none": {"crop": 0, "flip": False}, "flip": {"crop": 0}, "crop": {}, "affine and colour": {"augment": 0.5},
           "erase": {"erase": 1.0}, "mixup": {"mixup": 0.5}, "cutmix": {"cutmix": 1.0}}


@pytest.mark.parametrize("change", CHANGES)
def test_a_batch_lies_channels_first_in_memory_whatever_the_images_do(change):
    """From images that lie channels last oneDNN's AVX2 backward pass may write past its memory."""
    data = pictures()
    data = replace(data, images=data.images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2))
    assert not data.images.is_contiguous()
    config = TrainConfig(batch_size=8, **CHANGES[change])
    for images, _ in batches(data, config, 0, torch.Generator().manual_seed(0)):
        assert images.is_contiguous()


def test_a_crop_lies_channels_first_in_memory():
    assert random_crop(torch.rand(4, 3, 8, 8), 2, torch.Generator().manual_seed(0)).is_contiguous()
