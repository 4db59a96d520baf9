"""Learning from a trained network beside the labels: knowledge distillation."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .parallel import processes, unwrapped
from .train import TrainConfig
from .vit import ViT, evaluating


def hard_distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy to the class that the teacher names: twice (B, K) -> a number.

    Source: Touvron et al. 2021, "Training data-efficient image transformers", equation 3. Built in chapter 18.
    """
    return F.cross_entropy(logits, teacher.argmax(dim=1))


def soft_distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """How far the student's probabilities are from the teacher's, both softened: twice (B, K) -> a number.

    KL(teacher ‖ student) at logits / temperature. The factor temperature² keeps the gradient's size.
    Source: Hinton et al. 2015, section 2; Touvron et al. 2021, equation 2. Built in chapter 18.
    """
    student = (logits / temperature).log_softmax(dim=1)
    target = (teacher / temperature).softmax(dim=1)
    return F.kl_div(student, target, reduction="batchmean") * temperature**2


@dataclass
class Teaching:
    """An objective for `fit`: half of the loss asks the labels, half asks the teacher.

    The student is a ViT with pool="distilled": the head of its class token learns from the labels, that of its
    distillation token from the teacher, who sees the same augmented images and is never changed. Its answer later is
    the mean of both. Raises ValueError for another student or kind, a teacher of other classes, or several processes:
    the two heads are asked behind the back of what would average their gradients.
    Source: Touvron et al. 2021, section 4. Built in chapter 18.
    """

    teacher: nn.Module
    kind: str = "hard"  # or "soft"
    share: float = 0.5  # of the loss that is the teacher's
    temperature: float = 3.0  # of "soft"

    def __post_init__(self) -> None:
        check_teaching(self)

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
        student = check_student(unwrapped(model))
        with torch.no_grad(), evaluating(self.teacher):
            told = self.teacher(images).float()  # (B, K)
        own, taught = student.both_heads(student.encode(student.embed(images), queries=2)).unbind(dim=1)
        check_answers(told, taught)
        labels = F.cross_entropy(own, targets, label_smoothing=config.label_smoothing)
        lesson = (hard_distillation(taught, told) if self.kind == "hard"
                  else soft_distillation(taught, told, self.temperature))
        return (own + taught) / 2, (1 - self.share) * labels + self.share * lesson


def check_teaching(teaching: Teaching) -> None:
    """Raise ValueError for a kind, share or temperature that teaching cannot have."""
    if teaching.kind not in ("hard", "soft"):
        raise ValueError(f"kind={teaching.kind!r} is not hard or soft")
    if not 0 <= teaching.share <= 1:
        raise ValueError(f"share must lie in 0…1, got {teaching.share}")
    if teaching.temperature <= 0:
        raise ValueError(f"temperature must be positive, got {teaching.temperature}")


def check_answers(told: Tensor, taught: Tensor) -> None:
    """Raise ValueError unless teacher and student tell the same classes apart, in one process."""
    if told.shape != taught.shape:
        raise ValueError(f"the teacher gives {tuple(told.shape)} and the student {tuple(taught.shape)}; both must tell "
                         "the same classes apart")
    if processes() > 1:
        raise ValueError(f"a student is taught in one process, here are {processes()}: start without torchrun")


def check_student(student: nn.Module) -> ViT:
    """The student, or a ValueError unless it has a head for the labels and one for the teacher."""
    if not isinstance(student, ViT) or student.config.pool != "distilled":
        kind = f"pool={student.config.pool!r}" if isinstance(student, ViT) else type(student).__name__
        raise ValueError(f"a student is a ViT with two heads, pool='distilled', got {kind}")
    return student
