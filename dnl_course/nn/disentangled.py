"""The disentangled non-local block of Yin et al. (2020): one module for the whole family (lesson 08; claims D, E, F).

With q = W_q x, k = W_k x, v = W_v x, m = W_m x, mu_q the mean of q over positions, sigma the softmax over keys j::

    omega_ij = sigma((q_i - mu_q).(k_j - mu_k)) + sigma(m_j)        variant "dnl"; the others in attention.family
    z_i = W_z sum_j omega_ij v_j + x_i
"""

from __future__ import annotations

import torch
from torch import nn

from dnl_course import attention
from dnl_course.attention._core import narrow
from dnl_course.attention.family import OWN_UNARY
from dnl_course.nn import _checks as check
from dnl_course.nn.blocks import CONV, NORM, STD, NonLocalBlock
from dnl_course.nn.explain import explanation
from dnl_course.nn.positions import from_positions, to_positions
from dnl_course.nn.presets import PRESETS

__all__ = ["DisentangledBlock"]


class DisentangledBlock(NonLocalBlock):
    r"""Add to each position what it finds at all others, by a pairwise and a unary term.

    Parameters
    ----------
    channels : int
        C, of the input and the output.
    variant : {"dnl", "dnl_star", "dnl_dagger", "nl", "nl_p", "nl_u"}, optional
        How the terms are combined, see Notes.
    ndim : {2, 1, 3}, optional
        Spatial axes of the input: 1 for sequences (B, C, T), 2 for images (B, C, H, W), 3 for clips (B, C, T, H, W).
    preset : {"block", "table5", "mmseg", "official"}, optional
        What the equation leaves open, see `dnl_course.nn.presets`. The four options below may be changed, and only if
        they do not contradict the preset or the variant.
    scale : bool, optional
        Multiply logits made from q or its mean by D**-0.5; W_m x is never scaled.
    temperature : float, optional
        Divides the whitened logit only.
    norm : "batch" or callable, optional
        A normalisation after W_z, as for `NonLocalBlock`.
    zero_init : bool, "out" or "norm", optional
        Start as the identity: with W_z = 0 ("out"; a norm may follow), or with the norm's weight and bias 0 ("norm").
        True takes the norm if there is one. Never both.
    inner_channels : int, optional
        D, the width of queries and keys; half of the channels if not given, at least 1.
    subsample : {None, "conv_pool", "pool_conv"}, optional
        Keys, values and W_m x from a pooled map, as for `NonLocalBlock`.

    Attributes
    ----------
    query, key, value : 1x1 convolutions C -> D; value C -> C for "table5" and "official"
    mask : 1x1 convolution C -> 1, "dnl" and "dnl_star" only
        W_m. It has no bias, which a softmax would not see.
    gate : (1,), preset "official" only
    out : 1x1 convolution D -> C, or the identity where the preset has no W_z
    norm : module or None
    preset : Preset
        With the options as they are.

    Raises
    ------
    TypeError, ValueError
        An unknown option (the valid ones are listed), or options that contradict each other. In ``forward``: as
        `NonLocalBlock`.

    See Also
    --------
    dnl_course.attention.attend : the same as a function of q, k, v and m.
    dnl_course.nn.insert : put a block into a network that is trained already.

    Notes
    -----
    ============  ==========================================================  ==========
    variant       weights omega_ij                                            rows sum to
    ============  ==========================================================  ==========
    nl            sigma(q_i.k_j)                                              1
    nl_p          sigma((q_i - mu_q).(k_j - mu_k))                            1
    nl_u          sigma(mu_q.k_j)                                             1
    dnl           sigma((q_i - mu_q).(k_j - mu_k)) + sigma(m_j)               2
    dnl_star      sigma((q_i - mu_q).(k_j - mu_k) + m_j)                      1
    dnl_dagger    sigma((q_i - mu_q).(k_j - mu_k)) + sigma(mu_q.k_j)          2
    ============  ==========================================================  ==========

    *Cost.* No N x M map is held: memory grows as B N (C + D), in training too. Time grows as N M D; "nl_u" as N D.

    *Half precision.* As for `NonLocalBlock`; the centred queries, and what follows, are computed in float32.

    References
    ----------
    .. [1] M. Yin, Z. Yao, Y. Cao, X. Li, Z. Zhang, S. Lin, H. Hu. Disentangled non-local neural networks. ECCV 2020.
       arXiv:2006.06668

    Examples
    --------
    >>> import torch
    >>> from dnl_course.nn import DisentangledBlock
    >>> block = DisentangledBlock(64)
    >>> x = torch.randn(1, 64, 24, 24)
    >>> z = block(x)
    >>> z.shape, block.is_identity(), torch.equal(z, x)
    (torch.Size([1, 64, 24, 24]), True, True)
    >>> maps = block.attention_maps(x, queries=[(5, 7)])  # where one pixel looks, and by which term
    >>> maps.pairwise.shape, maps.unary.shape, round(maps.joint.sum().item(), 4)
    (torch.Size([1, 1, 576]), torch.Size([1, 576]), 2.0)
    >>> print(block.explain().splitlines()[2])
    omega_ij = softmax_j((q_i - mu_q).(k_j - mu_k)) + softmax_j(m_j)        each row sums to 2
    """

    _zero = ""  # until the last layers are there: "out", "norm" or neither

    def __init__(
        self,
        channels,
        *,
        variant="dnl",
        ndim=2,
        preset="block",
        scale=None,
        temperature=None,
        norm=None,
        zero_init=None,
        inner_channels=None,
        subsample=None,
    ):
        check.one_of("variant", variant, attention.VARIANTS)
        check.one_of("preset", preset, tuple(PRESETS))
        chosen = PRESETS[preset].changed(scale=scale, temperature=temperature, norm=norm, zero_init=zero_init)
        check.goes_with(variant, chosen)
        super().__init__(
            channels, ndim=ndim, inner_channels=inner_channels, subsample=subsample, scale=chosen.scale, zero_init=False
        )
        C, conv = self.channels, CONV[self.ndim]
        width = C if chosen.full_value else self.inner_channels
        zero = chosen.zero_init
        zero = ("out" if chosen.norm is None else "norm") if zero is True else zero or ""
        self.variant, self.preset, self.zero_init, self._zero = variant, chosen, bool(zero), zero
        self.value = conv(C, width, 1, bias=not chosen.full_value)
        if variant in OWN_UNARY:
            self.mask = conv(C, 1, 1, bias=False)
        if chosen.gate:
            self.gate = nn.Parameter(torch.zeros(1))
        self.out = conv(width, C, 1, bias=chosen.norm is None) if chosen.out else nn.Identity()
        self.norm = check.norm(chosen.norm, C, NORM[self.ndim], zero == "norm")
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew: convolutions N(0, 0.01**2) with bias 0, and what ``zero_init`` says 0."""
        super().reset_parameters()
        if hasattr(self, "gate"):
            nn.init.zeros_(self.gate)

    def _last(self) -> list[nn.Parameter]:
        """Return what is 0 at the start: weight and bias of W_z, or of the norm."""
        last = self.out if self._zero == "out" else self.norm
        return [p for p in (getattr(last, "weight", None), getattr(last, "bias", None)) if p is not None]

    def is_identity(self) -> bool:
        """Say whether z = x for every finite input: the norm's weight and bias are 0, or W_z is and the norm keeps a 0."""
        if not self.preset.out:
            return False
        norm, zero = self.norm, [_all_zero(part) for part in (self.out, self.norm)]
        if norm is None:
            return zero[0]
        if any(name not in ("weight", "bias") for name, _ in norm.named_parameters()):
            return False  # parameters of its own kind: nobody knows what they add
        kept = getattr(norm, "bias", None) is None or not bool(norm.bias.detach().count_nonzero())
        mean = getattr(norm, "running_mean", None)  # in evaluation a batch norm takes it out
        return zero[1] or (zero[0] and kept and (mean is None or not bool(mean.count_nonzero())))

    def unary_logits(self, x):
        """Return the logit of the unary term, (B, M): W_m x_j, or the scaled mu_q.k_j; None for "nl_p", which has none."""
        q, k, _ = self.embeddings(x)
        return self._unary(x, q, k)

    def _unary(self, x, q, k):
        if self.variant in OWN_UNARY:
            source = self._pooled(x) if self.subsample == "pool_conv" else x
            m = self.mask(source)  # (B, 1, *spatial or *pooled)
            return to_positions(self._pooled(m) if self.subsample == "conv_pool" else m).squeeze(2)  # (B, M)
        return None if self.variant == "nl_p" else attention.unary_logits(q, k, scale=self._factor())

    def forward(self, x):
        """Return z, of the shape and dtype of x (B, C, *spatial)."""
        q, k, v = self.embeddings(x)
        y = self._official(x, q, k, v) if self.preset.gate else self._printed(x, q, k, v)  # (B, N, C or D)
        y = self.out(from_positions(narrow(y, v.dtype), x.shape[2:]))  # (B, C, *spatial)
        return x + (y if self.norm is None else self.norm(y))

    def _options(self, x, q, k) -> dict:
        m = self._unary(x, q, k) if self.variant in OWN_UNARY else None
        return {"variant": self.variant, "m": m, "scale": self._factor(), "temperature": self.preset.temperature}

    def _printed(self, x, q, k, v):
        return attention.attend(q, k, v, **self._options(x, q, k))

    def _official(self, x, q, k, v):
        """The pairwise term from queries without one scalar, times the gate; the unary term without it."""
        wide = torch.promote_types(v.dtype, torch.float32)
        y = attention.embedded_gaussian(self._without_scalar(q), k.to(wide), v.to(wide), scale=self._pairwise_factor())
        m = self._unary(x, q, k)
        return self.gate * y if m is None else self.gate * y + torch.softmax(m.to(wide), dim=1).unsqueeze(1) @ v.to(wide)

    def _pairwise_factor(self) -> float:
        return self._factor() / self.preset.temperature

    @staticmethod
    def _without_scalar(q):
        q = q.to(torch.promote_types(q.dtype, torch.float32))
        return q - q.mean(dim=(1, 2), keepdim=True)

    def attention_maps(self, x, queries=None):
        """Return where chosen positions look, and by which term.

        Parameters
        ----------
        x : (B, C, *spatial)
        queries : None, int, list of ints or of tuples, integer tensor, optional
            Which positions; all if None, which takes B * N * M numbers. As for `NonLocalBlock.attention_map`.

        Returns
        -------
        dnl_course.attention.AttentionMaps
            pairwise (B, Q, M), unary (B, M), joint (B, Q, M), in float32 at least; a term that the variant does not
            have is None. With preset "official" the joint map is gate * pairwise + unary.

        Raises
        ------
        IndexError, TypeError, ValueError
            As `NonLocalBlock.attention_map`.

        Examples
        --------
        >>> import torch
        >>> block = DisentangledBlock(4, variant="dnl_star", ndim=1)
        >>> maps = block.attention_maps(torch.randn(2, 4, 7), queries=[0, 6])
        >>> [tuple(m.shape) for m in maps]
        [(2, 2, 7), (2, 7), (2, 2, 7)]
        """
        self._check(x)
        queries = check.positions(queries, tuple(x.shape[2:]))
        q, k, _ = self.embeddings(x)
        if not self.preset.gate:
            options = self._options(x, q, k)
            return attention.attention_maps(q, k, queries=queries, **options)
        wide = torch.promote_types(q.dtype, torch.float32)
        rows = attention.attention_map(self._without_scalar(q), k.to(wide), scale=self._pairwise_factor(), queries=queries)
        m = self._unary(x, q, k)
        unary = None if m is None else torch.softmax(m.to(wide), dim=1)
        joint = self.gate.detach() * rows if unary is None else self.gate.detach() * rows + unary.unsqueeze(1)
        return attention.AttentionMaps(rows, unary, joint)

    def attention_map(self, x, queries=None):
        """Return the joint map of `attention_maps`, (B, Q, M): what the values are averaged with."""
        return self.attention_maps(x, queries).joint

    def explain(self) -> str:
        """Say which equation the block computes, with its numbers, and how it differs from the printed one."""
        return explanation(self)

    def extra_repr(self) -> str:
        """Return the arguments, as they would be written."""
        return (
            f"{self.channels}, variant={self.variant!r}, ndim={self.ndim}, preset={self.preset.name!r}, scale={self.preset.scale}, "
            f"temperature={self.preset.temperature:g}, zero_init={self.preset.zero_init!r}, inner_channels={self.inner_channels}, "
            f"subsample={self.subsample!r}"
        )


def _all_zero(module) -> bool:
    """Whether a module has a weight, and it and the bias are 0."""
    parameters = [p for p in (getattr(module, "weight", None), getattr(module, "bias", None)) if p is not None]
    return bool(parameters) and not any(bool(p.detach().count_nonzero()) for p in parameters)
