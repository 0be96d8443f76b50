"""The classroom's torch tasks: tensors go in, gradients are compared, the largest tensor is counted, properties judged."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from dnl_course.classroom import source
from dnl_course.classroom.engine import examine
from dnl_course.classroom.judge import judge, probes_of
from dnl_course.classroom.probe import Observation, observe
from dnl_course.classroom.report import result
from dnl_course.classroom.task import AlsoRight, Exercise, Limit, Mistake, Probe, Task

HINTS = ("one", "two", "three")


def scores(q, k, *, scale=False, swapped=False):
    """q_i · k_j."""
    q, k = (k, q) if swapped else (q, k)
    return q @ k.mT / (q.shape[-1] ** 0.5 if scale else 1.0)


def _probes(rng):
    def given(b, n, m, d):
        return {"q": rng.normal(1, 0.6, (b, n, d)), "k": rng.normal(1, 0.6, (b, m, d))}

    return [Probe(given(2, 3, 4, 5)), Probe(given(3, 5, 2, 4)), Probe(given(1, 90, 80, 2), measure="tensor")]


SCORES = Task(
    id="99.1", title="scores", minutes=5, difficulty=1, hints=HINTS, reference=scores, probes=_probes, tensors=True,
    outputs=(("scores", "(B, N, M)"),), gradient=("q", "k"), refused=("torch.bmm",),
    mistakes=(
        Mistake("scaled", "You divide by √D.", ({"scale": True},)),
        Mistake("swapped", "Queries and keys have changed places.", ({"swapped": True},)),
    ),
)  # fmt: skip


def sums_to_one(n):
    """Any n positive numbers that sum to 1."""
    return torch.ones(n) / n


def _diagnose(inputs, values):
    (v,) = values
    if abs(v.sum() - 1) > 1e-6:
        return "not_one"
    if (v < 0).any():
        return "There is a negative number."
    return "also:one" if v.max() == 1 else ""


PROPERTY = Task(
    id="99.2", title="a distribution", minutes=5, difficulty=1, hints=HINTS, reference=sums_to_one, tensors=True,
    probes=lambda rng: [Probe({"n": 3}), Probe({"n": 5})], outputs=(("weights", "(n,)"),), diagnose=_diagnose,
    mistakes=(Mistake("not_one", "They do not sum to 1.", ()),), also_right=(AlsoRight("all on one.", {"key": "one"}),),
)  # fmt: skip


def largest_error(op, x, *, signed=False):
    """Largest difference of op(x) from 2 x."""
    difference = op(x) - 2 * x
    return (difference if signed else difference.abs()).max()


def _drive(function, inputs):
    ops = {"three": lambda x: -3 * x, "two": lambda x: 2 * x}
    return function(ops[inputs["op"]], inputs["x"])


DRIVEN = Task(
    id="99.3", title="an error", minutes=5, difficulty=1, hints=HINTS, reference=largest_error, tensors=True, drive=_drive,
    probes=lambda rng: [Probe({"op": op, "x": rng.normal(1, 0.6, (2, 3))}) for op in ("three", "two")],
    outputs=(("error", ""),), mistakes=(Mistake("signed", "You leave the sign.", ({"signed": True},)),),
)  # fmt: skip
EXERCISE = Exercise("99", "torch", (SCORES, PROPERTY, DRIVEN), refused_names=("torch.nn.functional.scaled_dot_product_attention",))


def look(task, function, seed=0):
    return examine(task, EXERCISE, function, seed)


# ------------------------------------------------------------------ values


def with_numpy(q, k):
    return np.einsum("bid,bjd->bij", q.numpy(), k.numpy())


def with_loops(q, k):
    return torch.stack([torch.stack([(a * b).sum(-1) for b in k.unbind(1)], 1) for a in q.unbind(1)], 1)


@pytest.mark.parametrize("function", [with_loops, lambda q, k: torch.einsum("bid,bjd->bij", q, k)])
def test_right_answers_pass(function):
    verdict = look(SCORES, function)
    assert verdict.status == "passed" and not verdict.notes


def test_single_precision_passes_with_a_note():
    verdict = look(SCORES, lambda q, k: q.float() @ k.float().mT)
    assert verdict.status == "passed" and "single precision" in verdict.notes[0]


@pytest.mark.parametrize(("function", "mistake"), [
    (lambda q, k: torch.einsum("bid,bjd->bij", q, k) * q.size(2) ** -0.5, "scaled"),
    (lambda q, k: torch.einsum("bid,bjd->bji", q, k), "swapped"),
    (lambda q, k: torch.einsum("bid,bjd->bji", q, k) / q.size(2) ** 0.5, "scaled+swapped"),
    (lambda q, k: 3 * torch.einsum("bid,bjd->bij", q, k), "general:factor"),
    (lambda q, k: torch.einsum("id,bjd->bij", q[0], k), "general:first_of_batch"),
    (lambda q, k: (q @ k.mT).bfloat16(), "layer:numbers"),
    (lambda q, k: (q @ k.mT).tolist(), "layer:gradient"),
])  # fmt: skip
def test_wrong_answers_are_named(function, mistake):
    assert look(SCORES, function).mistake == mistake


def test_half_precision_is_said_to_be_it():
    assert "bfloat16" in look(SCORES, lambda q, k: (q @ k.mT).bfloat16()).sentence


def test_a_changed_argument_is_named():
    def changes(q, k):
        out = q @ k.mT
        q -= q.mean()
        return out

    assert look(SCORES, changes).mistake == "layer:modified"


def test_the_same_kind_of_error_in_other_words_is_the_same_mistake():
    """A wrong axis raises where sizes differ; einsum and matmul word it differently, one probe must fit exactly."""
    def half(q, k, *, wrong=False):
        return (q @ k if wrong else q @ k.mT).sum(-1)

    def probes(rng):
        return [Probe({"q": rng.normal(1, 0.6, (2, 3, d)), "k": rng.normal(1, 0.6, (2, 4, d))}) for d in (4, 5)]

    task = replace(SCORES, reference=half, probes=probes, mistakes=(Mistake("wrong", "Not transposed.", ({"wrong": True},)),))
    assert look(task, lambda q, k: torch.einsum("bij,bjd->bi", q, k)).mistake == "wrong"
    assert look(task, lambda q, k: torch.zeros(2, 3, 2) @ torch.ones(2, 7)).mistake != "wrong"


# ------------------------------------------------------------------ gradients


class Cut(torch.autograd.Function):
    """Raises on the way back."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        raise RuntimeError("stopped.")


