"""The judge: given a task, the arguments and what was observed, decide; it never touches the learner's function.

Layers, stopping at the first that fails: it ran → shape → dtype and finite → invariants → values; for right values,
inputs not modified → limits → gradients (``afterwards.py``). As soon as one fails, the recogniser is asked for a named
mistake before that layer's own sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from . import afterwards
from .probe import Observation
from .recognise import Named, all_close, recognise
from .task import Exercise, Probe, Task
from .verdict import DOUBLE, REFUSED, SINGLE, WRONG, Verdict


def probes_of(task: Task, seed: int) -> list[Probe]:
    """Return the probes of a task for one seed; probe side and judge side draw the same ones."""
    return task.probes(np.random.default_rng([seed, *map(ord, task.id)]))


ROUNDED = "right to 1e-4 only: were decimals rounded? `Rational(1, 3)` is exact, 0.3333 is not."

MENDS = {  # what SymPy raises, and what a beginner meant
    ") * (": " `*` is the matrix product; entry by entry it is `A.multiply_elementwise(B)`, and `x.T` turns a row into a column.",
    "ShapeError": " SymPy does not broadcast: `sp.ones(N, 1) * row` repeats a row N times.",
    "Matrix' and '": " SymPy does not broadcast: a number is added to a matrix as `number * sp.eye(D)` or `number * sp.ones(N, M)`.",
    "' and 'MutableDenseMatrix": " `sum` starts with the number 0: `sum(rows, sp.zeros(1, D))` adds matrices.",
    "Cannot convert expression to float": " Here the arguments hold symbols: stay in SymPy.",
    "IndexError: list index out of range": " Is a list empty, for example that of `nullspace()`?",
    "Can't calculate derivative wrt": " The arguments may hold numbers: differentiate by symbols of your own, then put the numbers in with `subs`.",
}
_banks: dict[tuple[str, int], dict] = {}


def judge(task: Task, exercise: Exercise, seed: int, observations: Sequence[Observation]) -> Verdict:
    """Decide on what was observed.

    Parameters
    ----------
    task, exercise : Task, Exercise
    seed : int
        The one that the probes were drawn with.
    observations : sequence of Observation
        One per probe, in order.

    Returns
    -------
    Verdict
    """
    pairs = list(zip(probes_of(task, seed), observations, strict=True))
    plain = [(p.inputs, o) for p, o in pairs if p.measure is None]
    points = _algebra().at_points(task, seed, plain) if task.symbolic else []
    inputs = [p.inputs for p in points] if task.symbolic else [i for i, _ in plain]
    seen = [_one_number(task, o) for o in ([p.seen for p in points] if task.symbolic else [o for _, o in plain])]

    halted = _not_implemented(task, exercise, seen) or _answer_module(exercise, seen)
    if halted:
        return halted

    single = any("float32" in (o.dtypes or []) for o in seen)
    tolerance = SINGLE if single else DOUBLE
    notes = ["computed in single precision (float32): judged to 1e-4."] if single and not task.diagnose else []

    failure = _first_failure(task, inputs, seen, tolerance)
    if failure is None and task.symbolic == "points":
        fault, proof = _algebra().proved(task, points, plain)
        if fault:
            failure = 0, "exactly", fault
        notes += [proof] if proof else []
    if failure is None:
        return afterwards.right_values(task, pairs, tolerance, {}, notes + _also_right(task, inputs, seen))
    number, layer, sentence = failure
    if layer in ("invariant", "values") and not task.diagnose:
        decimals = not task.symbolic or any(_algebra().has_floats(p.seen.exact) for p in points)
        others = [({}, SINGLE if decimals else tolerance, ROUNDED if task.symbolic else "right to 1e-4 only: computed in single precision (float32), or rounded?")]
        others += [(other.switches, tolerance, other.note) for other in task.also_right]
        for switches, near, note in others:
            if all(all_close(o.values, task.expected(i, **switches), near) for i, o in zip(inputs, seen)):
                return afterwards.right_values(task, pairs, max(near, tolerance), switches, [*notes, note])

    if layer == "exactly":
        named = None
    elif task.diagnose:
        key, _, numbers = sentence.partition(": ")
        named = next((Named(m.id, f"{m.sentence} {numbers}".strip()) for m in task.mistakes if m.id == key), None)
    else:
        named = recognise(task, inputs, seen, tolerance, {} if task.symbolic else _banks.setdefault((task.id, seed), {}),
                          patterns=layer not in ("numbers", "returned"))  # fmt: skip
    verdict = Verdict(
        WRONG,
        named.sentence if named else sentence,
        mistake=named.id if named else f"layer:{layer}",
        notes=notes if layer == "values" else [],
        inputs=inputs[number],
        yours=seen[number].values if not seen[number].error else None,
        expected=task.expected(inputs[number]),
        printed=seen[number].printed,
    )
    return _algebra().in_exact_numbers(task, points[number], verdict) if task.symbolic else verdict


def _algebra():
    from . import algebra  # SymPy is slow to load: only where a task needs it

    return algebra


def _also_right(task: Task, inputs, seen) -> list[str]:
    """Return the notes on another right answer, where answers are judged by property."""
    said = {task.diagnose(i, o.exact if task.symbolic else o.values) for i, o in zip(inputs, seen)} if task.diagnose else set()
    return [other.note for other in task.also_right if f"also:{other.switches.get('key')}" in said]


def _one_number(task: Task, o: Observation) -> Observation:
    """Read an array of one element as a number where the task asks for a number."""
    if o.values is None or len(o.values) != len(task.outputs):
        return o
    wanted = [letters for _, letters in task.outputs]
    values = [v.reshape(()) if w == "" and v.size == 1 else v for v, w in zip(o.values, wanted)]
    return replace(o, values=values)


def _not_implemented(task: Task, exercise: Exercise, seen: Sequence[Observation]) -> Verdict | None:
    raising = next((o for o in seen if o.error == "NotImplementedError"), None)
    if raising:
        other = next((t for t in exercise.tasks if t.function == raising.raiser and t.id != task.id), None)
        if other:
            return Verdict(
                WRONG, f"Your function calls `{other.function}`, which is not written yet (task {other.id}): "
                "a task can be solved without the others.", mistake="layer:still_raises",
            )  # fmt: skip
        return Verdict(
            WRONG, "Your function still raises NotImplementedError: delete the line `raise NotImplementedError()`.",
            mistake="layer:still_raises",
        )
    return None


def _answer_module(exercise: Exercise, seen: Sequence[Observation]) -> Verdict | None:
    for o in seen:
        halted = re.fullmatch(r"import of (\S+) halted; None in sys.modules", o.message)
        if halted and halted[1].startswith(exercise.forbidden):
            return whole_answer(halted[1], exercise)
    return None


def whole_answer(name: str, exercise: Exercise) -> Verdict:
    """Return the refusal of a call that is the whole task (rule R5), or that has no place in an answer."""
    if name.startswith(exercise.answers):
        sentence = f"`{name}` is the package's own answer: write the lines yourself."
    elif name.startswith("dnl_course"):
        sentence = f"`{name}` has no place inside an answer: take it out of the function."
    else:
        sentence = f"`{name}` is a whole answer from a library: write the lines yourself."
    return Verdict(REFUSED, sentence, mistake="layer:whole_answer")


def _first_failure(task, inputs, seen, tolerance) -> tuple[int, str, str] | None:
    """Return (number of the smallest failing probe, layer, its sentence) of the first layer that fails."""
    expected = [task.expected(i) for i in inputs]
    for layer, look in _LAYERS:
        for number, (given, right, o) in enumerate(zip(inputs, expected, seen)):
            sentence = look(task, given, right, o, tolerance)
            if sentence:
                return number, layer, sentence
    return None


def _ran(task, given, right, o, tolerance):
    line = f" (line `{o.where}`)" if o.where else ""
    if o.error == "NameError":
        return f"{o.message[:1].upper()}{o.message[1:]}{line}: is it misspelt, or in a cell that was not run or was deleted?"
    if o.error == "TypeError" and not o.line:  # raised by the call itself
        return f"The task calls `{task.function}({', '.join(task.parameters)})`; yours cannot be called so: {o.message}."
    if o.error:
        mend = next((said for part, said in MENDS.items() if task.symbolic and part in f"{o.error}: {o.message}"), "")
        return f"Your function raises {o.error}: {(o.message or 'no message').rstrip('.')}{line}.{mend}"
    return None


def _returned(task, given, right, o, tolerance):
    if o.kind == "NoneType" and o.printed:
        return "Nothing is returned: your function prints its result; `return` it instead."
    if o.kind == "NoneType":
        return "Nothing is returned: is a `return` missing?"
    if o.values is None:
        return f"Your function returns {o.message or f'a {o.kind}'}; expected {_wanted(task)}."
    if len(o.values) != len(task.outputs):
        what = "matrix" if task.symbolic else "array"
        number = f"one {what}" if len(o.values) == 1 else f"{len(o.values)} {'matrices' if task.symbolic else 'arrays'}"
        return f"Your function returns {number}; expected {_wanted(task)}, as a tuple in this order."
    return None


def _wanted(task) -> str:
    wanted = [f"`{name}` {letters}" if letters else f"one number, the {name}" for name, letters in task.outputs]
    return " and ".join(wanted)


def _shape(task, given, right, o, tolerance):
    for (name, letters), mine, r in zip(task.outputs, o.values, right):
        if mine.shape != r.shape and not letters.startswith("any"):
            if r.ndim == 0:
                return f"Your answer has shape {mine.shape}; expected one number."
            that_is = "" if letters == str(r.shape) else f", that is {letters}"
            return f"`{name}` has shape {mine.shape}; expected {r.shape}{that_is}."
    return None


def _numbers(task, given, right, o, tolerance):
    for (name, _), dtype, mine, r in zip(task.outputs, o.dtypes, o.values, right):
        if dtype == "bool" and task.symbolic:
            continue
        if dtype == "bfloat16" or np.dtype(dtype).kind == "c" or dtype in ("float16", "bool"):
            return f"`{name}` has dtype {dtype}; expected float64 (float32 is accepted)."
        if np.dtype(dtype).kind in "iu" and not np.array_equal(mine, r):
            return f"`{name}` consists of whole numbers ({dtype}): were decimals lost, or things counted?"
        bad = int((~np.isfinite(mine)).sum())
        if bad and np.isfinite(r).all():
            word = "NaN" if np.isnan(mine).any() else "infinite"
            if mine.size == 1:
                return f"Your answer is {word}: is a slice empty, or a divisor 0?"
            return f"{bad} of {mine.size} numbers of `{name}` are {word}; all must be finite."
    return None


def _invariants(task, given, right, o, tolerance):
    for holds in task.invariants:
        sentence = holds(given, o.values)
        if sentence:
            return sentence
    return None


def _values(task, given, right, o, tolerance):
    mine = o.values
    if task.diagnose:
        said = task.diagnose(given, o.exact if task.symbolic else mine)
        return None if said.startswith("also:") else said or None
    if all_close(mine, right, tolerance):
        return None
    own = task.explain(given, mine, right) if task.explain else None
    if own:
        return own
    if len(right) == 1 and right[0].ndim == 0:
        return f"The number is not right: yours {float(mine[0]):.6g}, expected {float(right[0]):.6g}."
    off = {name: float(np.abs(m - r).max()) for (name, _), m, r in zip(task.outputs, mine, right)
           if not all_close([m], [r], tolerance)}  # fmt: skip
    named = " and ".join(f"`{name}`" for name in off) if len(right) > 1 else "your answer"
    return f"The values of {named} are not right: the largest difference from the expected ones is {max(off.values()):.4g}."


_LAYERS = (
    ("ran", _ran), ("returned", _returned), ("shape", _shape), ("numbers", _numbers),
    ("invariant", _invariants), ("values", _values),
)  # fmt: skip
