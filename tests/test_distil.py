"""Learning from a teacher: both losses by hand, who learns from whom, and a teacher that stays as it is."""

from dataclasses import asdict, replace

import pytest
import torch
from common import PLAIN, TINY, pictures, randomise
from torch import nn
from torch.nn import functional as F

from vitlib import distil
from vitlib import train as loop
from vitlib.checkpoint import save_checkpoint
from vitlib.data import normalise
from vitlib.distil import Teaching, hard_distillation, soft_distillation
from vitlib.train import fit
from vitlib.vit import ViT

STUDENT = replace(TINY, pool="distilled")


def teacher(classes=3):
    """One that draws at random and counts what it sees, if it is left in training mode."""
    torch.manual_seed(7)
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
                         nn.Linear(54, classes))


def batch():
    data = pictures(8)
    return normalise(data.images), F.one_hot(data.labels, 3).float()


def student():
    return randomise(ViT(STUDENT), 0.3)


def both(model, images):
    """Logits of the class token's head and of the distillation token's, the long way."""
    x = model.features(images)
    return model.head(x[:, 0]), model.head_dist(x[:, 1])


def test_the_hard_loss_is_the_cross_entropy_to_the_class_that_the_teacher_names():
    logits, told = torch.randn(2, 5, 4, dtype=torch.float64)
    rows = [-logits[i].softmax(0)[told[i].argmax()].log() for i in range(5)]
    torch.testing.assert_close(hard_distillation(logits, told), sum(rows) / 5, atol=1e-12, rtol=0)
    assert hard_distillation(logits, told) == hard_distillation(logits, 9 * told)  # how sure it is does not count


@pytest.mark.parametrize("T", [0.5, 1.0, 3.0])
def test_the_soft_loss_is_the_divergence_of_softened_probabilities(T):
    logits, told = torch.randn(2, 5, 4, dtype=torch.float64)
    total = 0.0
    for z, v in zip(logits, told):
        q, p = (z / T).exp() / (z / T).exp().sum(), (v / T).exp() / (v / T).exp().sum()
        total += T**2 * sum(p[k] * (p[k] / q[k]).log() for k in range(4))  # teacher first
    torch.testing.assert_close(soft_distillation(logits, told, T), total / 5, atol=1e-12, rtol=0)
    assert soft_distillation(told, told, T).abs() < 1e-12


def test_at_a_high_temperature_the_gradient_keeps_its_size():
    """Hinton et al. 2015, equation 4, times T²: (z - v) / K for logits of mean zero, whatever T."""
    logits, told = (x - x.mean(dim=1, keepdim=True) for x in torch.randn(2, 5, 4, dtype=torch.float64))
    logits.requires_grad_()
    for T in (1e3, 1e4):
        gradient, = torch.autograd.grad(soft_distillation(logits, told, T), logits)
        torch.testing.assert_close(gradient, (logits.detach() - told) / 4 / 5, atol=10 / T, rtol=0)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_the_objective_is_half_the_labels_and_half_the_lesson(kind):
    model, (images, targets), guide = student().eval(), batch(), teacher()
    config = replace(PLAIN, label_smoothing=0.2)
    logits, loss = Teaching(guide, kind, share=0.3, temperature=2.0)(model, images, targets, config)
    own, taught = both(model, images)
    told = guide.eval()(images)
    lesson = hard_distillation(taught, told) if kind == "hard" else soft_distillation(taught, told, 2.0)
    expected = 0.7 * F.cross_entropy(own, targets, label_smoothing=0.2) + 0.3 * lesson
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(logits, model(images), atol=1e-6, rtol=0)
    assert (own - taught).abs().max() > 0.1
    assert asdict(Teaching(guide)) | {"teacher": 0} == {"teacher": 0, "kind": "hard", "share": 0.5, "temperature": 3.0}


@pytest.mark.parametrize("training", [True, False])
def test_the_teacher_answers_in_evaluation_mode_and_nothing_of_it_changes(training):
    guide, (images, targets) = teacher().train(training), batch()
    guide[0].eval()  # a mode of its own comes back too
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    modes = [part.training for part in guide.modules()]
    first, second = (Teaching(guide, "soft")(student(), images, targets, PLAIN)[1] for _ in range(2))
    first.backward()
    assert [part.training for part in guide.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in guide.state_dict().items())
    assert all(p.grad is None for p in guide.parameters())
    torch.manual_seed(7)
    model = student()  # the same draws for both, so only the teacher's dropout could tell them apart
    first, second = (Teaching(guide, "soft")(model, images, targets, PLAIN)[1] for _ in range(2))
    assert torch.equal(first, second)


