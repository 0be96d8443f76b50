"""Right answers of exercise 07, with a switch for every known mistake (claims D1 to D5)."""

from __future__ import annotations

import numpy as np

from ..exact import exp, softmax


def _diag(row):
    """Square matrix with a (1, M) row on its diagonal; for numbers and for SymPy."""
    return np.eye(row.shape[1], dtype=int) * row  # (M, M)


def softmax_jacobian(a, *, form="right"):
    """d softmax_i / d logit_j at the softmax value a: diag(a) - a'a."""
    outer, diagonal = a.T * a, _diag(a)
    if form == "scalar_raises":  # SymPy does not broadcast
        raise ValueError(f"{diagonal.shape} + (1, 1)")
    return {
        "right": diagonal - outer,
        "diagonal_only": diagonal,
        "off_diagonal_sign": diagonal + outer - 2 * _diag(a * a),
        "sigmoid_diagonal": diagonal - _diag(a * a),
        "sign": outer - diagonal,
        "plus": diagonal + outer,
        "one_minus": np.eye(a.shape[1], dtype=int) - outer,
        "scalar_everywhere": diagonal - (a * a).sum(),
        "scalar_on_diagonal": diagonal - np.eye(a.shape[1], dtype=int) * (a * a).sum(),
        "rows_repeat": diagonal - a,
        "columns_repeat": diagonal - a.T,
    }[form]


def product_attention(pairwise_map, unary_map, *, form="right"):
    """Attention of the summed logits, from the two maps: P_ij U_j / Z_i."""
    product = pairwise_map * unary_map  # (N, M)
    if form == "not_normalised":
        return product
    if form == "one_normaliser":
        return product / product.sum()
    if form == "over_queries":
        return product / product.sum(0, keepdims=True)
    if form == "added":
        return pairwise_map + unary_map
    if form == "halved":
        return (pairwise_map + unary_map) / 2
    if form == "geometric_mean":
        return product**0.5
    if form == "geometric_mean_normalised":
        return product**0.5 / (product**0.5).sum(1, keepdims=True)
    if form == "times_m":
        return product * product.shape[1]
    if form == "softmax_again":
        return softmax(product)
    if form == "softmax_of_sum":
        return softmax(pairwise_map + unary_map)
    return product / product.sum(1, keepdims=True)


def grad_pairwise_mul(G, pairwise_map, unary_map, *, centre="omega", gate="U/Z", times_P=False, normaliser="Z"):
    """dL/dP of omega = product_attention: (U_l / Z_i) (G_il - sum_j G_ij omega_ij)."""
    product = pairwise_map * unary_map
    Z = product.sum(1, keepdims=True)  # (N, 1)
    if normaliser in ("one", "one, by derivative"):
        Z = 0 * Z + product.sum()
    weights = {"P": pairwise_map, "product": product, "mean": 0 * product + 1 / G.shape[1], "none": 0 * product,
               "plus": -product / Z}.get(centre, product / Z)  # fmt: skip
    seen = G * weights  # (N, M)
    if centre != "own key":
        seen = seen.sum() if normaliser == "one, by derivative" else seen.sum(1, keepdims=True)
    if normaliser == "one, in front":
        Z = 0 * Z + product.sum()
    gated = (G - seen) * {"U/Z": unary_map / Z, "U": 0 * Z + unary_map, "P/Z": pairwise_map / Z, "P": pairwise_map}[gate]
    return gated * pairwise_map if times_P else gated


def grad_unary_add(G, *, form="right"):
    """dL/dU of omega = P + 1U, with one U for all queries: sum over the queries."""
    total = G.sum(0, keepdims=True)  # (1, M)
    return {
        "right": total,
        "whole_matrix": G,
        "mean_over_queries": total / G.shape[0],
        "over_keys": G.sum(1, keepdims=True).T,
        "over_keys_column": G.sum(1, keepdims=True),
        "first_row": G[:1],
        "scalar": G.sum(),
        "centred": total - total.sum() / G.shape[1],
        "centred_rows": (G - G.sum(1, keepdims=True) / G.shape[1]).sum(0, keepdims=True),
    }[form]


def pairwise_sensitivity(p, u, combine, *, form="right"):
    """d omega_1 / d p_1 of one query, for omega = softmax(p + u) or softmax(p) + softmax(u)."""
    P, U, omega = (softmax(x)[0, 0] for x in (p, u, p + u))
    gated = {"right": combine == "mul", "never_gated": False, "always_gated": True}.get(form, combine == "mul")
    if form in ("one_minus_missing", "squared"):
        weight = omega if gated else P
        return weight if form == "one_minus_missing" else weight**2
    if gated:
        return {"mixed": omega * (1 - P), "product": P * U * (1 - P * U), "p_gate": P * (1 - P) * U}.get(form, omega * (1 - omega))
    return {"sum_as_softmax": (P + U) * (1 - P - U), "unary_added": P * (1 - P) + U * (1 - U)}.get(form, P * (1 - P))


def peak_masses(a, b, combine, *, form="right"):
    """Attention on three keys with p = (a, 0, 0) and u = (0, b, 0)."""
    zero = 0 * a
    p, u = (np.array([row]) for row in ([a, zero, zero], [zero, b, zero]))  # (1, 3)
    if form == "peaks_swapped":
        p, u = (np.array([row]) for row in ([zero, a, zero], [b, zero, zero]))
    if form in ("both_first", "both_second"):
        p, u = (np.array([[x, zero, zero] if form == "both_first" else [zero, x, zero]]) for x in (a, b))
    if form in ("third_key_forgotten", "third_key_dropped"):
        p, u = p[:, :2], u[:, :2]
    P, U = softmax(p), softmax(u)
    if combine == "mul":
        made = P * U if form == "empty_product" else softmax(p + u)
    else:
        joint = exp(p) + exp(u)
        made = {"halved": (P + U) / 2, "joint_normaliser": joint / joint.sum(), "logits_added_for_add": softmax(p + u),
                "softmax_of_sum": softmax(P + U)}.get(form, P + U)  # fmt: skip
    if form == "third_key_forgotten":
        return np.concatenate([made, 0 * made[:, :1]], axis=1)
    return made[:, :2] if form == "third_not_returned" else made
