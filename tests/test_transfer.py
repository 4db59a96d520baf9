"""Features, neighbours, the linear probe, and a head put on."""

from dataclasses import replace

import pytest
import torch
from common import TINY, pictures, randomise
from torch.nn import functional as F

from vitlib.train import TrainConfig, fit, predict
from vitlib.transfer import embed, linear_probe, nearest_neighbours, with_head
from vitlib.vit import ViT


def model(**changes):
    return randomise(ViT(replace(TINY, **changes)), 0.3).eval()


def blobs(count=60, width=5, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = 2 * torch.randn(classes, width, generator=torch.Generator().manual_seed(9))
    return centres[labels] + torch.randn(count, width, generator=g), labels


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_embed_gives_what_the_head_reads(pool):
    whole, data = model(pool=pool), pictures()
    features = embed(whole, data.images, batch_size=7)
    assert features.shape == (24, TINY.dim)
    torch.testing.assert_close(whole.head(features), predict(whole, data.images))


def test_embed_leaves_the_model_as_it_was():
    whole = model().train()
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    embed(whole, pictures().images)
    assert whole.training and whole.config.classes == 3
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())


def test_neighbours_vote_by_cosine_and_nearness():
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    labels = torch.tensor([0, 1, 1])
    queries = torch.tensor([[100.0, 5.0], [0.001, 0.002]])  # length does not matter
    assert nearest_neighbours(features, labels, queries, 2, k=1).tolist() == [0, 1]
    near_one = torch.tensor([[1.0, 0.02]])
    assert nearest_neighbours(features, labels, near_one, 2, k=3).tolist() == [0]  # one near beats two far
    assert nearest_neighbours(features, labels, queries, 2, k=50).tolist() == [0, 1]  # as many as there are


def test_the_probe_finds_the_lowest_point():
    x, labels = blobs()
    head, decay = linear_probe(x, labels, 3, 0.1), 0.1
    std = x.std(dim=0, correction=0)
    W, b = (head.weight * std).clone().requires_grad_(), head.bias.clone().requires_grad_()

    def loss(W, b):
        return F.cross_entropy(x @ (W / std).T + b, labels) + decay / 2 * W.square().sum()

    assert torch.autograd.grad(loss(W, b), W)[0].abs().max() < 1e-4
    lowest = loss(W, b)
    for _ in range(20):
        assert loss(W + 0.05 * torch.randn_like(W), b) > lowest


def test_the_probe_does_not_care_about_the_scale_of_features():
    x, labels = blobs()
    scale, shift = torch.tensor([1e-3, 1.0, 50.0, 7.0, 0.1]), torch.tensor([5.0, 0, -300, 1, 2])
    plain, scaled = linear_probe(x, labels, 3, 0.01), linear_probe(x * scale + shift, labels, 3, 0.01)
    torch.testing.assert_close(plain(x).softmax(1), scaled(x * scale + shift).softmax(1), atol=2e-3, rtol=0)
    assert (plain(x).argmax(1) == labels).float().mean() > 0.9


def test_a_feature_that_never_changes_does_no_harm():
    x, labels = blobs()
    head = linear_probe(torch.cat([x, torch.full((60, 1), 3.0)], dim=1), labels, 3)
    assert head.weight.isfinite().all() and not head.weight.requires_grad


@pytest.mark.parametrize("pool", ["cls", "distilled"])
def test_with_head_answers_as_the_probe_does(pool):
    base, data = model(pool=pool), pictures()
    features = embed(base, data.images)
    head = linear_probe(features, data.labels, 3, 0.01)
    whole = with_head(base, head)
    torch.testing.assert_close(predict(whole, data.images), head(features), atol=1e-4, rtol=1e-4)
    assert all(p.requires_grad for p in whole.parameters())
    fit(whole, data, TrainConfig(epochs=1, batch_size=8, crop=0, layer_decay=0.5))
    assert not torch.equal(whole.head.weight, head.weight)  # it goes on learning


@pytest.mark.parametrize(("features", "labels", "words"), [
    (torch.zeros(3), torch.zeros(3).long(), "belong together"),
    (torch.zeros(3, 2), torch.zeros(4).long(), "belong together"),
    (torch.zeros(0, 2), torch.zeros(0).long(), "belong together"),
    (torch.zeros(2, 2), torch.tensor([0, 3]), "0 to 3, but there are 3"),
    (torch.full((2, 2), torch.nan), torch.tensor([0, 1]), "nan")])
def test_features_that_do_not_fit_are_refused(features, labels, words):
    for use in (lambda: linear_probe(features, labels, 3), lambda: nearest_neighbours(features, labels, features, 3)):
        with pytest.raises(ValueError, match=words):
            use()
