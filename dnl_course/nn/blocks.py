"""The non-local block of Wang, Girshick, Gupta and He (2018), for sequences, images and clips (lesson 03).

Claims I2, I10, I12, I13. With q = W_q x, k = W_k x, v = W_v x (theta, phi, g in the paper), N positions i, M keys j::

    y_i = (1 / C(x)) sum_j f(x_i, x_j) v_j          the operation, in dnl_course.attention
    z_i = W_z y_i + x_i                             the block

Without sub-sampling M = N; with it, keys and values come from a pooled map and C(x) counts those.
"""

from __future__ import annotations

import torch
from torch import nn

from dnl_course import attention
from dnl_course.attention._core import narrow
from dnl_course.nn import _checks as check
from dnl_course.nn.positions import from_positions, to_positions

__all__ = ["NonLocalBlock"]

SUBSAMPLE = (None, "conv_pool", "pool_conv")
WINDOW = {1: (2,), 2: (2, 2), 3: (1, 2, 2)}  # of clips the paper pools the frames, never time
STD = 0.01  # of the weights at the start, as in the paper's code
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOL = {1: nn.MaxPool2d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class NonLocalBlock(nn.Module):
    r"""Add to each position what it finds at all others: z = W_z y + x.

    Parameters
    ----------
    channels : int
        C, of the input and the output.
    pairwise : {"embedded_gaussian", "gaussian", "dot_product", "concatenation"}, optional
        f and C(x), see Notes.
    ndim : {2, 1, 3}, optional
        Spatial axes of the input: 1 for sequences (B, C, T), 2 for images (B, C, H, W), 3 for clips (B, C, T, H, W).
    inner_channels : int, optional
        D, the width of queries, keys and values; half of the channels if not given, at least 1.
    subsample : {None, "conv_pool", "pool_conv"}, optional
        Max-pool what keys and values are taken from, by 2 along T (sequences) or along H and W (images, clips);
        sizes are rounded down. "conv_pool" pools the embeddings, as the paper says and mmcv does; "pool_conv" pools
        x, as the paper's code does. They differ: a maximum does not commute with a linear map.
    scale : bool, optional
        Multiply the logits by D**-0.5. Embedded Gaussian only. The paper's formula has no scale, its code has.
    norm : None, "batch" or callable, optional
        A normalisation after W_z: batch normalisation, or what ``norm(channels)`` returns, for example
        ``lambda c: torch.nn.GroupNorm(4, c)``. W_z has then no bias.
    zero_init : bool, optional
        Start as the identity: with W_z = 0 if there is no norm, otherwise with weight and bias of the norm = 0. Never
        both: their product would have no gradient on either side, and nothing would learn.

    Attributes
    ----------
    query, key, value : 1x1 convolutions C -> D
        W_q, W_k, W_v. "gaussian" has neither query nor key: it compares x itself.
    concat : (2 D,), "concatenation" only
        w_f.
    out : 1x1 convolution D -> C
        W_z.
    norm : module or None

    Raises
    ------
    TypeError, ValueError
        An unknown option (the valid ones are listed); ``scale`` where there is none; a norm without weights that could
        be 0. In ``forward``: a wrong number of axes, of channels, dtype or device; a map too small to pool.

    See Also
    --------
    dnl_course.nn.insert : put a block into a network that is trained already.
    dnl_course.attention : the four functions.

    Notes
    -----
    ==================  ==============================================  =======
    pairwise            f(x_i, x_j)                                     C(x)
    ==================  ==============================================  =======
    gaussian            exp(x_i . x_j)                                  sum_j f
    embedded_gaussian   exp(q_i . k_j)                                  sum_j f
    dot_product         q_i . k_j                                       M
    concatenation       ReLU(w_f . [q_i, k_j])                          M
    ==================  ==============================================  =======

    *At the start.* Convolutions are N(0, 0.01**2) with bias 0, as in the paper's code, W_z too if ``zero_init`` is
    False; w_f is uniform in +-(2 D)**-0.5 as a torch layer, for no source gives a rule. At W_z = 0 the first gradients
    of query, key and value are exactly 0 and only W_z moves (claim I10).

    *Cost.* No N x M map is held: memory grows as B N (C + D), in training too. Time grows as N M D for the two
    Gaussians, N D**2 for the dot product, N log N + N D for concatenation.

    *Half precision.* Weights and input may be float16 or bfloat16, and autocast works. Embeddings are rounded to the
    half type by their convolutions; what follows is finite for logits of 1e4 and close to the exact result *for these
    embeddings*. In bfloat16 such a logit may itself be off by 40: that is lost before attention begins. Averages y
    beyond 65504 become 65504 in float16.

    *Derivatives.* Torch's fused kernels, for the two Gaussians, have no second derivative and no forward mode; inside
    ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`` there are both, at the price of the N x M map.

    References
    ----------
    .. [1] X. Wang, R. Girshick, A. Gupta, K. He. Non-local neural networks. CVPR 2018, 7794-7803. arXiv:1711.07971

    Examples
    --------
    >>> import torch
    >>> from dnl_course.nn import NonLocalBlock
    >>> block = NonLocalBlock(64)
    >>> x = torch.randn(1, 64, 128, 128)  # 16384 positions: their map would take 1 GiB
    >>> z = block(x)
    >>> z.shape, block.is_identity(), torch.equal(z, x)
    (torch.Size([1, 64, 128, 128]), True, True)
    >>> block.attention_map(x, queries=[(5, 7), (127, 0)]).shape  # where two pixels look
    torch.Size([1, 2, 16384])
    """

    def __init__(
        self,
        channels,
        *,
        pairwise="embedded_gaussian",
        ndim=2,
        inner_channels=None,
        subsample=None,
        scale=False,
        norm=None,
        zero_init=True,
    ):
        super().__init__()
        check.one_of("pairwise", pairwise, attention.PAIRWISE)
        check.one_of("ndim", ndim, (1, 2, 3))
        check.one_of("subsample", subsample, SUBSAMPLE)
        self.channels = check.count("channels", channels)
        inner = max(1, self.channels // 2) if inner_channels is None else inner_channels
        self.inner_channels = check.count("inner_channels", inner)
        self.pairwise, self.ndim, self.subsample = pairwise, int(ndim), subsample
        self.scale, self.zero_init = check.flag("scale", scale), check.flag("zero_init", zero_init)
        if scale:
            check.scalable(pairwise)
        C, D, conv = self.channels, self.inner_channels, CONV[ndim]
        if pairwise != "gaussian":
            self.query = conv(C, D, 1)
            self.key = conv(C, D, 1)
        self.value = conv(C, D, 1)
        if pairwise == "concatenation":
            self.concat = nn.Parameter(torch.empty(2 * D))
        window = (1, 2) if ndim == 1 else WINDOW[ndim]  # MaxPool1d would fix the length in torch.export
        self.pool = POOL[ndim](window) if subsample else None
        self.out = conv(D, C, 1, bias=norm is None)
        self.norm = check.norm(norm, C, NORM[ndim], zero_init)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, as described under Notes."""
        for conv in (c for c in self.children() if isinstance(c, tuple(CONV.values()))):
            nn.init.normal_(conv.weight, std=STD)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
        if self.pairwise == "concatenation":
            bound = (2 * self.inner_channels) ** -0.5
            nn.init.uniform_(self.concat, -bound, bound)
        if hasattr(self.norm, "reset_parameters"):
            self.norm.reset_parameters()
        if self.zero_init:
            for parameter in self._last():
                nn.init.zeros_(parameter)

    def _last(self) -> list[nn.Parameter]:
        """Return weight and bias of what comes last before the sum: all 0 means that the block is the identity."""
        last = self.out if self.norm is None else self.norm
        return [p for p in (getattr(last, "weight", None), getattr(last, "bias", None)) if p is not None]

    def is_identity(self) -> bool:
        """Say whether z = x for every finite input: W_z and its bias, or the norm's weight and bias, are all 0."""
        check.has_values(self)  # ValueError on the meta device
        last = self._last()
        if self.norm is not None and len(last) < len(list(self.norm.parameters())):
            return False  # a norm with parameters of its own kind: nobody knows what they add
        return bool(last) and not any(bool(p.detach().count_nonzero()) for p in last)

    def embeddings(self, x):
        """Return queries, keys and values.

        Parameters
        ----------
        x : (B, C, *spatial)

        Returns
        -------
        q : (B, N, D)
        k : (B, M, D)
        v : (B, M, D)
            M = N, or the number of positions of the pooled map. For "gaussian" q and k are x itself, and C wide.

        Examples
        --------
        >>> import torch
        >>> block = NonLocalBlock(6, subsample="conv_pool")
        >>> [tuple(e.shape) for e in block.embeddings(torch.randn(2, 6, 5, 7))]
        [(2, 35, 3), (2, 6, 3), (2, 6, 3)]
        """
        self._check(x)
        source = self._pooled(x) if self.subsample == "pool_conv" else x  # (B, C, *spatial or *pooled)
        gaussian = self.pairwise == "gaussian"
        q = x if gaussian else self.query(x)  # (B, D, *spatial)
        k = source if gaussian else self.key(source)  # (B, D, *spatial or *pooled)
        v = self.value(source)
        if self.subsample == "conv_pool":
            k, v = self._pooled(k), self._pooled(v)  # (B, D, *pooled)
        return to_positions(q), to_positions(k), to_positions(v)

    def _pooled(self, x):
        return self.pool(x.unsqueeze(2)).squeeze(2) if self.ndim == 1 else self.pool(x)

    def forward(self, x):
        """Return z = W_z y + x, of the shape and dtype of x (B, C, *spatial)."""
        q, k, v = self.embeddings(x)
        y = narrow(self._operation(q, k, v), v.dtype)  # (B, N, D)
        y = self.out(from_positions(y, x.shape[2:]))  # (B, C, *spatial)
        return x + (y if self.norm is None else self.norm(y))

    def _operation(self, q, k, v):
        """Return y (B, N, D), in the widest dtype of the three: autocast does not round the x of the Gaussian."""
        if self.pairwise == "concatenation":
            a, b = self._halves(q, k)  # (B, N), (B, M)
            return attention.concatenation(a, b, v.to(a.dtype))
        if self.pairwise == "dot_product":
            return attention.dot_product(q, k, v)
        if self.pairwise == "gaussian":
            return attention.gaussian(q, k, v)
        return attention.embedded_gaussian(q, k, v, scale=self._factor())

    def _factor(self) -> float:
        return self.inner_channels**-0.5 if self.scale else 1.0

    def _halves(self, q, k):
        """Return a_i = w_f[:D] . q_i and b_j = w_f[D:] . k_j, in float32 at least, (B, N) and (B, M)."""
        dtype = torch.promote_types(q.dtype, torch.float32)
        w_q, w_k = self.concat.to(dtype).split(self.inner_channels)  # (D,), (D,)
        return (q.to(dtype) * w_q).sum(2), (k.to(dtype) * w_k).sum(2)  # no matmul: autocast would round it

    def attention_map(self, x, queries=None):
        """Return where chosen positions look: f(x_i, x_j) / C(x).

        Parameters
        ----------
        x : (B, C, *spatial)
        queries : None, int, list of ints or of tuples, integer tensor, optional
            Which positions i; all if None, which takes B * N * M numbers. A tuple holds coordinates: (row, column)
            in an image, (t, row, column) in a clip; an int is a number in the order of `to_positions`. The same for
            all images of the batch.

        Returns
        -------
        (B, Q, M)
            Rows over the keys, in float32 where the block runs in half precision. With sub-sampling the keys are
            those of the pooled map, and a row folds into its size, not into that of x. For the two Gaussians a row
            is >= 0 and sums to 1, for the others it need not.

        Raises
        ------
        IndexError, TypeError, ValueError
            A query is outside the map; queries are of another kind; x as in ``forward``.

        Examples
        --------
        >>> import torch
        >>> block = NonLocalBlock(4, pairwise="gaussian")
        >>> rows = block.attention_map(torch.randn(2, 4, 5, 7), queries=[(0, 0), (4, 6), 17])
        >>> rows.shape, torch.allclose(rows.sum(-1), torch.ones(2, 3))
        (torch.Size([2, 3, 35]), True)
        """
        self._check(x)
        queries = check.positions(queries, tuple(x.shape[2:]))
        q, k, _ = self.embeddings(x)
        dtype = torch.promote_types(q.dtype, torch.float32)
        q, k = self._halves(q, k) if self.pairwise == "concatenation" else (q.to(dtype), k.to(dtype))
        return attention.attention_map(q, k, pairwise=self.pairwise, scale=self._factor(), queries=queries)

    def _check(self, x, name="x") -> None:
        check.features(name, x, self.channels, self.ndim, self.value.weight)
        if self.subsample:
            check.poolable(name, x, WINDOW[self.ndim])

    def extra_repr(self) -> str:
        """Return the arguments, as they would be written."""
        return (
            f"{self.channels}, pairwise={self.pairwise!r}, ndim={self.ndim}, inner_channels={self.inner_channels}, "
            f"subsample={self.subsample!r}, scale={self.scale}, zero_init={self.zero_init}"
        )
