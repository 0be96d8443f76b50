"""Exercise 01: the mistakes again in another style (loops, einsum, torch), and other right answers.

Written without a look at ``dnl_course/classroom/ex01``; nothing here imports it.
"""

import math

import numpy as np
import torch


# ---------------------------------------------------------------- 01.1
def _pairs(i, j, size, first=None, last=None):
    r = size // 2
    for dy in range(-r if first is None else first, (r if last is None else last) + 1):
        for dx in range(-r if first is None else first, (r if last is None else last) + 1):
            yield (i[0] + dy, i[1] + dx), (j[0] + dy, j[1] + dx)


def distance_loop(image, i, j, patch_size):
    total = 0.0
    for a, b in _pairs(i, j, patch_size):
        total += (image[a] - image[b]) ** 2
    return total / patch_size**2


def distance_norm(image, i, j, patch_size):
    r = patch_size // 2
    a = np.pad(image, r)[i[0] : i[0] + patch_size, i[1] : i[1] + patch_size]
    b = np.pad(image, r)[j[0] : j[0] + patch_size, j[1] : j[1] + patch_size]
    return np.linalg.norm(a - b) ** 2 / a.size


def distance_dot(image, i, j, patch_size):
    view = np.lib.stride_tricks.sliding_window_view(image, (patch_size, patch_size))
    r = patch_size // 2
    e = (view[i[0] - r, i[1] - r] - view[j[0] - r, j[1] - r]).ravel()
    return np.array([e @ e / len(e)])  # one number in an array of one element is one number


def distance_float32(image, i, j, patch_size):
    return np.float32(distance_loop(image.astype(np.float32), i, j, patch_size))


def distance_python_float(image, i, j, patch_size):
    """Single precision on the way, a Python float at the end."""
    return float(distance_float32(image, i, j, patch_size))


def distance_torch(image, i, j, patch_size):
    x, r = torch.from_numpy(image.copy()), patch_size // 2
    a, b = (x[p[0] - r : p[0] + r + 1, p[1] - r : p[1] + r + 1] for p in (i, j))
    return torch.nn.functional.mse_loss(a, b)


