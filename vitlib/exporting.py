"""A trained model as one file for other programs: ONNX, PyTorch's .pt2, or ONNX with matrices of 8 bits.

Pixels go in, logits come out: the normalisation is inside, and the file tells its size and the names of its classes.
"""

import json
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from .checkpoint import zoo
from .comparing import LEAST, answers, batches_of, check_answers, compare
from .data import normalise
from .files import write_atomically
from .finetune import weights_file
from .train import predict
from .vit import ViT

ENDINGS = {"onnx": ".onnx", "pt2": ".pt2", "int8": ".int8.onnx"}
NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "pt2": (), "int8": ("onnx", "onnxscript", "onnxruntime")}
OPSET = 20  # has GELU; what ONNX Runtime does before it quantises cannot read the Attention of opset 23
CHECKED = {"onnx": 40, "pt2": 40, "int8": 200}  # images to compare on, where none are named


class FromPixels(nn.Module):
    """A ViT behind its normalisation: uint8 images (B, C, H, W) -> logits (B, K)."""

    def __init__(self, model: ViT):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(normalise(images))


def export_file(model: ViT, names: Sequence[str], kind: str, out: str | Path, images: Tensor,
                least: float = LEAST) -> dict:
    """Write a model to `out` as "onnx", "pt2" or "int8", if the file answers as it does on uint8 images (N, C, H, W).

    The file is made, read again and compared in a temporary folder; only then it takes the place of what `out` was.
    Returns what `compare` found, the "bytes" of the file and of the weights in "float32", and the sizes of "batches".
    Raises ValueError where a package is missing, `out` has another ending, or the answers differ: by more than 1e-4 of
    the largest logit, or, for int8, where less than a share `least` keeps its class; OSError if it cannot be written.
    """
    check_packages(kind)
    check_out(out, kind)
    check_model(model, names, kind)
    model, out = model.cpu().eval(), Path(out)
    with TemporaryDirectory(prefix="vitlib-", ignore_cleanup_errors=True) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converters, about themselves
        file = Path(folder) / f"model{ENDINGS[kind]}"
        parts = batches_of(images)
        expected = predict(model, torch.cat(parts), batch_size=32)  # first: a graph shares the model's memory
        WRITERS[kind](trace(model), file, about(model, names))
        found = compare(answers(file, parts), expected) | {"images": len(images)}
        check_answers(found, kind, least)
        content = file.read_bytes()
    write_atomically(out, content)
    return found | {"bytes": len(content), "float32": 4 * sum(p.numel() for p in model.parameters()),
                    "batches": sorted({len(part) for part in parts})}


def about(model: ViT, names: Sequence[str]) -> dict[str, str]:
    """What a file says of itself: ONNX in `metadata_props`, a .pt2 in `extra_files`. Classes are a list in JSON."""
    C, S = model.config.channels, model.config.image_size
    return {"classes": json.dumps(list(names)), "image_size": str(S), "made_with": f"vitlib, torch {torch.__version__}",
            "input": f"images: uint8 (batch, {C}, {S}, {S}), RGB, 0 to 255, normalised inside; upright, laid on white, "
                     f"shrunk (bicubic) to cover {S}x{S} and cropped to the middle",
            "output": f"logits: float32 (batch, {len(names)}), in the order of classes; softmax gives probabilities"}


def trace(model: ViT) -> ExportedProgram:
    """The model from its pixels on, as a graph for any batch size, without the paths of this machine."""
    C, S = model.config.channels, model.config.image_size
    example = torch.zeros(2, C, S, S, dtype=torch.uint8)  # of 1, its size would be taken for fixed
    program = torch.export.export(FromPixels(model).eval(), (example,), dynamic_shapes={"images": {0: Dim("batch")}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # would tell whoever gets the file where its maker's folders lie
    return program


def write_pt2(program: ExportedProgram, path: Path, facts: dict[str, str]) -> None:
    """A program for `torch.export.load`."""
    program.example_inputs = None
    torch.export.save(program, path, extra_files=facts)


def write_onnx(program: ExportedProgram, path: Path, facts: dict[str, str]) -> None:
    """A float32 graph with its weights in one file."""
    converted = torch.onnx.export(program, (), dynamo=True, verbose=False, opset_version=OPSET,
                                  input_names=["images"], output_names=["logits"])
    converted.save(path, external_data=False)
    describe_onnx(path, facts)


def write_int8(program: ExportedProgram, path: Path, facts: dict[str, str]) -> None:
    """The same graph, its matrices as whole numbers with a scale for each column; what they read is rounded on the way.

    Convolutions stay as they are. The weights get 7 bits: on x86 processors with AVX2 and no VNNI, the sums of two
    products of 8 bits overflow. Source: ONNX Runtime's documentation of `reduce_range`.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process
    whole, ready = path.with_name("whole.onnx"), path.with_name("ready.onnx")
    write_onnx(program, whole, facts)
    quant_pre_process(str(whole), str(ready))
    quantize_dynamic(str(ready), str(path), op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
                     reduce_range=True, weight_type=QuantType.QInt8)
    describe_onnx(path, facts)


WRITERS = {"onnx": write_onnx, "pt2": write_pt2, "int8": write_int8}


def describe_onnx(path: Path, facts: dict[str, str]) -> None:
    """Put the facts into an ONNX file, call its first axis "batch", and take out the converter's own notes."""
    import onnx
    model = onnx.load(path)
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info, graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    used = {"", *(node.domain for node in graph.node)}
    for unused in [entry for entry in model.opset_import if entry.domain not in used]:
        model.opset_import.remove(unused)  # names of a runtime's own, which another might not know
    graph.ClearField("value_info")  # shapes in between, which name the axis as the converter did
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, path)


def default_file(source: str, kind: str) -> Path:
    """Beside the weights, named after them; of the zoo's models in runs/."""
    return (Path("runs") / source if source in zoo() else weights_file(source)).with_suffix(ENDINGS[kind])


def check_packages(kind: str) -> None:
    """Raise ValueError for an unknown kind, or where a package that it needs is missing or broken."""
    if kind not in ENDINGS:
        raise ValueError(f"a model is exported to {', '.join(ENDINGS)}, got {kind!r}")
    for name in NEEDS[kind]:
        try:
            import_module(name)
        except ImportError as error:
            raise ValueError(f"--to {kind} needs the package {name} ({error}); python -m pip install "
                             f"{' '.join(NEEDS[kind])}, or export --to pt2, which needs none") from error


def check_out(out: str | Path, kind: str) -> None:
    """Raise ValueError where the file has another ending: what it replaces is then no weights and no photograph."""
    ending = f".{ENDINGS[kind].rpartition('.')[2]}"
    if Path(out).suffix != ending or Path(out).is_dir():
        raise ValueError(f"--to {kind} writes a file that ends in {ending}, got {out}; "
                         f"choose another --out, such as {Path(out).with_suffix('')}{ENDINGS[kind]}")


def check_model(model: ViT, names: Sequence[str], kind: str) -> None:
    """Raise ValueError for a model without a name for each class, for images that are not RGB, or too large."""
    if not names or len(names) != model.config.classes:
        raise ValueError(f"the model tells {model.config.classes} classes apart, and {len(names)} have a name")
    if model.config.channels != 3:
        raise ValueError(f"what is exported reads RGB images, and this model {model.config.channels} channels")
    size = 4 * sum(p.numel() for p in model.parameters())
    if kind != "pt2" and size > 1.9e9:
        raise ValueError(f"the weights take {size / 1e9:.1f} GB, and one ONNX file holds 2 GB; export --to pt2")
