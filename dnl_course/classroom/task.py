"""What a task, a mistake, a limit and a probe are: plain data that an exercise's ``tasks.py`` fills in."""

from __future__ import annotations

import functools
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
    measure : {None, "memory", "lines", "tensor"}
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
        numbers differ. None where the task's ``diagnose`` names the mistake.
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
    measure : {"memory", "lines", "tensor"}
        ``memory``: peak of what Python and NumPy allocate, in copies of the first array argument.
        ``lines``: executed Python lines of the last probe divided by those of the first, that is, their growth.
        ``tensor``: entries of the largest tensor that torch makes on the way.
    allowed : float
        The largest value that passes.
    note : bool
        Beyond it the answer passes all the same, and the sentence is a note.
    """

    id: str
    sentence: str
    measure: str
    allowed: float
    note: bool = False


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
    tensors : bool
        The arrays of a probe become torch tensors before the call.
    gradient : tuple of str
        Arguments through which the answer is trained: for right values, the gradients are compared too.
    drive : callable or None
        ``drive(function, inputs)`` calls the function and returns what is judged, where the function takes or
        returns something that is no array (a module, an operation), built here from the probe's arrays.
    diagnose : callable or None
        Judges by property instead of by values: ``diagnose(inputs, values)`` returns ``""`` (right), the id of a
        mistake, alone or as ``"ID: what it is here, in numbers"``, ``"also:KEY"`` for an :class:`AlsoRight` with ``{"key": "KEY"}``, or a sentence.
    refused : tuple of str
        Dotted names of objects that are the whole task; also refused as methods.
    symbolic : {"", "points", "whole"}
        The probes hold SymPy objects, and so does the answer. ``points``: it is compared with the reference (a NumPy
        function of numbers) at random rational points, then exactly. ``whole``: reference and ``diagnose`` get the
        SymPy objects themselves.
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
    tensors: bool = False
    gradient: tuple[str, ...] = ()
    drive: Callable | None = None
    diagnose: Callable | None = None
    refused: tuple[str, ...] = ()
    symbolic: str = ""

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
        function = functools.partial(self.reference, **switches)
        value = call(function, as_tensors(inputs) if self.tensors else inputs, self.drive)
        values = value if isinstance(value, tuple) else (value,)
        return tuple(np.asarray(v.detach() if hasattr(v, "detach") else v, dtype=np.float64) for v in values)


def call(function: Callable, inputs: Inputs, drive: Callable | None) -> Any:
    """Call a function with the arguments of a probe, as the task wants it called."""
    return drive(function, inputs) if drive else function(*inputs.values())


def as_tensors(inputs: Inputs) -> dict[str, Any]:
    """Return the inputs with every array as a torch tensor of its own memory."""
    import torch

    return {name: torch.tensor(v) if isinstance(v, np.ndarray) else v for name, v in inputs.items()}


@dataclass(frozen=True)
class Exercise:
    """The tasks of one lesson and what must not be used to solve them.

    Attributes
    ----------
    answer_modules, refused : tuple of str
        Module prefixes: the package's own answers, and libraries that have the whole answer.
    refused_names : tuple of str
        Dotted names of objects that are a whole answer, in modules that are allowed otherwise.
    """

    number: str
    title: str
    tasks: tuple[Task, ...]
    answer_modules: tuple[str, ...] = ()
    refused: tuple[str, ...] = field(default=())
    refused_names: tuple[str, ...] = ()

    @property
    def answers(self) -> tuple[str, ...]:
        """Module prefixes of the package's own answers."""
        return (*self.answer_modules, f"dnl_course.classroom.ex{self.number}")

    @property
    def forbidden(self) -> tuple[str, ...]:
        """Module prefixes that an answer must not call (rule R5)."""
        return (*self.answers, "dnl_course.classroom", *self.refused)
