"""The probe: call a learner's function on given arguments and write down plainly what happened.

Nothing is judged here. An :class:`Observation` holds only arrays, numbers and strings, so that it can leave the
process in which a submission runs.
"""

from __future__ import annotations

import contextlib
import copy
import io
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .counting import counting
from .task import Probe, Task, as_tensors, call

GROWN = 1.5  # executed lines, from the first to the last probe that counts them; beyond it memory is not measured too


@dataclass
class Observation:
    """What one call did.

    Attributes
    ----------
    kind : str
        Type of what came back: ``"float"``, ``"ndarray"``, ``"Tensor"``, ``"tuple"``, ``"NoneType"`` …
    values : list of arrays or None
        What came back as arrays, one per output; None where it was no array, number or tuple of them.
    dtypes : list of str
        Their original dtypes.
    error, message, line, where, raiser : str, str, int, str, str
        The exception's type, its text, and the learner's line and function it came from; empty without one.
    changed : list of str
        Arguments that the call modified.
    counted : float or None
        Peak bytes, executed lines or entries of the largest tensor, where the probe asks for one.
    gradients : list of (array or None), or None
        Where the task compares gradients: one per argument that it names, None where no gradient arrived.
    gradient_error : str
        What backward raised.
    printed : str
        What the function printed.
    exact : list of dict or None
        What came back from a symbolic task, as plain data (``trees.py``); ``message`` says what it is where it is none.
    """

    kind: str = "NoneType"
    values: list[np.ndarray] | None = None
    dtypes: list[str] | None = None
    error: str = ""
    message: str = ""
    line: int = 0
    where: str = ""
    raiser: str = ""
    changed: tuple[str, ...] = ()
    counted: float | None = None
    gradients: list[np.ndarray | None] | None = None
    gradient_error: str = ""
    printed: str = ""
    exact: list | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return the observation as JSON-able data; float64 values survive to the bit."""
        plain = asdict(self)
        plain["changed"] = list(self.changed)
        for name in ("values", "gradients"):
            arrays = getattr(self, name)
            plain[name] = None if arrays is None else [_packed(v) for v in arrays]
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Observation:
        """Return the observation that :meth:`to_plain` wrote."""
        arrays = {n: None if plain[n] is None else [_unpacked(v) for v in plain[n]] for n in ("values", "gradients")}
        return cls(**{**plain, **arrays, "changed": tuple(plain["changed"])})


def _packed(array: np.ndarray | None) -> dict[str, Any] | None:
    if array is None:
        return None
    return {"shape": list(array.shape), "dtype": array.dtype.str, "hex": np.ascontiguousarray(array).tobytes().hex()}


def _unpacked(packed: dict[str, Any] | None) -> np.ndarray | None:
    if packed is None:
        return None
    return np.frombuffer(bytes.fromhex(packed["hex"]), dtype=np.dtype(packed["dtype"])).reshape(packed["shape"])


@contextlib.contextmanager
def absent(modules: Sequence[str]) -> Iterator[None]:
    """Make importing these modules (and what is inside them) fail while the block runs.

    Only these names are put back: what a learner's function imports meanwhile has to stay imported.
    """
    inside = [n for n in sys.modules if any(n.startswith(m + ".") for m in modules)]
    before = {name: sys.modules.get(name) for name in (*modules, *inside)}
    sys.modules.update(dict.fromkeys(before))  # None: "import halted"
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def observe(
    function: Callable, probes: Sequence[Probe], without: Sequence[str] = (), outputs: int = 1, task: Task | None = None
) -> list[Observation]:
    """Call ``function`` once per probe.

    Parameters
    ----------
    function : callable
        The learner's function; called with positional arguments.
    probes : sequence of Probe
    without : sequence of str
        Modules that cannot be imported meanwhile (the exercise's answer modules).
    outputs : int
        How many arrays are to come back; a list is one array, or so many.
    task : Task, optional
        Says whether arrays become tensors, how the function is driven, and which gradients are wanted.

    Returns
    -------
    list of Observation
        One per probe. After an exception the remaining probes still run: a mistake must explain them all.
    """
    seen: list[Observation] = []
    with absent(without):
        for probe in probes:
            grown = probe.measure == "memory" and growth(probes, seen) > GROWN
            seen.append(Observation(kind="skipped") if grown else _call(function, probe, outputs, task))
    return seen


def growth(probes: Sequence[Probe], seen: Sequence[Observation]) -> float:
    """Return by how much the executed lines grew from the first to the last probe that counts them; 1 without such."""
    counted = [o.counted or 1.0 for p, o in zip(probes, seen) if p.measure == "lines"]
    return counted[-1] / counted[0] if len(counted) > 1 else 1.0


def _call(function: Callable, probe: Probe, outputs: int, task: Task | None) -> Observation:
    given = copy.deepcopy(dict(probe.inputs))
    if task and task.symbolic:
        given = {name: v.as_mutable().copy() if hasattr(v, "as_mutable") else v for name, v in given.items()}
    if task and task.tensors:
        given = as_tensors(given)
    seen = Observation()
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        with counting(probe.measure) as count:
            try:
                value = call(function, given, task.drive if task else None)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  a learner's function may raise anything, SystemExit too
                seen.error, seen.message = type(error).__name__, _text(error)
                seen.line, seen.where, seen.raiser = _learners_line(error)
            seen.counted = count()
        if task and task.gradient and not seen.error and probe.measure is None:
            _observe_gradients(function, probe, outputs, task, seen)
    seen.printed = printed.getvalue()[:2000].encode("utf-8", "replace").decode()
    seen.changed = tuple(n for n, before in probe.inputs.items() if not _same(before, given[n]))
    seen.kind = type(value).__name__
    if task and task.symbolic:
        return _observe_exact(value, outputs, seen)
    try:
        seen.values, seen.dtypes = _arrays(value, outputs)
    except Exception:  # noqa: BLE001  a strange object is no array, whatever it raises when asked
        seen.values = seen.dtypes = None
    return seen


def _observe_exact(value: Any, outputs: int, seen: Observation) -> Observation:
    from . import trees

    try:
        seen.exact = None if seen.error or value is None else trees.answer(value, outputs)
    except trees.NotAnAnswer as error:
        seen.message = str(error)
    except Exception as error:  # noqa: BLE001  a strange object is no answer, whatever it raises when asked
        seen.message = f"a {seen.kind} that cannot be read ({type(error).__name__})"
    return seen


def _observe_gradients(function: Callable, probe: Probe, outputs: int, task: Task, seen: Observation) -> None:
    """Call once more on leaves, so that the first call shows what happens to arguments that are changed in place."""
    try:
        seen.gradients = gradients(function, probe, outputs, task)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001
        seen.gradient_error = f"{type(error).__name__}: {_text(error)}"


def gradients(function: Callable, probe: Probe, outputs: int, task: Task) -> list[np.ndarray | None]:
    """Return the gradients of a fixed random linear functional of the answer, None where none arrives."""
    import torch

    given = as_tensors(probe.inputs)
    for name in task.gradient:
        given[name].requires_grad_()
    value = call(function, given, task.drive)
    parts = value if outputs > 1 and isinstance(value, (tuple, list)) else (value,)
    rng = np.random.default_rng(0)
    total = sum(
        (part * torch.tensor(rng.normal(size=tuple(part.shape)), dtype=part.dtype, device=part.device)).sum()
        for part in parts if isinstance(part, torch.Tensor) and part.requires_grad
    )  # fmt: skip
    if not isinstance(total, torch.Tensor):
        return [None] * len(task.gradient)
    found = torch.autograd.grad(total, [given[name] for name in task.gradient], allow_unused=True)
    return [None if g is None else g.detach().cpu().double().numpy() for g in found]


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001
        return "no readable message"


def _learners_line(error: BaseException) -> tuple[int, str, str]:
    """Return line number, line and function that an exception came from, as far as it is the learner's own."""
    course = str(Path(__file__).parent.parent)  # the drive functions of exercises too
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(course)]
    libraries = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    own = [f for f in frames if not f.filename.startswith(libraries)] or frames[:1]
    if not own:
        return 0, "", ""
    return own[-1].lineno or 0, (own[-1].line or "").strip(), own[-1].name


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, np.ndarray):
        after = after.detach().numpy() if hasattr(after, "detach") else after
        return before.shape == after.shape and np.array_equal(before, after)
    return before == after


def _arrays(value: Any, outputs: int) -> tuple[list[np.ndarray] | None, list[str] | None]:
    several = outputs > 1 and isinstance(value, (tuple, list))
    values, dtypes = [], []
    for part in value if several else (value,):
        kind = None
        if hasattr(part, "detach"):  # a torch tensor, on any device
            part = part.detach().cpu()
            if str(part.dtype) == "torch.bfloat16":  # NumPy has none
                part, kind = part.float(), "bfloat16"
            part = part.resolve_conj().resolve_neg().numpy()
        array = np.array(part)
        if array.dtype.kind not in "biufc":
            return None, None
        values.append(array)
        dtypes.append(kind or str(array.dtype))
    return values, dtypes
