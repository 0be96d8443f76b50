"""The disentangled family: six ways to combine a pairwise and a unary term (lesson 08; claims D, E).

With s = scale, T = temperature, mu_q the mean of the queries, sigma the softmax over the keys j::

    nl           sigma(s q_i.k_j)                                        Wang et al. 2018; here "entangled"
    nl_p         sigma(s/T (q_i - mu_q).(k_j - mu_k))                    the pairwise term alone
    nl_u         sigma(s mu_q.k_j)                                       the unary term alone
    dnl          sigma(s/T (q_i - mu_q).(k_j - mu_k)) + sigma(m_j)       Yin et al. 2020
    dnl_star     sigma(s/T (q_i - mu_q).(k_j - mu_k) + m_j)              DNL*: one softmax, its own unary logit
    dnl_dagger   sigma(s/T (q_i - mu_q).(k_j - mu_k)) + sigma(s mu_q.k_j)    DNL(dagger): two softmaxes, one key

None holds an N x M array. Softmax does not see the mean of the keys (claim A5); it is taken out all the same, because
single precision does: with queries of mean 0 or 1 and keys of mean 100 and deviation 0.5 the error of nl_p is 40 times
smaller, or less still.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from dnl_course.attention import _checks as check
from dnl_course.attention import _core as core
from dnl_course.attention.terms import centred, pairwise_logits, unary_logits

__all__ = ["VARIANTS", "AttentionMaps", "attend", "attention_maps"]

VARIANTS = ("nl", "nl_p", "nl_u", "dnl", "dnl_star", "dnl_dagger")
OWN_UNARY = ("dnl", "dnl_star")  # those with a unary logit m of their own


def attend(q, k, v, *, variant, m=None, scale=1.0, temperature=1.0):
    """Average the values with the weights of one member of the family.

    Parameters
    ----------
    q : torch.Tensor, (B, N, D)
    k : torch.Tensor, (B, M, D)
    v : torch.Tensor, (B, M, E)
        Float16, bfloat16, float32 or float64. Not modified.
    variant : str
        One of `VARIANTS`, see the top of this module for their equations.
    m : torch.Tensor, (B, M), optional
        The unary logit W_m x_j: required for "dnl" and "dnl_star", refused for the others, which have none.
    scale : float, optional
        Multiplies every logit that is made from q or its mean; m is never scaled. The paper has none.
    temperature : float, optional
        Divides the whitened logit only, so that "nl" and "nl_u" have none.

    Returns
    -------
    torch.Tensor, (B, N, E)
        The weights of a row sum to 1; for "dnl" and "dnl_dagger", sums of two softmaxes, to 2 (claim E2).

    Raises
    ------
    TypeError, ValueError
        As `dnl_course.attention.embedded_gaussian`; ValueError also for an unknown variant, for m where there is none
        and where it is missing, for a temperature that is not above 0 or that nothing is divided by.

    Notes
    -----
    O(N M (D + E)) time and O((N + M)(D + E)) memory; "nl_u" O((N + M)(D + E)) time. (P + 1U')v = Pv + 1(U'v): the unary
    branch of "dnl" is one vector for all queries (claim E3). "dnl_star" carries m in a channel more: [q, 1].[k, m].

    In half precision the centred queries are float32, and so is what follows, up to the result: they are no numbers of
    half precision, and rounding them would move a logit of 10,000 by 40. What is too large for float16 becomes 65504.

    Torch's fused kernels have no second derivative and no forward mode; inside
    ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`` there are both, at the price of the N x M map.

    References
    ----------
    .. [1] M. Yin, Z. Yao, Y. Cao, X. Li, Z. Zhang, S. Lin, H. Hu. Disentangled non-local neural networks. ECCV 2020.
       arXiv:2006.06668

    Examples
    --------
    >>> import torch
    >>> q = torch.tensor([[[2.0], [2.0]]])  # constant queries: nothing pairwise
    >>> k = v = torch.tensor([[[0.0], [1.0]]])
    >>> attend(q, k, v, variant="nl_p")[0, :, 0]  # so the pairwise map is flat
    tensor([0.5000, 0.5000])
    >>> attend(q, k, v, variant="dnl", m=torch.tensor([[0.0, 100.0]]))[0, :, 0]  # 1/2 of one map, all of the other
    tensor([1.5000, 1.5000])
    """
    dtype, m, scale, factor = _checked(q, k, v, variant, m, scale, temperature)
    with core.no_autocast(q):
        q, k, v = (x.to(dtype) for x in (q, k, v))
        if variant == "nl":
            return core.softmax_attention(q, k, v, scale)
        if variant in ("nl_u", "dnl_dagger"):
            m = unary_logits(q, k, scale=scale)  # (B, M)
        k, v = (x.to(core.wide(dtype)) for x in (k, v))
        if variant == "nl_u":
            return core.narrow(_one_for_all(m, v).expand(-1, q.shape[1], -1), dtype).contiguous()
        whitened, k = centred(q), centred(k)  # (B, N, D), (B, M, D)
        if variant == "dnl_star":
            ones = whitened.new_ones((*q.shape[:2], 1))
            q, k = torch.cat([factor * whitened, ones], dim=2), torch.cat([k, _near_0(m).unsqueeze(2)], dim=2)  # D + 1
            return core.narrow(core.softmax_attention(q, k, v, 1.0), dtype)
        y = core.softmax_attention(whitened, k, v, factor)  # (B, N, E)
        return core.narrow(y if m is None else y + _one_for_all(m, v), dtype)


def _near_0(m):
    """Take the largest logit out, which a softmax does not see: a large number that all share would cost the others digits."""
    return m - m.detach().amax(dim=1, keepdim=True)


def _one_for_all(logits, v):
    """Return the average of the values under one map for every query: (B, M), (B, M, E) -> (B, 1, E)."""
    return torch.softmax(logits, dim=1).unsqueeze(1) @ v


class AttentionMaps(NamedTuple):
    """Which query looks where, and by which term.

    Attributes
    ----------
    pairwise : torch.Tensor, (B, Q, M), or None
        Softmax of the whitened logits; None for "nl_u", which has none.
    unary : torch.Tensor, (B, M), or None
        Softmax of the unary logits, the same for all queries; None for "nl_p".
    joint : torch.Tensor, (B, Q, M)
        What the values are averaged with; rows of "dnl" and "dnl_dagger" sum to 2.
    """

    pairwise: torch.Tensor | None
    unary: torch.Tensor | None
    joint: torch.Tensor


def attention_maps(q, k, *, variant, m=None, scale=1.0, temperature=1.0, queries=None):
    """Return pairwise, unary and joint map for chosen queries.

    Parameters
    ----------
    q, k, variant, m, scale, temperature
        As for `attend`.
    queries : int, sequence of int or torch.Tensor (Q,), optional
        Positions from 0 to N - 1, the same for all images; all of them by default, which takes N x M numbers.

    Returns
    -------
    AttentionMaps
        ``maps.joint @ v`` is the result of `attend` for these queries. Float32 at least. For "nl" and "dnl_star" the
        joint map is the product of the other two, each row divided by its sum (claim D1). That of "nl_u" for all
        queries is one row in memory, expanded: clone it before you write into it.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `attend` and `dnl_course.attention.attention_map`.

    Examples
    --------
    >>> import torch
    >>> q, k = torch.randn(1, 5, 3), torch.randn(1, 7, 3)
    >>> maps = attention_maps(q, k, variant="dnl", m=torch.randn(1, 7), queries=[0, 4])
    >>> maps.pairwise.shape, maps.unary.shape, maps.joint.sum(2).round()
    (torch.Size([1, 2, 7]), torch.Size([1, 7]), tensor([[2., 2.]]))
    """
    dtype, m, scale, _ = _checked(q, k, None, variant, m, scale, temperature)
    q, k = q.to(dtype), k.to(dtype)
    with core.no_autocast(q):
        p = u = None
        if variant != "nl_u":
            p = pairwise_logits(q, k, scale=scale, temperature=temperature, queries=queries)  # (B, Q, M)
        if variant != "nl_p":
            u = m if variant in OWN_UNARY else unary_logits(q, k, scale=scale)  # (B, M)
        pairwise, unary = (None if x is None else torch.softmax(x, dim=-1) for x in (p, u))
        if variant in ("nl", "dnl_star"):
            joint = torch.softmax(p + _near_0(u).unsqueeze(1), dim=2)
        elif variant == "nl_u":
            rows = check.positions(queries, q.shape[1], q.device)
            joint = unary.unsqueeze(1).expand(-1, q.shape[1] if rows is None else len(rows), -1)
            joint = joint if rows is None else joint.clone(memory_format=torch.contiguous_format)  # all: one row
        else:
            joint = pairwise if unary is None else pairwise + unary.unsqueeze(1)
        return AttentionMaps(pairwise, unary, joint)


def _checked(q, k, v, variant, m, scale, temperature):
    """Return the dtype of the result, m in a dtype to compute in, scale, and scale / temperature."""
    check.one_of("variant", variant, VARIANTS)
    scale, temperature = check.number("scale", scale), check.positive("temperature", temperature)
    if variant in ("nl", "nl_u") and temperature != 1:
        raise ValueError(
            f"temperature is {temperature:g}; allowed is 1: it divides the whitened logit, and {variant!r} has none."
        ) from None
    if (m is None) == (variant in OWN_UNARY):
        having = " and ".join(map(repr, OWN_UNARY))
        mend = "Pass m, (B, M): W_m x_j." if m is None else "Leave m away."
        raise ValueError(f"m is {'missing' if m is None else 'given'} for variant {variant!r}; {having} have it. {mend}") from None
    given = [x for x in (q, k, v, m) if x is not None]
    shapes = {"q": "(B, N, D)", "k": "(B, M, D)", **({} if v is None else {"v": "(B, M, E)"}), **({} if m is None else {"m": "(B, M)"})}
    dtype = check.tensors(shapes, *given)
    check.factor(scale, temperature)
    return dtype, None if m is None else m.to(core.wide(dtype)), scale, scale / temperature
