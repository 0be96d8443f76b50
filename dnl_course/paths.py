"""Where the course's files are: the repository that holds lessons, exercises and the learner's ``work/``."""

from __future__ import annotations

import os
from pathlib import Path

MARKER = 'name = "dnl_course"'


def _is_root(folder: Path) -> bool:
    project = folder / "pyproject.toml"
    return project.is_file() and MARKER in project.read_text(encoding="utf-8")


def root() -> Path:
    """Return the root of the course's repository.

    Looked for in this order: the folder named by ``DNL_ROOT``; the current folder and its parents; the folder
    that an editable install points to.

    Raises
    ------
    FileNotFoundError
        When none of the three is a clone of the course.

    Examples
    --------
    >>> from dnl_course import paths
    >>> (paths.root() / "pyproject.toml").is_file()
    True
    """
    named = os.environ.get("DNL_ROOT")
    if named:
        folder = Path(named).resolve()
        if _is_root(folder):
            return folder
        raise FileNotFoundError(f"DNL_ROOT={named} is not a clone of the course: no pyproject.toml of dnl_course there.")
    here = Path.cwd().resolve()
    package = Path(__file__).resolve().parent
    for folder in (here, *here.parents, package.parent):
        if _is_root(folder):
            return folder
    raise FileNotFoundError(
        f"no clone of the course at {here} or above it: change into the cloned folder, or set DNL_ROOT to it."
    )


def work() -> Path:
    """Return the folder of the learner's own copies (``<root>/work``; it need not exist yet)."""
    return root() / "work"


def build() -> Path:
    """Return the folder of everything that can be made again (``<root>/build``)."""
    return root() / "build"
