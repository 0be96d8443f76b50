"""Exercise 03: the mistakes again in another style (loops, einsum, unfold, autograd), and other right answers.

Written without a look at ``dnl_course/classroom/ex03``; nothing here imports it.
"""

import copy
import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

torch.optim.SGD([torch.zeros(1)], lr=0.1)  # the first optimizer of a process takes two seconds to load: no check's time


# ---------------------------------------------------------------- 03.1
def positions_movedim(x):
    return x.movedim(1, -1).reshape(x.shape[0], -1, x.shape[1])


def positions_loop(x):
    """Pixel by pixel, with any number of indices."""
    return torch.stack([x[(slice(None), slice(None), *where)] for where in itertools.product(*map(range, x.shape[2:]))], 1)


def positions_einsum(x):
    n = math.prod(x.shape[2:])
    return torch.einsum("bcn->bnc", x.contiguous().view(x.shape[0], x.shape[1], n))


def positions_by_image(x):
    return torch.stack([image.reshape(len(image), -1).T for image in x])


def positions_swap(x):
    """Swap B and C, flatten, and turn round."""
    return x.transpose(0, 1).flatten(2).permute(1, 2, 0)


def positions_float32(x):
    return positions_loop(x.float())


def _walk(x, axes):
    """Positions in the order in which the axes run, slowest first."""
    orders = [range(n) for n in x.shape[2:]]
    keys = sorted(itertools.product(*orders), key=lambda where: [where[a] for a in axes])
    return torch.stack([x[(slice(None), slice(None), *where)] for where in keys], 1)


def _two_loops(x):
    rows = range(x.shape[2])
    columns = range(x.shape[3])
    return torch.stack([x[:, :, r, c] for r in rows for c in columns], 1)


def _four_sizes(x):
    (b, c, h, w) = x.size()
    return torch.einsum("bchw->bhwc", x).reshape(b, h * w, c)


POSITIONS_WRONG = {
    "view": [lambda x: x.view(x.size(0), -1, x.size(1)),
             lambda x: torch.stack([i.reshape(-1, len(i)) for i in x]),
             lambda x: x.flatten(2).view(x.shape[0], math.prod(x.shape[2:]), x.shape[1])],
    "channels_first": [lambda x: x.reshape(*x.shape[:2], -1), lambda x: x.flatten(start_dim=2)],
    "columns_first": [lambda x: _walk(x, range(x.ndim - 3, -1, -1)), lambda x: x.transpose(1, -1).flatten(1, -2),
                      lambda x: x.permute(0, *range(x.ndim - 1, 1, -1), 1).reshape(x.shape[0], -1, x.shape[1]),
                      lambda x: positions_movedim(x.transpose(-1, -2)) if x.ndim > 3 else positions_movedim(x)],
    "only_2d": [_four_sizes, lambda x: x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, x.shape[1]),
                lambda x: torch.permute(x, (0, 2, 3, 1)).flatten(1, 2),
                lambda x: x.view(x.size(0), x.size(1), x.size(2) * x.size(3)).permute(0, 2, 1),
                lambda x: x.flatten(2, 3).permute(0, 2, 1)],
    "batch_lost": [lambda x: x.movedim(1, -1).reshape(-1, x.shape[1]), lambda x: torch.cat(list(positions_loop(x)))],
    "positions_then_batch": [lambda x: x.flatten(2).permute(2, 0, 1),
                             lambda x: torch.stack(list(positions_loop(x).unbind(1)))],
    "t_reverses_all": [lambda x: x.reshape(*x.shape[:2], -1).permute(2, 1, 0)],
    "not_flattened": [lambda x: x.permute(0, *range(2, x.ndim), 1)],
    "channels_flattened": [lambda x: x.reshape(len(x), -1), lambda x: torch.stack([i.ravel() for i in x])],
}  # fmt: skip


# ---------------------------------------------------------------- 03.2
def block_einsum(x, y, w_z):
    return x + torch.einsum("ce,bne->bcn", w_z, y).view_as(x)


def block_linear(x, y, w_z):
    z = F.linear(y, w_z)  # (B, N, C)
    return torch.add(x, z.mT.unflatten(2, x.shape[2:]))


