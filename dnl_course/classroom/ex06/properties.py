"""Judged by property, in exact arithmetic: a better α, data with a minimum, a second minimiser (06.2, 06.4, 06.5; claims B4, C1).

Each is a ``Task.diagnose``. Verdicts rest on rational numbers: decimals count as the ones that they are, roots are taken to 60
digits. What is due to be equal may differ by what such numbers leave, relative to 1; NumPy only names and gives examples.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from .references import covariance, mean_row

EXACT, ROOTS, DECIMALS = sp.Integer(0), sp.Rational(1, 10**40), sp.Rational(1, 10**12)  # what an answer may leave where 0 is due
LARGEST = 2**20  # a denominator beyond it comes from decimals
EASY = {(1, 0), (0, 1)}  # better than the mean for the triangle of the text


def named(mistake: str, numbers: str) -> str:
    """Return the id of a mistake, and the numbers of this answer."""
    return f"{mistake}: {numbers}"


# ---------------------------------------------------------------- numbers


def rational(*answers) -> tuple:
    """Return matrices of rational numbers, and last what they leave where 0 is due.

    Examples
    --------
    >>> rational(sp.Matrix([[sp.Rational(1, 3), 0.5]]))
    (Matrix([[1/3, 1/2]]), 1/1000000000000)
    """
    cells = [c for x in answers for c in x]
    near = EXACT if all(c.is_Rational for c in cells) else ROOTS
    if any(c.has(sp.Float) or any(r.q > LARGEST for r in c.atoms(sp.Rational)) for c in cells):
        near = DECIMALS
    return *(sp.ImmutableMatrix(x).applyfunc(lambda c: sp.Rational(c if c.is_Rational else sp.re(sp.N(c, 60)))) for x in answers), near


def sign(x, near=EXACT) -> int:
    """Return −1, 0 or 1; up to `near`, a number is 0."""
    return 0 if abs(x) <= near else 1 if x > 0 else -1


def dot(x, y):
    """Return the dot product of two rows."""
    return sum(a * b for a, b in zip(x, y))


def floats(x) -> np.ndarray:
    """Return a matrix as floats."""
    return np.array(x.tolist(), dtype=float)


def short(x, other=None) -> str:
    """Write a number: exact if that is short, otherwise with as many digits as tell it from another one.

    Examples
    --------
    >>> short(sp.Rational(5, 8)), short(sp.Rational(100001, 300000)), short(sp.Rational(100001, 300000), sp.Rational(1, 3))
    ('5/8', '0.3333', '0.33334')
    """
    if len(str(x)) <= 9:
        return str(x)
    digits = range(4, 16)
    return f"{float(x):.{next((n for n in digits if other is None or f'{float(x):.{n}g}' != f'{float(other):.{n}g}'), 16)}g}"


def written(row) -> str:
    """Write a row as one says it: (1, 1/3)."""
    return "(" + ", ".join(short(c) for c in row) + ")"


def parts(Q, K) -> tuple:
    """Return μ_q, A = S_k/tr S_k, s = tr S_q and r₀ = tr(A S_q)/s."""
    S_q, S_k = covariance(Q), covariance(K)
    A, s = S_k / S_k.trace(), S_q.trace()
    return mean_row(Q), A, s, (A * S_q).trace() / s


def fraction(d, A, s, r0):
    """Return the first fraction at α = μ_q − d: its closed form."""
    return (s * r0 + dot(d * A, d)) / (s + dot(d, d))


# ---------------------------------------------------------------- 06.2


def larger_than_at_the_mean(inputs, values) -> str:
    """Whether the first fraction at α is larger than at the mean of the queries."""
    Q, K = inputs["Q"], inputs["K"]
    alpha, near = rational(*values)
    mean, A, s, r0 = parts(Q, K)
    d = mean - alpha
    far = dot(d, d)
    if far <= (s + dot(mean, mean)) * near * sp.Rational(1, 10**6):
        both = " The mean of the keys is the same point here." if mean_row(K) == mean else ""
        return named("the_mean", f"There it is {short(r0)}.{both}")
    gain = dot(d * A, d) / far - r0  # of the keys' variance, the share along the step, over the average share r₀
    if sign(gain, near) > 0:
        return ""
    there = fraction(d, A, s, r0)
    numbers = f"At your α the first fraction is {short(there, r0)}, at the mean {short(r0, there)}."
    mistake = step(floats(alpha)[0], Q, K)
    if mistake:
        return named(mistake, numbers)
    if sign(gain, near) == 0:
        return f"That is as large as at the mean, {short(r0)}, and not larger: step in another direction."
    return (
        f"That is not larger. {numbers} The direction of your step has {short(r0 + gain, r0)} of the keys' variance; it must "
        f"have more than {short(r0, r0 + gain)}."
    )


def traps(Q, K) -> dict[str, list[np.ndarray]]:
    """Return what each typical mistake of 06.2 gives on these data, as floats; directions in both senses."""
    q, k = floats(Q), floats(K)
    least, most = _axes(k)
    start, other = q.mean(0), k.mean(0)
    steps = {
        "least_direction": least, "query_direction": _axes(q)[1], "not_centred": np.linalg.eigh(k.T @ k)[1][:, 1],
        "rows_not_columns": most * [1, -1],
    }  # fmt: skip
    made = {name: [start + sense * step for sense in (1, -1)] for name, step in steps.items()}
    made["direction_only"] = [sense * step for sense in (1, -1) for step in (most, *steps.values())]
    made["other_mean"] = [other, other + most, other - most]
    made["hard_coded"] = [np.array(e, dtype=float) for e in EASY]
    made["a key"] = [*k]
    return made


def _axes(x) -> tuple[np.ndarray, np.ndarray]:
    """Return the directions of least and of most variance."""
    vectors = np.linalg.eigh(np.cov(x.T))[1]
    return vectors[:, 0], vectors[:, -1]


def _parallel(x, y) -> bool:
    length = np.linalg.norm(x) * np.linalg.norm(y)
    return length > 0 and abs(x[0] * y[1] - x[1] * y[0]) <= 1e-6 * length


def step(alpha, Q, K) -> str:
    """Name what is wrong with an α from where it lies: its line through a mean or through 0."""
    start, other, given = floats(Q).mean(0), floats(K).mean(0), traps(Q, K)
    if tuple(alpha) in EASY:
        return "hard_coded"
    if np.allclose(alpha, other, rtol=1e-9, atol=1e-9) or _parallel(alpha - other, given["other_mean"][1] - other):
        return "other_mean"
    for name in ("least_direction", "query_direction", "along_an_axis", "not_centred", "rows_not_columns"):
        directions = np.eye(2) if name == "along_an_axis" else [given[name][0] - start]
        if any(_parallel(alpha - start, direction) for direction in directions):
            return name
    return "direction_only" if any(_parallel(alpha, known) for known in given["direction_only"]) else ""


# ---------------------------------------------------------------- 06.4


def minimum_at_the_means(inputs, values) -> str:
    """Whether the means minimise the printed objective of these data, and it is not constant."""
    if not all(isinstance(x, sp.MatrixBase) for x in values):
        return "`Q` and `K` must be matrices, with one row per query and one row per key."
    if values[0].cols != values[1].cols:
        return f"Your queries have {values[0].cols} columns and your keys {values[1].cols}: a dot product needs equally many."
    if max(values[0].rows, values[1].rows) > 60 or values[0].cols > 6:
        return "That is a large example: at most 60 queries, 60 keys and 6 columns, please. Two of each are enough."
    Q, K, near = rational(*values)
    for name, X in (("queries", Q), ("keys", K)):
        if X.rows < 2 or covariance(X).trace() <= near**2 * dot(X, X):
            return named("undefined", f"All your {name} are equal." if X.rows > 1 else f"You give fewer than two {name}.")
    sides = [parts(Q, K), parts(K, Q)]
    at_means = sum(r0 for *_, r0 in sides)
    if sign(at_means, near) == 0:  # no sum of squares is less than 0; and an objective with r₀ = 0 is not constant
        return "also:rounded" if at_means and near == DECIMALS else ""
    natures = [_nature(A, r0, near) for _, A, _, r0 in sides]
    if set(natures) == {"constant"}:
        return named("constant", f"Yours is {short(at_means)} for every α and β.")
    if "minimum" in natures:
        words = {"minimum": "a minimum there", "maximum": "a maximum", "saddle": "a saddle", "constant": "no change at all"}
        return named("one_fraction_only", f"Your first fraction has {words[natures[0]]}, your second one {words[natures[1]]}.")
    numbers = f"At your means the objective is {short(at_means)}{_examples(sides, at_means)}."
    return named("saddle" if "saddle" in natures else "maximum", numbers)


def _nature(A, r0, near) -> str:
    """Return what μ is for one fraction, from the signs of the eigenvalues of A − r₀ I.

    Its characteristic polynomial has real roots only, so as many are positive as its coefficients change signs (Descartes).
    """
    signs = [sign(c, near) for c in (A - r0 * sp.eye(A.rows)).charpoly().all_coeffs()]
    up, down = _changes(signs), _changes([c if power % 2 == 0 else -c for power, c in enumerate(signs)])
    return {(False, False): "constant", (True, False): "minimum", (False, True): "maximum"}.get((up > 0, down > 0), "saddle")


def _changes(signs) -> int:
    signs = [c for c in signs if c]
    return sum(a != b for a, b in zip(signs, signs[1:]))


def _examples(sides, at_means) -> str:
    """Say where the objective is larger and where it is smaller, at round points, as far as there are any."""
    said = []
    for word, wanted, end in (("larger", 1, -1), ("smaller", -1, 0)):
        for letter, (mean, A, s, r0) in zip("αβ", sides):
            d = np.linalg.eigh(floats(A))[1][:, end] * float(s) ** 0.5
            d = sp.Matrix([[sp.Rational(round(4 * x), 4) for x in d * np.sign(d[np.abs(d).argmax()])]])
            change = fraction(d, A, s, r0) - r0
            if sign(change, DECIMALS) == wanted:
                said.append(f"{word}, {short(at_means + change, at_means)}, with {letter} = {written(mean - d)}")
                break
    return "; it is " + " and ".join(said) if said else ""


# ---------------------------------------------------------------- 06.5


def energy(Q, K, alpha, beta):
    """Return F = Σ_ij ((q_i − α)·(k_j − β))², from its definition."""
    a, b = Q - sp.ones(Q.rows, 1) * alpha, K - sp.ones(K.rows, 1) * beta
    return sum(w**2 for w in a * b.T)


def second_minimiser(inputs, values) -> str:
    """Whether F is as small at (α, β) as at the means, and the point is another one."""
    Q, K = inputs["Q"], inputs["K"]
    alpha, beta, near = rational(*values)
    mean_q, mean_k = mean_row(Q), mean_row(K)
    smallest, there = energy(Q, K, mean_q, mean_k), energy(Q, K, alpha, beta)
    d, e = alpha - mean_q, beta - mean_k
    moved = [sign(dot(x, x), near) != 0 for x in (d, e)]
    if there == smallest and (any(d) or any(e)):
        return ""
    if not any(moved):
        return named("the_means", f"There F is {short(smallest)}.")
    excess = (there / smallest - 1) / min(1, dot(d, d) + dot(e, e))  # a short step leaves less
    if sign(excess, near) == 0:
        return "also:rounded" if near == DECIMALS else ""
    numbers = f"At your point F is {short(there, smallest)}, the smallest is {short(smallest, there)}."
    line = Q.row(1) - Q.row(0)
    swapped = energy(Q, K, beta, alpha) / smallest - 1
    mistake = "order_swapped" if sign(swapped, near) == 0 else _moved(moved, alpha, beta, e, line, Q)
    if mistake:
        return named(mistake, numbers)
    return (
        f"F is larger there. {numbers} Your β moved by e = {written(e)}; (q_2 − q_1)·e is {short(dot(line, e))} with "
        f"q_2 − q_1 = {written(line)}, and must be 0."
    )


def _moved(moved, alpha, beta, e, line, Q) -> str:
    """Name what was moved, and along what."""

    def cosine(x, y):  # squared
        return dot(x, y) ** 2 / (dot(x, x) * dot(y, y)) if any(x) and any(y) else 0

    if any(beta) and sign(cosine(beta, line), DECIMALS) == 0 and (not moved[0] or sign(cosine(alpha, line), DECIMALS) == 0):
        return "only_the_step"
    if moved[0]:
        return "both_moved" if moved[1] else "alpha_moved"
    if sign(cosine(e, line) - 1, DECIMALS) == 0:
        return "along_the_line"
    if sign(cosine(e, mean_row(Q)), DECIMALS) == 0:
        return "orthogonal_to_mean"
    return "orthogonal_to_one_query" if any(sign(cosine(e, Q.row(i)), DECIMALS) == 0 for i in range(Q.rows)) else ""
