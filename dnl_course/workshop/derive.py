"""Make ``exercises/`` from ``solutions/``: the solutions are the only source (nbgrader's format).

nbgrader's own preprocessors do the work: solution regions become ``raise NotImplementedError()``, outputs go, check
cells are locked. What an untouched task looks like is written down beside each exercise's tasks, so that a check can
tell "not attempted" from "wrong".
"""

from __future__ import annotations

import json
from pathlib import Path

from .. import paths
from ..classroom import registry, source

TASK = "task-"  # grade ids: task-01-1 is the learner's cell, check-01-1 the one that judges it


def derive(check: bool = False) -> list[str]:
    """Write every exercise notebook and the fingerprints of its unsolved tasks.

    Parameters
    ----------
    check : bool
        Only compare: write nothing.

    Returns
    -------
    list of str
        The files that were (or would be) changed or removed, relative to the repository.

    Raises
    ------
    ValueError
        When a solution notebook breaks nbgrader's format, or holds a task that does not exist.
    """
    root = paths.root()
    wanted: dict[Path, str] = {}
    for path in sorted((root / "solutions").glob("[0-9][0-9]_*.ipynb")):
        text, stubs = exercise_from(path)
        wanted[root / "exercises" / path.name] = text
        wanted[registry.HERE / f"ex{path.name[:2]}" / "stubs.json"] = json.dumps(stubs, indent=1) + "\n"
    stale = [p for p in sorted((root / "exercises").glob("*.ipynb")) if p not in wanted]
    changed = [p for p, text in wanted.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
    if not check:
        for path in changed:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        for path in stale:
            path.unlink()
        registry.stub_fingerprints.cache_clear()
    return [str(p.relative_to(root)) if p.is_relative_to(root) else p.name for p in (*changed, *stale)]


def exercise_from(solution: Path) -> tuple[str, dict[str, str]]:
    """Return the exercise notebook's text and the fingerprints of its tasks, from one solution notebook."""
    import nbformat
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, LockCells

    notebook = nbformat.read(solution, as_version=4)
    resources: dict = {}
    for make in (CheckCellMetadata, LockCells, ClearSolutions, ClearOutput):
        try:
            notebook, resources = make().preprocess(notebook, resources)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{solution.name}: {error}") from None
    stubs = {}
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if grade_id.startswith(TASK):
            stubs[registry.task(grade_id.removeprefix(TASK).replace("-", ".")).id] = source.fingerprint(cell.source)
    return nbformat.writes(notebook).rstrip("\n") + "\n", stubs
