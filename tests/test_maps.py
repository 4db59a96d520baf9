from dataclasses import replace

import pytest
import torch
from common import TINY, randomise

from vitlib.maps import attention_distance, class_rows, head_outputs, patch_rows, replace_head, rollout
from vitlib.vit import ViT


def maps(L=3, B=2, h=2, N=5):
    return (torch.randn(L, B, h, N, N, dtype=torch.float64) * 2).softmax(-1)


def vit(**changes):
    """A small model in float64 whose every part has a say, and two images."""
    model = randomise(ViT(replace(TINY, **changes)), 0.4).double().eval()
    return model, torch.randn(2, 3, 8, 8, dtype=torch.float64)


def test_identity_attention_looks_nowhere_and_rolls_out_to_the_identity():
    eye = torch.eye(17).expand(2, 1, 3, 17, 17)
    assert torch.equal(attention_distance(eye, (4, 4), 8), torch.zeros(2, 1, 3))
    assert torch.equal(rollout(eye), torch.eye(17)[None])


def test_uniform_attention_on_an_8_by_8_grid_of_4_pixel_patches_looks_16_55_pixels_far():
    uniform = torch.full((1, 1, 1, 64, 64), 1 / 64)
    assert attention_distance(uniform, (8, 8), 4).item() == pytest.approx(16.55, abs=0.005)
    with_class_token = torch.full((1, 1, 1, 65, 65), 1 / 65)
    assert attention_distance(with_class_token, (8, 8), 4).item() == pytest.approx(16.55, abs=0.005)


def test_distance_equals_a_plain_loop_on_an_oblong_grid():
    A, rows, columns = maps(N=7), 2, 3
    for prefix in (0, 1):
        part = A[..., 1 - prefix:, 1 - prefix:]
        part = part / part.sum(-1, keepdim=True)
        found = attention_distance(part, (rows, columns), 4)
        patches = part[1, 0, 1, prefix:, prefix:]
        total = sum(patches[q, k] / patches[q].sum() * 4 * ((q // 3 - k // 3) ** 2 + (q % 3 - k % 3) ** 2) ** 0.5
                    for q in range(6) for k in range(6)) / 6
        assert found[1, 0, 1].item() == pytest.approx(total.item())


def test_rollout_rows_sum_to_one():
    result = rollout(maps())
    assert result.shape == (2, 5, 5)
    torch.testing.assert_close(result.sum(-1), torch.ones(2, 5, dtype=torch.float64))
    assert (result.sum(-2) - 1).abs().max() > 0.05
    assert (result >= 0).all()


@pytest.mark.parametrize("residual", [0.0, 0.3, 0.5, 1.0])
def test_rollout_is_the_product_of_the_layers_the_last_on_the_left(residual):
    A, eye = maps(), torch.eye(5, dtype=torch.float64)
    first, second, third = (residual * eye + (1 - residual) * (layer[:, 0] + layer[:, 1]) / 2 for layer in A)
    torch.testing.assert_close(rollout(A, residual), third @ second @ first)
    if residual < 1:  # the mistakes that the comparison would catch
        reversed_order, wrong_axis = first @ second @ third, (third.mT @ second.mT @ first.mT)
        assert (reversed_order - third @ second @ first).abs().max() > 0.01
        assert (wrong_axis - third @ second @ first).abs().max() > 0.01


def test_rollout_by_hand_follows_a_token_through_two_layers():
    """Layer 1: token 1 reads token 2. Layer 2: token 0 reads token 1. So token 0 has seen token 2."""
    A = torch.eye(3).repeat(2, 1, 1, 1, 1)
    A[0, 0, 0, 1] = torch.tensor([0.0, 0, 1])
    A[1, 0, 0, 0] = torch.tensor([0.0, 1, 0])
    assert rollout(A, skip=0)[0].tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 1]]


