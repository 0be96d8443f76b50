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
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .task import Probe

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
    raiser: str = ""
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
    function: Callable, probes: Sequence[Probe], without: Sequence[str] = (), outputs: int = 1
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

    Returns
    -------
    list of Observation
        One per probe. After an exception the remaining probes still run: a mistake must explain them all.
    """
    seen: list[Observation] = []
    with absent(without):
        for probe in probes:
            grown = probe.measure == "memory" and growth(probes, seen) > GROWN
            seen.append(Observation(kind="skipped") if grown else _call(function, probe, outputs))
    return seen


def growth(probes: Sequence[Probe], seen: Sequence[Observation]) -> float:
    """Return by how much the executed lines grew from the first to the last probe that counts them; 1 without such."""
    counted = [o.counted or 1.0 for p, o in zip(probes, seen) if p.measure == "lines"]
    return counted[-1] / counted[0] if len(counted) > 1 else 1.0


def _call(function: Callable, probe: Probe, outputs: int) -> Observation:
    given = copy.deepcopy(dict(probe.inputs))
    seen = Observation()
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        with _counting(probe.measure, function) as count:
            try:
                value = function(*given.values())
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  a learner's function may raise anything, SystemExit too
                seen.error, seen.message = type(error).__name__, _text(error)
                seen.line, seen.where, seen.raiser = _learners_line(error)
            seen.counted = count()
    seen.printed = printed.getvalue()[:2000].encode("utf-8", "replace").decode()
    seen.changed = tuple(n for n, before in probe.inputs.items() if not _same(before, given[n]))
    seen.kind = type(value).__name__
    try:
        seen.values, seen.dtypes = _arrays(value, outputs)
    except Exception:  # noqa: BLE001  a strange object is no array, whatever it raises when asked
        seen.values = seen.dtypes = None
    return seen


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001
        return "no readable message"


def _learners_line(error: BaseException) -> tuple[int, str, str]:
    """Return line number, line and function that an exception came from, as far as it is the learner's own."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    libraries = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    own = [f for f in frames if not f.filename.startswith(libraries)] or frames[:1]
    if not own:
        return 0, "", ""
    return own[-1].lineno or 0, (own[-1].line or "").strip(), own[-1].name


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, np.ndarray):
        return before.shape == after.shape and np.array_equal(before, after)
    return before == after


def _arrays(value: Any, outputs: int) -> tuple[list[np.ndarray] | None, list[str] | None]:
    several = outputs > 1 and isinstance(value, (tuple, list))
    values = []
    for part in value if several else (value,):
        if hasattr(part, "detach"):  # a torch tensor, on any device
            part = part.detach().cpu().numpy()
        array = np.array(part)
        if array.dtype.kind not in "biufc":
            return None, None
        values.append(array)
    return values, [str(v.dtype) for v in values]


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
