"""What other libraries call the parts of a ViT, and what the weights tell of the model that they belong to."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from .vit import ViTConfig

# What others call the parts that we name as timm does. The first line that fits a name is used, from top to bottom.
TORCHVISION = {
    r"class_token": "cls_token", r"encoder\.pos_embedding": "pos_embed", r"conv_proj\.": "patch_embed.proj.",
    r"encoder\.ln\.": "norm.", r"heads\.head\.": "head.",
    r"encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.": r"blocks.\1.norm\2.",
    r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_": r"blocks.\1.attn.qkv.",
    r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.": r"blocks.\1.attn.proj.",
    r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:linear_1|0)\.": r"blocks.\1.mlp.fc1.",
    r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:linear_2|3)\.": r"blocks.\1.mlp.fc2.",
}
LAYER = r"(?:encoder\.layer|layers)\.(\d+)\."  # in files, and in the memory of transformers 5
HUGGING_FACE = {
    r"embeddings\.cls_token": "cls_token", r"embeddings\.distillation_token": "dist_token",
    r"embeddings\.register_tokens": "reg_token", r"embeddings\.position_embeddings": "pos_embed",
    r"embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.", r"layernorm\.": "norm.",
    r"(?:cls_)?classifier\.": "head.", r"distillation_classifier\.": "head_dist.",
    LAYER + r"(?:layernorm_before|norm1)\.": r"blocks.\1.norm1.",
    LAYER + r"(?:layernorm_after|norm2)\.": r"blocks.\1.norm2.",
    LAYER + r"attention\.(?:attention\.)?(q|k|v)(?:uery|ey|alue|_proj)\.": r"blocks.\1.attn.\2.",  # to be joined
    LAYER + r"attention\.(?:output\.dense|o_proj)\.": r"blocks.\1.attn.proj.",
    LAYER + r"layer_scale([12])\.lambda1": r"blocks.\1.ls\2.gamma",
    LAYER + r"(?:intermediate\.dense|mlp\.fc1)\.": r"blocks.\1.mlp.fc1.",
    LAYER + r"(?:output\.dense|mlp\.fc2)\.": r"blocks.\1.mlp.fc2.",
}
UNUSED = ("pooler.", "embeddings.mask_token", "mask_token")  # not read when images are classified
# Parts that our ViT lacks, and whose they are.
OTHERS = {"norm_pre": "CLIP: a norm before the blocks", "attn_pool": "SigLIP: pooling by attention",
          "rel_pos": "relative positions", "relative_position": "BEiT or Swin", "gamma_1": "BEiT or CaiT",
          "q_bias": "BEiT", "fc1_g": "a gated MLP",
          "weights_in": "a gated MLP, as in DINOv2's giant",
          "patch_embed.backbone": "a hybrid behind a ResNet", "pre_logits": "a hidden layer before the head",
          "vision_model": "CLIP or SigLIP of transformers", "visual.": "CLIP or OpenCLIP", "stages.": "ConvNeXt",
          "layer1.": "ResNet", "head_dist": "a distilled model without its second head",
          "features.": "a torchvision CNN or Swin", "decoder": "MAE with its decoder"}


def timm_names(state: Mapping[str, Tensor], path: str | Path = "these weights") -> dict[str, Tensor]:
    """The same weights under timm's names, which are ours. Raises ValueError for a family that is not known."""
    if state.keys() >= {"patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "pos_embed"}:
        return {name: value for name, value in state.items() if name not in UNUSED}
    for names, sign in ((TORCHVISION, "conv_proj.weight"),
                        (HUGGING_FACE, "embeddings.patch_embeddings.projection.weight")):
        if any(name.endswith(sign) for name in state):
            return position_free_registers(joined({timm_name(name, names): value for name, value in state.items()
                                                   if not plain(name).startswith(UNUSED)}))
    raise ValueError(f"{path} holds no plain ViT of timm, torchvision or Hugging Face{whose(state)}; "
                     f"its first names: {', '.join(list(state)[:3])}")


def plain(name: str) -> str:
    """A name of Hugging Face's without the model that stands before it: `vit.layernorm.bias` -> `layernorm.bias`."""
    return re.sub(r"^(vit|deit|dinov2|dinov2_with_registers)\.", "", name)


def timm_name(name: str, names: dict[str, str]) -> str:
    """One name of another library in timm's words; one that is not known stays, for the strict load to name it.

    Built in chapter 15.
    """
    for pattern, ours in names.items():
        if re.match(pattern, plain(name)):
            return re.sub(rf"^{pattern}", ours, plain(name))
    return name


def joined(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Three matrices for queries, keys and values put on top of each other: 3 × (D, D) -> (3D, D).

    Built in chapter 15.
    """
    for name in [name for name in state if ".attn.q." in name]:
        three = [name.replace(".attn.q.", f".attn.{letter}.") for letter in "qkv"]
        if all(part in state for part in three):  # else the strict load names what is left
            state[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat([state.pop(part) for part in three])
    return state


def position_free_registers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where registers have no position but the class token has one, add it to the token, as timm does."""
    if state.keys() >= {"reg_token", "cls_token", "pos_embed"}:
        state["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]
        state["pos_embed"] = state["pos_embed"][:, 1:]
    return state


def config_of(state: Mapping[str, Tensor], heads: int, eps: float = 1e-6, pool: str | None = None) -> ViTConfig:
    """The configuration that weights under timm's names were made with. All of it can be read off them, except the
    number of heads, `eps`, and whether a model with a class token averages the patches (`pool="avg"`).

    Built in chapter 15.
    """
    D, C, P, _ = state["patch_embed.proj.weight"].shape
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    registers = state["reg_token"].shape[1] if "reg_token" in state else 0
    token, mean = "cls_token" in state, "fc_norm.weight" in state or "cls_token" not in state or pool == "avg"
    prefix, codes = token + ("dist_token" in state) + registers, state["pos_embed"].shape[1]
    with_prefix = round((codes - prefix) ** 0.5) ** 2 == codes - prefix
    side = round((codes - prefix * with_prefix) ** 0.5)
    return ViTConfig(
        image_size=side * P, patch_size=P, channels=C, dim=D, depth=depth, heads=heads, norm_eps=eps,
        classes=len(state["head.weight"]) if "head.weight" in state else 0, registers=registers,
        mlp_ratio=len(state["blocks.0.mlp.fc1.weight"]) / D, qkv_bias="blocks.0.attn.qkv.bias" in state,
        pool="mean" if mean else "distilled" if "dist_token" in state else "cls", keep_cls=mean and token,
        fc_norm="fc_norm.weight" in state, layer_scale=1e-5 * ("blocks.0.ls1.gamma" in state),
        prefix_positions=with_prefix, qk_norm="blocks.0.attn.q_norm.weight" in state)


def whose(names: Iterable[str]) -> str:
    """" (they look like …)" for the first name that gives another family away, or nothing."""
    for name in names:
        for sign, family in OTHERS.items():
            if sign in name:
                return f" ({name}: {family})"
    return ""


def check_plain(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise ValueError unless the weights, under timm's names, have what every plain ViT has, in its shapes."""
    for name, axes in (("patch_embed.proj.weight", 4), ("pos_embed", 3), ("blocks.0.mlp.fc1.weight", 2),
                       ("blocks.0.mlp.fc2.weight", 2), ("blocks.0.attn.qkv.weight", 2), ("head.weight", 2)):
        if name not in state and name != "head.weight":
            raise ValueError(f"{path} lacks {name}, so it is no plain ViT{whose(state)}")
        if name in state and state[name].ndim != axes:
            raise ValueError(f"{path}: {name} has {state[name].ndim} axes, not {axes}, so it is no plain ViT")
    if odd := [name for name in state if name.startswith("blocks.") and not name.split(".")[1].isdecimal()]:
        raise ValueError(f"{path} holds {odd[0]}, which names no block by its number")
    fc1, fc2 = state["blocks.0.mlp.fc1.weight"], state["blocks.0.mlp.fc2.weight"]
    if len(fc1) != fc2.shape[1]:
        raise ValueError(f"{path}: its MLPs are gated ({len(fc1)} numbers out, {fc2.shape[1]} in), as in DINOv2's "
                         "giant; ours are not")