def block_on_positions(x, y, w_z):
    """Add where the positions are a list, then go back."""
    flat = x.flatten(2).transpose(1, 2) + y @ w_z.T
    return flat.transpose(1, 2).reshape_as(x)


def block_conv(x, y, w_z):
    """W_z as a 1×1 convolution."""
    return F.conv1d(y.transpose(1, 2), w_z[..., None]).reshape(x.shape) + x


def block_loop(x, y, w_z):
    rows = []
    for image, positions in zip(x, y):
        columns = [image.flatten(1)[:, n] + (w_z * positions[n]).sum(1) for n in range(len(positions))]
        rows.append(torch.stack(columns, 1).reshape(image.shape))
    return torch.stack(rows)


def block_matmul_first(x, y, w_z):
    """W_z from the left: no transpose of the result is needed."""
    return (w_z @ y.transpose(-2, -1)).reshape(x.shape) + x


def block_float32(x, y, w_z):
    return block_einsum(*(t.float() for t in (x, y, w_z)))


def _branch(x, y, w_z):
    return block_einsum(torch.zeros_like(x), y, w_z)


def _unpacked(x, y, w_z):
    batch, channels, rows, columns = x.shape
    return x + torch.matmul(y, w_z.t()).permute(0, 2, 1).view(batch, channels, rows, columns)


def _sizes_by_hand(x, y, w_z):
    return x + torch.matmul(y, w_z.t()).mT.reshape(x.size(0), x.size(1), x.size(2), x.size(3))


BLOCK_WRONG = {
    "no_residual": [lambda x, y, w: torch.einsum("bne,ce->bcn", y, w).reshape(x.shape)],
    "view": [lambda x, y, w: F.linear(y, w).contiguous().view(x.shape) + x,
             lambda x, y, w: (x.reshape(len(x), -1, x.shape[1]) + torch.einsum("bne,ce->bnc", y, w)).reshape(x.shape)],
    "not_back": [lambda x, y, w: x.movedim(1, -1).flatten(1, -2) + F.linear(y, w)],
    "w_z_transposed": [lambda x, y, w: x + torch.matmul(y, w).mT.reshape(x.shape),
                       lambda x, y, w: x + torch.einsum("bne,ec->bcn", y, w).reshape(x.shape),
                       lambda x, y, w: x + F.linear(y, w.T).permute(0, 2, 1).reshape(x.shape),
                       lambda x, y, w: x + torch.matmul(w, y).mT.reshape(x.shape)],
    "multiplied": [lambda x, y, w: _branch(x, y, w).mul(x), lambda x, y, w: (1 + _branch(x, y, w)) * x],
    "subtracted": [lambda x, y, w: x.sub(_branch(x, y, w)), lambda x, y, w: torch.sub(_branch(x, y, w), x)],
    "no_w_z": [lambda x, y, w: x + y.mT.reshape(x.shape)],
    "relu": [lambda x, y, w: block_loop(x, y, w).clamp(min=0), lambda x, y, w: x + nn.ReLU()(_branch(x, y, w))],
    "only_2d": [_unpacked, _sizes_by_hand],
}  # fmt: skip


# ---------------------------------------------------------------- 03.3
def zero_no_grad(out, norm=None):
    layer = norm if norm is not None else out
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.fill_(0.0)


def zero_data(out, norm=None):
    for p in (out if norm is None else norm).parameters():
        p.data = torch.zeros_like(p.data)


def zero_new_parameters(out, norm):
    """New parameters instead of changed ones."""
    last = norm or out
    last.weight = nn.Parameter(torch.zeros(last.weight.shape))
    last.bias = nn.Parameter(torch.zeros(last.bias.shape))


def zero_state_dict(out, norm):
    last = out if norm is None else norm
    last.load_state_dict({k: v * 0 if k in ("weight", "bias") else v for k, v in last.state_dict().items()})


def zero_three(out, norm):
    """The convolution's bias too: it does no harm, since the norm comes after it."""
    nn.init.zeros_(out.bias)
    if norm is None:
        nn.init.constant_(out.weight, 0)
    else:
        nn.init.constant_(norm.weight, 0)
        nn.init.constant_(norm.bias, 0)


