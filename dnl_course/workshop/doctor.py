"""Says whether this machine can run the course: versions against the lock, threads, GPU, a kernel that starts.

``dnl doctor`` prints the table; ``dnl doctor --class`` one line that a student can send beforehand, without user or
host name and without any path.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

from dnl_course import __version__, paths

OK, WARN, FAIL = "ok", "warn", "fail"
MARKS = {OK: "✓", WARN: "!", FAIL: "✗"}
INSTALL = "make lab, or in an environment of your own: pip install -r requirements.txt"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: ``state`` is "ok", "warn" or "fail"; ``mend`` says what to do about it."""

    name: str
    state: str
    detail: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{MARKS[self.state]} {self.name}: {self.detail}"
        return f"{line}\n    → {self.mend}" if self.mend else line


@dataclass(frozen=True)
class Report:
    """What the doctor found.

    Attributes
    ----------
    checks : tuple of Check
        In the order in which they were made.
    """

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing fails; warnings are allowed."""
        return all(check.state != FAIL for check in self.checks)

    @property
    def text(self) -> str:
        """The table, one line for each check, and a closing sentence; packages that match share one line."""
        fine = [c for c in self.checks if c.name.startswith("package ") and c.state == OK]
        lines = [str(c) for c in self.checks if c not in fine]
        if fine:
            lines.insert(1, str(Check("packages", OK, f"{len(fine)} as in the lock")))
        failed = [c.name for c in self.checks if c.state == FAIL]
        warned = [c.name for c in self.checks if c.state == WARN]
        if failed:
            lines.append(f"This machine is not ready: {', '.join(failed)}.")
        elif warned:
            lines.append(f"This machine is ready; worth a look: {', '.join(warned)}.")
        else:
            lines.append("This machine is ready.")
        return "\n".join(lines)

    @property
    def line(self) -> str:
        """One line to send to a teacher: versions, device, kernel, system, and what is not well; nothing personal."""
        found = {check.name: check.detail for check in self.checks}
        trouble = [f"{c.state} {c.name}" for c in self.checks if c.state != OK]
        parts = [
            f"dnl {__version__}",
            OK if self.ok else FAIL,
            f"Python {platform.python_version()}",
            f"torch {_version('torch') or 'missing'}",
            found.get("GPU", "").split(":")[0].replace("no GPU", "CPU") + f" {found.get('threads', '').split(' of')[0]}",
            f"kernel {found.get('kernel', 'not tried').split(',')[0]}",
            f"{platform.system()} {platform.machine()}",
        ]
        return " · ".join([*parts, *([", ".join(trouble)] if trouble else [])])


def examine(*, kernel_seconds: float = 60.0) -> Report:
    """Examine this machine.

    Parameters
    ----------
    kernel_seconds : float
        How long a kernel may take to start and to answer 1 + 1.

    Examples
    --------
    >>> print(examine().text)  # doctest: +SKIP
    ✓ Python: 3.11.7
    ✓ packages: 22 as in the lock
    ✓ threads: 2 threads of 2 cores
    ...
    """
    return Report((python(), *packages(), threads(), gpu(), kernel(kernel_seconds), *room()))


def python() -> Check:
    """Check Python's version (an older one than 3.11 cannot even be installed into)."""
    if sys.version_info >= (3, 14):
        return Check("Python", WARN, platform.python_version(), "the lock was made for Python 3.11 to 3.13.")
    return Check("Python", OK, platform.python_version())


def packages() -> Iterator[Check]:
    """Check each direct dependency: missing or outside the package's range fails, other than the lock warns."""
    from packaging.version import Version

    locked = _locked()
    for requirement in _direct():
        name, version = requirement.name, _version(requirement.name)
        lock = locked.get(_canonical(name))
        if version is None:
            yield Check(f"package {name}", FAIL, "missing", INSTALL)
        elif not requirement.specifier.contains(Version(version), prereleases=True):
            yield Check(f"package {name}", FAIL, f"{version}; the course needs {requirement.specifier}", INSTALL)
        elif lock and Version(version).public != Version(lock).public:
            # A local suffix (+cpu, +cu130) is the same version, built for another device.
            yield Check(f"package {name}", WARN, f"{version}; the lock has {lock}", f"if something looks odd: {INSTALL}")
        else:
            yield Check(f"package {name}", OK, version)