def test_class_rows_are_what_the_class_token_reads():
    A = maps(N=7)
    pictures = class_rows(A, (2, 3))
    assert pictures.shape == (3, 2, 2, 2, 3)
    assert pictures[1, 0, 1, 1, 2] == A[1, 0, 1, 0, 6]
    assert pictures[1, 0, 1, 0, 0] == A[1, 0, 1, 0, 1]
    for part in (A[1], A[1, 0], A[1, 0, 1]):  # one layer, one image, one head
        assert torch.equal(class_rows(part, (2, 3)), pictures[(1, 0, 1)[:5 - part.ndim]])


def test_patch_rows_are_what_one_patch_reads_with_or_without_a_class_token():
    A = maps(N=7)
    assert patch_rows(A, 4, (2, 3))[2, 1, 0, 1, 0] == A[2, 1, 0, 5, 4]
    assert patch_rows(A[..., 1:, 1:], 4, (2, 3))[2, 1, 0, 1, 0] == A[2, 1, 0, 5, 4]


def test_a_models_maps_fit():
    A = randomise(ViT(TINY)).eval().attention_maps(torch.randn(2, 3, 8, 8))
    assert class_rows(A, (2, 2)).shape == (2, 2, 2, 2, 2)
    assert attention_distance(A, (2, 2), 4).shape == (2, 2, 2)


def test_with_registers_the_caller_says_how_many_tokens_stand_before_the_patches():
    model = randomise(ViT(replace(TINY, registers=2)), 0.4).eval()
    A = model.attention_maps(torch.randn(2, 3, 8, 8))  # (2, 2, 2, 7, 7): class token, two registers, four patches
    assert torch.equal(class_rows(A, (2, 2), model.prefix).flatten(-2), A[..., 0, 3:])
    assert torch.equal(class_rows(rollout(A), (2, 2), prefix=3).flatten(-2), rollout(A)[:, 0, 3:])
    assert torch.equal(patch_rows(A, 2, (2, 2), prefix=3).flatten(-2), A[..., 5, 3:])
    patches = A[..., 3:, 3:]
    torch.testing.assert_close(attention_distance(A, (2, 2), 4, prefix=3),
                               attention_distance(patches / patches.sum(-1, keepdim=True), (2, 2), 4))
    mean = randomise(ViT(replace(TINY, registers=2, pool="mean")), 0.4).eval()
    B = mean.attention_maps(torch.randn(2, 3, 8, 8))
    assert torch.equal(patch_rows(B, 0, (2, 2), mean.prefix).flatten(-2), B[..., 2, 2:])


def test_said_and_found_numbers_of_tokens_agree_where_both_can_be_had():
    A = maps(N=7)
    assert torch.equal(class_rows(A, (2, 3)), class_rows(A, (2, 3), prefix=1))
    assert torch.equal(patch_rows(A[..., 1:, 1:], 2, (2, 3)), patch_rows(A[..., 1:, 1:], 2, (2, 3), prefix=0))


