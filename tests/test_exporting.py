"""`python -m vitlib export`: a model as one file that gives its answers, or no file."""

import copy
import json
import os
import sys
import tempfile
from dataclasses import replace
from zipfile import ZipFile

import onnx
import onnxruntime
import pytest
import torch
from common import TINY, pictures, randomise, write_folder
from onnx import TensorProto
from onnx.numpy_helper import to_array
from safetensors.torch import save_file

from vitlib import comparing, exporting, files
from vitlib.checkpoint import export_weights, load_zoo
from vitlib.cli import main
from vitlib.comparing import batches_of, compare, images_at_hand, own_images, spread
from vitlib.data import ImageSet
from vitlib.decoding import decode_image
from vitlib.exporting import about, default_file, export_file
from vitlib.shapes import shapes
from vitlib.train import predict
from vitlib.vit import ViT

pytestmark = pytest.mark.usefixtures("home")
NAMES = ("cat", "dog", "Möwe")
IMAGES = pictures(37).images
KINDS = {
    "class token": {},
    "mean": {"pool": "mean", "fc_norm": True, "positions": "sincos", "depth": 1},
    "registers": {"registers": 2, "prefix_positions": False, "depth": 1},
    "distilled": {"pool": "distilled", "layer_scale": 0.5},
    "conv stem": {"stem": "conv", "pool": "mean", "keep_cls": True, "depth": 1},
    "residual stem": {"stem": "residual", "registers": 1, "qkv_bias": False, "depth": 1},
}


def vit(**changes):
    """A ViT whose every number counts, those of BatchNorm too, as do its images; with what training alone does."""
    model = randomise(ViT(replace(TINY, dropout=0.1, drop_path=0.1, patch_drop=0.5, **changes)), 0.3)
    for name, value in model.state_dict().items():
        if "running" in name or ("norm" in name and value.ndim == 1 and "weight" in name):
            value.uniform_(0.5, 2)  # small gains would leave the biases alone to speak
        if name == "patch_embed.proj.weight":
            value *= 3
    return model.train()  # export_file is told nothing of modes


def run_onnx(path, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # two would wait for each other on a busy machine
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def all_bytes(path):
    if path.suffix == ".onnx":
        return path.read_bytes()
    with ZipFile(path) as archive:
        return b"".join(map(archive.read, archive.namelist()))


@pytest.fixture
def weights(tmp_path):
    """A run's folder, as finetune leaves it."""
    export_weights(vit(), tmp_path / "run" / "weights.safetensors", torch.float32, NAMES)
    return tmp_path / "run" / "weights.safetensors"


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """Where the temporary folders are made, to see that none is left."""
    (tmp_path / "workshop").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "workshop"))
    return tmp_path / "workshop"


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_and_pt2_give_the_models_logits_for_any_batch_and_say_what_they_read(kind, tmp_path, workshop):
    model, facts = vit(**KINDS[kind]), about(vit(**KINDS[kind]), NAMES)
    read = dict.fromkeys(facts, "")
    for name in ("onnx", "pt2"):
        out = tmp_path / f"vit.{name}"
        found = export_file(model, NAMES, name, out, IMAGES)
        program = torch.export.load(out, extra_files=read) if name == "pt2" else None
        run = program.module() if program else lambda images, out=out: run_onnx(out, images)
        for count in (1, 2, 9):
            torch.testing.assert_close(run(IMAGES[:count]), predict(model, IMAGES[:count]), atol=1e-4, rtol=0)
        assert predict(model, IMAGES).std(0).min() > 0.01 * found["largest"]  # the images make a difference
        assert found["logit"] <= 1e-4 * found["largest"] and found["same"] == 1 and found["batches"] == [1, 4, 32]
        assert found["bytes"] == out.stat().st_size
        assert found["float32"] == 4 * sum(p.numel() for p in model.parameters())
        notes = (b"vitlib/", os.getcwd().encode(), b"site-packages", b"pkg.torch")
        assert not any(word in all_bytes(out) for word in notes)
    assert list(workshop.iterdir()) == []
    assert json.loads(facts["classes"]) == list(NAMES) and facts["image_size"] == "8"
    assert "uint8 (batch, 3, 8, 8), RGB, 0 to 255" in facts["input"] and "(batch, 3)" in facts["output"]
    assert read == facts and program.example_inputs is None  # they would be a tensor in a pickle
    file = onnx.load(tmp_path / "vit.onnx")
    onnx.checker.check_model(file, full_check=True)
    assert {entry.key: entry.value for entry in file.metadata_props} == facts
    shape = {value.name: (value.type.tensor_type.elem_type, [d.dim_param or d.dim_value for d in
                          value.type.tensor_type.shape.dim]) for value in (*file.graph.input, *file.graph.output)}
    assert shape == {"images": (TensorProto.UINT8, ["batch", 3, 8, 8]), "logits": (TensorProto.FLOAT, ["batch", 3])}
    assert [(entry.domain, entry.version) for entry in file.opset_import] == [("", 20)]
    assert sorted(os.listdir(tmp_path)) == ["vit.onnx", "vit.pt2", "workshop"]  # no second file with the weights


