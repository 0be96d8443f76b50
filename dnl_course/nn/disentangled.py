"""The disentangled non-local block of Yin et al. (2020): one module for the whole family (lesson 08; claims D, E, F).

With q = W_q x, k = W_k x, v = W_v x, m = W_m x, mu_q the mean of q over positions, sigma the softmax over keys j::

    omega_ij = sigma((q_i - mu_q).(k_j - mu_k)) + sigma(m_j)        variant "dnl"; the others in attention.family
    z_i = W_z sum_j omega_ij v_j + x_i
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from dnl_course import attention
from dnl_course.attention._core import narrow
from dnl_course.attention.family import OWN_UNARY
from dnl_course.nn import _checks as check
from dnl_course.nn import _official as official
from dnl_course.nn._norms import all_zero, keeps_zero
from dnl_course.nn.blocks import CONV, NORM, NonLocalBlock
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
        Start as the identity: with W_z = 0 ("out"; a norm may follow, its bias 0), or with the norm's weight and bias 0
        ("norm"). True takes the norm if there is one. Never both: nothing would learn. With "out" and a norm the first
        steps are large: of what is near 0 a norm with eps = 1e-5 makes up to 316 times as much.
    inner_channels : int, optional
        D, the width of queries and keys; half of the channels if not given, at least 1.
    subsample : {None, "conv_pool", "pool_conv"}, optional
        Keys, values and W_m x from a pooled map, as for `NonLocalBlock`.

    Attributes
    ----------
    query, key : 1x1 convolutions C -> D
    value : 1x1 convolution C -> D; C -> C for "table5" and "official"
    mask : 1x1 convolution C -> 1, "dnl" and "dnl_star" only
        W_m. It has no bias, which a softmax would not see.
    gate : (1,), preset "official" only
    out : 1x1 convolution D -> C, or the identity where the preset has no W_z
    norm : module or None
    preset : Preset
        With the four options as they are.

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

    *Biases.* The softmax does not see that of W_k, and centring takes out that of W_q: "nl_p", "dnl" and "dnl_star"
    compute the same without them (but for preset "official", whose queries are not centred).

    *Cost.* No N x M map is held: memory grows as B N (C + D), in training too. Time grows as N M D; "nl_u" as N D.

    *Half precision.* As for `NonLocalBlock`; the centred queries, and what follows, are computed in float32. Averages
    y beyond 65504 become 65504 in float16.

    *In a file.* Variant, scale and temperature are not in the weights: where the names agree, as for "dnl" and
    "dnl_star", a block built with others loads them and computes something else.

    *Derivatives.* Torch's fused kernels have no second derivative and no forward mode; inside
    ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`` there are both, at the price of the N x M map.

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
        C, D, conv = self.channels, self.inner_channels, CONV[self.ndim]
        width = C if chosen.full_value else D
        zero = chosen.zero_init
        self._zero = ("out" if chosen.norm is None else "norm") if zero is True else zero or ""
        self.variant, self.zero_init = variant, bool(zero)
        self.norm = check.norm(chosen.norm, C, NORM[self.ndim], self._zero == "norm")
        if chosen.norm not in (None, "batch"):
            chosen = replace(chosen, norm=type(self.norm).__name__)  # pickle takes no lambda
        self.preset = chosen
        if not chosen.bias:
            self.query, self.key = conv(C, D, 1, bias=False), conv(C, D, 1, bias=False)
        self.value = conv(C, width, 1, bias=chosen.bias and not chosen.full_value)
        if variant in OWN_UNARY:
            self.mask = conv(C, 1, 1, bias=False)
        if chosen.gate:
            self.gate = nn.Parameter(torch.zeros(1))
        self.out = conv(width, C, 1, bias=self.norm is None) if chosen.out else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew: convolutions N(0, 0.01**2) with bias 0, and what ``zero_init`` says 0."""
        super().reset_parameters()
        if hasattr(self, "gate"):
            nn.init.zeros_(self.gate)

    def _last(self) -> list[nn.Parameter]:
        """Return what is 0 at the start: weight and bias of the norm, or of W_z and the bias of a norm after it."""
        out, norm = ((getattr(part, "weight", None), getattr(part, "bias", None)) for part in (self.out, self.norm))
        return [p for p in ((*out, norm[1]) if self._zero == "out" else norm) if p is not None]

    def is_identity(self) -> bool:
        """Say whether z = x for every x with finite embeddings.

        That is: W_z and its bias are 0 and the norm of 0 is 0, or weight and bias of the norm are 0. Without W_z: the
        value is 0, or "nl_p" has a gate and it is 0. ValueError on the meta device, where there are no values.
        """
        check.has_values(self)
        if not self.preset.out:
            closed = self.preset.gate and self.variant == "nl_p" and not bool(self.gate.detach().count_nonzero())
            return closed or all_zero(self.value)
        norm = self.norm
        if norm is None:
            return all_zero(self.out)
        if any(name not in ("weight", "bias") for name, _ in norm.named_parameters()):
            return False  # parameters of its own kind: nobody knows what they add
        return all_zero(norm) or (all_zero(self.out) and keeps_zero(norm))

    def unary_logits(self, x):
        """Return the logits of the unary term, (B, M): W_m x_j or scale mu_q.k_j; None for "nl_p". x as in ``forward``.

        "nl" has a unary term too, inside its one softmax (claim A3).

        Examples
        --------
        >>> import torch
        >>> DisentangledBlock(4, subsample="pool_conv").unary_logits(torch.randn(2, 4, 5, 7)).shape
        torch.Size([2, 6])
        """
        q, k, _ = self.embeddings(x)
        return self._unary(x, q, k)

    def _unary(self, x, q, k):
        if self.variant in OWN_UNARY:
            m = self.mask(self._pooled(x) if self.subsample == "pool_conv" else x)  # (B, 1, *spatial or *pooled)
            return to_positions(self._pooled(m) if self.subsample == "conv_pool" else m).squeeze(2)  # (B, M)
        return None if self.variant == "nl_p" else attention.unary_logits(q, k, scale=self._factor())

    def forward(self, x):
        """Return z, of the shape and dtype of x (B, C, *spatial)."""
        q, k, v = self.embeddings(x)
        if self.preset.gate:
            y = official.attend(q, k, v, self._unary(x, q, k), self.gate, self._pairwise_factor())
        else:
            y = attention.attend(q, k, v, **self._options(x, q, k))
        y = self.out(from_positions(narrow(y, v.dtype), x.shape[2:]))  # (B, C, *spatial)
        return x + (y if self.norm is None else self.norm(y))

    def _options(self, x, q, k) -> dict:
        m = self._unary(x, q, k) if self.variant in OWN_UNARY else None
        return {"variant": self.variant, "m": m, "scale": self._factor(), "temperature": self.preset.temperature}

    def _pairwise_factor(self) -> float:
        return self._factor() / self.preset.temperature

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
            have is None. With preset "official" the joint map is gate * pairwise + unary. That of "nl_u" for all
            queries is one row in memory, expanded: clone it before you write into it.

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
        if self.preset.gate:
            return official.attention_maps(q, k, self._unary(x, q, k), self.gate, self._pairwise_factor(), queries)
        return attention.attention_maps(q, k, queries=queries, **self._options(x, q, k))

    def attention_map(self, x, queries=None):
        """Return the joint map of `attention_maps`, (B, Q, M): what the values are averaged with."""
        return self.attention_maps(x, queries).joint

    def explain(self) -> str:
        """Say which equation the block computes, with its numbers, and how it differs from the printed one."""
        return explanation(self)

    def extra_repr(self) -> str:
        """Return the arguments, as they would be written; norm is a module below."""
        chosen = self.preset
        return (
            f"{self.channels}, variant={self.variant!r}, ndim={self.ndim}, preset={chosen.name!r}, "
            f"scale={chosen.scale}, temperature={chosen.temperature!r}, zero_init={chosen.zero_init!r}, "
            f"inner_channels={self.inner_channels}, subsample={self.subsample!r}"
        )
