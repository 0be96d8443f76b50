"""How 03.3 and 03.5 are called: the layers and networks that a learner's function is given, and what is measured on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

# ---------------------------------------------------------------- 03.3
STEPS, RATE = 3, 0.1
RESPONDS = 1e-6  # a branch that learns answers other features with a change of 0.002 and more; one that cannot, with rounding


class Start(NamedTuple):
    """What is judged of 03.3: first `out` alone, then `out` followed by `norm`."""

    output: Any
    output_norm: Any
    response: Any
    response_norm: Any
    entries: Any
    entries_norm: Any
    untouched: Any
    frozen: Any
    stopped: Any


class Branch(nn.Module):
    """norm(out(y)) with y = value(x): the branch that a block adds, and a trainable map before it."""

    def __init__(self, out: nn.Module, norm: nn.Module | None, value: nn.Module):
        super().__init__()
        self.out, self.norm, self.value = out, norm, value

    def forward(self, x):
        z = self.out(self.value(x))
        return z if self.norm is None else self.norm(z)

    def parameters_asked_for(self) -> list[Any]:
        """Return weight and bias of `out`, then of `norm`; None where one was taken away."""
        layers = [self.out] if self.norm is None else [self.out, self.norm]
        return [getattr(layer, name, None) for layer in layers for name in ("weight", "bias")]


def start_of_training(function: Callable, inputs: Mapping[str, Any]) -> tuple:
    """Call ``zero_init_`` on a layer alone, then on a layer and its norm, and measure how both start and learn."""
    seen = [_measure(function, inputs, name) for name in (None, inputs["norm"])]
    (output, response, entries, untouched, frozen, stopped), (output_n, response_n, entries_n, untouched_n, frozen_n, stopped_n) = seen
    return tuple(Start(output, output_n, response, response_n, entries, entries_n,
                       np.append(untouched, untouched_n), np.append(frozen, frozen_n), max(stopped, stopped_n)))  # fmt: skip


def _layer(text: str, generator: torch.Generator) -> nn.Module:
    """Return the layer that a text such as ``nn.Conv2d(5, 4, 1)`` names, with random weights and biases, none of them 0."""
    name, _, sizes = text.removeprefix("nn.").removesuffix(")").partition("(")
    return _filled(getattr(nn, name)(*(int(size) for size in sizes.split(","))), generator)


def _filled(layer: nn.Module, generator: torch.Generator) -> nn.Module:
    for p in layer.parameters():
        p.data = torch.randn(p.shape, generator=generator) * 0.4 + 0.5
    return layer


def _measure(function, inputs, norm):
    generator = torch.Generator().manual_seed(inputs["seed"])
    out = _layer(inputs["out"], generator)
    channels, kernel = out.weight.shape[1], [1] * (out.weight.ndim > 2)
    value = _filled(type(out)(channels, channels, *kernel), generator)
    branch = Branch(out, _layer(norm, generator) if norm else None, value)
    before = [p.detach().clone() for p in branch.parameters_asked_for()]
    try:
        function(branch.out, branch.norm)
    except RuntimeError as error:
        if "leaf Variable that requires grad" not in str(error):
            raise
        return 0.0, 0.0, np.zeros(len(before)), np.zeros(len(before)), np.zeros(len(before)), 1.0
    after = branch.parameters_asked_for()
    entries = np.array([0.0 if p is None else float(p.detach().abs().max()) for p in after])
    untouched = np.array([p is not None and p.shape == old.shape and torch.equal(p, old) for p, old in zip(after, before)], float)
    frozen = np.array([p is not None and not p.requires_grad for p in after], float)
    try:
        output, response = _learn(branch.double(), generator)
    except Exception as error:  # noqa: BLE001  layers that were changed in some strange way
        raise RuntimeError(f"after your function has run, the branch no longer works: {error}") from None
    return output, response, entries, untouched, frozen, 0.0


def _learn(branch: Branch, generator) -> tuple[float, float]:
    """Return the largest output at the start (in both modes), and 1 where the output depends on x after some steps."""
    shape = (6, branch.value.weight.shape[1], *(5, 4)[: branch.value.weight.ndim - 2])
    x, other = (1.0 + 0.6 * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        output = max(float(branch.train(mode)(x).abs().max()) for mode in (False, True))
    target = torch.randn(branch(x).shape, generator=generator, dtype=torch.float64)
    trained = [p for p in branch.parameters() if p.requires_grad]
    for _ in range(STEPS):  # by hand: torch.optim takes two seconds to load
        gradients = torch.autograd.grad(F.mse_loss(branch(x), target), trained, allow_unused=True)
        with torch.no_grad():
            for p, g in zip(trained, gradients):
                p -= 0 if g is None else RATE * g
    with torch.no_grad():
        return output, float((branch(x) - branch(other)).abs().max() > RESPONDS)


def judge_start(inputs: Mapping[str, Any], values) -> str:
    """Judge what :func:`start_of_training` measured; returns what ``Task.diagnose`` asks for."""
    seen = Start(*(np.asarray(v, dtype=float) for v in values))
    if seen.stopped:
        return "no_grad_missing"
    alone, normed = seen.untouched[:2].all(), seen.untouched[2:].all()
    if alone or normed:
        return "untouched" if alone and normed else "one_case"
    return _alone(seen) or _normed(seen)


def _alone(seen: Start) -> str:
    weight, bias = seen.entries
    if seen.output == 0:
        return "" if seen.response else _cannot_learn(seen.frozen[:2])
    if weight == 0:
        return "bias_left"
    return _weight_left(weight, bias, seen.untouched[0], "out")


def _normed(seen: Start) -> str:
    out_weight, out_bias, weight, bias = seen.entries_norm
    if seen.output_norm == 0:
        if seen.response_norm:
            return "also:conv" if weight else ""
        return "both_zero" if weight == out_weight == 0 else _cannot_learn(seen.frozen[2:])
    if weight == 0:
        return "wrong_layer" if out_bias == 0 and out_weight else "bias_left"
    if seen.untouched[4] and seen.untouched[5]:
        return "conv_only"
    if out_weight == bias == 0:
        return "wrong_layer"
    return _weight_left(weight, bias, seen.untouched[4], "norm")


def _weight_left(weight: float, bias: float, untouched: float, layer: str) -> str:
    if untouched:
        return "bias_only" if bias == 0 else f"The weight of `{layer}` is as it was: the branch starts at 0 only where it is 0 too."
    if weight < 0.1:
        return "small"
    return f"After your function the weight of `{layer}` still has entries up to {weight:.3g}; all of them must be 0."


def _cannot_learn(frozen) -> str:
    if any(frozen):
        return "frozen"
    return f"The branch starts at 0 and stays there: after {STEPS} steps of training its output does not depend on its input."


# ---------------------------------------------------------------- 03.5
ZERO_OUT, RANDOM_OUT, ZERO_NORM = "a network with W_z = 0", "a network with random W_z", "a network with norm = 0"
HIT, OPPOSITE, BALANCED = (f"a network with head.weight = 0 that gives 0.5 everywhere, {target}" for target in (
    "as its target", "with two channels that err by the same in opposite directions", "with a target half above and half below that"))  # fmt: skip


class Network(nn.Module):
    """A convolution, a ReLU, a block, and a layer that is never used; one channel of the ReLU is dead."""

    def __init__(self, start: str, channels: int, generator: torch.Generator):
        super().__init__()
        width, inner = channels + 2, channels + 1
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.query = nn.Conv2d(width, inner, 1)
        self.key = nn.Conv2d(width, inner, 1, bias=False)  # a key bias cancels: its gradient is rounding noise, not 0
        self.value = nn.Conv2d(width, inner, 1)
        self.out = nn.Conv2d(inner, width, 1)
        self.norm = nn.BatchNorm2d(width) if start == ZERO_NORM else None
        self.head = nn.Conv2d(width, channels, 1)
        self.spare = nn.Linear(2, 3)
        for name, p in self.named_parameters():
            p.data = torch.randn(p.shape, generator=generator) * (0.2 if "weight" in name else 0.1)
            if name in ("value.weight", "head.weight", "stem.weight"):
                p.data.abs_()
        self.stem.bias.data[0 if start == RANDOM_OUT else -1] = -100.0  # the dead channel
        if start in (HIT, OPPOSITE, BALANCED):  # its output is exact, whatever the machine
            self.head.weight.data.zero_()
            self.head.bias.data.fill_(0.5)
        elif start != RANDOM_OUT:
            last = self.out if self.norm is None else self.norm
            last.weight.data.zero_()
            last.bias.data.zero_()

    def forward(self, x):
        x = F.relu(self.stem(x))  # (B, width, H, W)
        q, k, v = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        y = (q @ k.transpose(1, 2)).softmax(-1) @ v  # (B, N, inner)
        z = self.out(y.transpose(1, 2).unflatten(2, x.shape[2:]))
        return self.head(x + (z if self.norm is None else self.norm(z)))


def network(inputs: Mapping[str, Any]) -> Network:
    """Return the network of a probe, with an old gradient on the query's weight."""
    generator = torch.Generator().manual_seed(inputs["seed"])
    model = Network(inputs["model"], inputs["x"].shape[1], generator).double()
    model.query.weight.grad = torch.randn(model.query.weight.shape, generator=generator, dtype=torch.float64)
    return model