@pytest.mark.parametrize(("function", "said"), [
    (lambda q, k: q.detach() @ k.mT, "no gradient flows back to `q`"),
    (lambda q, k: torch.tensor((q @ k.mT).tolist()), "no gradient flows back to `q` and `k`"),
    (with_numpy, "NumPy has no gradients"),
    (lambda q, k: Cut.apply(q @ k.mT), "backward through it raises RuntimeError: stopped."),
    (lambda q, k: with_numpy(q.detach(), k.detach()), "NumPy has no gradients"),
    (lambda q, k: q @ k.mT + 0 * (0 * q @ k.mT).sqrt(), "`q` holds NaN"),
    (lambda q, k: q @ (0.5 * k + 0.5 * k.detach()).mT, "with respect to `k`"),
])  # fmt: skip
def test_a_gradient_that_is_cut_off_is_said(function, said):
    verdict = look(SCORES, function)
    assert verdict.mistake == "layer:gradient" and verdict.status == "wrong" and said in verdict.sentence


def test_observations_with_gradients_survive_json():
    probes = probes_of(SCORES, 3)
    seen = observe(lambda q, k: q.detach() @ k.mT, probes, task=SCORES)
    again = [Observation.from_plain(json.loads(json.dumps(o.to_plain()))) for o in seen]
    assert again[0].gradients[0] is None and np.array_equal(again[0].gradients[1], seen[0].gradients[1])
    assert judge(SCORES, EXERCISE, 3, again).sentence == judge(SCORES, EXERCISE, 3, seen).sentence


# ------------------------------------------------------------------ limits