def gradients(targets, guide, share=0.5, kind="hard"):
    torch.manual_seed(3)
    model = student()
    Teaching(guide, kind, share)(model, batch()[0], targets, PLAIN)[1].backward()
    return model.head.weight.grad, model.head_dist.weight.grad, model.blocks[0].attn.qkv.weight.grad


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_one_head_learns_from_the_labels_only_and_the_other_from_the_teacher_only(kind):
    targets, other_targets, other = batch()[1], batch()[1].roll(1, 0), teacher()
    nn.init.normal_(other[5].weight, std=3)
    own, taught, shared = gradients(targets, teacher(), kind=kind)
    own2, taught2, shared2 = gradients(other_targets, teacher(), kind=kind)
    own3, taught3, shared3 = gradients(targets, other, kind=kind)
    assert (own - own2).abs().max() > 1e-3 and torch.equal(taught, taught2)  # other labels
    assert torch.equal(own, own3) and (taught - taught3).abs().max() > 1e-3  # another teacher
    assert (shared - shared2).abs().max() > 1e-4 and (shared - shared3).abs().max() > 1e-4  # the encoder hears both


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_share_of_0_is_the_labels_alone_and_of_1_the_teacher_alone(kind):
    targets = batch()[1]
    own, taught, _ = gradients(targets, teacher(), 0.0, kind)
    assert own.abs().max() > 1e-3 and not taught.any()
    own, taught, _ = gradients(targets, teacher(), 1.0, kind)
    assert not own.any() and taught.abs().max() > 1e-3


@pytest.mark.parametrize(("options", "words"), [
    ({"kind": "warm"}, "kind='warm' is not hard or soft"), ({"share": 1.5}, "share must lie in 0…1, got 1.5"),
    ({"share": -0.1}, "share must lie in 0…1, got -0.1"), ({"temperature": 0.0}, "must be positive, got 0.0"),
    ({"temperature": -1}, "must be positive, got -1"), ({"share": float("nan")}, "share must lie in 0…1, got nan")])
def test_what_no_teaching_can_have_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        Teaching(teacher(), **options)


@pytest.mark.parametrize(("wrong", "words"), [
    (ViT(TINY), "two heads, pool='distilled', got pool='cls'"), (ViT(replace(TINY, pool="mean")), "got pool='mean'"),
    (nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), "pool='distilled', got Sequential")])
def test_a_student_without_two_heads_is_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        fit(wrong, pictures(), PLAIN, objective=Teaching(teacher()))


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("classes", [1, 10])
def test_a_teacher_of_other_classes_is_named(kind, classes):
    with pytest.raises(ValueError, match=rf"teacher gives \(8, {classes}\) and the student \(8, 3\); both must tell"):
        fit(student(), pictures(), PLAIN, objective=Teaching(teacher(classes), kind))


def test_several_processes_are_named(monkeypatch):
    """What stands around the student to average gradients would not be asked, and the processes would drift apart."""
    monkeypatch.setattr(distil, "processes", lambda: 2)
    with pytest.raises(ValueError, match="taught in one process, here are 2: start without torchrun"):
        Teaching(teacher())(student(), *batch(), PLAIN)


def test_a_compiled_student_is_taught_too():
    model, (images, targets) = student().eval(), batch()
    wrapped = torch.compile(model, backend="eager")
    teaching = Teaching(teacher())
    assert torch.equal(teaching(wrapped, images, targets, PLAIN)[1], teaching(model, images, targets, PLAIN)[1])


class Stop(Exception):
    """Something that ends a run from outside."""


BUSY = replace(PLAIN, epochs=4, augment=0.5, mixup=0.5, cutmix=1.0, ema=0.9, flip=True, crop=2, label_smoothing=0.1)


def run(kind, guide=None, **options):
    torch.manual_seed(0)
    model = ViT(replace(STUDENT, dropout=0.1, drop_path=0.2, patch_drop=0.25))
    guide = guide or teacher()
    history = fit(model, pictures(), BUSY, objective=Teaching(guide, kind), **options)
    return model, [{name: value for name, value in row.items() if name != "seconds"} for row in history]


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_taught_run_stops_and_resumes_without_a_changed_bit(tmp_path, monkeypatch, kind):
    def save(path, state):
        save_checkpoint(path, state)
        if len(state["history"]) == 2:
            raise Stop
    whole, history = run(kind)
    monkeypatch.setattr(loop, "save_checkpoint", save)
    with pytest.raises(Stop):
        run(kind, checkpoint=tmp_path / "c.pt")
    monkeypatch.undo()
    torch.rand(9)
    resumed, history2 = run(kind, checkpoint=tmp_path / "c.pt", resume=True)
    assert history == history2 and [row["epoch"] for row in history] == [1, 2, 3, 4]
    for (name, value), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    assert not torch.equal(whole.head_dist.weight, run("soft" if kind == "hard" else "hard")[0].head_dist.weight)


def test_a_student_takes_over_what_a_teacher_says_against_the_labels():
    class Contrary(nn.Module):
        """Names the class after the one that the first channel gives away."""

        def forward(self, images):
            brightness = images[:, 0].mean(dim=(1, 2))  # three values, one a class
            return 10 * F.one_hot((brightness * 0.8 + 2).round().long().clamp(0, 2).add(1) % 3, 3).float()

    data, guide = pictures(), Contrary()
    assert torch.equal(guide(normalise(data.images)).argmax(1), (data.labels + 1) % 3)
    torch.manual_seed(0)
    model = ViT(replace(STUDENT, dim=32))
    fit(model, data, replace(PLAIN, epochs=40), objective=Teaching(guide))
    own, taught = both(model, normalise(data.images))
    assert torch.equal(own.argmax(1), data.labels)
    assert torch.equal(taught.argmax(1), (data.labels + 1) % 3)
