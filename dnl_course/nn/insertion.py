"""Put blocks into a network that is trained already, without touching what it has learnt (lesson 03, claim I10).

A forward hook on a named module replaces its output x by block(x). The residual alone does not keep a network
unharmed: W_z (or the norm's weight and bias) must be 0 too, and a block for which that is not so is refused.
"""

from __future__ import annotations

import difflib
from typing import Self

import torch
from torch import nn

__all__ = ["Insertion", "insert"]

CONTAINER = "non_local_blocks"


class _Blocks(nn.Module):
    """Where a model keeps its inserted blocks, so that its parameters are the model's.

    It passes its input on: in an ``nn.Sequential`` the container becomes the last element.
    """

    def forward(self, x):
        return x


class _After:
    """The hook. A plain object, so that a copied or unpickled model has a hook with the copied block."""

    def __init__(self, name: str, block: nn.Module):
        self.name, self.block = name, block

    def __call__(self, module, inputs, output):
        words = f"the output of {self.name!r} ({type(module).__name__})"
        if not isinstance(output, torch.Tensor):
            raise TypeError(
                f"{words} is of type {type(output).__name__}; a block takes a tensor. Insert it after a module that "
                "returns one."
            ) from None
        check = getattr(self.block, "_check", None)
        if check is not None:
            check(output, words)
        return self.block(output)


class Insertion:
    """What `insert` did, and how to undo it. Also a context manager: leaving it removes the blocks.

    Attributes
    ----------
    model : torch.nn.Module
    blocks : dict of str to torch.nn.Module
        By the name of the module that they follow.
    """

    def __init__(self, model: nn.Module, blocks: dict[str, nn.Module]):
        self.model, self.blocks = model, blocks
        self._hooks: list[tuple[nn.Module, _After]] = []

    def _put(self, name: str, container: _Blocks) -> None:
        key = name.replace("_", "__").replace(".", "_") or "whole"  # one key for each name, in whatever order
        if hasattr(_Blocks(), key):
            key += "_"
        module, hook = self.model.get_submodule(name), _After(name, self.blocks[name])
        self._hooks.append((module, hook))
        container.add_module(key, hook.block)
        module.register_forward_hook(hook)

    def remove(self) -> None:
        """Take the blocks out: modules, hooks and state-dict keys are again what they were. Twice does no harm."""
        container = self.model._modules.get(CONTAINER)
        for module, hook in self._hooks:
            for held, own in ((module._forward_hooks, hook), (getattr(container, "_modules", {}), hook.block)):
                for key in [key for key, value in held.items() if value is own]:
                    del held[key]
        self._hooks = []
        if isinstance(container, _Blocks) and not container._modules:
            del self.model._modules[CONTAINER]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"Insertion({', '.join(f'{name!r}: {type(b).__name__}' for name, b in self.blocks.items())})"


def insert(model: nn.Module, blocks: dict[str, nn.Module], *, allow_change: bool = False) -> Insertion:
    """Put blocks after named modules of a network.

    Parameters
    ----------
    model : torch.nn.Module
        Any network; its own weights and state-dict keys stay as they are. The parameters of the blocks become its own,
        with keys that begin with ``non_local_blocks.`` and the name of the module: dots written as ``_``, ``_`` as ``__``.
    blocks : dict of str to torch.nn.Module
        A block for each place, by the names of ``model.named_modules()``: ``{"layer3.1": NonLocalBlock(256)}``. Each
        follows the model's mode, training or evaluation.
    allow_change : bool, optional
        Take blocks that are not the identity too: the output of the network changes at once.

    Returns
    -------
    Insertion
        Its ``remove()`` undoes everything; ``with insert(...):`` does so at the end.

    Raises
    ------
    TypeError
        ``model`` or a block is no module, ``blocks`` no dict. At the first forward: a module does not return a tensor.
    ValueError
        An unknown name (near ones are listed); a block that is not the identity; a second block at one place; one
        block, or one module, under two names. Nothing is inserted then. At the first forward: an output with another
        number of axes or channels, on another device or of another dtype than the block.

    Notes
    -----
    - Insert before you build the optimizer, or give it ``insertion.blocks[name].parameters()``.
    - A checkpoint of the plain network: load it before, or with ``strict=False`` after. A checkpoint with blocks:
      insert the same blocks first, then load.
    - ``copy.deepcopy``, ``torch.save`` of the model and ``torch.export`` take the blocks along. To remove them from a
      copy, copy both: ``copy.deepcopy((model, insertion))``.
    - A module that runs several times in one pass (a shared ReLU) is followed by its block each time. One that is not
      called at all (``nn.MultiheadAttention.out_proj``, whose weight is used directly) never is.
    - The model has one child more, the last. In an ``nn.Sequential`` it passes its input on; ``model[-1]`` is another.
    - Insert before ``torch.compile``, which does not see hooks that come later.
    - ``nn.DataParallel`` copies modules but not what hooks hold, and fails on more than one device;
      ``DistributedDataParallel`` does not.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from dnl_course.nn import NonLocalBlock, insert
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    >>> x = torch.randn(1, 3, 9, 9)
    >>> before = network(x)
    >>> insertion = insert(network, {"1": NonLocalBlock(8)})
    >>> torch.equal(network(x), before), "0.weight" in network.state_dict()
    (True, True)
    >>> [key for key in network.state_dict() if "out" in key]
    ['non_local_blocks.1.out.weight', 'non_local_blocks.1.out.bias']
    >>> insertion.remove()
    >>> len(network)
    3
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is of type {type(model).__name__}; allowed is a torch.nn.Module.") from None
    if not isinstance(blocks, dict):
        raise TypeError(
            f"blocks is of type {type(blocks).__name__}; allowed is a dict of names to blocks, "
            '{"layer3.1": NonLocalBlock(256)}.'
        ) from None
    if not blocks:
        raise ValueError("blocks is empty; allowed is at least one name with its block.") from None
    _check_model(model, allow_change)
    container = getattr(model, CONTAINER, None)
    if container is not None and not isinstance(container, _Blocks):
        raise ValueError(
            f"model has an attribute {CONTAINER!r} of its own, of type {type(container).__name__}; the blocks would be "
            "kept under that name. Rename it."
        ) from None
    _check_places(model, blocks)
    _check_blocks(model, blocks, allow_change)
    insertion = Insertion(model, dict(blocks))
    try:
        if container is None:
            container = _Blocks()
            model.add_module(CONTAINER, container)
        for name in blocks:
            insertion._put(name, container)
    except BaseException:
        insertion.remove()
        raise
    container.train(model.training)
    return insertion


def _check_model(model: nn.Module, allow_change: bool) -> None:
    """Refuse wrappers that would not see the blocks, and containers whose elements a network runs through."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    for name, module in model.named_modules():
        if isinstance(module, parallel) or hasattr(module, "_orig_mod") or "FSDP" in type(module).__name__:
            where = f"model.{name}" if name else "model"
            raise ValueError(
                f"{where} is a {type(module).__name__}, which would not see the blocks. Insert into the module inside it, "
                "before you wrap it."
            ) from None
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("model is a ScriptModule, which takes no hooks. Insert before you script it.") from None
    if isinstance(model, (nn.ModuleList, nn.ModuleDict)) and not allow_change:
        raise ValueError(
            f"model is an {type(model).__name__}, which would have one element more. Insert into the network that it "
            "belongs to, or pass allow_change=True."
        ) from None


