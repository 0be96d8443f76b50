"""Six forms of attention learn two targets: what do multiplying and a shared key do? (lesson 07, claim D10)

In the pictures of `dnl_course.data.regions` a position is to return the mean signal of its region plus that of the
boundary ("union"), or the mean signal of its region's part of the boundary ("intersection"). Each target has the form
of one way to combine: the union is a sum of two averages ("add"), the map of the intersection is a product of two
masks, renormalised ("multiply"). That a form learns its own kind of target says nothing about other targets.

``python -m dnl_course.train.two_targets`` trains six seeds, as usual and in variations (minutes on one core), for
results/two_targets.jsonl::

    run = train("union", "dnl", seed=0)                  # a second
    run.error, run.net.gain, clarity(run.net)            # error: 1 is what predicting the mean gives
    maps(run.net, examples("union", 3)[0]).joint         # (3, 100, 100), of pictures(3)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from dnl_course.data import regions
from dnl_course.train import records
from dnl_course.train.forms import FORMS, WIDTH, Layer, Maps
from dnl_course.train.two_tasks import one_thread

__all__ = [
    "FORMS", "TARGETS", "VARIATIONS", "Layer", "Maps", "Run",
    "clarity", "error", "examples", "maps", "pictures", "train",
]  # fmt: skip

TARGETS = regions.TARGETS
"""``("union", "intersection")``."""
STEPS, BATCH, RATE = 300, 16, 0.03
RECORDED_STEPS, RECORDED_SEEDS = 450, tuple(range(6))
WATCHED = (0, 25, 50, 100, 150, 200, 300, 450)
"""After how many steps the error of a recorded run was measured."""
VARIATIONS = {
    "usual": {}, "no query bias": {"query_bias": False}, "narrow keys": {"width": 3}, "blurred": {"noise": 0.4},
    "slow": {"rate": 0.01}, "fast": {"rate": 0.1},
}  # fmt: skip
"""What was recorded, as arguments of `train`: the first two for all forms, the others without the two references.
Three channels are as many as the codes of the regions need."""
TEST_SEED, TEST_PICTURES = 707_000, 256  # training pictures have other seeds


@dataclass
class Run:
    """One training.

    Attributes
    ----------
    target, form : str
    seed : int
    query_bias : bool
    width : int
    noise : float
    error : float
        At the end, see `error`.
    history : list of dict
        "step" and "error", for each watched step.
    net : Layer
        Trained, in evaluation mode.
    """

    target: str
    form: str
    seed: int
    query_bias: bool
    width: int
    noise: float
    error: float
    history: list[dict]
    net: Layer


def pictures(n: int, seed: int = 0, *, noise: float = regions.NOISE) -> regions.Regions:
    """Return pictures that no layer was trained on, and all that is known about them.

    Raises
    ------
    ValueError
        `n` below 1; a negative seed; negative noise.

    Examples
    --------
    >>> pictures(3).kind.shape
    (3, 10, 10)
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed = {seed!r}: allowed is an int of at least 0.")
    return regions.pictures(n, TEST_SEED + seed, noise=noise)