@pytest.mark.parametrize("kind", ["distilled", "residual stem"])
def test_int8_rounds_the_matrices_for_each_channel_and_to_seven_bits(kind, tmp_path, workshop):
    model, out = vit(**KINDS[kind]), tmp_path / "vit.int8.onnx"
    found = export_file(model, NAMES, "int8", out, IMAGES, least=0.5)
    file = onnx.load(out)
    kept = {tensor.name: to_array(tensor) for tensor in file.graph.initializer}
    calls = [node for node in file.graph.node if node.op_type == "MatMulInteger"]
    assert len(calls) == 4 * model.config.depth + (2 if kind == "distilled" else 1)
    for node in calls:
        matrix = kept[node.input[1]]
        scale, = [value for name, value in kept.items() if name == node.input[1].replace("_quantized", "_scale")]
        assert matrix.dtype == "int8" and 60 <= abs(matrix.astype(int)).max() <= 64
        assert scale.shape == (matrix.shape[1],) and len(set(scale.tolist())) > 1
    assert not any(node.op_type == "ConvInteger" for node in file.graph.node)  # many versions cannot run it
    assert {entry.key: entry.value for entry in file.metadata_props} == about(model, NAMES)
    assert [(entry.domain, entry.version) for entry in file.opset_import] == [("", 20)]
    for count in (1, 2, 9):
        assert (run_onnx(out, IMAGES[:count]) - predict(model, IMAGES[:count])).abs().max() < 0.2 * found["largest"]
    assert 0 < found["probability"] < 0.5 and found["same"] >= 0.5
    assert list(workshop.iterdir()) == []


def test_a_model_of_the_zoo_keeps_its_classes_with_eight_bits_in_a_third_of_the_size(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["export", "shapes-tiny", "--to", "int8"])
    out, text = tmp_path / "runs" / "shapes-tiny.int8.onnx", capsys.readouterr().out
    model, record = load_zoo("shapes-tiny")
    images = shapes(100, seed=3).images
    same = (run_onnx(out, images).argmax(1) == predict(model, images).argmax(1)).float().mean()
    assert same >= 0.97
    weights = 4 * sum(p.numel() for p in model.parameters())
    assert out.stat().st_size < 0.4 * weights
    assert f"{out.stat().st_size / 1e6:.2f} MB, {out.stat().st_size / weights:.2f} of the weights" in text
    assert text.startswith(str(out.relative_to(tmp_path))) and len(text.splitlines()) == 4
    assert "on 200 images (Shapes), in batches of 1, 7, 32:" in text and "the same class for " in text
    assert json.loads(onnx.load(out).metadata_props[0].value) == record["classes"]