def _check_places(model: nn.Module, blocks: dict) -> None:
    """Refuse names that do not lead to one module each, and places that are taken."""
    modules = {n: m for n, m in model.named_modules(remove_duplicate=False) if n.split(".")[0] != CONTAINER}
    taken = {}
    for name in blocks:
        if name not in modules:
            near = difflib.get_close_matches(str(name), [n for n in modules if n], n=5, cutoff=0.3)
            listed = f"near are {', '.join(map(repr, near))}" if near else f"there are {', '.join(map(repr, modules))}"
            raise ValueError(f"blocks names {name!r}, and the model has no such module; {listed}.") from None
        module = modules[name]
        if id(module) in taken:
            raise ValueError(
                f"blocks names {taken[id(module)]!r} and {name!r}, which are one module: both blocks would run at both "
                "places. Insert one."
            ) from None
        taken[id(module)] = name
        if any(isinstance(hook, _After) for hook in module._forward_hooks.values()):
            raise ValueError(
                f"blocks names {name!r}, which has a block already. Remove that first, or insert both at once as "
                "torch.nn.Sequential(first, second)."
            ) from None


def _check_blocks(model: nn.Module, blocks: dict, allow_change: bool) -> None:
    """Refuse what is no block, is in the model already, stands in two places, or would change the output."""
    inside = {id(module) for module in model.modules()}
    placed = {}
    for name, block in blocks.items():
        if not isinstance(block, nn.Module):
            given = f"the class {block.__name__}" if isinstance(block, type) else f"of type {type(block).__name__}"
            raise TypeError(f"the block for {name!r} is {given}; allowed is a torch.nn.Module.") from None
        if id(block) in placed or id(block) in inside:
            where = repr(placed[id(block)]) if id(block) in placed else "elsewhere in the model"
            raise ValueError(
                f"the block for {name!r} stands {where} too: they would share their weights. Make one for each place, "
                "{name: NonLocalBlock(256) for name in names}."
            ) from None
        placed[id(block)] = name
        if not allow_change and any(p.is_meta for p in block.parameters()):
            raise ValueError(
                f"the block for {name!r} has parameters on the meta device, whose values cannot be looked at. "
                "Materialise it first, or pass allow_change=True."
            ) from None
        if not allow_change and not _is_identity(block):
            mend = "zero_init=True" if getattr(getattr(block, "preset", None), "out", True) else "preset='block'"
            raise ValueError(
                f"the block for {name!r} is not the identity, and would change the output of the network at once. "
                f"Build it with {mend}, or pass allow_change=True if you want the change."
            ) from None


def _is_identity(block: nn.Module) -> bool:
    """Say whether a block is known to pass its input on; a sequence is if all its parts are."""
    if block._forward_hooks or block._forward_pre_hooks:
        return False
    if type(block) is nn.Sequential:
        return all(_is_identity(part) for part in block)
    if type(block) is nn.Identity:
        return True
    for base in type(block).__mro__:  # a subclass with a forward of its own must say it anew
        if "is_identity" in vars(base):
            return bool(block.is_identity())
        if "forward" in vars(base):
            return False
    return False
