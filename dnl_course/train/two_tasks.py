"""One block, two questions: when does attention degenerate into one map for every query? (lesson 04, claims A7 to A9)

`train` trains a `PatchNet` to answer one of the two questions of `dnl_course.data.cues` and measures its maps on the
way. ``python -m dnl_course.train.two_tasks`` trains twelve seeds of both (some minutes on one core), writes what was
measured to results/two_tasks.jsonl, and the weights of one seed, which lessons 05 and 07 and exercise 04 load::

    net = shipped("per_pixel")                            # or "image_cue", or "untrained", where both began, or …
    images, labels = examples("per_pixel", 8, seed=0)     # (8, 3, 48, 48), (8, 8, 8)
    q, k, v = net.block.embeddings(net.features(images))  # (8, 64, 16) each; the logits are q k', without a scale
"""

from __future__ import annotations

import argparse
import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from dnl_course.attention import attention_map
from dnl_course.data import cues
from dnl_course.measure import map_statistics
from dnl_course.nn.backbones import PatchNet
from dnl_course.nn.positions import from_positions
from dnl_course.nn.weights import load_weights, save_weights
from dnl_course.train import records

__all__ = ["SHIPPED", "TASKS", "Run", "examples", "measured", "one_map_answers", "shipped", "train"]

TASKS = cues.QUESTIONS
"""``("image_cue", "per_pixel")``: one cue for all cells, or one for the cells of each colour."""
SHIPPED = ("untrained", "image_cue", "per_pixel", "per_pixel_midway")
"""The networks whose weights lie in weights/, all of seed 1: where both trainings began, where each ended, and
"per_pixel" after 30 of 400 steps."""
SHIPPED_SEED, MIDWAY = 1, 30
STEPS, BATCH, RATE = 400, 32, 5e-3
WATCHED = (0, 10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400)
"""After how many steps the maps are measured."""
TEST_SEED, TEST_PICTURES = 404_000, 256  # seed of the pictures that everything is measured on; training pictures have other seeds
STATISTICS = ("cosine_distance", "row_divergence", "effective_positions", "distance_from_uniform", "unary_share")


@dataclass
class Run:
    """One training.

    Attributes
    ----------
    task : str
    seed : int
    nets : dict of int to PatchNet
        Copies after 0, 30 and all steps, in evaluation mode.
    history : list of dict
        One per watched step: "step" and what `measured` returns.
    """

    task: str
    seed: int
    nets: dict[int, PatchNet]
    history: list[dict]

    def at(self, step: int) -> dict:
        """Return what was measured after so many steps."""
        return next(row for row in self.history if row["step"] == step)


