"""The classroom's SymPy tasks: answers are judged as mathematics, at exact points and by expansion."""

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

from dnl_course.classroom import algebra, trees
from dnl_course.classroom.engine import examine
from dnl_course.classroom.exact import exp, log, rationals, softmax, stochastic, unknowns
from dnl_course.classroom.judge import judge, probes_of
from dnl_course.classroom.probe import Observation, observe
from dnl_course.classroom.report import result
from dnl_course.classroom.task import AlsoRight, Exercise, Mistake, Probe, Task

HINTS = ("one", "two", "three")


def centred(Q, *, sums=False, plus=False):
    """q_i minus the mean."""
    mean = Q.sum(0) if sums else Q.sum(0) / len(Q)
    return Q + mean if plus else Q - mean


CENTRED = Task(
    id="98.1", title="centred", minutes=5, difficulty=1, hints=HINTS, reference=centred, symbolic="points",
    probes=lambda rng: [Probe({"Q": sp.Matrix([[1, 2], [3, 5]])}), Probe({"Q": unknowns("q", 3, 2)})],
    outputs=(("centred", "(N, D)"),),
    mistakes=(
        Mistake("sums", "You subtract the sum.", ({"sums": True},)),
        Mistake("plus", "You add.", ({"plus": True},)),
    ),
)  # fmt: skip


def weight(p, u, combine):
    """First weight of softmax(p + u)."""
    weights = softmax(p + u) if combine == "mul" else softmax(p)
    return weights[0, 0]


WEIGHT = Task(
    id="98.2", title="a weight", minutes=5, difficulty=1, hints=HINTS, reference=weight, symbolic="points",
    probes=lambda rng: [Probe({"p": rationals(rng, 1, 3), "u": rationals(rng, 1, 3), "combine": "mul"}),
                        Probe({"p": unknowns("p", 1, 2), "u": unknowns("u", 1, 2), "combine": "add"})],
    outputs=(("weight", ""),), mistakes=(),
)  # fmt: skip


def root_of(n):
    """A number whose square is n, above 0."""
    return sp.sqrt(n)


def _root(inputs, values):
    (v,) = values
    if v**2 == inputs["n"] and v > 0:
        return "also:whole" if v.is_Integer else ""
    return "negative" if v**2 == inputs["n"] else f"Its square is {v**2}."


ROOT = Task(
    id="98.3", title="a root", minutes=5, difficulty=1, hints=HINTS, reference=root_of, symbolic="whole", diagnose=_root,
    probes=lambda rng: [Probe({"n": sp.Integer(2)}), Probe({"n": sp.Integer(9)})], outputs=(("root", ""),),
    mistakes=(Mistake("negative", "Yours is the negative root.", ()),), also_right=(AlsoRight("a whole one.", {"key": "whole"}),),
)  # fmt: skip


def same(a, b, *, structural=False):
    """Are two expressions equal?"""
    return a == b if structural else sp.expand(a - b) == 0


_x, _y = sp.symbols("x y", real=True)
SAME = Task(
    id="98.4", title="the same?", minutes=5, difficulty=1, hints=HINTS, reference=same, symbolic="whole",
    probes=lambda rng: [Probe({"a": (_x + _y) ** 2, "b": _x**2 + 2 * _x * _y + _y**2}), Probe({"a": _x, "b": _y})],
    outputs=(("same", ""),), mistakes=(Mistake("structural", "== compares how they are written.", ({"structural": True},)),),
)  # fmt: skip


def some_matrix():
    """Any matrix without a negative entry."""
    return sp.Matrix([[1, 2]])


FREE = Task(
    id="98.5", title="any", minutes=5, difficulty=1, hints=HINTS, reference=some_matrix, symbolic="whole",
    diagnose=lambda inputs, values: "negative" if any(v < 0 for v in values[0]) else "",
    probes=lambda rng: [Probe({})], outputs=(("Q", "any (N, D)"),), mistakes=(Mistake("negative", "One is negative.", ()),),
)  # fmt: skip
TASKS = {t.id: t for t in (CENTRED, WEIGHT, ROOT, SAME, FREE)}
EXERCISE = Exercise("98", "tests", tuple(TASKS.values()))


