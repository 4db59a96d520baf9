"""Scores of pictures: each against a case whose answer is known, or against a plain loop."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from common import TINY, randomise
from torch.nn import functional as F

from vitlib.checkpoint import load_zoo
from vitlib.data import normalise
from vitlib.maps import class_rows, rollout
from vitlib.scores import (
    average_precision,
    bootstrap,
    centre_gaussian,
    edge_map,
    iou,
    over_models,
    pointing_game,
    rank_correlation,
    replacement_curve,
    to_pixels,
)
from vitlib.shapes import shapes
from vitlib.vit import ViT


def blobs(count=4, size=16):
    """Masks with an object of another size and place in each image: (count, size, size)."""
    masks = torch.zeros(count, size, size, dtype=torch.bool)
    for i in range(count):
        masks[i, i:i + 3 + i, 2 * i:2 * i + 5] = True
    return masks


def test_pointing_counts_a_patch_that_is_half_object_or_more():
    picture = torch.tensor([[0.0, 1], [0, 0]]).repeat(3, 1, 1)
    inside = torch.ones(3, 2, 2)
    inside[:, 0, 1] = torch.tensor([0.5, 0.499, 1])
    assert pointing_game(picture, inside).tolist() == [1, 0, 1]
    assert pointing_game(-picture, 1 - inside).tolist() == [0, 0, 0]


def test_iou_is_one_for_the_mask_itself_and_zero_for_its_opposite():
    masks = blobs()
    assert iou(masks.float(), masks).tolist() == [1, 1, 1, 1]
    assert iou(-masks.float(), masks).tolist() == [0, 0, 0, 0]


def test_iou_by_hand():
    """The object holds 3 of 4 pixels and the picture's three highest hit 2 of them: 2 shared, 4 in all."""
    picture, mask = torch.tensor([[[4.0, 3], [2, 1]]]), torch.tensor([[[True, False], [True, True]]])
    assert iou(picture, mask).item() == 0.5
    assert iou(torch.exp(picture), mask).item() == 0.5  # order alone counts
    sideways = torch.tensor([[[4.0, 3, 2, 1]]])
    assert iou(sideways, torch.tensor([[[False, True, True, False]]])).item() == pytest.approx(1 / 3)


def plain_average_precision(values, mask):
    """Over all thresholds from high to low: precision times what the threshold adds to recall."""
    total = 0.0
    for threshold in sorted(set(values.tolist()), reverse=True):
        precision = mask[values >= threshold].float().mean().item()
        total += precision * mask[values == threshold].sum().item() / mask.sum().item()
    return total


@pytest.mark.parametrize("levels", [1, 4, 10**6])  # a constant picture, many ties, no ties
def test_average_precision_equals_a_plain_loop(levels):
    masks, pictures = blobs(), torch.randint(levels, (4, 16, 16)).float()
    expected = [plain_average_precision(p.flatten(), m.flatten()) for p, m in zip(pictures, masks)]
    assert average_precision(pictures, masks).tolist() == pytest.approx(expected, abs=1e-6)


def test_average_precision_is_one_for_the_mask_and_the_objects_share_for_a_guess():
    masks = blobs()
    share = masks.flatten(1).float().mean(1)
    torch.testing.assert_close(average_precision(masks.float(), masks), torch.ones(4))
    torch.testing.assert_close(average_precision(torch.zeros(4, 16, 16), masks), share)
    random = torch.stack([average_precision(torch.rand(4, 16, 16), masks) for _ in range(200)]).mean(0)
    assert (random - share).abs().max() < 0.03


def test_pixels_between_patch_centres_are_mixed():
    row = to_pixels(torch.tensor([[[0.0, 4]]]), (1, 8))  # patches of 4 pixels, centres between pixels 1 and 2, 5 and 6
    assert row.tolist() == [[0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4]]
    oblong = to_pixels(torch.arange(6.0).reshape(1, 2, 3), (2, 3))
    assert oblong.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert torch.equal(to_pixels(torch.ones(2, 4, 4), (16, 16)), torch.ones(2, 256))


class Brightness(torch.nn.Module):
    """Two classes; the odds of the second are e to the power of how many patches of 4 pixels are white."""

    def forward(self, images):
        white = images[:, 0].sum(dim=(1, 2)) / 16
        return torch.stack([torch.zeros_like(white), white], dim=1)


