"""``dnl dev check``: prove that every exercise is sound before a learner meets it.

Unsolved → "not attempted"; solved → passed; every known mistake, written a second time in another style
(``tests/exercises/``), → its own sentence; other right answers → passed; exercises equal what is derived from the
solutions; ids, points, minutes and hints are in order; checks are fast.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np

from .. import paths
from ..classroom import registry
from ..classroom.counting import counting
from ..classroom.engine import examine
from ..classroom.judge import probes_of
from ..classroom.probe import Observation
from ..classroom.recognise import all_close
from ..classroom.task import Exercise, Task
from ..classroom.verdict import NOT_ATTEMPTED, PASSED
from . import derive

SEEDS = (0, 1, 2)  # 0 is the notebook's; a grader draws others
MEDIAN_SECONDS, LONGEST_SECONDS = 0.2, 2.0
ALTERNATIVES = 3  # right answers in other styles, at least


@dataclass
class Proof:
    """What was proved: faults (none: all is well) and a line per exercise."""

    faults: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is at fault."""
        return not self.faults

    @property
    def text(self) -> str:
        """The report."""
        times = ""
        if self.seconds:
            times = f"{len(self.seconds)} checks, median {statistics.median(self.seconds):.3f} s, longest {max(self.seconds):.2f} s"
        return "\n".join([*self.lines, times, *(f"✗ {fault}" for fault in self.faults), "✓ all proved" if self.ok else ""]).strip()


def prove(exercises: Sequence[str] | None = None, *, notebooks: bool = True) -> Proof:
    """Prove all exercises, or some.

    Parameters
    ----------
    exercises : sequence of str, optional
        For example ``["01"]``.
    notebooks : bool
        Also execute the exercise and solution notebooks (some seconds each).

    Returns
    -------
    Proof

    Raises
    ------
    LookupError
        When there is no such exercise.
    """
    from tqdm.auto import tqdm

    with counting("tensor"):  # the first time takes a second, which is no check's own
        pass
    proof = Proof()
    chosen = [registry.exercise(n) for n in (exercises or registry.exercises())]
    for exercise in tqdm(chosen, desc="proving", unit="exercise", disable=None):
        before = len(proof.faults)
        bank = proofs_of(exercise.number)
        for task in exercise.tasks:
            proof.faults += [f"{task.id}: {f}" for f in (*_in_order(task, exercise), *_distinct(task))]
            proof.faults += [f"{task.id}: {f}" for f in _judged(task, exercise, bank, proof.seconds)]
        names = [t.function for t in exercise.tasks]
        if len(set(names)) < len(names):
            proof.faults.append(f"exercise {exercise.number}: two tasks ask for a function of the same name.")
        if notebooks and _notebook("solutions", exercise):
            proof.faults += [f"exercise {exercise.number}: {f}" for f in _notebooks(exercise)]
        wrong = sum(len(v) for t in exercise.tasks for v in bank.WRONG.get(t.id, {}).values())
        right = sum(len(bank.RIGHT.get(t.id, ())) for t in exercise.tasks)
        mark = "✓" if len(proof.faults) == before else "✗"
        proof.lines.append(f"{mark} exercise {exercise.number}: {len(names)} tasks, {wrong} wrong answers named, {right} other right ones accepted")
    proof.faults += [f"{name} differs from what `make exercises` derives." for name in derive.derive(check=True)]
    if proof.seconds and statistics.median(proof.seconds) > MEDIAN_SECONDS:
        proof.faults.append(f"the median check takes {statistics.median(proof.seconds):.2f} s (allowed: {MEDIAN_SECONDS} s).")
    if max(proof.seconds, default=0) > LONGEST_SECONDS:
        proof.faults.append(f"a check takes {max(proof.seconds):.2f} s (allowed: {LONGEST_SECONDS} s).")
    return proof


