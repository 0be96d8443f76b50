"""Side by side with peers, in one run, with ratios: ``make bench`` or ``python -m benchmarks``.

A section is a module with ``run(bench)``; `benchmarks.__main__` lists the sections, `benchmarks.runner` measures,
prints and records.
"""