def test_replacement_curves_of_a_model_that_counts_white_patches():
    images = torch.zeros(1, 3, 16, 16)
    images[..., :8, :4] = 1  # patches 0 and 4 of 4×4 are white
    best = torch.zeros(1, 4, 4)
    best[0, 0, 0], best[0, 1, 0] = 2, 1
    worst, black, one = -best, torch.zeros_like(images), torch.tensor([1])
    odds = lambda white: [math.exp(n) / (1 + math.exp(n)) for n in white]  # noqa: E731
    for picture, insert, white in ((best, False, [2, 0, 0, 0, 0, 0, 0, 0, 0]), (best, True, [0] + [2] * 8),
                                   (worst, False, [2] * 8 + [0]), (worst, True, [0] * 8 + [2])):
        curve = replacement_curve(Brightness(), images, one, picture, black, insert)
        assert curve[0].tolist() == pytest.approx(odds(white))
    finest = replacement_curve(Brightness(), images, one, best, black, steps=16)
    assert finest[0].tolist() == pytest.approx(odds([2, 1] + [0] * 15))


@pytest.mark.parametrize(("steps", "counts"), [(4, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (8, [0, 1, 1, 2, 2, 3, 3, 4, 4])])
@pytest.mark.parametrize("insert", [False, True])
def test_each_step_replaces_its_share_of_whole_patches_the_highest_first(steps, counts, insert):
    seen, model = [], randomise(ViT(TINY), 0.3).eval()
    images, fill, pictures = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8), torch.rand(2, 2, 2)
    classes = torch.tensor([2, 0])

    watch = model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    curve = replacement_curve(model, images, classes, pictures, fill, insert, steps)
    watch.remove()
    assert curve.shape == (2, steps + 1)
    start, end = (fill, images) if insert else (images, fill)
    for k, (x, count) in enumerate(zip(seen, counts, strict=True)):
        for i in range(2):
            by_hand = start[i].clone()
            for n in sorted(range(4), key=lambda n: -pictures[i].flatten()[n])[:count]:
                y, z = n // 2 * 4, n % 2 * 4
                by_hand[:, y:y + 4, z:z + 4] = end[i, :, y:y + 4, z:z + 4]
            assert torch.equal(x[i], by_hand)
            assert curve[i, k].item() == pytest.approx(model(by_hand[None]).softmax(1)[0, classes[i]].item(), abs=1e-6)


