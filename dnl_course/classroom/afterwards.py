"""What is asked of right values: arguments left alone, limits kept, gradients that arrive and are right."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .probe import Observation, gradients, growth
from .recognise import close
from .task import Probe, Task
from .verdict import PASSED, SINGLE, WRONG, Verdict

NUMPY = "NumPy has no gradients: a network is trained through this function, so stay in torch."
Pairs = Sequence[tuple[Probe, Observation]]


def right_values(task: Task, pairs: Pairs, tolerance: float, switches: Mapping[str, Any], notes: list[str]) -> Verdict:
    """Pass right values, or say what else is wrong.

    Parameters
    ----------
    task : Task
    pairs : sequence of (Probe, Observation)
    tolerance : float
        The one that the values kept.
    switches : mapping
        Those of the right answer that it is (see :class:`AlsoRight`).
    notes : list of str
        What is said of it in any case.
    """
    verdict = _modified(pairs) or _limits(task, pairs) or _gradients(task, pairs, tolerance, switches)
    verdict = verdict or Verdict(PASSED, "", notes=_over_the_limit(task, pairs))
    verdict.notes += notes
    return verdict


def _modified(pairs: Pairs) -> Verdict | None:
    changed = sorted({name for _, o in pairs for name in o.changed})
    if not changed:
        return None
    names = " and ".join(f"`{name}`" for name in changed)
    sentence = f"The values are right, but your function changes its argument{'s' * (len(changed) > 1)} {names}: work on a copy."
    return Verdict(WRONG, sentence, mistake="layer:modified")


def _limits(task: Task, pairs: Pairs) -> Verdict | None:
    for limit in task.limits:
        counted = _counted(limit.measure, pairs)
        if counted > limit.allowed and not limit.note:
            return Verdict(WRONG, limit.sentence.format(counted=counted, allowed=limit.allowed), mistake=limit.id)
    return None


def _over_the_limit(task: Task, pairs: Pairs) -> list[str]:
    counted = [(limit, _counted(limit.measure, pairs)) for limit in task.limits if limit.note]
    return [limit.sentence.format(counted=n, allowed=limit.allowed) for limit, n in counted if n > limit.allowed]


def _counted(measure: str, pairs: Pairs) -> float:
    if measure == "lines":
        return growth([p for p, _ in pairs], [o for _, o in pairs])
    counted = [(o.counted or 0.0, p) for p, o in pairs if p.measure == measure]
    return max(n / _first_array(p).nbytes if measure == "memory" else n for n, p in counted)


def _first_array(probe: Probe) -> np.ndarray:
    return next(v for v in probe.inputs.values() if isinstance(v, np.ndarray))


def _gradients(task: Task, pairs: Pairs, tolerance: float, switches: Mapping[str, Any]) -> Verdict | None:
    """Compare the gradients with the reference's: what is trained through must not be cut off."""
    reference = functools.partial(task.reference, **switches)
    for probe, o in pairs:
        if not task.gradient or probe.measure is not None:
            continue
        if "numpy()" in o.gradient_error:
            return _cut_off(NUMPY)
        if o.gradient_error:
            return _cut_off(f"backward through it raises {o.gradient_error.rstrip('.')}.")
        lost = [name for name, g in zip(task.gradient, o.gradients) if g is None]
        if lost:
            if o.kind == "ndarray":
                return _cut_off(NUMPY)
            names = " and ".join(f"`{name}`" for name in lost)
            return _cut_off(
                f"no gradient flows back to {names}: `.detach()`, `.item()`, `.numpy()` or a new `torch.tensor(...)` cuts it off."
            )
        for name, mine, right in zip(task.gradient, o.gradients, gradients(reference, probe, len(task.outputs), task)):
            near = 10 * max(tolerance, SINGLE if "float32" in (o.dtypes or []) else 0.0)
            if not close(mine, right, near):
                if not np.isfinite(mine).all():
                    return _cut_off(f"the gradient with respect to `{name}` holds NaN or infinity: is 0 divided, or its root taken?")
                off = np.abs(mine - right).max()
                return _cut_off(
                    f"the gradient with respect to `{name}` is not (largest difference {off:.3g}): is a part of the way detached?"
                )
    return None


def _cut_off(what: str) -> Verdict:
    return Verdict(WRONG, f"The values are right, but {what}", mistake="layer:gradient")
