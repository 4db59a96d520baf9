"""Is a map right? Scores against the object's mask and against the model itself, baselines, and how sure we are.

A picture is (B, rows, columns), one number a patch, as large as the patch is said to matter. Each function raises
ValueError for pictures, masks or images that do not fit together, and for numbers that are not finite.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .explain import check_fill, class_logit
from .patches import check_grid, is_count
from .vit import ViT, evaluating


def pointing_game(pictures: Tensor, inside: Tensor) -> Tensor:
    """1 where the patch with the largest value is covered by the object to one half or more, else 0: (B,).

    `inside` (B, rows, columns) is the object's share of each patch. Source: Zhang et al. 2018. Built in chapter 13.
    """
    check_pictures(pictures, inside)
    place = pictures.flatten(1).argmax(dim=1, keepdim=True)  # (B, 1)
    return (inside.flatten(1).gather(1, place)[:, 0] >= 0.5).float()


def iou(pictures: Tensor, masks: Tensor) -> Tensor:
    """Intersection over union of the object and as many of the picture's highest pixels as it has: (B,).

    `masks` (B, H, W) are boolean; an image without an object gives nan. Built in chapter 13.
    """
    check_masks(pictures, masks)
    ranks = to_pixels(pictures, masks.shape[-2:]).argsort(dim=1, descending=True).argsort(dim=1)
    masks = masks.flatten(1)
    size = masks.sum(dim=1)
    both = (masks & (ranks < size[:, None])).sum(dim=1)
    return both / (2 * size - both)


def average_precision(pictures: Tensor, masks: Tensor) -> Tensor:
    """Precision at each of the object's pixels, highest value first, averaged: (B,).

    An image without an object gives nan. Built in chapter 13.
    """
    check_masks(pictures, masks)
    values, order = to_pixels(pictures, masks.shape[-2:]).sort(dim=1, descending=True)
    hits = masks.flatten(1).gather(1, order).float()  # (B, H·W)
    seen = torch.searchsorted(-values, -values, right=True)  # pixels as high or higher: equal ones come together
    precision = hits.cumsum(dim=1).gather(1, seen - 1) / seen
    return (precision * hits).sum(dim=1) / hits.sum(dim=1)


def to_pixels(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, rows, columns) -> (B, H·W), values between patch centres mixed from their neighbours. Built in chapter 13."""
    return F.interpolate(pictures[:, None], size=size, mode="bilinear", align_corners=False).flatten(1)


@torch.no_grad()
def replacement_curve(model: ViT, images: Tensor, classes: Tensor, pictures: Tensor, fill: Tensor,
                      insert: bool = False, steps: int = 8) -> Tensor:
    """Probability of the class while patches are replaced by `fill`, the highest first: (B, steps+1).

    In evaluation mode. With `insert` it starts from the fill, and the highest patches come back first. The mean over
    the steps stands for the area under the curve. Source: Petsiuk et al. 2018, "RISE". Built in chapter 13.
    """
    check_replacement(images, classes, pictures, fill, steps)
    ranks = pictures.flatten(1).argsort(dim=1, descending=True).argsort(dim=1).reshape(pictures.shape)  # 0: highest
    start, end = (fill, images) if insert else (images, fill)
    curve = []
    with evaluating(model):
        for count in torch.linspace(0, pictures[0].numel(), steps + 1):
            changed = F.interpolate((ranks < count)[:, None].float(), size=images.shape[-2:])  # nearest: whole patches
            logits = model(torch.where(changed > 0, end, start))
            curve.append(class_logit(logits.softmax(dim=1), classes))
    return torch.stack(curve, dim=1)


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's correlation of two pictures of each image, in [-1, 1]: (B,).

    Equal values share a rank; a constant picture has no order, so it gives nan. Built in chapter 13.
    """
    check_pictures(a, b)
    a, b = (x.flatten(1).double() for x in (a, b))
    a, b = ((x[:, :, None] - x[:, None]).sign().sum(dim=2) for x in (a, b))  # (B, N), twice the rank from the middle
    return ((a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))).float()


def centre_gaussian(images: Tensor, grid: tuple[int, int], width: float = 0.25) -> Tensor:
    """A bump in the middle, the same for all images: (B, rows, columns). `width` is its std in image sides.

    Built in chapter 13.
    """
    check_grid(grid)
    y, x = torch.meshgrid(*(torch.linspace(-0.5, 0.5, n + 1)[:-1] + 0.5 / n for n in grid), indexing="ij")
    return torch.exp(-(y ** 2 + x ** 2) / (2 * width ** 2)).to(images).expand(len(images), -1, -1)


def edge_map(images: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean strength of brightness edges in each patch, by Sobel's filters: (B, rows, columns).

    Images are floats (B, C, H, W). Built in chapter 13.
    """
    check_edges(images, grid)
    grey = F.pad(images.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    sobel = images.new_tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])
    slopes = F.conv2d(grey, torch.stack([sobel, sobel.T])[:, None])  # (B, 2, H, W)
    return F.adaptive_avg_pool2d(slopes.norm(dim=1), grid)


