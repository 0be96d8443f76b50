"""Executes notebooks headless, measures them, and says what is wrong with them.

`make notebooks` runs :func:`notebooks` on lessons and solutions; `make run` builds its pages from :func:`execute`.
Anything on stderr counts as a fault: a reader would see it in the lesson.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from dnl_course import paths
from dnl_course.workshop import kernels, stable

CELL_SECONDS = 60.0
NOTEBOOK_SECONDS = 120.0


@dataclass
class Execution:
    """One notebook's run: the executed notebook, what it took, and what was wrong with it.

    Attributes
    ----------
    path : Path
        The notebook that was executed.
    notebook : nbformat.NotebookNode
        The executed notebook.
    seconds : float
        Wall-clock seconds, the start of the kernel included.
    cells : list of (str, float)
        Cell id and seconds of each code cell, slowest first.
    faults : list of str
        One line for each error, stderr output or exceeded budget; empty when all is well.
    """

    path: Path
    notebook: Any
    seconds: float = 0.0
    cells: list[tuple[str, float]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the notebook ran without error, warning or exceeded budget."""
        return not self.faults

    @property
    def text(self) -> str:
        """One line with the seconds and the slowest cells, and one for each fault."""
        slow = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.cells[:3] if seconds >= 1)
        line = f"{self.path.name}: {self.seconds:.1f} s" + (f" (slowest cells: {slow})" if slow else "")
        return "\n".join([line, *(f"  {fault}" for fault in self.faults)])


def execute(
    path: str | os.PathLike,
    *,
    cwd: str | os.PathLike | None = None,
    timeout: float = CELL_SECONDS,
    budget: float = NOTEBOOK_SECONDS,
    on_cell: Callable[[str], None] | None = None,
) -> Execution:
    """Execute one notebook in a kernel of this Python; the file itself is not touched.

    Parameters
    ----------
    path : path
        The notebook.
    cwd : path, optional
        Where it runs; its own folder unless said otherwise.
    timeout, budget : float
        Seconds that a cell and the whole notebook may take; a cell that takes longer is stopped.
    on_cell : callable, optional
        Called with each code cell's id once it has run.

    Returns
    -------
    Execution
        Never raises for what a notebook does: its `faults` name the notebook, the cell and the error's last line.

    Examples
    --------
    >>> run = execute("notebooks/00_start_here.ipynb")  # doctest: +SKIP
    >>> run.ok, round(run.seconds)  # doctest: +SKIP
    (True, 3)
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    run = Execution(path, notebook)
    began: dict[int, float] = {}
    at = [0]

    def started(cell, cell_index):
        at[0] = cell_index
        began[cell_index] = perf_counter()

    def finished(cell, cell_index, **_):
        if cell_index in began:
            run.cells.append((cell.id, perf_counter() - began.pop(cell_index)))
            if on_cell:
                on_cell(cell.id)

    def fault(sentence: str) -> None:
        run.faults.append(f"{path.name}, cell {notebook.cells[at[0]].id}: {sentence}")

    start = perf_counter()
    with kernels.manager() as manager_class:
        client = NotebookClient(
            notebook,
            kernel_manager_class=manager_class,
            kernel_name="python3",
            timeout=max(1, int(timeout)),
            coalesce_streams=True,
            store_widget_state=False,
            record_timing=False,
            on_cell_start=started,
            on_cell_executed=finished,
            resources={"metadata": {"path": str(Path(cwd) if cwd else path.resolve().parent)}},
        )
        try:
            client.execute()
        except CellExecutionError as error:
            fault(f"{error.ename}: {_last_line(error.evalue)}")
        except CellTimeoutError:
            fault(f"took more than {timeout:g} s and was stopped.")
        except DeadKernelError:
            fault("the kernel died (out of memory?).")
    run.seconds = perf_counter() - start
    run.cells.sort(key=lambda item: -item[1])
    run.faults += [f"{path.name}, cell {cell.id}: {sentence}" for cell in notebook.cells for sentence in _noise(cell)]
    if run.seconds > budget:
        run.faults.append(f"{path.name}: {run.seconds:.0f} s; a notebook may take {budget:g} s.")
    return run


def _last_line(message: str) -> str:
    lines = [line for line in message.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _noise(cell) -> Iterable[str]:
    """Yield what a cell's outputs should not contain: stderr, and paths of the machine they were made on."""
    root, home = str(paths.root()), str(Path.home())
    for output in cell.get("outputs", ()):
        if output.output_type == "stream" and output.name == "stderr":
            yield f"wrote to stderr: {_last_line(output.text)}"
        text = str(output.get("text", "")) + "".join(
            value for mime, value in output.get("data", {}).items() if mime.startswith("text/") and isinstance(value, str)
        )
        if root in text or (len(home) > 1 and re.search(re.escape(home) + r"(?![\w-])", text)):
            yield "prints a path of this machine."


def run_all(files: list[Path], **options) -> Iterable[Execution]:
    """Execute notebooks one after the other under one progress bar, counted in cells; yield each `Execution`."""
    import nbformat
    from tqdm.auto import tqdm

    total = sum(c.cell_type == "code" and bool(c.source.strip()) for f in files for c in nbformat.read(f, 4).cells)
    with tqdm(total=total, unit="cell", disable=None) as bar:
        for file in files:
            bar.set_description(file.stem)
            yield execute(file, on_cell=lambda _: bar.update(), **options)


def notebooks(folders: Iterable[str] = ("notebooks", "solutions"), only: str | None = None) -> list[Execution]:
    """Execute the notebooks of the repository's `folders` in place (`make notebooks`).

    A notebook that fails is left as it was; one that only warns is written, and its faults are reported.

    Parameters
    ----------
    folders : iterable of str
        Folders below the repository's root.
    only : str, optional
        Only notebooks whose name starts with this, such as ``"01"``.

    Examples
    --------
    >>> [run.text for run in notebooks(["notebooks"], only="00")]  # doctest: +SKIP
    ['00_start_here.ipynb: 3.1 s']
    """
    files = [file for name in folders for file in sorted((paths.root() / name).glob("[0-9]*.ipynb"))]
    files = [file for file in files if file.name.startswith(only or "")]
    if only and not files:
        raise FileNotFoundError(f"no notebook starts with {only!r} in {', '.join(folders)}.")
    runs = []
    for run in run_all(files):
        failed = any(o.output_type == "error" for c in run.notebook.cells for o in c.get("outputs", ()))
        expected = all("raises-exception" in c.metadata.get("tags", ()) for c in run.notebook.cells
                       if any(o.output_type == "error" for o in c.get("outputs", ())))
        complete = all(c.execution_count for c in run.notebook.cells if c.cell_type == "code" and c.source.strip())
        if complete and (expected or not failed):
            stable.write(stable.keep_ignored(stable.normalise(run.notebook), run.path), run.path)
        runs.append(run)
    return runs
