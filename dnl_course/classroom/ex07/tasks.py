"""Exercise 07: what multiplying and adding do to gradients and to peaks, in six functions (lesson 07; claims D1 to D5)."""

from __future__ import annotations

import numpy as np
import sympy as sp

from ..exact import rationals, stochastic, unknowns
from ..task import Exercise, Probe, Task
from . import mistakes, references

R = sp.Rational


def _free(name, rows, columns):
    """Positive symbolic rows that sum to 1: symbols over their sum."""
    free = unknowns(name, rows, columns, positive=True)
    return sp.Matrix(rows, columns, lambda i, j: free[i, j] / sum(free.row(i)))


def _probes_jacobian(rng):
    return [
        Probe({"a": sp.Matrix([[R(1, 2), R(1, 3), R(1, 6)]])}),
        Probe({"a": stochastic(rng, 1, 4)}),
        Probe({"a": _free("a", 1, 3)}),
    ]


def _maps(rng, queries, keys):
    return {"pairwise_map": stochastic(rng, queries, keys), "unary_map": stochastic(rng, 1, keys)}


def _probes_product(rng):
    round_ = {"pairwise_map": sp.Matrix([[R(1, 2), R(1, 4), R(1, 4)], [R(1, 5), R(3, 5), R(1, 5)]]),
              "unary_map": sp.Matrix([[R(1, 6), R(1, 3), R(1, 2)]])}  # fmt: skip
    return [
        Probe(round_),
        Probe(_maps(rng, 3, 4)),
        Probe({"pairwise_map": _free("a", 2, 2), "unary_map": _free("b", 1, 2)}),
    ]


def _probes_gradient_mul(rng):
    first = {"G": sp.Matrix([[1, 2, 4], [3, -1, 2]]), **_probes_product(rng)[0].inputs}
    return [
        Probe(first),
        Probe({"G": rationals(rng, 3, 4), **_maps(rng, 3, 4)}),
        Probe({"G": unknowns("g", 2, 2), "pairwise_map": _free("a", 2, 2), "unary_map": _free("b", 1, 2)}),
    ]


def _probes_gradient_add(rng):
    return [Probe({"G": sp.Matrix([[1, 2, 4], [3, -5, 2]])}), Probe({"G": rationals(rng, 4, 3)}), Probe({"G": unknowns("g", 3, 2)})]


def _halves(rng, columns):
    """Different multiples of 1/2: `sp.simplify` and `sp.factor` take seconds where exponents have other denominators."""
    return sp.Matrix([[R(int(n), 2) for n in rng.choice(np.arange(-2, 6), columns, replace=False)]])


def _probes_sensitivity(rng):
    round_ = {"p": sp.Matrix([[1, 0, 0]]), "u": sp.Matrix([[-2, 0, 1]])}
    given = [round_, {"p": _halves(rng, 4), "u": _halves(rng, 4)}, {"p": unknowns("p", 1, 2), "u": unknowns("u", 1, 2)}]
    return [Probe({**g, "combine": combine}) for g in given for combine in ("mul", "add")]


def _probes_peaks(rng):
    given = [(sp.Integer(2), sp.Integer(1)), (R(3, 2), R(5, 2)), (sp.Symbol("a", real=True), sp.Symbol("b", real=True))]
    return [Probe({"a": a, "b": b, "combine": combine}) for a, b in given for combine in ("mul", "add")]


