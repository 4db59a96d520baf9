"""Attention in windows: timm's Swin block, who reads whom, and what windows cannot cover."""

from dataclasses import replace

import pytest
import torch
from common import PLAIN, TINY, pictures, randomise
from timm.models.swin_transformer import SwinTransformerBlock, get_relative_position_index

from vitlib.train import fit
from vitlib.vit import ViT
from vitlib.windows import WindowBlock, from_windows, relative_places, shift_mask, to_windows, windowed

MEAN = replace(TINY, image_size=16, pool="mean", depth=4)  # 4×4 tokens


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_a_block_equals_timms(shift):
    theirs = SwinTransformerBlock(24, (8, 8), num_heads=3, window_size=4, shift_size=shift)
    theirs = randomise(theirs, 0.3).double().eval()
    ours = WindowBlock(24, 3, 96, (8, 8), 4, shift, eps=1e-5).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(3, 64, 24, dtype=torch.float64)
    expected = theirs(x.view(3, 8, 8, 24)).flatten(1, 2)
    assert (expected - x).std() > 0.3
    torch.testing.assert_close(ours(x), expected, atol=1e-12, rtol=0)


def test_a_block_equals_timms_on_a_grid_that_is_not_square():
    theirs = randomise(SwinTransformerBlock(24, (4, 8), num_heads=3, window_size=2, shift_size=1), 0.3).double().eval()
    ours = WindowBlock(24, 3, 96, (4, 8), 2, 1, eps=1e-5).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 32, 24, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x.view(2, 4, 8, 24)).flatten(1, 2), atol=1e-12, rtol=0)


def test_cutting_windows_and_putting_them_back_changes_nothing():
    x = torch.arange(2 * 4 * 6 * 3).view(2, 4, 6, 3)
    windows = to_windows(x, 2)
    assert windows.shape == (2 * 6, 4, 3)
    assert torch.equal(windows[6 + 4].view(2, 2, 3), x[1, 2:, 2:4])  # second image, second row of windows, its second
    assert torch.equal(from_windows(windows, 2, (4, 6)), x)
    assert torch.equal(to_windows(from_windows(windows, 2, (4, 6)), 2), windows)


@pytest.mark.parametrize("window", [1, 2, 4, 7])
def test_pairs_that_lie_alike_share_a_number_and_it_is_timms(window):
    places = relative_places(window)
    assert torch.equal(places, get_relative_position_index(window, window))
    assert places.unique().tolist() == list(range((2 * window - 1) ** 2))


def readers(block, grid):
    """For each token, which tokens its output depends on: (N, N) bool, by gradients."""
    x = torch.randn(1, grid[0] * grid[1], 8, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: block(x)[0].sum(dim=-1), x)  # (N, 1, N, D)
    return jacobian[:, 0].abs().sum(dim=-1) > 0


def expected_readers(grid, window, shift):
    """The same in words: the same window, once both places are counted from a border moved by the shift."""
    def number(row, column):
        return (row - shift) // window, (column - shift) // window  # -1 for the strip before the first border
    places = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
    return torch.tensor([[number(*a) == number(*b) for b in places] for a in places])


@pytest.mark.parametrize(("grid", "window", "shift"), [((4, 8), 4, 0), ((4, 8), 2, 1), ((8, 4), 4, 2), ((6, 9), 3, 1)])
def test_who_reads_whom(grid, window, shift):
    block = randomise(WindowBlock(8, 2, 16, grid, window, shift), 0.5).double().eval()
    found = readers(block, grid)
    assert torch.equal(found, expected_readers(grid, window, shift))
    unshifted = expected_readers(grid, window, 0)
    assert (found & ~unshifted).any() == (shift > 0)  # with a shift tokens read past the old borders, never without
    columns = torch.arange(grid[1]).repeat(grid[0])
    far = (columns[:, None] - columns).abs() >= window
    assert not (found & far).any()  # rolling brought the two edges of the image together


def test_the_mask_lets_tokens_read_themselves_and_is_the_same_both_ways():
    mask = shift_mask((8, 12), 4, 2)
    assert mask.shape == (6, 1, 16, 16) and mask.dtype == torch.bool
    assert mask.diagonal(dim1=-2, dim2=-1).all() and torch.equal(mask, mask.mT)
    assert [part.all().item() for part in mask] == [True, True, False, False, False, False]  # last column and row


