"""``check`` and ``hint``: what a learner calls; neither ever raises in their hands."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import log, registry, source
from .judge import judge, probes_of, whole_answer
from .probe import observe
from .report import Result, as_html, result
from .task import Exercise, Task
from .verdict import NOT_ATTEMPTED, PASSED, REFUSED, WRONG, Verdict

SEED = 0  # in a notebook the same inputs every time, so that a learner can compare; a grader draws fresh ones


def check(task_id: str, function: Any = None, *, seed: int = SEED) -> Result:
    """Check one task and name the mistake.

    Parameters
    ----------
    task_id : str
        For example ``"01.1"``.
    function : callable
        Your function: the function itself, not its result.
    seed : int
        Draws the inputs it is called with.

    Returns
    -------
    Result
        Shows itself in a notebook; ``bool(result)`` tells whether the task is solved.

    Raises
    ------
    AssertionError
        Only under nbgrader, which reads marks from exceptions.

    Examples
    --------
    >>> import numpy as np
    >>> def patch_distance(image, i, j, patch_size):
    ...     r = patch_size // 2
    ...     a, b = (image[y - r : y + r + 1, x - r : x + r + 1] for y, x in (i, j))
    ...     return ((a - b) ** 2).sum()
    >>> print(check("01.1", patch_distance).mistake)
    sum
    """
    start = time.perf_counter()
    try:
        task = registry.task(str(task_id))
    except LookupError as error:
        return Result(str(task_id), "", WRONG, str(error.args[0]), mistake="layer:no_task")
    try:
        with np.errstate(all="ignore"):  # a learner's 1e308 must not warn in our arithmetic
            verdict = examine(task, registry.exercise_of(task.id), function, seed)
            made = result(task, verdict, _pointer(task, verdict))
    except KeyboardInterrupt:
        verdict = Verdict(WRONG, "It was stopped before it ended: is there an endless loop?", mistake="layer:interrupted")
        made = result(task, verdict)
    except Exception as error:  # noqa: BLE001  a fault of ours must not look like the learner's
        verdict = Verdict(
            WRONG, f"The check itself failed ({type(error).__name__}: {error}); this is not your mistake, please report it.",
            mistake="layer:check_failed",
        )  # fmt: skip
        made = result(task, verdict)
    seconds = round(time.perf_counter() - start, 3)
    log.append({"task": task.id, "verdict": verdict.status, "mistake": verdict.mistake, "seconds": seconds})
    if "NBGRADER_EXECUTION" in os.environ:
        if not made.passed:
            raise AssertionError(str(made))
        made.mark = task.points
    return made


def examine(task: Task, exercise: Exercise, function: Any, seed: int) -> Verdict:
    """Look at the function without running it, then probe and judge it."""
    early = _not_a_candidate(task, exercise, function)
    if early:
        return early
    recorded = registry.stub_fingerprints(exercise.number).get(task.id)
    if source.is_stub(function, recorded):
        return Verdict(NOT_ATTEMPTED, "")
    name = source.refused(function, exercise.forbidden, (*task.refused, *exercise.refused_names))
    if name:
        return whole_answer(name, exercise)
    probes = probes_of(task, seed)
    without = (*exercise.answer_modules, *exercise.refused)
    verdict = judge(task, exercise, seed, observe(function, probes, without, len(task.outputs), task))
    _blame_outside_data(task, function, verdict)
    return verdict


def _not_a_candidate(task: Task, exercise: Exercise, function: Any) -> Verdict | None:
    call = f'check("{task.id}", {task.function})'
    if function is None:
        return Verdict(WRONG, f"There is no function to check: call `{call}`.", mistake="layer:callable")
    if not callable(function):
        return Verdict(
            WRONG, f"You passed a {type(function).__name__}, not a function: call `{call}`, without calling {task.function} first.",
            mistake="layer:callable",
        )  # fmt: skip
    name = getattr(function, "__name__", "")
    for other in exercise.tasks:
        if name == other.function and other.id != task.id:
            return Verdict(
                WRONG, f"You passed `{name}`, the function of task {other.id}; task {task.id} checks `{task.function}`.",
                mistake="layer:other_task",
            )  # fmt: skip
    return None


def _blame_outside_data(task: Task, function: Callable, verdict: Verdict) -> None:
    """Say it when a function reads the notebook's arrays instead of its arguments."""
    data = source.outside_data(function)
    if not data:
        return
    arrays = [hasattr(v, "shape") for v in probes_of(task, SEED)[0].inputs.values()]
    unused = [name for name, position in source.unused_parameters(function) if arrays[position : position + 1] == [True]]
    names, its = ", ".join(f"`{n}`" for n in data), ", ".join(f"`{n}`" for n in unused)
    if verdict.status != PASSED and unused and verdict.mistake.startswith(("layer:", "general:")):
        verdict.sentence = f"Your function reads {names} from the notebook and never its argument {its}: use the argument."
        verdict.mistake = "layer:outside_data"
    else:
        verdict.notes.append(f"your function reads {names} from the notebook, not from its arguments.")


