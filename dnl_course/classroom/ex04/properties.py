"""Judged by property: do different queries share one map, and if not, where do they vary? (Task 04.5, claim A7.)"""

from __future__ import annotations

import numpy as np
import torch

APART = 0.1  # least distance of any two queries
# how far the logits that softmax sees may differ for a pair of differences of size 1, how far the weights, and the rounding
EQUAL = {"float32": (1e-4, 1e-4, 2.0**-23)}
DOUBLE = (1e-8, 1e-6, 2.0**-52)


def one_map(inputs, values) -> str:
    """Return "" (right), the id of a mistake, "also:uniform" or a sentence, as ``Task.diagnose`` asks."""
    k, (queries,) = inputs["k"], values
    near, weights_near, eps = EQUAL.get(str(queries.dtype), DOUBLE)
    queries = queries.astype(np.float64)
    steps, differences = queries - queries.mean(0), k - k.mean(0)
    left = steps @ differences.T  # (n, M), what depends on query and key: 0 iff all maps are equal
    left = left - left.mean(0)
    logits = queries @ k.T
    rows = np.exp(logits - logits.max(1, keepdims=True))
    rows /= rows.sum(1, keepdims=True)
    apart = np.abs(rows - rows[0]).max()
    # the size of the differences counts, not that of the logits: a large part that all share must not hide them
    size, rounding = (np.abs(x) @ np.abs(differences).T for x in (steps, queries))
    if np.abs(left).max() <= near * max(1.0, size.max()) + 4 * eps * rounding.max() and apart <= weights_near:
        return _different(queries) or ("also:uniform" if np.abs(rows - 1 / len(k)).max() <= near else "")
    if apart <= near and rows.max(1).min() > 0.99:
        return "saturated"
    where = _where(queries, k)
    if where or _rank(queries, max(1e-12, 8 * eps)) == 1:
        return where or "scaled_copies"
    if apart > 1e-3 and np.abs(steps).max() < 1e-3 * np.abs(queries).max():
        return "large_base"
    return _furthest(rows, np.abs(left).max(), near)


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
            if _inside(steps, basis):
                return name
    if any(_inside(steps, vectors[: k.shape[1] - rank]) for vectors in _eigenvectors(k)):
        return "columns_of_vh"
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


def _eigenvectors(k):
    """Yield the vectors that ``eigh`` finds, as columns, smallest eigenvalue first: of value 0 they are any basis, so ask often."""
    x, centred = torch.tensor(k), torch.tensor(k) - torch.tensor(k).mean(0)
    matrices = [torch.cov(x.T), torch.cov(centred.T), torch.tensor(np.cov(k.T))]
    matrices += [centred.T @ centred / n for n in (1, len(k), len(k) - 1)]
    for matrix in matrices:
        yield torch.linalg.eigh(matrix).eigenvectors.numpy()
        yield np.linalg.eigh(matrix.numpy()).eigenvectors


def _inside(steps, basis) -> bool:
    """Whether all steps lie in the space of the rows of ``basis``."""
    return np.abs(steps - steps @ np.linalg.pinv(basis) @ basis).max() < 1e-6


def _furthest(rows, left, near) -> str:
    apart = np.abs(rows - rows[0]).max(1)
    if apart.max() <= near:
        return (
            f"The weights look equal, but the logits that softmax sees differ by up to {left:.2g} between your queries; they must "
            f"be equal to within {near:.0e}, so that the maps are equal at any scale of the queries."
        )
    coarse = " Was the direction computed in single precision (float32)?" if apart.max() < 1e-4 else ""
    return (
        f"The maps differ: the weights of queries 0 and {apart.argmax()} differ by up to {apart.max():.2g}. They are equal if "
        f"every difference of queries is at right angles to every difference of keys, to within {near:.0e}.{coarse}"
    )


def _rank(x, near=1e-6) -> int:
    return int(np.linalg.matrix_rank(x, tol=near * np.linalg.norm(x)))
