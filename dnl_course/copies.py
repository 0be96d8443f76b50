"""The learner's own copies in ``work/``: made by ``dnl lab``, never overwritten, offered anew when the course changes.

Lessons become ``work/NN_name.ipynb`` and exercises ``work/exercises/NN_name.ipynb``. Cell ids, tags and text stay;
the outputs of lessons are cleared, since a lesson is there to be run (the executed ones lie in ``notebooks/``).
``work/.dnl/copies.json`` remembers what each source was when it was copied, and the cells of the copy: so a copy in
which nothing was done (JupyterLab rewrites a notebook's metadata when it is merely opened) can be told from one that
holds somebody's work, be it a line of code or an output.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dnl_course import links, paths


@dataclass(frozen=True)
class Copy:
    """What was done about one notebook: ``action`` is "made", "replaced" or "laid beside"."""

    action: str
    path: Path

    def __str__(self) -> str:
        place = self.path.relative_to(paths.work().parent).as_posix()
        return {
            "made": f"{place}: your copy",
            "replaced": f"{place}: a new version (there was nothing of yours in the old one)",
            "laid beside": f"{place}: a new version, beside your own, which stays as it is",
        }[self.action]


def make() -> list[Copy]:
    """Bring ``work/`` up to date; return what was done, nothing when nothing had to be done.

    A file that a learner has touched is never written to. When a source has changed, an untouched copy is replaced;
    beside a touched one the new version is laid as ``NN_name.v2.ipynb`` (``v3``, ...), once per version. Files are
    written in one step each and noted after it, so an interrupted run or a lost manifest costs no work: a copy that
    the manifest does not know counts as touched unless it equals what would be written.

    Examples
    --------
    >>> [str(copy) for copy in make()]  # doctest: +SKIP
    ['work/00_start_here.ipynb: your copy', 'work/exercises/01_non_local_means.ipynb: your copy']
    """
    manifest = _read_manifest()
    done = []
    for name, source, target in _pairs():
        original = source.read_bytes()
        version, note = _sum(original), manifest.get(name, {})
        there = _work_in(target.read_bytes()) if target.exists() else None
        if there and note.get("source") == version:
            continue
        content = _for_learner(original, source.parent.name)
        mine = there not in (None, note.get("copy"), _work_in(content))  # somebody's work, as far as we know
        if there is None:
            _write(target, content)
            done.append(Copy("made", target))
        elif mine:
            beside = _beside(target, content)
            if beside is not None:
                _write(beside, content)
                done.append(Copy("laid beside", beside))
        elif there != _work_in(content):
            if _work_in(target.read_bytes()) != there:
                continue  # saved this very moment: it is somebody's work by now, and the next call will say so
            _write(target, content)
            done.append(Copy("replaced", target))
        manifest[name] = {"source": version, "copy": note.get("copy", "") if mine else _work_in(content)}
        _write_manifest(manifest)
    return done


def reset(number: str) -> Path:
    """Restore an exercise (``"01"``), or the cells of one task (``"01.2"``), and return the backup of what was there.

    The backup is written before anything is restored, under ``work/backups/`` with the date in its name.

    Raises
    ------
    ValueError
        When `number` is neither an exercise nor a task of one; the message names those that there are.

    Examples
    --------
    >>> reset("01.2").name  # doctest: +SKIP
    '01_non_local_means.2026-11-21_101500.ipynb'
    """
    exercise, _, task = str(number).partition(".")
    sources = {source.name[:2]: (name, source, target) for name, source, target in _pairs() if name.startswith("exercises/")}
    if exercise not in sources or not re.fullmatch(r"\d\d(\.\d+)?", str(number)):
        raise ValueError(f"no exercise {number!r}; there are: {', '.join(sources) or 'none yet'}.")
    name, source, target = sources[exercise]
    content = _for_learner(source.read_bytes(), "exercises")
    if task:
        # First: a task that does not exist must leave everything as it is.
        fresh = _cells_of(json.loads(content), f"{exercise}.{task}")
        if not fresh:
            raise ValueError(f"exercise {exercise} has no task {number}.")
    if not target.exists():
        make()
        return target
    backup = _backup(target)
    if task:
        content = _with_cells(target, fresh)
        _write(target, content)
    else:
        _write(target, content)
        manifest = _read_manifest()
        manifest[name] = {"source": _sum(source.read_bytes()), "copy": _work_in(content)}
        _write_manifest(manifest)
    return backup


def _pairs() -> Iterator[tuple[str, Path, Path]]:
    """Yield (name in the manifest, source, copy) of each lesson and exercise."""
    root, work = paths.root(), paths.work()
    for source in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        yield source.name, source, work / source.name
    for source in sorted((root / "exercises").glob("[0-9][0-9]_*.ipynb")):
        yield f"exercises/{source.name}", source, work / "exercises" / source.name


def _for_learner(content: bytes, folder: str) -> bytes:
    """Return a notebook of `folder` as a learner gets it: a lesson's outputs cleared, links to the learner's copies."""
    notebook = json.loads(content)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = links.relink("".join(cell["source"]), folder, _copied(folder), _copied)
            cell["source"] = text.splitlines(keepends=True)
        elif cell["cell_type"] == "code" and folder == "notebooks":
            cell.update(outputs=[], execution_count=None)
    return (json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def _copied(path: str) -> str:
    """Return where in ``work/`` the learner's copy of a path of the repository lies; other paths stay."""
    path = re.sub(r"^notebooks(?=/|$)", "work", path)
    return re.sub(r"^exercises(?=/|$)", "work/exercises", path)