# what came back: names, other strings among them, other things among them, a number, another thing; or an error that is known
NAMES, OTHER_STRINGS, NO_STRINGS, A_NUMBER, NO_SET, NONE_READ, AMBIGUOUS = range(7)


def names_as_numbers(function: Callable, inputs: Mapping[str, Any]) -> np.ndarray | None:
    """Call ``parameters_with_gradient``; return 1 for each name in the set, 0 for each other, then what else was in it."""
    model = network(inputs)
    names = [name for name, _ in model.named_parameters()]
    nothing = [0.0] * len(names)
    try:
        found = function(model, inputs["x"], inputs["target"])
    except (AttributeError, TypeError, RuntimeError) as error:
        known = NONE_READ if _reads_none(error) else AMBIGUOUS if "Boolean value of Tensor" in str(error) else None
        if known is None:
            raise
        return np.array([*nothing, known])
    if found is None:
        return None
    if isinstance(found, Mapping | str):
        return np.array([*nothing, NO_SET])
    if isinstance(found, torch.Tensor) or not isinstance(found, Iterable):
        return np.array([*nothing, A_NUMBER])
    found = list(found)
    strings = [entry for entry in found if isinstance(entry, str)]
    kind = NO_STRINGS if len(strings) < len(found) else NAMES if set(strings) <= set(names) else OTHER_STRINGS
    return np.array([*(float(name in strings) for name in names), kind])