def _pointer(task: Task, verdict: Verdict) -> str:
    if verdict.status == PASSED or verdict.status == REFUSED:
        return ""
    if verdict.status == NOT_ATTEMPTED:
        return f"Write `{task.function}` in the cell above, run it, then run this cell again."
    number = log.hints_read(task.id) + 1
    if number > len(task.hints):
        return f'Look at the hints again: `hint("{task.id}", 1)`.'
    return f'Stuck? `hint("{task.id}")` shows hint {number} of {len(task.hints)}.'


@dataclass(frozen=True)
class Notice:
    """A line for the learner: a hint, or what was done."""

    text: str

    def __str__(self) -> str:
        return self.text.replace("`", "")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<div class='dnl-notice' style='border-left:4px solid #f9a825;padding:.3em .8em'>{as_html(self.text)}</div>"


def hint(task_id: str, number: int | None = None) -> Notice:
    """Show the next hint of a task; each is stronger than the one before.

    Parameters
    ----------
    task_id : str
        For example ``"01.2"``.
    number : {1, 2, 3}, optional
        A certain hint; without it the next one that was not shown yet.

    Examples
    --------
    >>> hint("01.2", 1)
    Hint 1 of 3 for 01.2: Two steps: an exponential that falls with the distance, then a division that makes the sum 1.
    """
    try:
        task = registry.task(str(task_id))
    except LookupError as error:
        return Notice(str(error.args[0]))
    count = len(task.hints)
    if number is None:
        number = min(log.hints_read(task.id) + 1, count)
    if not isinstance(number, int) or not 1 <= number <= count:
        return Notice(f"Task {task.id} has hints 1 to {count}, not {number!r}.")
    log.append({"task": task.id, "hint": number})
    return Notice(f"Hint {number} of {count} for {task.id}: {task.hints[number - 1]}")


def progress(exercise: str | None = None) -> log.Overview | Notice:
    """Show the state of every task, or of one exercise's.

    Parameters
    ----------
    exercise : str, optional
        For example ``"01"``.
    """
    try:
        return log.overview(None if exercise is None else str(exercise))
    except LookupError as error:
        return Notice(str(error.args[0]))


def solved(**functions: Callable) -> bool:
    """Tell whether the functions, given by name, all pass; if not, print which task is to be solved first.

    Guards the last cell of an exercise, which puts the learner's functions together. Nothing is recorded.

    Examples
    --------
    >>> def pixel_weights(distances, h): raise NotImplementedError()
    >>> solved(pixel_weights=pixel_weights)
    Solve 01.2 first: then this cell puts your functions to work.
    False
    """
    tasks = {t.function: t for number in registry.exercises() for t in registry.exercise(number).tasks}
    unknown = set(functions) - set(tasks)
    if unknown:
        print(f"There is no task for {', '.join(sorted(unknown))}.")
        return False
    wanted = [tasks[name] for name in functions]
    try:
        open_ = [t.id for t in wanted
                 if examine(t, registry.exercise_of(t.id), functions[t.function], SEED).status != PASSED]  # fmt: skip
    except Exception:  # noqa: BLE001  the check beside the task says what is wrong
        open_ = [t.id for t in wanted]
    if open_:
        print(f"Solve {', '.join(open_)} first: then this cell puts your functions to work.")
    return not open_


def reset(number: str) -> Notice:
    """Bring back the untouched exercise, or one task's cell; your version is kept in ``work/backups/``.

    Parameters
    ----------
    number : str
        An exercise such as ``"01"``, or a task such as ``"01.2"``.
    """
    try:
        return restore(str(number))
    except (ValueError, OSError) as error:
        return Notice(f"Nothing was changed: {error}")


def restore(number: str) -> Notice:
    """Do what :func:`reset` does.

    Raises
    ------
    ValueError
        When there is no such exercise or task, or its cell is gone.
    """
    from .. import copies, paths

    place = copies.reset(number)
    log.append({"task": number, "reset": True})
    if place.is_relative_to(paths.work() / "backups"):
        kept = place.relative_to(paths.root()).as_posix()
        return Notice(f"{number} is as it was at the start. Your version is kept in `{kept}`. "
                      "Open in JupyterLab? File → Reload Notebook from Disk.")  # fmt: skip
    return Notice(f"`{place.relative_to(paths.root()).as_posix()}` is your copy; there was none before.")
