"""What a trained model is worth on other images: nearest neighbours, a linear probe, and rates for fine-tuning."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .published import adapt
from .train import predict
from .vit import ViT


def embed(model: ViT, images: Tensor, batch_size: int = 64) -> Tensor:
    """What the head reads, for uint8 images of the model's size: (N, C, H, W) -> (N, D), on the CPU.

    Computed once, it serves every probe and every k: a frozen model gives the same numbers each time.
    Raises ValueError for images that the model cannot read. Built in chapter 15.
    """
    return predict(adapt(model, classes=0), images, batch_size).cpu()


def nearest_neighbours(features: Tensor, labels: Tensor, queries: Tensor, classes: int, k: int = 20) -> Tensor:
    """Predict by the k nearest labelled features: (N, D), (N,), (M, D) -> (M,).

    Near is a large cosine; a neighbour's vote has the weight exp(cosine / 0.07). With fewer than k features, all vote.
    Raises ValueError for features that do not fit together. Source: Wu et al. 2018, section 3.4. Built in chapter 15.
    """
    check_features(features, labels, classes)
    cosines = F.normalize(queries, dim=1) @ F.normalize(features, dim=1).T  # (M, N)
    near, chosen = cosines.topk(min(k, len(features)), dim=1)  # (M, k)
    votes = torch.zeros(len(queries), classes).scatter_add_(1, labels[chosen], (near / 0.07).exp())  # (M, K)
    return votes.argmax(dim=1)


def linear_probe(features: Tensor, labels: Tensor, classes: int, decay: float = 1e-3, steps: int = 200) -> nn.Linear:
    """The best linear head for frozen features: (N, D), (N,) -> a layer from D to K.

    Multinomial logistic regression on standardised features, with decay/2 · |W|² added to the mean loss: a convex
    problem, which L-BFGS solves without a learning rate. The standardisation is folded into the layer.
    Raises ValueError for features that do not fit together. Built in chapter 15.
    """
    check_features(features, labels, classes)
    mean, std = features.mean(dim=0), features.std(dim=0, correction=0).clamp(min=1e-6)  # (D,)
    x, head = (features - mean) / std, nn.Linear(features.shape[1], classes)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    solver = torch.optim.LBFGS(head.parameters(), max_iter=steps, tolerance_grad=1e-5, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(head(x), labels) + decay / 2 * head.weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    with torch.no_grad():  # W (x - mean) / std + b, as one layer that reads x
        head.weight /= std
        head.bias -= head.weight @ mean
    return head.requires_grad_(False)


def with_head(model: ViT, head: nn.Linear) -> ViT:
    """A copy of the model that ends in this head: fine-tuning that starts from the probe. Built in chapter 15.

    A distilled model gets it twice: its two answers are averaged.
    """
    whole = adapt(model, classes=head.out_features)
    for layer in (whole.head, whole.head_dist):
        if layer is not None:
            layer.load_state_dict(head.state_dict())
    return whole


def check_features(features: Tensor, labels: Tensor, classes: int) -> None:
    """Raise ValueError unless there are as many features (N, D) as labels, and the labels lie below `classes`."""
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise ValueError(f"features (N, D) and labels (N,) belong together, got {tuple(features.shape)} and "
                         f"{tuple(labels.shape)}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, but there are {classes} classes")
    if not features.isfinite().all():
        raise ValueError("features hold nan or infinity; is the model trained, and the image normalised?")
