import pytest
import torch
from common import TINY, randomise

from vitlib.explain import attention_distance, class_rows, patch_rows, rollout
from vitlib.vit import ViT


def maps(L=3, B=2, h=2, N=5):
    return (torch.randn(L, B, h, N, N, dtype=torch.float64) * 2).softmax(-1)


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
    assert rollout(A, residual=0)[0].tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 1]]


def test_class_rows_are_what_the_class_token_reads():
    A = maps(N=7)
    pictures = class_rows(A, (2, 3))
    assert pictures.shape == (3, 2, 2, 2, 3)
    assert pictures[1, 0, 1, 1, 2] == A[1, 0, 1, 0, 6]
    assert pictures[1, 0, 1, 0, 0] == A[1, 0, 1, 0, 1]


def test_patch_rows_are_what_one_patch_reads_with_or_without_a_class_token():
    A = maps(N=7)
    assert patch_rows(A, 4, (2, 3))[2, 1, 0, 1, 0] == A[2, 1, 0, 5, 4]
    assert patch_rows(A[..., 1:, 1:], 4, (2, 3))[2, 1, 0, 1, 0] == A[2, 1, 0, 5, 4]


def test_a_models_maps_fit():
    A = randomise(ViT(TINY)).eval().attention_maps(torch.randn(2, 3, 8, 8))
    assert class_rows(A, (2, 2)).shape == (2, 2, 2, 2, 2)
    assert attention_distance(A, (2, 2), 4).shape == (2, 2, 2)


def test_maps_grids_queries_and_shares_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="maps over 4 tokens do not hold a class token and 2×2.*mean pooling"):
        class_rows(maps(N=4), (2, 2))
    for query in (-1, 4):
        with pytest.raises(ValueError, match=f"patch {query} is not one of the 2×2"):
            patch_rows(maps(), query, (2, 2))
    for rows in (3, 1):
        for call in (lambda grid: patch_rows(maps(), 0, grid), lambda grid: attention_distance(maps(), grid)):
            with pytest.raises(ValueError, match=f"maps over 5 tokens do not hold {rows}×3 .*image_size // patch_size"):
                call((rows, 3))
    with pytest.raises(ValueError, match=r"share in \[0, 1\], got 1.5"):
        rollout(maps(), 1.5)
    for bad in (torch.zeros(2, 2, 5, 5), torch.zeros(3, 2, 2, 5, 4)):
        with pytest.raises(ValueError, match=rf"\(L, B, h, N, N\).*got \({bad.shape[0]}, 2, "):
            rollout(bad)
