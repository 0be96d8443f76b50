"""Exercise 02: the mistakes again in another style (loops, einsum, other operations), and other right answers.

Written without a look at ``dnl_course/classroom/ex02``; nothing here imports it.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import einsum


# ---------------------------------------------------------------- 02.1
def rows_logsumexp(logits):
    return (logits - torch.logsumexp(logits, -1, keepdim=True)).exp()


def rows_loop(logits):
    out = torch.empty_like(logits)
    for b in range(logits.shape[0]):
        for i in range(logits.shape[1]):
            e = torch.exp(logits[b, i] - max(logits[b, i]))
            out[b, i] = e / sum(e)
    return out


def rows_log(logits):
    """The logarithm of the weights first, by `logaddexp` key by key."""
    total = logits[..., :1]
    for j in range(1, logits.shape[-1]):
        total = torch.logaddexp(total, logits[..., j : j + 1])
    return torch.exp(logits - total)


def rows_sorted(logits):
    top = logits.detach().sort(-1, descending=True).values[..., :1]
    weights = torch.pow(math.e, logits - top)
    return einsum("bnm,bn->bnm", weights, 1 / einsum("bnm->bn", weights))


def rows_float32(logits):
    return rows_logsumexp(logits.float())


def rows_stacked(logits):
    return torch.stack([torch.stack([rows_logsumexp(row) for row in image.unbind()]) for image in logits.unbind()])


def rows_max_values(logits):
    logits = logits.clone()
    logits -= logits.max(dim=2, keepdim=True).values
    return logits.exp().div(logits.exp().sum(2)[..., None])


def _e(logits):
    return math.e**logits


def _over(logits, *axes):
    """Stable softmax over some axes, by logsumexp."""
    return (logits - logits.logsumexp(axes, keepdim=True)).exp()


def _axis_lost(logits):
    e = (logits - logits.max(-1, True)[0]).exp()
    return e / einsum("bnm->bn", e)


def _axis_lost_at_once(logits):
    return _e(logits - logits.max(-1)[0])


SOFTMAX_WRONG = {
    "over_queries": [lambda s: _over(s, 1), lambda s: _e(s) / _e(s).sum(1)[:, None],
                     lambda s: F.normalize(_e(s - s.amax(2, True)), p=1, dim=1, eps=0)],
    "over_images": [lambda s: _over(s, 0), lambda s: _e(s) / _e(s).sum(0)],
    "no_shift": [lambda s: _e(s) / _e(s).sum(-1)[..., None], lambda s: einsum("bnm,bn->bnm", s.exp(), 1 / s.exp().sum(2))],
    "one_shift_for_all": [lambda s: _e(s - s.max()) / _e(s - s.max()).sum(-1)[..., None],
                          lambda s: torch.stack([_e(x - x.max()) / _e(x - x.max()).sum(1, True) for x in s]),
                          lambda s: _e(s - s.max(1, True)[0]) / _e(s - s.max(1, True)[0]).sum(2, True)],
    "all_positions": [lambda s: _over(s, 1, 2), lambda s: torch.stack([_over(x.flatten(), 0).view(x.shape) for x in s]),
                      lambda s: _over(s.flatten(), 0).view_as(s), lambda s: _e(s) / _e(s).sum()],
    "not_normalised": [lambda s: _e(s), lambda s: _e(s - s.max(-1, True)[0]), lambda s: _over(s, 2) / _over(s, 2).amax(2, True)],
    "no_exp": [lambda s: s / s.sum(2)[:, :, None], lambda s: einsum("bnm,bn->bnm", s, 1 / s.sum(-1))],
    "log": [lambda s: s - s.logsumexp(2, True), lambda s: _over(s, -1).log()],
    "sign": [lambda s: _over(0 - s, -1), lambda s: _e(-s) / _e(-s).sum(2, True)],
    "axis_lost": [_axis_lost, _axis_lost_at_once],
    "other_shift": [lambda s: _e(s - s.mean(-1, True)) / _e(s - s.mean(-1, True)).sum(-1)[..., None],
                    lambda s: _e(s - s.min(2, True)[0]) / _e(s - s.min(2, True)[0]).sum(2, True),
                    lambda s: _e(s - s.abs().max(2, True)[0]) / _e(s - s.abs().max(2, True)[0]).sum(2, True)],
}  # fmt: skip


# ---------------------------------------------------------------- 02.2
def map_einsum(q, k):
    return torch.softmax(einsum("bid,bjd->bij", q, k), dim=2)


def map_loop(q, k):
    return torch.stack(
        [torch.stack([(keys @ x).softmax(0) for x in queries]) for queries, keys in zip(q, k, strict=True)]
    )


def map_exp(q, k):
    e = torch.exp(torch.bmm(q, k.transpose(1, 2)))
    return e / e.sum(-1, keepdim=True)


def map_centred_keys(q, k):
    """What is the same for all keys cancels."""
    return F.softmax(q @ (k - k.mean(1, keepdim=True)).transpose(-1, -2), -1)


def map_float32(q, k):
    return map_exp(q.float(), k.float())


def map_broadcast(q, k):
    return ((q[:, :, None] * k[:, None]).sum(-1)).softmax(-1)


def map_transposed_back(q, k):
    return (k @ q.mT).softmax(1).permute(0, 2, 1)


def _products(q, k):
    return einsum("bid,bjd->bij", q, k)


MAP_WRONG = {
    "over_queries": [lambda q, k: _products(q, k).softmax(1), lambda q, k: _products(k, q).softmax(2).transpose(1, 2)],
    "over_images": [lambda q, k: _products(q, k).softmax(0)],
    "all_positions": [lambda q, k: _products(q, k).flatten(1).softmax(1).unflatten(1, (q.size(1), k.size(1))),
                      lambda q, k: _over(_products(q, k), 0, 1, 2)],
    "scaled": [lambda q, k: (_products(q, k) / math.sqrt(q.size(-1))).softmax(-1), lambda q, k: (_products(q, k) / q.size(-1)).softmax(-1),
               lambda q, k: map_loop(q * q.size(2) ** 0.5, k)],
    "logits": [_products, lambda q, k: torch.bmm(q, k.permute(0, 2, 1))],
    "not_normalised": [lambda q, k: math.e ** _products(q, k), lambda q, k: map_exp(q, k) / map_exp(q, k).amax(2, True)],
    "no_exp": [lambda q, k: _products(q, k).div(einsum("bid,bjd->bi", q, k)[..., None]),
               lambda q, k: _products(q, k) / (q @ k.sum(1)[:, :, None])],
    "sigmoid": [lambda q, k: 1 / (1 + torch.exp(-_products(q, k)))],
    "transposed": [lambda q, k: map_loop(k, q), lambda q, k: einsum("bij->bji", map_exp(q, k)), lambda q, k: _products(k, q).softmax(1)],
    "cosine": [lambda q, k: map_exp(F.normalize(q, dim=-1), F.normalize(k, dim=-1)),
               lambda q, k: F.cosine_similarity(q[:, :, None], k[:, None], dim=-1).softmax(-1)],
    "distance": [lambda q, k: (-torch.cdist(q, k) ** 2).softmax(-1), lambda q, k: (-torch.cdist(q, k)).softmax(-1),
                 lambda q, k: (_products(q, k) - (k * k).sum(2)[:, None] / 2).softmax(-1)],
    "not_transposed": [lambda q, k: torch.bmm(q, k).softmax(-1), lambda q, k: torch.softmax(q.matmul(k.transpose(0, 2)), 2)],
    "batch_mixed": [lambda q, k: torch.stack([(x @ k[0].T).softmax(1) for x in q]), lambda q, k: einsum("bid,cjd->bij", q, k).softmax(-1),
                    lambda q, k: einsum("cid,bjd->bij", q, k).softmax(-1), lambda q, k: map_einsum(q[:1].repeat(len(q), 1, 1), k)],
    "relu": [lambda q, k: _products(q, k).clamp(min=0).softmax(-1), lambda q, k: _over(F.relu(_products(q, k)), 2)],
    "reshaped": [lambda q, k: torch.bmm(q, k.view(len(k), k.size(2), -1)).softmax(-1),
                 lambda q, k: _over(q @ k.flatten(1).unflatten(1, (k.size(2), k.size(1))), 2)],
    "axis_lost": [lambda q, k: _axis_lost(_products(q, k)), lambda q, k: _e(_products(q, k)) / _e(_products(q, k)).sum(-1)],
}  # fmt: skip


# ---------------------------------------------------------------- 02.3
def dot_einsum(q, k, v):
    return einsum("bnd,bde->bne", q, einsum("bmd,bme->bde", k, v)) / k.size(1)


def dot_outer(q, k, v):
    """A running sum of outer products, key by key."""
    kv = sum(k[:, j, :, None] * v[:, j, None, :] for j in range(k.shape[1]))
    return torch.bmm(q, kv / k.shape[1])


def dot_queries(q, k, v):
    """Query by query: a row of the map at a time is no map."""
    return torch.stack([((k @ x[:, :, None]) * v).mean(1) for x in q.unbind(1)], 1)


def dot_float32(q, k, v):
    return dot_einsum(q.float(), k.float(), v.float())


def dot_outer_mean(q, k, v):
    return q @ (k.unsqueeze(-1) * v.unsqueeze(-2)).mean(1)


def dot_per_image(q, k, v):
    return torch.stack([x @ torch.mm(y.t(), z).div(len(y)) for x, y, z in zip(q, k, v, strict=True)])


def _sums(q, k, v):
    """(q k^T) v, query by query."""
    return dot_queries(q, k, v) * k.size(1)


def _means(weights, v):
    return einsum("bnm,bme->bne", weights, v)


def dot_halves(q, k, v):
    """Half a map at a time."""
    n = q.size(1) // 2
    return torch.cat([_means(_products(part, k), v) for part in (q[:, :n], q[:, n:])], 1) / k.size(1)


def dot_printed(q, k, v):
    """The loops as the notebook prints them."""
    y = q.new_zeros(len(q), q.size(1), v.size(2))
    for i in range(q.size(1)):
        for j in range(k.size(1)):
            y[:, i] += (q[:, i] * k[:, j]).sum(-1, True) * v[:, j] / k.size(1)
    return y


def dot_rows(q, k, v):
    y = []
    for i in range(q.size(1)):
        weights = (k @ q[:, i, :, None]).squeeze(2)
        y.append((weights[..., None] * v).mean(1))
    return torch.stack(y, 1)


DOT_WRONG = {
    "no_1_m": [_sums, lambda q, k, v: _means(_products(q, k), v), lambda q, k, v: q @ einsum("bmd,bme->bde", k, v)],
    "one_over_n": [lambda q, k, v: _sums(q, k, v) / q.size(1), lambda q, k, v: _means(_products(q, k) / q.size(1), v)],
    "one_over_d": [lambda q, k, v: _sums(q, k, v) / k.size(2), lambda q, k, v: _sums(q, k, v) / v.shape[2]],
    "one_over_b": [lambda q, k, v: _sums(q, k, v) / len(q)],
    "softmax": [lambda q, k, v: _means(_products(q, k).softmax(2), v), lambda q, k, v: _means(map_loop(q, k), v) / k.size(1),
                lambda q, k, v: _means(_products(q, k).softmax(1), v), lambda q, k, v: _means(_over(_products(q, k), 1), v) / v.size(1)],
    "sum_of_weights": [lambda q, k, v: _means(_products(q, k) / _products(q, k).sum(2, True), v),
                       lambda q, k, v: _sums(q, k, v) / (q * k.sum(1, True)).sum(2, True)],
    "scaled": [lambda q, k, v: dot_queries(q / math.sqrt(q.size(2)), k, v)],
    "batch_summed": [lambda q, k, v: q @ einsum("bmd,bme->de", k, v) / k.size(1), lambda q, k, v: q @ (k[0].T @ v[0]) / k.size(1),
                     lambda q, k, v: einsum("bnd,cmd,cme->bne", q, k, v) / k.size(1) / len(k),
                     lambda q, k, v: q @ (k.flatten(0, 1).T @ v.flatten(0, 1)) / k.size(1)],
    "not_transposed": [lambda q, k, v: torch.bmm(q, torch.bmm(k, v)) / k.size(1), lambda q, k, v: q @ (k.transpose(2, 0) @ v) / k.size(1)],
    "builds_the_map": [lambda q, k, v: _means(_products(q, k), v) / k.size(1), lambda q, k, v: torch.bmm(q @ k.mT / v.size(1), v),
                       lambda q, k, v: ((q[:, :, None] * k[:, None]).sum(-1)[..., None] * v[:, None]).mean(2),
                       lambda q, k, v: einsum("bnd,bmd,bme->bne", q, k, v) / k.size(1), dot_halves],
    "reshaped": [lambda q, k, v: torch.bmm(q, k.view(len(k), k.size(2), -1) @ v) / k.size(1)],
    "loops": [dot_printed, dot_rows],
}  # fmt: skip


# ---------------------------------------------------------------- 02.4
def cat_pairs(q, k, v, w_f):
    """The definition: [q_i; k_j] really put one after the other."""
    n, m = q.size(1), k.size(1)
    both = torch.cat([q[:, :, None].expand(-1, -1, m, -1), k[:, None].expand(-1, n, -1, -1)], -1)
    return torch.relu(both @ w_f) @ v / m


def cat_loop(q, k, v, w_f):
    images = []
    for b in range(len(q)):
        rows = []
        for i in range(q.size(1)):
            total = 0
            for j in range(k.size(1)):
                total = total + torch.dot(w_f, torch.cat((q[b, i], k[b, j]))).clamp(min=0) * v[b, j]
            rows.append(total / k.size(1))
        images.append(torch.stack(rows))
    return torch.stack(images)


def cat_where(q, k, v, w_f):
    of_q, of_k = w_f.chunk(2)
    s = einsum("bnd,d->bn", q, of_q).unsqueeze(2) + einsum("bmd,d->bm", k, of_k).unsqueeze(1)
    return einsum("bnm,bme->bne", torch.where(s > 0, s, torch.zeros_like(s)), v) / v.size(1)


def cat_float32(q, k, v, w_f):
    return cat_pairs(q.float(), k.float(), v.float(), w_f.float())


def cat_sorted(q, k, v, w_f):
    """Without any N x M tensor."""
    d = q.shape[2]
    a, b = q @ w_f[:d], k @ w_f[d:]
    b, order = b.sort(1, descending=True)
    v = torch.take_along_dim(v, order[..., None], 1)
    n = torch.searchsorted((-b).detach(), a.detach().contiguous())
    sums = [F.pad(x.cumsum(1), (0, 0, 1, 0)).take_along_dim(n[..., None], 1) for x in (v, b[..., None] * v)]
    return (a[..., None] * sums[0] + sums[1]) / k.shape[1]


def cat_linear(q, k, v, w_f):
    """Two linear layers with one output each."""
    d = len(w_f) // 2
    s = F.linear(q, w_f[None, :d]) + F.linear(k, w_f[None, d:]).transpose(1, 2)
    return torch.bmm(F.relu(s), v).div(k.shape[1])


def cat_with(function=torch.relu, swap=False, divide=None):
    """Return another function of w_f · [q_i; k_j], written as one product of pairs."""

    def concatenated(q, k, v, w_f):
        w = torch.roll(w_f, len(w_f) // 2) if swap else w_f
        both = torch.cat(torch.broadcast_tensors(q.unsqueeze(2), k.unsqueeze(1)), dim=3)
        y = einsum("bnm,bme->bne", function(einsum("bnmc,c->bnm", both, w)), v)
        return y / (k.size(1) if divide is None else divide(q, k))

    return concatenated


def cat_each(q, k, v, w_f):
    a, b = (x.clamp_min(0) for x in (q @ w_f[: q.size(2)], k @ w_f[q.size(2) :]))
    return a[..., None] * v.mean(1, True) + (b[..., None] * v).mean(1, True)


def _shares(x):
    return x.relu() / einsum("bnm->bn", x.relu())[..., None]


CONCATENATION_WRONG = {
    "no_relu": [cat_with(lambda x: x), lambda q, k, v, w: cat_with(lambda x: 0 + x, divide=lambda q, k: 1)(q, k, v / k.size(1), w)],
    "relu_each_half": [cat_each, lambda q, k, v, w: (F.relu(q @ w[: q.size(2)])[..., None] + F.relu(k @ w[q.size(2) :])[:, None]) @ v / len(k[0])],
    "relu_after_sum": [lambda q, k, v, w: cat_with(lambda x: x)(q, k, v, w).clamp(min=0)],
    "other_function": [cat_with(F.leaky_relu), cat_with(torch.abs), cat_with(lambda x: 1 / (1 + (-x).exp())),
                       cat_with(F.gelu), cat_with(lambda x: (1 + x.exp()).log()), cat_with(torch.tanh), cat_with(torch.exp)],
    "relu_too_early": [lambda q, k, v, w: cat_with(lambda x: x)(q.clamp(min=0), k.clamp(min=0), v, w),
                       lambda q, k, v, w: cat_pairs(F.relu(q), F.relu(k), v, w)],
    "one_over_b": [cat_with(divide=lambda q, k: len(k))],
    "loops": [cat_loop],
    "halves_swapped": [cat_with(swap=True), lambda q, k, v, w: cat_loop(q, k, v, torch.cat((w[len(w) // 2 :], w[: len(w) // 2])))],
    "softmax": [cat_with(lambda x: x.relu().softmax(-1), divide=lambda q, k: 1), cat_with(lambda x: _over(x, 2), divide=lambda q, k: 1),
                cat_with(lambda x: x.relu().softmax(2)), cat_with(lambda x: x.softmax(2)),
                cat_with(lambda x: x.relu().softmax(1)), cat_with(lambda x: x.softmax(1), divide=lambda q, k: 1)],
    "no_1_m": [cat_with(divide=lambda q, k: 1)],
    "one_over_n": [cat_with(divide=lambda q, k: len(q[0]))],
    "one_over_d": [cat_with(divide=lambda q, k: 2 * q.size(2)), cat_with(divide=lambda q, k: q.shape[-1]),
                   lambda q, k, v, w: cat_with(divide=lambda q, k: v.size(2))(q, k, v, w)],
    "axes_missing": [lambda q, k, v, w: torch.clamp(einsum("bnd,d->bn", q, w[: q.size(2)]) + k.matmul(w[q.size(2) :]), min=0) @ v / len(k[0])],
    "sum_of_weights": [cat_with(_shares, divide=lambda q, k: 1)],
}  # fmt: skip


# ---------------------------------------------------------------- 02.5
def error_inverse(op, x, order):
    """Permute the output of the permuted input back, and compare with the plain output."""
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    return torch.max(torch.abs(op(x[:, order])[:, back] - op(x)))


def error_numpy(op, x, order):
    a, b = op(x[:, order]).numpy(), op(x).numpy()[:, order.numpy()]
    return np.abs(a - b).max()


def error_loop(op, x, order):
    plain, permuted = op(x), op(torch.stack([x[:, j] for j in order.tolist()], 1))
    return max(float((permuted[:, i] - plain[:, j]).abs().max()) for i, j in enumerate(order.tolist()))


def error_matrix(op, x, order):
    p = torch.eye(len(order), dtype=x.dtype)[order]
    return (op(p @ x) - p @ op(x)).flatten().norm(p=math.inf).item()


def error_select(op, x, order):
    d = op(x.index_select(1, order)) - op(x).index_select(1, order)
    return torch.maximum(d.max(), -d.min())


def error_gather(op, x, order):
    index = order[None, :, None].expand_as(x)
    return F.l1_loss(op(x.gather(1, index)), op(x).gather(1, index), reduction="none").amax()


def error_float32(op, x, order):
    return error_numpy(op, x.float(), order)


def _p(x, order):
    return torch.stack([x[:, j] for j in order.tolist()], 1)


def _back(x, order):
    y = torch.empty_like(x)
    y[:, order] = x
    return y


def _largest(a, b):
    return (a - b).flatten().norm(p=math.inf)


EQUIVARIANCE_WRONG = {
    "input_only": [lambda op, x, o: _largest(op(_p(x, o)), op(x)), lambda op, x, o: _largest(_p(op(x), o), op(x)).item(),
                   lambda op, x, o: np.abs(op(x[:, o]).numpy() - op(x).numpy()).max()],
    "op_forgotten": [lambda op, x, o: _largest(op(_p(x, o)), _p(x, o)), lambda op, x, o: _largest(_p(op(x), o), _p(x, o)),
                     lambda op, x, o: _largest(op(x[:, o]), x), lambda op, x, o: _largest(_p(x, o), x),
                     lambda op, x, o: _largest(op(x), x[:, o])],
    "inverse": [lambda op, x, o: _largest(_p(op(_p(x, o)), o), op(x)), lambda op, x, o: _largest(op(x[:, o]), op(x)[:, torch.argsort(o)]),
                lambda op, x, o: float(_largest(op(x[:, o.argsort()]), op(x)[:, o])),
                lambda op, x, o: float(_largest(op(_back(x, o)), _back(op(x), o)))],
    "channels": [lambda op, x, o: _largest(op(x[:, :, o]), op(x)[:, :, o]),
                 lambda op, x, o: _largest(op(x.index_select(-1, o)), op(x).index_select(-1, o))],
    "mean_signed": [lambda op, x, o: (op(_p(x, o)) - _p(op(x), o)).sum() / x.numel(), lambda op, x, o: (_p(op(x), o) - op(_p(x, o))).mean(),
                    lambda op, x, o: abs((_p(op(x), o) - op(_p(x, o))).sum().item()),
                    lambda op, x, o: abs(float((op(_p(x, o)) - _p(op(x), o)).sum())) * float((op(_p(x, o)) - _p(op(x), o)).sum().sign())],
    "no_abs": [lambda op, x, o: (op(_p(x, o)) - _p(op(x), o)).amax(), lambda op, x, o: (_p(op(x), o) - op(_p(x, o))).flatten().sort()[0][-1],
               lambda op, x, o: abs((op(_p(x, o)) - _p(op(x), o)).amax().item()), lambda op, x, o: (op(_p(x, o)) - _p(op(x), o)).amin()],
    "always_zero": [lambda op, x, o: 0.0, lambda op, x, o: (op(_p(x, o)) - op(x[:, o])).abs().max(), lambda op, x, o: 0],
    "mean_abs": [lambda op, x, o: F.l1_loss(op(_p(x, o)), _p(op(x), o)), lambda op, x, o: torch.dist(op(_p(x, o)), _p(op(x), o)),
                 lambda op, x, o: F.mse_loss(op(_p(x, o)), _p(op(x), o)), lambda op, x, o: F.mse_loss(op(_p(x, o)), _p(op(x), o)) ** 0.5,
                 lambda op, x, o: torch.dist(op(_p(x, o)), _p(op(x), o), p=1)],
    "squared": [lambda op, x, o: ((op(_p(x, o)) - _p(op(x), o)) ** 2).amax()],
    "yes_or_no": [lambda op, x, o: torch.allclose(op(_p(x, o)), _p(op(x), o)), lambda op, x, o: not torch.allclose(op(x[:, o]), op(x)[:, o]),
                  lambda op, x, o: torch.equal(op(x[:, o]), op(x)[:, o]), lambda op, x, o: bool((op(x[:, o]) != op(x)[:, o]).any()),
                  lambda op, x, o: torch.isclose(op(_p(x, o)), _p(op(x), o)).all(), lambda op, x, o: True],
}  # fmt: skip

WRONG = {
    "02.1": SOFTMAX_WRONG,
    "02.2": MAP_WRONG,
    "02.3": DOT_WRONG,
    "02.4": CONCATENATION_WRONG,
    "02.5": EQUIVARIANCE_WRONG,
}

RIGHT = {
    "02.1": [rows_logsumexp, rows_loop, rows_log, rows_sorted, rows_float32, rows_stacked, rows_max_values],
    "02.2": [map_einsum, map_loop, map_exp, map_centred_keys, map_float32, map_broadcast, map_transposed_back],
    "02.3": [dot_einsum, dot_outer, dot_queries, dot_float32, dot_outer_mean, dot_per_image],
    "02.4": [cat_pairs, cat_loop, cat_where, cat_float32, cat_sorted, cat_linear],
    "02.5": [error_inverse, error_numpy, error_loop, error_matrix, error_select, error_gather, error_float32],
}
