"""`dnl_course.denoise` against the definition, written here as four loops in float64, and against its own promises."""

import doctest
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio as psnr
from skimage.restoration import denoise_nl_means
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dnl_course import _nl_means_core, denoise
from dnl_course.denoise import extract_patches, nl_means, nl_means_attention, nl_means_logits, nl_weights


def definition(image, h, sigma, patch_size, patch_distance):
    """Return (denoised, weights (H, W, window, window)): the equations of the module's header, nothing shared."""
    planes = image.reshape(*image.shape[:2], -1).astype(np.float64)
    H, W, _ = planes.shape
    r, t = patch_size // 2, patch_distance
    padded = np.pad(planes, ((t + r, t + r), (t + r, t + r), (0, 0)), mode="reflect")
    denoised = np.zeros_like(planes)
    weights = np.zeros((H, W, 2 * t + 1, 2 * t + 1))
    for row in range(H):
        for column in range(W):
            own = padded[row + t : row + t + patch_size, column + t : column + t + patch_size]
            for dy in range(2 * t + 1):
                for dx in range(2 * t + 1):
                    other = padded[row + dy : row + dy + patch_size, column + dx : column + dx + patch_size]
                    d = np.mean((own - other) ** 2)
                    weights[row, column, dy, dx] = np.exp(-max(d - 2 * sigma**2, 0) / h**2)
            weights[row, column] /= weights[row, column].sum()
            for dy in range(2 * t + 1):
                for dx in range(2 * t + 1):
                    pixel = padded[row + dy + r, column + dx + r]
                    denoised[row, column] += weights[row, column, dy, dx] * pixel
    return denoised.reshape(image.shape), weights


CASES = [  # shape, patch_size, patch_distance, sigma
    ((9, 11), 5, 4, 0.0),
    ((7, 6, 3), 3, 5, 0.2),
    ((8, 5, 2), 7, 2, 0.1),
    ((6, 7), 7, 11, 0.05),  # reflected twice
    ((5, 13), 11, 6, 0.0),
    ((5, 4), 17, 3, 0.0),  # a patch larger than the image
    ((8, 8, 4), 1, 3, 0.0),  # pixels instead of patches
    ((1, 9), 3, 4, 0.1),
    ((9, 1), 3, 4, 0.0),
    ((1, 1), 5, 3, 0.1),
    ((2, 2), 3, 5, 0.0),
    ((6, 5), 3, 0, 0.0),  # a window of one pixel
]


