"""Writes executed notebooks so that the same outputs give the same bytes, on any machine and at any time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

WIDGET = "application/vnd.jupyter.widget-view+json"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
VOLATILE = ("execution", "ExecuteTime", "collapsed", "scrolled", "trusted", "papermill", "widgets")


def normalise(notebook):
    """Take out of an executed notebook, in place, what differs between two runs or two machines; return it.

    Cell ids, tags, outputs and their order stay. Execution counts are made sequential; the view of a widget goes
    where an image, HTML or text stands beside it (a code host cannot show the widget anyway).

    Examples
    --------
    >>> import nbformat.v4 as v4
    >>> cell = v4.new_code_cell("1", id="a", execution_count=7, metadata={"execution": {}, "tags": ["core"]})
    >>> nb = normalise(v4.new_notebook(cells=[cell], metadata={"widgets": {}}))
    >>> nb.cells[0].execution_count, nb.cells[0].metadata, sorted(nb.metadata)
    (1, {'tags': ['core']}, ['kernelspec', 'language_info'])
    """
    from nbformat import from_dict

    for key in (*VOLATILE, "signature"):
        notebook.metadata.pop(key, None)
    notebook.metadata.update(from_dict({"kernelspec": KERNELSPEC, "language_info": LANGUAGE}))
    count = 0
    for cell in notebook.cells:
        for key in VOLATILE:
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        if cell.execution_count is not None:
            count += 1
            cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = cell.execution_count
            data = output.get("data", {})
            if WIDGET in data and len(data) > 1:
                del data[WIDGET]
    return notebook


def keep_ignored(notebook, path: Path):
    """Keep the outputs that `path` has for unchanged cells tagged ``nbval-ignore-output``: they differ every time.

    Examples
    --------
    >>> keep_ignored({"cells": []}, Path("no such notebook"))
    {'cells': []}
    """
    import nbformat

    if not path.is_file():
        return notebook
    before = {cell.get("id"): cell for cell in nbformat.read(path, as_version=4).cells}
    for cell in notebook.cells:
        old = before.get(cell.get("id"), {})
        if "nbval-ignore-output" in cell.metadata.get("tags", ()) and old.get("source") == cell.source and old.get("outputs"):
            cell.outputs = old.outputs
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = cell.execution_count
    return notebook


def write(notebook, path: Path) -> bool:
    """Write a normalised notebook in one step; return whether the file changed."""
    import nbformat

    content = nbformat.writes(notebook, version=4).rstrip("\n") + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == content:
        return False
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(content)
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o777)
        else:
            os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True
