"""One attention layer, six ways to make its map: multiply or add, share the key or not (lesson 07, claims D1, D9, D10).

Logits of the pair and logits of the key alone, for features x, with means over the positions of a picture::

    p_ij = (q_i - mu_q).(k_j - mu_k)       q_i = W_q x_i + b,  k_j = W_k x_j       the whitened pairwise term
    u_j  = mu_q.k_j   "shared": the unary term speaks through the same key map
         = W_m x_j    "own": one fixed direction for all pictures

make the map omega in one of the `FORMS`, and the layer answers y_i = g sum_j omega_ij s_j for a signal s.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

__all__ = ["FORMS", "WIDTH", "Form", "Layer", "Maps"]


class Form(NamedTuple):
    """How a map is made: which unary term it has, and how that meets the pairwise term.

    Attributes
    ----------
    combine : str
        "multiply", "add", or "pairwise only" and "unary only" for the two references.
    unary : str
        "shared", "own" or "none".
    formula : str
        In the letters at the top of this module; softmax over j.
    """

    combine: str
    unary: str
    formula: str


FORMS = {
    "nl": Form("multiply", "shared", "softmax(q.k) = softmax(p + mu_q.k)"),
    "dnl_star": Form("multiply", "own", "softmax(p + m)"),
    "dnl_dagger": Form("add", "shared", "softmax(p) + softmax(mu_q.k)"),
    "dnl": Form("add", "own", "softmax(p) + softmax(m)"),
    "nl_p": Form("pairwise only", "none", "softmax(p)"),
    "nl_u": Form("unary only", "shared", "softmax(mu_q.k)"),
}
"""The four ways to combine two terms, and a reference for each term alone."""

WIDTH = 8
"""Channels of queries and keys: no fewer than the features have, so that q.k can be any bilinear function of them."""


class Maps(NamedTuple):
    """The maps of a layer; the map of a term that the form lacks is None.

    Attributes
    ----------
    pairwise : torch.Tensor or None
        (n, N, N): softmax of the pairwise term, rows sum to 1.
    unary : torch.Tensor or None
        (n, N): softmax of the unary term, sums to 1.
    joint : torch.Tensor
        (n, N, N): what the signal is multiplied by, but for the gain. Rows sum to 2 for "add", to 1 else.
    """

    pairwise: torch.Tensor | None
    unary: torch.Tensor | None
    joint: torch.Tensor


class Layer(nn.Module):
    """One attention layer that averages a signal.

    The signal itself is the value, so forms differ in their maps and in nothing else. One learned number, the gain,
    multiplies the answer: rows that sum to 2 are no advantage. It begins at 1 over that sum.

    Parameters
    ----------
    form : str
        A name of `FORMS`.
    channels : int, optional
        Of the features.
    width : int, optional
        Of queries and keys.
    query_bias : bool, optional
        Whether the query map has a bias. It cancels in the pairwise term, so it acts only where the unary term is
        "shared". A bias of the key map or of W_m would cancel in every softmax: there is none.

    Raises
    ------
    ValueError
        An unknown form, or `channels` or `width` below 1.

    Examples
    --------
    >>> layer = Layer("dnl", channels=3)
    >>> layer(torch.rand(2, 7, 3), torch.rand(2, 7, 1)).shape
    torch.Size([2, 7])
    >>> layer.maps(torch.rand(2, 7, 3)).joint.sum(2).mean().round(decimals=4).item()
    2.0
    """

    def __init__(self, form: str, channels: int = 4, width: int = WIDTH, *, query_bias: bool = True):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"no form is called {form!r}. Valid names: {', '.join(FORMS)}.")
        for name, value in (("channels", channels), ("width", width)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} = {value!r}: allowed is an int of at least 1.")
        self.form = form
        self.query = nn.Linear(channels, width)
        self.key = nn.Linear(channels, width, bias=False)
        self.mask = nn.Linear(channels, 1, bias=False)  # W_m; drawn for all forms, so that they all begin alike
        nn.init.zeros_(self.query.bias)
        if not query_bias:
            self.query.bias = None
        self.gain = nn.Parameter(torch.tensor(0.5 if FORMS[form].combine == "add" else 1.0))

    def logits(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the pairwise term p (B, N, N) and the unary term u (B, N) for features (B, N, C)."""
        q, k = self.query(features), self.key(features)  # (B, N, D)
        mu_q, mu_k = q.mean(1, keepdim=True), k.mean(1, keepdim=True)  # (B, 1, D)
        pairwise = (q - mu_q) @ (k - mu_k).mT  # (B, N, N)
        unary = self.mask(features)[..., 0] if FORMS[self.form].unary == "own" else (mu_q @ k.mT)[:, 0]  # (B, N)
        return pairwise, unary

    def maps(self, features: torch.Tensor) -> Maps:
        """Return the maps for features (B, N, C), with gradients."""
        combine, (p, u) = FORMS[self.form].combine, self.logits(features)
        pairwise = None if combine == "unary only" else p.softmax(2)  # (B, N, N)
        unary = None if combine == "pairwise only" else u.softmax(1)  # (B, N)
        if combine == "multiply":
            joint = (p + u[:, None]).softmax(2)
        elif combine == "add":
            joint = pairwise + unary[:, None]
        else:
            joint = pairwise if unary is None else unary[:, None].expand_as(p)
        return Maps(pairwise, unary, joint)

    def forward(self, features: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        """Return the answers (B, N) for features (B, N, C) and a signal (B, N, 1)."""
        return self.gain * (self.maps(features).joint @ signal)[..., 0]