DISTANCE_WRONG = {
    "sum": [lambda im, i, j, p: sum((im[a] - im[b]) ** 2 for a, b in _pairs(i, j, p)),
            lambda im, i, j, p: np.linalg.norm(np.array([im[a] - im[b] for a, b in _pairs(i, j, p)])) ** 2],
    "root": [lambda im, i, j, p: math.sqrt(distance_loop(im, i, j, p))],
    "absolute": [lambda im, i, j, p: sum(abs(im[a] - im[b]) for a, b in _pairs(i, j, p)) / p**2],
    "half_open": [lambda im, i, j, p: np.mean([(im[a] - im[b]) ** 2 for a, b in _pairs(i, j, p, last=p // 2 - 1)]),
                  lambda im, i, j, p: sum((im[a] - im[b]) ** 2 for a, b in _pairs(i, j, p, last=p // 2 - 1)) / p**2,
                  lambda im, i, j, p: np.mean([(im[a] - im[b]) ** 2 for a, b in _pairs(i, j, p) if a[1] < i[1] + p // 2]),
                  lambda im, i, j, p: sum((im[a] - im[b]) ** 2 for a, b in _pairs(i, j, p) if a[0] < i[0] + p // 2) / p**2],
    "signed": [lambda im, i, j, p: np.mean([im[a] - im[b] for a, b in _pairs(i, j, p)])],
    "corner": [lambda im, i, j, p: np.mean([(im[a] - im[b]) ** 2 for a, b in _pairs(i, j, p, first=0, last=p - 1)])],
    "x_y_swapped": [lambda im, i, j, p: distance_loop(im.T, i, j, p)],
    "means_only": [lambda im, i, j, p: (np.mean([im[a] for a, _ in _pairs(i, j, p)])
                                        - np.mean([im[b] for _, b in _pairs(i, j, p)])) ** 2],
}  # fmt: skip


# ---------------------------------------------------------------- 01.2
def weights_stable(distances, h):
    logits = -distances / h**2
    e = np.exp(logits - logits.max())
    return e / e.sum()


def weights_torch(distances, h):
    d = torch.tensor(distances)
    return torch.softmax(-d.flatten() / h**2, dim=0).reshape(d.shape)


def weights_lists(distances, h):
    """Nested lists, as `tolist` gives them."""
    return weights_stable(distances, h).tolist()


def weights_loop(distances, h):
    flat = [math.exp(-d / (h * h)) for d in distances.ravel().tolist()]
    return np.array([w / sum(flat) for w in flat]).reshape(distances.shape)


def _soft(logits):
    return np.exp(logits) / np.exp(logits).sum()


WEIGHTS_WRONG = {
    "not_normalised": [lambda d, h: np.power(math.e, -d / h**2)],
    "h_not_squared": [lambda d, h: _soft(-d / h)],
    "two_h2": [lambda d, h: _soft(-0.5 * d / h**2), lambda d, h: _soft(-d / (2 * h * h))],
    "plus": [lambda d, h: _soft(d / h**2)],
    "max_one": [lambda d, h: np.exp((d.min() - d) / h**2)],
    "squared_twice": [lambda d, h: _soft(-d * d / h**2)],
    "one_axis": [lambda d, h: torch.softmax(-torch.tensor(d) / h**2, dim=0).numpy(),
                 lambda d, h: torch.softmax(-torch.tensor(d) / h**2, dim=-1)],
    "h_forgotten": [lambda d, h: _soft(-d)],
    "h_multiplied": [lambda d, h: _soft(-d / 2 * h**2), lambda d, h: _soft(-d * h * h)],
}


# ---------------------------------------------------------------- 01.3
def _window(image, pixel, weights, shift=0):
    t = len(weights) // 2
    ys = [pixel[0] + y + shift for y in range(-t, t + 1)]
    xs = [pixel[1] + x + shift for x in range(-t, t + 1)]
    return image[np.ix_(ys, xs)]


def _window_half_open(image, pixel, weights):
    t = len(weights) // 2
    return (image[pixel[0] - t : pixel[0] + t, pixel[1] - t : pixel[1] + t] * weights).sum()


def pixel_loop(image, pixel, weights):
    t, total = len(weights) // 2, 0.0
    for y in range(len(weights)):
        for x in range(len(weights)):
            total += weights[y, x] * image[pixel[0] + y - t, pixel[1] + x - t]
    return total


def pixel_einsum(image, pixel, weights):
    return np.einsum("yx,yx->", weights, _window(image, pixel, weights))


def pixel_average(image, pixel, weights):
    return np.average(_window(image, pixel, weights), weights=weights)


PIXEL_WRONG = {
    "mean": [lambda im, p, w: pixel_loop(im, p, w) / w.size],
    "half_open": [_window_half_open, lambda im, p, w: sum(
        w[y, x] * im[p[0] + y - len(w) // 2, p[1] + x - len(w) // 2] for y in range(len(w) - 1) for x in range(len(w) - 1)),
        lambda im, p, w: (w[:, :-1] * _window(im, p, w)[:, :-1]).sum()],
    "corner": [lambda im, p, w: np.vdot(w, _window(im, p, w, shift=len(w) // 2))],
    "flipped": [lambda im, p, w: np.vdot(w, _window(im, p, w)[::-1, ::-1])],
    "transposed": [lambda im, p, w: np.einsum("xy,yx->", w, _window(im, p, w))],
    "unweighted": [lambda im, p, w: _window(im, p, w).sum() / w.size],
    "best_only": [lambda im, p, w: _window(im, p, w)[np.unravel_index(np.argmax(w), w.shape)]],
    "x_y_swapped": [lambda im, p, w: pixel_loop(im, p[::-1], w)],
}


# ---------------------------------------------------------------- 01.4
def _box(x, size):
    """Sum of shifted slices."""
    rows, columns = x.shape[0] - size + 1, x.shape[1] - size + 1
    return sum(x[y : y + rows, k : k + columns] for y in range(size) for k in range(size)) / size**2


def _shifts(image, h, p, t, distance=None, stop=1, own=True):
    """Yield (weight, shifted image) of all shifts."""
    r, (rows, columns) = p // 2, image.shape
    big = np.pad(image, t + r, mode="reflect")
    middle = big[t:-t, t:-t]
    for y in range(2 * t + stop):
        for x in range(2 * t + stop):
            if not own and (y, x) == (t, t):
                continue
            moved = big[y : y + rows + 2 * r, x : x + columns + 2 * r]
            d = distance(middle, moved, p) if distance else _box((middle - moved) ** 2, p)
            yield np.exp(-d / h**2), moved[r : r + rows, r : r + columns]


def means_average(image, h, p, t):
    numerator = denominator = 0.0
    for w, moved in _shifts(image, h, p, t):
        numerator, denominator = numerator + w * moved, denominator + w
    return numerator / denominator


def means_padded_roll(image, h, p, t):
    """np.roll of the *padded* image: what wraps round is cut away, so this is right."""
    r = p // 2
    big = np.pad(image, t + r, mode="reflect")
    inside = (slice(t + r, -(t + r)),) * 2
    numerator, denominator = np.zeros_like(image), np.zeros_like(image)
    for y in range(-t, t + 1):
        for x in range(-t, t + 1):
            moved = np.roll(big, (y, x), axis=(0, 1))
            squared = (big - moved) ** 2
            d = sum(np.roll(squared, (a, b), axis=(0, 1))[inside] for a in range(-r, r + 1) for b in range(-r, r + 1))
            w = np.exp(-d / p**2 / h**2)
            numerator += w * moved[inside]
            denominator += w
    return numerator / denominator


def means_torch(image, h, p, t):
    r, (rows, columns) = p // 2, image.shape
    big = torch.nn.functional.pad(torch.tensor(image)[None, None], (t + r,) * 4, mode="reflect")
    middle = big[..., t : t + rows + 2 * r, t : t + columns + 2 * r]
    numerator, denominator = torch.zeros(rows, columns).double(), torch.zeros(rows, columns).double()
    for k in range((2 * t + 1) ** 2):
        y, x = divmod(k, 2 * t + 1)
        moved = big[..., y : y + rows + 2 * r, x : x + columns + 2 * r]
        w = torch.exp(-torch.nn.functional.avg_pool2d((middle - moved) ** 2, p, stride=1)[0, 0] / h**2)
        numerator += w * moved[0, 0, r : r + rows, r : r + columns]
        denominator += w
    return numerator / denominator


def means_symmetric(image, h, p, t):
    """Two shifts at a time, with log-weights kept below zero by construction; written in float32."""
    return means_average(image.astype(np.float32), np.float32(h), p, t).astype(np.float32)


def means_patches_in_memory(image, h, p, t):
    """All patches of one shift as an array: p² images, but no list of the shifts."""
    r, (rows, columns) = p // 2, image.shape
    view = np.lib.stride_tricks.sliding_window_view(np.pad(image, t + r, mode="reflect"), (p, p))
    centre, numerator, denominator = view[t : t + rows, t : t + columns].copy(), 0, 0
    for y in range(2 * t + 1):
        for x in range(2 * t + 1):
            moved = view[y : y + rows, x : x + columns]
            difference = centre - moved
            squared = difference**2
            w = np.exp(-squared.mean((2, 3)) / h**2)
            numerator, denominator = numerator + w * moved[:, :, r, r], denominator + w
    return numerator / denominator


def _one_sum(image, h, p, t, over):
    pairs = list(_shifts(image, h, p, t))
    return sum(w * m for w, m in pairs) / over(sum(w for w, _ in pairs))


def _rolled(image, h, p, t):
    r, numerator, denominator = p // 2, np.zeros_like(image), np.zeros_like(image)
    for y in range(-t, t + 1):
        for x in range(-t, t + 1):
            moved = np.roll(np.roll(image, y, 0), x, 1)
            w = np.exp(-_box(np.pad((image - moved) ** 2, r, mode="reflect"), p) / h**2)
            numerator, denominator = numerator + w * moved, denominator + w
    return numerator / denominator


def _rolled_everywhere(image, h, p, t):
    r, numerator, denominator = p // 2, np.zeros_like(image), np.zeros_like(image)
    for y in range(-t, t + 1):
        for x in range(-t, t + 1):
            moved = np.roll(image, (y, x), (0, 1))
            d = sum(np.roll((image - moved) ** 2, (a, b), (0, 1)) for a in range(-r, r + 1) for b in range(-r, r + 1))
            w = np.exp(-d / p**2 / h**2)
            numerator, denominator = numerator + w * moved, denominator + w
    return numerator / denominator


def _ratio(pairs):
    pairs = list(pairs)
    return sum(w * m for w, m in pairs) / sum(w for w, _ in pairs)


def means_pixel_loop(image, h, p, t):
    r, out = p // 2, np.empty_like(image)
    big = np.pad(image, t + r, mode="reflect")
    view = np.lib.stride_tricks.sliding_window_view(big, (p, p))
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            patches = view[y : y + 2 * t + 1, x : x + 2 * t + 1]
            w = np.exp(-((patches - view[y + t, x + t]) ** 2).mean((2, 3)) / h**2)
            out[y, x] = (w * patches[:, :, r, r]).sum() / w.sum()
    return out


def means_comprehension(image, h, p, t):
    """The pixel loop hidden in one line."""
    r, columns = p // 2, image.shape[1]
    view = np.lib.stride_tricks.sliding_window_view(np.pad(image, t + r, mode="reflect"), (p, p))

    def one(n):
        y, x = divmod(n, columns)
        patches = view[y : y + 2 * t + 1, x : x + 2 * t + 1]
        w = np.exp(-((patches - view[y + t, x + t]) ** 2).mean((2, 3)) / h**2)
        return (w * patches[:, :, r, r]).sum() / w.sum()

    return np.array([one(n) for n in range(image.size)]).reshape(image.shape)


def means_all_at_once(image, h, p, t):
    weights, moved = map(np.array, zip(*_shifts(image, h, p, t)))
    return (weights * moved).sum(0) / weights.sum(0)


MEANS_WRONG = {
    "count_not_weights": [lambda im, h, p, t: sum(w * m for w, m in _shifts(im, h, p, t)) / (2 * t + 1) ** 2,
                          lambda im, h, p, t: np.mean([w * m for w, m in _shifts(im, h, p, t)], axis=0)],
    "one_normaliser": [lambda im, h, p, t: _one_sum(im, h, p, t, np.sum), lambda im, h, p, t: _one_sum(im, h, p, t, np.mean)],
    "pixels_not_patches": [lambda im, h, p, t: _ratio(_shifts(
        im, h, p, t, lambda a, b, s: ((a - b) ** 2)[s // 2 : -(s // 2), s // 2 : -(s // 2)]))],
    "patch_means": [lambda im, h, p, t: _ratio(_shifts(im, h, p, t, lambda a, b, s: _box(a - b, s) ** 2))],
    "wraps_round": [_rolled, _rolled_everywhere],
    "last_shift_missing": [lambda im, h, p, t: _ratio(_shifts(im, h, p, t, stop=0))],
    "self_left_out": [lambda im, h, p, t: _ratio(_shifts(im, h, p, t, own=False))],
    "h_not_squared": [lambda im, h, p, t: means_average(im, math.sqrt(h), p, t)],
    "h_forgotten": [lambda im, h, p, t: means_average(im, 1.0, p, t)],
    "two_h2": [lambda im, h, p, t: means_average(im, math.sqrt(2) * h, p, t)],
    "pixel_loop": [means_pixel_loop, means_comprehension],
    "all_at_once": [means_all_at_once],
}  # fmt: skip


# ---------------------------------------------------------------- 01.5
def _terms(patches, h, pair=2.0, own=-1.0):
    """Entry by entry."""
    size = patches.shape[1]
    pairwise = np.array([[pair * float(np.dot(a, b)) for b in patches] for a in patches]) / (size * h**2)
    unary = np.array([own * float(np.dot(b, b)) for b in patches]) / (size * h**2)
    return pairwise, unary


def terms_einsum(patches, h):
    scaled = patches / (h * math.sqrt(patches.shape[1]))
    return 2 * np.einsum("ip,jp->ij", scaled, scaled), -np.einsum("jp,jp->j", scaled, scaled)


def terms_torch(patches, h):
    p = torch.tensor(patches) / h
    return 2 * p @ p.T / p.shape[1], -(p**2).mean(dim=1)


def terms_centred(patches, h):
    return _terms(patches - patches.mean(0), h)


def terms_list(patches, h):
    return list(_terms(patches, h))


def _distances(patches, h):
    return -((patches[:, None] - patches[None]) ** 2).mean(2) / h**2


TERMS_WRONG = {
    "nothing_split": [lambda q, h: (_distances(q, h), np.zeros(len(q)))],
    "unary_dropped": [lambda q, h: (_terms(q, h)[0], 0 * _terms(q, h)[1])],
    "unary_sign": [lambda q, h: _terms(q, h, own=1.0)],
    "no_two": [lambda q, h: _terms(q, h, pair=1.0)],
    "no_patch_mean": [lambda q, h: _terms(q * math.sqrt(q.shape[1]), h)],
    "norm_not_squared": [lambda q, h: (_terms(q, h)[0], -np.linalg.norm(q, axis=1) / q.shape[1] / h**2)],
    "h_not_squared": [lambda q, h: _terms(q, math.sqrt(h))],
    "h_forgotten": [lambda q, h: _terms(q, 1.0)],
    "row_term_kept": [lambda q, h: (_distances(q, h) + (q**2).mean(1) / h**2, -(q**2).mean(1) / h**2)],
}

WRONG = {"01.1": DISTANCE_WRONG, "01.2": WEIGHTS_WRONG, "01.3": PIXEL_WRONG, "01.4": MEANS_WRONG, "01.5": TERMS_WRONG}

RIGHT = {
    "01.1": [distance_loop, distance_norm, distance_dot, distance_float32, distance_torch, distance_python_float],
    "01.2": [weights_stable, weights_torch, weights_loop, weights_lists],
    "01.3": [pixel_loop, pixel_einsum, pixel_average],
    "01.4": [means_average, means_padded_roll, means_torch, means_symmetric, means_patches_in_memory],
    "01.5": [terms_einsum, terms_torch, terms_centred, terms_list],
}
