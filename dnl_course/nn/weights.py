"""Small trained networks that lessons load: ``weights/NAME.safetensors``, each with the command that makes it.

A file that is missing cannot say how to make it, so ``weights/index.json`` keeps command and checksum of each.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from dnl_course import __version__, paths

__all__ = ["describe", "load_weights", "save_weights"]

KEY = "dnl_course"  # one entry: safetensors does not keep the order of several, and the file would differ each time


def save_weights(name: str, module: torch.nn.Module, metadata: dict) -> Path:
    """Write the weights of a module to ``weights/NAME.safetensors``.

    Parameters
    ----------
    name : str
        Letters, digits, ``_`` and ``-``.
    module : torch.nn.Module
        Its ``state_dict()`` is written, as on the CPU.
    metadata : dict
        With "command" (what makes this file) and "seed", and whatever else is worth knowing and JSON can hold. The
        versions of Python, torch and the course are added.

    Returns
    -------
    pathlib.Path
        Of the file. The same weights and metadata give the same bytes.

    Raises
    ------
    TypeError, ValueError
        A bad name, no module, no command or seed, metadata that JSON cannot hold.

    Examples
    --------
    >>> import os, shutil, tempfile, torch
    >>> from unittest import mock
    >>> with tempfile.TemporaryDirectory() as folder:  # a course of its own, so that this example changes nothing
    ...     _ = shutil.copy(paths.root() / "pyproject.toml", folder)
    ...     with mock.patch.dict(os.environ, DNL_ROOT=folder):
    ...         path = save_weights("line", torch.nn.Linear(2, 1), {"command": "dnl train line", "seed": 0})
    ...         path.name, sorted(load_weights("line")), describe("line")["command"]
    ('line.safetensors', ['bias', 'weight'], 'dnl train line')
    """
    path = _path(name)
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module is of type {type(module).__name__}; allowed is a torch.nn.Module.") from None
    missing = [key for key in ("command", "seed") if key not in metadata]
    if missing:
        raise ValueError(
            f"metadata lacks {' and '.join(missing)}; allowed is a dict with 'command' and 'seed', so that the weights "
            "can be made again."
        ) from None
    torch_version = torch.__version__.split("+")[0]
    versions = {"python": platform.python_version(), "torch": torch_version, "dnl_course": __version__}
    try:
        described = json.dumps({**metadata, "versions": versions}, sort_keys=True)
    except TypeError as error:
        raise TypeError(f"metadata holds what JSON cannot: {error}.") from None
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
    data = save(tensors, metadata={KEY: described})
    path.parent.mkdir(exist_ok=True)
    _write(path, data)
    index = _index()
    index[name] = {"command": metadata["command"], "sha256": hashlib.sha256(data).hexdigest()}
    _write(_index_path(), (json.dumps(index, indent=2, sort_keys=True) + "\n").encode())
    return path


def load_weights(name: str) -> dict[str, torch.Tensor]:
    """Read ``weights/NAME.safetensors``: a state dict on the CPU, for ``module.load_state_dict``.

    Raises
    ------
    FileNotFoundError
        No such file; the sentence names the command that makes it, or the names that there are.
    ValueError
        The file is not the one that was written; the sentence names the command that makes it again.
    """
    data = _bytes(name)
    try:
        return load(data)
    except SafetensorError as error:
        raise ValueError(_corrupt(name, str(error))) from None


def describe(name: str) -> dict:
    """Read what is known of ``weights/NAME.safetensors``: "command", "seed", "versions" and what else was given.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_weights`.
    """
    _bytes(name)
    try:
        with safe_open(_path(name), framework="pt") as file:
            return json.loads((file.metadata() or {})[KEY])
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(_corrupt(name, str(error))) from None


def _path(name: str) -> Path:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"name is {name!r}; allowed are letters, digits, _ and -, without folder or ending.") from None
    return paths.root() / "weights" / f"{name}.safetensors"


def _index_path() -> Path:
    return paths.root() / "weights" / "index.json"


def _index() -> dict:
    path = _index_path()
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"weights/index.json is no JSON ({error}). Restore it: git checkout weights/index.json") from None


def _bytes(name: str) -> bytes:
    """Return the content of a file that is there and has the checksum of the index."""
    path, index = _path(name), _index()
    if not path.is_file():
        known = sorted({p.stem for p in path.parent.glob("*.safetensors")} | set(index))
        make = f"Make it: {index[name]['command']}" if name in index else f"There are: {', '.join(known) or 'none yet'}"
        raise FileNotFoundError(f"weights/{path.name} is missing. {make}") from None
    data = path.read_bytes()
    if name in index and hashlib.sha256(data).hexdigest() != index[name]["sha256"]:
        raise ValueError(_corrupt(name, "its checksum is another than in weights/index.json"))
    return data


def _corrupt(name: str, why: str) -> str:
    index = _index()
    make = f" Make it again: {index[name]['command']}" if name in index else ""
    return f"weights/{name}.safetensors is not what was written ({why}).{make}"


def _write(path: Path, data: bytes) -> None:
    """Write whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)