def test_maps_grids_queries_and_shares_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"over 4 tokens are 2×2 patches and no class token, as with mean pooling"):
        class_rows(maps(N=4), (2, 2))
    with pytest.raises(ValueError, match=r"expected attention maps of shape \(…, T, T\), got \(3, 2, 2, 4, 5\)"):
        class_rows(maps()[..., 1:, :], (2, 2))
    for query in (-1, 4, 1.5):
        with pytest.raises(ValueError, match=f"patch {query} is not one of the 2×2 patches; .* 0 to 3"):
            patch_rows(maps(), query, (2, 2))
    calls = (class_rows, lambda maps, *rest: patch_rows(maps, 0, *rest), lambda maps, grid, prefix=None:
             attention_distance(maps, grid, 4, prefix))
    for call in calls:
        for grid in ((3, 3), (1, 3)):
            words = f"maps over 5 tokens are not 0 or 1 tokens and {grid[0]}×3 patches; .*prefix=model.prefix"
            with pytest.raises(ValueError, match=words):
                call(maps(), grid)
        with pytest.raises(ValueError, match="maps over 7 tokens are not 0 or 1 tokens .*say prefix=model.prefix"):
            call(maps(N=7), (2, 2))  # two registers
        with pytest.raises(ValueError, match="maps over 7 tokens are not prefix=4 tokens and 2×2 patches"):
            call(maps(N=7), (2, 2), 4)
        for grid in (8, (2, 2, 1), (-2, -2), (2.0, 2), (True, 4), "22", (0, 5)):
            with pytest.raises(ValueError, match=r"a grid is \(rows, columns\), two whole numbers of 1 or more, got"):
                call(maps(), grid)
    with pytest.raises(ValueError, match=r"share in \[0, 1\], got 1.5"):
        rollout(maps(), 1.5)
    for bad in (torch.zeros(2, 2, 5, 5), torch.zeros(3, 2, 2, 5, 4)):
        with pytest.raises(ValueError, match=rf"\(L, B, h, T, T\).*got \({bad.shape[0]}, 2, "):
            rollout(bad)


@pytest.mark.parametrize("changes", [{}, {"pool": "mean"}, {"positions": "rope", "qk_norm": True}])
def test_a_head_that_hands_on_its_own_output_changes_nothing(changes):
    model, images = vit(**changes)
    outputs = head_outputs(model, images)  # (L, B, h, T, d)
    assert outputs.shape == (2, 2, 2, model.prefix + 4, 8)
    for layer, head in ((0, 0), (0, 1), (1, 0), (1, 1)):
        same = replace_head(model, layer, head, outputs[layer, :, head])
        torch.testing.assert_close(same(images), model(images), atol=1e-12, rtol=0)
        for other in (0.0, outputs[layer, :, head].mean(dim=0), outputs[layer, :, 1 - head]):
            assert (replace_head(model, layer, head, other)(images) - model(images)).abs().max() > 1e-3


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize(("layer", "head"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_head_without_values_is_one_that_hands_on_zeros(layer, head, qkv_bias):
    model, images = vit(qkv_bias=qkv_bias)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    zeroed = replace_head(model, layer, head, 0.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for parameter in model.blocks[layer].attn.qkv.parameters():  # it stacks queries, keys, values
        parameter.data[2 * 16 + head * 8:][:8] = 0
    torch.testing.assert_close(zeroed(images), model(images), atol=1e-12, rtol=0)


def test_a_mean_ablation_takes_away_what_the_image_changes_and_nothing_else():
    """With every head at its mean over one image, that image is answered as before, and another is not."""
    model, images = vit()
    means, cut = head_outputs(model, images[:1]).mean(dim=1), model  # (L, h, T, d)
    for layer in range(2):
        for head in range(2):
            cut = replace_head(cut, layer, head, means[layer, head])
    torch.testing.assert_close(cut(images[:1]), model(images[:1]), atol=1e-12, rtol=0)
    assert (cut(images[1:]) - model(images[1:])).abs().max() > 1e-3


def test_a_patched_head_hands_on_what_it_found_in_the_other_image():
    model, images = vit()
    found = head_outputs(model, images)[0, 1:, 1]  # of the second image
    patched = replace_head(model, 0, 1, found)
    seen = head_outputs(patched, images[:1])
    torch.testing.assert_close(seen[0], head_outputs(model, images[:1])[0])  # what it computes is its own …
    assert (patched(images[:1]) - model(images[:1])).abs().max() > 1e-3  # … and what it hands on is not
    torch.testing.assert_close(patched(images[1:]), model(images[1:]), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("layer", "head"), [(2, 0), (-1, 0), (0, 2), (0, -1)])
def test_a_head_that_is_not_there_is_named(layer, head):
    with pytest.raises(ValueError, match=f"no head {head} in layer {layer}; the model has 2 layers of 2 heads"):
        replace_head(ViT(TINY), layer, head, 0.0)
