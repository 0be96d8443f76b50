"""Recorded runs: results/NAME.jsonl, one run a line, each with the conditions that it was made under (lessons 04 and 09)."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

from dnl_course import paths

__all__ = ["conditions", "read", "write"]


def conditions(command: str) -> dict:
    """Return what a recorded number means little without: time, device, versions, commit and `command`.

    Examples
    --------
    >>> sorted(conditions("python -m dnl_course.train.two_tasks"))
    ['command', 'commit', 'device', 'system', 'time', 'versions']
    """
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": f"CPU: {_processor()}, {os.cpu_count()} processors",
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__},
        "commit": _commit(),
        "command": command,
    }


def write(name: str, runs: list[dict]) -> Path:
    """Write results/NAME.jsonl anew, one run a line, and return its path."""
    path = paths.root() / "results" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(run) + "\n" for run in runs), encoding="utf-8")
    return path


def read(name: str) -> list[dict]:
    """Read results/NAME.jsonl: one dict a run, as it was written."""
    path = paths.root() / "results" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(paths.root()), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