TASKS = (
    Task(
        id="07.1",
        title="how a softmax moves",
        minutes=8,
        difficulty=1,
        seminar=True,
        symbolic="points",
        reference=references.softmax_jacobian,
        probes=_probes_jacobian,
        outputs=(("jacobian", "(M, M)"),),
        mistakes=mistakes.SOFTMAX_JACOBIAN,
        hints=(
            "Write a_i = exp(l_i)/Σ exp(l_t) and differentiate by l_i itself first, then by another l_j.",
            "The quotient rule gives a_i(1 − a_i) on the diagonal and −a_i a_j elsewhere: which two matrices is that?",
            "`sp.diag(*a)` minus the column times the row: `a.T * a`.",
        ),
    ),
    Task(
        id="07.2",
        title="the product of two maps",
        minutes=8,
        difficulty=1,
        core=True,
        seminar=True,
        symbolic="points",
        reference=references.product_attention,
        probes=_probes_product,
        outputs=(("attention", "(N, M)"),),
        mistakes=mistakes.PRODUCT_ATTENTION,
        hints=(
            "exp(p + u) = exp(p)·exp(u). What has to be done to the product of two maps so that its rows sum to 1?",
            "Row i is P_ij U_j divided by Z_i = Σ_t P_it U_t: the sum of that row, not of the matrix.",
            "`sp.Matrix(N, M, lambda i, j: P[i, j] * U[0, j] / sum(P[i, t] * U[0, t] for t in range(M)))`",
        ),
    ),
    Task(
        id="07.3",
        title="what reaches the pairwise map",
        minutes=15,
        difficulty=3,
        core=True,
        symbolic="points",
        reference=references.grad_pairwise_mul,
        probes=_probes_gradient_mul,
        outputs=(("gradient", "(N, M)"),),
        mistakes=mistakes.GRAD_PAIRWISE_MUL,
        hints=(
            "P_il stands twice in row i of ω: above the fraction of ω_il, and in Z_i, which all ω_ij of the row share.",
            "∂ω_ij/∂P_il = (U_l/Z_i)(δ_jl − ω_ij), δ being 1 for j = l and 0 otherwise. Multiply by G_ij and sum over j.",
            "(U_l / Z_i)·(G_il − Σ_j G_ij ω_ij), entry by entry. `sp.diff` of Σ G_ij ω_ij is right too: symbols of your own for P, then `subs`.",
        ),
    ),
    Task(
        id="07.4",
        title="what reaches a shared unary map",
        minutes=6,
        difficulty=1,
        core=True,
        symbolic="points",
        reference=references.grad_unary_add,
        probes=_probes_gradient_add,
        outputs=(("gradient", "(1, M)"),),
        mistakes=mistakes.GRAD_UNARY_ADD,
        hints=(
            "How many numbers does U have, and in how many entries of ω = P + 1U does each of them stand?",
            "U_j stands in ω_1j, ω_2j, …, once for each query, each time with the derivative 1.",
            "The column sums of G: `sp.ones(1, G.rows) * G`.",
        ),
    ),
    Task(
        id="07.5",
        title="is the gate open?",
        minutes=8,
        difficulty=2,
        seminar=True,
        symbolic="points",
        reference=references.pairwise_sensitivity,
        probes=_probes_sensitivity,
        outputs=(("sensitivity", ""),),
        mistakes=mistakes.PAIRWISE_SENSITIVITY,
        hints=(
            "For one softmax the derivative of a weight by its own logit is w(1 − w). Which weight is it in each case?",
            "“mul”: the weight is that of softmax(p + u), and p_1 moves it. “add”: softmax(u) does not depend on p at all.",
            "w = the first entry of softmax(p + u) for “mul”, of softmax(p) for “add”; return w·(1 − w).",
        ),
    ),
    Task(
        id="07.6",
        title="two peaks at different places",
        minutes=8,
        difficulty=2,
        symbolic="points",
        reference=references.peak_masses,
        probes=_probes_peaks,
        outputs=(("masses", "(1, 3)"),),
        mistakes=mistakes.PEAK_MASSES,
        hints=(
            "Write down both rows of logits, p = (a, 0, 0) and u = (0, b, 0), and their two softmaxes, before you combine them.",
            "“mul” adds the logits, (a, b, 0), and takes one softmax. “add” takes two softmaxes and adds them: the total is 2.",
            "“mul”: (e^a, e^b, 1)/(e^a + e^b + 1). “add”: (e^a, 1, 1)/(e^a + 2) + (1, e^b, 1)/(e^b + 2).",
        ),
    ),
)

EXERCISE = Exercise("07", "Multiply or add", TASKS, answer_modules=("dnl_course.symbolic",))
