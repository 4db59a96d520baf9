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
    attention_gradients,
    class_logit,
    class_relevance,
    fills,
    gradient_rollout,
    input_gradient,
    occlusion,
    pictures,
    token_dropping,
)
from vitlib.maps import class_rows, rollout
from vitlib.scores import replacement_curve
from vitlib.vit import ViT

CLASSES = torch.tensor([2, 0])
KINDS = [{}, {"pool": "mean"}, {"registers": 2}, {"pool": "mean", "registers": 3}]


def maps(L=3, B=2, h=2, N=5):
    return (torch.randn(L, B, h, N, N, dtype=torch.float64) * 2).softmax(-1)


def vit(**changes):
    """A small model in float64 whose every part has a say, and two images."""
    model = randomise(ViT(replace(TINY, **changes)), 0.4).double().eval()
    return model, torch.randn(2, 3, 8, 8, dtype=torch.float64)


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
    with pytest.raises(ValueError, match=r"expected attention maps of shape \(L, B, h, T, T\).*got \(2, 2, 5, 5\)"):
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


@pytest.mark.parametrize("registers", [1, 2])
def test_pictures_of_a_model_with_registers_are_what_the_class_token_reads_of_the_patches(registers):
    model, images = vit(registers=registers)
    found, before = pictures(model, images, CLASSES), 1 + registers
    A, G = attention_gradients(model, images, CLASSES)
    assert A.shape[-1] == before + 4
    for name, rows in (("last layer", A[1, :, :, 0, before:].mean(1)), ("rollout", rollout(A)[:, 0, before:]),
                       ("gradient rollout", gradient_rollout(A, G)[:, 0, before:]),
                       ("class relevance", class_relevance(A, G)[:, 0, before:])):
        torch.testing.assert_close(found[name].flatten(1), rows)
    assert all(picture.shape == (2, 2, 2) for picture in found.values())


@pytest.mark.parametrize("registers", [0, 1, 3])
def test_pictures_names_a_model_without_a_class_token(registers):
    model, images = vit(pool="mean", registers=registers)
    with pytest.raises(ValueError, match="class token reads, and this model has none, as with pool='mean'; input_grad"):
        pictures(model, images, CLASSES)


ASK = {"attention_maps": lambda model, images: model.attention_maps(images),
       "attention_gradients": lambda model, images: torch.stack(attention_gradients(model, images, CLASSES)),
       "input_gradient": lambda model, images: input_gradient(model, images, CLASSES),
       "occlusion": lambda model, images: occlusion(model, images, CLASSES, torch.zeros_like(images)),
       "token_dropping": lambda model, images: token_dropping(model, images, CLASSES),
       "pictures": lambda model, images: torch.stack(list(pictures(model, images, CLASSES).values())),
       "replacement_curve": lambda model, images: replacement_curve(
           model, images, CLASSES, torch.arange(8.0).reshape(2, 2, 2), torch.zeros_like(images))}


@pytest.mark.parametrize("name", ASK)
def test_answers_do_not_depend_on_the_mode_and_leave_it_as_it_was(name):
    model, images = vit(patch_drop=0.5, dropout=0.3, drop_path=0.3, stem="conv")
    expected = ASK[name](model, images)
    model.train()
    model.blocks[0].eval()  # a part that is kept frozen
    modes, state = [m.training for m in model.modules()], {n: v.clone() for n, v in model.state_dict().items()}
    assert torch.equal(ASK[name](model, images), expected)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(value, state[n]) for n, value in model.state_dict().items())  # batch norm has seen nothing
    model.blocks[1].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ASK[name](model, images)
    assert [m.training for m in model.modules()] == modes


@pytest.mark.parametrize("name", ASK)
@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_answers_do_not_depend_on_where_gradients_are_off(name, off):
    model, images = vit(registers=1)
    expected = ASK[name](model, images).detach()
    with off():
        within = images.clone()  # under inference_mode a tensor that can have no gradient
        torch.testing.assert_close(ASK[name](model, within), expected)
    if name != "attention_maps":  # a forward pass: PyTorch itself refuses such images where gradients are on
        torch.testing.assert_close(ASK[name](model, within), expected)


def test_classes_made_under_inference_mode_do():
    model, images = vit()
    with torch.inference_mode():
        classes = model(images).argmax(dim=1)
    found, expected = (pictures(model, images, c) for c in (classes, classes.clone()))
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_model_made_under_inference_mode_is_named():
    with torch.inference_mode():
        model, images = vit()
    for ask in ("attention_gradients", "input_gradient", "pictures"):
        with pytest.raises(ValueError, match="under torch.inference_mode, so its weights let no gradient .* outside"):
            ASK[ask](model, images)
    assert ASK["token_dropping"](model, images).shape == (2, 2, 2)


@pytest.mark.parametrize(("classes", "words"), [
    (torch.tensor([0, 3]), "classes run from 0 to 3, and the model tells 0 to 2 apart"),
    (torch.tensor([-1, 0]), "classes run from -1 to 0"),
    (torch.tensor([0]), r"2 images need classes of shape \(2,\) in int64, got \(1,\)"),
    (torch.tensor([0.0, 1]), r"int64, got \(2,\) in torch.float32; logits.argmax"),
    (torch.tensor([[0], [1]]), r"got \(2, 1\)")])
def test_classes_that_the_model_does_not_tell_apart_are_named(classes, words):
    model, images = vit()
    for call in (lambda: class_logit(model(images), classes), lambda: input_gradient(model, images, classes),
                 lambda: pictures(model, images, classes), lambda: token_dropping(model, images, classes)):
        with pytest.raises(ValueError, match=words):
            call()


def test_fills_gradients_and_models_that_do_not_fit_are_named():
    model, images = vit()
    with pytest.raises(ValueError, match=r"images' shape \(2, 3, 8, 8\), got \(2, 3, 1, 1\); .*expand_as"):
        occlusion(model, images, CLASSES, images.mean((2, 3), keepdim=True))
    with pytest.raises(ValueError, match=r"8×8 pixels or more, got \(2, 3, 6, 6\)"):
        fills(images[..., :6, :6])
    with pytest.raises(ValueError, match="8×8 pixels or more"):
        fills(images[0])
    with pytest.raises(ValueError, match=r"gradients of the same shape, got \(3, 2, 2, 4, 4\); attention_gradients"):
        gradient_rollout(maps(), maps(N=4))
    one = ViT(replace(TINY, patch_size=8, pool="mean"))
    with pytest.raises(ValueError, match="into one patch: without it nothing is left .* smaller patch_size"):
        token_dropping(one, torch.zeros(2, 3, 8, 8), CLASSES)


def test_an_empty_batch_has_empty_answers():
    model, images = vit()
    none = torch.zeros(0, dtype=torch.long)
    assert model(images[:0]).shape == (0, 3)
    assert model.attention_maps(images[:0]).shape == (2, 0, 2, 5, 5)
    assert all(picture.shape == (0, 2, 2) for picture in pictures(model, images[:0], none).values())


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
