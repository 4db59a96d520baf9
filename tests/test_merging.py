"""Token merging: the paper's formula written with plain loops; what must stay true of sizes, prefix and sources."""

import math
import warnings
from dataclasses import replace

import onnxruntime
import pytest
import torch
from common import TINY, randomise

from vitlib.attention import MultiHeadAttention
from vitlib.merging import (
    bipartite_matching,
    followed,
    merge_tokens,
    merged,
    proportional_attention,
    unmerge_tokens,
)
from vitlib.vit import ViT

FINE = replace(TINY, image_size=24, depth=3)  # 36 patches
KINDS = [{"pool": "cls"}, {"pool": "mean"}, {"pool": "distilled"}, {"pool": "cls", "registers": 2},
         {"pool": "mean", "keep_cls": True}, {"pool": "mean", "fc_norm": True, "layer_scale": 0.5},
         {"pool": "cls", "qk_norm": True}]


def vit(**changes):
    return randomise(ViT(replace(FINE, **changes)), 0.3).eval()


def images(count=3, side=24):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(7))


def by_hand(x, keys, sizes, r, prefix):
    """One image's merge with loops, as the paper tells it: means, sizes, and which old tokens each holds."""
    A = [i for i in range(len(x)) if i >= prefix and i % 2 == 0]
    B = [i for i in range(len(x)) if i >= prefix and i % 2 == 1]

    def cosine(i, j):
        dot = sum(float(p) * float(q) for p, q in zip(keys[i], keys[j]))
        return dot / math.sqrt(sum(float(p) ** 2 for p in keys[i]) * sum(float(q) ** 2 for q in keys[j]))

    best = {i: max(B, key=lambda j: cosine(i, j)) for i in A}
    gone = sorted(A, key=lambda i: -cosine(i, best[i]))[:min(r, (len(x) - prefix) // 2)]
    groups = [[i] for i in range(prefix)] + [[i] for i in A if i not in gone]
    groups += [[j] + [i for i in gone if best[i] == j] for j in B]
    total = [sum(sizes[i] for i in group) for group in groups]
    means = [sum(sizes[i] * x[i] for i in group) / n for group, n in zip(groups, total)]
    return torch.stack(means), torch.tensor(total), groups


@pytest.mark.parametrize("prefix", [0, 1, 2, 3])
@pytest.mark.parametrize("N", [2, 3, 8, 11, 12])
@pytest.mark.parametrize("r", [1, 3, 100])
def test_one_merge_is_the_papers_formula(prefix, N, r):
    x, keys = torch.randn(2, prefix + N, 5), torch.randn(2, prefix + N, 4)
    sizes = torch.randint(1, 5, (2, prefix + N, 1)).float()
    sizes[:, :prefix] = 1
    matching = bipartite_matching(keys, r, prefix)
    found, size = merge_tokens(x, sizes, matching, prefix)
    source = followed(torch.arange(N).expand(2, -1), matching, prefix)
    for i in range(2):
        means, total, groups = by_hand(x[i], keys[i], sizes[i, :, 0].tolist(), r, prefix)
        torch.testing.assert_close(found[i], means)
        torch.testing.assert_close(size[i, :, 0], total)
        for number, group in enumerate(groups[prefix:]):  # the map tells the same groups
            assert {prefix + patch for patch in (source[i] == number).nonzero()[:, 0].tolist()} == set(group)
    assert found.shape[1] == prefix + N - min(r, N // 2)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_without_merging_it_is_the_model_to_the_last_bit(kind):
    model = vit(**kind)
    assert torch.equal(merged(model, 0)(images()), model(images()))
    assert (merged(model, 4)(images()) - model(images())).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("r", [1, 5, [0, 7, 3], 50])
def test_sizes_sum_up_to_the_patches_and_every_patch_is_in_one_token(kind, r):
    model = vit(**kind)
    x, size, source = merged(model, r).features(images(2))
    n = x.shape[1] - model.prefix
    assert torch.equal(size[:, :model.prefix], torch.ones(2, model.prefix, 1))  # the prefix is never merged
    assert torch.allclose(size[:, model.prefix:].sum(dim=1), torch.tensor(36.0))
    for row, own in zip(source, size[:, model.prefix:, 0]):
        assert torch.equal(row.bincount(minlength=n).float(), own.round())
    left = 36
    for pairs in r if isinstance(r, list) else [r] * 3:
        left -= min(pairs, left // 2)
    assert n == left and torch.equal(merged(model, r).sources(images(2))[-1], source)


def test_a_token_is_the_mean_of_its_patches_after_many_merges():
    x, keys = torch.randn(2, 2 + 24, 6), torch.randn(2, 2 + 24, 4)
    tokens, size, source = x, None, torch.arange(24).expand(2, -1)
    for r in (5, 4, 6):
        matching = bipartite_matching(keys, r, 2)
        tokens, size = merge_tokens(tokens, size, matching, 2)
        keys, _ = merge_tokens(keys, None, matching, 2)
        source = followed(source, matching, 2)
    whole = unmerge_tokens(tokens, source, 2)
    assert whole.shape == x.shape and torch.equal(whole[:, :2], x[:, :2])
    for i in range(2):
        for patch in range(24):
            torch.testing.assert_close(whole[i, 2 + patch], x[i, 2:][source[i] == source[i, patch]].mean(dim=0))


def test_the_class_token_is_never_merged_though_it_is_most_alike():
    keys = torch.randn(1, 1 + 8, 4)
    keys[0, 0] = keys[0, 1]  # the class token's key is that of the first patch
    tokens = torch.arange(9.0)[None, :, None].repeat(1, 1, 2)
    found, size = merge_tokens(tokens, None, bipartite_matching(keys, 4, 1), 1)
    assert found[0, 0].tolist() == [0, 0] and size[0, 0] == 1 and found.shape[1] == 5


def test_alike_is_the_angle_between_keys_and_not_their_length():
    keys = torch.tensor([[[1.0, 0], [100, 100], [1, 1], [2, 0.1]]])  # A: 0 and 2; B: 1 and 3
    matching = bipartite_matching(keys, 1)
    assert matching.moved.tolist() == [[1]] and matching.target.tolist() == [[0]]  # token 2 goes into token 1


@pytest.mark.parametrize("queries", [None, 1])
def test_proportional_attention_is_attention_with_every_token_as_often_as_its_size(queries):
    attn, x, sizes = randomise(MultiHeadAttention(16, 2), 0.4).eval(), torch.randn(1, 6, 16), [1, 3, 1, 2, 4, 1]
    again = torch.cat([x[:, i:i + 1].expand(-1, n, -1) for i, n in enumerate(sizes)], dim=1)  # (1, 12, D)
    first = [sum(sizes[:i]) for i in range(6)]
    found, keys = proportional_attention(attn, x, torch.tensor(sizes).float()[None, :, None], queries)
    torch.testing.assert_close(found, attn(again)[:, first][:, :queries], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(keys, attn.qkv(x)[..., 16:32].reshape(1, 6, 2, 8).mean(dim=2))
    assert torch.equal(proportional_attention(attn, x, None, queries)[0], attn(x, queries=queries))


def test_equal_patches_may_merge_without_a_trace():
    """Patches that are copies of each other hold nothing new: some pairs merged, the model answers as before."""
    model = vit(pool="mean", positions="none", depth=2)
    image = images(1)
    image[:, :, :, 4:8] = image[:, :, :, 0:4]  # the second column of patches is a copy of the first
    image[:, :, :, 12:16], image[:, :, :, 20:24] = image[:, :, :, 8:12], image[:, :, :, 16:20]
    torch.testing.assert_close(merged(model, [5, 0])(image), model(image), atol=1e-4, rtol=1e-4)


def test_the_weights_are_the_models_own():
    model = vit()
    twin = merged(model, 3)
    assert {id(p) for p in twin.parameters()} == {id(p) for p in model.parameters()} and not twin.training
    twin.train()(images()).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS[:2], ids=str)
def test_exported_it_runs_with_another_batch_size(kind, tmp_path):
    model, path = merged(vit(**kind), 5), tmp_path / "merged.onnx"
    batch = {"images": {0: torch.export.Dim("batch")}}
    program = torch.export.export(model, (images(3),), dynamic_shapes=batch)
    exported = program.module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own converter
        torch.onnx.export(program, (), path, dynamo=True, verbose=False)  # captured by itself, 2.9 fixes the batch
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        x = images(count)
        torch.testing.assert_close(exported(x), model(x), atol=1e-5, rtol=0)
        logits, = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), model(x).detach(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("r", [-1, 1.5, True, [1, 2], [1, 2, 3, 4], [1, 2, -3]], ids=str)
def test_an_r_that_is_none_is_refused(r):
    with pytest.raises(ValueError, match="r counts the pairs|r has"):
        merged(vit(), r)


@pytest.mark.parametrize("change", [{"positions": "rope"}, {"pool": "sequence"}], ids=str)
def test_models_whose_tokens_cannot_stand_for_several_patches_are_refused(change):
    with pytest.raises(ValueError, match=f"{[*change][0]}='{[*change.values()][0]}' cannot be merged"):
        merged(vit(**change), 1)


def test_other_models_and_too_few_patches_are_refused():
    with pytest.raises(ValueError, match="a ViT of vitlib, got Linear"):
        merged(torch.nn.Linear(2, 2), 1)
    with pytest.raises(ValueError, match="two patches or more behind a prefix of 1"):
        bipartite_matching(torch.randn(1, 2, 4), 1, prefix=1)
    with pytest.raises(ValueError, match="got 0"):
        bipartite_matching(torch.randn(1, 8, 4), 0)
