import time
from dataclasses import replace
from statistics import median

import pytest
import torch
from common import TINY, randomise
from torch.nn import functional as F

from vitlib.attention import attention_weights
from vitlib.checkpoint import load_zoo, zoo
from vitlib.explain import (
    attention_distance,
    attention_gradients,
    class_logit,
    class_relevance,
    class_rows,
    fills,
    gradient_rollout,
    input_gradient,
    occlusion,
    patch_rows,
    pictures,
    rollout,
    token_dropping,
    without_head,
)
from vitlib.vit import ViT

CLASSES = torch.tensor([2, 0])
KINDS = [{}, {"pool": "mean"}, {"registers": 2}, {"pool": "mean", "registers": 3}]


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
    assert rollout(A, residual=0)[0].tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 1]]


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


def test_maps_grids_queries_and_shares_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"shape \(3, 2, 2, 4, 4\) are not over a class token and 2×2.*mean pooling"):
        class_rows(maps(N=4), (2, 2))
    with pytest.raises(ValueError, match=r"\(3, 2, 2, 4, 5\) are not over"):
        class_rows(maps()[..., 1:, :], (2, 2))
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


def by_hand(model, images, classes, layer=None, at=None, add=0.0):
    """The class logits, each step written out; `add` is put on one attention weight of one layer."""
    x = model.embed(images)
    for number, block in enumerate(model.blocks):
        B, N, D = x.shape
        q, k, v = block.attn.qkv(block.norm1(x)).reshape(B, N, 3, -1, D // block.attn.heads).permute(2, 0, 3, 1, 4)
        weights = attention_weights(q, k).clone()
        if number == layer:
            weights[at] += add
        x = x + block.attn.proj((weights @ v).transpose(1, 2).reshape(B, N, D))
        x = x + block.mlp(block.norm2(x))
    return model.classify(model.norm(x)).gather(1, classes[:, None])[:, 0]


def test_class_logits_are_one_for_each_image():
    assert class_logit(torch.tensor([[1.0, 2, 3], [4, 5, 6]]), CLASSES).tolist() == [3, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_attention_gradients_are_the_slope_of_the_logit_by_each_weight_first_layer_first(kind):
    model, images = vit(**kind)
    A, G = attention_gradients(model, images, CLASSES)
    assert not A.requires_grad
    torch.testing.assert_close(A, model.attention_maps(images), atol=1e-12, rtol=0)
    torch.testing.assert_close(by_hand(model, images, CLASSES), class_logit(model(images), CLASSES))
    assert G[0].abs().max() > 1e-3
    with torch.no_grad():
        for layer in range(2):
            for at in [(0, 0, 0, 1), (0, 1, 0, 0), (1, 1, 2, 3), (1, 0, 3, 2)]:
                up, down = (by_hand(model, images, CLASSES, layer, at, add)[at[0]] for add in (1e-5, -1e-5))
                assert G[layer][at].item() == pytest.approx((up - down).item() / 2e-5, abs=1e-7)
    if not kind:  # in the last layer the class token's row alone reaches the logit
        assert (G[1, :, :, 1:] == 0).all() and (G[0, :, :, 1:].abs() > 0).any()


def test_attention_gradients_of_a_frozen_model_are_the_same_and_leave_no_trace():
    model, images = vit()
    G = attention_gradients(model, images, CLASSES)[1]
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(attention_gradients(model.requires_grad_(False), images, CLASSES)[1], G)


@pytest.mark.parametrize("follow", [gradient_rollout, class_relevance])
def test_where_no_gradient_is_positive_each_token_keeps_itself_alone(follow):
    A, eye = maps(), torch.eye(5, dtype=torch.float64).expand(2, 5, 5)
    assert torch.equal(follow(A, torch.zeros_like(A)), eye)
    assert torch.equal(follow(A, -torch.rand_like(A)), eye)


def test_gradient_rollout_is_the_product_of_the_layers_the_last_on_the_left():
    A, G, eye = maps(), torch.randn(3, 2, 2, 5, 5, dtype=torch.float64) * 3, torch.eye(5, dtype=torch.float64)
    layers = []
    for a, g in zip(A, G):
        positive = torch.zeros(2, 5, 5, dtype=torch.float64)
        for head in range(2):
            positive += torch.where(g[:, head] > 0, a[:, head] * g[:, head], 0) / 2
        layers.append((eye + positive) / (1 + positive.sum(-1)[:, :, None]))
    result = gradient_rollout(A, G)
    torch.testing.assert_close(result, layers[2] @ layers[1] @ layers[0])
    torch.testing.assert_close(result.sum(-1), torch.ones(2, 5, dtype=torch.float64))
    assert (result.sum(-2) - 1).abs().max() > 0.05
    assert (result - layers[0] @ layers[1] @ layers[2]).abs().max() > 0.01
    torch.testing.assert_close(gradient_rollout(A, G.clamp(min=0)), result)  # a negative one counts as none


def test_class_relevance_adds_layer_by_layer():
    A, G, eye = maps(), torch.randn(3, 2, 2, 5, 5, dtype=torch.float64), torch.eye(5, dtype=torch.float64)
    first, second, third = ((a * g).clamp(min=0).sum(1) / 2 for a, g in zip(A, G))
    result = class_relevance(A, G)
    torch.testing.assert_close(result, (eye + third) @ (eye + second) @ (eye + first))
    assert (result - (eye + first) @ (eye + second) @ (eye + third)).abs().max() > 0.01
    torch.testing.assert_close(class_relevance(A, G.clamp(min=0)), result)
    torch.testing.assert_close(class_relevance(A[:1], G[:1]), eye + first)


def test_class_relevance_by_hand_follows_a_token_through_two_layers():
    """Layer 1: token 1 reads token 2. Layer 2: token 0 reads token 1, and half of it counts."""
    A, G = torch.zeros(2, 2, 1, 1, 3, 3)
    A[0, 0, 0, 1, 2] = A[1, 0, 0, 0, 1] = 1
    G[0, 0, 0, 1, 2], G[1, 0, 0, 0, 1] = 1, 0.5
    assert class_relevance(A, G)[0].tolist() == [[1, 0.5, 0.5], [0, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize("follow", [gradient_rollout, class_relevance])
def test_another_class_gives_another_picture(follow):
    model, images = vit()
    a, b = (class_rows(follow(*attention_gradients(model, images, classes)), (2, 2))
            for classes in (CLASSES, (CLASSES + 1) % 3))
    assert (a - b).abs().amax((1, 2)).min() > 1e-3


@pytest.mark.parametrize("follow", [gradient_rollout, class_relevance])
def test_maps_that_no_model_gives_are_named(follow):
    with pytest.raises(ValueError, match=r"expected attention maps of shape \(L, B, h, N, N\).*got \(2, 2, 5, 5\)"):
        follow(torch.zeros(2, 2, 5, 5), torch.zeros(2, 2, 5, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_the_input_gradient_is_the_mean_slope_by_a_patchs_pixels(kind):
    model, images = vit(**kind)
    found = input_gradient(model, images, CLASSES)
    assert found.shape == (2, 2, 2)
    assert not images.requires_grad
    steps = 1e-5 * torch.eye(3 * 16, dtype=torch.float64).reshape(48, 3, 4, 4)  # one colour of one pixel at a time
    with torch.no_grad():
        for row, column in ((0, 1), (1, 0)):
            place = (4 * column, 4 - 4 * column, 4 * row, 4 - 4 * row)
            moved = F.pad(steps, place)  # (48, 3, 8, 8)
            up, down = (class_logit(model(images[1] + sign * moved), torch.zeros(48, dtype=torch.long))
                        for sign in (1, -1))
            slopes = ((up - down) / 2e-5).abs()
            assert found[1, row, column].item() == pytest.approx(slopes.sum().item() / 16, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_occlusion_is_the_fall_of_the_logit_when_one_patch_is_painted_over(kind):
    model, images = vit(**kind)
    kept, fill = images.clone(), torch.randn_like(images)
    found = occlusion(model, images, CLASSES, fill)
    assert found.shape == (2, 2, 2)
    assert torch.equal(images, kept)
    painted = images.clone()
    painted[:, :, :4, 4:] = fill[:, :, :4, 4:]  # above, on the right
    fall = class_logit(model(images), CLASSES) - class_logit(model(painted), CLASSES)
    torch.testing.assert_close(found[:, 0, 1], fall.detach(), atol=1e-12, rtol=0)
    assert found[:, 0, 1].abs().min() > 1e-3


def test_occlusion_is_zero_where_the_fill_is_the_image():
    model, images = vit()
    fill = images.clone()
    fill[:, :, 4:, :4] = 0  # differs below, on the left
    found = occlusion(model, images, CLASSES, fill)
    assert found[:, 1, 0].abs().min() > 1e-3
    found[:, 1, 0] = 0
    assert found.abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_token_dropping_is_the_fall_of_the_logit_of_a_model_that_reads_one_patch_less(kind):
    model, images = vit(**kind)
    found = token_dropping(model, images, CLASSES)
    tokens = model.embed(images)
    assert found.shape == (2, 2, 2)
    for n in range(4):
        rest = [i for i in range(tokens.shape[1]) if i != model.prefix + n]
        fall = class_logit(model(images), CLASSES) - class_logit(model.classify(model.encode(tokens[:, rest])), CLASSES)
        torch.testing.assert_close(found[:, n // 2, n % 2], fall.detach(), atol=1e-12, rtol=0)
    assert found.abs().min() > 1e-4


def test_dropping_tokens_that_a_model_ignores_changes_nothing():
    model, images = vit()
    with torch.no_grad():
        for block in model.blocks:
            block.attn.proj.weight.zero_()  # attention says the same to everyone: the class token hears no patch
    assert token_dropping(model, images, CLASSES).abs().max() < 1e-12


def test_of_one_token_that_alone_decides_the_fall_is_the_whole():
    model, images = vit(pool="mean")
    with torch.no_grad():
        for block in model.blocks:
            block.attn.proj.weight.zero_()  # no patch hears another, so the logit is a mean over patches
    each = model.head(model.encode(model.embed(images)))[:, :, 1].detach()  # (B, N), what each patch says of class 1
    found = token_dropping(model, images, torch.tensor([1, 1]))
    by_hand = torch.stack([each.mean(1) - each[:, [i for i in range(4) if i != n]].mean(1) for n in range(4)], dim=1)
    torch.testing.assert_close(found.flatten(1), by_hand, atol=1e-12, rtol=0)


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize(("layer", "head"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_silent_head_leaves_its_slice_empty_before_the_projection(layer, head, qkv_bias):
    model, images = vit(qkv_bias=qkv_bias)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    silent = without_head(model, layer, head)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def empty_slice(module, inputs):
        x = inputs[0].clone()
        x[..., 8 * head:8 * head + 8] = 0
        return (x,)

    hook = model.blocks[layer].attn.proj.register_forward_pre_hook(empty_slice)
    by_hook = model(images)
    hook.remove()
    torch.testing.assert_close(silent(images), by_hook, atol=1e-12, rtol=0)
    assert (silent(images) - model(images)).abs().max() > 1e-3


def test_with_all_heads_silent_attention_says_its_bias_alone():
    model, images = vit()
    attn = without_head(without_head(model, 1, 0), 1, 1).blocks[1].attn
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    torch.testing.assert_close(attn(x), attn.proj.bias.expand(2, 5, 16))
    assert (model.blocks[1].attn(x) - attn(x)).abs().max() > 0.1
    other = without_head(model, 1, 0).blocks[0]
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), model.blocks[0].parameters()))


@pytest.mark.parametrize(("layer", "head"), [(2, 0), (-1, 0), (0, 2), (0, -1)])
def test_a_head_that_is_not_there_is_named(layer, head):
    with pytest.raises(ValueError, match=f"no head {head} in layer {layer}; the model has 2 layers of 2 heads"):
        without_head(ViT(TINY), layer, head)


def test_fills_keep_the_shape_and_take_away_detail():
    images = torch.randn(2, 3, 16, 24)
    found = fills(images)
    assert list(found) == ["mean colour", "blur"]
    for fill in found.values():
        assert fill.shape == images.shape
    assert found["mean colour"][1, 2, 3, 4].item() == pytest.approx(images[1, 2].mean().item(), abs=1e-6)
    assert (found["mean colour"][0, 0, 0, 0] != found["mean colour"][0, 1, 0, 0])
    assert found["blur"][1, 2, 8, 12].item() == pytest.approx(images[1, 2, 1:16, 5:20].mean().item(), abs=1e-6)
    assert found["blur"].std() < images.std() / 3


def test_fills_of_a_constant_image_are_the_image():
    images = torch.rand(2, 3, 1, 1).expand(2, 3, 16, 16)
    for fill in fills(images).values():
        torch.testing.assert_close(fill, images)


def test_pictures_are_what_each_function_gives():
    model, images = vit()
    found = pictures(model, images, CLASSES)
    A, G = attention_gradients(model, images, CLASSES)
    expected = {"last layer": A[1, :, :, 0, 1:].mean(1), "all layers": A[:, :, :, 0, 1:].mean((0, 2)),
                "rollout": rollout(A)[:, 0, 1:], "gradient rollout": gradient_rollout(A, G)[:, 0, 1:],
                "class relevance": class_relevance(A, G)[:, 0, 1:],
                "input gradient": input_gradient(model, images, CLASSES),
                "occlusion": occlusion(model, images, CLASSES, images.mean((2, 3), keepdim=True).expand_as(images)),
                "token dropping": token_dropping(model, images, CLASSES)}
    assert list(found) == list(expected)
    for name, picture in found.items():
        assert picture.shape == (2, 2, 2), name
        torch.testing.assert_close(picture.flatten(1), expected[name].flatten(1))
        assert not picture.requires_grad, name
        assert (picture[0] - picture[1]).abs().max() > 1e-4, name


@pytest.mark.parametrize("kind", KINDS[1:] + [{"pool": "mean", "registers": 1}])
def test_pictures_names_a_model_without_a_class_token_alone_before_the_patches(kind):
    model, images = vit(**kind)
    words = f"pool='{model.config.pool}' and {model.config.registers} registers; input_gradient, occlusion"
    with pytest.raises(ValueError, match=words):
        pictures(model, images, CLASSES)


@pytest.mark.parametrize("name", zoo())
def test_all_maps_of_an_image_take_less_than_a_fifth_of_a_second(name):
    model, _ = load_zoo(name)
    c, seconds = model.config, []
    image = torch.randn(1, 3, c.image_size, c.image_size)
    for _ in range(6):
        start = time.perf_counter()
        with torch.no_grad():
            A = model.attention_maps(image)
        seconds.append(time.perf_counter() - start)
    tokens = (c.image_size // c.patch_size) ** 2 + model.prefix
    assert A.shape == (c.depth, 1, c.heads, tokens, tokens)
    assert median(seconds[1:]) < 0.2