def verdict(number, function, seed=0):
    return examine(TASKS[f"98.{number}"], EXERCISE, function, seed)


def mean_row(Q):
    return sp.ones(1, Q.rows) * Q / Q.rows


@pytest.mark.parametrize("function", [
    lambda Q: Q - sp.ones(Q.rows, 1) * mean_row(Q),
    lambda Q: sp.Matrix(Q.rows, Q.cols, lambda i, j: Q[i, j] - sum(Q[:, j]) / Q.rows),
    lambda Q: sp.ImmutableMatrix(Q - sp.ones(Q.rows, 1) * mean_row(Q)),
    lambda Q: (Q - sp.ones(Q.rows, 1) * mean_row(Q)).tolist(),
    lambda Q: [list((Q - sp.ones(Q.rows, 1) * mean_row(Q)).row(i)) for i in range(Q.rows)],
    lambda Q: [(Q - sp.ones(Q.rows, 1) * mean_row(Q)).row(i) for i in range(Q.rows)],
    lambda Q: np.array(Q.tolist(), dtype=object) - np.array(mean_row(Q).tolist(), dtype=object),
    lambda Q: (sp.eye(Q.rows) - sp.ones(Q.rows, Q.rows) / Q.rows) * Q,
    lambda Q: sp.MatMul(sp.eye(Q.rows) - sp.ones(Q.rows, Q.rows) / Q.rows, Q),
    lambda Q: (Q - sp.ones(Q.rows, 1) * mean_row(Q)).applyfunc(lambda e: e.subs({s: sp.Symbol(s.name) for s in e.free_symbols})),
    lambda Q: Q.applyfunc(sp.factor) - sp.Matrix(Q.rows, Q.cols, lambda i, j: sp.Sum(sp.Symbol("n"), (sp.Symbol("n"), 1, 2)) / 3
                                                  * sum(Q[:, j]) / Q.rows),
])  # fmt: skip
def test_any_equivalent_form_is_right(function):
    for seed in range(4):
        said = verdict(1, function, seed)
        assert said.status == "passed", said.sentence
        assert any("expands to 0" in note for note in said.notes)


def test_floats_are_accepted_and_named():
    said = verdict(1, lambda Q: Q - sp.ones(Q.rows, 1) * sp.ones(1, Q.rows) * Q * (1.0 / Q.rows))
    assert said.status == "passed" and any("Rational" in note for note in said.notes)
    said = verdict(1, lambda Q: Q - sp.ones(Q.rows, 1) * sp.ones(1, Q.rows) * Q * round(1.0 / Q.rows, 6))
    assert said.status == "passed" and any("0.3333" in note for note in said.notes)
    assert verdict(1, lambda Q: Q - sp.ones(Q.rows, 1) * sp.ones(1, Q.rows) * Q * round(1.0 / Q.rows, 2)).status == "wrong"


@pytest.mark.parametrize("digits", [5, 6, 9])
def test_an_exact_answer_is_never_nearly_right(digits):
    said = verdict(1, lambda Q: Q - sp.ones(Q.rows, 1) * mean_row(Q) * (1 + sp.Rational(1, 10**digits)))
    assert said.status == "wrong"


def test_nearly_right_in_exact_numbers_is_wrong():
    said = verdict(1, lambda Q: Q - sp.ones(Q.rows, 1) * mean_row(Q) * (1 + sp.Rational(1, 10**12)))
    assert said.status == "wrong" and said.sentence.startswith("Nearly, but not exactly")


def test_mistakes_are_named_and_the_point_is_shown():
    said = verdict(1, lambda Q: Q - sp.ones(Q.rows, Q.rows) * Q)
    assert said.mistake == "sums"
    text = str(result(CENTRED, said))
    assert "[[1, 2]" in text and "-3" in text
    assert verdict(1, lambda Q: Q + sp.ones(Q.rows, 1) * mean_row(Q)).mistake == "plus"
    assert verdict(1, lambda Q: Q + sp.ones(Q.rows, Q.rows) * Q).mistake == "sums+plus"
    assert verdict(1, lambda Q: 2 * (Q - sp.ones(Q.rows, 1) * mean_row(Q))).mistake == "general:factor"
    assert verdict(1, lambda Q: -(Q - sp.ones(Q.rows, 1) * mean_row(Q))).mistake == "general:negated"


