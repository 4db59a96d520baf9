"""`python -m vitlib finetune`, as a person with a folder of photographs meets it, and its parts."""

import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from common import TINY, pictures, randomise, write_folder
from PIL import Image
from safetensors.torch import load_file, save_file

from vitlib import commands, figures, finetune, frozen, photos, report, train
from vitlib.adapters import load_adapter, read_adapter
from vitlib.checkpoint import class_names, export_weights, load_weights
from vitlib.cli import main
from vitlib.data import ImageSet
from vitlib.finetune import Plan, starting_model
from vitlib.photos import Part, in_two_classes, read_parts, seen_before, set_aside
from vitlib.train import predict
from vitlib.transfer import linear_probe
from vitlib.vit import ViT

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def weights(tmp_path):
    export_weights(randomise(ViT(TINY)).eval(), tmp_path / "start.safetensors", torch.float32)
    return tmp_path / "start.safetensors"


@pytest.fixture
def pets(tmp_path):
    """Two classes that differ in red, ten images each; no parts."""
    return write_folder(tmp_path / "pets", count=10)


@pytest.fixture
def tune(pets, weights, tmp_path):
    """Runs the command on `pets` and gives the folder of its results."""
    def run(*more, folder=pets, out="out"):
        main(["finetune", str(folder), "--from", str(weights), "--out", str(tmp_path / out), "--device", "cpu", *more])
        return tmp_path / out
    return run


def record_of(out):
    return json.loads((out / "record.json").read_text(encoding="utf-8"))


def said(error):
    """The one line with which a command ends."""
    text = str(error.value)
    assert len(text.splitlines()) == 1
    return text


def test_a_folder_becomes_weights_with_names_a_record_and_a_figure(tune, pets, capsys):
    out = tune()
    record, text = record_of(out), capsys.readouterr().out
    assert class_names(out / "weights.safetensors") == ("cat", "dog") == tuple(record["classes"])
    assert record["finished"] and record["training images"] == [8, 8] and record["validation"]["images"] == 4
    assert record["validation"]["accuracy"] == 1.0 and record["validation"]["confusion"] == [[2, 0], [0, 2]]
    assert record["asked"]["size"] == 8 and record["asked"]["source"].endswith("start.safetensors")
    assert {"images", "features", "head"} == record["seconds"].keys() and record["torch"]
    assert (out / "confusion.png").is_file() and not (out / "mistakes.png").exists()  # there were none
    for words in ("16 images to train on, 4 to validate on", "2 classes: cat 10, dog 10", "the head alone",
                  "images of 8 px as 4 patches", "always 'cat' 50.0%", "nearest neighbours", "validation: 100.0%",
                  f"python -m vitlib predict {out} IMAGE"):
        assert words in text


