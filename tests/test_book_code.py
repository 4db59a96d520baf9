"""The chapters and the library never differ, and the notebooks are as they should be committed.

`python book/tools/notebooks.py` copies the library's text into the chapters and cleans the notebooks.
"""

import ast
import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import vitlib

ROOT = Path(__file__).parents[1]
NOTEBOOKS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
CHAPTER = {stem: int(stem[:2]) for stem in NOTEBOOKS}

spec = importlib.util.spec_from_file_location("notebooks_tool", ROOT / "book" / "tools" / "notebooks.py")
tool = importlib.util.module_from_spec(spec)
sys.modules["notebooks_tool"] = tool
spec.loader.exec_module(tool)

# Public names that no chapter shows, and why. A whole module may stand here; `check_…` need not: they only raise errors.
NOT_SHOWN = {
    "plots": "how figures are drawn is not the subject",
    "diagrams": "how figures are drawn is not the subject",
    "heatmaps": "how figures are drawn is not the subject",
    "sketch": "how figures are drawn is not the subject",
    "query_maps": "how figures are drawn is not the subject",
    "looking": "how figures are drawn is not the subject",
    "arrays": "how figures are drawn is not the subject",
    "answers": "how figures are drawn is not the subject",
    "rotary.attention_kind": "chooses between the attention of chapter 5 and that of chapter 18",
    "modes": "`model.train()` with two additions, told in chapter 8",
    "guards": "error messages",
    "settings": "error messages",
    "parallel": "what the loop asks of torch.distributed, explained in its own docstrings",
    "cli": "the command line around the loop of chapter 8",
    "recipes": "configurations; chapter 8 prints what it uses",
    "shapes": "how the images are drawn is not the subject; chapter 1 shows the result",
    "vit.evaluating": "sets a mode and puts it back",
    "patches.is_count": "for error messages",
    "patches.divisors": "for error messages",
    "positions.square_side": "a square root, and error messages",
    "data.for_channels": "turns three numbers into a tensor (3, 1, 1)",
    "maps.tokens_before": "a subtraction, and error messages",
    "explain.differentiable": "switches on what the caller may have switched off",
    "data.ImageSet": "a container, described in chapter 1",
    "data.check_tensor": "error messages of ImageSet",
    "data.check_names": "error messages of ImageSet",
    "sources": "reading files",
    "decoding": "reading files",
    "folders": "reading files",
    "devices": "about the machine, not the model",
    "hub": "finding and fetching files",
    "published.read_weights": "reading files",
    "families.timm_names": "calls what chapter 15 shows, and error messages",
    "families.plain": "cuts a word off a name",
    "families.position_free_registers": "two additions for one family of weights, told in its docstring",
    "families.whose": "for error messages",
    "files.data_home": "reading files",
    "files.cache_homes": "reading files",
    "files.homes": "reading files",
    "augment.random_box": "for erasing and CutMix, whose pictures chapter 9 shows",
    "augment.random_erase": "chapter 9 shows what it does to an image",
    "augment.random_affine": "chapter 9 shows what it does to an image",
    "augment.random_colour": "chapter 9 shows what it does to an image",
    "augment.random_augment": "chapter 9 shows what it does to an image",
    "augment.beta": "draws from a known distribution",
    "effects": "how figures are drawn is not the subject",
    "muon": "chapter 9 writes the same step for one matrix, in ten lines, and its exercises build the rest",
    "augment.reflected": "stands in for an option of grid_sample",
    "optim.make_optimizers": "calls PyTorch's AdamW and Muon; chapter 8 checks its result",
    "optim.set_rate": "two loops around an assignment",
    "optim.finite_or_stop": "an error message",
    "train.TrainConfig": "a list of settings, printed where it is used",
    "train.augment_batch": "calls the functions of chapter 1 in a row",
    "train.autocast": "one line around torch.autocast",
    "train.warm_up": "keeps compilation out of the measured time",
    "data.on_device": "moves tensors",
    "train.quiet": "about progress bars",
    "checkpoint.describe": "a list of what two runs must have in common, told in chapter 8",
    "checkpoint.fingerprint": "a hash",
    "checkpoint.check_same_run": "an error message",
    "checkpoint.plain_names": "mends names",
    "checkpoint.smaller": "rounds numbers for a file",
    "checkpoint.check_is_plain": "an error message",
    "checkpoint.restore": "the mirror image of snapshot, which chapter 8 shows",
    "checkpoint.load_checkpoint": "reading files",
    "checkpoint.export_weights": "reading and writing files",
    "checkpoint.load_weights": "reading and writing files",
    "checkpoint.zoo": "reading files",
    "checkpoint.load_zoo": "reading files",
    "checkpoint.load_record": "reading files",
    "checkpoint.save_record": "writing files",
    "mae.MAEConfig": "a list of settings",
    "checkpoint.environment": "what a record says of its machine",
    "checkpoint.class_names": "reading files",
    "frozen": "keeps what chapter 15 computes, and tries its probe with several decays",
    "photos": "reading files; the split is that of chapter 1, with copies kept together",
    "figures": "how figures are drawn is not the subject",
    "report": "what the command prints and draws",
    "finetune": "the command around what chapters 8 and 15 build",
    "predicting": "reading files and writing a table",
    "comparing": "reading files, and a difference of logits",
    "exporting": "calls torch.export, torch.onnx and ONNX Runtime, and writes files",
    "commands": "the command line around finetune, predict and export",
    "adapters.heads": "a list of names",
    "adapters.form": "what a file says of its adapters",
    "adapters.read_adapter": "reading files",
}


