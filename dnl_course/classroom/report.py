"""What a learner reads after a check: one result, as text and as HTML."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field

import numpy as np

from .pictures import side_by_side
from .task import Task
from .verdict import NOT_ATTEMPTED, PASSED, REFUSED, WRONG, Verdict

EMPHASIS = re.compile(r"(?<![\w*`])\*(\w[\w ]*)\*(?![\w*])")
MARKS = {PASSED: "✓", WRONG: "✗", NOT_ATTEMPTED: "○", REFUSED: "✗"}
COLOURS = {PASSED: "#2e7d32", WRONG: "#c62828", NOT_ATTEMPTED: "#757575", REFUSED: "#c62828"}


@dataclass
class Result:
    """The answer of :func:`dnl_course.classroom.check`; printed in a terminal, drawn in a notebook.

    Attributes
    ----------
    task : str
        Task id, or what was asked for when there is no such task.
    status : {"passed", "wrong", "not attempted", "refused"}
    sentence : str
        One sentence: the named mistake, or what is not right.
    mistake : str
        Permanent id of the mistake, of the limit or of the layer; empty when passed.
    notes : list of str
    example, yours, expected, printed : str
        The smallest failing example, written out.
    pointer : str
        Where to go next.
    picture : str
        An ``<img>`` tag, or empty.
    mark : int or None
        Under nbgrader the points, which it reads from the cell's text output.
    """

    task: str
    title: str
    status: str
    sentence: str = ""
    mistake: str = ""
    notes: list[str] = field(default_factory=list)
    example: str = ""
    yours: str = ""
    expected: str = ""
    printed: str = ""
    pointer: str = ""
    picture: str = ""
    mark: int | None = None

    @property
    def passed(self) -> bool:
        """Whether the task is solved."""
        return self.status == PASSED

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        head = f"{MARKS[self.status]} {f'{self.task} {self.title}'.strip()}: {self.status}"
        lines = [head if not self.sentence else f"{head}. {_plain(self.sentence)}"]
        if self.example:
            lines += [f"  call      {self.example}", f"  yours     {self.yours}"]
        if self.expected:
            lines.append(f"  expected  {self.expected}")
        if self.printed:
            lines.append(f"  printed   {self.printed.rstrip()}")
        lines += [f"  note      {_plain(note)}" for note in self.notes]
        if self.pointer:
            lines.append(f"  {self.pointer}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self) if self.mark is None else str(self.mark)

    def _repr_html_(self) -> str:
        colour = COLOURS[self.status]
        head = f"<b style='color:{colour}'>{MARKS[self.status]} {as_html(f'{self.task} {self.title}'.strip())}: {self.status}</b>"
        rows = [f"<div>{head}{'. ' + as_html(self.sentence) if self.sentence else ''}</div>"]
        rows += [f"<div style='opacity:.8'>Note: {as_html(note)}</div>" for note in self.notes]
        if self.picture:
            rows.append(f"<div>{self.picture}</div>")
        if self.example:
            table = "".join(
                f"<tr><td style='text-align:left;vertical-align:top'>{name}</td>"
                f"<td style='text-align:left'><pre style='margin:0'>{html.escape(value)}</pre></td></tr>"
                for name, value in (("call", self.example), ("yours", self.yours), ("expected", self.expected),
                                    ("printed", self.printed)) if value
            )  # fmt: skip
            rows.append(f"<details><summary>the smallest example that shows it</summary><table>{table}</table></details>")
        if self.pointer:
            rows.append(f"<div style='opacity:.8'>{as_html(self.pointer)}</div>")
        kind = self.status.replace(" ", "-")
        return (
            f"<div class='dnl-result dnl-{kind}' style='border-left:4px solid {colour};padding:.3em .8em;"
            f"margin:.2em 0;line-height:1.5'>{''.join(rows)}</div>"
        )


def _plain(text: str) -> str:
    return EMPHASIS.sub(r"\1", text)


def as_html(text: str) -> str:
    """Escape a sentence, and set what stands between backticks as code and between asterisks as emphasis."""
    return EMPHASIS.sub(r"<em>\1</em>", re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text)))


def written(value: object) -> str:
    """Write a value out: numbers and small arrays whole, large arrays as shape and first entries.

    Examples
    --------
    >>> written((3, 4)), written(0.123456789), written(np.zeros((40, 50)))
    ('(3, 4)', '0.123457', 'array (40, 50), first entries 0, 0, 0, 0')
    """
    if isinstance(value, np.ndarray) and value.ndim:
        if value.size <= 100:
            return np.array2string(value, precision=4, suppress_small=True, separator=", ", max_line_width=90,
                                   formatter={"object": _exact} if value.dtype == object else None)  # fmt: skip
        first = ", ".join(str(v) if value.dtype == object else f"{v:.4g}" for v in value.ravel()[:4])
        return f"array {value.shape}, first entries {first}"
    if isinstance(value, np.ndarray) and value.dtype == object:  # one exact number, or true or false
        exact, shown = str(value.item()), _exact(value.item())
        try:
            decimals = f"{float(value.item()):.6g}"
        except TypeError:
            return exact
        return shown if shown in (decimals, "True", "False") or shown != exact else f"{exact} = {decimals}"
    if isinstance(value, (float, np.floating, np.ndarray)) and np.isrealobj(value):
        return f"{float(value):.6g}"
    return str(value)[:200]


def _exact(value: object) -> str:
    """Write one entry that SymPy made: whole where it is short, in decimals where it is a number."""
    text = str(value)
    formula = hasattr(value, "has") and any(function in text for function in ("exp(", "log(", "E"))
    try:
        return text if len(text) <= 40 and not formula else f"{float(value):.6g}"
    except TypeError:  # it holds symbols
        return text[:80]


def result(task: Task, verdict: Verdict, pointer: str = "") -> Result:
    """Turn a verdict into what the learner reads."""
    made = Result(task.id, f"`{task.function}`", verdict.status, verdict.sentence, verdict.mistake, verdict.notes,
                  pointer=pointer, printed=verdict.printed)  # fmt: skip
    made.title = task.function
    if verdict.inputs is not None and verdict.expected is not None:
        arrays = {n: v for n, v in verdict.inputs.items() if isinstance(v, np.ndarray)}
        shown = ", ".join(n if n in arrays else f"{n}={v!r}" if isinstance(v, str) else f"{n}={written(v)}" for n, v in verdict.inputs.items())
        given = "".join(f"\n{n} =\n{written(v)}" for n, v in arrays.items())
        made.example = f"{task.function}({shown}){given}"
        made.expected = "" if task.diagnose else _all(verdict.expected, task)  # many are right: one would give it away
        made.yours = _all(verdict.yours, task) if verdict.yours else "(no value)"
        if verdict.yours and len(verdict.yours) == len(verdict.expected):
            drawn = (side_by_side(y.astype(float), e, name) for y, e, (name, _)
                     in zip(verdict.yours, verdict.expected, task.outputs) if y.dtype.kind in "iuf")  # fmt: skip
            made.picture = next((tag for tag in drawn if tag), "")
    return made


def _all(values, task: Task) -> str:
    if len(values) == 1:
        return written(np.asarray(values[0]))
    names = [name for name, _ in task.outputs] + ["?"] * len(values)
    return "\n".join(f"{name} = {written(np.asarray(v))}" for name, v in zip(names, values))
