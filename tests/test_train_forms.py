"""`dnl_course.train.forms`: each form is its formula, and the query bias is where it is said to be."""

from __future__ import annotations

import math

import pytest
import torch

from dnl_course.train.forms import FORMS, Layer


def lively(form, channels=3, width=5, seed=0, **options):
    """A float64 layer far from its start: random non-zero weights everywhere, the bias included."""
    generator = torch.Generator().manual_seed(seed)
    layer = Layer(form, channels, width, **options).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(0.8 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return layer


def inputs(B=2, N=7, C=3, seed=1):
    """Features (B, N, C), of mean 1, and a signal (B, N, 1)."""
    generator = torch.Generator().manual_seed(seed)
    features = 1 + 0.6 * torch.randn(B, N, C, generator=generator, dtype=torch.float64)
    return features, torch.randn(B, N, 1, generator=generator, dtype=torch.float64)


def softmax(logits):
    total = sum(math.exp(a) for a in logits)
    return [math.exp(a) / total for a in logits]


def by_loops(layer, form, x):
    """The logits and the maps of one picture (N, C), number by number, from their formulas."""
    Wq, Wk, Wm = (w.weight.tolist() for w in (layer.query, layer.key, layer.mask))
    bias = [0.0] * len(Wq) if layer.query.bias is None else layer.query.bias.tolist()
    x, N, D = x.tolist(), len(x), len(Wq)
    q = [[sum(w * a for w, a in zip(Wq[d], row, strict=True)) + bias[d] for d in range(D)] for row in x]
    k = [[sum(w * a for w, a in zip(Wk[d], row, strict=True)) for d in range(D)] for row in x]
    m = [sum(w * a for w, a in zip(Wm[0], row, strict=True)) for row in x]
    mu_q = [sum(row[d] for row in q) / N for d in range(D)]
    mu_k = [sum(row[d] for row in k) / N for d in range(D)]
    whitened = [[sum((q[i][d] - mu_q[d]) * (k[j][d] - mu_k[d]) for d in range(D)) for j in range(N)] for i in range(N)]
    shared = [sum(mu_q[d] * k[j][d] for d in range(D)) for j in range(N)]
    P, U, O = [softmax(row) for row in whitened], softmax(shared), softmax(m)
    if form == "nl":
        joint = [softmax([sum(q[i][d] * k[j][d] for d in range(D)) for j in range(N)]) for i in range(N)]
    else:
        joint = {
            "dnl_star": [softmax([whitened[i][j] + m[j] for j in range(N)]) for i in range(N)],
            "dnl_dagger": [[P[i][j] + U[j] for j in range(N)] for i in range(N)],
            "dnl": [[P[i][j] + O[j] for j in range(N)] for i in range(N)],
            "nl_p": P,
            "nl_u": [U for _ in range(N)],
        }[form]
    logits = whitened, m if form in ("dnl", "dnl_star") else shared
    pairwise = None if form == "nl_u" else P
    unary = None if form == "nl_p" else O if form in ("dnl", "dnl_star") else U
    return logits, (pairwise, unary, joint)


@pytest.mark.parametrize("query_bias", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_forms_by_their_formulas(form, query_bias):
    layer, (features, signal) = lively(form, query_bias=query_bias), inputs()
    kept = features.clone(), signal.clone()
    found, answers = layer.maps(features), layer(features, signal)
    assert torch.equal(features, kept[0]) and torch.equal(signal, kept[1])
    for b in range(2):
        terms, expected = by_loops(layer, form, features[b])
        for mine, loops in zip(layer.logits(features), terms, strict=True):
            assert (mine[b] - torch.tensor(loops, dtype=torch.float64)).abs().max() < 1e-12
        for mine, loops in zip(found, expected, strict=True):
            assert (mine is None) == (loops is None)
            if loops is not None:
                assert (mine[b] - torch.tensor(loops, dtype=torch.float64)).abs().max() < 1e-12
        for i in range(7):
            y = layer.gain.item() * sum(w * s for w, s in zip(expected[2][i], signal[b, :, 0].tolist(), strict=True))
            assert answers[b, i].item() == pytest.approx(y, abs=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_by_differences(form):
    features, signal = inputs(1, 5)
    layer = lively(form)
    used = [n for n, _ in layer.named_parameters() if FORMS[form].unary == "own" or not n.startswith("mask")]

    def answers(features, *values):
        return torch.func.functional_call(layer, dict(zip(used, values, strict=True)), (features, signal))

    values = [dict(layer.named_parameters())[name].detach().requires_grad_() for name in used]
    assert torch.autograd.gradcheck(answers, (features.requires_grad_(), *values))


def test_the_bias_acts_only_where_the_unary_term_is_shared():
    features, signal = inputs()
    for form, about in FORMS.items():
        layer = lively(form)
        before = layer(features, signal)
        (gradient,) = torch.autograd.grad(before.square().sum(), layer.query.bias)
        with torch.no_grad():
            layer.query.bias.add_(torch.tensor([2.0, -1.0, 0.5, 1.0, -2.0]))
        change = (layer(features, signal) - before).abs().max().item()
        if about.unary == "shared":
            assert change > 1e-2 and gradient.abs().max() > 1e-3
        else:
            assert change < 1e-12 and gradient.abs().max() < 1e-12
        assert Layer(form, query_bias=False).query.bias is None


def test_a_bias_of_the_key_would_cancel():
    features, signal = inputs()
    for form in FORMS:
        layer = lively(form)
        before = layer(features, signal)
        layer.key.bias = torch.nn.Parameter(torch.arange(5.0, dtype=torch.float64) - 1)
        layer.mask.bias = torch.nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
        assert (layer(features, signal) - before).abs().max() < 1e-12


def test_all_forms_begin_alike():
    layers = []
    for form in FORMS:
        torch.manual_seed(3)
        layers.append(Layer(form))
    for layer in layers[1:]:
        for name in ("query.weight", "query.bias", "key.weight", "mask.weight"):
            assert torch.equal(layer.get_parameter(name), layers[0].get_parameter(name))
    features = torch.randn(2, 9, 4)
    sums = {layer.form: (layer.maps(features).joint.sum(2), layer.gain.item()) for layer in layers}
    for form, (rows, gain) in sums.items():
        assert rows.min().item() == pytest.approx(rows.max().item(), rel=1e-5)
        assert rows.mean().item() == pytest.approx(2 if form in ("dnl", "dnl_dagger") else 1, rel=1e-5)
        assert gain * rows.mean().item() == pytest.approx(1, rel=1e-5)  # no form has a larger answer to begin with


@pytest.mark.parametrize(("call", "words"), [
    (lambda: Layer("mul"), "Valid names: nl, dnl_star, dnl_dagger, dnl, nl_p, nl_u"),
    (lambda: Layer("nl", 0), "channels = 0"),
    (lambda: Layer("nl", width=2.0), "width = 2.0"),
])  # fmt: skip
def test_errors_name_what_is_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()