def _reads_none(error: Exception) -> bool:
    """Tell whether the learner's line treated a gradient that is None as a tensor."""
    text = str(error)
    if isinstance(error, TypeError):  # p.grad > 0, abs(p.grad), torch.any(p.grad)
        return "NoneType" in text and "object is not" not in text
    if "'bool' object has no attribute" in text:  # (p.grad != 0).any()
        return True
    return "'NoneType' object has no attribute" in text and not text.endswith(("'item'", "'backward'"))


def missing_and_too_many(inputs: Mapping[str, Any], values, expected) -> str | None:
    """Say which names are missing and which are too many."""
    names = [name for name, _ in network(inputs).named_parameters()]
    (mine,), (right,) = values, expected
    if mine.shape != right.shape or not np.isin(mine[:-1], (0, 1)).all():
        return None
    if mine[-1] == OTHER_STRINGS:
        return "Some of the strings that you return are no names of `model.named_parameters()`, such as `out.weight`."
    if mine[-1]:
        return "Return a set of names such as `out.weight`, no dict and no text."
    missing = [f"`{n}`" for n, m, r in zip(names, mine, right) if r > m]
    extra = [f"`{n}`" for n, m, r in zip(names, mine, right) if m > r]
    said = [f"{', '.join(missing)} missing"] * bool(missing) + [f"{', '.join(extra)} too many"] * bool(extra)
    return f"For {inputs['model']}, your set is not right: {'; '.join(said)}."
