"""The house: floors stand only on floors below, importing is cheap, examples in docstrings run."""

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dnl_course

PACKAGE = Path(dnl_course.__file__).parent
FLOORS = (
    {"paths", "links", "_nl_means_checks"},
    {"_nl_means_core"},
    {"denoise", "attention", "symbolic", "data", "copies"},
    {"nn"},
    {"measure"},
    {"train"},
    {"show"},
    {"classroom"},
    {"workshop"},
    {"cli"},
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(PACKAGE)], "dnl_course."))
APART = {"denoise", "attention", "symbolic", "data"}  # import nothing of the package (denoise: but its own private halves)


def imported(path: Path) -> set[str]:
    """Return the rooms of the package that a file imports, wherever in the file it does so."""
    here = ("dnl_course", *path.relative_to(PACKAGE).with_suffix("").parts)
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            whole = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            names = [f"{whole}.{a.name}" for a in node.names]
        rooms |= {n.split(".")[1] for n in names if n.startswith("dnl_course.")}
    return rooms & set(LEVEL)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_import_upwards(path):
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if room == "__init__":
        assert not imported(path)
        return
    assert room in LEVEL, f"{room} is on no floor: put it on one, here and in CONTRIBUTING.md"
    for other in imported(path) - {room}:
        assert LEVEL[other] < LEVEL[room], f"{room} must not import {other}"
        assert room not in APART or other.startswith("_"), f"{room} imports nothing of the package"


def test_the_floor_test_sees_all_ways_to_import(tmp_path):
    assert {"paths", "classroom"} <= imported(PACKAGE / "workshop" / "rehearse.py")
    assert "log" not in imported(PACKAGE / "classroom" / "engine.py") and "copies" in imported(PACKAGE / "classroom" / "engine.py")


def test_modules_are_small():
    long = {p.name: n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text(encoding="utf-8").splitlines())) > 300}
    assert not long


@pytest.mark.parametrize(("module", "absent"), [
    ("dnl_course", {"torch", "numpy", "matplotlib", "IPython", "jupyter_client", "typer"}),
    ("dnl_course.classroom", {"torch", "matplotlib", "IPython", "jupyter_client", "nbformat"}),
    ("dnl_course.denoise", {"matplotlib", "IPython", "skimage", "jupyter_client"}),
    ("dnl_course.show.plots", {"torch", "ipywidgets", "jupyter_client"}),
    ("dnl_course.symbolic", {"torch", "numpy", "matplotlib"}),
    ("dnl_course.cli", {"torch", "matplotlib", "nbformat", "jupyter_client"}),
])  # fmt: skip
def test_importing_is_cheap(module, absent):
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not absent & set(loaded)


def test_import_with_torch_takes_under_two_and_a_half_seconds():
    def seconds():
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch, dnl_course, dnl_course.denoise"], check=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 2.5


@pytest.mark.parametrize("name", [m for m in MODULES if m != "dnl_course.cli"])
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    as_a_learner = {"__name__": "__main__"}  # what an example defines is not the package's own
    failed, _ = doctest.testmod(module, extraglobs=as_a_learner, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0
