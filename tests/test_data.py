"""`dnl_course.data`: the photographs, their credits and their noise."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import skimage.color
import skimage.data
import skimage.transform

from dnl_course.data import photographs
from dnl_course.data.photographs import CREDITS, add_noise, names, photograph


def test_doctests():
    assert doctest.testmod(photographs).failed == 0


@pytest.fixture
def offline(monkeypatch):
    """Let scikit-image find only what its wheel holds: no cache, no download."""
    from skimage.data import _fetchers

    monkeypatch.setattr(_fetchers, "_image_fetcher", None)


@pytest.mark.parametrize("name", names())
def test_ships_in_the_wheel_as_float64_between_0_and_1(name, offline):
    grey, colour = photograph(name), photograph(name, colour=True)
    assert grey.ndim == 2 and colour.shape == (*grey.shape, 3)
    for image in (grey, colour):
        assert image.dtype == np.float64 and image.flags.c_contiguous and image.flags.owndata
        assert 0 <= image.min() < image.max() <= 1 + 1e-12


def test_every_photograph_has_a_credit_and_a_licence_that_allows_showing_it():
    assert tuple(sorted(CREDITS)) == names()
    for credit in CREDITS.values():
        assert all(credit)
        assert credit.licence in {"CC0 1.0", "public domain", "no known copyright restrictions"}


def test_values_are_those_of_scikit_image():
    assert np.allclose(photograph("camera"), skimage.data.camera() / 255, rtol=0, atol=1e-15)
    assert np.allclose(photograph("chelsea"), skimage.color.rgb2gray(skimage.data.chelsea()), rtol=0, atol=1e-12)


def test_a_second_call_is_not_changed_by_what_was_done_to_the_first():
    photograph("camera")[:] = 0
    assert photograph("camera").max() > 0.9


def test_averaging_down_by_a_whole_factor_is_the_mean_of_blocks():
    expected = skimage.transform.downscale_local_mean(photograph("camera"), (4, 2))
    assert np.allclose(photograph("camera", size=(128, 256)), expected, rtol=0, atol=1e-12)


def test_averaging_down_by_any_factor_weighs_each_old_pixel_by_the_area_that_is_covered():
    image = photograph("coffee", crop=(10, 20, 5, 7))
    down = photograph("coffee", crop=(10, 20, 5, 7), size=(3, 2))
    cover = [
        np.array([[max(0, min((a + 1) * n / m, b + 1) - max(a * n / m, b)) for b in range(n)] for a in range(m)])
        * m
        / n
        for m, n in ((3, 5), (2, 7))
    ]  # (3, 5) and (2, 7), rows sum to 1
    assert np.allclose(down, cover[0] @ image @ cover[1].T, rtol=0, atol=1e-12)
    assert down.mean() == pytest.approx(image.mean(), abs=1e-12)


def test_crop_comes_before_size_and_works_in_colour():
    whole = photograph("astronaut", colour=True)
    part = photograph("astronaut", crop=(30, 40, 64, 32), size=(32, 16), colour=True)
    assert part.shape == (32, 16, 3)
    assert np.allclose(part[0, 0], whole[30:32, 40:42].mean((0, 1)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "camra"}, r"'camra' \(did you mean 'camera'\?\)\. Valid names: astronaut, .*text"),
        ({"name": "lena"}, "Valid names: astronaut"),
        ({"name": "camera", "size": 513}, "never enlarged"),
        ({"name": "camera", "size": (0, 10)}, r"size \(height, width\) = \(0, 10\)"),
        ({"name": "camera", "crop": (500, 0, 20, 20)}, "512 rows and 512 columns"),
        ({"name": "camera", "crop": (-1, 0, 20, 20)}, "does not fit"),
        ({"name": "camera", "crop": (0, 0, 0, 20)}, "does not fit"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(arguments, message):
    with pytest.raises(ValueError, match=message):
        photograph(**arguments)


def test_noise_is_gaussian_and_not_clipped():
    image = np.zeros((300, 300))
    noise = add_noise(image, 0.1, seed=5)
    assert abs(noise.mean()) < 0.001 and abs(noise.std() - 0.1) < 0.001
    assert noise.min() < -0.3 and abs((np.abs(noise) < 0.1).mean() - 0.6827) < 0.005
    assert not image.any()


def test_noise_depends_on_its_seed_alone():
    image = photograph("camera", size=32)
    before = np.random.get_state()[1].copy()
    first = add_noise(image, 0.2, seed=1)
    assert np.array_equal(np.random.get_state()[1], before)
    np.random.seed(3)
    assert np.array_equal(add_noise(image, 0.2, seed=1), first)
    assert not np.array_equal(add_noise(image, 0.2, seed=2), first)
    assert np.allclose(add_noise(image, 0.4, seed=1) - image, 2 * (first - image), rtol=0, atol=1e-12)
    assert np.array_equal(add_noise(image, 0.0, seed=1), image)


@pytest.mark.parametrize("sigma", [-0.1, np.nan, np.inf])
def test_noise_needs_a_standard_deviation(sigma):
    with pytest.raises(ValueError, match="at least 0"):
        add_noise(np.zeros((2, 2)), sigma, seed=0)
