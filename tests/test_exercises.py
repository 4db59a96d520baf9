"""Each checker accepts the chapter's own solution and names every known mistake by a message of its own."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEFINING = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
KIND = r"predict|build|investigate|experiment|build in stages \((\d) of (\d)\)"
HEADING = re.compile(rf"^### Exercise (\d+\.\d+) · ({KIND}) · ●+ · \d+ minutes$", re.M)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def definitions(cells: list[dict]) -> str:
    """All imports, functions and classes that stand at the top level of a chapter's code cells."""
    kept = []
    for cell in cells:
        if cell["cell_type"] == "code":
            nodes = ast.parse("".join(cell["source"])).body
            kept += [ast.unparse(node) for node in nodes if isinstance(node, DEFINING)]
    return "\n".join(kept)


def exercises(path: Path) -> dict[str, dict]:
    """{"2.1": {"starter", "check", "solution", "definitions"}} of a chapter."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found: dict[str, dict] = {}
    for cell in cells:
        text = "".join(cell["source"])
        if heading := HEADING.search(text):
            stage = int(heading[3] or 1)
            earlier = list(found.values())[len(found) - stage + 1:]  # the stages before: it may use their answers
            found[heading[1]] = current = {"kind": heading[2].split(" (")[0], "stage": (stage, int(heading[4] or 1)),
                                           "earlier": earlier, "code": [], "definitions": definitions(cells)}
        elif found and cell["cell_type"] == "code":
            current["code"].append(text)
        elif found and "solution" in cell["metadata"].get("tags", []):
            current["solution"] = re.search(r"```python\n(.*?)```", text, re.S)[1]
    for exercise in found.values():
        *exercise["starter"], exercise["check"] = exercise["code"][:2]
    return found


CHAPTERS = {path.stem: exercises(path) for path in NOTEBOOKS}
ALL = {number: e for chapter in CHAPTERS.values() for number, e in chapter.items()}


def wrong_answers(number: str) -> dict:
    return importlib.import_module(f"exercises.ch{int(number.split('.')[0]):02}").WRONG[number]


def verdict(number: str, answer: str):
    """What the checker says of an answer that stands in place of the starter cell."""
    space: dict = {}
    exec(ALL[number]["definitions"], space)
    exec(f"from vitlib.checks import ch{int(number.split('.')[0]):02}", space)
    for stage in ALL[number]["earlier"]:
        exec(stage["solution"], space)
    exec(answer, space)
    return eval(ALL[number]["check"], space)


@pytest.mark.parametrize("stem", CHAPTERS)
def test_a_chapter_has_three_exercises_of_which_one_is_built(stem):
    assert len(CHAPTERS[stem]) >= 3
    assert all({"starter", "check", "solution"} <= set(e) for e in CHAPTERS[stem].values())
    assert any("NotImplementedError" in e["starter"][0] for e in CHAPTERS[stem].values())


@pytest.mark.parametrize("stem", [stem for stem in CHAPTERS if int(stem[:2]) <= 14])
def test_a_chapter_of_the_build_has_an_open_experiment_and_most_a_build_in_stages(stem):
    kinds = [e["kind"] for e in CHAPTERS[stem].values()]
    assert len(kinds) >= 5 and kinds.count("experiment") >= 1
    assert "build in stages" in kinds or int(stem[:2]) in (1, 10, 11, 13, 14), "these compare more than they build"


@pytest.mark.parametrize("stem", CHAPTERS)
def test_the_stages_of_a_build_follow_each_other(stem):
    following = [e["stage"] for e in CHAPTERS[stem].values() if e["kind"] == "build in stages"]
    assert following == [(k, n) for _, n in following[:1] for k in range(1, n + 1)], f"stages in the order {following}"


@pytest.mark.parametrize("number", ALL)
def test_the_solution_is_accepted(number):
    assert verdict(number, ALL[number]["solution"]).right, verdict(number, ALL[number]["solution"])


@pytest.mark.parametrize("number", ALL)
def test_the_untouched_starter_is_told_that_there_is_no_answer_yet(number):
    said = verdict(number, ALL[number]["starter"][0])
    assert not said.right
    assert "no answer yet" in said.message


@pytest.mark.parametrize("number", ALL)
def test_every_known_mistake_is_named_by_a_message_of_its_own(number):
    said = {}
    for mistake, (code, fragment) in wrong_answers(number).items():
        answer = verdict(number, code)
        assert not answer.right, f"{number}: {mistake!r} was accepted"
        assert fragment in answer.message, f"{number}: {mistake!r} was told: {answer.message}"
        said[mistake] = answer.message
    assert len(said) >= 3
    assert len(set(said.values())) == len(said), f"{number}: two mistakes get the same message"