@pytest.mark.parametrize(("shape", "patch_size", "patch_distance", "sigma"), CASES)
def test_equals_the_definition(shape, patch_size, patch_distance, sigma):
    image = np.random.default_rng(1).random(shape)
    size = {"patch_size": patch_size, "patch_distance": patch_distance}
    expected, weights = definition(image, 0.3, sigma, **size)
    np.testing.assert_allclose(nl_means(image, h=0.3, sigma=sigma, **size), expected, rtol=0, atol=1e-10)
    single = nl_means(image.astype(np.float32), h=0.3, sigma=sigma, **size)
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-5)
    for pixel in {(0, 0), (shape[0] // 2, shape[1] // 3), (shape[0] - 1, shape[1] - 1)}:
        window = nl_weights(image, pixel, h=0.3, sigma=sigma, **size)
        np.testing.assert_allclose(window, weights[pixel], rtol=0, atol=1e-10)
        on_image = nl_weights(image, pixel, h=0.3, sigma=sigma, **size, on_image=True)
        assert on_image.shape == shape[:2]
        mean = np.tensordot(on_image, image, axes=2)
        np.testing.assert_allclose(mean, expected[pixel], rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(23, 9), (23, 9, 3)])
@pytest.mark.parametrize("threads", [1, 3])
def test_strips_and_threads_change_nothing(monkeypatch, shape, threads):
    image = np.random.default_rng(2).random(shape)
    size = {"patch_size": 3, "patch_distance": 1}
    whole = nl_means(image, h=0.3, **size)
    monkeypatch.setattr(_nl_means_core, "STRIP", 1)
    monkeypatch.setattr(_nl_means_core, "THREAD", 1)
    filtered = []
    strip = _nl_means_core.filter_strip
    monkeypatch.setattr(_nl_means_core, "filter_strip", lambda *a: (filtered.append(a[1].shape), strip(*a)))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        np.testing.assert_array_equal(nl_means(image, h=0.3, **size), whole)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(filtered) == 3  # 8, 8 and 7 rows


def test_the_setting_of_threads_survives_an_error(monkeypatch):
    def broken(*_):
        raise MemoryError

    threads = torch.get_num_threads()
    monkeypatch.setattr(_nl_means_core, "filter_strip", broken)
    with pytest.raises(MemoryError):
        nl_means(np.zeros((5, 5)), h=1)
    assert torch.get_num_threads() == threads


# ---- properties ------------------------------------------------------------------------------------------------

images = st.builds(
    lambda seed, height, width, channels: np.random.default_rng(seed).random(
        (height, width, channels)[: 2 + (channels > 1)]
    ),
    st.integers(0, 10**6),
    st.integers(1, 13),
    st.integers(1, 13),
    st.sampled_from([1, 2, 3]),
)
windows = st.fixed_dictionaries(
    {
        "h": st.floats(0.05, 2),
        "sigma": st.sampled_from([0.0, 0.1]),
        "patch_size": st.sampled_from([1, 3, 5, 7]),
        "patch_distance": st.integers(0, 6),
    }
)
examples = settings(max_examples=40, deadline=None)


@examples
@given(st.floats(-1e6, 1e6), windows, st.sampled_from([np.float32, np.float64]), st.sampled_from([(4, 5), (3, 6, 3)]))
def test_a_constant_image_is_a_fixed_point(value, window, dtype, shape):
    image = np.full(shape, value, dtype)
    np.testing.assert_array_equal(nl_means(image, **window), image)


@examples
@given(images, windows, st.floats(-50, 50))
def test_shifting_grey_values_shifts_the_result(image, window, shift):
    moved = nl_means(image + shift, **window) - shift
    np.testing.assert_allclose(moved, nl_means(image, **window), rtol=0, atol=1e-9)


@examples
@given(images, windows, st.sampled_from([1e-17, 1e-3, 255.0, 3e15]), st.sampled_from([np.float32, np.float64]))
def test_the_unit_of_the_grey_values_does_not_matter(image, window, unit, dtype):
    scaled = {**window, "h": window["h"] * unit, "sigma": window["sigma"] * unit}
    result = nl_means((image * unit).astype(dtype), **scaled).astype(float) / unit
    tolerance = 1e-9 if dtype == np.float64 else 3e-4  # at the smallest h a float32 weight has few digits
    np.testing.assert_allclose(result, nl_means(image, **window), rtol=0, atol=tolerance)


@examples
@given(images, windows)
def test_turning_and_mirroring_the_image_turns_and_mirrors_the_result(image, window):
    expected = nl_means(image, **window)
    for turn in (lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x.swapaxes(0, 1)):
        np.testing.assert_allclose(nl_means(turn(image), **window), turn(expected), rtol=0, atol=1e-10)


@examples
@given(images, windows)
def test_no_value_leaves_the_range_of_the_image(image, window):
    for dtype in (np.float32, np.float64):
        given_image = image.astype(dtype)
        result = nl_means(given_image, **window)
        assert result.min() >= given_image.min() and result.max() <= given_image.max()


@examples
@given(images, windows, st.data())
def test_weights_sum_to_one_and_average_to_the_result(image, window, data):
    pixel = tuple(data.draw(st.integers(0, n - 1)) for n in image.shape[:2])
    t = window["patch_distance"]
    weights = nl_weights(image, pixel, **window)
    assert weights.shape == (2 * t + 1, 2 * t + 1) and weights.min() >= 0
    assert weights[t, t] == weights.max()
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    padded = np.pad(image, [(t, t), (t, t), (0, 0)][: image.ndim], mode="reflect")
    candidates = padded[pixel[0] : pixel[0] + 2 * t + 1, pixel[1] : pixel[1] + 2 * t + 1]
    expected = nl_means(image, **window)[pixel]
    np.testing.assert_allclose(np.tensordot(weights, candidates, axes=2), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("h", [5e-324, 1e-200, 1e-30, 1e30, 1e300])
def test_extreme_h(h):
    """So small an h leaves the image alone, so large an h takes the plain mean of the window: never NaN."""
    image = np.random.default_rng(3).random((6, 7))
    for dtype in (np.float32, np.float64):
        result = nl_means(image.astype(dtype), h=h, patch_size=3, patch_distance=2)
        plain = _nl_means_core.window(torch.from_numpy(image), -2, 8, -2, 9)[0].unfold(0, 5, 1).unfold(1, 5, 1)
        expected = image if h < 1 else plain.mean((2, 3)).numpy()
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)
        weights = nl_weights(image.astype(dtype), (2, 2), h=h, patch_size=3, patch_distance=2)
        assert weights.max() == pytest.approx(1 if h < 1 else 1 / 25)
    np.testing.assert_array_equal(nl_means(np.zeros((4, 4), np.float32), h=h), 0)


# ---- what it is for --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photograph():
    """Return (clean, noisy, sigma): the cameraman, 512 x 512, float32."""
    clean = skimage.data.camera() / 255
    noisy = clean + 0.08 * np.random.default_rng(0).standard_normal(clean.shape)
    return clean, noisy.astype(np.float32), 0.08


WINDOW = {"patch_size": 5, "patch_distance": 10}


def test_noise_falls_and_psnr_rises(photograph):
    clean, noisy, sigma = (x[40:232, 120:312] if np.ndim(x) else x for x in photograph)
    sky = np.s_[:40, :40]
    for h, given_sigma in ((sigma, 0), (0.65 * sigma, sigma)):
        denoised = nl_means(noisy, h=h, sigma=given_sigma, **WINDOW)
        assert psnr(clean, denoised, data_range=1) > psnr(clean, noisy, data_range=1) + 7
        assert np.std((denoised - clean)[sky]) < np.std((noisy - clean)[sky]) / 5


def test_rule_of_thumb_for_h(photograph):
    """As the docstring says: within 0.8 dB of the best h; with a third of it noise stays, three times it blurs."""
    clean, noisy, sigma = (x[40:232, 120:312] if np.ndim(x) else x for x in photograph)
    for start, given_sigma in ((1, 0), (0.65, sigma)):
        gained = {
            k: psnr(clean, nl_means(noisy, h=k * start * sigma, sigma=given_sigma, **WINDOW), data_range=1)
            for k in (0.33, 0.6, 0.8, 1, 1.25, 1.5, 3)
        }
        assert gained[1] > max(gained.values()) - 0.8
        assert gained[1] > gained[0.33] + 0.7 and gained[1] > gained[3] + 1


def test_beside_scikit_image(photograph):
    """Not the same patch (see the notes of `nl_means`), so close and no more; PSNR within 0.1 dB."""
    clean, noisy, sigma = photograph
    same = {"h": 0.65 * sigma, "sigma": sigma, **WINDOW}
    ours, fast = nl_means(noisy, **same), denoise_nl_means(noisy, fast_mode=True, **same)
    assert psnr(clean, ours, data_range=1) == pytest.approx(psnr(clean, fast, data_range=1), abs=0.1)
    assert np.sqrt(np.mean((ours - fast) ** 2)) < 0.01


def test_float32_keeps_its_digits(photograph):
    _, noisy, sigma = photograph
    noisy = noisy[:100, :120]
    in_double = nl_means(noisy.astype(np.float64) + 100, h=0.65 * sigma, sigma=sigma)
    np.testing.assert_allclose(nl_means(noisy, h=0.65 * sigma, sigma=sigma), in_double - 100, rtol=0, atol=1e-5)


# ---- kinds of input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3)])
def test_arrays_of_every_make(dtype, shape):
    image = np.random.default_rng(4).random(shape)
    expected = nl_means(image, h=0.3, patch_size=3, patch_distance=2)
    plain = image.astype(dtype)
    read_only = plain.copy()
    read_only.flags.writeable = False
    wide = np.zeros((2 * shape[0], 3 * shape[1], *shape[2:]), dtype)
    wide[1::2, 2::3] = plain
    backwards = plain[::-1, ::-1].copy()[::-1, ::-1]
    for given_image in (plain, read_only, wide[1::2, 2::3], backwards, np.asfortranarray(plain)):
        before = given_image.copy()
        result = nl_means(given_image, h=0.3, patch_size=3, patch_distance=2)
        assert type(result) is np.ndarray and result.dtype == given_image.dtype and result.shape == shape
        np.testing.assert_array_equal(given_image, before)
        assert not np.shares_memory(result, given_image)
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)
        weights = nl_weights(given_image, (1, 2), h=0.3, patch_size=3, patch_distance=2)
        assert type(weights) is np.ndarray and weights.dtype == given_image.dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3)])
