import math

import pytest
import torch
from torch.nn import functional as F

from vitlib import shapes as module
from vitlib.shapes import SHAPES, shapes


def test_images_labels_and_masks_have_the_promised_form():
    data = shapes(25, size=16)
    assert data.images.shape == (25, 3, 16, 16)
    assert data.images.dtype == torch.uint8
    assert data.masks.shape == (25, 16, 16)
    assert data.masks.dtype == torch.bool
    assert (data.classes, data.name) == (SHAPES, "Shapes")


def test_the_seed_decides_every_pixel():
    a, b, other = shapes(40, seed=3), shapes(40, seed=3), shapes(40, seed=4)
    torch.rand(5)  # the global generator plays no part
    assert all(torch.equal(x, y) for x, y in ((a.images, b.images), (a.labels, b.labels), (a.masks, b.masks)))
    assert not torch.equal(a.labels, other.labels)
    assert (a.images != other.images).float().mean() > 0.9


def test_classes_come_in_equal_shares_and_mixed_order():
    labels = shapes(103).labels
    counts = labels.bincount(minlength=10)
    assert counts.min() == 10
    assert counts.max() == 11
    assert labels.tolist() != sorted(labels.tolist())
    assert (labels[:50].bincount(minlength=10) < 50).all()


def star(p, corners, outer, inner):
    """Inside a star that points up: fold the plane into half a tip, then compare with its one edge."""
    angle = torch.atan2(p[..., 0], -p[..., 1]).remainder(2 * math.pi / corners)
    angle = torch.minimum(angle, 2 * math.pi / corners - angle)
    u, v = p.norm(dim=-1) * angle.cos(), p.norm(dim=-1) * angle.sin()
    tip, notch = (outer, 0.0), (inner * math.cos(math.pi / corners), inner * math.sin(math.pi / corners))
    return (notch[0] - tip[0]) * (v - tip[1]) - (notch[1] - tip[1]) * (u - tip[0]) > 0


def inside(name, p):
    """Which points (P, 2) a shape holds, from school geometry instead of signed distances."""
    x, y, r = p[:, 0], p[:, 1], p.norm(dim=-1)
    ax, ay = x.abs(), y.abs()
    return {
        "circle": r < 0.9,
        "ring": (r > 0.46) & (r < 0.9),
        "crescent": (r < 0.9) & ((x - 0.5) ** 2 + y**2 > 0.75**2),
        "triangle": star(p, 3, 0.95, 0.95 / 2),
        "square": (ax < 0.75) & (ay < 0.75),
        "pentagon": star(p, 5, 0.95, 0.95 * math.cos(math.pi / 5)),
        "star": star(p, 5, 0.95, 0.4),
        "cross": ((ax < 0.3) & (ay < 0.9)) | ((ax < 0.9) & (ay < 0.3)),
        "arrow": ((x > -0.9) & (x <= 0.1) & (ay < 0.25)) | ((x >= 0.1) & (ay < 0.75 * (0.95 - x) / 0.85)),
        "hourglass": (ay < 0.9) & (ax < 0.18 + (0.75 - 0.18) * ay / 0.9),
    }[name]


@pytest.mark.parametrize("scattered", [False, True])
def test_masks_are_exact(monkeypatch, scattered):
    places, place = [], module.place
    monkeypatch.setattr(module, "place", lambda *a, **k: places.append(place(*a, **k)) or places[-1])
    data = shapes(200, seed=5, scattered=scattered)
    points = places[-1][0]  # the object is drawn last, over the distractors
    for i, label in enumerate(data.labels):
        name = SHAPES[label]
        wrong = data.masks[i].flatten() != inside(name, points[i])
        assert wrong.sum() <= 1, name  # a pixel whose centre is on the very outline


def test_the_object_is_painted_on_every_pixel_of_its_mask_and_nowhere_beyond_its_soft_edge(monkeypatch):
    ground, images = torch.full((50, 3, 1, 1), 0.5), []
    for colour in (0.0, 1.0):
        monkeypatch.setattr(module, "random_colours", lambda B, g, c=colour: (torch.full((B, 3, 1, 1), c), ground))
        images.append(shapes(50, seed=6))
    painted = (images[0].images != images[1].images).any(1)
    wide = F.max_pool2d(images[0].masks[:, None].float(), 7, 1, 3)[:, 0] > 0  # thin tips fade out over a few pixels
    assert painted[images[0].masks].all()
    assert not painted[~wide].any()
    assert 0.1 < painted.float().mean() < 0.5


def test_objects_are_large_and_in_the_picture():
    share = shapes(300).masks.flatten(1).float().mean(1)
    assert share.min() > 0.03
    assert share.max() < 0.6


def mask_centres(data):
    """The mean place of each object's pixels, in halves of the image's side from the middle: (N, 2)."""
    axis = (torch.arange(32) + 0.5) / 16 - 1
    places = torch.cartesian_prod(axis, axis)  # (1024, 2)
    masks = data.masks.flatten(1).float()
    return masks @ places / masks.sum(1, keepdim=True)


def test_scattered_objects_are_smaller_and_anywhere():
    centred, scattered = shapes(1000, seed=7), shapes(1000, seed=7, scattered=True)
    assert (scattered.name, scattered.images.shape) == ("Shapes, scattered", centred.images.shape)
    assert torch.equal(scattered.labels, centred.labels)
    sizes = [data.masks.flatten(1).float().mean(1) for data in (centred, scattered)]
    assert sizes[1].min() > 0.01  # ten pixels: no object is lost beyond the border
    assert sizes[1].median() < sizes[0].median() / 2
    near, places = mask_centres(centred), mask_centres(scattered)
    far = [(centres.abs().amax(1) > 0.25).float().mean() for centres in (near, places)]
    assert far[0] < 0.1  # crescents, whose pixels lie to one side
    assert far[1] > 0.6
    for y in (-1, 1):
        for x in (-1, 1):  # a corner is the place of a quarter of them
            assert 0.2 < ((places * torch.tensor([y, x])).min(1).values > 0).float().mean() < 0.3
    middle = [data.masks[:, 15, 15].float().mean() for data in (centred, scattered)]
    assert middle[0] > 0.75  # a guess at the middle is a good one
    assert middle[1] < 0.5  # and now wrong more often than right


def test_scattered_images_have_seeds_of_their_own_too():
    a, b, other = (shapes(20, seed=seed, scattered=True) for seed in (3, 3, 4))
    assert torch.equal(a.images, b.images) and torch.equal(a.masks, b.masks)
    assert not torch.equal(a.masks, other.masks)
    assert not torch.equal(a.masks, shapes(20, seed=3).masks)


def test_a_linear_classifier_does_not_suffice():
    train, test = shapes(3000, seed=1), shapes(600, seed=2)
    x, z = (d.images.flatten(1).float() / 255 - 0.5 for d in (train, test))
    y = F.one_hot(train.labels, 10).float() - 0.1
    kernel = x @ x.T
    for ridge in (10, 1000):
        scores = z @ x.T @ torch.linalg.solve(kernel + ridge * torch.eye(3000), y)
        assert 0.05 < (scores.argmax(1) == test.labels).float().mean() < 0.35


@pytest.mark.parametrize(("count", "size"), [(9, 32), (100, 7)])
def test_too_few_images_or_pixels_are_named(count, size):
    with pytest.raises(ValueError, match=f"at least 10 images of at least 8 pixels, got {count} of {size}"):
        shapes(count, size=size)
