"""Non-local means, where the course begins: a pixel becomes the weighted mean of pixels with *similar surroundings*.

Lesson 01. With ``P_i`` the patch around pixel i and ``n`` the number of its values (pixels times channels)::

    d_ij = |P_i - P_j|^2 / n                          how unlike two patches are
    w_ij = exp(-max(d_ij - 2 sigma^2, 0) / h^2)       Buades, Coll and Morel (2005, 2011)
    y_i  = sum_j w_ij x_j / sum_j w_ij                j runs over the window around i, i itself included

``nl_means`` denoises a picture and ``nl_weights`` shows where one pixel looks. ``extract_patches``,
``nl_means_logits`` and ``nl_means_attention`` are the bridge to the rest of the course (claim J2): the weights are
a softmax over j of a part about the pair (i, j) and a part about j alone.
How it is computed fast: ``_nl_means_core.py``. What is refused, and how that is said: ``_nl_means_checks.py``.
"""

from __future__ import annotations

import torch

from dnl_course import _nl_means_checks as check
from dnl_course import _nl_means_core as core

__all__ = ["extract_patches", "nl_means", "nl_means_attention", "nl_means_logits", "nl_weights"]


def nl_means(image, *, h, sigma=0.0, patch_size=7, patch_distance=11):
    """Denoise a grey or colour image with non-local means.

    Parameters
    ----------
    image : numpy.ndarray or torch.Tensor, (H, W) or (H, W, C), float32 or float64
        Any units. Not modified. Channels share their weights. Two-dimensional means grey, the *last* axis of three
        is the channels: a torch image (C, H, W) needs ``image.permute(1, 2, 0)``.
    h : float
        How unlike a patch may be and still count, in the units of the image: at ``d = h**2`` the weight has fallen
        to 1/e. A larger h smooths more, noise and detail alike.
    sigma : float, optional
        Standard deviation of the noise, in the units of the image. Two patches that differ by noise alone are
        ``2 sigma**2`` apart on average; that much is subtracted from each distance, and nothing is left below 0.
    patch_size : int, optional
        Side of the square patches, odd.
    patch_distance : int, optional
        How far from a pixel its candidates may lie, along each axis: the window has ``(2 * patch_distance + 1)**2``
        of them. It is a window, not the whole image.

    Returns
    -------
    same kind, shape, dtype and device as ``image``
        No value lies outside the range of the image.

    Raises
    ------
    TypeError
        The image is neither an array nor a tensor or holds no float32 or float64; h or sigma is no number; a size
        is no int.
    ValueError
        The image is empty, has NaN, an infinity, a wrong number of axes, or requires a gradient (the computation
        works in place; pass ``image.detach()``); h <= 0; sigma < 0; an even patch; a negative distance.

    See Also
    --------
    nl_weights : the weights of one pixel.
    nl_means_logits : the same weights as a softmax.
    skimage.restoration.denoise_nl_means : names and meaning of the parameters are taken from it.

    Notes
    -----
    This is the pixelwise algorithm of [1]_ in the form of [2]_, with patches whose pixels count alike. The borders
    are those of ``np.pad(image, mode="reflect")``, reflected again where the image is smaller than the margin. First
    the image is continued, then patches are cut out: a patch at the border holds reflected pixels, and so does the
    window, whose candidates outside the image are reflected pixels with the patches around them.

    *Choosing h.* Start at ``h = 0.65 * sigma`` with the argument sigma, at ``h = sigma`` without it: on five
    photographs at noise of 0.04, 0.08 and 0.16 and patches of 3, 5 and 7 that came within 0.8 dB of the best h. With
    sigma the best was better (by 0 to 1.2 dB), and a too small h did less harm. An unknown sigma is estimated by
    ``skimage.restoration.estimate_sigma`` (which needs PyWavelets).

    *Cost.* The definition takes ``image.size * (2 * patch_distance + 1)**2 * patch_size**2`` steps. At one shift, the
    distances of all pixels are a box filter of one squared difference; [3]_ takes it from an integral image, which
    cancels in float32, here it is at most ``2 * log2(patch_size)`` sums of slices per axis. That leaves
    ``image.size * (2 * patch_distance + 1)**2``, nearly free of the patch size; opposite shifts share their
    distances, which halves it. Peak memory: less than 12 copies of the padded image.

    *Other implementations.* skimage's ``fast_mode=True`` compares patches one pixel smaller and shifted by half a
    pixel, still divided by ``patch_size**2``, so the same h is a larger one there; ``fast_mode=False`` weights the
    pixels of a patch with a Gaussian and clips the window at the border; both leave out weights below exp(-5).

    References
    ----------
    .. [1] A. Buades, B. Coll, J.-M. Morel. A non-local algorithm for image denoising. CVPR 2005, vol. 2, 60-65.
           doi:10.1109/CVPR.2005.38
    .. [2] A. Buades, B. Coll, J.-M. Morel. Non-local means denoising. Image Processing On Line 1 (2011), 208-212.
           doi:10.5201/ipol.2011.bcm_nlm
    .. [3] J. Darbon, A. Cunha, T. F. Chan, S. Osher, G. J. Jensen. Fast nonlocal filtering applied to electron
           cryomicroscopy. ISBI 2008, 1331-1334. doi:10.1109/ISBI.2008.4541250

    Examples
    --------
    >>> import numpy as np
    >>> square = np.zeros((40, 40))
    >>> square[10:-10, 10:-10] = 1
    >>> noisy = square + 0.2 * np.random.default_rng(0).standard_normal(square.shape)
    >>> denoised = nl_means(noisy, h=0.65 * 0.2, sigma=0.2, patch_size=5, patch_distance=6)
    >>> def error(image):
    ...     return float(np.sqrt(np.mean((image - square) ** 2)))
    >>> bool(error(denoised) < error(noisy) / 3)
    True
    """
    h, sigma, p, t = check.settings(h, sigma, patch_size, patch_distance)
    x = check.as_tensor("image", image, check.IMAGE)  # (H, W) or (H, W, C)
    return check.like(core.nl_means(x, h, sigma, p, t), image)