def test_tensors(dtype, shape):
    image = torch.from_numpy(np.random.default_rng(4).random(shape)).to(dtype)
    expected = nl_means(image.numpy(), h=0.3, patch_size=3, patch_distance=2)
    transposed = image.transpose(0, 1).contiguous().transpose(0, 1)
    for given_image in (image, transposed, torch.nn.Parameter(image, requires_grad=False)):
        before = given_image.clone()
        result = nl_means(given_image, h=0.3, patch_size=3, patch_distance=2)
        assert type(result) is torch.Tensor and result.dtype == dtype and result.shape == shape
        assert not result.requires_grad and torch.equal(given_image, before)
        np.testing.assert_array_equal(result.numpy(), expected)
        assert result.data_ptr() != given_image.data_ptr()
    weights = nl_weights(image, (1, 2), h=0.3, on_image=True)
    assert type(weights) is torch.Tensor and weights.dtype == dtype and weights.shape == shape[:2]
    learned = image.clone().requires_grad_()
    with torch.no_grad():
        assert torch.equal(nl_means(learned, h=0.3), nl_means(image, h=0.3))


def test_numbers_of_every_make():
    image = np.random.default_rng(5).random((6, 7))
    expected = nl_means(image, h=1.0, sigma=0.5, patch_size=3, patch_distance=2)
    for h, sigma, p, t in (
        (1, np.float64(0.5), np.int64(3), np.uint8(2)),
        (np.float32(1), torch.tensor(0.5), 3, 2),
        (np.array(1.0), 0.5, 3, 2),
    ):
        np.testing.assert_array_equal(nl_means(image, h=h, sigma=sigma, patch_size=p, patch_distance=t), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shape", [(70, 50), (70, 50, 3)])
def test_on_a_gpu(shape):
    image = torch.from_numpy(np.random.default_rng(6).random(shape))
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        result = nl_means(image.to("cuda", dtype), h=0.3, sigma=0.1)
        assert result.is_cuda and result.dtype == dtype
        torch.testing.assert_close(result.cpu().double(), nl_means(image, h=0.3, sigma=0.1), rtol=0, atol=tolerance)
        weights = nl_weights(image.to("cuda", dtype), (3, 4), h=0.3, on_image=True)
        torch.testing.assert_close(
            weights.cpu().double(), nl_weights(image, (3, 4), h=0.3, on_image=True), rtol=0, atol=tolerance
        )


# ---- the bridge (claim J2) -------------------------------------------------------------------------------------


def explicit_weights(patches, h):
    """Softmax of minus the mean squared distances, distance by distance."""
    d = np.array([[np.mean((a - b) ** 2) for b in patches] for a in patches])
    w = np.exp(-d / h**2)
    return w / w.sum(1, keepdims=True)


def softmax(logits):
    w = np.exp(logits - logits.max(-1, keepdims=True))
    return w / w.sum(-1, keepdims=True)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("h", [0.1, 0.7, 3.0])
def test_nl_means_is_a_softmax_of_a_pairwise_and_a_unary_term(centred, h):
    patches = 1 + 0.6 * np.random.default_rng(7).standard_normal((30, 18))  # mean not 0, so that centring shows
    pairwise_logits, unary_logits = nl_means_logits(patches, h=h, centred=centred)
    assert pairwise_logits.shape == (30, 30) and unary_logits.shape == (30,)
    expected = explicit_weights(patches, h)
    np.testing.assert_allclose(softmax(pairwise_logits + unary_logits), expected, rtol=0, atol=1e-10)
    assert np.abs(softmax(pairwise_logits) - expected).max() > 1e-3  # the unary term is not decoration
    x = patches - patches.mean(0) * centred
    np.testing.assert_allclose(pairwise_logits, 2 * x @ x.T / (18 * h**2), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(unary_logits, -(x**2).sum(1) / (18 * h**2), rtol=1e-10)


def test_centring_changes_both_terms_and_not_their_softmax():
    patches = 1 + 0.6 * np.random.default_rng(8).standard_normal((20, 9))
    raw, centred = (nl_means_logits(patches, h=1, centred=c) for c in (False, True))
    assert np.abs(raw[0] - centred[0]).max() > 1 and np.abs(raw[1] - centred[1]).max() > 1
    np.testing.assert_allclose(softmax(raw[0] + raw[1]), softmax(centred[0] + centred[1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 9), (6, 5, 3)])
def test_the_attention_map_holds_the_weights_of_nl_means(shape):
    image = np.random.default_rng(9).random(shape)
    patches = extract_patches(image, patch_size=5)
    padded = np.pad(image, [(2, 2), (2, 2), (0, 0)][: image.ndim], mode="reflect")
    for number in (0, 11, shape[0] * shape[1] - 1):
        row, column = divmod(number, shape[1])
        patch = padded[row : row + 5, column : column + 5]
        np.testing.assert_array_equal(
            patches[number], np.moveaxis(patch, -1, 0).ravel() if image.ndim > 2 else patch.ravel()
        )
    weights = nl_means_attention(image, h=0.2, patch_size=5)
    np.testing.assert_allclose(weights, explicit_weights(patches, 0.2), rtol=0, atol=1e-10)
    # the distances are those of nl_weights: the ratio of two weights does not depend on who else is a candidate
    row, column = 3, 2
    window = nl_weights(image, (row, column), h=0.2, patch_size=5, patch_distance=1)
    for dy, dx in ((-1, 0), (0, 1), (1, 1)):
        i, j = row * shape[1] + column, (row + dy) * shape[1] + column + dx
        assert weights[i, j] / weights[i, i] == pytest.approx(window[1 + dy, 1 + dx] / window[1, 1], abs=1e-10)


def test_the_bridge_keeps_kind_and_dtype():
    image = torch.from_numpy(np.random.default_rng(10).random((5, 6))).float()
    patches = extract_patches(image, patch_size=3)
    assert patches.shape == (30, 9) and patches.dtype == torch.float32
    assert all(type(x) is torch.Tensor and x.dtype == torch.float32 for x in nl_means_logits(patches, h=1))
    in_double = nl_means_attention(image.double(), h=0.3)
    torch.testing.assert_close(nl_means_attention(image, h=0.3).double(), in_double, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": 0.1}, r"sigma is 0\.1; allowed is 0: max\(d - 2 sigma\^2, 0\) is no square.*Use nl_means"),
        ({"patch_distance": 5}, "patch_distance is 5; allowed is None, the whole image as one window"),
        ({"sigma": -1}, "sigma is -1; allowed is one finite number >= 0"),
    ],
)
def test_where_the_bridge_does_not_hold_it_says_so(arguments, message):
    with pytest.raises(ValueError, match=message):
        nl_means_attention(np.zeros((5, 5)), h=1, **arguments)


def test_a_map_that_does_not_fit_into_memory_is_refused():
    with pytest.raises(ValueError, match=r"16512 pixels.*at most 16384.*image\[:128, :128\]"):
        nl_means_attention(np.zeros((128, 129)), h=1)


# ---- what is refused, and how ----------------------------------------------------------------------------------

IMAGE = np.zeros((5, 6))
REFUSED = [
    ({"image": [[0.0, 1.0]]}, TypeError, r"image is of type list; .*np\.asarray\(image, dtype=np\.float64\)"),
    ({"image": None}, TypeError, r"image is None \(NoneType\)"),
    ({"image": IMAGE.astype(np.uint8)}, TypeError, r"dtype uint8; allowed are float32 and float64.*float32\) / 255"),
    ({"image": IMAGE.astype(bool)}, TypeError, "dtype bool; allowed"),
    ({"image": IMAGE.astype(np.float16)}, TypeError, r"dtype float16; .*Use image\.astype\(np\.float32\)\."),
    ({"image": IMAGE.astype(complex)}, TypeError, "dtype complex128"),
    ({"image": torch.zeros(5, 6, dtype=torch.int64)}, TypeError, r"dtype int64; .*image\.to\(torch\.float32\) / 255"),
    ({"image": torch.zeros(5, 6).half()}, TypeError, r"dtype float16; .*Use image\.to\(torch\.float32\)\."),
    ({"image": torch.zeros(5, 6).bfloat16()}, TypeError, "dtype bfloat16"),
    ({"image": np.zeros(7)}, ValueError, r"1 axes, shape \(7,\); allowed is \(H, W\) or \(H, W, C\)"),
    ({"image": np.zeros((1, 3, 5, 6))}, ValueError, "4 axes.*One image at a time"),
    ({"image": np.zeros((0, 6))}, ValueError, r"empty, shape \(0, 6\)"),
    ({"image": np.zeros((5, 6, 0))}, ValueError, r"empty, shape \(5, 6, 0\)"),
    ({"image": np.array([[0, np.nan]])}, ValueError, "holds 1 NaN or infinite value among 2"),
    ({"image": torch.tensor([[np.inf, -np.inf, 0]])}, ValueError, "holds 2 NaN or infinite values among 3"),
    ({"image": torch.zeros(5, 6).requires_grad_()}, ValueError, r"requires a gradient; .*image\.detach\(\)"),
    ({"h": 0}, ValueError, "h is 0; allowed is one finite number > 0.*take a small one"),
    ({"h": -0.1}, ValueError, r"h is -0\.1; allowed is one finite number > 0, in the units of the image"),
    ({"h": np.nan}, ValueError, "h is nan"),
    ({"h": np.inf}, ValueError, "h is inf"),
    ({"h": "0.1"}, TypeError, r"h is '0\.1' \(str\)"),
    ({"h": True}, TypeError, r"h is True \(bool\)"),
    ({"h": None}, TypeError, "h is None"),
    ({"h": np.array([0.1, 0.2])}, TypeError, "h is of type ndarray; allowed is one finite number"),
    ({"h": 1j}, TypeError, r"h is 1j \(complex\)"),
    ({"sigma": -0.1}, ValueError, r"sigma is -0\.1; allowed is one finite number >= 0"),
    ({"sigma": np.inf}, ValueError, "sigma is inf"),
    ({"sigma": None}, TypeError, "sigma is None"),
    ({"patch_size": 4}, ValueError, r"patch_size is 4, which is even; .*Use 3 or 5\."),
    ({"patch_size": 0}, ValueError, "patch_size is 0; allowed is an int >= 1"),
    ({"patch_size": -3}, ValueError, "patch_size is -3; allowed"),
    ({"patch_size": 5.0}, TypeError, r"patch_size is 5\.0 \(float\); .*Use patch_size=5\."),
    ({"patch_size": 4.5}, TypeError, r"patch_size is 4\.5 \(float\); allowed is an int >= 1\.$"),
    ({"patch_size": True}, TypeError, r"patch_size is True \(bool\)"),
    ({"patch_size": (5, 5)}, TypeError, "patch_size is of type tuple"),
    ({"patch_distance": -1}, ValueError, "patch_distance is -1; allowed is an int >= 0"),
    ({"patch_distance": 2.5}, TypeError, r"patch_distance is 2\.5 \(float\)"),
    ({"patch_distance": np.bool_(True)}, TypeError, "patch_distance is"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED)
def test_what_is_refused(arguments, error, message):
    arguments = {"image": IMAGE, "h": 0.1, **arguments}
    image = arguments.pop("image")
    with pytest.raises(error, match=message) as caught:
        nl_means(image, **arguments)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    with pytest.raises(error, match=message):
        nl_weights(image, (0, 0), **arguments)


@pytest.mark.parametrize(
    ("pixel", "error", "message"),
    [
        ((5, 0), IndexError, "row 5, and the image has 5 rows and 6 columns; allowed is a row from 0 to 4"),
        ((0, 6), IndexError, r"column 6, .*\(row, column\)"),
        ((-1, 0), IndexError, "row -1"),
        ((1.0, 0), TypeError, r"row 1\.0 \(float\)"),
        ((0, True), TypeError, r"column True \(bool\)"),
        (3, TypeError, r"pixel is 3; allowed is a pair of ints, \(row, column\)"),
        ((1, 2, 3), TypeError, r"pixel is \(1, 2, 3\)"),
    ],
)
def test_pixels_that_are_refused(pixel, error, message):
    with pytest.raises(error, match=message):
        nl_weights(IMAGE, pixel, h=0.1)
    assert nl_weights(IMAGE, np.array([4, 5]), h=0.1).shape == (23, 23)


def test_patches_that_are_refused():
    with pytest.raises(ValueError, match=r"patches has 1 axes, shape \(4,\); allowed is \(N, P\), one patch per row"):
        nl_means_logits(np.zeros(4), h=1)
    with pytest.raises(ValueError, match="h is 0"):
        nl_means_logits(np.zeros((4, 9)), h=0)
    with pytest.raises(ValueError, match="patch_size is 2"):
        extract_patches(IMAGE, patch_size=2)


# ---- cost, counted -----------------------------------------------------------------------------------------------


class Cost(TorchDispatchMode):
    """Count what torch writes (`work`, in values) and what it holds at most (`peak`, in bytes)."""

    def __init__(self):
        super().__init__()
        self.work = self.held = self.peak = 0
        self.views: dict[int, int] = {}  # storage -> tensors that lie in it

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given_storages = {
            x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)
        }
        for x in tree_leaves(result):
            if not isinstance(x, torch.Tensor):
                continue
            storage, size = x.untyped_storage()._cdata, x.untyped_storage().nbytes()
            if not func.is_view:
                self.work += x.numel()
            if storage in self.views:
                self.views[storage] += 1
            elif storage not in given_storages:
                self.views[storage] = 1
                self.held += size
                self.peak = max(self.peak, self.held)
            else:
                continue  # the caller's own
            weakref.finalize(x, self._gone, storage, size)
        return result

    def _gone(self, storage: int, size: int) -> None:
        self.views[storage] -= 1
        if not self.views[storage]:
            del self.views[storage]
            self.held -= size


def cost(image, **arguments) -> Cost:
    with Cost() as counted:
        nl_means(image, h=0.1, **arguments)
    return counted


def test_the_meter_counts():
    with Cost() as counted:
        a = torch.zeros(1000)
        b = a + 1
        view = b[:10]
        assert counted.held == counted.peak == 8000
        del a, b
        assert counted.held == 4000  # the view holds the whole of b
        del view
        torch.zeros(10)
    assert counted.work == 2010 and counted.held == 0 and counted.peak == 8000


@pytest.mark.parametrize("shape", [(200, 160), (100, 80, 3), (16, 16)])
def test_memory_stays_below_twelve_copies_of_the_padded_image(shape):
    margin = 10 + 2
    padded = 4 * (shape[0] + 2 * margin) * (shape[1] + 2 * margin) * (shape[2] if len(shape) > 2 else 1)
    image = np.random.default_rng(11).random(shape).astype(np.float32)
    tracemalloc.start()
    try:
        counted = cost(image, patch_size=5, patch_distance=10)
        in_numpy = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    copies = (counted.peak + image.nbytes) / padded  # torch's, and the copy of the array
    assert 3 < copies < 12
    assert in_numpy < 12 * padded - counted.peak + 2**20  # the mode's own bookkeeping is in it


def test_memory_does_not_grow_with_the_window():
    image = torch.rand(120, 120)
    small, large = (cost(image, patch_distance=t).peak / (120 + 2 * t + 6) ** 2 for t in (4, 12))
    assert large < 1.1 * small


def test_work_is_linear_in_the_pixels_and_in_the_candidates():
    image = torch.rand(256, 200)
    whole = cost(image, patch_distance=6).work
    assert cost(image[:128], patch_distance=6).work == pytest.approx(whole / 2, rel=0.12)  # margins count too
    per_candidate = [cost(image, patch_distance=t).work / (2 * t + 1) ** 2 for t in (4, 8, 12)]
    assert max(per_candidate) < 1.2 * min(per_candidate)
    assert cost(image, patch_size=15, patch_distance=6).work < 2 * cost(image, patch_size=3, patch_distance=6).work


def test_examples_run():
    found = doctest.testmod(denoise)
    assert found.attempted > 15 and not found.failed


# ---------------------------------------------------------------- what a review found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("unit", "h"), [(1e-36, 1e-50), (1e25, 1e40), (1e-30, 1e30), (1e30, 1e-30), (1e-40, 1e-41)])
def test_no_unit_leaves_the_range_of_the_dtype(dtype, unit, h):
    image = (np.arange(9).reshape(3, 3) * unit).astype(dtype)
    denoised = nl_means(image, h=h, patch_size=1, patch_distance=1)
    weights = nl_weights(image, (1, 1), h=h, patch_size=1, patch_distance=1)
    assert np.isfinite(denoised).all() and weights.sum() == pytest.approx(1)
    if h < 1e-3 * unit:
        assert np.allclose(denoised, image, rtol=1e-6, atol=1e-6 * unit)  # nobody but the pixel itself


def test_overlapping_calls_bring_the_threads_back():
    image = np.random.default_rng(0).random((40, 40))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: nl_means(image, h=0.3, patch_size=3, patch_distance=4), range(24)))
        assert torch.get_num_threads() == 2
        assert all(np.array_equal(results[0], r) for r in results)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("dtype", "h"), [(np.float32, 1e-20), (np.float64, 1e-160)])
def test_logits_that_no_dtype_holds_are_refused(dtype, h):
    with pytest.raises(ValueError, match=r"h is .*too small for these values"):
        nl_means_attention(np.arange(9).reshape(3, 3).astype(dtype), h=h, patch_size=1)
    assert np.isfinite(nl_means_attention(np.ones((3, 3), dtype), h=h, patch_size=1)).all()


@pytest.mark.parametrize(
    ("image", "options", "error", "message"),
    [
        (np.ma.masked_greater(np.ones((4, 4)), 2), {}, TypeError, "image is a masked array"),
        (torch.ones(4, 4, device="meta"), {}, TypeError, "image is a tensor on the meta device"),
        (torch.ones(4, 4).to_sparse(), {}, TypeError, "image is a tensor of layout torch.sparse_coo"),
        (np.ones((4, 4)), {"h": 10**400}, ValueError, "h is inf"),
        (np.ones((4, 4)), {"patch_distance": 10**30}, ValueError, "patch_distance is 1000"),
        (np.ones((4, 4), complex), {}, TypeError, r"complex128; allowed are float32 and float64\.$"),
    ],
)
def test_more_that_is_refused(image, options, error, message):
    with pytest.raises(error, match=message):
        nl_means(image, **{"h": 0.1, **options})