def threads() -> Check:
    """Check that torch uses the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        import torch
    except Exception as error:  # noqa: BLE001  a broken library raises OSError, not ImportError
        return Check("threads", FAIL, f"torch cannot be imported ({type(error).__name__})", INSTALL)
    used = torch.get_num_threads()
    detail = f"{used} thread{'s' * (used != 1)} of {cores} core{'s' * (cores != 1)}"
    if used < max(cores // 2, min(cores, 2)):  # half of them is usual where each core counts twice
        return Check("threads", WARN, detail, "torch uses few of your cores: is OMP_NUM_THREADS set?")
    return Check("threads", OK, detail)


def gpu() -> Check:
    """Name the GPU that torch can use; warn where there is one that it cannot use."""
    try:
        import torch
    except Exception as error:  # noqa: BLE001
        return Check("GPU", FAIL, f"unknown: torch cannot be imported ({type(error).__name__})", INSTALL)
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Check("GPU", OK, f"{properties.name} {properties.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        return Check("GPU", OK, "Apple GPU (MPS)")
    driver = _driver()
    if driver:
        return Check(
            "GPU",
            WARN,
            f"no GPU for torch, although there is an NVIDIA driver ({driver})",
            "a CUDA build of torch: TORCH_INDEX=https://download.pytorch.org/whl/cu130 make lab (see the README)",
        )
    return Check("GPU", OK, "no GPU: everything runs on the CPU")


def kernel(seconds: float = 60.0) -> Check:
    """Start a kernel and have it add 1 and 1."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    start = perf_counter()
    try:
        with ThreadPoolExecutor(1) as aside:  # in a notebook this thread has an event loop already
            aside.submit(lambda: asyncio.run(asyncio.wait_for(_one_plus_one(), seconds))).result()
    except Exception as error:  # noqa: BLE001  whatever goes wrong here, the learner needs it in one line
        what = "no answer" if isinstance(error, TimeoutError) else f"{type(error).__name__}"
        return Check("kernel", FAIL, f"{what} after {perf_counter() - start:.1f} s", INSTALL)
    return Check("kernel", OK, f"{perf_counter() - start:.1f} s, and it answers")


def room() -> Iterator[Check]:
    """Warn where disk or memory is short."""
    free = shutil.disk_usage(paths.root()).free / 2**30
    yield Check("disk", OK if free >= 1 else WARN, f"{free:.1f} GiB free", "" if free >= 1 else "make room for about 1 GiB.")
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return
    enough = memory >= 3.5
    yield Check("memory", OK if enough else WARN, f"{memory:.0f} GiB", "" if enough else "close other programs first.")


async def _one_plus_one() -> None:
    from dnl_course.workshop import kernels

    with kernels.manager() as manager_class:
        manager = manager_class()
        client = None
        try:
            await manager.start_kernel()
            client = manager.client()
            client.start_channels()
            await client.wait_for_ready()
            reply = await client.execute_interactive(
                "", user_expressions={"sum": "1 + 1"}, store_history=False, allow_stdin=False
            )
            answer = reply["content"]["user_expressions"]["sum"]["data"]["text/plain"]
            if answer != "2":
                raise ValueError(answer)
        finally:
            if client is not None:
                client.stop_channels()
            if manager.has_kernel:
                await manager.shutdown_kernel(now=True)
            manager.context.destroy(linger=0)


def _direct() -> list:
    """Return the direct dependencies that a learner needs, as pyproject.toml declares them."""
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((paths.root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in (*project["dependencies"], *project["optional-dependencies"]["lab"])]


def _locked() -> dict[str, str]:
    from packaging.requirements import Requirement

    lines = (paths.root() / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {_canonical(pin.name): next(iter(pin.specifier)).version for pin in pins}


def _canonical(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    """Return the name of the GPU that NVIDIA's driver knows, or None where there is no driver."""
    if not shutil.which("nvidia-smi"):
        return None
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            check=False,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip().splitlines()[0] if asked.returncode == 0 and asked.stdout.strip() else None