def code_cells(stem: str) -> list[dict]:
    return [cell for cell in NOTEBOOKS[stem]["cells"] if cell["cell_type"] == "code"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def public_names() -> dict[str, object]:
    """{"module.name": object} of every function and class that vitlib defines."""
    found = {}
    for info in pkgutil.iter_modules(vitlib.__path__):
        if not info.ispkg:
            module = importlib.import_module(f"vitlib.{info.name}")
            found |= {f"{info.name}.{name}": thing for name, thing in vars(module).items()
                      if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__
                      and (inspect.isfunction(thing) or inspect.isclass(thing))}
    return found


PUBLIC = public_names()
SHOWN = {name: stem for stem in NOTEBOOKS for cell in code_cells(stem) for name in tool.shown(cell)}


def built_in(name: str) -> int | None:
    """The chapter that a docstring names in its last sentence."""
    found = re.search(r"Built in chapter (\d+)\.$", inspect.getdoc(PUBLIC[name]) or "")
    return int(found[1]) if found else None


def test_there_are_chapters():
    assert len(NOTEBOOKS) >= 9


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_library_cells_equal_the_library(stem):
    for cell in code_cells(stem):
        assert ("vitlib" in cell["metadata"].get("tags", [])) == bool(tool.shown(cell)), "the tag and the names go together"
        if tool.shown(cell):
            assert source(cell) == "\n\n\n".join(map(tool.library_source, tool.shown(cell))), "run book/tools/notebooks.py"


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_progress_bars_stay_out_of_the_site(stem):
    for cell in code_cells(stem):
        if re.search(r"\bfit\(", source(cell)) and not tool.shown(cell):
            assert "remove-stderr" in cell["metadata"].get("tags", []), f"{cell['id']} trains: give it the tag remove-stderr"


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_a_notebook_is_committed_clean(stem):
    text = (ROOT / "notebooks" / f"{stem}.ipynb").read_text(encoding="utf-8")
    assert text == tool.as_text(tool.mend(json.loads(text), stem)), "run book/tools/notebooks.py"
    ids = [cell["id"] for cell in NOTEBOOKS[stem]["cells"]]
    assert len(set(ids)) == len(ids)


def test_every_public_name_is_shown_once_or_listed_with_a_reason():
    shown = [name for stem in NOTEBOOKS for cell in code_cells(stem) for name in tool.shown(cell)]
    assert len(shown) == len(set(shown)), "a definition is shown in two places"
    listed = {name for name in PUBLIC if name in NOT_SHOWN or name.split(".")[0] in NOT_SHOWN or ".check_" in name}
    assert set(PUBLIC) == listed | set(shown)
    assert not listed & set(shown), "shown, so no reason is needed"
    assert all(name in PUBLIC or name in {n.split(".")[0] for n in PUBLIC} for name in NOT_SHOWN), "a listed name is gone"


def test_docstrings_name_the_chapter_that_shows_them():
    assert {name: built_in(name) for name in PUBLIC if built_in(name)} == {name: CHAPTER[stem] for name, stem in SHOWN.items()}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring(name):
    assert inspect.getdoc(PUBLIC[name]), f"{name} says nothing of itself"


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_a_chapter_imports_only_what_earlier_chapters_built(stem):
    for cell in code_cells(stem):
        for node in ast.walk(ast.parse(source(cell))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vitlib."):
                for alias in node.names:
                    name = f"{node.module.removeprefix('vitlib.')}.{alias.name}"
                    if name in PUBLIC and built_in(name):
                        assert built_in(name) < CHAPTER[stem], f"{name} is built in chapter {built_in(name)}"


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_no_other_cell_defines_a_public_name(stem):
    public = {name.split(".")[1] for name in PUBLIC if name.split(".")[0] not in ("diagrams", "sketch", "looking")}
    for cell in code_cells(stem):
        if not tool.shown(cell):
            defined = {n.name for n in ast.parse(source(cell)).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
            assert not defined & public, f"{defined & public} stand in an untagged cell"


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_cells_are_short_and_use_no_shell(stem):
    for cell in code_cells(stem)[1:]:
        assert not re.search(r"^\s*[!%]", source(cell), re.M), "a failing shell line would not stop the notebook"
        only_imports = all(isinstance(n, ast.Import | ast.ImportFrom) for n in ast.parse(source(cell)).body)
        assert tool.shown(cell) or only_imports or len(source(cell).splitlines()) <= 15, source(cell)


@pytest.mark.parametrize("stem", [stem for stem in NOTEBOOKS if CHAPTER[stem] <= 14])
def test_a_chapter_of_the_build_fits_a_telephone_shows_where_it_is_and_what_to_read_next(stem):
    for cell in code_cells(stem)[1:]:  # the first is the setup cell, and folded
        wide = [row for row in source(cell).splitlines() if len(row) > 76]
        assert tool.shown(cell) or not wide, f"more than 76 characters: {wide}"
    everything = "\n".join(map(source, NOTEBOOKS[stem]["cells"]))
    assert "diagrams.vit(" in everything
    reading = everything.split("Papers and further reading")
    assert len(reading) == 2 and 3 <= len(re.findall(r"^- .*\]\(http", reading[1], re.M)) <= 6


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_a_chapter_follows_the_template(stem):
    cells = NOTEBOOKS[stem]["cells"]
    first, everything = source(cells[0]), "\n".join(map(source, cells))
    assert cells[0]["cell_type"] == "markdown"
    assert re.match(rf"# {CHAPTER[stem]}\. .+\n\n\*\*After this chapter you can\*\* ", first)
    assert re.search(r"^\*\d+ minutes", first, re.M)
    for part in ("**Predict first.**", "A picture first", "What goes wrong", "Exercises", "Recap", "**Two mistakes to remember:**",
                 "**What comes next.**"):
        assert part in everything, f"{part!r} is missing"
    assert source(cells[1]).startswith(tool.SETUP.splitlines()[0])
    assert "assert " in everything
    for cell in cells:
        draws = re.search(r"(?<!return )\b(plots|diagrams|looking)\.(?!new_figure)\w+\(", source(cell))
        if draws and cell["cell_type"] == "code" and not tool.shown(cell):
            assert cell["metadata"].get("mystnb", {}).get("image", {}).get("alt"), f"no alternative text: {source(cell)}"


CORE = ["patches", "positions", "attention", "encoder", "vit", "data", "augment", "optim", "modes", "guards", "train", "checkpoint"]  # what chapters 1 to 8 build


def code_lines(path: Path) -> int:
    """Lines that are neither blank, nor comment, nor docstring."""
    text = path.read_text(encoding="utf-8")
    drop = {n for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
            for n in range(node.body[0].lineno, node.body[0].end_lineno + 1)}
    return sum(bool(row.strip()) and not row.strip().startswith("#") for n, row in enumerate(text.splitlines(), 1) if n not in drop)


def test_the_files_are_short_and_the_core_is_small():
    for path in (ROOT / "vitlib").glob("*.py"):
        rows = len(path.read_text(encoding="utf-8").splitlines())
        assert rows <= 250, f"{path.name} has outgrown two screens: does it hold two ideas?"
    assert sum(code_lines(ROOT / "vitlib" / f"{name}.py") for name in CORE) < 1100


def imported(path: Path) -> set[str]:
    """The modules of vitlib that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.level == 1 or (node.module or "").split(".")[0] == "vitlib"):
            inside = (node.module or "").removeprefix("vitlib").strip(".")
            found |= {inside.split(".")[0]} if inside else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("vitlib.")}
    return found


def test_the_map_names_every_file_and_a_file_imports_only_from_above():
    """So the imports form no circle, and the map is an order in which the package can be read."""
    body, beneath = vitlib.__doc__.split("For all of them\n")
    order, ground = (re.findall(r"^    (\w+)  +\S", part, re.M) for part in (body, beneath))
    files = {path.stem for path in (ROOT / "vitlib").glob("*.py")} - {"__init__", "__main__"}
    assert sorted(order + ground) == sorted(files)
    for i, name in enumerate(order):
        assert imported(ROOT / "vitlib" / f"{name}.py") <= {*order[:i], *ground}, name
    for name in ground:
        assert not imported(ROOT / "vitlib" / f"{name}.py"), name
    assert imported(ROOT / "vitlib" / "__main__.py") == {"cli"} and imported(ROOT / "vitlib" / "train.py") >= {"optim", "data"}


def test_only_the_drawing_files_import_matplotlib_and_nothing_knows_notebooks():
    for path in (ROOT / "vitlib").glob("*.py"):
        imported = {name.split(".")[0] for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for name in
                    ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else [])}
        assert "matplotlib" not in imported or path.name in ("plots.py", "sketch.py", "diagrams.py")
        assert not imported & {"IPython", "ipywidgets", "notebook"}


def test_every_cited_paper_is_in_the_bibliography():
    bibliography = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    cited = {number for path in (ROOT / "notebooks").glob("*.ipynb")
             for number in re.findall(r"arxiv\.org/abs/(\d+\.\d+)", path.read_text(encoding="utf-8"))}
    assert len(cited) > 10
    assert not {number for number in cited if f"{{{number}}}" not in bibliography}


def test_the_student_edition_has_the_chapters_without_their_solutions():
    spec = importlib.util.spec_from_file_location("student_tool", ROOT / "book" / "tools" / "student.py")
    student = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(student)
    for stem, notebook in NOTEBOOKS.items():
        text = json.dumps(student.without_solutions(notebook))
        assert "<summary>Solution</summary>" not in text
        assert text.count("### Exercise") == json.dumps(notebook).count("### Exercise") >= 3, stem
