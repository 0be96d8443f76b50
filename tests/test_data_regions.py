"""`dnl_course.data.regions`: the pictures and the two targets are what loops over their positions find."""

from __future__ import annotations

import numpy as np
import pytest

from dnl_course.data import regions


def neighbours(row, column):
    """The positions beside, above and below one."""
    for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
        if 0 <= r < 10 and 0 <= c < 10:
            yield r, c


def test_a_picture_shows_what_is_known_about_it():
    drawn = regions.pictures(8, seed=3)
    for kind, boundary, features in zip(drawn.kind, drawn.boundary, drawn.features, strict=True):
        for row, column in np.ndindex(10, 10):
            seen = features[10 * row + column]
            assert ((seen[:3] - regions.CODES) ** 2).sum(axis=1).argmin() == kind[row, column]
            assert (seen[3] > 0.5) == boundary[row, column]
            others = {kind[place] for place in neighbours(row, column)} - {kind[row, column]}
            assert bool(others) == boundary[row, column]


def test_regions_are_the_places_that_are_nearest_to_one_of_four_points():
    points = 10 * np.random.default_rng(4).random((5, 4, 2))
    found = regions._nearest(points)
    for n, row, column in np.ndindex(5, 10, 10):
        distances = [np.hypot(row + 0.5 - point[0], column + 0.5 - point[1]) for point in points[n]]
        assert found[n, row, column] == int(np.argmin(distances))


def test_every_picture_has_four_regions_that_are_not_small_and_nothing_is_favoured():
    drawn = regions.pictures(2000, seed=5)
    sizes = np.array([[(picture == kind).sum() for kind in range(4)] for picture in drawn.kind])
    assert sizes.min() == regions.SMALLEST and (sizes.sum(axis=1) == 100).all()
    assert np.abs(sizes.mean(axis=0) - 25).max() < 1
    at_the_boundary = [{int(k) for k in kind[edge]} for kind, edge in zip(drawn.kind, drawn.boundary, strict=True)]
    assert all(kinds == {0, 1, 2, 3} for kinds in at_the_boundary)  # so that no intersection is empty


def test_codes_have_length_one_equal_angles_and_add_up_to_zero():
    gram = regions.CODES @ regions.CODES.T
    assert np.allclose(gram, np.where(np.eye(4, dtype=bool), 1, -1 / 3)) and np.allclose(regions.CODES.sum(axis=0), 0)


@pytest.mark.parametrize("target", regions.TARGETS)
def test_weights_and_answers_are_those_of_loops(target):
    drawn = regions.pictures(3, seed=6)
    weights, answers = regions.weights(target, drawn), regions.answers(target, drawn)
    assert weights.shape == (3, 100, 100) and answers.shape == (3, 100) and answers.dtype == np.float32
    for n in range(3):
        kind, edge, signal = drawn.kind[n].ravel(), drawn.boundary[n].ravel(), drawn.signal[n, :, 0].astype(float)
        for i in range(100):
            mine = [j for j in range(100) if kind[j] == kind[i]]
            if target == "union":
                all_edges = [j for j in range(100) if edge[j]]
                expected = sum(signal[j] for j in mine) / len(mine) + sum(signal[j] for j in all_edges) / len(all_edges)
                row = [(j in mine) / len(mine) + (j in all_edges) / len(all_edges) for j in range(100)]
            else:
                my_edges = [j for j in mine if edge[j]]
                expected = sum(signal[j] for j in my_edges) / len(my_edges)
                row = [(j in my_edges) / len(my_edges) for j in range(100)]
            assert answers[n, i] == pytest.approx(expected, abs=1e-6)
            assert weights[n, i] @ signal == pytest.approx(expected, abs=1e-6)
            assert weights[n, i] == pytest.approx(row)


def test_the_two_targets_differ_and_neither_is_the_mean_of_the_region():
    drawn = regions.pictures(50, seed=7)
    union, intersection = (regions.answers(target, drawn).ravel() for target in regions.TARGETS)
    assert np.corrcoef(union, intersection)[0, 1] < 0.8
    flat = drawn.kind.reshape(50, 100)
    means = [[drawn.signal[n, flat[n] == flat[n, i], 0].mean() for i in range(100)] for n in range(50)]
    region = np.array(means).ravel()
    assert max(np.corrcoef(region, union)[0, 1], np.corrcoef(region, intersection)[0, 1]) < 0.9


def test_noise_is_what_was_asked_for_and_the_signal_has_nothing_to_do_with_the_rest():
    clean, noisy = regions.pictures(400, seed=8, noise=0), regions.pictures(400, seed=8, noise=0.3)
    assert (clean.kind == noisy.kind).all() and (clean.signal == noisy.signal).all()
    assert (noisy.features - clean.features).std(axis=(0, 1)) == pytest.approx([0.3] * 4, abs=5e-3)
    assert set(np.unique(clean.features[..., 3])) == {0, 1}
    signal = noisy.signal[..., 0]
    assert abs(signal.mean()) < 0.02 and abs(signal.var() - 1) < 0.03
    neighbour = np.corrcoef(signal[:, :-1].ravel(), signal[:, 1:].ravel())[0, 1]
    cross = [np.corrcoef(signal.ravel(), noisy.features[..., c].ravel())[0, 1] for c in range(4)]
    assert np.abs([neighbour, *cross]).max() < 0.025  # five standard deviations of 40 000 draws


def test_seeds_repeat_and_generators_go_on():
    assert all((a == b).all() for a, b in zip(regions.pictures(3, 8), regions.pictures(3, 8), strict=True))
    random = np.random.default_rng(8)
    first, second = regions.pictures(3, random), regions.pictures(3, random)
    assert (first.features == regions.pictures(3, 8).features).all() and not (first.kind == second.kind).all()
    before = np.random.get_state()[1].copy()
    regions.pictures(2, 9)
    assert (np.random.get_state()[1] == before).all()


def test_shapes_dtypes_and_nothing_is_modified():
    drawn = regions.pictures(1, seed=0)
    assert [a.dtype.name for a in drawn] == ["int64", "bool", "float32", "float32"]
    assert [a.shape for a in drawn] == [(1, 10, 10), (1, 10, 10), (1, 100, 4), (1, 100, 1)]
    kept = [a.copy() for a in drawn]
    for target in regions.TARGETS:
        regions.answers(target, drawn)
    assert all((a == b).all() for a, b in zip(drawn, kept, strict=True))


@pytest.mark.parametrize(("call", "words"), [
    (lambda: regions.pictures(0, 1), "n = 0"),
    (lambda: regions.pictures(2.0, 1), "n = 2.0"),
    (lambda: regions.pictures(True, 1), "n = True"),
    (lambda: regions.pictures(2, 1, noise=-0.1), "noise = -0.1"),
    (lambda: regions.pictures(2, 1, noise=float("nan")), "noise = nan"),
    (lambda: regions.answers("sum", regions.pictures(1, 1)), "Valid names: union, intersection"),
    (lambda: regions.weights("intersections", regions.pictures(1, 1)), "did you mean 'intersection'"),
])  # fmt: skip
def test_errors_name_what_is_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()
