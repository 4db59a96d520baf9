"""Figures can be drawn from any tensor or array, name what they cannot draw, and are shown where there is a window."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from vitlib import plots
from vitlib.arrays import as_array, as_picture

IMAGES = torch.rand(2, 3, 8, 8)
MAPS = torch.rand(2, 4, 4)
KINDS = {"with gradients": lambda x: x.clone().requires_grad_(), "bfloat16": lambda x: x.bfloat16(),
         "half": lambda x: x.half(), "double": lambda x: x.double(), "numpy": lambda x: x.numpy(),
         "half numpy": lambda x: x.half().numpy(), "a list of tensors": lambda x: list(x.clone().requires_grad_()),
         "under inference_mode": lambda x: inference(x)}
DRAW = {"image_grid": lambda f: plots.image_grid(f(IMAGES), ["a", "b"]),
        "image_rows": lambda f: plots.image_rows({"images": f(IMAGES), "maps": f(MAPS)}, vmax=1),
        "patch_grid": lambda f: plots.patch_grid(f(IMAGES)[0], 4),
        "matrix": lambda f: plots.matrix(f(MAPS[0]), numbers=".2f"),
        "lines": lambda f: plots.lines({"a": (range(4), f(MAPS[0, 0]))}, levels={"b": f(MAPS[0, 0])[1]}),
        "bars": lambda f: plots.bars({"a": f(MAPS[0, 0])[1], "b": 2.0}, errors={"a": f(MAPS[0, 0])[2], "b": 0.1}),
        "curves": lambda f: plots.curves([{"epoch": n, "train_loss": f(MAPS[0, 0])[n], "train_accuracy": 0.5}
                                          for n in range(3)]),
        "confusion": lambda f: plots.confusion(f(MAPS[0]), list("abcd")),
        "attention_grid": lambda f: plots.attention_grid(f(MAPS[None]), f(IMAGES)[0]),
        "overlay": lambda f: plots.overlay(f(IMAGES), f(MAPS))}


def inference(x):
    with torch.inference_mode():
        return x * 1


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).astype(int)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DRAW)
def test_every_figure_takes_any_tensor_or_array(name, kind):
    assert (pixels(DRAW[name](KINDS[kind])) < 200).any()


@pytest.mark.parametrize("name", ["image_grid", "attention_grid", "overlay", "patch_grid"])
def test_the_kind_of_tensor_does_not_change_the_figure(name):
    plain = pixels(DRAW[name](lambda x: x))
    for kind in ("with gradients", "double", "a list of tensors"):
        assert abs(pixels(DRAW[name](KINDS[kind])) - plain).max() <= 1, kind


def test_arrays_keep_their_numbers():
    x = torch.tensor([1.5, -2], requires_grad=True)
    for values in (x, x.bfloat16(), x.half(), [x[0], x[1]], x.detach().numpy(), [1.5, -2]):
        assert as_array(values).tolist() == [1.5, -2]
        assert as_array(values).dtype in (np.float32, np.float64)
    assert as_array(torch.tensor([2**40 + 1])).tolist() == [2**40 + 1]
    assert as_array(torch.tensor([True])).dtype == bool


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("level", [0.0, -1.0])
def test_an_overlay_of_a_map_that_is_nowhere_positive_is_dark(level):
    lit = plots.overlay(torch.ones(2, 3, 8, 8), torch.stack([torch.full((4, 4), level), torch.ones(4, 4)]))
    dark, bright = (axis.images[0].get_array() for axis in lit.axes[2:])
    assert np.allclose(dark, 0.15) and np.allclose(bright, 1)


@pytest.mark.filterwarnings("error")
def test_a_class_without_images_has_a_row_of_zeros():
    plots.confusion([[3, 1], [0, 0]], ["a", "b"])


@pytest.mark.parametrize(("call", "words"), [
    (lambda: plots.overlay(IMAGES, torch.full((2, 4, 4), torch.nan)), r"of finite numbers, got \(2, 4, 4\), not all"),
    (lambda: plots.overlay(IMAGES, MAPS[0]), r"maps \(B, rows, columns\) of finite numbers, got \(4, 4\)"),
    (lambda: plots.overlay(IMAGES[:0], MAPS[:0]), r"got \(0, 4, 4\)"),
    (lambda: plots.overlay(IMAGES[:1], MAPS), r"1 images of 8×8 .* maps \(2, 4, 4\): each needs its map"),
    (lambda: plots.overlay(IMAGES, MAPS[:, :3]), r"8×8 pixels do not fit maps \(2, 3, 4\)"),
    (lambda: plots.attention_grid(MAPS), r"maps \(L, h, rows, columns\) .* got \(2, 4, 4\)"),
    (lambda: plots.attention_grid(torch.full((1, 1, 2, 2), torch.inf)), "not all of them finite"),
    (lambda: plots.image_grid(IMAGES[:0]), "one or more images and a label for each, got 0 images"),
    (lambda: plots.image_grid(IMAGES, ["a"]), "got 2 images and 1 labels"),
    (lambda: plots.image_rows({}), "at least one row with an image"),
    (lambda: plots.image_rows({"a": []}), "at least one row with an image"),
    (lambda: plots.patch_grid(IMAGES[0], 3), "3 does not divide image_size 8; .* 1, 2, 4, 8"),
    (lambda: plots.matrix(MAPS), r"values \(rows, columns\), got \(2, 4, 4\)"),
    (lambda: plots.confusion(MAPS[0], ["a", "b"]), r"2 classes need counts \(2, 2\), got \(4, 4\)"),
    (lambda: as_picture(torch.zeros(2, 8, 8)), r"1, 3 or 4 channels, or a map \(H, W\), got \(2, 8, 8\)"),
    (lambda: as_picture(IMAGES), r"got \(2, 3, 8, 8\)"),
    (lambda: as_picture(torch.zeros(3, 8, 8, dtype=torch.int64)), "uint8 in 0…255 or floats in 0…1, got int64")])
def test_what_cannot_be_drawn_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_grey_images_can_be_drawn():
    for figure in (plots.patch_grid(torch.rand(1, 8, 8), 4), plots.overlay(torch.rand(2, 1, 8, 8), MAPS)):
        assert (pixels(figure) < 200).any()


def test_without_windows_figures_are_closed_so_that_many_fill_no_memory():
    before = plt.get_fignums()
    for draw in DRAW.values():
        draw(lambda x: x)
    assert plt.get_fignums() == before


def test_in_a_script_with_a_window_show_shows_all_figures(tmp_path):
    """The window is a fake: a canvas that says it needs one, and a show that writes down what is open."""
    (tmp_path / "windowed.py").write_text('''
from matplotlib.backend_bases import FigureManagerBase, _Backend
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cbook import _get_running_interactive_framework

class FigureManager(FigureManagerBase):
    pass

class FigureCanvas(FigureCanvasAgg):
    required_interactive_framework = _get_running_interactive_framework() or "headless"
    manager_class = FigureManager

@_Backend.export
class _Windowed(_Backend):
    FigureCanvas, FigureManager = FigureCanvas, FigureManager

    @staticmethod
    def show(*args, **kwargs):
        from matplotlib.pyplot import get_fignums
        print("shown", get_fignums())
''', encoding="utf-8")
    script = '''
import matplotlib.pyplot as plt
from vitlib import plots
plots.bars({"a": 1})
plots.matrix([[1, 2]])
plt.show()
'''
    for backend, expected in (("module://windowed", "shown [1, 2]"), ("agg", "")):
        paths = os.pathsep.join([str(tmp_path), str(Path(plots.__file__).parents[1])])
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120,
                              env=os.environ | {"MPLBACKEND": backend, "PYTHONPATH": paths})
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == expected
