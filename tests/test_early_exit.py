"""Early exit: each image gets the answer of the first head that is sure, whatever the others of its batch do."""

from dataclasses import replace

import pytest
import torch
from common import TINY, pictures, randomise
from torch import nn

from vitlib.data import normalise
from vitlib.early_exit import EarlyExit, block_features, exit_heads, read_tokens
from vitlib.vit import ViT

DEEP = replace(TINY, depth=4)


def vit(**changes):
    return randomise(ViT(replace(DEEP, **changes)), 0.3).eval()


def some_heads(*places):
    return {place: randomise(nn.Linear(16, 3), 0.3) for place in places}


@pytest.mark.parametrize("pool", ["cls", "mean", "distilled"])
@pytest.mark.parametrize("places", [(1,), (1, 2, 3), (3,)], ids=str)
def test_each_image_gets_the_answer_of_the_first_head_that_is_sure(pool, places):
    model, heads = vit(pool=pool), some_heads(*places)
    x, used = normalise(pictures(40).images), set()
    first = EarlyExit(model, {places[0]: heads[places[0]]}, 0.0)(x)  # what the first head says to all
    surest = first.softmax(dim=1).amax(dim=1).sort().values
    threshold = surest[19:21].mean().item()  # half of the images are sure there, and none by a hair
    logits, blocks = EarlyExit(model, heads, threshold).route(x)
    assert torch.equal(EarlyExit(model, heads, threshold)(x), logits)
    for i in range(40):
        tokens, answer, passed = model.embed(x[i:i + 1]), None, 0
        for block in model.blocks:
            tokens, passed = block(tokens), passed + 1
            if passed in heads and heads[passed](read_tokens(model, tokens)).softmax(dim=1).max() >= threshold:
                answer = heads[passed](read_tokens(model, tokens))
                break
        answer = model(x[i:i + 1]) if answer is None else answer
        torch.testing.assert_close(logits[i:i + 1], answer, atol=1e-5, rtol=1e-5)
        assert blocks[i] == passed
        used.add(passed)
    assert len(used) > 1


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_at_the_ends_it_is_the_model_or_the_first_head(pool):
    model, heads, x = vit(pool=pool), some_heads(2, 3), normalise(pictures(8).images)
    torch.testing.assert_close(EarlyExit(model, heads, 1.0)(x), model(x))
    logits, blocks = EarlyExit(model, heads, 0.0).route(x)
    assert blocks.tolist() == [2] * 8 and logits.shape == (8, 3)
    assert EarlyExit(model, {}, 0.0).route(x)[1].tolist() == [4] * 8
    assert EarlyExit(model, heads, 0.5)(x[:0]).shape == (0, 3)


def test_features_are_what_each_head_reads_and_heads_learn_from_them():
    model, data = vit(pool="mean").train(), pictures(60)
    features = block_features(model, data.images, batch_size=7)
    assert features.shape == (3, 60, 16) and model.training
    model.eval()
    with torch.no_grad():
        x = model.blocks[0](model.embed(normalise(data.images)))
        torch.testing.assert_close(features[0], x.mean(dim=1), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(features[1], model.blocks[1](x).mean(dim=1), atol=1e-5, rtol=1e-5)
    heads = exit_heads(features, data.labels, 3)
    assert list(heads) == [1, 2, 3]
    for head, layer in zip(heads.values(), features):
        assert (head(layer).argmax(1) == data.labels).float().mean() > 0.9


def test_what_does_not_fit_is_refused():
    for heads, words in ((some_heads(4), "1 to 3 of the 4 blocks"), (some_heads(0), "got 0"),
                         ({1: nn.Linear(16, 4)}, "16 to 4 numbers; this model needs 16 to 3")):
        with pytest.raises(ValueError, match=words):
            EarlyExit(vit(), heads, 0.5)
    with pytest.raises(ValueError, match="probability in 0…1, got 1.5"):
        EarlyExit(vit(), {}, 1.5)
    with pytest.raises(ValueError, match="got Linear"):
        EarlyExit(nn.Linear(2, 2), {}, 0.5)