def examples(
    target: str, n: int, seed: int = 0, *, noise: float = regions.NOISE
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what a layer sees of ``pictures(n, seed, noise=noise)``, and the right answers.

    Parameters
    ----------
    target : {"union", "intersection"}
        The same seed gives the same pictures for both.
    n : int
        How many pictures.
    seed : int, optional
        From 0 on.
    noise : float, optional
        Standard deviation of the noise on every feature.

    Returns
    -------
    features : torch.Tensor
        (n, 100, 4) float32.
    signal : torch.Tensor
        (n, 100, 1) float32.
    answers : torch.Tensor
        (n, 100) float32.

    Raises
    ------
    ValueError
        An unknown target; `n` below 1; a negative seed; negative noise.

    Examples
    --------
    >>> [x.shape for x in examples("union", 3, seed=0)]
    [torch.Size([3, 100, 4]), torch.Size([3, 100, 1]), torch.Size([3, 100])]
    """
    return _tensors(target, pictures(n, seed, noise=noise))


def _tensors(target: str, drawn: regions.Regions) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    features, signal, answers = drawn.features, drawn.signal, regions.answers(target, drawn)
    return torch.from_numpy(features), torch.from_numpy(signal), torch.from_numpy(answers)


@torch.no_grad()
def maps(net: Layer, features: torch.Tensor) -> Maps:
    """Return the pairwise, the unary and the joint map for features (n, N, C), without gradients."""
    return net.maps(features)


@one_thread()
@torch.no_grad()
def error(net: Layer, target: str, n: int = TEST_PICTURES, seed: int = 0, *, noise: float = regions.NOISE) -> float:
    """Return the mean squared error on held-out pictures over the variance of their answers.

    So 0 is perfect and 1 is what predicting the mean gives. As the signal is independent from position to position,
    it is also (up to chance) the squared distance of the map, times its gain, from `dnl_course.data.regions.weights`,
    over the squared length of those.

    Examples
    --------
    >>> net = Layer("dnl")
    >>> _ = torch.nn.init.zeros_(net.gain)  # the signal has mean 0, so this predicts the mean
    >>> round(error(net, "union"), 2)
    1.0
    """
    features, signal, answers = examples(target, n, seed, noise=noise)
    return ((net(features, signal) - answers).double().square().mean() / answers.double().var(correction=0)).item()


@one_thread()
@torch.no_grad()
def clarity(net: Layer, n: int = TEST_PICTURES, seed: int = 0, *, noise: float = regions.NOISE) -> dict:
    """Measure how clearly a layer's maps show the two clues, on held-out pictures.

    Returns
    -------
    dict of str to float or None
        "within": the share of the pairwise map inside the query's own region. "boundary": the share of the unary map on
        the boundary. "joint_within", "joint_boundary": the same of the joint map, over its row sum. "within_chance",
        "boundary_chance": what uniform maps have. Means over pictures and queries. None where the form has no such map.
    """
    drawn = pictures(n, seed, noise=noise)
    kind = torch.from_numpy(drawn.kind).flatten(1)  # (n, N)
    mine = (kind[:, :, None] == kind[:, None]).float()  # (n, N, N)
    boundary = torch.from_numpy(drawn.boundary).flatten(1).float()  # (n, N)
    pairwise, unary, joint = maps(net, torch.from_numpy(drawn.features))
    joint = joint / joint.sum(2, keepdim=True)
    return {
        "within": None if pairwise is None else (pairwise * mine).sum(2).mean().item(),
        "within_chance": mine.mean().item(),
        "boundary": None if unary is None else (unary * boundary).sum(1).mean().item(),
        "boundary_chance": boundary.mean().item(),
        "joint_within": (joint * mine).sum(2).mean().item(),
        "joint_boundary": (joint @ boundary[..., None]).mean().item(),
    }


@one_thread()
def train(
    target: str, form: str, seed: int = 0, *, query_bias: bool = True, width: int = WIDTH, noise: float = regions.NOISE,
    steps: int = STEPS, rate: float = RATE, watch: Sequence[int] = (), progress: bool = False,
) -> Run:  # fmt: skip
    """Train a layer from scratch: 300 steps of 16 fresh pictures take about a second on one core.

    All is the same for all forms: the pictures, the first weights, the steps and the learning rate. On one machine a
    seed repeats exactly.

    Parameters
    ----------
    target : {"union", "intersection"}
        What it learns to answer.
    form : str
        A name of `FORMS`.
    seed : int, optional
        Decides the first weights and the pictures, which are the same for both targets.
    query_bias : bool, optional
        Whether the query map has a bias; see `Layer`.
    width : int, optional
        Of queries and keys.
    noise : float, optional
        Standard deviation of the noise on every feature, in training and in measuring.
    steps : int, optional
        How many steps of Adam.
    rate : float, optional
        Its learning rate, which falls to 0 over the last 30 % of the steps.
    watch : sequence of int, optional
        After how many steps to measure the error; those above `steps` are left out.
    progress : bool, optional
        Show a progress bar.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        An unknown target or form; `width` or `steps` below 1; a negative seed or noise; a rate that is not above 0.

    Examples
    --------
    >>> run = train("intersection", "nl", steps=2, watch=(0, 2))
    >>> [row["step"] for row in run.history], run.history[-1]["error"] == run.error
    ([0, 2], True)
    """
    if target not in TARGETS:
        raise ValueError(f"no target is called {target!r}. Valid names: {', '.join(TARGETS)}.")
    for name, value, least in (("seed", seed, 0), ("steps", steps, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} = {value!r}: allowed is an int of at least {least}.")
    if not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"rate = {rate}: the learning rate must be a number above 0.")
    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):  # the caller's generator stays where it is
        torch.manual_seed(seed)
        net = Layer(form, regions.CODES.shape[1] + 1, width, query_bias=query_bias)
    adam = torch.optim.Adam(net.parameters(), lr=rate)
    falling = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: min(1, (steps - step) / (0.3 * steps)))
    history, bar = [], f"{target}, {form}, seed {seed}"
    for step in tqdm(range(steps + 1), desc=bar, leave=False, disable=None if progress else True):
        if step in watch:
            history.append({"step": step, "error": error(net, target, noise=noise)})
        if step < steps:
            features, signal, answers = _tensors(target, regions.pictures(BATCH, random, noise=noise))
            loss = (net(features, signal) - answers).square().mean() / answers.var()
            adam.zero_grad()
            loss.backward()
            adam.step()
            falling.step()
    net.eval().requires_grad_(False)
    return Run(target, form, seed, query_bias, width, noise, error(net, target, noise=noise), history, net)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the forms for both targets, as usual and in variations, and record what was measured."""
    parser = argparse.ArgumentParser(prog="python -m dnl_course.train.two_targets", description=main.__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(RECORDED_SEEDS))
    parser.add_argument("--steps", type=int, default=RECORDED_STEPS)
    given = parser.parse_args(arguments)
    usual = given.seeds == list(RECORDED_SEEDS) and given.steps == RECORDED_STEPS
    options = "" if usual else f" --seeds {' '.join(map(str, given.seeds))} --steps {given.steps}"
    settings = {"steps": given.steps, "batch": BATCH, "rate": RATE, "test_pictures": TEST_PICTURES, "threads": 1}
    known = records.conditions(f"python -m dnl_course.train.two_targets{options}")
    pairs = [name for name, form in FORMS.items() if form.combine in ("multiply", "add")]
    forms = {name: FORMS if name in ("usual", "no query bias") else pairs for name in VARIATIONS}
    todo = [(v, s, t, f) for v in VARIATIONS for s in given.seeds for t in TARGETS for f in forms[v]]
    rows = []
    for variation, seed, target, form in tqdm(todo, desc="trainings"):
        changed = VARIATIONS[variation]
        run = train(target, form, seed, steps=given.steps, watch=WATCHED, **changed)
        found = {name: value for name, value in vars(run).items() if name != "net"}
        found |= {"gain": run.net.gain.item(), "clarity": clarity(run.net, noise=run.noise)}
        conditions = {"settings": {**settings, "rate": changed.get("rate", RATE)}, **known}
        rows.append({"variation": variation, **found, **conditions})
    records.write("two_targets", rows)
    print(f"{len(rows)} runs: results/two_targets.jsonl")


if __name__ == "__main__":
    main()
