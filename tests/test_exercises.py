"""Every exercise is sound, and the proof of it would notice if it were not."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest

from dnl_course import paths
from dnl_course.classroom import registry
from dnl_course.classroom.task import Mistake
from dnl_course.workshop import derive, prove, rehearse

REPOSITORY = paths.root()


@pytest.mark.parametrize("number", registry.exercises())
def test_exercise_is_proved(number):
    proof = prove.prove([number])
    assert proof.ok, proof.text
    assert len(proof.seconds) >= 18


def test_lesson_00_shows_a_check_that_passes_and_one_that_names_a_mistake():
    cells = {c.id: c for c in nbformat.read(next((paths.root() / "notebooks").glob("00_*")), as_version=4).cells}
    right, wrong = (cells[i].outputs[0].data["text/html"] for i in ("00-right", "00-wrong"))
    assert "dnl-passed" in right and "dnl-wrong" in wrong and "one row and one column early" in wrong


# ------------------------------------------------------------------ the proof can fail


def spoilt(monkeypatch, task_id, **changes):
    """Put a changed task into exercise 01 and return what the proof finds at fault."""
    exercise = registry.exercise("01")
    tasks = tuple(dataclasses.replace(t, **changes) if t.id == task_id else t for t in exercise.tasks)
    number = tasks.index(next(t for t in tasks if t not in exercise.tasks))
    changed = dataclasses.replace(exercise, tasks=tasks[number : number + 1])
    monkeypatch.setattr(prove.registry, "exercise", lambda number: changed)
    monkeypatch.setattr(prove.derive, "derive", lambda check: [])  # needs all tasks; has its own tests below
    return "\n".join(prove.prove(["01"], notebooks=False).faults)


@pytest.mark.parametrize(
    ("name", "power", "fault"),
    [
        ("cubed", 3, "cubed is not written a second time"),
        ("none", 1, "none cannot be told from the right answer"),
        ("twin", 2, "twin cannot be told from squared_twice"),
    ],
)
def test_a_mistake_that_proves_nothing_is_found(monkeypatch, name, power, fault):
    extra = Mistake(name, "Something else is wrong.", ({"power": power},))
    assert fault in spoilt(monkeypatch, "01.2", mistakes=(*registry.task("01.2").mistakes, extra))


def test_a_missing_mistake_is_found(monkeypatch):
    task = registry.task("01.1")
    faults = spoilt(monkeypatch, "01.1", mistakes=task.mistakes[1:])
    assert "sum is proved but not in the bank" in faults and "sum (writing 1, seed 0) is called" in faults


def test_a_wrong_reference_is_found(monkeypatch):
    right = registry.task("01.2").reference

    def pixel_weights(distances, h, **switches):
        return right(distances, h, **{"power": 2, **switches})

    assert "right answer 1 (seed 0) is wrong" in spoilt(monkeypatch, "01.2", reference=pixel_weights)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"id": "02.1"}, "the id is not EE.T"),
        ({"minutes": 20}, "at most 15"),
        ({"hints": ("a", "a", "b")}, "three different hints"),
    ],
)
def test_disorder_is_found(monkeypatch, changes, fault):
    assert fault in spoilt(monkeypatch, "01.1", **changes)


# ------------------------------------------------------------------ deriving


@pytest.fixture
def small_course(course):
    for folder in ("solutions", "exercises"):
        source = REPOSITORY / folder / "01_non_local_means.ipynb"
        (course / folder / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    return course


def test_derived_equals_committed():
    assert derive.derive(check=True) == []


def test_an_exercise_edited_by_hand_is_found_and_mended(small_course):
    path = small_course / "exercises" / "01_non_local_means.ipynb"
    original = path.read_text(encoding="utf-8")
    path.write_text(original.replace("Exercise 01", "Exercise 1"), encoding="utf-8")
    (small_course / "exercises" / "09_gone.ipynb").write_text("{}")
    assert derive.derive(check=True) == ["exercises/01_non_local_means.ipynb", "exercises/09_gone.ipynb"]
    derive.derive()
    assert path.read_text(encoding="utf-8") == original and derive.derive(check=True) == []


def test_exercises_hold_no_answers_and_no_outputs():
    for path in (REPOSITORY / "exercises").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        text = "\n".join(c.source for c in notebook.cells)
        assert "SOLUTION" not in text and "raise NotImplementedError()" in text
        assert not any(c.get("outputs") for c in notebook.cells)
        solution = nbformat.read(REPOSITORY / "solutions" / path.name, as_version=4)
        assert [c.id for c in notebook.cells] == [c.id for c in solution.cells]


def test_a_solution_that_breaks_the_format_is_named(small_course):
    path = small_course / "solutions" / "01_non_local_means.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("### END SOLUTION", "### THE END"), encoding="utf-8")
    with pytest.raises(ValueError, match="01_non_local_means.ipynb"):
        derive.derive()


# ------------------------------------------------------------------ what takes long: `make test-all`


@pytest.mark.slow
@pytest.mark.parametrize("number", registry.exercises())
def test_exercise_is_proved_on_many_seeds(number, monkeypatch):
    monkeypatch.setattr(prove, "SEEDS", range(3, 30))
    proof = prove.prove([number], notebooks=False)
    assert proof.ok, proof.text


@pytest.mark.slow
@pytest.mark.parametrize("solution", sorted((REPOSITORY / "solutions").glob("*.ipynb")), ids=lambda p: p.name)
def test_nbgrader_gives_full_marks_to_solutions_and_none_to_exercises(solution, tmp_path):
    def validated(path):
        shutil.copy(path, tmp_path / path.name)
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", "validate", path.name], cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "DNL_ROOT": str(REPOSITORY)},
        )  # fmt: skip
        return done.stdout + done.stderr

    said = validated(solution)
    assert "Success! Your notebook passes all the tests." in said and "partial credit" not in said
    failed = validated(REPOSITORY / "exercises" / solution.name)
    assert failed.count("The following cell failed") == len(registry.exercise(solution.name[:2]).tasks)


# ------------------------------------------------------------------ dnl check


def notebook_with(tmp_path, **cells):
    """Write exercise 01 with some task cells answered; return its path."""
    notebook = json.loads((REPOSITORY / "exercises" / "01_non_local_means.ipynb").read_text(encoding="utf-8"))
    notebook["cells"] = [c for c in notebook["cells"] if c["id"].startswith(("01-setup", "task", "check"))]
    for cell in notebook["cells"]:
        cell["source"] = cells.get(cell["id"].replace("-", "_"), cell["source"])
    path = tmp_path / "mine.ipynb"
    path.write_text(json.dumps(notebook))
    return path


def test_a_notebook_is_run_from_its_first_cell(tmp_path):
    path = notebook_with(
        tmp_path,
        task_01_1="def patch_distance(image, i, j, patch_size):\n    return gone(image)",
        task_01_2="def pixel_weights(distances, h):\n    return np.exp(-distances / h**2)",
        task_01_3="def denoised_pixel(image, pixel, weights) return 1",
    )
    report = rehearse.check_notebook("01", path)
    assert not report.ok and "0 of 12 points" in report.text
    assert "Name 'gone' is not defined" in report.text and "divide by their sum" in report.text
    assert "SyntaxError" in report.text and "no check of this task was run" in report.text


def test_saved_outputs_count_for_nothing(tmp_path):
    path = tmp_path / "copied.ipynb"
    notebook = json.loads((REPOSITORY / "solutions" / "01_non_local_means.ipynb").read_text(encoding="utf-8"))
    notebook["cells"] = [c for c in notebook["cells"] if c["id"].startswith("check")]  # ticks without answers
    path.write_text(json.dumps(notebook))
    report = rehearse.check_notebook("01", path)
    assert not report.ok and "0 of 12 points" in report.text


def test_missing_and_broken_notebooks(course):
    with pytest.raises(FileNotFoundError, match="no copy of exercise 01|part of the lesson"):
        rehearse.check_notebook("01")
    with pytest.raises(LookupError, match="Did you mean 01"):
        rehearse.check_notebook("1")
    (course / "broken.ipynb").write_text("{")
    with pytest.raises(ValueError, match="dnl reset 01"):
        rehearse.check_notebook("01", course / "broken.ipynb")


def test_outputs_after_a_dead_kernel_count_for_nothing(tmp_path):
    path = tmp_path / "dead.ipynb"
    notebook = json.loads((REPOSITORY / "solutions" / "01_non_local_means.ipynb").read_text(encoding="utf-8"))
    notebook["cells"][1]["source"] = "import os; os._exit(1)"
    path.write_text(json.dumps(notebook))
    report = rehearse.check_notebook("01", path)
    assert "0 of 12 points" in report.text and "The kernel died in cell 01-setup" in report.text


def test_an_endless_cell_is_named_and_a_flood_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearse, "CELL_SECONDS", 3)
    endless = "def patch_distance(image, i, j, patch_size):\n    while True:\n        pass"
    report = rehearse.check_notebook("01", notebook_with(tmp_path, task_01_1=endless))
    assert "Cell check-01-1 took more than 3 s (an endless loop?)" in report.text
    flood = "while True:\n    print('x' * 10_000)"
    report = rehearse.check_notebook("01", notebook_with(tmp_path, task_01_1=flood))
    assert "Cell task-01-1 took more than 3 s" in report.text and len(report.text) < 10_000


def test_the_exercise_itself_is_checked_and_what_lies_beside_it_is_named(small_course):
    folder = small_course / "work" / "exercises"
    folder.mkdir(parents=True)
    for name in ("01_non_local_means.ipynb", "01_non_local_means-Copy1.ipynb"):
        shutil.copy(REPOSITORY / ("solutions" if "Copy" in name else "exercises") / "01_non_local_means.ipynb", folder / name)
    report = rehearse.check_notebook("01")
    assert not report.ok
    assert "Checked: 01_non_local_means.ipynb. Beside it lie 01_non_local_means-Copy1.ipynb." in report.text


@pytest.mark.parametrize("text", ["[]", "{}", '{"cells": 3}', "\udcff"])
def test_what_is_no_notebook_is_said_to_be_none(course, text):
    (course / "x.ipynb").write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match="cannot be read as a notebook"):
        rehearse.check_notebook("01", course / "x.ipynb")


def test_forged_results_do_not_break_the_report(tmp_path):
    forged = "from IPython.display import HTML\nHTML(\"<div class='dnl-result dnl-passed'></div>\")"
    assert "0 of 12 points" in rehearse.check_notebook("01", notebook_with(tmp_path, task_01_1=forged)).text
