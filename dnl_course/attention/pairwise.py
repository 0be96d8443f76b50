"""The four pairwise functions of the non-local operation: y_i = (1 / C(x)) sum_j f(x_i, x_j) g(x_j).

Lesson 02; claims I2 to I8. The equations are those of Wang, Girshick, Gupta and He [1]_, as functions of what the
three 1x1 convolutions make of x::

    q (B, N, D)   theta(x_i), the queries       N positions
    k (B, M, D)   phi(x_j), the keys            M positions, fewer than N if they are sub-sampled
    v (B, M, E)   g(x_j), the values
    y (B, N, E)   the result

None holds an N x M array, forward or backward: memory grows with N + M. There is no implicit scale. Which query looks
where is shown by `dnl_course.attention.attention_map`.

What all four share
-------------------
*Dtypes.* float16, bfloat16, float32, float64; the result has the dtype of the inputs. Logits and sums of half
precision are computed in float32. Under autocast nothing is rounded further: the dtypes are those of the inputs, the
widest of them where they differ. *Values* are not looked at: NaN and infinity go where torch's own operations take
them (with fewer than 16 keys, torch's softmax kernel for the CPU makes zeros of a row whose logits are all NaN).
*Errors.* TypeError for what is no dense floating tensor and for several dtypes outside autocast; ValueError for a
wrong number of axes, sizes or devices that do not match, no key, no channel.

References
----------
.. [1] X. Wang, R. Girshick, A. Gupta, K. He. Non-local neural networks. CVPR 2018, 7794-7803. arXiv:1711.07971
"""

from __future__ import annotations

from dnl_course.attention import _checks as check
from dnl_course.attention import _core as core

__all__ = ["concatenation", "dot_product", "embedded_gaussian", "gaussian"]


def embedded_gaussian(q, k, v, *, scale=1.0):
    """Average the values with the weights softmax_j(scale q_i.k_j): the embedded Gaussian.

    ::

        y_i = sum_j exp(scale q_i.k_j) v_j / sum_j exp(scale q_i.k_j)            equations (1), (3) and C(x) of [1]_

    With ``scale = D ** -0.5`` this is the self-attention of the Transformer (claim I8).

    Parameters
    ----------
    q : torch.Tensor, (B, N, D)
    k : torch.Tensor, (B, M, D)
    v : torch.Tensor, (B, M, E)
        Float16, bfloat16, float32 or float64. Not modified.
    scale : float, optional
        Multiplies every logit. The paper has none; mmcv and the paper's own code use ``D ** -0.5``.

    Returns
    -------
    torch.Tensor, (B, N, E)
        Each y_i lies between the smallest and the largest v_j, channel by channel.

    Raises
    ------
    TypeError, ValueError
        See the top of `dnl_course.attention.pairwise`; ValueError also if ``scale`` is not finite.

    Notes
    -----
    O(N M (D + E)) time, O((N + M)(D + E)) memory, through `torch.nn.functional.scaled_dot_product_attention`. On a CPU
    that function computes the whole N x M map, and says nothing, if the tensors have three axes, if D and E differ, or
    if the last dimension is not contiguous; here the narrower tensors are padded with zeros and strides are copied
    away. Where torch has no such kernel (float64 on CUDA, other devices) a few queries at a time are computed, and
    again in backward.

    Torch's fused kernels have no second derivative. Inside ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`` there is
    one, at the price of the N x M map.

    References
    ----------
    .. [1] X. Wang, R. Girshick, A. Gupta, K. He. Non-local neural networks. CVPR 2018. arXiv:1711.07971

    Examples
    --------
    >>> import torch
    >>> q = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])  # the second query prefers no key
    >>> k = torch.tensor([[[9.0, 0.0], [-9.0, 5.0], [-9.0, 0.0]]])
    >>> v = torch.tensor([[[1.0], [2.0], [6.0]]])
    >>> embedded_gaussian(q, k, v)
    tensor([[[1.0000],
             [3.0000]]])
    """
    scale = check.number("scale", scale)
    dtype = check.tensors(check.FEATURES, q, k, v)
    with core.no_autocast(q):
        return core.softmax_attention(q.to(dtype), k.to(dtype), v.to(dtype), scale)