def test_the_score_in_the_record_is_that_of_the_weights(tune, pets):
    out = tune("--validation", "0.5")
    whole = read_parts(pets, 8)["train"]
    _, aside = set_aside(whole.data, 0.5, 0)
    part = whole.subset(aside).data
    logits = predict(load_weights(out / "weights.safetensors"), part.images)
    found = record_of(out)["validation"]
    assert found["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, part.labels).item(), abs=2e-3)
    assert found["images"] == len(aside) == 10


def test_features_are_computed_once_even_in_part_and_anew_for_other_weights(tune, weights, monkeypatch, capsys):
    first = record_of(tune())
    assert "features of 20 images: about" in capsys.readouterr().out
    real, seen = frozen.predict, []
    monkeypatch.setattr(frozen, "predict", lambda model, images, *rest: seen.append(len(images)) or real(model, images))
    again = record_of(tune("--set", "batch_size=7", out="again"))
    assert seen == [] and again["validation"] == first["validation"]  # other settings of the head need no new features
    assert "features of" not in capsys.readouterr().out
    kept = next(frozen.cache_homes()[0].glob("features-*"))
    save_file({"features": load_file(kept)["features"][:16]}, kept)  # as a run leaves it that was stopped
    assert record_of(tune(out="third"))["validation"] == first["validation"]
    assert sum(seen[-1:]) == 4 and len(load_file(kept)["features"]) == 20
    kept.write_bytes(b"damaged")
    assert record_of(tune(out="fourth"))["validation"] == first["validation"]
    assert seen[-1] == 20
    export_weights(randomise(ViT(TINY)), weights, torch.float32)
    seen.clear()
    tune(out="fifth")
    assert seen[-1] == 20 and len(list(frozen.cache_homes()[0].glob("features-*"))) == 2


@pytest.mark.parametrize("every", [0, 60])
def test_features_are_kept_on_the_way_and_after_ctrl_c(monkeypatch, every):
    model, images = randomise(ViT(TINY)), pictures().images
    monkeypatch.setattr(frozen, "EVERY", every)
    real, sizes = frozen.predict, []

    def stop_late(model, part, *rest):
        if torch.equal(part, images[15:20]):
            sizes.append([len(load_file(path)["features"]) for path in frozen.cache_homes()[0].glob("features-*")])
            raise KeyboardInterrupt
        return real(model, part)

    monkeypatch.setattr(frozen, "predict", stop_late)
    with pytest.raises(KeyboardInterrupt):
        frozen.frozen_features(model, images, batch_size=5)
    assert sizes == ([[15]] if every == 0 else [[]])  # a run that is killed has what was kept on the way
    kept = next(frozen.cache_homes()[0].glob("features-*"))
    assert len(load_file(kept)["features"]) == 15
    monkeypatch.setattr(frozen, "predict", real)
    whole = frozen.frozen_features(model, images, batch_size=5)
    assert torch.allclose(whole, predict(finetune.adapt(model, classes=0), images), atol=1e-6)


def test_without_a_place_to_keep_features_a_note_says_so(monkeypatch):
    monkeypatch.setattr(frozen, "cache_homes", list)
    with pytest.warns(UserWarning, match="cannot keep the features .*set VITLIB_DATA"):
        assert frozen.frozen_features(randomise(ViT(TINY)), pictures().images).shape == (24, 16)


def test_a_result_is_never_written_over(tune, tmp_path, monkeypatch, weights):
    out = tune()
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(SystemExit) as error:
        tune()
    assert "holds record.json already" in said(error) and "--resume" in said(error) and "--out" in said(error)
    with pytest.raises(SystemExit) as error:
        tune("--resume", "--balance")
    assert "balance=False, not True" in said(error)
    write_folder(tmp_path / "other", count=9)
    with pytest.raises(SystemExit) as error:
        tune("--resume", folder=tmp_path / "other")
    assert "images of train/=20" in said(error)
    mine = weights.read_bytes()
    export_weights(randomise(ViT(TINY)), weights, torch.float32)
    with pytest.raises(SystemExit) as error:
        tune("--resume")
    assert "with weights=" in said(error)
    weights.write_bytes(mine)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    again = record_of(tune("--resume"))
    assert again["validation"] == json.loads(before["record.json"])["validation"]
    monkeypatch.setattr(finetune, "frozen_features", interrupted)
    with pytest.raises(SystemExit):
        tune("--resume")
    assert record_of(out)["finished"] and (out / "weights.safetensors").is_file()
    (out / "record.json").write_text("{", encoding="utf-8")
    with pytest.raises(SystemExit) as error:
        tune("--resume")
    assert "damaged" in said(error) and "--out" in said(error)
    (out / "record.json").unlink()
    with pytest.raises(SystemExit, match=r"holds weights.safetensors already"):
        tune()


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_results_do_not_lie_among_the_images(pets, weights, monkeypatch):
    monkeypatch.chdir(pets)
    with pytest.raises(SystemExit) as error:
        main(["finetune", ".", "--from", str(weights)])
    assert "lies in the folder of the images" in said(error) and str(pets.parent / "runs" / "pets") in said(error)
    assert sorted(path.name for path in pets.iterdir()) == ["cat", "dog"]


def test_bad_input_leaves_no_folder_behind(tune, tmp_path):
    for more in (["--size", "10"], ["--size", "0"], ["--validation", "1.5"], ["--train", "last", "--blocks", "3"],
                 ["--train", "last", "--blocks", "0"], ["--epochs", "3"], ["--train", "all", "--set", "colour=3"],
                 ["--train", "all", "--set", "lr=fast"], ["--train", "all", "--set", "optimizer=muon"],
                 ["--lora", "0"], ["--lora", "17"], ["--lora", "2", "--train", "all"],
                 ["--from", "no_such_model.safetensors"], ["--resume", "--from", str(tmp_path / "pets")]):
        with pytest.raises(SystemExit) as error:
            tune(*more)
        assert said(error).startswith("vitlib finetune: ") and not (tmp_path / "out").exists(), more


@pytest.mark.parametrize(("change", "words"), [
    (lambda pets: shutil.rmtree(pets), "there is no folder"),
    (lambda pets: shutil.rmtree(pets / "dog"), "expected two or more folders"),
    (lambda pets: [path.unlink() for path in (pets / "dog").iterdir()], "dog without one"),
    (lambda pets: [path.unlink() for path in sorted((pets / "dog").iterdir())[1:]], "class 'dog' has 1 images: one to"),
    (lambda pets: [shutil.copy(pets / "dog" / "0.png", pets / "dog" / f"{i}.png") for i in range(1, 10)],
     "class 'dog' has 10 images, all the same"),
])
def test_a_folder_that_cannot_be_learned_from(tune, pets, tmp_path, change, words):
    change(pets)
    with pytest.raises(SystemExit) as error:
        tune()
    assert words in said(error) and not (tmp_path / "out").exists()


def test_odd_images_are_named_or_read_and_notes_are_plain(tune, pets, capsys):
    Image.fromarray(np.full((9, 9), 999, np.uint16)).save(pets / "cat" / "deep.png")
    Image.new("RGBA", (30, 9), (0, 0, 0, 9)).save(pets / "cat" / "alpha.png")
    Image.new("CMYK", (9, 30)).save(pets / "dog" / "print.jpg")
    (pets / "dog" / "text.jpg").write_text("text", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record = record_of(tune())
    text = capsys.readouterr().out
    assert "note: left out 2 of 24 images" in text and "deep.png" in text and "text.jpg" in text
    assert "UserWarning" not in text and sum(record["training images"]) + record["validation"]["images"] == 22


def test_a_folder_with_parts_is_read_as_its_parts(tune, tmp_path, capsys):
    for part, count in (("train", 6), ("valid", 3), ("test", 4)):
        write_folder(tmp_path / "split" / part, count=count)
    shutil.copy(tmp_path / "split" / "train" / "cat" / "0.png", tmp_path / "split" / "valid" / "cat" / "x.png")
    record = record_of(tune(folder=tmp_path / "split"))
    assert (record["training images"], record["validation"]["images"], record["test"]["images"]) == ([6, 6], 7, 8)
    tuned = record_of(tune("--train", "all", "--epochs", "1", folder=tmp_path / "split", out="all"))
    assert tuned["test"]["images"] == 8  # predicted with the trained model, not with the head on kept features
    text = capsys.readouterr().out
    assert "split: 12 images to train on, 7 to validate on, 8 to test on" in text and "test: 100.0%" in text
    assert "note: 7 validation images are copies of training images" in text and "valid/cat/x.png" in text


def test_which_folders_are_parts_and_which_are_classes(tmp_path, capsys):
    alone = write_folder(tmp_path / "alone" / "train").parent
    assert read_parts(alone, 8)["train"].files[0] == "train/cat/0.png"
    vehicles = write_folder(tmp_path / "vehicles", ("car", "train"))
    (vehicles / "train" / "steam").mkdir()
    assert read_parts(vehicles, 8)["train"].data.classes == ("car", "train")
    contest = write_folder(tmp_path / "contest" / "Train").parent
    (contest / "TEST").mkdir()
    Image.new("RGB", (8, 8)).save(contest / "TEST" / "1.png")
    assert list(read_parts(contest, 8)) == ["train"]
    assert "has no folders of classes, so it is left alone" in capsys.readouterr().out
    write_folder(contest / "Val", ("cat", "wolf"))
    with pytest.raises(ValueError, match="do not have the same classes: dog, wolf in one of them"):
        read_parts(contest, 8)


def test_every_class_stands_on_both_sides_and_copies_on_one():
    data = pictures(40)
    small = torch.cat([torch.arange(0, 40, 3), torch.tensor([1, 4, 2, 5, 8])])  # 14 of class 0, 2 of 1, 3 of 2
    data = data.subset(torch.cat([small, small[:7], small[:7]]))  # seven of class 0 stand three times
    for seed in range(5):
        kept, aside = set_aside(data, 0.2, seed)
        assert sorted(torch.cat([kept, aside]).tolist()) == list(range(len(data)))
        assert [part.bincount().tolist()[1:] for part in (data.labels[kept], data.labels[aside])] == [[1, 2], [1, 1]]
        assert 6 <= (data.labels[aside] == 0).sum() <= 8  # 5.6 of 28, and perhaps two more copies of the last
        part = Part(data, [str(i) for i in range(len(data))])
        assert seen_before(part.subset(kept), part.subset(aside)) == []
    assert torch.equal(set_aside(data, 0.2, 3)[1], set_aside(data, 0.2, 3)[1])
    assert not torch.equal(set_aside(data, 0.2, 3)[1], set_aside(data, 0.2, 4)[1])
    kept, aside = set_aside(data, 0.99)
    assert data.labels[kept].bincount().min() >= 1 and len(aside) > len(kept)
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            set_aside(data, share)


def test_an_image_under_two_names_is_found():
    data = pictures(6)
    data = replace(data, images=torch.cat([data.images[:5], data.images[:1]]))  # the last, of class 2
    assert in_two_classes(Part(data, list("uvwxyz"))) == ["u = z"]


def test_balance_shows_every_class_as_often(tune, pets, capsys):
    labels = torch.tensor([0] * 7 + [1] * 2 + [3] * 3)
    chosen = frozen.balanced(labels)
    assert labels[chosen].bincount().tolist() == [7, 7, 0, 7] and set(chosen.tolist()) == set(range(12))
    for path in sorted((pets / "dog").iterdir())[2:]:
        path.unlink()
    plain = record_of(tune())
    words = "5 times the images of the smallest: read the balanced accuracy, and try --balance"
    assert words in capsys.readouterr().out
    even = record_of(tune("--balance", out="even"))
    assert plain["asked"]["balance"] is False and even["asked"]["balance"] is True
    assert "try --balance" not in capsys.readouterr().out


def test_balance_moves_the_border_towards_the_large_class():
    g = torch.Generator().manual_seed(0)
    features = torch.cat([torch.randn(190, 2, generator=g), torch.randn(10, 2, generator=g) + 1.5])
    labels = torch.tensor([0] * 190 + [1] * 10)
    recall = [(frozen.best_head(features, labels, 2, balance)[0](features).argmax(1)[labels == 1] == 1).float().mean()
              for balance in (False, True)]
    assert recall[1] > recall[0] + 0.3


def test_balance_counts_classes_alike_where_the_decay_is_chosen(monkeypatch):
    """A probe that knows nothing: with one decay it likes class 0, with the other it does not care."""
    counts = []

    def probe(features, labels, classes, decay):
        counts.append(labels.bincount().tolist())
        head = torch.nn.Linear(1, 2).requires_grad_(False)
        head.weight.zero_(), head.bias.copy_(torch.tensor([2.0 if decay == 1 else 0.0, 0.0]))
        return head

    monkeypatch.setattr(frozen, "linear_probe", probe)
    features, labels = torch.ones(100, 1), torch.tensor([0] * 88 + [1] * 12)
    assert frozen.best_head(features, labels, 2, decays=(0.1, 1))[1] == 1  # right for the many
    assert counts == [[66, 9]] * 8 + [[88, 12]]
    counts.clear()
    assert frozen.best_head(features, labels, 2, balance=True, decays=(0.1, 1))[1] == 0.1
    assert counts == [[66, 66]] * 8 + [[88, 88]]
    counts.clear()
    frozen.best_head(torch.ones(2000, 1), torch.arange(2000) % 2, 2, decays=(0.1, 1))
    assert counts == [[750, 750]] * 2 + [[1000, 1000]]  # of many images one fold is enough


def test_the_decay_is_chosen_inside_the_training_images():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    noise = torch.randn(60, 100, generator=g)
    clear = torch.cat([3.0 * torch.nn.functional.one_hot(labels).float(), 0.1 * noise[:, :5]], dim=1)
    (head, weak), (_, strong) = (frozen.best_head(x, labels, 3) for x in (clear, noise))
    assert strong == max(frozen.DECAYS) and weak < strong
    assert torch.equal(head.weight, linear_probe(clear, labels, 3, weak).weight)
    assert frozen.best_head(noise[:3], labels[:3], 3)[1] == frozen.DECAYS[2]  # one image a class: nothing to compare


def test_folds_spread_every_class_and_never_hold_out_its_only_image():
    labels = torch.tensor([0] * 8 + [1] * 5 + [2])
    fold = frozen.folds(labels, 4, seed=1)
    assert fold[labels == 0].bincount().tolist() == [2, 2, 2, 2] and fold[labels == 2].tolist() == [-1]
    assert sorted(fold[labels == 1].tolist()) == [0, 0, 1, 2, 3]
    assert not torch.equal(fold, frozen.folds(labels, 4, seed=2))


def changed(before, after):
    """The blocks, and "rest", whose parameters differ by more than rounding to half precision does."""
    a, b = before.state_dict(), after.state_dict()
    return {name.split(".")[1] if name.startswith("blocks.") else "rest" for name in a
            if not name.startswith(("head", "norm")) and not torch.allclose(a[name], b[name], rtol=2e-3, atol=2e-3)}


def test_what_is_trained_and_what_stays(tune, weights):
    rate = ["--epochs", "3", "--set", "lr=0.02", "layer_decay=1.0"]
    for kind, expected in (([], set()), (["--train", "last", "--blocks", "1", *rate], {"1"}),
                           (["--train", "all", *rate], {"0", "1", "rest"})):
        out = tune(*kind, out=f"out{len(expected)}")
        assert changed(load_weights(weights), load_weights(out / "weights.safetensors")) == expected
        assert [row["epoch"] for row in record_of(out)["history"]] == ([1, 2, 3] if kind else [])


def test_adapters_are_merged_into_the_weights_and_kept_alone(tune, weights):
    out = tune("--lora", "2", "--epochs", "3", "--set", "lr=0.05")
    start, tuned = load_weights(weights), load_weights(out / "weights.safetensors")
    moved = {name for name, a in start.state_dict().items() if not name.startswith("head") and not torch.allclose(
        a, tuned.state_dict()[name], rtol=2e-3, atol=2e-3)}
    assert moved == {f"blocks.{i}.attn.{name}.weight" for i in (0, 1) for name in ("qkv", "proj")}
    record = record_of(out)
    assert record["asked"]["rank"] == 2 and record["asked"]["layer_decay"] == 1.0 and len(record["history"]) == 3
    assert read_adapter(out / "adapter.safetensors")[0]["rank"] == 2
    assert load_adapter(start, out / "adapter.safetensors") == ("cat", "dog")
    images = pictures(4).images
    torch.testing.assert_close(predict(start, images), predict(tuned, images), rtol=1e-2, atol=1e-2)  # stored in halves
    assert record_of(tune("--lora", "2", "--epochs", "3", "--set", "lr=0.05", out="again"))["validation"] == record[
        "validation"]


def test_training_starts_from_the_probe(tune):
    record = record_of(tune("--train", "all", "--epochs", "1", "--set", "lr=1e-9"))
    head = record["baselines"]["head alone"]
    assert record["validation"]["loss"] == pytest.approx(head["loss"], abs=1e-4)


def test_a_stopped_training_goes_on_where_it_was(tune, monkeypatch, capsys):
    asked = ("--train", "all", "--epochs", "3", "--set", "batch_size=4")
    whole = tune(*asked, out="whole")
    real = train.save_checkpoint

    def stop_after_one(path, state):
        real(path, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "save_checkpoint", stop_after_one)
    with pytest.raises(SystemExit) as error:
        tune(*asked, out="parts")
    assert error.value.code == 130
    monkeypatch.setattr(train, "save_checkpoint", real)
    with pytest.raises(SystemExit, match="add --resume"):
        tune(*asked, out="parts")
    capsys.readouterr()
    parts = tune(*asked, "--resume", out="parts")
    text = capsys.readouterr().out
    assert "epoch 1 " not in text and "epoch 2 " in text and "epoch 3 " in text
    a, b = (load_file(out / "weights.safetensors") for out in (parts, whole))  # the header's order is not fixed
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert record_of(parts)["validation"] == record_of(whole)["validation"]


def test_more_training_that_does_not_help_is_said(tune, capsys):
    tune("--train", "all", "--epochs", "1", "--set", "lr=1.0", "layer_decay=1.0", "clip=0.0", "warmup=0.0")
    assert "the head alone had 100.0%, so more training did not help" in capsys.readouterr().out


def test_published_weights_with_a_mean_of_their_own(tmp_path, pets, monkeypatch, home):
    """In the form of the Hugging Face hub, in the folder of published weights: a name is enough."""
    monkeypatch.setenv("VITLIB_DATA", str(tmp_path / "data"))
    place = tmp_path / "data" / "published" / "mini"
    place.mkdir(parents=True)
    save_file(randomise(ViT(TINY)).state_dict(), place / "model.safetensors")
    (place / "config.json").write_text('{"num_attention_heads": 2, "layer_norm_eps": 1e-6}', encoding="utf-8")
    scale = '{"image_mean": [0.2, 0.4, 0.6], "image_std": [0.1, 0.2, 0.3]}'
    (place / "preprocessor_config.json").write_text(scale, encoding="utf-8")
    out = tmp_path / "out"
    main(["finetune", str(pets), "--from", "mini", "--size", "16", "--out", str(out)])
    record = record_of(out)
    assert record["model"]["image_size"] == 16 and record["validation"]["accuracy"] == 1.0
    assert starting_model(str(out)).config.classes == 2  # what came out can be started from again
    main(["finetune", str(pets), "--from", str(out), "--out", str(tmp_path / "more")])


def test_a_model_of_the_zoo_can_be_the_start_and_a_folder_of_that_name_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes-tiny").mkdir()
    assert starting_model("shapes-tiny", size=64).config.image_size == 64
    assert starting_model("shapes-tiny", like="vit_tiny_patch16_224").config.image_size == 32  # it says all itself


def test_a_digest_tells_weights_apart_but_not_their_heads():
    model = randomise(ViT(TINY))
    other = randomise(ViT(TINY))
    assert frozen.digest_of(model) == frozen.digest_of(finetune.adapt(model, classes=7)) != frozen.digest_of(other)
    same = ViT(replace(TINY, norm_eps=1e-5))
    same.load_state_dict(model.state_dict())
    assert frozen.digest_of(same) != frozen.digest_of(model)


def test_one_process_alone(weights, pets, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "processes", lambda: 2)
    with pytest.raises(ValueError, match="without torchrun"):
        finetune.finetune(pets, load_weights(weights), tmp_path / "out")
    with pytest.raises(ValueError, match="head, last, lora or all"):
        Plan(train="tail")


def test_scores_are_what_their_names_say():
    logits = torch.tensor([[2.0, 0, 0]] * 9 + [[0, 2.0, 0]])
    found = report.scores(logits, torch.tensor([0] * 7 + [1, 1, 1]), 3)
    assert found["confusion"] == [[7, 0, 0], [2, 1, 0], [0, 0, 0]]
    assert found["accuracy"] == pytest.approx(0.8) and found["interval"] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    assert found["balanced accuracy"] == pytest.approx((1 + 1 / 3) / 2)
    low, high = report.scores(logits[:5], torch.zeros(5, dtype=torch.long))["interval"]
    assert 0.5 < low < 0.6 and high == pytest.approx(1)


def test_figures_show_the_worst_mistakes_with_any_name(tmp_path, monkeypatch):
    asked, real = {}, figures.mistakes
    monkeypatch.setattr(figures, "mistakes", lambda images, notes, title: asked.update(notes=notes, title=title)
                        or real(images, notes, title))
    data = pictures(30)
    names = ("$5 $x_1$", "狗 🐶", "a very long name of a class, longer than a picture")
    data = ImageSet(data.images, data.labels, names)
    part = Part(data, [f"{data.classes[label]}/deep/{i}.jpg" for i, label in enumerate(data.labels)])
    logits = torch.zeros(30, 3)
    logits[:, 1] = (1 + torch.arange(30.0)) / 10  # always the second, the surer the later
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report.draw(tmp_path, part, logits, report.scores(logits, data.labels, 3))
    assert len(asked["notes"]) == 20 and asked["title"] == "The 20 most confident of 20 mistakes"
    assert asked["notes"][0][0] == "29.jpg" and asked["notes"][1][:2] == ("27.jpg", "true: $5 $x_1$")
    assert asked["notes"][0][2] == f"predicted: 狗 🐶 {logits[29].softmax(0)[1]:.0%}"
    for name in ("confusion.png", "mistakes.png"):
        assert Image.open(tmp_path / name).size[0] > 500


def test_of_many_classes_the_confusion_shows_the_worst():
    counts = torch.diag(torch.full((30,), 5))
    counts[3, 7], counts[20, 21], counts[0, 29] = 4, 3, 2
    figure = figures.confusion_of(counts, [f"class {k}" for k in range(30)], most=6)
    axis = figure.axes[0]
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names == ["class 0", "class 3", "class 7", "class 20", "class 21", "25 others"]
    share = axis.images[0].get_array()
    assert share[1].tolist() == pytest.approx([0, 500 / 9, 400 / 9, 0, 0, 0])
    assert share[0, 5] == pytest.approx(200 / 7) and share[5, 5] == 100
    assert figures.plain("$a$") == r"\$a\$" and len(figures.plain("x" * 90)) == 24


def test_a_time_is_said_as_a_person_would():
    assert [frozen.duration(s) for s in (4.4, 89, 100, 4000, 9000)] == ["4 s", "89 s", "2 min", "67 min", "2.5 h"]


def test_an_hour_of_features_comes_with_advice(monkeypatch, capsys):
    monkeypatch.setattr(frozen, "seconds_each", lambda model, images: 60.0)
    frozen.frozen_features(randomise(ViT(replace(TINY, image_size=32))), pictures(size=32).images)
    assert "about 24 min, and kept for the next time; --size 16 would take a quarter of it" in capsys.readouterr().out


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit):
        main(["finetune", "--help"])
    text = capsys.readouterr().out
    for word in ("FOLDER", "--from", "--like", "--size", "--train", "--lora", "--validation", "--balance", "--epochs",
                 "--resume", "--out", "--set", "train/<class>/<image>", "confusion.png", "mistakes.png"):
        assert word in text
    assert commands.TUNING is finetune.TUNING and photos.TEST_PARTS[0] == "test"
