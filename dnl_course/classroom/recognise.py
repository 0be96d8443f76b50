"""Name the mistake: which known wrong answer, or which general pattern, explains everything that was observed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .probe import Observation
from .task import Inputs, Mistake, Task

ALIKE = {"ShapeError": "ValueError", "NonSquareMatrixError": "ValueError"}  # what SymPy raises where NumPy raises the other
Values = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Named:
    """A mistake that explains all probes: its id (pairs joined by ``+``) and one sentence."""

    id: str
    sentence: str


def close(yours: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    """Compare shape and values, NaN and infinity included, relative to the largest expected number."""
    if yours.shape != expected.shape:
        return False
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(yours)):
        return False
    if not np.array_equal(np.isnan(expected), np.isnan(yours)):
        return False
    if not np.array_equal(expected[~finite & ~np.isnan(expected)], yours[~finite & ~np.isnan(expected)]):
        return False
    scale = np.abs(expected[finite]).max(initial=0.0)
    return bool(np.abs(yours[finite] - expected[finite]).max(initial=0.0) <= tolerance * max(scale, 1e-12))


def all_close(yours: Sequence[np.ndarray], expected: Sequence[np.ndarray], tolerance: float) -> bool:
    """Compare a tuple of outputs."""
    return len(yours) == len(expected) and all(close(y, e, tolerance) for y, e in zip(yours, expected))


def recognise(
    task: Task, inputs: Sequence[Inputs], seen: Sequence[Observation], tolerance: float, bank: dict | None = None,
    patterns: bool = True,
) -> Named | None:  # fmt: skip
    """Return the first known mistake that explains **all** probes: singles, then pairs, then general patterns.

    Parameters
    ----------
    task : Task
    inputs, seen : sequences of equal length
        The probes' arguments and what the learner's function did with them.
    tolerance : float
        Relative; larger for single-precision answers.
    bank : dict, optional
        Remembers what the mistakes give on these inputs, for the next call with the same ones.
    patterns : bool
        Whether general patterns are looked for.
    """
    bank = {} if bank is None else bank
    by_size = sorted(range(len(inputs)), key=lambda n: _size(inputs[n]))  # the cheapest probe rules most out

    def explains(switches: Mapping[str, Any]) -> bool:
        exactly = False
        for n in by_size:
            how = _explains(task, switches, n, inputs[n], seen[n], tolerance, bank)
            if not how:
                return False
            exactly |= how == "exactly"
        return exactly

    for mistake in task.mistakes:
        if any(explains(switches) for switches in mistake.variants):
            return Named(mistake.id, mistake.sentence)
    for one, other in itertools.combinations(task.mistakes, 2):
        for first, second in itertools.product(one.variants, other.variants):
            if not set(first) & set(second) and explains({**first, **second}):
                return Named(f"{one.id}+{other.id}", f"Two things. First: {_lower(one)} Second: {_lower(other)}")
    return general(task, inputs, seen, tolerance) if patterns else None


def _lower(mistake: Mistake) -> str:
    first = mistake.sentence.split(" ", 1)[0]
    return mistake.sentence if first.isupper() else mistake.sentence[0].lower() + mistake.sentence[1:]


def _size(inputs: Inputs) -> int:
    return sum(np.size(v) for v in inputs.values())


def _explains(task, switches, n, inputs, seen, tolerance, bank) -> str:
    """Return "exactly", "alike" (the same kind of error, in other words) or nothing."""
    key = (n, tuple(sorted((k, repr(v)) for k, v in switches.items())))
    if key not in bank:
        try:
            with np.errstate(all="ignore"):
                bank[key] = task.expected(inputs, **switches)
        except Exception as error:  # noqa: BLE001  this mistake raises: so does the learner's function
            bank[key] = (type(error).__name__, _shapes_in(str(error)))
    predicted = bank[key]
    if isinstance(predicted[0], str):
        if ALIKE.get(seen.error, seen.error) != predicted[0]:
            return ""
        return "exactly" if _shapes_in(seen.message) == predicted[1] else "alike"
    right = not seen.error and seen.values is not None and all_close(seen.values, predicted, tolerance)
    return "exactly" if right else ""


def _shapes_in(message: str) -> list[str]:
    """Return the shapes that an error names, in any order: `a * b` and `b * a` fail alike."""
    return sorted(re.findall(r"[(\[][\d, ]+[)\]]|\d+x\d+", message))


def general(task: Task, inputs: Sequence[Inputs], seen: Sequence[Observation], tolerance: float) -> Named | None:
    """Return a pattern that needs no bank: a factor, a shift, a sign, a transposition, only the border wrong."""
    if any(s.error or s.values is None for s in seen):
        return None
    batch = 2 if task.tensors else 3  # from how many axes on the first one counts images
    expected = [task.expected(i) for i in inputs]
    if any(len(s.values) != len(e) for s, e in zip(seen, expected)):
        return None
    if len(task.outputs) > 1:  # the same thing wrong with all of them
        yours, right = ([np.concatenate([np.ravel(v) for v in values]) for values in all_values]
                        for all_values in ([s.values for s in seen], expected))  # fmt: skip
        if all(v.shape == e.shape for s, values in zip(seen, expected) for v, e in zip(s.values, values)):
            for found in _patterns(yours, right, inputs, tolerance, batch):
                return Named(f"general:{found[0]}", f"Each of your outputs {found[1]}")
    for position, (name, _) in enumerate(task.outputs):
        others = [p for p in range(len(task.outputs)) if p != position]
        if not all(close(s.values[p], e[p], tolerance) for s, e in zip(seen, expected) for p in others):
            continue
        yours, right = [s.values[position] for s in seen], [e[position] for e in expected]
        subject = "your answer" if len(task.outputs) == 1 else f"`{name}`"
        for found in _patterns(yours, right, inputs, tolerance, batch):
            return Named(f"general:{found[0]}", f"{subject[0].upper()}{subject[1:]} {found[1]}")
    return None


def _patterns(yours, right, inputs, tolerance, batch) -> Iterator[tuple[str, str]]:
    if any(y.dtype.kind not in "iuf" for y in yours):
        return
    if all(y.ndim >= 2 and close(y.swapaxes(-1, -2), r, tolerance) for y, r in zip(yours, right)) and any(
        not close(y, y.swapaxes(-1, -2), tolerance) for y in yours
    ):
        yield "transposed", "is the right one transposed: rows and columns have changed places."
    if any(y.shape != r.shape or not np.isfinite(y).all() for y, r in zip(yours, right)):
        return
    if not any(y.any() for y in yours):
        yield "zero", "is 0 everywhere, on every input."
        return
    if all(close(-y, r, tolerance) for y, r in zip(yours, right)):
        yield "negated", "is the right one with the opposite sign."
    factors = [_factor(y, r) for y, r in zip(yours, right)]
    if all(close(y, c * r, tolerance) for y, c, r in zip(yours, factors, right)):
        sentence = _factor_sentence(factors, inputs, single=any(r.size == 1 for r in right))
        if sentence and not np.allclose(factors, 1.0, rtol=1e-3):  # almost right is not "1 times"
            yield "factor", sentence
    shifts = [float(np.mean(y - r)) for y, r in zip(yours, right)]
    if all(r.size > 1 for r in right) and all(close(y, r + c, tolerance) for y, c, r in zip(yours, shifts, right)):
        constant = np.ptp(shifts) <= 1e-6 * max(abs(shifts[0]), 1e-12)
        amount = f"{shifts[0]:+.4g}" if constant else "a constant that changes with the input"
        yield "shift", f"is the right one plus the same number everywhere ({amount})."
    if all(r.ndim >= batch and len(r) > 1 and close(y[:1], r[:1], tolerance) for y, r in zip(yours, right)):
        yield "first_of_batch", "is right for the first element of the batch only."
    margins = [_wrong_margin(y, r, tolerance) for y, r in zip(yours, right)]
    if batch == 3 and all(m is not None for m in margins):
        yield "border", f"is right inside and wrong in the outer {max(margins)} rows and columns: look at the border."


def _factor(yours: np.ndarray, right: np.ndarray) -> float:
    return float(np.vdot(right, yours) / max(np.vdot(right, right), 1e-300))


def _factor_sentence(factors: list[float], inputs: Sequence[Inputs], single: bool) -> str:
    if np.ptp(factors) <= 1e-6 * abs(factors[0]):
        return f"is {factors[0]:.4g} times the right one, on every input."
    for label, sizes in _sizes(inputs).items():
        for power, written in ((1, f"{label} times"), (2, f"{label}² times"), (-1, f"1/{label} of"), (-2, f"1/{label}² of")):
            if np.allclose(factors, sizes**power, rtol=1e-6):
                return f"is {written} the right one: a division or a multiplication by it is missing or too many."
    if single:
        return ""  # one number is always some factor times another: that explains nothing
    listed = ", ".join(f"{c:.4g}" for c in factors)
    return f"is the right one times a factor that changes with the input ({listed})."


def _sizes(inputs: Sequence[Inputs]) -> dict[str, np.ndarray]:
    found: dict[str, list[float]] = {}
    for given in inputs:
        for name, value in given.items():
            if isinstance(value, np.ndarray):
                for axis, length in enumerate(value.shape):
                    found.setdefault(f"{name}.shape[{axis}]", []).append(length)
                found.setdefault(f"{name}.size", []).append(value.size)
            elif isinstance(value, (int, float)) and value:
                found.setdefault(name, []).append(value)
                found.setdefault(f"(2·{name}+1)", []).append(2 * value + 1)
    return {k: np.array(v, dtype=float) for k, v in found.items() if len(v) == len(inputs)}


def _wrong_margin(yours: np.ndarray, right: np.ndarray, tolerance: float) -> int | None:
    if right.ndim < 2 or min(right.shape[:2]) < 5:
        return None
    for margin in range(1, (min(right.shape[:2]) - 1) // 2 + 1):
        inner = (slice(margin, -margin), slice(margin, -margin))
        if close(yours[inner], right[inner], tolerance):
            return margin
    return None
