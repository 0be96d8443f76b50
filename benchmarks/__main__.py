"""``python -m benchmarks [SECTION ...] [--json FILE]``: run sections, print their tables."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.runner import Bench

# Modules of this package with run(bench); a lesson with something to compare adds its own.
SECTIONS = ("denoise", "non_local", "family")


def main(
    sections: Annotated[
        list[str] | None, typer.Argument(help=f"Which ones: {', '.join(SECTIONS)}; all if none.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Append each row to FILE as a line of JSON.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads for every library.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Timed turns; the median is shown.")] = 9,
) -> None:
    """Compare the course's functions with their peers, in one run."""
    unknown = [name for name in sections or () if name not in SECTIONS]
    if unknown:
        raise typer.BadParameter(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}.")
    bench = Bench(threads, repeats, json_file)
    print(bench.header())
    for name in sections or SECTIONS:
        importlib.import_module(f"benchmarks.{name}").run(bench)


if __name__ == "__main__":
    typer.run(main)
