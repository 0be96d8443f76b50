"""Find an exercise or a task by its number, with a suggestion where there is none."""

from __future__ import annotations

import difflib
import importlib
import json
from functools import cache
from pathlib import Path

from .task import Exercise, Task

HERE = Path(__file__).parent


def exercises() -> list[str]:
    """Return the numbers of all exercises, in order.

    Examples
    --------
    >>> exercises()[:2]
    ['00', '01']
    """
    return sorted(p.parent.name[2:] for p in HERE.glob("ex[0-9][0-9]/tasks.py"))


@cache
def exercise(number: str) -> Exercise:
    """Return one exercise.

    Raises
    ------
    LookupError
        When there is none with this number; says which there are.
    """
    known = exercises()
    if number not in known:
        nearest = difflib.get_close_matches(str(number).zfill(2), known, n=1, cutoff=0.1)
        did_you_mean = f" Did you mean {nearest[0]}?" if nearest else ""
        raise LookupError(f"There is no exercise {number!r}: the exercises are {', '.join(known)}.{did_you_mean}")
    return importlib.import_module(f"{__package__}.ex{number}.tasks").EXERCISE


def task(task_id: str) -> Task:
    """Return one task.

    Raises
    ------
    LookupError
        When there is none with this id; says which there are.

    Examples
    --------
    >>> task("01.1").function
    'patch_distance'
    """
    number = str(task_id)[:2]
    if number in exercises():  # the others need not be imported: torch is slow to load
        for known in exercise(number).tasks:
            if known.id == task_id:
                return known
    everything = {t.id: t for n in exercises() for t in exercise(n).tasks}
    near = [i for i in everything if i.startswith(number)] or list(everything)
    nearest = difflib.get_close_matches(str(task_id), everything, n=1, cutoff=0.5)
    did_you_mean = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise LookupError(f"There is no task {task_id!r}: the tasks are {', '.join(near)}.{did_you_mean}")


def exercise_of(task_id: str) -> Exercise:
    """Return the exercise that a task belongs to."""
    return exercise(task(task_id).id[:2])


@cache
def stub_fingerprints(number: str) -> dict[str, str]:
    """Return the fingerprint of each task's unsolved cell, as `make exercises` recorded it."""
    path = HERE / f"ex{number}" / "stubs.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
