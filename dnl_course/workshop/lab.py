"""Opens the course in JupyterLab (``make lab``): the learner's copies, our quiet settings, one line with the URL.

The settings are package data (``jupyter/``) on ``JUPYTER_CONFIG_PATH``: no question about news, no update checks,
none of nbgrader's teachers' menus, kernels over IPC. Nothing is written to the user's own Jupyter folders: the layout
of the window and the log lie in ``work/.dnl/``.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dnl_course import copies, paths
from dnl_course.workshop import kernels

SETTINGS = Path(__file__).parent / "jupyter"
START_PAGE = "/lab/tree/work/00_start_here.ipynb"
SOCKET_PATH = 100  # characters that a socket's path may have, and a few to spare


def command(port: int, *, browser: bool = False) -> list[str]:
    """Return the command line that starts JupyterLab on `port` with the repository as its root.

    Examples
    --------
    >>> command(8888)[1:3]
    ['-m', 'jupyterlab']
    """
    dnl = paths.work() / ".dnl"
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={paths.root()}",
        f"--LabApp.default_url={START_PAGE}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.open_browser={browser}",
        "--ServerApp.answer_yes=True",
        f"--ServerApp.allow_root={hasattr(os, 'geteuid') and os.geteuid() == 0}",
        f"--LabApp.workspaces_dir={dnl / 'workspaces'}",
        "--LabApp.extension_manager=readonly",
        f"--KernelManager.transport={kernels.TRANSPORT}",
    ]


def environment(token: str, *, runtime: str | None = None) -> dict[str, str]:
    """Return the environment that JupyterLab is started in: the caller's, our settings first, and the token.

    Examples
    --------
    >>> environment("secret")["JUPYTER_CONFIG_PATH"].endswith("jupyter")  # doctest: +SKIP
    True
    """
    env = dict(os.environ)
    others = [path for path in env.get("JUPYTER_CONFIG_PATH", "").split(os.pathsep) if path]
    env.update(
        JUPYTER_CONFIG_PATH=os.pathsep.join([str(SETTINGS), *others]),
        JUPYTER_PREFER_ENV_PATH="1",
        JUPYTER_TOKEN=token,
        DNL_ROOT=str(paths.root()),
        PATH=os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")]),
    )
    if runtime:
        env["JUPYTER_RUNTIME_DIR"] = runtime
    return env


def free_port(first: int = 8888) -> int:
    """Return the first port from `first` on that nothing listens to.

    Raises
    ------
    OSError
        When fifty ports in a row are taken.
    """
    for port in range(first, min(first + 50, 65536)):
        with socket.socket() as probe:
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise OSError(f"no free port from {first} to {first + 49}: name another with --port.")


@contextmanager
def running(port: int = 8888, *, browser: bool = False, patience: float = 60.0) -> Iterator[tuple[str, subprocess.Popen]]:
    """Start JupyterLab, give its URL (with the token) and its process once it answers, and stop it at the end.

    Raises
    ------
    RuntimeError
        When it ends, or does not answer within `patience` seconds; the message ends with its log's last lines.

    Examples
    --------
    >>> with running() as (url, process):  # doctest: +SKIP
    ...     print(url)
    http://127.0.0.1:8888/lab/tree/work/00_start_here.ipynb?token=...
    """
    token, port = secrets.token_hex(16), free_port(port)
    log = paths.work() / ".dnl" / "lab.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with _runtime() as runtime, open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        process = subprocess.Popen(
            command(port, browser=browser),
            env=environment(token, runtime=runtime),
            cwd=paths.root(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            if not _answers(port, process, patience):
                tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
                raise RuntimeError(f"JupyterLab did not start; the end of its log (work/.dnl/lab.log):\n{tail}")
            yield f"http://127.0.0.1:{port}{START_PAGE}?token={token}", process
        finally:
            _stop(process)


def start(port: int = 8888, *, browser: bool = True) -> int:
    """Make the learner's copies, open JupyterLab, print its URL, and wait until Ctrl-C; return the exit code.

    Parameters
    ----------
    port : int
        The first port to try; a busy one gets the next.
    browser : bool
        Open a browser too, where there is a screen. The URL is printed in any case.
    """
    for copy in copies.make():
        print(copy)
    if not (paths.work() / "00_start_here.ipynb").exists():
        print("There is no lesson 00 in notebooks/: JupyterLab will open without a start page.", file=sys.stderr)
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running(port, browser=browser and _has_screen()) as (url, process):
            print(f"The course is open at {url}  (Ctrl-C here closes it)", flush=True)
            return process.wait()
    except KeyboardInterrupt:
        print("\nClosed. Your work is in work/.")
        return 0
    finally:
        signal.signal(signal.SIGTERM, previous)


def _has_screen() -> bool:
    """Whether a browser would have somewhere to open: a text browser in this very terminal helps nobody."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "BROWSER"))


def _answers(port: int, process: subprocess.Popen, patience: float) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + patience
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), opener.open(f"http://127.0.0.1:{port}/api", timeout=5):
            return True
        time.sleep(0.1)
    return False


def _stop(process: subprocess.Popen) -> None:
    """Ask JupyterLab to end, so that it ends its kernels too; insist after ten seconds."""
    for ask in (process.terminate, process.kill):
        if process.poll() is None:
            ask()
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                process.wait(10)


@contextmanager
def _runtime() -> Iterator[str | None]:
    """Give a short folder for the kernels' sockets where Jupyter's own has too long a path, else None."""
    from jupyter_core.paths import jupyter_runtime_dir

    longest = len(str(Path(jupyter_runtime_dir()) / f"kernel-{'0' * 36}-ipc-5"))
    if kernels.TRANSPORT == "tcp" or longest <= SOCKET_PATH:
        yield None
        return
    folder = tempfile.mkdtemp(prefix="dnl-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