def test_the_file_lies_beside_the_weights_unless_named(weights, tmp_path, capsys):
    photos = write_folder(tmp_path / "photos")
    main(["export", str(weights.parent), "--to", "pt2", "--images", str(photos)])
    main(["export", str(weights), "--to", "pt2", "--images", str(photos / "cat" / "1.png")])  # over the first
    main(["export", str(weights), "--to", "pt2", "--out", str(tmp_path / "a" / "b" / "c.pt2")])
    assert "on 6 images (yours), in batches of 1, 5:" in (text := capsys.readouterr().out)
    assert "on 1 images (yours), in batches of 1, 2:" in text
    assert "on 40 images (Shapes, not what it was trained on; better: --images)" in text
    for path in (weights.with_name("weights.pt2"), tmp_path / "a" / "b" / "c.pt2"):
        assert torch.export.load(path).module()(IMAGES).shape == (37, 3)
    assert default_file("shapes-tiny", "onnx").as_posix() == "runs/shapes-tiny.onnx"
    assert default_file(str(tmp_path / "my.v2.safetensors"), "int8") == tmp_path / "my.v2.int8.onnx"


# What goes wrong must leave the old file, and nothing else.


def refused(tmp_path, workshop, error, words, kind="pt2", **options):
    """Export over an old file and see that it stays, alone."""
    out = tmp_path / "place" / f"old.{'pt2' if kind == 'pt2' else 'onnx'}"
    out.parent.mkdir(exist_ok=True)
    out.write_text("old", encoding="utf-8")
    with pytest.raises(error, match=words):
        export_file(vit(depth=1), NAMES, kind, out, IMAGES, **options)
    assert os.listdir(out.parent) == [out.name] and out.read_text(encoding="utf-8") == "old"
    assert list(workshop.iterdir()) == []


def test_a_file_without_the_normalisation_is_refused(tmp_path, workshop, monkeypatch):
    monkeypatch.setattr(exporting, "normalise", lambda images: images.float() / 255)
    refused(tmp_path, workshop, ValueError, "logits differ from the model's by up to")


def test_a_file_with_one_weight_a_little_off_is_refused(tmp_path, workshop, monkeypatch):
    right = exporting.trace

    def wrong(model):
        other = copy.deepcopy(model)
        other.pos_embed.data[0, 1, 0] += 0.01
        return right(other)

    monkeypatch.setattr(exporting, "trace", wrong)
    refused(tmp_path, workshop, ValueError, "0.0001 of that is allowed")


def test_a_file_for_one_batch_size_is_refused(tmp_path, workshop, monkeypatch):
    fixed = torch.export.export
    monkeypatch.setattr(exporting, "trace", lambda model: fixed(exporting.FromPixels(model), (IMAGES[:32],)))
    refused(tmp_path, workshop, ValueError, "cannot be loaded and run")


def test_a_file_that_ends_early_is_refused(tmp_path, workshop, monkeypatch):
    right = exporting.write_pt2

    def cut(program, path, facts):
        right(program, path, facts)
        path.write_bytes(path.read_bytes()[:-2000])

    monkeypatch.setitem(exporting.WRITERS, "pt2", cut)
    refused(tmp_path, workshop, ValueError, "cannot be loaded and run")


def test_eight_bits_that_change_too_many_classes_are_refused(tmp_path, workshop, monkeypatch):
    """One that turns the head around stands for one that rounds too much; it does so in the model's own memory."""
    def wrong(program, path, facts):
        program.state_dict["model.head.weight"].data *= -1
        exporting.write_onnx(program, path, facts)

    monkeypatch.setitem(exporting.WRITERS, "int8", wrong)
    refused(tmp_path, workshop, ValueError, r"only \d+\.\d% of 37 images keep their class.*--least", kind="int8")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_writer_that_stops_half_way_leaves_no_half_file(tmp_path, workshop, monkeypatch, error):
    def stop(program, path, facts):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setitem(exporting.WRITERS, "pt2", stop)
    refused(tmp_path, workshop, type(error), "disk full|^$")