@pytest.mark.parametrize("note", [False, True])
def test_the_largest_tensor_is_counted(note):
    limit = Limit("builds_it", "You build {counted:.0f} entries, more than {allowed}.", "tensor", 7000, note=note)

    def rows(q, k, *, off=0):
        return (q * k.mean(1, keepdim=True)).sum(-1) + off

    task = replace(SCORES, reference=rows, outputs=(("rows", "(B, N)"),), mistakes=(), limits=(limit,))
    assert look(task, rows) == look(task, lambda q, k: (q @ k.mean(1)[..., None])[..., 0])
    assert look(task, lambda q, k: (q[:, :, None].expand(-1, -1, 80, -1)[:, :, 0] * k.mean(1, keepdim=True)).sum(-1)).status == "passed"
    verdict = look(task, lambda q, k: (q @ k.mT).mean(-1))
    assert (verdict.status, verdict.mistake) == (("passed", "") if note else ("wrong", "builds_it"))
    assert "You build 7200 entries" in (verdict.notes[0] if note else verdict.sentence)


# ------------------------------------------------------------------ properties, drivers


@pytest.mark.parametrize(("function", "status", "mistake", "note"), [
    (lambda n: torch.softmax(torch.arange(n) * 1.0, 0), "passed", "", ""),
    (lambda n: np.eye(n)[0], "passed", "", "all on one."),
    (lambda n: torch.ones(n), "wrong", "not_one", ""),
    (lambda n: torch.tensor([2.0, -1.0] + [0.0] * (n - 2)), "wrong", "layer:values", ""),
    (lambda n: torch.ones(n + 1) / (n + 1), "wrong", "layer:shape", ""),
])  # fmt: skip
def test_a_property_is_judged(function, status, mistake, note):
    verdict = look(PROPERTY, function)
    assert (verdict.status, verdict.mistake, "".join(verdict.notes)) == (status, mistake, note)


def test_a_driver_builds_what_is_no_array():
    assert look(DRIVEN, lambda op, x: float(abs(op(x) - x - x).max())).status == "passed"
    assert look(DRIVEN, lambda op, x: (op(x) - 2 * x).max()).mistake == "signed"
    verdict = look(DRIVEN, lambda op, x: op(x).nonsense)
    assert "has no attribute 'nonsense'" in verdict.sentence and "op(x).nonsense" in verdict.sentence


# ------------------------------------------------------------------ whole answers


def with_sdpa(q, k):
    return torch.nn.functional.scaled_dot_product_attention(q, k, k)


def with_import(q, k):
    from torch.nn.functional import scaled_dot_product_attention as attend

    return attend(q, k, k)


def with_method(q, k):
    return q.bmm(k.mT)


def helper(q, k):
    return torch.bmm(q, k.mT)


@pytest.mark.parametrize("function", [with_sdpa, with_import, with_method, lambda q, k: helper(q, k), torch.bmm])
def test_a_whole_answer_is_refused_by_name(function):
    verdict = look(SCORES, function)
    assert verdict.status == "refused" and ("torch.bmm" in verdict.sentence or "scaled_dot" in verdict.sentence)


def with_types(q, k):
    assert isinstance(q, torch.Tensor)
    return q @ k.mT


def test_the_name_of_a_type_is_no_data_from_the_notebook():
    verdict = look(SCORES, with_types)
    assert verdict.status == "passed" and not verdict.notes


def test_what_is_not_named_is_allowed():
    assert source.refused(with_loops, (), ("torch.bmm",)) is None
    assert source.refused(lambda x: torch.softmax(x, 0), (), ("torch.bmm",)) is None


# ------------------------------------------------------------------ what is shown


def test_maps_of_a_batch_are_drawn():
    probes = lambda rng: [Probe({"q": rng.normal(1, 0.6, (2, 6, 3)), "k": rng.normal(1, 0.6, (2, 5, 3))})]
    task = replace(SCORES, probes=probes)
    shown = result(task, look(task, lambda q, k: 2 * q @ k.mT + q.sum()))
    assert "<img" in shown.picture and "q =" in shown.example


def test_a_numpy_task_loads_no_torch():
    ask = "import sys; from dnl_course.classroom import check; check('01.2', lambda distances, h: distances); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
