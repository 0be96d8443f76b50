"""What all sections share: interleaved timing, memory of a fresh process, tables, and JSON lines that can be cited."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
MISSING = "not installed: pip install -r requirements-bench.txt"
PACKAGES = ("numpy", "torch", "scikit-image", "opencv-python-headless", "mmcv-lite", "mmsegmentation")


def peer(module: str):
    """Return a peer's module, or None where it is not installed: its rows say so, and the rest goes on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a peer imports is its own affair
        try:
            return importlib.import_module(module)
        except ImportError:
            return None


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _peak_bytes() -> int:
    """Peak resident memory of this process."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def grown_by(work: Callable[[], object], device: str = "cpu") -> int:
    """Return by how many bytes the peak memory of this process rises while ``work`` runs; use a fresh process.

    What the imports took and gave back would hide the first megabytes, so on Linux the peak is first set back to
    what is held now. On ``"cuda"`` it is the memory that torch gives to tensors.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _linux_peak() or _peak_bytes()
    work()
    return (_linux_peak() or _peak_bytes()) - before


def _linux_peak() -> int:
    """VmHWM, which clear_refs sets back (ru_maxrss stays); 0 where there is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    return 0


class Times(NamedTuple):
    """Seconds of one run, timed several times."""

    median: float
    fastest: float
    turns: int


class Bench:
    """One run: its conditions, its tables, and the file that they are recorded in."""

    def __init__(self, threads: int, repeats: int, json_file: Path | None = None):
        self.threads, self.repeats, self.json_file = threads, repeats, json_file
        torch.set_num_threads(threads)
        self.conditions = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "processor": _processor(),
            "processors": os.cpu_count(),
            "threads": threads,
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "system": f"{platform.system()} {platform.machine()}",
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
            "commit": _commit(),
            "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        }

    def header(self) -> str:
        """Device, load, threads, versions and commit in three lines."""
        c = self.conditions
        versions = ", ".join(f"{name} {version}" for name, version in c["versions"].items())
        return (
            f"{c['processor']}, {c['threads']} threads on {c['processors']} processors; GPU: {c['gpu'] or 'none'}; "
            f"load before the start {c['load']}\n"
            f"{versions}\ncommit {c['commit']}, {c['time']}"
        )

    def seconds(
        self, title: str, runs: dict[str, Callable[[], object]], repeats: int = 0, limit: float = math.inf
    ) -> dict[str, Times]:
        """Time each run several times, taking turns, so that a slow moment of the machine falls on all of them.

        After ``limit`` seconds no further turn begins, but one is always timed.
        """
        taken: dict[str, list[float]] = {name: [] for name in runs}
        repeats = repeats or self.repeats
        began = time.perf_counter()
        with tqdm(total=(repeats + 1) * len(runs), desc=title, leave=False, disable=None) as bar:
            for turn in range(repeats + 1):
                if turn > 1 and time.perf_counter() - began > limit:
                    break
                for name, run in runs.items():
                    start = time.perf_counter()
                    run()
                    if turn:  # the first turn warms up
                        taken[name].append(time.perf_counter() - start)
                    bar.update()
        return {name: Times(statistics.median(values), min(values), len(values)) for name, values in taken.items()}

    def in_fresh_process(self, module: str, *arguments: str, environment: dict[str, str] | None = None) -> dict:
        """Run ``python -m module arguments`` and return what it prints, one JSON object."""
        command = [sys.executable, "-m", module, *arguments]
        variables = {**os.environ, **(environment or {})}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=variables)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr}")
        return json.loads(done.stdout)

    def table(self, title: str, rows: list[dict], **settings) -> None:
        """Print rows under one title (None is a dash) and append them to the JSON file."""
        columns = list(dict.fromkeys(name for row in rows for name in row if name != "note"))
        cells = [columns] + [[_cell(row.get(name)) for name in columns] for row in rows]
        widths = [max(len(line[k]) for line in cells) for k in range(len(columns))]
        given = ", ".join(f"{name} {value}" for name, value in settings.items())
        print(f"\n{title}" + (f"\n({given})" if given else ""))
        notes = [""] + [row.get("note", "") for row in rows]
        for number, (line, note) in enumerate(zip(cells, notes, strict=True)):
            first, *others = (
                text.ljust(w) if not k else text.rjust(w) for k, (text, w) in enumerate(zip(line, widths, strict=True))
            )
            print("  ".join([first, *others]) + (f"  {note}" if note else ""))
            if not number:
                print("  ".join("-" * w for w in widths))
        if self.json_file:
            self.json_file.parent.mkdir(parents=True, exist_ok=True)
            with self.json_file.open("a", encoding="utf-8") as file:
                for row in rows:
                    file.write(json.dumps({"table": title, **row, "settings": settings, **self.conditions}) + "\n")


def _cell(value) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"
    return str(value)
