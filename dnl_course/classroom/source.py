"""Read a learner's function without running it: is it the untouched stub, and what does it call?"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import importlib
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

DATA = ("numpy", "torch", "sympy")


def unwrap(function: Any) -> types.FunctionType | None:
    """Return the plain Python function behind partials, decorators, methods and callable objects, if there is one."""
    for _ in range(20):
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(function, types.FunctionType):
            return function
        elif isinstance(vars(type(function)).get("__call__"), types.FunctionType):
            function = vars(type(function))["__call__"]
        else:
            return None
    return None


def fingerprint(source: str) -> str:
    """Return a hash of a function's body that ignores comments, layout, docstring and annotations.

    Examples
    --------
    >>> a = "def f(x):\\n    '''Say.'''\\n    raise NotImplementedError()"
    >>> b = "def f(x: float) -> float:\\n    # soon\\n    raise NotImplementedError()"
    >>> fingerprint(a) == fingerprint(b)
    True
    """
    body = _definition(source).body
    if body and isinstance(body[0], ast.Expr) and isinstance(getattr(body[0], "value", None), ast.Constant):
        body = body[1:]
    text = "\n".join(ast.dump(node, annotate_fields=False) for node in body)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _definition(source: str) -> ast.FunctionDef:
    for node in ast.walk(ast.parse(textwrap.dedent(source))):
        if isinstance(node, ast.FunctionDef):
            return node
    raise SyntaxError("no function definition in this source")


def source_of(function: Callable) -> str | None:
    """Return a function's source, or None where Python no longer has it."""
    plain = unwrap(function)
    try:
        return None if plain is None else inspect.getsource(plain)
    except (OSError, TypeError):
        return None


def is_stub(function: Callable, recorded: str | None) -> bool:
    """Tell whether the function is the unsolved cell (rule R6), by fingerprint or as a lone ``raise``."""
    source = source_of(function)
    if source is None:
        return False
    try:
        body = [n for n in _definition(source).body if not isinstance(n, ast.Expr)]
        return fingerprint(source) == recorded or (len(body) == 1 and _raises_not_implemented(body[0]))
    except SyntaxError:  # a lambda inside a larger expression, say
        return False


def _raises_not_implemented(node: ast.stmt) -> bool:
    return isinstance(node, ast.Raise) and node.exc is not None and "NotImplementedError" in ast.dump(node.exc)


def written(function: Callable, _seen: set[int] | None = None) -> Iterator[types.FunctionType]:
    """Yield a function and those that it calls and that were written in the same notebook: a helper hides nothing."""
    seen = set() if _seen is None else _seen
    plain = unwrap(function)
    if plain is None or id(plain) in seen:
        return
    seen.add(id(plain))
    yield plain
    for _, value in _reads_of(plain):
        own = unwrap(value) if callable(value) and not isinstance(value, type) else None
        if own is not None and own.__globals__ is plain.__globals__:
            yield from written(own, seen)


def uses(function: Callable) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, object) for everything that a function and its helpers read from outside themselves.

    Attributes are resolved on modules and classes only: looking at a learner's function runs nothing of it.
    """
    for plain in written(function):
        yield from _reads_of(plain)


def _reads_of(plain: types.FunctionType) -> Iterator[tuple[str, Any]]:
    codes = list(_codes(plain.__code__))
    own = {name for code in codes for name in code.co_cellvars}  # a local that a comprehension reads is not outside
    closure = {name: value for name, value in _closure(plain).items() if name not in own}
    for code in codes:
        yield from _reads(code, {name: v for name, v in plain.__globals__.items() if name not in own} | closure)


def _closure(function: types.FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    return found


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _reads(code: types.CodeType, outside: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    name, value = None, None
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF") and step.argval in outside:
            name, value = step.argval, outside[step.argval]
            yield name, value
        elif step.opname == "IMPORT_NAME":
            name, value = step.argval, types.ModuleType(step.argval)  # named only: importing would run it
            yield name, value
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM") and isinstance(value, (types.ModuleType, type)):
            name = f"{name}.{step.argval}"
            known = vars(value).get(step.argval)
            value = known if known is not None else types.ModuleType(name)
            yield name, value
        elif step.opname not in ("CACHE", "PUSH_NULL", "PRECALL", "EXTENDED_ARG"):
            name, value = None, None


def refused(function: Callable, prefixes: tuple[str, ...], names: tuple[str, ...] = ()) -> str | None:
    """Return the full name of the first whole answer that a function is or calls (rule R5), or None.

    Parameters
    ----------
    function : callable
    prefixes : tuple of str
        Modules in which everything is refused.
    names : tuple of str
        Dotted names of single objects; a method of the same name is refused too.

    Examples
    --------
    >>> import skimage.restoration
    >>> def mine(image): return skimage.restoration.denoise_nl_means(image)
    >>> refused(mine, ("skimage.restoration",))
    'skimage.restoration'
    >>> def rows(logits): return logits.softmax(-1)
    >>> refused(rows, (), ("torch.softmax",))
    'torch.softmax'
    """
    plain = unwrap(function)
    itself = [(getattr(f, "__name__", type(f).__name__), f) for f in (function, plain) if f is not None]
    whole = [(name, _object(name)) for name in names]
    for name, value in [*itself, *uses(function)]:
        is_module = isinstance(value, types.ModuleType)
        home = value.__name__ if is_module else getattr(value, "__module__", None)
        if isinstance(home, str) and any(home == p or home.startswith(p + ".") for p in prefixes):
            return home if is_module else f"{home}.{name.rpartition('.')[2]}"
        for dotted, answer in whole:
            if value is answer or (is_module and home == dotted):  # imported inside the function
                return dotted
    read = {step.argval for f in written(function) for code in _codes(f.__code__) for step in dis.get_instructions(code)
            if step.opname in ("LOAD_ATTR", "LOAD_METHOD")}  # fmt: skip
    return next((name for name in names if name.rpartition(".")[2] in read), None)


def _object(dotted: str) -> Any:
    """Return the object of a dotted name such as ``torch.nn.functional.softmax``."""
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


def outside_data(function: Callable) -> list[str]:
    """Return the names of the arrays and tensors that a function reads from the notebook instead of its arguments."""
    found = [name for name, value in uses(function) if type(value).__module__.split(".")[0] in DATA
             and hasattr(value, "shape") and not isinstance(value, type)]
    return list(dict.fromkeys(found))


def unused_parameters(function: Callable) -> list[tuple[str, int]]:
    """Return name and position of the arguments that a function never reads."""
    plain = unwrap(function)
    if plain is None:
        return []
    names = plain.__code__.co_varnames[: plain.__code__.co_argcount]
    read = {step.argval for code in _codes(plain.__code__) for step in dis.get_instructions(code)
            if step.opname.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_CLOSURE"))}
    flat = {name for value in read for name in (value if isinstance(value, tuple) else (value,))}
    return [(name, position) for position, name in enumerate(names) if name not in flat]
