"""What a task, a mistake, a limit and a probe are: plain data that an exercise's ``tasks.py`` fills in."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Probe:
    """One set of arguments that a learner's function is called with.

    Attributes
    ----------
    inputs : mapping
        Argument name to value (arrays, numbers, tuples of integers), in the order of the call.
    measure : {None, "memory", "lines"}
        What is counted besides the value; such a probe serves limits, never the values.
    """

    inputs: Inputs
    measure: str | None = None


@dataclass(frozen=True)
class Mistake:
    """A known wrong answer: the reference with switches thrown.

    Attributes
    ----------
    id : str
        Permanent; teachers' tallies are kept by it.
    sentence : str
        What the learner did and what the task asks for, in one sentence.
    variants : tuple of dict
        Keyword switches of the task's reference; several when the same mistake can be written so that its
        numbers differ.
    """

    id: str
    sentence: str
    variants: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Limit:
    """Right values at too high a price, counted and never clocked.

    Attributes
    ----------
    id, sentence : str
        As for a mistake; the sentence may use ``{counted}`` and ``{allowed}``.
    measure : {"memory", "lines"}
        ``memory``: peak of what Python and NumPy allocate, in copies of the first array argument.
        ``lines``: executed Python lines of the last probe divided by those of the first, that is, their growth.
    allowed : float
        The largest value that passes.
    """

    id: str
    sentence: str
    measure: str
    allowed: float


@dataclass(frozen=True)
class AlsoRight:
    """Another correct answer: the reference with switches thrown, accepted with a note."""

    note: str
    switches: Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """One function that a learner writes, and everything needed to judge it.

    Attributes
    ----------
    id : str
        ``"EE.T"``: exercise and number.
    reference : callable
        The right answer, with keyword-only switches that throw the mistakes. Its name and its positional
        parameters are those of the learner's function.
    probes : callable
        ``probes(rng)`` returns the list of :class:`Probe`; the first is the smallest, with round numbers, because
        it is the one that is shown.
    outputs : tuple of (name, shape in letters)
        What is returned; more than one means a tuple.
    invariants : tuple of callables
        ``invariant(inputs, values)`` returns ``None``, or a sentence that says what does not hold.
    explain : callable or None
        ``explain(inputs, values, expected)`` may return a sentence when no known mistake fits.
    """

    id: str
    title: str
    minutes: int
    difficulty: int
    hints: tuple[str, str, str]
    reference: Callable
    probes: Callable[[np.random.Generator], list[Probe]]
    outputs: tuple[tuple[str, str], ...]
    mistakes: tuple[Mistake, ...]
    core: bool = False
    seminar: bool = False
    limits: tuple[Limit, ...] = ()
    also_right: tuple[AlsoRight, ...] = ()
    invariants: tuple[Callable, ...] = ()
    explain: Callable | None = None

    @property
    def function(self) -> str:
        """Name of the function that the learner writes."""
        return self.reference.__name__

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of its arguments, without the reference's switches."""
        positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return tuple(n for n, p in inspect.signature(self.reference).parameters.items() if p.kind is positional)

    @property
    def points(self) -> int:
        """One point per started five minutes."""
        return math.ceil(self.minutes / 5)

    def expected(self, inputs: Inputs, **switches: Any) -> tuple[np.ndarray, ...]:
        """Values of the reference, always as a tuple of float64 arrays."""
        value = self.reference(**inputs, **switches)
        values = value if isinstance(value, tuple) else (value,)
        return tuple(np.asarray(v, dtype=np.float64) for v in values)


@dataclass(frozen=True)
class Exercise:
    """The tasks of one lesson and what must not be used to solve them."""

    number: str
    title: str
    tasks: tuple[Task, ...]
    answer_modules: tuple[str, ...] = ()
    refused: tuple[str, ...] = field(default=())

    @property
    def answers(self) -> tuple[str, ...]:
        """Module prefixes of the package's own answers."""
        return (*self.answer_modules, f"dnl_course.classroom.ex{self.number}")

    @property
    def forbidden(self) -> tuple[str, ...]:
        """Module prefixes that an answer must not call (rule R5)."""
        return (*self.answers, "dnl_course.classroom", *self.refused)