def test_replacement_takes_the_number_of_patches_that_the_step_says_on_any_grid():
    model = ViT(replace(TINY, image_size=28)).eval()
    for steps in (7, 12, 49):
        seen = []
        watch = model.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0]))
        replacement_curve(model, torch.zeros(1, 3, 28, 28), torch.tensor([0]), torch.rand(1, 7, 7),
                          torch.ones(1, 3, 28, 28), steps=steps)
        watch.remove()
        counts = [int(x[0, 0].sum()) // 16 for x in seen]
        assert counts == [math.ceil(49 * k / steps) for k in range(steps + 1)]


def spearman(a, b):
    """Ranks by a plain loop, equal values sharing their mean; then Pearson's correlation."""
    def ranks(values):
        return torch.tensor([sum((v < x) + 0.5 * (v == x) for v in values) for x in values], dtype=torch.float64)
    return torch.corrcoef(torch.stack([ranks(a.flatten().tolist()), ranks(b.flatten().tolist())]))[0, 1].item()


@pytest.mark.parametrize("levels", [3, 10**6])  # many ties, none
def test_rank_correlation_is_spearmans(levels):
    a, b = torch.randint(levels, (2, 5, 4, 3)).float()
    b = b + 0.5 * a.floor()
    expected = [spearman(x, y) for x, y in zip(a, b)]
    assert rank_correlation(a, b).tolist() == pytest.approx(expected, abs=1e-6)
    assert max(expected) - min(expected) > 0.1


def test_rank_correlation_sees_order_alone():
    a, b = torch.randn(2, 6, 4, 4)
    assert rank_correlation(a, a).tolist() == pytest.approx([1] * 6)
    assert rank_correlation(a, -a).tolist() == pytest.approx([-1] * 6)
    assert rank_correlation(a, a ** 3).tolist() == pytest.approx([1] * 6)
    torch.testing.assert_close(rank_correlation(a, b), rank_correlation(a.exp(), 3 * b - 5))
    assert rank_correlation(a, b).abs().max() < 0.9


def test_a_constant_picture_has_no_rank_correlation():
    assert rank_correlation(torch.ones(1, 4, 4), torch.ones(1, 4, 4)).isnan().all()


def test_the_centre_gaussian_is_symmetric_and_falls_off_from_the_middle():
    bump = centre_gaussian(torch.zeros(2, 3, 32, 32), (8, 8))
    assert bump.shape == (2, 8, 8)
    torch.testing.assert_close(bump, bump.flip(1))
    torch.testing.assert_close(bump, bump.mT)
    assert (bump[0, 3, 3] == bump[0].max()) and (bump[0, 0, 0] == bump[0].min())
    assert all(a < b for a, b in pairwise(bump[0, 3, :4]))
    oblong = centre_gaussian(torch.zeros(1, 3, 24, 40), (3, 5), width=0.2)[0]
    assert oblong[1, 2] == 1
    assert oblong[1, 3].item() == pytest.approx(math.exp(-0.5))  # a fifth of the side is one deviation
    assert oblong[0, 2].item() == pytest.approx(math.exp(-0.5 * (1 / 0.6) ** 2))


def test_the_edge_map_is_zero_without_edges_and_largest_at_a_drawn_one():
    assert edge_map(torch.full((2, 3, 16, 16), 0.7), (4, 4)).abs().max() < 1e-6
    images = torch.zeros(2, 3, 16, 16)
    images[0, :, :, 6:] = 1  # upright, in the second column of patches
    images[1, :, 10:] = 1  # level, in the third row
    edges = edge_map(images, (4, 4))
    assert edges[0].argmax(dim=1).tolist() == [1, 1, 1, 1]
    assert edges[1].argmax(dim=0).tolist() == [2, 2, 2, 2]
    assert edges[0, :, [0, 2, 3]].abs().max() == 0
    assert edges[0, 0, 1] == 2  # two of four columns slope, by 1+2+1
    torch.testing.assert_close(edges[0], edges[1].T.flip(1))


def test_bootstrap_gives_the_mean_inside_its_interval_and_the_same_for_the_same_seed():
    values = torch.rand(50)
    mean, low, high = bootstrap(values)
    assert mean == pytest.approx(values.mean().item())
    assert low < mean < high
    assert bootstrap(values) == (mean, low, high)
    assert bootstrap(values, seed=1) != (mean, low, high)
    torch.rand(3)  # the global generator plays no part
    assert bootstrap(values) == (mean, low, high)
    assert bootstrap(torch.full((9,), 0.5)) == (0.5, 0.5, 0.5)


def test_bootstrap_intervals_are_as_wide_as_theory_says_and_shrink_with_the_root_of_the_count():
    widths = []
    for count in (100, 1600):
        values = torch.randn(count)
        mean, low, high = bootstrap(values)
        widths.append(high - low)
        assert high - low == pytest.approx(2 * 1.96 * values.std().item() / count**0.5, rel=0.08)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)


def test_about_95_of_100_intervals_hold_the_truth():
    intervals = [bootstrap(3 + torch.randn(30), draws=200, seed=i) for i in range(300)]
    held = sum(low < 3 < high for _, low, high in intervals) / 300
    assert 0.90 <= held <= 0.98


def test_differences_of_pairs_give_a_tighter_interval_than_two_methods_apart():
    hard = torch.randn(200)  # some images are hard for both
    a, b = hard + 0.1 * torch.randn(200) + 0.1, hard + 0.1 * torch.randn(200)
    _, low, high = bootstrap(a - b)
    assert 0 < low < high
    assert bootstrap(a)[1] < bootstrap(b)[2]  # apart, they overlap


def test_edges_and_pixels_fit_a_models_grid():
    images = torch.randn(2, 3, 8, 8)
    assert edge_map(images, (2, 2)).shape == (2, 2, 2)
    assert to_pixels(edge_map(images, (2, 2)), (8, 8)).shape == (2, 64)