def _beside(target: Path, content: bytes) -> Path | None:
    """Return the first free ``name.vN.ipynb``, or None when this very version already lies there."""
    number = 2
    while (beside := target.with_suffix(f".v{number}.ipynb")).exists():
        if beside.read_bytes() == content:
            return None
        number += 1
    return beside


def _cells_of(notebook: dict, task: str) -> dict[str, dict]:
    """Return the cells of a task by id: those whose nbgrader grade id (or own id) names the task, 01.2 as 01-2 too."""
    pattern = re.compile(rf"(^|\D){task.replace('.', '[._-]')}($|[^\d])")
    found = {}
    for cell in notebook["cells"]:
        grader = cell.get("metadata", {}).get("nbgrader", {})
        names = (grader.get("grade_id", ""), cell.get("id", ""), *cell.get("metadata", {}).get("tags", ()))
        if cell["cell_type"] == "code" and grader.get("solution", True) and any(pattern.search(n) for n in names):
            found[cell["id"]] = cell
    return found


def _with_cells(target: Path, fresh: dict[str, dict]) -> bytes:
    try:
        notebook = json.loads(target.read_bytes())
        ids = [cell.get("id") for cell in notebook["cells"]]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{target.name} cannot be read as a notebook: reset the whole exercise.") from None
    missing = [identifier for identifier in fresh if identifier not in ids]
    if missing:
        raise ValueError(f"the task's cell is no longer in {target.name}: reset the whole exercise.")
    notebook["cells"] = [fresh.get(cell.get("id"), cell) for cell in notebook["cells"]]
    return (json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def _backup(target: Path) -> Path:
    folder = paths.work() / "backups"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{target.stem}.{datetime.now():%Y-%m-%d_%H%M%S}"
    backup, number = folder / f"{stem}.ipynb", 2
    content = target.read_bytes()
    while True:
        try:
            with open(backup, "xb") as file:  # created by this call or not at all: two resets at once keep both
                file.write(content)
            return backup
        except FileExistsError:
            backup, number = folder / f"{stem}-{number}.ipynb", number + 1
        except OSError:  # a full disk: no half backup, and nothing is reset
            backup.unlink(missing_ok=True)
            raise


def _read_manifest() -> dict[str, dict[str, str]]:
    """Return what was copied; an absent or damaged manifest is an empty one: then every copy counts as touched."""
    try:
        manifest = json.loads((paths.work() / ".dnl" / "copies.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in manifest.items() if isinstance(v, dict)} if isinstance(manifest, dict) else {}


def _write_manifest(manifest: dict[str, dict[str, str]]) -> None:
    _write(paths.work() / ".dnl" / "copies.json", (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    """Write a file in one step: it is there whole, or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".dnl-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _work_in(content: bytes) -> str:
    """Return a sum over what a learner can have done: text, outputs, kind and order of cells; not the metadata."""
    try:
        cells = json.loads(content)["cells"]
        parts = [[cell["cell_type"], "".join(cell["source"]), cell.get("outputs", []), cell.get("attachments")] for cell in cells]
    except (ValueError, KeyError, TypeError):
        return _sum(content)
    return _sum(json.dumps(parts, sort_keys=True).encode())


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