def bootstrap(values: Tensor, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean of (B,) values and its 95 % interval: draw B of them with repetition, again and again.

    For two methods on the same images pass the differences: the interval is then a paired one.
    Raises ValueError for values of another shape, or none. Source: Efron 1979. Built in chapter 13.
    """
    check_values(values, draws)
    g = torch.Generator().manual_seed(seed)
    means = torch.stack([values[torch.randint(len(values), (len(values),), generator=g)].mean() for _ in range(draws)])
    low, high = means.quantile(means.new_tensor([0.025, 0.975])).tolist()
    return values.mean().item(), low, high


# Student's t, 97.5 %, for 2, 3, … 20 values: few of them need a wider interval than the 1.96 of many
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
           2.120, 2.110, 2.101, 2.093)


def over_models(values: Tensor) -> tuple[float, float, float]:
    """Mean of one number for each trained model, (n,), and its 95 % interval by Student's t.

    Score each model on images of its own: then the numbers differ by training and by images, and the interval counts
    both. For two methods pass the differences. Raises ValueError unless there are 2 to 10 floats. Built in chapter 13.
    """
    check_models(values)
    mean, n = values.mean().item(), len(values)
    half = STUDENT[n - 2] * values.std().item() / n ** 0.5
    return mean, mean - half, mean + half


def check_pictures(pictures: Tensor, others: Tensor) -> None:
    """Raise ValueError unless both are (B, rows, columns), equally large, and the pictures are finite numbers."""
    if pictures.ndim != 3 or pictures.shape != others.shape:
        raise ValueError("expected two of one shape (B, rows, columns), one number a patch, got "
                         f"{tuple(pictures.shape)} and {tuple(others.shape)}")
    check_finite(pictures)


def check_masks(pictures: Tensor, masks: Tensor) -> None:
    """Raise ValueError unless the pictures are (B, rows, columns), finite, and the masks (B, H, W), boolean."""
    if pictures.ndim != 3 or masks.ndim != 3 or len(pictures) != len(masks) or masks.dtype != torch.bool:
        raise ValueError("expected pictures (B, rows, columns) and as many boolean masks (B, H, W), got "
                         f"{tuple(pictures.shape)} and {masks.dtype} {tuple(masks.shape)}")
    check_finite(pictures)


def check_finite(pictures: Tensor) -> None:
    """Raise ValueError where a picture has nan or infinity: it would count as the highest of all."""
    if not pictures.isfinite().all():
        raise ValueError("the pictures hold nan or infinity, which cannot be ranked; look at what made them")


def check_replacement(images: Tensor, classes: Tensor, pictures: Tensor, fill: Tensor, steps: int) -> None:
    """Raise ValueError unless `replacement_curve` can replace patches of the images by those of the fill."""
    if pictures.ndim != 3 or not len(pictures) == len(images) == len(classes) or not is_count(len(pictures)):
        raise ValueError("expected one picture (B, rows, columns) and one class for each of one or more images, got "
                         f"{tuple(pictures.shape)}, {tuple(classes.shape)} and {tuple(images.shape)}")
    if not is_count(steps):
        raise ValueError(f"steps must be a whole number of 1 or more, got {steps!r}")
    check_fill(images, fill)
    check_finite(pictures)


def check_edges(images: Tensor, grid: tuple[int, int]) -> None:
    """Raise ValueError unless the images are floats (B, C, H, W) and the grid is (rows, columns)."""
    check_grid(grid)
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"edge_map wants floats (B, C, H, W), got {images.dtype} {tuple(images.shape)}")


def check_values(values: Tensor, draws: int) -> None:
    """Raise ValueError unless there are floats (B,) to draw from, and a number of draws."""
    if values.ndim != 1 or not len(values) or not values.is_floating_point() or not is_count(draws):
        raise ValueError("bootstrap wants one or more floats (B,) and one or more draws, got "
                         f"{values.dtype} {tuple(values.shape)} and {draws!r}")


def check_models(values: Tensor) -> None:
    """Raise ValueError unless there is a float for each of 2 to 10 models."""
    if values.ndim != 1 or not 2 <= len(values) <= 10 or not values.is_floating_point():
        raise ValueError("over_models wants a float for each of 2 to 10 models, (n,), got "
                         f"{values.dtype} {tuple(values.shape)}")
