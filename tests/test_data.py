import numpy as np
import pytest
import torch
from common import pictures
from torchvision.transforms import Normalize

from vitlib.data import ImageSet, normalise, stratified_split

pytestmark = pytest.mark.usefixtures("home")


def test_normalise_treats_bytes_and_shares_alike():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(normalise(images), torch.tensor([-2.0, -1.2, 2.0]))
    torch.testing.assert_close(normalise(images / 255), normalise(images))
    torch.testing.assert_close(normalise(images, 0.2, 0.1), torch.tensor([-2.0, 0.0, 8.0]))


def test_normalise_takes_a_mean_and_deviation_for_each_channel():
    """Published weights want the numbers of ImageNet."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    expected = Normalize(mean, std)(images.float() / 255)
    for kind in (tuple, list, torch.tensor, np.array):
        torch.testing.assert_close(normalise(images, kind(mean), kind(std)), expected)
    torch.testing.assert_close(normalise(images[0], mean, std), expected[0])
    torch.testing.assert_close(normalise(images, 0.485, std)[:, 0], expected[:, 0])
    torch.testing.assert_close(normalise(images, torch.tensor(0.485), std)[:, 0], expected[:, 0])
    assert normalise(images.double() / 255, mean, std).dtype == torch.float64


@pytest.mark.parametrize("mean", [(0.5, 0.5), (0.5,) * 4, torch.zeros(3, 1, 1), ()])
def test_a_mean_for_other_channels_is_named(mean):
    with pytest.raises(ValueError, match=r"one for each channel of images .* got .* for images \(2, 3, 4, 4\)"):
        normalise(torch.zeros(2, 3, 4, 4), mean)
    with pytest.raises(ValueError, match=r"for images \(3, 4\)"):
        normalise(torch.zeros(3, 4), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(("images", "words"), [
    (torch.tensor([0.0, 255]), r"must lie in 0…1, got 0 to 255; divide .* by 255, and normalise only once"),
    (torch.tensor([-2.0, 1]), "got -2 to 1"),
    (torch.tensor([0.0, 255]).half(), "got 0 to 255"),
    (torch.tensor([0, 255]), r"uint8 in 0…255 or floats in 0…1, got torch.int64; .*images.to\(torch.uint8\)"),
    (torch.tensor([True]), "got torch.bool"),
    (np.zeros((1, 3, 4, 4), np.uint8), "reads a tensor, got ndarray; torch.from_numpy"),
    ([0.5], "got list")])
def test_what_are_no_pixels_is_named(images, words):
    with pytest.raises(ValueError, match=words):
        normalise(images)


def test_no_images_and_small_overshoots_are_pixels():
    assert normalise(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)
    assert normalise(torch.tensor([-0.1, 1.2])).tolist() == pytest.approx([-2.4, 2.8])


IMAGES = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
LABELS = torch.tensor([0, 1])


@pytest.mark.parametrize(("changes", "words"), [
    ({"images": IMAGES.float()}, r"images must be .* uint8 \(N, C, H, W\), got torch.float32 \(2, 3, 4, 5\); \(255"),
    ({"images": IMAGES[:, 0]}, r"uint8 \(N, C, H, W\), got torch.uint8 \(2, 4, 5\)$"),
    ({"images": IMAGES.numpy()}, r"images must be a tensor, .*, got ndarray; torch.as_tensor\(images\)"),
    ({"images": [IMAGES[0], IMAGES[1]]}, "images must be a tensor, .*, got list"),
    ({"labels": torch.tensor([0, 1, 1])}, r"2 images need as many labels, got shape \(3,\)"),
    ({"labels": LABELS[:, None]}, r"labels must be a tensor, int64 \(N\), got torch.int64 \(2, 1\)$"),
    ({"labels": LABELS.int()}, r"int64 \(N\), got torch.int32 \(2,\); labels.long\(\)"),
    ({"labels": LABELS.float()}, r"got torch.float32 \(2,\); labels.long\(\)"),
    ({"labels": LABELS.bool()}, r"got torch.bool \(2,\); labels.long\(\)"),
    ({"labels": LABELS.numpy()}, r"labels must be .* got ndarray; torch.as_tensor\(labels\)"),
    ({"labels": [0, 1]}, "labels must be .* got list"),
    ({"labels": torch.tensor([0, 3])}, "run from 0 to 3, but 3 classes have the labels 0 to 2"),
    ({"labels": torch.tensor([-1, 2])}, "run from -1 to 2"),
    ({"masks": torch.zeros(1, 4, 5).bool()}, r"as many and as large as the images, \(2, 4, 5\), got \(1, 4, 5\)"),
    ({"masks": torch.zeros(2, 5, 4).bool()}, r"as large as the images, \(2, 4, 5\), got \(2, 5, 4\)"),
    ({"masks": IMAGES[:, :1].bool()}, r"masks must be .* bool \(N, H, W\), got torch.bool \(2, 1, 4, 5\)"),
    ({"masks": IMAGES[:, 0]}, r"bool \(N, H, W\), got torch.uint8 \(2, 4, 5\); masks > 0"),
    ({"masks": IMAGES[:, 0].bool().numpy()}, "masks must be .* got ndarray"),
    ({"classes": ("a", "b", "a")}, "each class needs a name of its own, but a stands more than once"),
    ({"classes": ["a", "b", "c"]}, r"classes must be a tuple of names, such as .* got \['a', 'b', 'c'\]"),
    ({"classes": "abc"}, "a tuple of names, .* got 'abc'"),
    ({"classes": (0, 1, 2)}, r"a tuple of names, .* got \(0, 1, 2\)")])
def test_parts_that_do_not_fit_are_named_with_the_fix(changes, words):
    whole = {"images": IMAGES, "labels": LABELS, "classes": ("a", "b", "c"), "masks": IMAGES[:, 0].bool()}
    ImageSet(**whole)
    with pytest.raises(ValueError, match=words):
        ImageSet(**whole | changes)


def test_a_set_without_images_is_one():
    data = ImageSet(IMAGES, LABELS, ("a", "b")).subset(torch.tensor([], dtype=torch.int64))
    assert len(data) == 0


def test_a_subset_keeps_images_labels_and_masks_together():
    data = pictures(10)
    data = ImageSet(data.images, data.labels, data.classes, masks=data.images[:, 1] > 99)
    part = data.subset(torch.tensor([7, 2]))
    assert len(part) == 2
    assert torch.equal(part.images, data.images[[7, 2]])
    assert torch.equal(part.labels, data.labels[[7, 2]])
    assert torch.equal(part.masks, data.masks[[7, 2]])


def test_a_stratified_split_takes_its_share_of_every_class_and_loses_nothing():
    data = pictures(60)
    data = data.subset(torch.cat([torch.arange(30), torch.arange(0, 60, 3)]))  # 30, 10 and 10 of the classes
    rest, aside = stratified_split(data, 0.2)
    assert aside.labels.bincount().tolist() == [6, 2, 2]
    assert rest.labels.bincount().tolist() == [24, 8, 8]
    rows = [image.numpy().tobytes() for part in (rest, aside) for image in part.images]
    assert sorted(rows) == sorted(image.numpy().tobytes() for image in data.images)


def test_the_seed_decides_the_split():
    data = pictures(60)
    first, again, other = (stratified_split(data, 0.2, seed)[1].images for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_split_that_cannot_be_is_named():
    for fraction in (0, 1, -0.5, 2):
        with pytest.raises(ValueError, match=f"between 0 and 1, got {fraction}"):
            stratified_split(pictures(), fraction)
    with pytest.raises(ValueError, match="class 'a' has 2 images: too few to set 10%"):
        stratified_split(pictures(6), 0.1)
