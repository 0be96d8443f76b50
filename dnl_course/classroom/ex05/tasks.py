"""Exercise 05: take q·k apart, exactly, in six SymPy functions (lesson 05; claims A1 to A8, A10, A11, A13 and C2)."""

from __future__ import annotations

import numpy as np
import sympy as sp
from sympy.logic.boolalg import BooleanAtom

from ..exact import rationals, softmax, stochastic, unknowns
from ..task import Exercise, Probe, Task
from . import invariants, mistakes, mistakes_maps, references


def _integers(rng, rows, columns, low=0, high=13):
    """Small whole numbers, all different."""
    return sp.Matrix(rows, columns, [int(x) for x in rng.choice(np.arange(low, high), rows * columns, replace=False)])


def _probes_mean(rng):
    return [
        Probe({"Q": _integers(rng, 3, 2)}),
        Probe({"Q": rationals(rng, 2, 5)}),
        Probe({"Q": unknowns("q", 4, 3)}),
    ]


def _probes_split(rng):
    return [
        Probe({"Q": _integers(rng, 2, 3), "K": _integers(rng, 4, 3)}),
        Probe({"Q": rationals(rng, 4, 2), "K": rationals(rng, 3, 2)}),
        Probe({"Q": unknowns("q", 3, 2), "K": unknowns("k", 2, 2)}),
    ]


def _probes_rows(rng):
    return [
        Probe({"S": _integers(rng, 2, 3)}),
        Probe({"S": rationals(rng, 4, 3)}),
        Probe({"S": unknowns("s", 3, 2)}),
    ]


def _probes_centre(rng):
    return [
        Probe({"S": _integers(rng, 2, 3)}),
        Probe({"S": rationals(rng, 4, 3)}),
        Probe({"S": unknowns("s", 2, 4)}),
    ]


def _probes_map(rng):
    logits = unknowns("s", 2, 3)
    rows = ((3, 2, 1), (1, 5, 2))  # in sixths and eighths, in some order
    first = [[sp.Rational(int(n), total) for n in rng.permutation(row)] for row, total in zip(rows, (6, 8))]
    return [
        Probe({"attention": sp.Matrix(first)}),
        Probe({"attention": stochastic(rng, 4, 3)}),
        Probe({"attention": sp.Matrix(2, 3, softmax(np.array(logits.tolist(), dtype=object)).ravel().tolist())}),
    ]


def _mean(X):
    return sp.ones(1, X.rows) * X / X.rows  # (1, D)


def _centred(X):
    return X - sp.ones(X.rows, 1) * _mean(X)


def _probes_same(rng):
    """Pairs that each tell one wrong criterion from the right one; as they are written, so that some need ``expand``."""
    ints, more = _integers(rng, 2, 3), _integers(rng, 3, 2)
    steps = _integers(rng, 3, 1, 1, 6)
    tall, wide = unknowns("s", 3, 2), unknowns("s", 2, 3)
    a, b = unknowns("a", 3, 1), unknowns("b", 1, 3)
    c, x = sp.symbols("c x", real=True)
    Q, K = unknowns("q", 2, 2), unknowns("k", 3, 2)
    q, k = unknowns("q", 2, 1), unknowns("k", 2, 1)  # D = 1 and two keys, so that even ``simplify`` takes seconds only
    unary = sp.ones(2, 1) * (_mean(q) * k.T)  # (2, 2)
    ones = sp.ones(1, 2)
    factored = sp.Matrix(2, 2, lambda i, j: (q[i] - 1) * (k[j] + 2))
    pairs = [
        (ints, ints + steps[:2, :] * sp.ones(1, 3)),  # row constants: the same
        (more, more + sp.ones(3, 1) * steps[1:, :].T + steps * ones),  # column constants too: not the same
        (Q * K.T, Q * K.T),  # equal
        (factored, factored.expand()),  # equal, but not for ==
        (wide, wide + c * sp.ones(2, 3)),  # one constant: the same
        (tall + a * ones, tall),  # row constants: the same
        (wide, wide + sp.ones(2, 1) * b),  # column constants: not
        (q * k.T, q * _centred(k).T),  # keys centred: the same
        (q * k.T, _centred(q) * k.T),  # queries centred: not
        (q * k.T, _centred(q) * _centred(k).T + unary),  # pairwise and unary: the same
        (q * k.T, _centred(q) * _centred(k).T),  # pairwise only: not
        (wide, wide + sp.Matrix(2, 3, [c, c, c, c, c, x])),  # the first row alone is constant: not
        (tall, tall + sp.Matrix(3, 2, [sp.sin(sp.pi * x), 0, 0, 0, 0, 0])),  # at whole numbers x only
        (wide, 2 * wide),  # not
    ]
    return [Probe({"L1": one, "L2": other}) for one, other in pairs]


def _yes_or_no(function, inputs):
    """Call the function and read True or False; ``is_zero_matrix`` and its like say None where SymPy cannot tell."""
    value = function(*inputs.values())
    if value is None:
        return False
    if isinstance(value, (bool, np.bool_, BooleanAtom)) or (isinstance(value, (int, sp.Integer)) and value in (0, 1)):
        return bool(value)
    return type(type(value).__name__, (), {})()  # no answer: all that is said of it is the name of its type


