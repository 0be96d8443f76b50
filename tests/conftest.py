"""What all tests share: nothing is recorded as a learner's work, and notebooks run as `make notebooks` runs them."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

os.environ["DNL_RECORD"] = "off"


def pytest_configure(config):
    """Have nbval run notebooks as the course does.

    Kernels over IPC (TCP warns on stderr), figures inline, and cells with history: without it IPython does not heed
    the semicolon that ends a cell, and counts every cell as the first.
    """
    if config.getoption("nbval", False):
        import nbval.kernel

        from dnl_course.workshop import kernels

        folder = tempfile.mkdtemp(prefix="dnl-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        nbval.kernel.KernelManager = kernels.manager_class(Path(folder), blocking=True)

        def execute_cell_input(self, cell_input, allow_stdin=None):
            return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)

        nbval.kernel.RunningKernel.execute_cell_input = execute_cell_input


@pytest.fixture
def course(tmp_path, monkeypatch):
    """An empty course: a folder that `dnl_course.paths` takes for a clone, with nothing in it but the metadata."""
    from dnl_course import paths

    root = tmp_path / "a course"
    for name in ("notebooks", "exercises", "solutions"):
        (root / name).mkdir(parents=True)
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(paths.root() / name, root / name)
    monkeypatch.setenv("DNL_ROOT", str(root))
    return root