def test_a_difference_is_shown_as_two_exact_numbers():
    def bent(Q):
        made = Q - sp.ones(Q.rows, 1) * mean_row(Q)
        made[0, 1] = made[0, 1] + sp.Rational(1, 7) * Q[0, 0] ** 2
        return made

    said = verdict(1, bent)
    assert said.mistake == "layer:values"
    assert said.sentence == "Not the same: for the numbers below, entry [0, 1] of `centred` is -19/14, expected -3/2."
    text = str(result(CENTRED, said))
    assert "-19/14" in text and "-3/2" in text


def test_wrong_only_for_symbols_is_found_with_its_point():
    def only_small(Q):
        return Q - sp.ones(Q.rows, 1) * sp.ones(1, Q.rows) * Q / 2

    said = verdict(1, only_small)
    assert said.status == "wrong" and said.inputs["Q"].shape == (3, 2) and all(v.is_Rational for v in said.inputs["Q"].ravel())


def test_symbols_of_ones_own_and_strange_things():
    x = sp.Symbol("x")
    assert "symbol `x`" in verdict(1, lambda Q: Q * x).sentence
    assert "cannot be compared" in verdict(1, lambda Q: Q.applyfunc(sp.Function("f"))).sentence
    assert "different lengths" in verdict(1, lambda Q: [[1, 2], [3]]).sentence
    assert "str" in verdict(1, lambda Q: "Q - mean").sentence
    assert "return" in verdict(1, lambda Q: None).sentence
    assert "shape" in verdict(1, mean_row).sentence
    assert verdict(1, lambda Q: Q / 0).status == "wrong"
    assert verdict(1, lambda Q: 1 / (Q - Q)[0, 0]).status == "wrong"

    def raising(Q):
        return Q * Q

    assert "ShapeError" in verdict(1, raising).sentence


def test_an_argument_that_is_changed_is_seen():
    def in_place(Q):
        mean = mean_row(Q)
        for i in range(Q.rows):
            Q[i, :] -= mean
        return Q

    said = verdict(1, in_place)
    assert said.mistake == "layer:modified"


def test_numbers_matrices_and_lists_of_one_are_one_number():
    def first(p, u, combine):
        logits = p + u if combine == "mul" else p
        return sp.exp(logits[0]) / sum(sp.exp(v) for v in logits)

    def by_difference(p, u, combine):
        logits = p + u if combine == "mul" else p
        return 1 / sum(sp.exp(v - logits[0]) for v in logits)

    for wrap in (lambda v: v, lambda v: sp.Matrix([v]), lambda v: [v], lambda v: [[v]], np.asarray):
        for function in (first, by_difference):
            said = verdict(2, lambda p, u, combine, f=function, w=wrap: w(f(p, u, combine)))
            assert said.status == "passed", said.sentence


def test_where_something_is_undefined_another_point_is_drawn():
    def divided(x, *, wrong=False):
        return (x[0, 0] ** 2 - 1) / (x[0, 0] - 1) + wrong

    task = replace(CENTRED, reference=divided, outputs=(("y", ""),), mistakes=(), probes=lambda rng: [Probe({"x": unknowns("x", 1, 1)})])
    for seed in range(20):
        assert examine(task, EXERCISE, lambda x: x[0] + 1, seed).status == "passed"
        assert examine(task, EXERCISE, lambda x: x[0] + 2, seed).status == "wrong"


def test_properties_are_judged_on_exact_objects():
    assert verdict(3, sp.sqrt).status == "passed" and "a whole one." in verdict(3, sp.sqrt).notes
    assert verdict(3, lambda n: -sp.sqrt(n)).mistake == "negative"
    assert verdict(3, lambda n: sp.Integer(1)).sentence == "Its square is 1."
    assert verdict(3, lambda n: sp.Matrix([[1, 2]])).status == "wrong"


