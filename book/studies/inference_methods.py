"""The ways to make a model answer faster that `inference` compares: each a function from a subject to a call."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vitlib.early_exit import EarlyExit
from vitlib.merging import bipartite_matching, merge_tokens, merged
from vitlib.pruning import least_important, prune_heads
from vitlib.vit import ViT

METHODS = ("eager fp32", "compiled", "ONNX Runtime", "int8, ONNX Runtime", "int8, torch", "int8, torchao",
           "bf16 autocast", "bf16 weights")
PAIRS = ("compiled + bf16", "merging + compiled", "merging + ONNX Runtime", "merging + int8", "merging + bf16",
         "more merging + bf16", "merging + compiled + bf16", "pruned heads + bf16", "early exit + bf16")
THRESHOLDS = (0.8, 0.9, 0.95)


@dataclass
class Subject:
    """A trained model, what its methods need, and a folder for their files."""

    name: str
    model: ViT
    plan: dict
    exits: dict[int, dict[str, Tensor]]  # heads on the way, by the number of blocks before them
    importance: Tensor  # (L, h)
    folder: Path

    def methods(self) -> list[str]:
        """Everything that is compared, eager fp32 first."""
        return [*METHODS, *(f"merging {r}" for r in self.plan["r"]), *(f"pruned heads {n}" for n in self.plan["heads"]),
                *(f"early exit {t}" for t in THRESHOLDS), f"first {self.cut} blocks", *PAIRS]

    @property
    def cut(self) -> int:
        return max(self.exits)

    def early(self, model: ViT, threshold: float, places: tuple[int, ...]) -> EarlyExit:
        heads = {place: nn.Linear(model.config.dim, model.config.classes) for place in places}
        for place, head in heads.items():
            head.load_state_dict(self.exits[place])
        return EarlyExit(model, heads, threshold).eval().requires_grad_(False)


class InBf16:
    """A model whose weights are bfloat16, and the images that it reads are made so."""

    def __init__(self, model: nn.Module, compiled: bool = False):
        self.model = copy.deepcopy(model).to(torch.bfloat16)
        self.call = torch.compile(self.model, dynamic=False) if compiled else self.model

    def __call__(self, images: Tensor) -> Tensor:
        return self.call(images.to(torch.bfloat16))


class Plain:
    """A model as it is, or compiled."""

    def __init__(self, model: nn.Module, compiled: bool = False):
        self.model = model
        self.call = torch.compile(model, dynamic=False) if compiled else model

    def __call__(self, images: Tensor) -> Tensor:
        return self.call(images)


class Autocast(Plain):
    """Matrix products in bfloat16, weights and sums in float32."""

    def __call__(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.model(images)


class Session:
    """An ONNX file in ONNX Runtime, with as many threads as PyTorch has."""

    def __init__(self, path: Path):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    def __call__(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self.session.run(None, {self.name: images.numpy()})[0])


def onnx_file(model: nn.Module, path: Path) -> Path:
    """The model as ONNX, with a batch of any size."""
    if not path.is_file():
        images = torch.randn(2, 3, *[(getattr(model, "vit", model)).config.image_size] * 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(model, (images,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}})
            torch.onnx.export(program, (), path, dynamo=True, verbose=False, external_data=False)
    return path


def int8_file(source: Path) -> Path:
    """Weights of an ONNX file as int8, one scale for each output; activations are rounded as they come."""
    path, ready = source.with_stem(source.stem + "-int8"), source.with_stem(source.stem + "-ready")
    if not path.is_file():
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.shape_inference import quant_pre_process
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)  # which stumbles over merging's Expand
        quantize_dynamic(str(ready), str(path), ["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8)
        ready.unlink()
    return path


def torch_int8(model: ViT) -> nn.Module:
    """PyTorch's older way, called deprecated: linear layers with one scale for each output."""
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic
    return quantize_dynamic(copy.deepcopy(model), {nn.Linear: per_channel_dynamic_qconfig})


def torchao_int8(model: ViT) -> nn.Module:
    """PyTorch's newer way, a package of its own, meant to be compiled."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
    narrow = copy.deepcopy(model)
    quantize_(narrow, Int8DynamicActivationInt8WeightConfig())
    return narrow


def build(s: Subject, method: str) -> Callable[[Tensor], Tensor]:
    """The call of a method: normalised images (B, C, H, W) -> logits (B, K)."""
    torch.compiler.reset()
    stem, model = s.folder / s.name.replace("/", "-"), s.model
    kind, _, number = method.rpartition(" ")
    if kind in ("merging", "pruned heads", "early exit"):
        if kind == "merging":
            return Plain(merged(model, int(number)))
        if kind == "pruned heads":
            return Plain(prune_heads(model, least_important(s.importance, int(number))))
        return Plain(s.early(model, float(number), tuple(s.exits)))
    few = merged(model, s.plan["merge"][0])
    return {
        "eager fp32": lambda: Plain(model), "compiled": lambda: Plain(model, True),
        "ONNX Runtime": lambda: Session(onnx_file(model, stem.with_name(stem.name + ".onnx"))),
        "int8, ONNX Runtime": lambda: Session(int8_file(onnx_file(model, stem.with_name(stem.name + ".onnx")))),
        "int8, torch": lambda: Plain(torch_int8(model)), "int8, torchao": lambda: Plain(torchao_int8(model), True),
        "bf16 autocast": lambda: Autocast(model), "bf16 weights": lambda: InBf16(model),
        f"first {s.cut} blocks": lambda: Plain(s.early(model, 0.0, (s.cut,))),
        "compiled + bf16": lambda: InBf16(model, True), "merging + compiled": lambda: Plain(few, True),
        "merging + ONNX Runtime": lambda: Session(onnx_file(few, stem.with_name(f"{stem.name}-merging.onnx"))),
        "merging + int8": lambda: Session(int8_file(onnx_file(few, stem.with_name(f"{stem.name}-merging.onnx")))),
        "merging + bf16": lambda: InBf16(few), "merging + compiled + bf16": lambda: InBf16(few, True),
        "more merging + bf16": lambda: InBf16(merged(model, s.plan["merge"][1])),
        "pruned heads + bf16": lambda: InBf16(prune_heads(model, least_important(s.importance, s.plan["heads"][1]))),
        "early exit + bf16": lambda: InBf16(s.early(model, 0.9, tuple(s.exits))),
    }[method]()


def merging_alone(s: Subject, r: int, batch: int) -> Callable[[Tensor], None]:
    """All that merging adds to a pass of r pairs a block, on numbers of the same shapes: matching, means, sizes."""
    c, prefix, N, shapes = s.model.config, s.model.prefix, s.model.patch_embed.num_patches, []
    blocks = c.depth - (c.pool != "mean")  # where one token goes on, the last block merges nothing
    for _ in range(blocks):
        shapes.append((torch.randn(batch, prefix + N, c.dim // c.heads), torch.randn(batch, prefix + N, c.dim),
                       torch.ones(batch, prefix + N, 1)))
        N -= min(r, N // 2)

    def call(_: Tensor) -> None:
        for keys, x, size in shapes:
            merge_tokens(x, size, bipartite_matching(keys, r, prefix), prefix)
            size.log()
    return call