def proofs_of(number: str) -> ModuleType:
    """Return ``tests/exercises/exNN.py``: WRONG (task → mistake → functions) and RIGHT (task → functions)."""
    path = paths.root() / "tests" / "exercises" / f"ex{number}.py"
    if not path.is_file():
        raise LookupError(f"exercise {number} has no proofs: write tests/exercises/ex{number}.py.")
    spec = importlib.util.spec_from_file_location(f"proofs_ex{number}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _in_order(task: Task, exercise: Exercise) -> Iterator[str]:
    if not re.fullmatch(rf"{exercise.number}\.[1-9]", task.id):
        yield "the id is not EE.T."
    if not 1 <= task.minutes <= 15 or task.difficulty not in (1, 2, 3):
        yield f"{task.minutes} minutes, difficulty {task.difficulty}: at most 15, and 1 to 3."
    if len(task.hints) != 3 or len({h.strip() for h in task.hints if h.strip()}) != 3:
        yield "three different hints are needed."
    entries = [*task.mistakes, *task.limits]
    ids, sentences = [e.id for e in entries], [e.sentence for e in entries]
    if len(set(ids)) < len(ids) or not all(re.fullmatch(r"[a-z0-9_]+", i) for i in ids):
        yield "mistake ids must be unique, in lower case."
    if len(set(sentences)) < len(sentences) or not all(s.endswith(".") for s in sentences):
        yield "each mistake needs its own sentence, with a full stop."


def _distinct(task: Task) -> Iterator[str]:
    """Each mistake must differ from the right answer and from every other mistake on the probes."""
    for seed in SEEDS:
        inputs = [p.inputs for p in probes_of(task, seed) if p.measure is None]
        if task.symbolic:
            from ..classroom.algebra import at_points

            inputs = [p.inputs for p in at_points(task, seed, [(i, Observation()) for i in inputs])]
        outcomes = [("the right answer", [_outcome(task, i, {}) for i in inputs])]
        for mistake in task.mistakes:
            own = []
            for switches in mistake.variants:
                outcome = [_outcome(task, i, switches) for i in inputs]
                for name, other in outcomes:
                    if all(_equal(a, b) for a, b in zip(outcome, other)):
                        yield f"{mistake.id} cannot be told from {name} (seed {seed})."
                own.append((mistake.id, outcome))
            outcomes += own


def _outcome(task: Task, inputs, switches):
    try:
        with np.errstate(all="ignore"):
            return task.expected(inputs, **switches)
    except Exception as error:  # noqa: BLE001  some mistakes raise
        return type(error).__name__


def _equal(a, b) -> bool:
    return a == b if isinstance(a, str) or isinstance(b, str) else all_close(a, b, 1e-6)


def _judged(task: Task, exercise: Exercise, bank: ModuleType, seconds: list[float]) -> Iterator[str]:
    def look(function, seed):
        start = time.perf_counter()
        verdict = examine(task, exercise, function, seed)
        seconds.append(time.perf_counter() - start)
        return verdict

    wrong, right = bank.WRONG.get(task.id, {}), bank.RIGHT.get(task.id, ())
    known = {e.id for e in (*task.mistakes, *task.limits)}
    noted = {limit.id: limit.sentence.split("{")[0] for limit in task.limits if limit.note}  # right, with a remark
    for name in sorted(known - set(wrong)):
        yield f"{name} is not written a second time."
    for name in sorted(set(wrong) - known):
        yield f"{name} is proved but not in the bank."
    if len(right) < ALTERNATIVES:
        yield f"{len(right)} right answers in other styles; {ALTERNATIVES} are needed."
    for seed in SEEDS:
        for name, functions in wrong.items():
            for number, function in enumerate(functions):
                verdict = look(function, seed)
                if name in noted and verdict.status == PASSED and any(noted[name] in note for note in verdict.notes):
                    continue
                if verdict.mistake != name:
                    yield f"{name} (writing {number + 1}, seed {seed}) is called {verdict.mistake or verdict.status!r}."
        for number, function in enumerate(right):
            verdict = look(function, seed)
            if verdict.status != PASSED:
                yield f"right answer {number + 1} (seed {seed}) is {verdict.status}: {verdict.sentence}"


def _notebook(folder: str, exercise: Exercise):
    found = sorted((paths.root() / folder).glob(f"{exercise.number}_*.ipynb"))
    return found[0] if found else None


def _notebooks(exercise: Exercise) -> Iterator[str]:
    import nbformat

    from . import execute

    solution, unsolved = _notebook("solutions", exercise), _notebook("exercises", exercise)
    if unsolved is None:
        yield "there is no exercise notebook: run `make exercises`."
        return
    yield from _cells_in_order(exercise, nbformat.read(solution, as_version=4))
    for path, wanted in ((unsolved, NOT_ATTEMPTED), (solution, PASSED)):
        run = execute.execute(path)
        yield from (f"{path.parent.name}/{fault}" for fault in run.faults)
        said = results_in(run.notebook)
        for task in exercise.tasks:
            if said.get(task.id) != wanted:
                yield f"{path.parent.name}/{path.name}: {task.id} is {said.get(task.id)!r}, not {wanted!r}."


def _cells_in_order(exercise: Exercise, notebook) -> Iterator[str]:
    cells = {c.metadata.get("nbgrader", {}).get("grade_id"): c for c in notebook.cells}
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    for task in exercise.tasks:
        dashed = task.id.replace(".", "-")
        cell, judged = cells.get(f"task-{dashed}"), cells.get(f"check-{dashed}")
        if cell is None or judged is None:
            yield f"{task.id} needs the cells task-{dashed} and check-{dashed}."
            continue
        if not _defines(cell.source, task):
            yield f"{task.id}: the cell does not define {task.function}({', '.join(task.parameters)})."
        if judged.metadata.nbgrader.get("points") != task.points:
            yield f"{task.id}: the check cell gives {judged.metadata.nbgrader.get('points')} points, the task {task.points}."
        facts = f"*difficulty {task.difficulty} · {task.minutes} minutes · {task.points} point{'s' * (task.points > 1)}*"
        if facts not in prose:
            yield f"{task.id}: the text does not say {facts}"


def _defines(source: str, task: Task) -> bool:
    """Whether a cell defines the task's function with its parameters; defaults do not matter."""
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
    return any(f.name == task.function and tuple(a.arg for a in f.args.args) == task.parameters for f in functions)


def results_in(notebook) -> dict[str, str]:
    """Return task id → status, from the results that an executed notebook shows.

    Examples
    --------
    >>> import nbformat.v4 as v4
    >>> from dnl_course.classroom.report import Result
    >>> made = Result("01.1", "patch_distance", "passed")
    >>> output = v4.new_output("execute_result", {"text/plain": str(made), "text/html": made._repr_html_()})
    >>> results_in(v4.new_notebook(cells=[v4.new_code_cell("", outputs=[output])]))
    {'01.1': 'passed'}
    """
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            status = re.search(r"class='dnl-result dnl-([a-z-]+)'", data.get("text/html", ""))
            task = re.match(r"\S (\d\d\.\d)", data.get("text/plain", ""))
            if status and task:
                found[task[1]] = status[1].replace("-", " ")
    return found
