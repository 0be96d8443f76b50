"""The probe: call a learner's function on given arguments and write down plainly what happened.

Nothing is judged here. An :class:`Observation` holds only arrays, numbers and strings, so that it can leave the
process in which a submission runs.
"""

from __future__ import annotations

import contextlib
import copy
import io
import linecache
import sys
import traceback
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from unittest import mock

import numpy as np

from .task import Probe


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
    error, message, line, where : str, str, int, str
        The exception's type, its text, and the learner's line it came from; empty without one.
    changed : list of str
        Arguments that the call modified.
    counted : float or None
        Peak bytes or executed lines, where the probe asks for one.
    printed : str
        What the function printed.
    """

    kind: str = "NoneType"
    values: list[np.ndarray] | None = None
    dtypes: list[str] | None = None
    error: str = ""
    message: str = ""
    line: int = 0
    where: str = ""
    changed: tuple[str, ...] = ()
    counted: float | None = None
    printed: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return the observation as JSON-able data; float64 values survive to the bit."""
        plain = asdict(self)
        plain["changed"] = list(self.changed)
        if self.values is not None:
            plain["values"] = [
                {"shape": list(v.shape), "dtype": v.dtype.str, "hex": np.ascontiguousarray(v).tobytes().hex()}
                for v in self.values
            ]
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Observation:
        """Return the observation that :meth:`to_plain` wrote."""
        values = plain["values"]
        if values is not None:
            values = [
                np.frombuffer(bytes.fromhex(v["hex"]), dtype=np.dtype(v["dtype"])).reshape(v["shape"]) for v in values
            ]
        return cls(**{**plain, "values": values, "changed": tuple(plain["changed"])})


@contextlib.contextmanager
def absent(modules: Sequence[str]) -> Iterator[None]:
    """Make importing these modules (and what is inside them) fail while the block runs."""
    inside = [n for n in sys.modules if any(n.startswith(m + ".") for m in modules)]
    with mock.patch.dict(sys.modules, {name: None for name in (*modules, *inside)}):  # None: "import halted"
        yield


def observe(function: Callable, probes: Sequence[Probe], without: Sequence[str] = ()) -> list[Observation]:
    """Call ``function`` once per probe.

    Parameters
    ----------
    function : callable
        The learner's function; called with positional arguments.
    probes : sequence of Probe
    without : sequence of str
        Modules that cannot be imported meanwhile (the exercise's answer modules).

    Returns
    -------
    list of Observation
        One per probe. After an exception the remaining probes still run: a mistake must explain them all.
    """
    with absent(without):
        return [_call(function, probe) for probe in probes]


def _call(function: Callable, probe: Probe) -> Observation:
    given = copy.deepcopy(dict(probe.inputs))
    seen = Observation()
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        with _counting(probe.measure, function) as count:
            try:
                value = function(*given.values())
            except Exception as error:  # noqa: BLE001  a learner's function may raise anything
                seen.error, seen.message = type(error).__name__, str(error)
                seen.line, seen.where = _learners_line(error)
            seen.counted = count()
    seen.printed = printed.getvalue()[:2000]
    seen.changed = tuple(n for n, before in probe.inputs.items() if not _same(before, given[n]))
    seen.kind = type(value).__name__
    seen.values, seen.dtypes = _arrays(value)
    return seen


def _learners_line(error: BaseException) -> tuple[int, str]:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    own = [f for f in frames if "site-packages" not in f.filename] or frames
    if not own:
        return 0, ""
    return own[-1].lineno or 0, (own[-1].line or linecache.getline(own[-1].filename, own[-1].lineno or 0)).strip()


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, np.ndarray):
        return before.shape == after.shape and np.array_equal(before, after)
    return before == after


def _arrays(value: Any) -> tuple[list[np.ndarray] | None, list[str] | None]:
    parts = value if isinstance(value, (tuple, list)) and any(np.ndim(v) for v in value) else (value,)
    values, dtypes = [], []
    for part in parts:
        if hasattr(part, "detach"):  # a torch tensor, on any device
            part = part.detach().cpu().numpy()
        try:
            array = np.array(part)
        except (ValueError, TypeError):
            return None, None
        if array.dtype.kind not in "biufc":
            return None, None
        values.append(array)
        dtypes.append(str(array.dtype))
    return values, dtypes


@contextlib.contextmanager
def _counting(measure: str | None, function: Callable) -> Iterator[Callable[[], float | None]]:
    if measure == "memory":
        yield from _peak_bytes()
    elif measure == "lines":
        yield from _executed_lines()
    else:
        yield lambda: None


def _peak_bytes() -> Iterator[Callable[[], float]]:
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    tracemalloc.reset_peak()
    start = tracemalloc.get_traced_memory()[0]
    try:
        yield lambda: float(tracemalloc.get_traced_memory()[1] - start)
    finally:
        if not was_tracing:
            tracemalloc.stop()


def _executed_lines() -> Iterator[Callable[[], float]]:
    lines = 0

    def count(frame, event, argument):
        nonlocal lines
        if "site-packages" in frame.f_code.co_filename:
            return None  # a library's own lines are not the learner's loop
        lines += event == "line"
        return count

    before = sys.gettrace()  # a debugger or a coverage tool may be at work
    sys.settrace(count)
    try:
        yield lambda: float(lines)
    finally:
        sys.settrace(before)
