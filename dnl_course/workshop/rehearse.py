"""``dnl check 01``: run a learner's exercise from its first cell in a fresh kernel, and collect what the checks say.

What worked only because of a cell that is gone, or because cells were run in another order, shows itself here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .. import paths
from ..classroom import registry
from ..classroom.verdict import PASSED
from . import kernels
from .prove import results_in

CELL_SECONDS = 120


@dataclass(frozen=True)
class Rehearsal:
    """What the checks of one notebook said: the text to print, and whether every task passes."""

    text: str
    ok: bool


def check_notebook(exercise: str, path: str | Path | None = None) -> Rehearsal:
    """Execute an exercise notebook (the file stays as it is) and report on each of its tasks.

    Parameters
    ----------
    exercise : str
        For example ``"01"``.
    path : path, optional
        The notebook; without it the learner's copy in ``work/exercises``.

    Raises
    ------
    LookupError
        When there is no such exercise.
    FileNotFoundError
        When there is no such notebook; says how to get one.
    ValueError
        When the file cannot be read as a notebook.
    """
    import nbformat
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    tasks = registry.exercise(exercise).tasks
    notebook_path = Path(path) if path else _own_copy(exercise)
    if not notebook_path.is_file():
        raise FileNotFoundError(f"there is no {notebook_path.name}: name a notebook that exists.")
    try:
        notebook = nbformat.read(notebook_path, as_version=4)
    except Exception:  # noqa: BLE001  nbformat raises all kinds of errors for what is no notebook
        raise ValueError(f"{notebook_path.name} cannot be read as a notebook; `dnl reset {exercise}` brings a fresh one.") from None
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []  # a result saved in the file is no result
    ended, at = "", [""]
    with kernels.manager() as manager_class:
        client = _frugal()(
            notebook, kernel_manager_class=manager_class, kernel_name="python3", timeout=CELL_SECONDS, allow_errors=True,
            on_cell_start=lambda cell, cell_index: at.__setitem__(0, cell.get("id", f"number {cell_index + 1}")),
            store_widget_state=False, resources={"metadata": {"path": str(notebook_path.resolve().parent)}},
        )  # fmt: skip
        try:
            client.execute()
        except CellTimeoutError:
            ended = f"\nCell {at[0]} took more than {CELL_SECONDS} s (an endless loop?): what comes after it was not run."
        except DeadKernelError:
            ended = f"\nThe kernel died in cell {at[0]} (out of memory?): what comes after it was not run."
    said = results_in(notebook)
    texts = {t: text for t, text in _texts(notebook)}
    others = sorted(p.name for p in notebook_path.parent.glob(f"{exercise}_*.ipynb") if p != notebook_path)
    if others and path is None:
        ended += f"\nChecked: {notebook_path.name}. Beside it lie {', '.join(others)}."
    lines = [texts.get(t.id, f"○ {t.id} {t.function}: no check of this task was run in {notebook_path.name}") for t in tasks]
    errors = [f"  {error}" for error in _errors(notebook)]
    points = sum(t.points for t in tasks if said.get(t.id) == PASSED)
    total = f"{points} of {sum(t.points for t in tasks)} points{ended}"
    return Rehearsal("\n".join([*lines, *errors, total]), all(said.get(t.id) == PASSED for t in tasks))


def _own_copy(exercise: str) -> Path:
    own = [paths.work() / "exercises" / p.name for p in (paths.root() / "exercises").glob(f"{exercise}_*.ipynb")]
    if own and own[0].is_file():
        return own[0]
    if own:
        raise FileNotFoundError(f"you have no copy of exercise {exercise} yet: `dnl lab` makes one.")
    raise FileNotFoundError(f"exercise {exercise} has no notebook of its own: it is part of the lesson.")


def _texts(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "class='dnl-result" in data.get("text/html", ""):
                task = re.match(r"\S (\d\d\.\d)", data.get("text/plain", ""))
                if task:
                    yield task[1], data["text/plain"]


def _errors(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                yield f"cell {cell.get('id', '?')}: {output.ename}: {output.evalue.strip().splitlines()[0][:300] if output.evalue.strip() else ''}"


def _frugal() -> type:
    """Return a notebook client that drops what a runaway cell prints beyond a million characters."""
    from nbclient import NotebookClient

    class Frugal(NotebookClient):
        printed = 0

        def output(self, outs, msg, display_id, cell_index):
            self.printed += len(str(msg["content"].get("text", "")))
            if msg["msg_type"] == "stream" and self.printed > 1_000_000:
                return None
            return super().output(outs, msg, display_id, cell_index)

    return Frugal
