"""Named recipes: which model, trained how. Each differs from the default for a reason that stands beside it."""

from dataclasses import dataclass, replace

from .train import TrainConfig
from .vit import ViTConfig


@dataclass(frozen=True)
class Recipe:
    """A model, its training, the data it is meant for, and one line of what it is for."""

    model: ViTConfig
    train: TrainConfig
    data: str
    about: str


# Mean pooling: every patch gets a gradient; sincos: places are known from the first step; patch_drop: cheaper steps,
# so more of them in the same time; calm: whole images at the end. Muon's rate was chosen on a validation split.
PLAIN = ViTConfig(dim=96, depth=4, heads=3, pool="mean", positions="sincos", patch_drop=0.25)
SHORT = TrainConfig(epochs=14, optimizer="muon", muon_lr=0.01, lr=3e-3, calm=0.28)
# With a stem, the first layers need not learn that neighbouring pixels belong together.
HYBRID, RESIDUAL = (replace(PLAIN, stem=stem) for stem in ("conv", "residual"))
HARDER = replace(SHORT, optimizer="muon+stem", crop=4, erase=0.25, augment=0.3, label_smoothing=0.1)
# Tutorials neither warm up nor clip gradients; they shift, or crop and resize, and mirror.
TUTORIAL = TrainConfig(warmup=0.0, clip=0.0, betas=(0.9, 0.999))
# On a large GPU: compile, because small layers spend their time being started; mixing pays from about 100 passes on.
WIDE = ViTConfig(dim=256, depth=7, heads=4, mlp_ratio=2, pool="mean", positions="sincos")
WIDER = replace(WIDE, dim=384, depth=9, heads=6, drop_path=0.1)
QUICK = TrainConfig(epochs=59, batch_size=1024, optimizer="muon", lr=3e-3, crop=4, augment=0.5, erase=0.25,
                    label_smoothing=0.1, calm=0.1, compile=True)
STRONG = replace(QUICK, epochs=250, label_smoothing=0.0, mixup=0.8, cutmix=1.0, calm=0.15, ema=0.999)
NO_RECORD = "on one GPU; no record yet"

SHAPES = TrainConfig(epochs=8, batch_size=100, optimizer="muon", crop=3)
FINE = ViTConfig(patch_size=4, dim=64, depth=4, heads=4)  # an 8×8 grid and a class token: maps worth looking at

RECIPES = {
    # the book's first model: its letters all differ in size, so most misplaced axes show in a shape
    "shapes-quick": Recipe(ViTConfig(patch_size=8, dim=48, depth=6, heads=4), replace(SHAPES, epochs=10),
                           "shapes", "live run: half a minute on two CPU cores"),
    "shapes-tiny": Recipe(FINE, replace(SHAPES, epochs=12),
                          "shapes", "the zoo's model of chapter 12: two and a half minutes on two CPU cores"),
    "shapes-scattered": Recipe(FINE, replace(SHAPES, epochs=24),  # smaller objects, spread out: twice as long
                               "shapes-scattered", "the zoo's model of chapter 13: five minutes on two CPU cores"),
    "cifar10-tiny": Recipe(PLAIN, SHORT, "cifar10", "a plain ViT in 20 minutes on two CPU cores"),
    # more convolutions in front, and Muon for them too: both chosen on a validation split
    "cpu-20": Recipe(RESIDUAL, replace(SHORT, epochs=9, optimizer="muon+stem", crop=4),
                     "cifar10", "a ViT behind a stem of residual blocks in 20 minutes on two CPU cores"),
    # almost three times the passes, so the images are changed more: tried on a validation split, with 14 passes
    "cpu-60": Recipe(RESIDUAL, replace(HARDER, epochs=25, calm=0.12),
                     "cifar10", "the same within an hour, its images changed more"),
    # after cpu-60 the images are again known better than new ones, by six points: they are changed more still
    "cpu-150": Recipe(RESIDUAL, replace(HARDER, epochs=64, augment=0.5, calm=0.05),
                      "cifar10", "the same within two and a half hours, its images changed more still"),
    # theirs has a module for each head, the tanh form of GELU and no last norm
    "tintn": Recipe(ViTConfig(dim=48, depth=4, heads=4),
                    replace(TUTORIAL, epochs=100, batch_size=256, lr=1e-2, schedule="constant", weight_decay=0.01),
                    "cifar10", "tintn 2023: AdamW at 0.01 throughout, 100 epochs; they report 75.5 %"),
    # theirs shares one d×d matrix among the heads, adds x twice and normalises behind; Adam with decay 1e-4
    "part2": Recipe(ViTConfig(dim=128, depth=4, heads=8, mlp_ratio=2, dropout=0.1),
                    replace(TUTORIAL, epochs=50, lr=3e-4, schedule="steps", drops=(0.4, 0.8), drop_factor=0.5,
                            weight_decay=1e-4, crop=4),
                    "cifar10", "ViT tutorial part 2: rate 0.0003 halved twice, 50 epochs; it claims about 75 %"),
    # theirs has no biases in attention, and merges the heads without turning them back;
    # the article prints batches of 16, the notebook whose run is reported has 64
    "shaik": Recipe(ViTConfig(dim=256, depth=6, heads=8, mlp_ratio=2, qkv_bias=False, dropout=0.2),
                    replace(TUTORIAL, epochs=150, batch_size=64, lr=3e-4, schedule="steps", drops=(80 / 150, 130 / 150),
                            weight_decay=0.0),
                    "cifar10", "Shaik 2023: rate 0.0003, two drops to a tenth, batches of 64; they report 75.07 %"),
    # one minute on an H200: its 59 passes are learned by heart (99 % of the training images), so mixing is due here too
    "gpu-90": Recipe(WIDE, QUICK, "cifar10", "a minute on one large GPU; meant for 90 %, and reaches 84"),
    "gpu-94": Recipe(replace(WIDE, depth=8, drop_path=0.1), STRONG, "cifar10", f"meant for 94 % {NO_RECORD}"),
    "gpu-95": Recipe(WIDER, replace(STRONG, epochs=400, ema=0.9995), "cifar10", f"meant for 95 % {NO_RECORD}"),
    # patches of 2×2: 256 tokens, four times the work of 64 in the matrices, sixteen in attention
    "gpu-96": Recipe(replace(WIDER, patch_size=2, drop_path=0.2, patch_drop=0.5),
                     replace(STRONG, epochs=400, ema=0.9995), "cifar10", f"meant for 96 % {NO_RECORD}"),
}
