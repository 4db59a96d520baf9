"""`python -m vitlib predict`: names for images, one line each."""

import csv
from dataclasses import replace

import pytest
import torch
from common import TINY, randomise, write_folder
from PIL import Image
from safetensors.torch import save_file

from vitlib.checkpoint import export_weights, load_weights
from vitlib.cli import main
from vitlib.decoding import decode_image
from vitlib.predicting import image_files, probabilities, read_model
from vitlib.train import predict
from vitlib.vit import ViT

pytestmark = pytest.mark.usefixtures("home")
NAMES = ("cat", "dog", "Möwe")


@pytest.fixture
def weights(tmp_path):
    export_weights(randomise(ViT(TINY)), tmp_path / "run" / "weights.safetensors", torch.float32, NAMES)
    return tmp_path / "run" / "weights.safetensors"


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", count=3, size=(12, 9))


def expected(weights, path):
    image, _ = decode_image(str(path), 8)
    return predict(load_weights(weights), image[None]).softmax(1)[0]


def test_a_line_for_each_image_and_a_table_of_all_classes(weights, photos, tmp_path, capsys):
    table = tmp_path / "deep" / "table.csv"
    main(["predict", str(weights.parent), str(photos / "dog" / "1.png"), str(photos / "cat"), "--csv", str(table)])
    lines = capsys.readouterr().out.splitlines()
    files = [str(photos / place) for place in ("dog/1.png", "cat/0.png", "cat/1.png", "cat/2.png")]
    rows = list(csv.DictReader(table.open(encoding="utf-8", newline="")))
    assert [row["file"] for row in rows] == files == [line.split("  ")[0] for line in lines]
    for line, row, file in zip(lines, rows, files):
        p = expected(weights, file)
        order = [NAMES[k] for k in p.argsort(descending=True)]
        assert [row[f"top {i}"] for i in (1, 2, 3)] == order
        assert line == f"{file}  " + "  ".join(f"{name} {p[NAMES.index(name)]:.1%}" for name in order)
        assert [float(row[f"p({name})"]) for name in NAMES] == pytest.approx(p.tolist(), abs=2e-6)


def test_what_cannot_be_read_is_named_and_the_others_are_predicted(weights, photos, tmp_path, capsys):
    (photos / "cat" / "1.png").write_text("text", encoding="utf-8")
    table = tmp_path / "table.csv"
    with pytest.raises(SystemExit) as error:
        main(["predict", str(weights), str(photos), str(tmp_path / "gone.jpg"), "--top", "1", "--csv", str(table)])
    text = capsys.readouterr()
    assert str(error.value) == "vitlib predict: 2 of the files could not be read, see above"
    assert "1.png: left out, it cannot be identified" in text.err and "gone.jpg: left out, No such file" in text.err
    assert len(text.out.splitlines()) == 5
    assert len(table.read_text(encoding="utf-8").splitlines()) == 6


def test_rows_stay_with_their_files_over_several_batches(weights, tmp_path):
    for i in range(9):
        Image.new("RGB", (8, 8), (28 * i, 255 - 28 * i, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_bytes(b"")
    files = image_files([str(tmp_path)])
    found = list(probabilities(load_weights(weights), [name for name in files if name.endswith("png")], batch_size=4))
    assert [row is None for _, row, _ in found] == [i == 3 for i in range(9)]
    for path, row, _ in found:
        assert row is None or torch.allclose(row, expected(weights, path), atol=1e-6)


def test_a_batch_of_nothing_readable_does_not_stop_the_rest(weights, tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.jpg").write_bytes(b"no")
    Image.new("RGB", (8, 8)).save(tmp_path / "9.png")
    files = [str(tmp_path / name) for name in ("0.jpg", "1.jpg", "2.jpg", "3.jpg", "9.png")]
    assert [row is None for _, row, _ in probabilities(load_weights(weights), files, 2)] == [True] * 4 + [False]


def test_a_folder_gives_its_images_and_a_named_file_is_tried_whatever_its_suffix(photos, tmp_path):
    (photos / "cat" / "notes.txt").write_text("x", encoding="utf-8")
    (photos / ".hidden").mkdir()
    (photos / "__MACOSX").mkdir()
    for name in (".hidden/1.png", "__MACOSX/1.png", "cat/.1.png", "LAST.JPG"):
        Image.new("RGB", (8, 8)).save(photos / name, format="PNG")
    found = image_files([str(photos), str(photos / "cat" / "notes.txt")])
    names = ["LAST.JPG", *(f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(3)), "cat/notes.txt"]
    assert found == [str(photos / name) for name in names]


def test_weights_without_names_give_numbers_and_the_zoo_has_names(tmp_path, photos, capsys):
    export_weights(randomise(ViT(TINY)), tmp_path / "plain.safetensors")
    assert read_model(str(tmp_path / "plain.safetensors"))[1] == ("0", "1", "2")
    model, names = read_model("shapes-tiny")
    assert len(names) == model.config.classes == 10 and "star" in names
    main(["predict", "shapes-tiny", str(photos / "cat" / "0.png"), "--top", "99"])
    assert capsys.readouterr().out.count("%") == 10


def test_each_error_is_one_line_with_the_fix(weights, photos, tmp_path):
    image = str(photos / "cat" / "0.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.csv").write_text("mine", encoding="utf-8")
    save_file(ViT(TINY).state_dict(), tmp_path / "published.safetensors")
    export_weights(ViT(replace(TINY, classes=0)), tmp_path / "headless.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:-9])
    for arguments, words in (
            ([str(tmp_path / "none"), image], "there is no file of weights"),
            ([str(tmp_path / "empty"), image], "holds no weights.safetensors"),
            ([str(tmp_path / "published.safetensors"), image], "vitlib finetune FOLDER --from"),
            ([str(tmp_path / "headless.safetensors"), image], "without a head"),
            ([str(tmp_path / "cut.safetensors"), image], "cut.safetensors"),
            ([str(weights), str(tmp_path / "empty")], "there are no images in"),
            ([str(weights), image, "--top", "0"], "1 or more"),
            ([str(weights), image, "--csv", str(tmp_path / "old.csv")], "already there; choose another --csv")):
        with pytest.raises(SystemExit) as error:
            main(["predict", *arguments])
        assert str(error.value).startswith("vitlib predict: ") and words in str(error.value)
        assert len(str(error.value).splitlines()) == 1
    assert (tmp_path / "old.csv").read_text(encoding="utf-8") == "mine"


def test_ctrl_c_promises_nothing_that_is_not_kept(weights, photos, monkeypatch, capsys):
    monkeypatch.setattr("vitlib.commands.predict_files", lambda *rest: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit) as error:
        main(["predict", str(weights), str(photos)])
    assert error.value.code == 130
    assert "--resume" not in capsys.readouterr().err