def test_a_large_answer_and_numbers_in_a_named_mistake_are_written_out():
    said = verdict(5, lambda: -sp.ones(100, 2))
    assert "first entries -1, -1" in str(result(FREE, said))
    task = replace(FREE, diagnose=lambda inputs, values: f"negative: It is {min(values[0])}.")
    said = examine(task, EXERCISE, lambda: -sp.ones(1, 2), 0)
    assert (said.mistake, said.sentence) == ("negative", "One is negative. It is -1.")


def test_true_and_false():
    assert verdict(4, lambda a, b: bool(sp.simplify(a - b) == 0)).status == "passed"
    assert verdict(4, lambda a, b: sp.true if sp.expand(a - b) == 0 else sp.false).status == "passed"
    assert verdict(4, lambda a, b: a == b).mistake == "structural"
    assert verdict(4, lambda a, b: np.bool_((a - b).expand() == 0)).status == "passed"


def test_no_arguments_and_any_size():
    assert verdict(5, lambda: sp.Matrix([[1], [2], [3]])).status == "passed"
    assert verdict(5, lambda: sp.Matrix([[-1, 1]])).mistake == "negative"


def test_an_observation_leaves_the_process_and_comes_back():
    def function(Q):
        return Q - sp.ones(Q.rows, 1) * mean_row(Q) * Fraction(1, 1)

    seen = observe(function, probes_of(CENTRED, 5), task=CENTRED)
    back = [Observation.from_plain(json.loads(json.dumps(o.to_plain()))) for o in seen]
    assert judge(CENTRED, EXERCISE, 5, back).status == "passed"


def test_nothing_that_a_submission_wrote_is_evaluated():
    with pytest.raises(KeyError):
        trees.rebuild(["__import__", ["Symbol", "os"]], {})
    tree = trees.answer(sp.Symbol("__import__('os').abort()"))[0]
    assert trees.matrix(tree, {}).name == "__import__('os').abort()"


@pytest.mark.parametrize("expression", [
    sp.Rational(-3, 7) * _x**2 + sp.sqrt(_y), sp.exp(_x) / (1 + sp.exp(-_y)), sp.log(3) + sp.pi * sp.E, sp.Abs(_x - 1), sp.Float("0.1", 30), sp.Float(1 / 3), sp.nan,
])  # fmt: skip
def test_trees_give_the_same_expression_back(expression):
    (part,) = trees.answer(expression)
    assert trees.matrix(json.loads(json.dumps(part)), {}) == expression


def test_an_endless_expression_is_refused_and_not_compared():
    with pytest.raises(trees.NotAnAnswer, match="simplify"):
        trees.answer(sp.Matrix(250, 250, lambda i, j: _x))


@pytest.mark.parametrize("wrap", [
    lambda Q: sp.Array(Q.tolist()), lambda Q: sp.MutableDenseNDimArray(Q.tolist()), lambda Q: sp.SparseMatrix(Q),
    lambda Q: [[sp.Matrix([[v]]) for v in row] for row in Q.tolist()], lambda Q: [[sp.Poly(v, sp.Symbol("z")) for v in row] for row in Q.tolist()],
    lambda Q: Q.applyfunc(lambda v: sp.Piecewise((v, sp.Ne(v, 0)), (0, True))),
    lambda Q: Q.applyfunc(lambda v: v * sp.cosh(v) * sp.sech(v)), lambda Q: Q.applyfunc(lambda v: sp.UnevaluatedExpr(v)),
    lambda Q: Q * sp.CRootOf(_x**5 - 32, 0) / 2, lambda Q: Q * (sp.GoldenRatio**2 - sp.GoldenRatio),
])  # fmt: skip
def test_other_kinds_of_containers_and_functions_are_read(wrap):
    assert verdict(1, lambda Q: wrap(Q - sp.ones(Q.rows, 1) * mean_row(Q))).status == "passed"


def test_a_list_of_one_by_one_matrices_is_a_row():
    assert trees.answer([sp.Matrix([[1]]), sp.Matrix([[2]])])[0]["shape"] == [2]


def test_right_at_small_denominators_only_is_wrong():
    assert verdict(1, lambda Q: (Q - sp.ones(Q.rows, 1) * mean_row(Q)).applyfunc(lambda v: v + sp.sin(60 * sp.pi * Q[0, 0]))).status == "wrong"