def test_a_windowed_model_shifts_every_second_block_and_starts_as_the_recipe_says():
    model = windowed(ViT(MEAN), 2)
    assert [(block.window, block.shift, block.grid) for block in model.blocks] == [(2, s, (4, 4)) for s in (0, 1, 0, 1)]
    assert [block.mask is None for block in model.blocks] == [True, False, True, False]
    for name, parameter in model.blocks.named_parameters():
        if name.endswith("bias") or "table" in name:
            assert (parameter == 0).all(), name
        elif "norm" not in name:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.2), name
    assert not any("mask" in name or "places" in name for name in model.state_dict())
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 3)
    alone, image = randomise(model, 0.3).eval(), torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(alone(image)[1:], alone(image[1:]), atol=1e-5, rtol=0)  # windows do not mix images


def test_a_windowed_model_trains_in_all_its_parts():
    model = windowed(ViT(replace(MEAN, depth=2)), 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    history = fit(model, pictures(24, size=16), replace(PLAIN, epochs=8, optimizer="muon"))
    assert history[-1]["train_loss"] < 0.9 < 1.05 < history[0]["train_loss"]
    assert all((value - before[name]).abs().max() > 1e-4 for name, value in model.state_dict().items())


def test_a_windowed_model_has_no_maps_over_the_whole_image():
    with pytest.raises(TypeError, match="need_weights"):
        windowed(ViT(MEAN), 2).attention_maps(torch.randn(1, 3, 16, 16))


def test_an_exported_windowed_model_runs_with_another_batch_size():
    model = randomise(windowed(ViT(replace(MEAN, depth=2)), 2), 0.3).eval()
    exported = torch.export.export(model, (torch.randn(3, 3, 16, 16),),
                                   dynamic_shapes={"images": {0: torch.export.Dim("batch")}}).module()
    for count in (1, 5):
        x = torch.randn(count, 3, 16, 16)
        torch.testing.assert_close(exported(x), model(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("grid", "window", "shift", "words"), [
    ((8, 8), 3, 0, "windows of 3 tokens a side do not fill a grid of 8×8; choose a divisor of both"),
    ((4, 6), 4, 0, "windows of 4 tokens a side do not fill a grid of 4×6"), ((4, 4), 0, 0, "windows of 0 tokens"),
    ((4, 4), 2.0, 0, "windows of 2.0 tokens"), ((8, 8), 4, 4, r"shift must lie in 0…3 for windows of 4, got 4"),
    ((8, 8), 4, -1, "got -1"), ((8, 8), 4, 1.0, "got 1.0")])
def test_windows_that_do_not_fit_are_named(grid, window, shift, words):
    with pytest.raises(ValueError, match=words):
        WindowBlock(8, 2, 16, grid, window, shift)


def test_models_that_windows_cannot_cover_are_named():
    with pytest.raises(ValueError, match="this model has 1 tokens before them; use pool='mean' or 'sequence' and"):
        windowed(ViT(replace(MEAN, pool="cls")), 2)
    with pytest.raises(ValueError, match="this model has 3 tokens before them"):
        windowed(ViT(replace(MEAN, registers=3)), 2)
    with pytest.raises(ValueError, match="windows of 3 tokens a side do not fill a grid of 4×4"):
        windowed(ViT(MEAN), 3)


@pytest.mark.parametrize(("changes", "words"), [
    ({"patch_drop": 0.5}, "need every patch, and patch_drop=0.5 leaves some out; use patch_drop=0"),
    ({"positions": "rope"}, "has no positions='rope'; use positions='learned'"),
    ({"qk_norm": True, "dropout": 0.1}, "has no dropout=0.1, qk_norm=True; use dropout=0.0, qk_norm=False"),
    ({"layer_scale": 0.1}, "has no layer_scale=0.1; use"), ({"qkv_bias": False}, "no qkv_bias=False; use qkv_bias=Tr")])
def test_settings_that_a_window_block_would_forget_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        windowed(ViT(replace(MEAN, **changes)), 2)


def test_a_windowed_model_keeps_the_rates_of_drop_path_and_the_norms_epsilon():
    model = windowed(ViT(replace(MEAN, drop_path=0.3, norm_eps=1e-3, positions="none")), 2)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert {norm.eps for block in model.blocks for norm in (block.norm1, block.norm2)} == {1e-3}