TASKS = (
    Task(
        id="05.1",
        title="the mean of the rows",
        minutes=5,
        difficulty=1,
        core=True,
        symbolic="points",
        reference=references.mean_row,
        probes=_probes_mean,
        outputs=(("mean_row", "(1, D)"),),
        mistakes=mistakes.MEAN_ROW,
        hints=(
            "`Q.row(i)` is row i as a (1, D) matrix, and `Q.rows` is their number. Matrices add up with `+`.",
            "A row of N ones, `sp.ones(1, Q.rows)`, times Q is the sum of the rows.",
            "Return `sp.ones(1, Q.rows) * Q / Q.rows`.",
        ),
    ),
    Task(
        id="05.2",
        title="four terms",
        minutes=15,
        difficulty=2,
        core=True,
        seminar=True,
        symbolic="points",
        reference=references.split_terms,
        probes=_probes_split,
        outputs=(("pairwise", "(N, M)"), ("unary", "(N, M)"), ("query", "(N, M)"), ("constant", "(N, M)")),
        mistakes=mistakes.SPLIT_TERMS,
        invariants=(invariants.adds_up,),
        hints=(
            "Write q_i = (q_i − μ_q) + μ_q and k_j = (k_j − μ_k) + μ_k, and multiply out. Which of the four products are not yet in "
            "the form that the task asks for?",
            "With m = `sp.ones(1, N) * Q / N` and n = `sp.ones(1, M) * K / M`, the centred queries are `Q - sp.ones(N, 1) * m`, and a "
            "row r lies under all queries as `sp.ones(N, 1) * r`. The unary and the query term both hold μ_q·μ_k: it has to go off "
            "once.",
            "With Mq = `sp.ones(N, 1) * m` and Mk = `sp.ones(M, 1) * n`, of the shapes of Q and K, return "
            "`(Q - Mq) * (K - Mk).T, Mq * K.T, Q * Mk.T, -Mq * Mk.T`.",
        ),
    ),
    Task(
        id="05.3",
        title="what softmax does not see",
        minutes=8,
        difficulty=1,
        core=True,
        symbolic="points",
        reference=references.drop_row_constants,
        probes=_probes_rows,
        outputs=(("logits", "(N, M)"),),
        mistakes=mistakes.DROP_ROW_CONSTANTS,
        invariants=(invariants.rows_sum_to_zero,),
        hints=(
            "If a row sums to t and has M entries, what must be taken off each of them so that the row sums to 0?",
            "Each row loses its own mean, the sum of its M = `S.cols` entries divided by M. `S * sp.ones(S.cols, 1)` is the column of "
            "the row sums.",
            "Return `S - S * sp.ones(S.cols, S.cols) / S.cols`.",
        ),
    ),
    Task(
        id="05.4",
        title="the same attention?",
        minutes=12,
        difficulty=2,
        core=True,
        symbolic="whole",
        reference=references.same_attention,
        probes=_probes_same,
        drive=_yes_or_no,
        outputs=(("truth value (True or False)", ""),),
        invariants=(invariants.as_the_rows_say,),
        mistakes=mistakes_maps.SAME_ATTENTION,
        hints=(
            "Softmax over j does not see what is added to a whole row. So look at the difference L1 − L2: what may it be?",
            "The softmaxes are equal iff each row of L1 − L2 is constant: every entry minus the first one of its row, expanded, is 0. "
            "Without `expand`, equal expressions need not look equal.",
            "`difference = (L1 - L2).expand()`, then return `all(sp.expand(difference[i, j] - difference[i, 0]) == 0 for i in "
            "range(L1.rows) for j in range(L1.cols))`.",
        ),
    ),
    Task(
        id="05.5",
        title="neither rows nor columns",
        minutes=10,
        difficulty=2,
        seminar=True,
        symbolic="points",
        reference=references.double_centre,
        probes=_probes_centre,
        outputs=(("centred", "(N, M)"),),
        mistakes=mistakes_maps.DOUBLE_CENTRE,
        invariants=(invariants.means_are_zero,),
        hints=(
            "In two steps: first take off the row means; then, of what is left, the column means. Where does the grand mean come from "
            "if both are computed from S?",
            "Let H be `sp.eye(n) - sp.ones(n, n) / n`. H times a matrix takes off its column means, a matrix times H its row means. The "
            "two H have different sizes.",
            "`H = lambda n: sp.eye(n) - sp.ones(n, n) / n`, and return `H(S.rows) * S * H(S.cols)`.",
        ),
    ),
    Task(
        id="05.6",
        title="the pairwise logits from the map alone",
        minutes=12,
        difficulty=2,
        symbolic="points",
        reference=references.pairwise_logits_from_map,
        probes=_probes_map,
        outputs=(("pairwise_logits", "(N, M)"),),
        mistakes=mistakes_maps.PAIRWISE_LOGITS_FROM_MAP,
        invariants=(invariants.means_are_zero,),
        hints=(
            "A_ij = exp(S_ij)/Z_i. Which function brings S_ij back, and what else comes with it?",
            "log A_ij = S_ij − log Z_i. The second part is one number per row. `attention.applyfunc(sp.log)` takes the logarithm of "
            "every entry.",
            "`L = attention.applyfunc(sp.log)`; then row means and column means off, as in 05.5: `H(L.rows) * L * H(L.cols)` with "
            "`H = lambda n: sp.eye(n) - sp.ones(n, n) / n`.",
        ),
    ),
)

EXERCISE = Exercise("05", "The split", TASKS, answer_modules=("dnl_course.symbolic",))