def examples(task: str, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures that no network was trained on, and the right answers.

    Parameters
    ----------
    task : {"image_cue", "per_pixel"}
        The question. The same seed gives the same pictures for both.
    n : int
        How many pictures.
    seed : int
        From 0 on.

    Returns
    -------
    images : torch.Tensor
        (n, 3, 48, 48) float32.
    labels : torch.Tensor
        (n, 8, 8) int64, from 0 to 3.

    Raises
    ------
    ValueError
        An unknown task; `n` below 1; a negative seed.

    Examples
    --------
    >>> images, labels = examples("image_cue", 3, seed=0)
    >>> images.shape, labels.shape, bool((labels == labels[:, :1, :1]).all())  # one answer for all cells of a picture
    (torch.Size([3, 3, 48, 48]), torch.Size([3, 8, 8]), True)
    """
    if seed < 0:
        raise ValueError(f"seed = {seed}: allowed is an int of at least 0.")
    drawn = cues.pictures(n, TEST_SEED + seed)
    return torch.from_numpy(drawn.images), torch.from_numpy(cues.answers(task, drawn))


def shipped(name: str) -> PatchNet:
    """Return a trained network of the course, in evaluation mode.

    Parameters
    ----------
    name : {"untrained", "image_cue", "per_pixel", "per_pixel_midway"}
        "image_cue" and "per_pixel" are trained for the question of that name; "untrained" is the network that both
        began as, and "per_pixel_midway" is "per_pixel" after 30 of its 400 steps.

    Returns
    -------
    PatchNet
        For images (B, 3, 48, 48): 64 positions, 32 channels, queries and keys of width 16.

    Raises
    ------
    ValueError
        An unknown name, or weights that are not those that were written.
    FileNotFoundError
        No weights; the sentence names the command that makes them.

    Examples
    --------
    >>> net = shipped("per_pixel")
    >>> images, labels = examples("per_pixel", 100, seed=1)
    >>> bool((net(images).argmax(1) == labels).float().mean() > 0.98)
    True
    """
    if name not in SHIPPED:
        raise ValueError(f"no network is called {name!r}. Valid names: {', '.join(SHIPPED)}.")
    net = PatchNet()
    net.load_state_dict(load_weights(f"two_tasks_{name}"))
    return net.eval().requires_grad_(False)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Several threads are slower for networks this small, far slower where the processors are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def one_map_answers(net: PatchNet, images: torch.Tensor) -> torch.Tensor:
    """Answer with one map for every query: each row is replaced by the mean row of its image.

    Where this changes no answer, the differences between the rows were of no use.

    Parameters
    ----------
    net : PatchNet
    images : torch.Tensor
        (B, 3, 48, 48).

    Returns
    -------
    torch.Tensor
        (B, 4, 8, 8), logits of the answers, like ``net(images)``.
    """
    x = net.features(images)
    q, k, v = net.block.embeddings(x)
    y = attention_map(q, k).mean(1, keepdim=True) @ v  # (B, 1, D), the same for every position
    y = from_positions(y.expand_as(v), x.shape[2:])  # (B, D, 8, 8)
    return net.head(x + net.block.out(y))


@one_thread()
@torch.no_grad()
def measured(net: PatchNet, task: str, n: int = TEST_PICTURES) -> dict:
    """Measure a network on `n` fixed pictures; means over the pictures (and, for effective positions, the queries).

    Returns
    -------
    dict of str to float
        "accuracy": share of right answers. "accuracy_one_map": the same with `one_map_answers`. And of
        `dnl_course.measure.map_statistics`: "cosine_distance", "row_divergence" (nats), "effective_positions" (of 64),
        "distance_from_uniform" and "unary_share".
    """
    was_training = net.training
    net.eval()
    images, labels = examples(task, n, seed=0)
    x = net.features(images)
    q, k, _ = net.block.embeddings(x)
    found = map_statistics(q.double(), k.double(), chunk=q.shape[0] * q.shape[1])  # all at once: it is small
    right = {
        "accuracy": net(images).argmax(1) == labels,
        "accuracy_one_map": one_map_answers(net, images).argmax(1) == labels,
    }
    net.train(was_training)
    return {
        **{name: hits.double().mean().item() for name, hits in right.items()},
        **{name: getattr(found, name).mean().item() for name in STATISTICS},
    }


@one_thread()
def train(
    task: str, seed: int = 0, *, steps: int = STEPS, watch: Sequence[int] = WATCHED, progress: bool = False
) -> Run:
    """Train a network from scratch; 400 steps of 32 fresh pictures take some seconds on one core.

    Parameters
    ----------
    task : {"image_cue", "per_pixel"}
        The question that it learns to answer.
    seed : int, optional
        Decides the weights at the start and the pictures, which are the same for both tasks.
    steps : int, optional
        How many steps of Adam: 50 to warm up, the last 30 % down to 0.
    watch : sequence of int, optional
        After how many steps to measure; those above `steps` are left out.
    progress : bool, optional
        Show a progress bar.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        An unknown task, or `steps` below 1.

    Examples
    --------
    >>> run = train("per_pixel", steps=2, watch=(0, 2))
    >>> [net.block.is_identity() for net in run.nets.values()], [row["step"] for row in run.history]
    ([True, False], [0, 2])
    """
    if task not in TASKS:
        raise ValueError(f"no task is called {task!r}. Valid names: {', '.join(TASKS)}.")
    if steps < 1:
        raise ValueError(f"steps = {steps}: allowed is an int of at least 1.")
    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):  # the caller's generator stays where it is
        torch.manual_seed(seed)
        net = PatchNet()
    with torch.no_grad():  # so that batch norm knows its means before the first measurement
        for _ in range(50):
            net(torch.from_numpy(cues.pictures(BATCH, random).images))

    adam = torch.optim.Adam(net.parameters(), lr=RATE)
    rate = torch.optim.lr_scheduler.LambdaLR(adam, lambda s: min(1, (s + 1) / 50, (steps - s) / (0.3 * steps)))
    history, nets = [], {}
    for step in tqdm(range(steps + 1), desc=f"{task}, seed {seed}", leave=False, disable=None if progress else True):
        if step in watch:
            history.append({"step": step, **measured(net, task)})
        if step in (0, MIDWAY, steps):
            nets[step] = copy.deepcopy(net).eval()
        if step < steps:
            drawn = cues.pictures(BATCH, random)
            logits = net(torch.from_numpy(drawn.images))  # (B, 4, 8, 8)
            loss = F.cross_entropy(logits, torch.from_numpy(cues.answers(task, drawn)))
            adam.zero_grad()
            loss.backward()
            adam.step()
            rate.step()
    return Run(task, seed, nets, history)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both tasks, record what was measured, and write the weights that lessons load."""
    parser = argparse.ArgumentParser(prog="python -m dnl_course.train.two_tasks", description=main.__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(12)))
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args(arguments)
    usual = given.seeds == list(range(12)) and given.steps == STEPS
    options = "" if usual else f" --seeds {' '.join(map(str, given.seeds))} --steps {given.steps}"
    command = f"python -m dnl_course.train.two_tasks{options}"
    settings = {"steps": given.steps, "batch": BATCH, "rate": RATE, "test_pictures": TEST_PICTURES, "threads": 1}
    known = {"settings": settings, **records.conditions(command)}

    runs = [train(task, seed, steps=given.steps, progress=True) for seed in given.seeds for task in TASKS]
    records.write("two_tasks", [{"task": r.task, "seed": r.seed, "history": r.history, **known} for r in runs])
    for run in (run for run in runs if run.seed == SHIPPED_SEED):
        for step, name in ((0, "untrained"), (MIDWAY, f"{run.task}_midway"), (given.steps, run.task)):
            if name in SHIPPED and step in run.nets:
                task = run.task if step else "both"
                about = {"command": command, "seed": run.seed, "task": task, "step": step, **settings}
                save_weights(f"two_tasks_{name}", run.nets[step], about)
    print(f"{len(runs)} runs: results/two_tasks.jsonl" + ("; weights/" if SHIPPED_SEED in given.seeds else ""))


if __name__ == "__main__":
    main()
