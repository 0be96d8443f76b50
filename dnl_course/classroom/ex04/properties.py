"""Judged by property: do different queries share one map, and if not, where do they vary? (Task 04.5, claim A7.)"""

from __future__ import annotations

import numpy as np
import torch

APART = 0.1  # least distance of any two queries
EQUAL = {"float32": 1e-4}  # relative to the largest logit; for float64:
ROUNDING = 1e-8


def one_map(inputs, values) -> str:
    """Return "" (right), the id of a mistake, "also:uniform" or a sentence, as ``Task.diagnose`` asks."""
    k, (queries,) = inputs["k"], values
    near = EQUAL.get(str(queries.dtype), ROUNDING)
    queries = queries.astype(np.float64)
    logits = queries @ k.T  # (n, M)
    left = logits - logits.mean(1, keepdims=True)
    left = left - left.mean(0)  # what depends on query and key: 0 iff all maps are equal
    rows = np.exp(logits - logits.max(1, keepdims=True))
    rows /= rows.sum(1, keepdims=True)
    if np.abs(left).max() <= near * max(1.0, np.abs(logits).max()):
        return _different(queries) or ("also:uniform" if np.abs(rows - 1 / len(k)).max() <= near else "")
    if np.abs(rows - rows[0]).max() <= near:
        return "saturated"
    return _where(queries, k) or ("scaled_copies" if _rank(queries) == 1 else _furthest(rows))


def _different(queries) -> str:
    """Complain about queries that are equal or too close."""
    distances = np.linalg.norm(queries[:, None] - queries[None], axis=2)  # (n, n)
    if distances.max() < 1e-9:
        return "constant"
    distances[np.tril_indices(len(queries))] = np.inf
    i, j = np.unravel_index(distances.argmin(), distances.shape)
    if distances[i, j] >= APART * (1 - 1e-6):
        return ""
    return (
        f"They share one map, but queries {i} and {j} are only {distances[i, j]:.2g} apart; any two of them must differ by "
        f"{APART} at least (the length of their difference)."
    )


def _where(queries, k) -> str:
    """Name the subspace in which the queries vary, if it is one that comes from a known mistake."""
    steps = queries[1:] - queries[0]
    if np.abs(steps).max() < 1e-9:
        return ""
    steps = steps / np.linalg.norm(steps, axis=1).max()
    centred = k - k.mean(0)
    rank = _rank(centred)
    for u, vh in _factors(centred):  # directions of variance 0 are any basis: each library takes its own
        spaces = {
            "row_space": vh[:rank],
            "columns_of_vh": vh[:, rank:].T,
            "left_vectors": u[rank : k.shape[1]],  # rows of the thin U, which are as long as those of Vh
        }
        for name, basis in spaces.items():
            if np.abs(steps - steps @ np.linalg.pinv(basis) @ basis).max() < 1e-6:
                return name
    for name, key in (("orthogonal_to_mean_key", k.mean(0)), ("orthogonal_to_first_key", k[0])):
        if np.abs(steps @ key).max() < 1e-6 * np.linalg.norm(key):
            return name
    return ""


def _factors(centred):
    """Yield thin U and square Vh, as torch and as NumPy find them."""
    thin = torch.linalg.svd(torch.tensor(centred), full_matrices=False)
    full = torch.linalg.svd(torch.tensor(centred))
    yield thin.U.numpy(), thin.Vh.numpy()
    yield thin.U.numpy(), full.Vh.numpy()
    yield np.linalg.svd(centred, full_matrices=False)[::2]


def _furthest(rows) -> str:
    apart = np.abs(rows - rows[0]).max(1)
    return (
        f"The maps differ: the weights of queries 0 and {apart.argmax()} differ by up to {apart.max():.2g}. They are equal if "
        "every difference of queries is at right angles to every difference of keys."
    )


def _rank(x) -> int:
    return int(np.linalg.matrix_rank(x, tol=1e-6 * np.linalg.norm(x)))