NAN = torch.full((2, 4, 4), math.nan)
GOOD, MASKS = torch.rand(2, 4, 4), torch.ones(2, 8, 8, dtype=torch.bool)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: pointing_game(GOOD, GOOD[:, :2]), r"one shape \(B, rows, columns\).*got \(2, 4, 4\) and \(2, 2, 4\)"),
    (lambda: pointing_game(GOOD[0], GOOD[0]), r"got \(4, 4\)"),
    (lambda: pointing_game(NAN, GOOD), "hold nan or infinity, which cannot be ranked"),
    (lambda: iou(NAN, MASKS), "hold nan"),
    (lambda: iou(GOOD, MASKS.float()), r"boolean masks \(B, H, W\), got \(2, 4, 4\) and torch.float32 \(2, 8, 8\)"),
    (lambda: iou(GOOD, MASKS[:1]), r"got \(2, 4, 4\) and torch.bool \(1, 8, 8\)"),
    (lambda: average_precision(GOOD, MASKS[0]), r"got \(2, 4, 4\) and torch.bool \(8, 8\)"),
    (lambda: rank_correlation(GOOD, GOOD[:1]), r"got \(2, 4, 4\) and \(1, 4, 4\)"),
    (lambda: rank_correlation(GOOD, NAN[:, :, :2]), r"one shape"),
    (lambda: centre_gaussian(torch.rand(2, 3, 8, 8), 4), r"a grid is \(rows, columns\)"),
    (lambda: edge_map(torch.rand(3, 8, 8), (2, 2)), r"floats \(B, C, H, W\), got torch.float32 \(3, 8, 8\)"),
    (lambda: edge_map(torch.ones(2, 3, 8, 8, dtype=torch.uint8), (2, 2)), "got torch.uint8"),
    (lambda: bootstrap(torch.zeros(0)), r"one or more floats \(B,\) .* got torch.float32 \(0,\)"),
    (lambda: bootstrap(torch.tensor([1, 0])), r"got torch.int64 \(2,\)"),
    (lambda: bootstrap(torch.rand(2, 2)), r"got torch.float32 \(2, 2\)"),
    (lambda: bootstrap(torch.rand(2), draws=0), "and 0")])
def test_what_does_not_fit_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(("changes", "words"), [
    ({"fill": torch.zeros(2, 3, 1, 1)}, r"images' shape \(2, 3, 8, 8\), got \(2, 3, 1, 1\)"),
    ({"pictures": torch.rand(1, 2, 2)}, r"one picture .* got \(1, 2, 2\), \(2,\) and \(2, 3, 8, 8\)"),
    ({"classes": torch.tensor([1])}, r"got \(2, 2, 2\), \(1,\)"),
    ({"classes": torch.tensor([1, 3])}, "classes run from 1 to 3, and the model tells 0 to 2 apart"),
    ({"pictures": torch.full((2, 2, 2), math.inf)}, "nan or infinity"),
    ({"steps": 0}, "steps must be a whole number of 1 or more, got 0")])
def test_a_replacement_that_cannot_be_is_named(changes, words):
    good = {"model": ViT(TINY).eval(), "images": torch.randn(2, 3, 8, 8), "classes": torch.tensor([2, 0]),
            "pictures": torch.rand(2, 2, 2), "fill": torch.zeros(2, 3, 8, 8)}
    with pytest.raises(ValueError, match=words):
        replacement_curve(**good | changes)


def test_the_interval_over_models_is_students():
    """Against the t interval worked by hand for 1, 2, 3: mean 2, standard deviation 1, half-width 4.303 / √3."""
    mean, low, high = over_models(torch.tensor([1.0, 2, 3]))
    assert (mean, low, high) == pytest.approx((2, 2 - 4.303 / 3 ** 0.5, 2 + 4.303 / 3 ** 0.5))


def test_the_interval_over_models_holds_the_truth_19_times_in_20():
    """With five models a side; drawing five of the five again and again (a bootstrap) would miss far more often."""
    g = torch.Generator().manual_seed(0)
    runs = [over_models(torch.randn(5, generator=g)) for _ in range(4000)]
    assert sum(low < 0 < high for _, low, high in runs) / len(runs) == pytest.approx(0.95, abs=0.012)
    drawn = [bootstrap(torch.randn(5, generator=g), 200) for _ in range(500)]
    assert sum(low < 0 < high for _, low, high in drawn) < 450


@pytest.mark.parametrize("values", [torch.ones(1), torch.ones(11), torch.ones(2, 2), torch.ones(3, dtype=torch.int64)])
def test_an_interval_over_models_wants_a_float_for_each(values):
    with pytest.raises(ValueError, match="float for each of 2 to 10 models"):
        over_models(values)


def test_a_smoothed_rollout_points_better_than_the_rollout_itself():
    """What the solution of exercise 13.4 says of the model of chapter 13."""
    model, data = load_zoo("shapes-scattered")[0], shapes(500, seed=77, scattered=True)
    with torch.no_grad():
        flow = class_rows(rollout(model.attention_maps(normalise(data.images))), (8, 8))
    inside = F.adaptive_avg_pool2d(data.masks.float(), (8, 8))
    smoothed = F.avg_pool2d(flow[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    assert pointing_game(smoothed, inside).mean() > 0.8 > pointing_game(flow, inside).mean()