def test_irrational_answers_are_compared_beyond_double_precision():
    def nearly(p, u, combine):
        logits = p + u if combine == "mul" else p
        return sp.exp(logits[0]) / (sum(sp.exp(v) for v in logits) + sp.Rational(1, 10**13))

    assert verdict(2, nearly).sentence.startswith("Nearly, but not exactly")


@pytest.mark.parametrize("large", [
    lambda v: sp.Pow(2, 10**10, evaluate=False), lambda v: v ** (10**9), lambda v: (v + 1) ** (v ** 10**6),
    lambda v: sp.exp(sp.exp(sp.exp(sp.exp(sp.exp(v))))), lambda v: sp.Pow(sp.Pow(v + 2, 10**5, evaluate=False), 10**5, evaluate=False),
])  # fmt: skip
def test_numbers_too_long_to_compute_with_are_refused_at_once(large):
    assert "binary digits" in verdict(1, lambda Q: Q.applyfunc(lambda v: v if v.is_Rational else large(v))).sentence


def test_a_difference_that_expands_to_millions_is_left_to_the_points():
    def long(Q):
        one = sp.sin(Q[0, 0]) ** 2 + sp.cos(Q[0, 0]) ** 2 if Q.free_symbols else 1
        return Q - sp.ones(Q.rows, 1) * mean_row(Q) + sp.ones(*Q.shape) * (sum(Q) + 1) ** 90 * (one - 1)

    said = verdict(1, long)
    assert said.status == "passed" and not any("expands" in note for note in said.notes)


def test_complex_numbers_truth_values_and_comparisons_are_called_what_they_are():
    assert "complex" in verdict(1, lambda Q: Q * sp.I).sentence
    assert "True or False" in verdict(5, lambda: [[1, True]]).sentence
    assert "comparison" in verdict(4, lambda a, b: sp.Eq(a, b, evaluate=False)).sentence
    assert "inside each other" in verdict(5, lambda: _nested(200)).sentence


def _nested(depth):
    made = sp.Integer(1)
    for _ in range(depth):
        made = sp.Add(1, sp.Pow(made, -1, evaluate=False), evaluate=False)
    return [[made]]


def test_helpers_of_the_authors():
    rng = np.random.default_rng(0)
    drawn = rationals(rng, 3, 4)
    assert len(set(drawn)) == 12 and all(v.q <= 6 for v in drawn)
    rows = stochastic(rng, 3, 4)
    assert all(sum(rows.row(i)) == 1 for i in range(3)) and min(rows) > 0
    assert exp(np.zeros(2)).tolist() == [1.0, 1.0] and log(np.array([sp.E], dtype=object)).tolist() == [1]
    assert algebra.number(sp.Rational(1, 3)) == "1/3"


def test_the_classroom_loads_no_sympy_before_a_task_needs_it():
    code = "import sys, dnl_course.classroom as c; c.check('01.1', None); print('sympy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(("number", "function", "said"), [
    (1, lambda Q: np.array(Q, dtype=float), "stay in SymPy"),
    (1, lambda Q: Q.col_join(Q)[:3, :] * Q.row(0), "multiply_elementwise"),
    (1, lambda Q: sp.eye(2).nullspace()[0], "nullspace"),
    (1, lambda Q: Q - mean_row(Q), "`sp.ones(N, 1) * row` repeats a row"),
    (1, lambda Q: Q - sp.Rational(1, 2), "does not broadcast"),
    (1, lambda Q: sum(Q.row(i) for i in range(Q.rows)), "`sum(rows, sp.zeros(1, D))`"),
    (2, lambda p, u, combine: sp.diff(p[0] ** 2, p[0]), "differentiate by symbols of your own"),
    (1, lambda Q: Q[:1, :], "has shape (1, 2); expected (2, 2), that is (N, D)"),
])  # fmt: skip
def test_what_sympy_beginners_run_into_has_its_mend(number, function, said):
    assert said in verdict(number, function).sentence


def test_formulas_with_exponentials_are_written_as_decimals():
    text = str(result(WEIGHT, verdict(2, lambda p, u, combine: sp.exp(p[0]) / (1 + sp.exp(u[0])))))
    assert "exp(" not in text and "combine='mul'" in text