def nl_weights(image, pixel, *, h, sigma=0.0, patch_size=7, patch_distance=11, on_image=False):
    """Return the weights with which `nl_means` averages for one pixel.

    Parameters
    ----------
    image, h, sigma, patch_size, patch_distance
        As in `nl_means`.
    pixel : (int, int)
        Row and column, counted from 0; negative numbers are not counted from the end.
    on_image : bool, optional
        Lay the weights onto the image: a candidate outside it adds its weight to the pixel that it mirrors.

    Returns
    -------
    same kind, dtype and device as ``image``
        Sums to 1. Without ``on_image`` the window, (2 t + 1, 2 t + 1) with t = patch_distance: ``[t + dy, t + dx]``
        is the weight of pixel ``(row + dy, column + dx)`` of the reflected image, so the centre is the pixel's own.
        With ``on_image`` (H, W): ``(weights * image).sum()`` is the pixel of ``nl_means``.

    Raises
    ------
    IndexError
        The pixel is not in the image.
    TypeError, ValueError
        As `nl_means`; TypeError also if ``pixel`` is not a pair of ints.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).random((9, 12))
    >>> weights = nl_weights(image, (0, 3), h=0.3, patch_size=3, patch_distance=4)
    >>> weights.shape, bool(weights[4, 4] == weights.max()), round(float(weights.sum()), 6)
    ((9, 9), True, 1.0)
    >>> weights = nl_weights(image, (0, 3), h=0.3, patch_size=3, patch_distance=4, on_image=True)
    >>> denoised = nl_means(image, h=0.3, patch_size=3, patch_distance=4)
    >>> weights.shape, bool(np.isclose((weights * image).sum(), denoised[0, 3]))
    ((9, 12), True)
    """
    h, sigma, p, t = check.settings(h, sigma, patch_size, patch_distance)
    x = check.as_tensor("image", image, check.IMAGE)
    H, W = x.shape[:2]
    row, column = check.position(pixel, H, W)
    weights = core.nl_weights(x, row, column, h, sigma, p, t)  # (2 t + 1, 2 t + 1)
    if on_image:
        rows = core.reflected(H, row - t, row + t + 1, x.device)  # (2 t + 1,)
        columns = core.reflected(W, column - t, column + t + 1, x.device)
        at = rows[:, None] * W + columns  # (2 t + 1, 2 t + 1)
        weights = weights.new_zeros(H * W).index_add_(0, at.flatten(), weights.flatten()).view(H, W)
    return check.like(weights, image)


def extract_patches(image, *, patch_size=7):
    """Return the patch around each pixel, borders reflected as in `nl_means`, as the rows of a matrix.

    Parameters
    ----------
    image : numpy.ndarray or torch.Tensor, (H, W) or (H, W, C), float32 or float64
    patch_size : int, optional
        Odd.

    Returns
    -------
    (N, P), same kind, dtype and device as ``image``
        N = H * W pixels, row by row; P = patch_size**2 * C values, channel by channel.

    Examples
    --------
    >>> import numpy as np
    >>> extract_patches(np.arange(6.0).reshape(2, 3), patch_size=3)[0]
    array([4., 3., 4., 1., 0., 1., 4., 3., 4.])
    """
    p = check.odd("patch_size", patch_size)
    x = check.as_tensor("image", image, check.IMAGE)
    (H, W), r = x.shape[:2], p // 2
    patches = core.window(x, -r, H + r, -r, W + r).unfold(1, p, 1).unfold(2, p, 1)  # (C, H, W, p, p)
    return check.like(patches.permute(1, 2, 0, 3, 4).reshape(H * W, -1), image)