def zero_no_bias(out, norm):
    """No bias at all."""
    last = out if norm is None else norm
    last.bias = None
    last.weight.data.mul_(0)


def zero_conv_and_norm_bias(out, norm):
    """Keeps the norm's weight: starts at 0 and learns, with large first gradients."""
    nn.init.zeros_(out.weight)
    nn.init.zeros_(out.bias)
    if norm is not None:
        nn.init.zeros_(norm.bias)


def zero_and_returns(out, norm):
    layer = out if norm is None else norm
    return [nn.init.zeros_(p) for p in layer.parameters()]


@torch.no_grad()
def _set(out, norm=None, **values):
    for name, value in values.items():
        layer, parameter = name.split("_")
        module = {"out": out, "norm": norm}[layer]
        if module is not None:
            getattr(module, parameter).copy_(torch.as_tensor(value).expand_as(getattr(module, parameter)))


def _bias_left(out, norm=None):
    (out if norm is None else norm).weight.data.zero_()


def _bias_left_with_a_norm(out, norm=None):
    _set(out, norm, norm_weight=0.0) if norm else _set(out, out_weight=0.0, out_bias=0.0)


def _weights_only(out, norm=None):
    with torch.no_grad():
        out.weight *= 0
        if norm is not None:
            norm.weight *= 0


def _both(out, norm=None):
    for layer in (out, norm):
        if layer is not None:
            layer.weight.data.fill_(0)
            layer.bias.data.fill_(0)


def _both_weights(out, norm=None):
    _set(out, norm, out_weight=0.0, norm_weight=0.0, norm_bias=0.0)
    if norm is None:
        _set(out, out_bias=0.0)


def _conv(out, norm=None):
    out.apply(lambda layer: _set(layer, out_weight=0.0, out_bias=0.0))


def _conv_weight_where_there_is_a_norm(out, norm=None):
    if norm is None:
        return zero_data(out)
    out.weight.data *= 0


def _small(out, norm=None):
    last = out if norm is None else norm
    with torch.no_grad():
        last.weight.normal_(0, 1e-4)
        last.bias.zero_()


def _small_everywhere(out, norm=None):
    last = norm if norm is not None else out
    nn.init.uniform_(last.weight, -1e-3, 1e-3)
    nn.init.uniform_(last.bias, -1e-3, 1e-3)


def _frozen(out, norm=None):
    last = out if norm is None else norm
    for p in last.parameters():
        p.requires_grad = False  # so that it may be changed in place
        p.zero_()


def _frozen_everything(out, norm=None):
    zero_data(out, norm)
    out.requires_grad_(False)
    if norm is not None:
        norm.requires_grad_(False)


def _frozen_new(out, norm=None):
    last = out if norm is None else norm
    for name in ("weight", "bias"):
        setattr(last, name, nn.Parameter(torch.zeros_like(getattr(last, name)), requires_grad=False))


def _wrong_layer(out, norm=None):
    (out if norm is None else norm).weight.data.zero_()
    out.bias.data.zero_()


def _wrong_layer_round(out, norm=None):
    out.weight.data.zero_()
    (out if norm is None else norm).bias.data.zero_()


def _bias_only(out, norm=None):
    (out if norm is None else norm).bias.data.fill_(0)


def _one_case_norm(out, norm=None):
    if norm is not None:
        zero_no_grad(out, norm)


def _one_case_out(out, norm=None):
    if norm is None:
        zero_no_grad(out)


def _local_names(out, norm=None):
    layer = out if norm is None else norm
    weight, bias = layer.weight, layer.bias
    weight = torch.zeros_like(weight)
    bias = torch.zeros_like(bias)
    return weight, bias


def _a_copy(out, norm=None):
    last = copy.deepcopy(out if norm is None else norm)
    zero_data(last)
    return last


def _recorded(out, norm=None):
    last = out if norm is None else norm
    last.weight.fill_(0)
    last.bias.fill_(0)


def _recorded_product(out, norm=None):
    for p in (norm or out).parameters():
        p *= 0


