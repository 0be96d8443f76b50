"""What a probe counts besides the value: peak memory, executed lines, the largest tensor; never seconds."""

from __future__ import annotations

import contextlib
import functools
import sys
import tracemalloc
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def counting(measure: str | None) -> Iterator[Callable[[], float | None]]:
    """Count while the block runs, and yield a function that tells what was counted; nothing for None."""
    if measure == "memory":
        yield from _peak_bytes()
    elif measure == "lines":
        yield from _executed_lines()
    elif measure == "tensor":
        yield from _largest_tensor()
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


def _largest_tensor() -> Iterator[Callable[[], float]]:
    with _tensor_watch()() as watch:
        yield lambda: float(watch.largest)


@functools.cache
def _tensor_watch() -> type:
    """Return a mode that notes the entries of the largest tensor made under it; a view or an expanded one adds none."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Watch(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            for leaf in tree_leaves(made):
                if isinstance(leaf, torch.Tensor):
                    self.largest = max(self.largest, leaf.untyped_storage().nbytes() // leaf.element_size())
            return made

    return Watch