def nl_means_logits(patches, *, h, centred=False):
    """Split the logits of non-local means into a part about the pair (i, j) and a part about j alone.

    Expanding the square, ``-d_ij / h**2`` is a sum of three terms, and softmax over j drops the one that does not
    depend on j (claim J2)::

        -|P_i - P_j|^2 / (n h^2) = 2 P_i.P_j / (n h^2)  -  |P_j|^2 / (n h^2)  -  |P_i|^2 / (n h^2)
                                   pairwise_logits[i, j]   unary_logits[j]       the same for all j

    Distances do not change when one vector m is taken off all patches. With m the mean patch (``centred``, what the
    paper on disentangled non-local networks calls *whitened*) both terms are others, and their softmax is the same.

    Opening a square costs digits: the weights are right to about the machine precision times the largest
    ``|P_j|^2 / (n h^2)``, which is 1e-10 in float64 as long as h is not below a thousandth of the grey values.

    Parameters
    ----------
    patches : numpy.ndarray or torch.Tensor, (N, P), float32 or float64
        One patch per row, as from `extract_patches`. In float32 use ``centred=True``: it keeps the numbers small.
    h : float
        As in `nl_means`.
    centred : bool, optional
        Take the mean patch off first.

    Returns
    -------
    pairwise_logits : (N, N)
    unary_logits : (N,)
        Same kind, dtype and device as ``patches``.

    Examples
    --------
    >>> import numpy as np
    >>> patches = np.array([[0.0, 0.0], [0.0, 2.0], [4.0, 4.0]])
    >>> pairwise_logits, unary_logits = nl_means_logits(patches, h=1.0)
    >>> unary_logits
    array([ -0.,  -2., -16.])
    >>> pairwise_logits + unary_logits + unary_logits[:, None]  # minus the mean squared distances
    array([[  0.,  -2., -16.],
           [ -2.,   0., -10.],
           [-16., -10.,   0.]])
    """
    h = check.scalar("h", h, positive=True)
    x = check.as_tensor("patches", patches, {2: "(N, P), one patch per row"})  # (N, P)
    if centred:
        x = x - x.mean(0)
    x = x / h
    unary_logits = -x.square().mean(1)  # (N,)
    check.not_too_large(unary_logits, h)
    pairwise_logits = 2 / x.shape[1] * (x @ x.T)  # (N, N)
    return check.like(pairwise_logits, patches), check.like(unary_logits, patches)


def nl_means_attention(image, *, h, sigma=0.0, patch_size=7, patch_distance=None):
    """Return the weights of non-local means with the whole image as everybody's window, as an attention map.

    ``softmax_j(pairwise_logits[i, j] + unary_logits[j])``: nothing is left of the squared distance that made them.

    Parameters
    ----------
    image, h, patch_size
        As in `nl_means`.
    sigma : 0, optional
        Clipping ``d - 2 sigma**2`` at 0 is no longer a square, and does not split into the two terms.
    patch_distance : None, optional
        A window around each pixel gives each its own candidates, and then no single unary map is everybody's.

    Returns
    -------
    (N, N), same kind, dtype and device as ``image``
        Row i holds the weights of all N = H * W pixels for pixel i and sums to 1.

    Raises
    ------
    ValueError
        sigma is not 0; a patch_distance is given; the image has more than 16384 pixels (the map would take 2 GiB).

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).random((6, 7))
    >>> weights = nl_means_attention(image, h=0.4, patch_size=3)
    >>> denoised = (weights @ image.reshape(-1)).reshape(6, 7)
    >>> weights.shape, bool(np.allclose(weights.sum(1), 1)), bool(denoised.std() < image.std())
    ((42, 42), True, True)
    """
    check.one_common_window(sigma, patch_distance)
    x = check.as_tensor("image", image, check.IMAGE)
    check.small_enough(x.shape[0] * x.shape[1])
    pairwise_logits, unary_logits = nl_means_logits(extract_patches(x, patch_size=patch_size), h=h, centred=True)
    return check.like(torch.softmax(pairwise_logits + unary_logits, dim=-1), image)