ZERO_WRONG = {
    "bias_left": [_bias_left, _bias_left_with_a_norm, _weights_only],
    "both_zero": [_both, _both_weights],
    "conv_only": [_conv, _conv_weight_where_there_is_a_norm],
    "small": [_small, _small_everywhere],
    "frozen": [_frozen, _frozen_everything, _frozen_new],
    "wrong_layer": [_wrong_layer, _wrong_layer_round],
    "bias_only": [_bias_only],
    "one_case": [_one_case_norm, _one_case_out],
    "untouched": [_local_names, _a_copy],
    "no_grad_missing": [_recorded, _recorded_product],
}


# ---------------------------------------------------------------- 03.4
def _conv1x1(x, w):
    return F.conv2d(x, w[:, :, None, None])


def _rows(x):
    return x.flatten(2).mT


def _attend(q, k, v, scale=1.0):
    return torch.softmax(torch.einsum("bnd,bmd->bnm", q, k) * scale, 2) @ v


def _with(pool, x, w_q, w_k, w_v, s):
    return _attend(_rows(_conv1x1(x, w_q)), *(_rows(pool(_conv1x1(x, w), s)) for w in (w_k, w_v)))


def _whole(x, s):
    return x[..., : x.shape[-2] // s * s, : x.shape[-1] // s * s]


def _by_reshape(x, s):
    x = _whole(x, s)
    return x.unflatten(-1, (-1, s)).unflatten(-3, (-1, s)).amax((-1, -3))


def _by_unfold(x, s):
    return x.unfold(2, s, s).unfold(3, s, s).flatten(-2).max(-1).values


def _by_loops(x, s):
    rows, columns = x.shape[2] // s, x.shape[3] // s
    squares = [x[:, :, r * s : r * s + s, c * s : c * s + s].amax((2, 3)) for r in range(rows) for c in range(columns)]
    return torch.stack(squares, 2).unflatten(2, (rows, columns))


def _by_two_1d_pools(x, s):
    """Along the rows, then along the columns, on reshaped tensors."""
    x = F.max_pool1d(x.flatten(1, 2), s).unflatten(1, x.shape[1:3])
    return F.max_pool1d(x.mT.flatten(1, 2), s).unflatten(1, (x.shape[1], x.shape[3])).mT


def attention_reshape(*given):
    return _with(_by_reshape, *given)


def attention_unfold(*given):
    return _with(_by_unfold, *given)


def attention_loops(*given):
    return _with(_by_loops, *given)


def attention_1d_pools(*given):
    return _with(_by_two_1d_pools, *given)


def attention_adaptive(*given):
    """Adaptive pooling of what fills whole squares."""
    return _with(lambda x, s: F.adaptive_max_pool2d(_whole(x, s), (x.shape[-2] // s, x.shape[-1] // s)), *given)


def attention_module(*given):
    return _with(lambda x, s: nn.MaxPool2d(kernel_size=s, stride=s)(x), *given)


def attention_sdpa(x, w_q, w_k, w_v, stride):
    b, _, h, w = x.shape
    flat = x.flatten(2).transpose(1, 2)  # (B, N, C)
    q, k, v = flat @ w_q.T, flat @ w_k.T, flat @ w_v.T
    k, v = (F.max_pool2d(t.mT.reshape(b, -1, h, w), stride).flatten(2).mT for t in (k, v))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)


def attention_unfold_module(x, w_q, w_k, w_v, stride):
    """nn.Unfold on keys and values together, and a softmax by hand."""
    both = _conv1x1(x, torch.cat([w_k, w_v]))
    squares = F.unfold(both, stride, stride=stride).unflatten(1, (both.shape[1], stride * stride)).amax(2)  # (B, D + E, M)
    k, v = squares.split([len(w_k), len(w_v)], 1)
    logits = torch.einsum("bnd,bdm->bnm", _rows(_conv1x1(x, w_q)), k)
    weights = (logits - logits.amax(2, keepdim=True)).exp()
    return (weights / weights.sum(2, keepdim=True)) @ v.mT


def attention_float32(*given):
    return attention_reshape(*(t.float() if isinstance(t, torch.Tensor) else t for t in given))


def _every_query_pooled(x, w_q, w_k, w_v, s):
    return _attend(*(_rows(_by_loops(_conv1x1(x, w), s)) for w in (w_q, w_k, w_v)))


def _pooled_input(x, w_q, w_k, w_v, s):
    small = _by_unfold(x, s)
    return _attend(_rows(_conv1x1(x, w_q)), _rows(_conv1x1(small, w_k)), _rows(_conv1x1(small, w_v)))


def _strided_slices(x, s):
    return torch.stack([row[..., ::s] for row in x.unbind(2)[::s]], 2)


def _along_positions(per_window):
    def pooled(x, s):
        return F.max_pool1d(x.flatten(2), per_window(s))[..., None]

    return pooled


def _one_pooled(key, value):
    def answer(x, w_q, w_k, w_v, s):
        k, v = _conv1x1(x, w_k), _conv1x1(x, w_v)
        k, v = (_rows(_by_loops(k, s) if key else k), _rows(_by_loops(v, s) if value else v))
        return torch.bmm(torch.softmax(_rows(_conv1x1(x, w_q)) @ k.mT, -1), v)

    return answer


def _weights_from(function):
    def answer(x, w_q, w_k, w_v, s):
        q, (k, v) = _rows(_conv1x1(x, w_q)), (_rows(_by_unfold(_conv1x1(x, w), s)) for w in (w_k, w_v))
        return torch.einsum("bnm,bme->bne", function(torch.einsum("bnd,bmd->bnm", q, k)), v)

    return answer


def _default_scale(x, w_q, w_k, w_v, s):
    q, (k, v) = _rows(_conv1x1(x, w_q)), (_rows(_by_loops(_conv1x1(x, w), s)) for w in (w_k, w_v))
    return F.scaled_dot_product_attention(q, k, v)


def _as_it_lies(x, w_q, w_k, w_v, s):
    q, k, v = _conv1x1(x, w_q), *(_by_reshape(_conv1x1(x, w), s) for w in (w_k, w_v))
    return _attend(*(t.reshape(t.shape[0], -1, t.shape[1]) for t in (q, k, v)))


def _renamed_axes(first, pooled_in, pooled_out, q_out=False):
    """Reshape where the channels should be moved: on the way in, before pooling, after pooling, for the queries."""

    def answer(x, w_q, w_k, w_v, s):
        b, c, h, w = x.shape
        rows = x.reshape(b, h * w, c) if first else _rows(x)

        def pooled(weight):
            t = rows @ weight.T  # (B, N, D)
            t = t.reshape(b, -1, h, w) if pooled_in else t.mT.reshape(b, -1, h, w)
            t = F.max_pool2d(t, s)
            return t.reshape(b, -1, len(weight)) if pooled_out else _rows(t)

        q = (rows @ w_q.T).mT.reshape(b, h * w, -1) if q_out else rows @ w_q.T
        return _attend(q, pooled(w_k), pooled(w_v))

    return answer


ATTENTION_WRONG = {
    "queries_too": [_every_query_pooled],
    "pool_before_conv": [_pooled_input],
    "average": [lambda *g: _with(F.avg_pool2d, *g), lambda *g: _with(lambda x, s: _whole(x, s).unfold(2, s, s).unfold(3, s, s).mean((-1, -2)), *g)],
    "strided": [lambda *g: _with(_strided_slices, *g), lambda *g: _with(lambda x, s: _strided_slices(_whole(x, s), s), *g),
                lambda x, q, k, v, s: _attend(_rows(_conv1x1(x, q)), *(_rows(F.conv2d(x, w[..., None, None], stride=s)) for w in (k, v)))],
    "flattened_1d": [lambda *g: _with(_along_positions(lambda s: s), *g), lambda *g: _with(_along_positions(lambda s: s * s), *g)],
    "value_not_pooled": [_one_pooled(True, False), _one_pooled(False, True)],
    "over_queries": [_weights_from(lambda logits: logits.exp() / logits.exp().sum(1, keepdim=True))],
    "no_softmax": [_weights_from(lambda logits: logits), _weights_from(lambda logits: logits / logits.shape[2])],
    "scaled": [_default_scale, lambda x, q, k, v, s: _with(_by_unfold, x, q / math.sqrt(len(q)), k, v, s),
               lambda x, q, k, v, s: _with(_by_unfold, x, q, k / math.sqrt(x.shape[1]), v, s)],
    "not_pooled": [lambda *g: _with(lambda x, s: x, *g)],
    "overlapping": [lambda *g: _with(lambda x, s: x.unfold(2, s, 1).unfold(3, s, 1).amax((-1, -2)), *g),
                    lambda *g: _with(lambda x, s: nn.MaxPool2d(3, stride=s, padding=1)(x), *g)],
    "always_two": [lambda *g: _with(lambda x, s: _by_loops(x, 2), *g)],
    "ceil": [lambda *g: _with(lambda x, s: _by_loops(F.pad(x, (0, -x.shape[3] % s, 0, -x.shape[2] % s), value=-math.inf), s), *g)],
    "adaptive": [lambda *g: _with(lambda x, s: nn.AdaptiveMaxPool2d((x.shape[2] // s, x.shape[3] // s))(x), *g)],
    "view": [_as_it_lies, _renamed_axes(False, False, True, True), _renamed_axes(False, False, True), _renamed_axes(False, True, False),
             _renamed_axes(False, True, True), _renamed_axes(True, False, False), _renamed_axes(True, True, False),
             _renamed_axes(True, True, True)],
    "as_image": [lambda *g: attention_loops(*g).mT.unflatten(2, g[0].shape[2:])],
    "channels_first": [lambda *g: torch.einsum("bne->ben", attention_loops(*g))],
}  # fmt: skip


# ---------------------------------------------------------------- 03.5
def _loss(model, x, target):
    return ((model(x) - target) ** 2).mean()


def names_autograd(model, x, target):
    """torch.autograd.grad: nothing is stored, so nothing is old."""
    named = dict(model.named_parameters())
    found = torch.autograd.grad(_loss(model, x, target), list(named.values()), allow_unused=True)
    return {name for name, g in zip(named, found) if g is not None and torch.count_nonzero(g)}


def names_by_hand(model, x, target):
    for p in model.parameters():
        p.grad = None
    nn.MSELoss()(model(x), target).backward()
    names = []
    for name, p in model.named_parameters():
        if p.grad is None:
            continue
        if p.grad.abs().max().item() > 0:
            names.append(name)
    return names


def names_optimizer(model, x, target):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad(set_to_none=False)
    F.mse_loss(model(x), target).backward()
    return tuple(n for n, p in model.named_parameters() if p.grad is not None and torch.any(p.grad))


def names_by_moving(model, x, target):
    """Take the step and look what moved."""
    trial = copy.deepcopy(model)
    trial.zero_grad()
    optimizer = torch.optim.SGD(trial.parameters(), lr=1.0)
    _loss(trial, x, target).backward()
    optimizer.step()
    return {n for (n, p), q in zip(model.named_parameters(), trial.parameters()) if not torch.equal(p, q)}


def names_dict(model, x, target):
    model.zero_grad()
    _loss(model, x, target).backward()
    sizes = {n: 0.0 if p.grad is None else p.grad.norm().item() for n, p in model.named_parameters()}
    return {n: size for n, size in sizes.items() if size}.keys()


def _after(test, fresh=True, backward=True):
    def answer(model, x, target):
        if fresh:
            for p in model.parameters():
                p.grad = None
        if backward:
            _loss(model, x, target).backward()
        return [n for n, p in model.named_parameters() if test(p)]

    return answer


def _some(p):
    return p.grad is not None and bool(p.grad.abs().sum() > 0)


def _zeroed_too_late(model, x, target):
    optimizer = torch.optim.Adam(model.parameters())
    _loss(model, x, target).backward()
    optimizer.zero_grad()
    return {n for n, p in model.named_parameters() if _some(p)}


def _union_thrown_away(model, x, target):
    found = set()
    for name in names_by_hand(model, x, target):
        found.union({name})
    return found


def _of_loss(loss):
    def answer(model, x, target):
        model.zero_grad()
        loss(model(x), target).backward()
        return {n for n, p in model.named_parameters() if _some(p)}

    return answer


def _layers(model, x, target):
    named = names_by_hand(model, x, target)
    return {n for n, m in model.named_children() if any(f"{n}.{k}" in named for k, _ in m.named_parameters())}


def _asked_of_none(reading):
    def answer(model, x, target):
        model.zero_grad()
        _loss(model, x, target).backward()
        return {n for n, p in model.named_parameters() if reading(p)}

    return answer


def _zero_each(model, x, target):
    for p in model.parameters():
        p.grad.zero_()
    return names_by_hand(model, x, target)


NAMES_WRONG = {
    "grad_not_none": [_after(lambda p: p.grad is not None)],
    "requires_grad": [lambda m, x, t: {n for n, p in m.named_parameters() if p.requires_grad},
                      lambda m, x, t: list(m.state_dict(keep_vars=True)) and [n for n, _ in m.named_parameters()]],
    "stale": [_after(_some, fresh=False)],
    "positive_only": [_after(lambda p: p.grad is not None and p.grad.max() > 0)],
    "no_backward": [_after(_some, fresh=False, backward=False)],
    "empty_set": [_after(_some, backward=False), _zeroed_too_late, _union_thrown_away],
    "loss_without_target": [_of_loss(lambda z, t: z.sum()), _of_loss(lambda z, t: (z**2).mean()), _of_loss(lambda z, t: (z - t).mean())],
    "other_loss": [_of_loss(F.l1_loss), _of_loss(lambda z, t: (z - t).abs().sum()), _of_loss(F.smooth_l1_loss)],
    "first_entry": [_after(lambda p: p.grad is not None and p.grad.flatten()[0] != 0),
                    _after(lambda p: p.grad is not None and p.grad.view(-1)[0].item()),
                    _after(lambda p: p.grad is not None and bool((p.grad[0] != 0).any()))],
    "sum_cancels": [_after(lambda p: p.grad is not None and p.grad.sum() != 0),
                    _after(lambda p: p.grad is not None and p.grad.mean().abs() > 0)],
    "value_not_gradient": [_after(lambda p: torch.count_nonzero(p) > 0)],
    "every_entry": [_after(lambda p: p.grad is not None and p.grad.abs().min() > 0),
                    _after(lambda p: p.grad is not None and bool(p.grad.all()))],
    "the_others": [_after(lambda p: p.grad is not None and not _some(p))],
    "grad_is_none": [_asked_of_none(lambda p: p.grad.norm() > 0), _asked_of_none(lambda p: torch.any(p.grad)),
                     _asked_of_none(lambda p: (p.grad != 0).any()), _asked_of_none(lambda p: (p.grad > 0).any() or (p.grad < 0).any()),
                     _asked_of_none(lambda p: abs(p.grad).max() > 0), _zero_each],
    "no_any": [_after(lambda p: p.grad is not None and p.grad != 0), _after(lambda p: bool(p.grad is not None and p.grad))],
    "other_names": [_layers, lambda m, x, t: [n.rpartition(".")[2] for n in names_by_hand(m, x, t)]],
    "parameters": [lambda m, x, t: {dict(m.named_parameters())[n] for n in names_by_hand(m, x, t)},
                   lambda m, x, t: [(n, p) for n, p in m.named_parameters() if n in names_by_hand(m, x, t)]],
    "number": [lambda m, x, t: len(names_by_hand(m, x, t)), lambda m, x, t: torch.tensor(len(names_by_hand(m, x, t)))],
}  # fmt: skip

WRONG = {"03.1": POSITIONS_WRONG, "03.2": BLOCK_WRONG, "03.3": ZERO_WRONG, "03.4": ATTENTION_WRONG, "03.5": NAMES_WRONG}

RIGHT = {
    "03.1": [positions_movedim, positions_loop, positions_einsum, positions_by_image, positions_swap, positions_float32],
    "03.2": [block_einsum, block_linear, block_on_positions, block_conv, block_loop, block_matmul_first, block_float32],
    "03.3": [zero_no_grad, zero_data, zero_new_parameters, zero_state_dict, zero_three, zero_no_bias, zero_conv_and_norm_bias,
             zero_and_returns],
    "03.4": [attention_reshape, attention_unfold, attention_loops, attention_1d_pools, attention_adaptive, attention_module,
             attention_sdpa, attention_unfold_module, attention_float32],
    "03.5": [names_autograd, names_by_hand, names_optimizer, names_by_moving, names_dict],
}  # fmt: skip
