"""Kernels of this very Python, reached over IPC: what `execute`, `doctor` and the tests start notebooks with.

A kernel on TCP warns on stderr that it is not encrypted, and a warning in a lesson is a fault; over IPC there is
nothing to warn about and no port to lose. Windows has no IPC in ZeroMQ and keeps TCP.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INLINE = "module://matplotlib_inline.backend_inline"
TRANSPORT = "tcp" if sys.platform == "win32" else "ipc"


def environment(**more: str) -> dict[str, str]:
    """Return the environment that notebooks are executed in: the caller's own, without its influence on outputs.

    Nothing is recorded in the learner's progress, figures come inline, progress bars and text have one width and no
    colour, and the kernel is that of this Python even where the user has another one named ``python3``.

    Examples
    --------
    >>> environment()["DNL_RECORD"]
    'off'
    """
    from dnl_course import paths

    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    env.update(
        DNL_RECORD="off",
        DNL_ROOT=str(paths.root()),
        MPLBACKEND=INLINE,
        JUPYTER_PREFER_ENV_PATH="1",
        COLUMNS="100",
        OMP_WAIT_POLICY="PASSIVE",  # torch's idle threads sleep: spinning ones crawl when another process wants the core
    )
    env.update(more)
    return env


def manager_class(folder: Path, *, blocking: bool = False) -> type:
    """Return a kernel manager class whose kernels run this Python in :func:`environment`, over IPC.

    Parameters
    ----------
    folder : Path
        Where their sockets lie; it has to be short, since a socket's path may have about 100 characters.
    blocking : bool
        Derive from jupyter_client's ``KernelManager`` (nbval wants that one) instead of ``AsyncKernelManager``.
    """
    from ipykernel.kernelspec import RESOURCES, get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager, KernelManager
    from traitlets import default

    class ThisPython(KernelSpecManager):
        """Knows one kernel, the one of this Python, whatever name a notebook asks for."""

        def get_kernel_spec(self, kernel_name):
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())

    class Manager(KernelManager if blocking else AsyncKernelManager):
        """Starts kernels over IPC."""

        def start_kernel(self, **options):
            options.setdefault("env", environment())
            return super().start_kernel(**options)

        @default("transport")
        def _default_transport(self):
            return TRANSPORT

        @default("kernel_spec_manager")
        def _default_kernel_spec_manager(self):
            return ThisPython(parent=self)

        @default("connection_file")
        def _default_connection_file(self):
            return str(folder / f"{os.urandom(4).hex()}.json")

    return Manager


@contextmanager
def manager() -> Iterator[type]:
    """Give a kernel manager class, with a short folder for its sockets that is removed afterwards.

    Examples
    --------
    >>> with manager() as Manager:
    ...     Manager().transport in ("ipc", "tcp")
    True
    """
    folder = Path(tempfile.mkdtemp(prefix="dnl-"))
    try:
        yield manager_class(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
