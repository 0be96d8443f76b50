"""pyproject.toml (ranges), requirements.txt (lock) and environment.yml (conda) say the same; so do the imports."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from dnl_course import paths

ROOT = paths.root()
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "playwright": "playwright-python"}
NOT_IN_THE_LOCK = {"bench"}  # requirements-bench.txt has these
of_the_makefile = pytest.mark.skipif(
    Path(sys.prefix).resolve() != (ROOT / ".venv").resolve(), reason="not in the environment that the Makefile makes"
)


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared(*leave_out: str) -> dict[str, SpecifierSet]:
    """Return the direct dependencies of the package and of its extras, by canonical name."""
    texts = list(project()["dependencies"])
    for extra, requirements in project()["optional-dependencies"].items():
        if extra not in leave_out:
            texts += requirements
    found = [Requirement(text) for text in texts]
    return {canonicalize_name(r.name): r.specifier for r in found if r.name != project()["name"]}


def lines(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def locked() -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, lines("requirements.txt"))}


def conda() -> tuple[dict[str, SpecifierSet], list[str], dict]:
    """Return environment.yml's conda packages by name, its pip lines, and the whole."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    packages, pip = {}, []
    for item in environment["dependencies"]:
        if isinstance(item, dict):
            pip += item["pip"]
        else:
            name, specifier = re.fullmatch(r"([A-Za-z0-9_.-]+)(.*)", item).groups()
            packages[name] = SpecifierSet(specifier)
    return packages, pip, environment


def test_the_lock_pins_every_line_exactly_and_once():
    for requirement in locked().values():
        (pin,) = requirement.specifier
        assert pin.operator == "==" and "*" not in pin.version, requirement
        assert "+" not in pin.version, f"{requirement}: a local build is not on the index"
    assert len(lines("requirements.txt")) == len(locked())


def test_the_lock_names_no_index():
    assert not [line for line in lines("requirements.txt") if line.startswith("-") or "://" in line or "@" in line]


def test_the_lock_holds_every_direct_dependency_inside_its_range():
    lock = locked()
    for name, specifier in declared(*NOT_IN_THE_LOCK).items():
        assert name in lock, f"{name} is in pyproject.toml and not in requirements.txt"
        (pin,) = lock[name].specifier
        assert specifier.contains(pin.version), f"{name}: the lock has {pin.version}, pyproject.toml wants {specifier}"


@of_the_makefile
def test_the_lock_is_complete():
    """Whatever a locked package needs here is locked too: pip has nothing to choose."""
    lock = locked()
    for name, requirement in lock.items():
        if requirement.marker and not requirement.marker.evaluate():
            continue
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in lock, f"{name} needs {needed}, which is not locked"


@of_the_makefile
def test_the_environment_of_these_tests_is_the_lock():
    for name, requirement in locked().items():
        if requirement.marker is None or requirement.marker.evaluate():
            (pin,) = requirement.specifier
            # pip replaces a build tool of its own accord in no environment of ours, but a distribution may patch it
            if name != "setuptools":
                assert importlib.metadata.version(name).split("+")[0] == pin.version, name


def test_conda_has_the_same_packages_in_the_same_ranges():
    packages, pip, environment = conda()
    wanted = declared(*NOT_IN_THE_LOCK)
    expected = {canonicalize_name(CONDA_NAMES.get(name, name)): range_ for name, range_ in wanted.items()}
    given = {canonicalize_name(name): range_ for name, range_ in packages.items() if name not in ("python", "pip")}
    assert given == expected
    assert packages["python"].contains("3.11.0") and not packages["python"].contains("3.10.9")
    assert str(SpecifierSet(project()["requires-python"])) in str(packages["python"])
    assert pip == ["-e ."], "everything but the course itself comes from conda-forge"
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    assert environment["name"] == project()["name"]


def test_the_bench_lock_pins_the_bench_extra():
    if not (ROOT / "requirements-bench.txt").exists():
        pytest.skip("no requirements-bench.txt")
    pins = {canonicalize_name(r.name): r.specifier for r in map(Requirement, lines("requirements-bench.txt"))}
    for text in project()["optional-dependencies"]["bench"]:
        wanted = Requirement(text)
        (pin,) = pins.get(canonicalize_name(wanted.name)) or locked()[canonicalize_name(wanted.name)].specifier
        assert pin.operator == "==" and wanted.specifier.contains(pin.version), wanted


def imports(folder: str) -> dict[str, str]:
    """Return the third-party modules that a folder's Python files import, each with one file that does."""
    local = {project()["name"], "tests", "benchmarks", *(p.stem for p in (ROOT / folder).rglob("*.py"))}
    found = {}
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in (n.partition(".")[0] for n in names):
                if name not in sys.stdlib_module_names and name not in local:
                    found[name] = file.relative_to(ROOT).as_posix()
    return found


@pytest.mark.parametrize("folder, extras", [("dnl_course", ()), ("tests", ("bench",)), ("benchmarks", ("bench",))])
def test_every_import_is_a_declared_dependency(folder, extras):
    distributions = importlib.metadata.packages_distributions()
    allowed = set(declared(*(NOT_IN_THE_LOCK - set(extras))))
    for module, file in imports(folder).items():
        owners = {canonicalize_name(name) for name in distributions.get(module, [])}
        if not owners and module == "cv2":
            owners = {"opencv-python-headless"}
        assert owners & allowed, f"{file} imports {module}, which pyproject.toml does not declare"
