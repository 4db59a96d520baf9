"""A model that was exported or traced with one batch size runs with another, and gives the same logits."""

import warnings
from dataclasses import replace

import onnxruntime
import pytest
import torch
from common import TINY, randomise

from vitlib.vit import ViT

KINDS = [{"pool": pool, "registers": registers, "stem": stem}
         for pool in ("cls", "mean") for registers, stem in ((0, "patch"), (2, "patch"), (0, "conv"), (1, "residual"))]


def vit(**changes):
    return randomise(ViT(replace(TINY, **changes)), 0.3).eval()


def images(count):
    return torch.randn(count, 3, 8, 8)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_an_exported_model_runs_with_another_batch_size(kind):
    model, batch = vit(**kind), torch.export.Dim("batch")
    exported = torch.export.export(model, (images(3),), dynamic_shapes={"images": {0: batch}}).module()
    for count in (1, 5):
        x = images(count)
        torch.testing.assert_close(exported(x), model(x), atol=1e-5, rtol=0)
    assert model(x).std() > 0.1


@pytest.mark.parametrize("kind", KINDS[:4], ids=lambda kind: "-".join(map(str, kind.values())))
def test_a_traced_model_runs_with_another_batch_size(kind):
    model = vit(**kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks of shapes are taken as they come out, and tracing says so
        traced = torch.jit.trace(model, images(3))
    x = images(5)
    torch.testing.assert_close(traced(x), model(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[7]], ids=lambda kind: "-".join(map(str, kind.values())))
def test_an_onnx_file_runs_with_another_batch_size(kind, tmp_path):
    model, path = vit(**kind), tmp_path / "vit.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own converter
        torch.onnx.export(model, (images(3),), path, dynamo=True, verbose=False,
                          dynamic_shapes={"images": {0: torch.export.Dim("batch")}})
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        x = images(count)
        logits, = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), model(x).detach(), atol=1e-4, rtol=0)
