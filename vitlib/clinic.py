"""The bug clinic: faults that public tutorials print, each planted alone in a healthy ViT or in its training."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import MultiHeadAttention, attention_weights
from .augment import random_crop, random_flip
from .data import ImageSet, normalise
from .encoder import EncoderBlock
from .shapes import shapes
from .train import TrainConfig, evaluate
from .vit import ViT, ViTConfig, init_weights


class OpenAttention(MultiHeadAttention):
    """Healthy attention, taken apart into the three steps that a patient gets wrong: split, weigh, merge.

    (B, N, D) -> (B, N, D), from the parameters of MultiHeadAttention and equal to it. Built in chapter 14.
    """

    def split(self, x: Tensor) -> Tensor:
        B, N, D = x.shape
        return self.qkv(x).reshape(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)  # (3, B, h, N, d)

    def weigh(self, q: Tensor, k: Tensor) -> Tensor:
        return attention_weights(q, k)  # (B, h, N, N)

    def merge(self, y: Tensor) -> Tensor:
        return y.transpose(1, 2).flatten(2)  # (B, h, N, d) -> (B, N, h·d)

    def forward(self, x: Tensor, need_weights: bool = False,
                queries: int | None = None) -> Tensor | tuple[Tensor, Tensor]:
        q, k, v = self.split(x)
        weights = self.weigh(q, k)
        y = self.drop(self.proj(self.merge(weights @ v)))[:, :queries]
        return (y, weights[:, :, :queries]) if need_weights else y


class OverTheBatch(OpenAttention):
    """Takes the batch for the sequence: each patch reads its place in the other images. Built in chapter 14."""

    def split(self, x: Tensor) -> Tensor:
        return super().split(x.transpose(0, 1))  # (N, B, D): images stand where tokens belong

    def merge(self, y: Tensor) -> Tensor:
        return super().merge(y).transpose(0, 1)


class UntransposedHeads(OpenAttention):
    """Merges the heads without the transpose back: an output mixes h tokens of one head. Built in chapter 14."""

    def merge(self, y: Tensor) -> Tensor:
        B, h, N, d = y.shape
        return y.reshape(B, N, h * d)


class FlatScale(OpenAttention):
    """Divides the scores by √D, not √d: weights nearer to even ones. Built in chapter 14."""

    def weigh(self, q: Tensor, k: Tensor) -> Tensor:
        return attention_weights(q / self.heads ** 0.5, k)  # √D = √h · √d


class OneMatrix(OpenAttention):
    """Sends the columns of every head through one and the same d×d matrix each for q, k, v. Built in chapter 14."""

    def split(self, x: Tensor) -> Tensor:
        B, N, D = x.shape
        parts = self.qkv(x.reshape(B, N, self.heads, -1))  # (B, N, h, 3·d)
        return parts.reshape(B, N, self.heads, 3, -1).permute(3, 0, 2, 1, 4)  # (3, B, h, N, d)


class TwiceAdded(EncoderBlock):
    """Adds x twice and normalises three times, with none of it before attention. Built in chapter 14."""

    def forward(self, x: Tensor, need_weights: bool = False, queries: int | None = None) -> Tensor:
        inner = F.layer_norm(self.attn(x) + x, x.shape[-1:])  # norm and skip inside the attention module
        x = self.norm1(x + inner)  # and once more in the block
        return self.norm2(x + self.mlp(x))[:, :queries]


class NormInTheSkip(EncoderBlock):
    """Writes the norm's result over x, so that the skip connection carries that and not x. Built in chapter 14."""

    def forward(self, x: Tensor, need_weights: bool = False, queries: int | None = None) -> Tensor:
        x = self.norm1(x)
        x = x + self.attn(x)
        x = self.norm2(x)
        return (x + self.mlp(x))[:, :queries]


class Probabilities(nn.Linear):
    """A head that ends in a softmax, before a loss that takes one itself. Built in chapter 14."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(dim=-1)


def become(kind: type, part: str = "") -> Callable[[ViT], None]:
    """A change that keeps all weights: each block, or a part of it, or the head, gets `kind`'s forward.

    Built in chapter 14.
    """
    def change(model: ViT) -> None:
        for owner in [model] if part == "head" else model.blocks:
            (getattr(owner, part) if part else owner).__class__ = kind
    return change


def one_matrix(model: ViT) -> None:
    """Give each attention a qkv layer of d -> 3·d, which all its heads share. Built in chapter 14."""
    for block in model.blocks:
        d = model.config.dim // model.config.heads
        block.attn.qkv = nn.Linear(d, 3 * d, bias=False)
        init_weights(block.attn.qkv)
        block.attn.__class__ = OneMatrix


def one_position(model: ViT) -> None:
    """Keep the first position embedding alone, (1, 1, D): added to every token. Built in chapter 14."""
    model.pos_embed = nn.Parameter(model.pos_embed.detach()[:, :1].clone())


def loud_embeddings(model: ViT) -> None:
    """Class token and position embeddings with std 1, as torch.randn gives, not 0.02. Built in chapter 14."""
    for embedding in (model.cls_token, model.pos_embed):
        embedding.data /= 0.02


def one_norm(model: ViT) -> None:
    """Let the two halves of each block share one LayerNorm. Built in chapter 14."""
    for block in model.blocks:
        block.norm2 = block.norm1


def no_final_norm(model: ViT) -> None:
    """Leave out the norm after the last block. Built in chapter 14."""
    model.norm = nn.Identity()


def coupled_decay(model: ViT, decay: float = 0.03) -> None:
    """Weight decay as plain Adam does it: decay · weight joins the gradient. Built in chapter 14."""
    for p in model.parameters():
        p.register_hook(lambda grad, p=p: grad + decay * p.detach())


def mean_pool(model: ViT) -> None:
    """Read the mean of the patches; no class token. Built in chapter 14."""
    model.cls_token, model.prefix, model.config = None, 0, replace(model.config, pool="mean")
    model.pos_embed = nn.Parameter(model.pos_embed.detach()[:, 1:].clone())


def dropout_everywhere(model: ViT, rate: float = 0.1) -> None:
    """Dropout after the positions, after attention and twice in each MLP. Built in chapter 14."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate


def evaluate_augmented(model: nn.Module, data: ImageSet) -> dict:
    """Loss and accuracy on shifted and mirrored copies, drawn anew each time. Built in chapter 14."""
    g = torch.Generator().manual_seed(torch.randint(2**31, ()).item())
    return evaluate(model, replace(data, images=random_crop(random_flip(data.images, g), 2, g)))


@dataclass(frozen=True)
class Patient:
    """One fault or one piece of advice from a public tutorial, and how to plant it. Built in chapter 14."""

    title: str
    source: str
    line: str  # where it shows in the source, shortened
    change: Callable[[ViT], None] = lambda model: None  # what is done to the model, in place
    training: dict = field(default_factory=dict)  # what is done to the TrainConfig
    score: Callable[[nn.Module, ImageSet], dict] = evaluate
    bug: bool = True  # False: advice that is put to the test


PART2, SHAIK, TINTN, PULFER, PYTORCH = "ViT tutorial, part 2", "Shaik 2023", "tintn 2023", "Pulfer", "pytorch/examples"
FIXED_RATE = {"optimizer": "adamw", "lr": 1e-2, "schedule": "constant", "warmup": 0.0, "clip": 0.0}
PATIENTS = {
    "batch": Patient("attention over the batch axis", PYTORCH, "nn.MultiheadAttention(…)  # no batch_first=True",
                     become(OverTheBatch, "attn")),
    "heads": Patient("heads merged without the transpose", SHAIK, "out.contiguous().view(b, seq_len, -1)",
                     become(UntransposedHeads, "attn")),
    "scale": Patient("scores divided by √D", PART2, "energy / (self.embed_size ** (1/2))", become(FlatScale, "attn")),
    "matrix": Patient("one d×d matrix for all heads", PART2, "nn.Linear(self.head_dim, self.head_dim)", one_matrix),
    "twice": Patient("x added twice, three norms", PART2, "self.norm(attention + query)  # added again in the block",
                     become(TwiceAdded)),
    "skip": Patient("the norm written over the skip path", SHAIK, "x = self.layer_norm_1(x)", become(NormInTheSkip)),
    "one norm": Patient("one LayerNorm for both halves", PYTORCH, "self.norm = …  # one, called twice", one_norm),
    "last norm": Patient("no norm after the last block", TINTN, "self.classifier(encoder_output[:, 0])",
                         no_final_norm),
    "positions": Patient("one position embedding for all", PYTORCH, "torch.randn(batch_size, 1, latent_size)",
                         one_position),
    "loud": Patient("embeddings drawn with std 1", f"{PART2}; {SHAIK}; {PYTORCH}", "nn.Parameter(torch.randn(…))",
                    loud_embeddings),
    "softmax": Patient("softmax before the cross-entropy", PULFER, "nn.Sequential(nn.Linear(…), nn.Softmax(dim=-1))",
                       become(Probabilities, "head")),
    "adam": Patient("Adam at 0.01, decay in its gradient", PYTORCH, "optim.Adam(…, lr=0.01, weight_decay=0.03)",
                    coupled_decay, FIXED_RATE | {"weight_decay": 0.0, "betas": (0.9, 0.999)}),
    "rate": Patient("a rate of 0.01 that never changes", TINTN, "optim.AdamW(…, lr=0.01)  # and no schedule",
                    training=FIXED_RATE | {"weight_decay": 0.01}),
    "augmented": Patient("validation images augmented", SHAIK, "random_split(trainset, …)  # its transforms augment",
                         score=evaluate_augmented),
    "mean": Patient('"wrong": mean pooling', PART2, "x.mean(dim=1)", mean_pool, bug=False),
    "dropout": Patient('"always": dropout', PART2, "nn.Dropout(0.1)", dropout_everywhere, bug=False),
}


def plant(name: str, model: ViT, config: TrainConfig) -> tuple[ViT, TrainConfig]:
    """A copy of the model, and of the configuration, with the fault `name`; the originals stay healthy.

    Raises ValueError for an unknown name. Built in chapter 14.
    """
    if name not in PATIENTS:
        raise ValueError(f"there is no patient {name!r}; the clinic has {', '.join(PATIENTS)}")
    sick = deepcopy(model)
    PATIENTS[name].change(sick)
    return sick, replace(config, **PATIENTS[name].training)


def early_cost(name: str, lr: float, seed: int, steps: int = 25) -> float:
    """How much higher a patient's loss is than the healthy model's, after a few steps on 50 shapes.

    Both start from the weights of this seed. Built in chapter 14.
    """
    data, losses = shapes(50, seed=seed), []
    torch.manual_seed(seed)
    healthy = ViT(ViTConfig(patch_size=8, dim=48, depth=2, heads=4))
    for model in (plant(name, healthy, TrainConfig())[0], healthy):
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(normalise(data.images)), data.labels)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    return losses[0] - losses[1]