def test_a_disk_that_is_full_at_the_end_leaves_the_old_file(tmp_path, workshop, monkeypatch):
    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    refused(tmp_path, workshop, OSError, "cannot write .*No space left on device")


def test_logits_that_are_no_numbers_or_of_another_shape_are_refused():
    expected = torch.randn(5, 3)
    assert compare(expected, expected) == {"logit": 0, "largest": expected.abs().max(), "probability": 0, "same": 1}
    for found, words in ((expected[:4], r"shape \(4, 3\), the model \(5, 3\)"), (expected / 0, "nan or infinity")):
        with pytest.raises(ValueError, match=words):
            compare(found, expected)
    turned = compare(expected.flip(1), expected)
    assert turned["logit"] > 0.1 < turned["probability"] and turned["same"] < 1


def test_the_batches_are_of_two_sizes_however_few_images_there_are():
    for count, sizes in ((1, [1, 2]), (2, [1, 5]), (3, [1, 2]), (33, [1, 32]), (40, [1, 32, 7])):
        assert [len(part) for part in batches_of(IMAGES.repeat(2, 1, 1, 1)[:count])] == sizes
    with pytest.raises(ValueError, match="no image to compare on"):
        batches_of(IMAGES[:0])


def test_the_images_are_those_of_the_training_where_they_are_at_hand(tmp_path, monkeypatch):
    images, name = images_at_hand("shapes-scattered", 32, 20)
    assert name == "Shapes, scattered" and images.equal(shapes(20, seed=2, scattered=True).images)
    data = ImageSet(torch.arange(50, dtype=torch.uint8)[:, None, None, None].expand(50, 3, 32, 32),
                    torch.arange(50) // 25, ("a", "b"), name="CIFAR-10 (JPEG)")
    monkeypatch.setitem(comparing.DATA, "CIFAR-10", lambda: (None, data))
    images, name = images_at_hand("cpu-20", 32, 5)
    assert name == "test images of CIFAR-10 (JPEG)" and images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]
    (tmp_path / "record.json").write_text('{"data": "CIFAR-10 (JPEG)"}', encoding="utf-8")
    assert images_at_hand(str(tmp_path / "weights.safetensors"), 32, 5)[0].equal(images)
    assert images_at_hand(str(tmp_path / "weights.safetensors"), 24, 10)[0].equal(shapes(10, 2, 24).images)  # not of 32

    def missing():
        raise FileNotFoundError

    monkeypatch.setitem(comparing.DATA, "CIFAR-10", missing)
    images, name = images_at_hand("cpu-20", 32, 10)
    assert "not what it was trained on" in name and images.equal(shapes(10, seed=2).images)
    for text in ("[]", "{", '{"data": null}'):
        (tmp_path / "record.json").write_text(text, encoding="utf-8")
        assert images_at_hand(str(tmp_path / "weights.safetensors"), 4, 10)[0].shape == (10, 3, 4, 4)


def test_your_own_images_are_read_as_predict_reads_them(tmp_path, monkeypatch, capsys):
    photos = write_folder(tmp_path / "photos", count=4, size=(12, 9))
    (photos / "cat" / "1.png").write_text("text", encoding="utf-8")
    expected = [decode_image(str(photos / f"{place}.png"), 8)[0] for place in
                ("cat/0", "cat/2", "cat/3", "dog/0", "dog/1", "dog/2", "dog/3")]
    assert own_images([str(photos)], 8).equal(torch.stack(expected))
    assert "1.png: left out, it cannot be identified" in capsys.readouterr().err
    monkeypatch.setattr(comparing, "MOST", 4)
    assert own_images([str(photos)], 8).equal(torch.stack([expected[i] for i in (0, 1, 3, 5)]))
    assert spread(range(1001), 1000)[-1] == 999 and spread("abc", 5) == ["a", "b", "c"]


