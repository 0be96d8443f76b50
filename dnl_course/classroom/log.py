"""What has been checked so far: a local file of JSON lines, never sent anywhere, and an overview of it."""

from __future__ import annotations

import datetime
import html
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .. import paths
from . import registry
from .verdict import PASSED


def recording() -> bool:
    """Tell whether checks are written down: not in tests and builds, which set ``DNL_RECORD=off``."""
    return os.environ.get("DNL_RECORD", "on").lower() not in ("off", "0", "no")


def log_file() -> Path:
    """Return the file of JSON lines (``<root>/work/.dnl/checks.jsonl``; it need not exist yet)."""
    return paths.work() / ".dnl" / "checks.jsonl"


_session: list[dict] = []  # where nothing is written down, progress lasts as long as the kernel


def append(line: dict) -> bool:
    """Append one line; return False, and lose nothing else, where that is not possible."""
    if not recording():
        _session.append(line)
        return False
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        path = log_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**line, "time": now}, ensure_ascii=False) + "\n"
        with open(path, "ab") as file:  # one write in append mode: two kernels cannot mix their lines
            file.write(text.encode())
    except OSError:  # a read-only disk, no clone: a check must work all the same
        return False
    return True


def lines() -> list[dict]:
    """Return every line that can be read; a torn one is skipped.

    Each has ``task`` and ``time``, and either ``verdict``, ``mistake``, ``seconds`` (a check), ``hint`` (a hint
    that was read) or ``reset`` (true).
    """
    if not recording():
        return list(_session)
    try:
        text = log_file().read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for row in text.splitlines():
        try:
            line = json.loads(row)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and isinstance(line.get("task"), str):
            found.append(line)
    return found


def since_reset(task_id: str) -> list[dict]:
    """Return one task's lines after its (or its exercise's) last reset."""
    own = [line for line in lines() if line["task"] in (task_id, task_id[:2])]
    resets = [n for n, line in enumerate(own) if line.get("reset")]
    return own[resets[-1] + 1 :] if resets else own


def hints_read(task_id: str) -> int:
    """Return how many of a task's hints were read."""
    return max((line["hint"] for line in since_reset(task_id) if isinstance(line.get("hint"), int)), default=0)


@dataclass(frozen=True)
class Row:
    """One task in the overview."""

    task: str
    function: str
    status: str
    tries: int
    hints: int
    points: int


@dataclass(frozen=True)
class Overview:
    """All tasks with their state; printed in a terminal, drawn in a notebook."""

    rows: list[Row]

    @property
    def points(self) -> tuple[int, int]:
        """Points reached, points in all."""
        return sum(r.points for r in self.rows if r.status == PASSED), sum(r.points for r in self.rows)

    def __str__(self) -> str:
        marks = {PASSED: "✓", "tried": "✗", "open": "○"}
        out = []
        for row in self.rows:
            tries = f"{row.tries} {'try' if row.tries == 1 else 'tries'}" if row.tries else ""
            hints = f"{row.hints} hint{'s' * (row.hints > 1)}" if row.hints else ""
            remark = ", ".join(filter(None, (tries, hints)))
            out.append(f"{marks[row.status]} {row.task}  {row.function:<22} {row.points} p  {remark}".rstrip())
        return "\n".join([*out, f"{self.points[0]} of {self.points[1]} points"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        done, all_points = self.points
        share = 100 * done / max(all_points, 1)
        bar = (f"<div style='background:#8884;width:20em;border-radius:4px'><div style='background:#2e7d32;"
               f"width:{share:.0f}%;height:.7em;border-radius:4px'></div></div>")  # fmt: skip
        return f"<div class='dnl-progress'>{bar}<pre>{html.escape(str(self))}</pre></div>"


def overview(exercise: str | None = None) -> Overview:
    """Return the state of every task, or of one exercise's.

    Parameters
    ----------
    exercise : str, optional
        For example ``"01"``.

    Raises
    ------
    LookupError
        When there is no such exercise.
    """
    numbers = registry.exercises() if exercise is None else [registry.exercise(exercise).number]
    rows = []
    for task in (t for n in numbers for t in registry.exercise(n).tasks):
        checks = [line for line in since_reset(task.id) if line.get("verdict") not in (None, "not attempted")]
        status = PASSED if any(c["verdict"] == PASSED for c in checks) else "tried" if checks else "open"
        rows.append(Row(task.id, task.function, status, len(checks), hints_read(task.id), task.points))
    return Overview(rows)