def gaussian(x_q, x_k, v):
    """Average the values with the weights softmax_j(x_i.x_j): the Gaussian, without theta and phi.

    ::

        y_i = sum_j exp(x_i.x_j) v_j / sum_j exp(x_i.x_j)                        equations (1), (2) and C(x) of [1]_

    It is the embedded Gaussian of features that are not embedded (claim I5). A position's own weight need not be its
    largest: a longer x_j beats it.

    Parameters
    ----------
    x_q : torch.Tensor, (B, N, C)
    x_k : torch.Tensor, (B, M, C)
        The features at the queries and at the keys; the same tensor twice unless keys are sub-sampled.
    v : torch.Tensor, (B, M, E)

    Returns
    -------
    torch.Tensor, (B, N, E)

    Raises
    ------
    TypeError, ValueError
        See the top of `dnl_course.attention.pairwise`.

    See Also
    --------
    embedded_gaussian : cost, dtypes and derivatives are the same.

    References
    ----------
    .. [1] X. Wang, R. Girshick, A. Gupta, K. He. Non-local neural networks. CVPR 2018. arXiv:1711.07971

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[[0.0], [1.0], [20.0]]])
    >>> gaussian(x, x, x)  # 1 and 20 both copy 20, the largest; 0 copies the mean
    tensor([[[ 7.],
             [20.],
             [20.]]])
    """
    dtype = check.tensors(check.FEATURES, x_q, x_k, v, names=("x_q", "x_k", "v"))
    with core.no_autocast(x_q):
        return core.softmax_attention(x_q.to(dtype), x_k.to(dtype), v.to(dtype), 1.0)


def dot_product(q, k, v):
    """Add the values up with the weights q_i.k_j / M.

    ::

        y_i = (1 / M) sum_j (q_i.k_j) v_j  =  q_i (k^T v) / M                    equations (1), (4) of [1]_

    Weights may be negative and need not sum to 1: this is no average (claim I4). M counts the *keys*.

    Parameters
    ----------
    q : torch.Tensor, (B, N, D)
    k : torch.Tensor, (B, M, D)
    v : torch.Tensor, (B, M, E)

    Returns
    -------
    torch.Tensor, (B, N, E)

    Raises
    ------
    TypeError, ValueError
        See the top of `dnl_course.attention.pairwise`.

    Notes
    -----
    Nothing stands between the two products, so the second can be computed first: O((N + M) D E) time instead of
    O(N M (D + E)), and O((N + M)(D + E) + D E) memory. Half precision is multiplied and added in float32; a result
    outside the range of float16 becomes its largest number, 65504.

    References
    ----------
    .. [1] X. Wang, R. Girshick, A. Gupta, K. He. Non-local neural networks. CVPR 2018. arXiv:1711.07971

    Examples
    --------
    >>> import torch
    >>> q = torch.tensor([[[1.0, 0.0], [0.0, -1.0]]])
    >>> k = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    >>> v = torch.tensor([[[1.0], [10.0]]])
    >>> dot_product(q, k, v)  # (1*1 + 3*10) / 2 and -(2*1 + 4*10) / 2
    tensor([[[ 15.5000],
             [-21.0000]]])
    """
    dtype = check.tensors(check.FEATURES, q, k, v)
    wide = core.wide(dtype)
    with core.no_autocast(q):
        kv = k.to(wide).transpose(1, 2) @ v.to(wide) / k.shape[1]  # (B, D, E)
        return core.narrow(q.to(wide) @ kv, dtype)


def concatenation(a, b, v):
    """Add the values up with the weights ReLU(a_i + b_j) / M.

    ::

        y_i = (1 / M) sum_j ReLU(w_f.[q_i, k_j]) v_j                             equations (1), (5) of [1]_
            = (1 / M) sum_j ReLU(a_i + b_j) v_j        a_i = w_f[:D].q_i,  b_j = w_f[D:].k_j

    w_f reads the query and the key one after the other, so before the ReLU each has its own number, and nothing is
    about the pair (claim I6).

    Parameters
    ----------
    a : torch.Tensor, (B, N)
    b : torch.Tensor, (B, M)
    v : torch.Tensor, (B, M, E)

    Returns
    -------
    torch.Tensor, (B, N, E)

    Raises
    ------
    TypeError, ValueError
        See the top of `dnl_course.attention.pairwise`.

    Notes
    -----
    Exact, in O((N + M)(log M + E)) time and O((N + M) E) memory: sort b, add up v and b v from the largest b
    downwards, and read each query's two sums where b_j > -a_i ends. Where a_i + b_j = 0 the derivative is 0, as that
    of `torch.relu`. Sums are added up in float64 (not on Apple's GPUs, which have none), so in float32 the result is
    nearer to the exact one than the definition is. Second derivatives are those of autograd. A NaN or infinity in v
    reaches only the queries that look at it.

    References
    ----------
    .. [1] X. Wang, R. Girshick, A. Gupta, K. He. Non-local neural networks. CVPR 2018. arXiv:1711.07971

    Examples
    --------
    >>> import torch
    >>> a = torch.tensor([[0.0, 3.0, -9.0]])
    >>> b = torch.tensor([[1.0, -2.0]])
    >>> v = torch.tensor([[[10.0], [100.0]]])
    >>> concatenation(a, b, v)  # (1*10) / 2, (4*10 + 1*100) / 2, nothing
    tensor([[[ 5.],
             [70.],
             [ 0.]]])
    """
    dtype = check.tensors(check.SCALARS, a, b, v)
    with core.no_autocast(a):
        return core.relu_attention(a.to(dtype), b.to(dtype), v.to(dtype))