def test_each_error_is_one_line_with_the_fix(weights, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.pt2").mkdir()
    save_file(ViT(TINY).state_dict(), tmp_path / "published.safetensors")
    export_weights(ViT(replace(TINY, classes=0)), tmp_path / "headless.safetensors")
    export_weights(ViT(replace(TINY, channels=1)), tmp_path / "grey.safetensors")
    (tmp_path / "odd.pt2").write_bytes(weights.read_bytes())
    for arguments, words in (
            ([str(tmp_path / "none")], "there is no file of weights"),
            (["no-such-model"], "there is no file of weights no-such-model"),
            ([str(tmp_path / "empty")], "holds no weights.safetensors"),
            ([str(tmp_path / "published.safetensors")], "Published weights do not know your classes; fine-tune"),
            ([str(tmp_path / "headless.safetensors")], "without a head"),
            ([str(tmp_path / "grey.safetensors")], "reads RGB images, and this model 1 channels"),
            ([str(tmp_path / "odd.pt2")], "holds the weights themselves"),
            ([str(weights), "--out", str(weights)], "ends in .pt2"),
            ([str(weights), "--out", str(tmp_path / "x.onnx")], "x.pt2"),
            ([str(weights), "--out", str(tmp_path / "folder.pt2")], "choose another --out"),
            ([str(weights), "--out", str(tmp_path / "file" / "x.pt2")], "file is a file; choose another --out"),
            ([str(weights), "--least", "0.5"], "belongs to --to int8"),
            ([str(weights), "--images", str(tmp_path / "file")], "no images to compare on"),
            ([str(weights), "--images", str(tmp_path / "empty")], "no images to compare on")):
        with pytest.raises(SystemExit) as error:
            main(["export", *arguments, "--to", "pt2"])
        assert str(error.value).startswith("vitlib export: ") and words in str(error.value)
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(SystemExit) as error:
        main(["export", str(weights), "--to", "int8", "--least", "1.5"])
    assert "a share between 0 and 1" in str(error.value)
    monkeypatch.setattr(os, "access", lambda *rest: False)
    with pytest.raises(SystemExit, match="may not be changed; choose another --out"):
        main(["export", str(weights), "--to", "pt2"])
    assert not list(tmp_path.rglob("*.onnx")) and {path.name for path in tmp_path.rglob("*.pt2")} == {
        "odd.pt2", "folder.pt2"}
    assert (tmp_path / "odd.pt2").read_bytes() == weights.read_bytes()


def test_other_formats_and_wrong_names_are_refused(weights, tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main(["export", str(weights), "--to", "tflite"])
    assert error.value.code == 2 and "invalid choice: 'tflite'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="exported to onnx, pt2, int8, got 'tflite'"):
        export_file(vit(), NAMES, "tflite", tmp_path / "x.tflite", IMAGES)
    with pytest.raises(ValueError, match="3 classes apart, and 2 have a name"):
        export_file(vit(), NAMES[:2], "pt2", tmp_path / "x.pt2", IMAGES)
    with torch.device("meta"):
        huge = ViT(replace(TINY, dim=8192, depth=1))
    with pytest.raises(ValueError, match="3.2 GB, and one ONNX file holds 2 GB; export --to pt2"):
        export_file(huge, NAMES, "onnx", tmp_path / "x.onnx", IMAGES)


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(name, weights, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    for kind, source in (("onnx", str(weights)), ("int8", "no-such-model")):  # before anything is read
        with pytest.raises(SystemExit) as error:
            main(["export", source, "--to", kind])
        assert f"--to {kind} needs the package {name}" in str(error.value)
        assert "python -m pip install onnx onnxscript onnxruntime" in str(error.value)
        assert len(str(error.value).splitlines()) == 1


def test_pt2_needs_no_package(weights, monkeypatch):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    main(["export", str(weights), "--to", "pt2"])
    assert weights.with_name("weights.pt2").is_file()
