"""`dnl_course.data.cues`: the pictures are what they say they are, read back from their pixels."""

from __future__ import annotations

import numpy as np
import pytest

from dnl_course.data import cues

KINDS = np.array(list(cues.COLOURS.values()))  # (4, 3)


def cells_of(image):
    """One picture (3, 48, 48) as cells (8, 8, 6, 6, 3)."""
    return np.array([[image[:, 6 * r : 6 * r + 6, 6 * c : 6 * c + 6].transpose(1, 2, 0) for c in range(8)] for r in range(8)])


def read(image):
    """Read a picture with our own eyes: {colour: (row, column, corner)} of marked cells, and all colours (8, 8)."""
    marked, colours = {}, np.empty((8, 8), int)
    for row, column in np.ndindex(8, 8):
        cell = cells_of(image)[row, column]  # (6, 6, 3)
        white = cell.min(axis=2) > 0.85  # (6, 6)
        rim = np.concatenate([white[0], white[-1], white[1:-1, 0], white[1:-1, -1]])
        colours[row, column] = ((cell[~white].mean(axis=0) - KINDS) ** 2).sum(axis=1).argmin()
        if rim.all():
            inside = white[1:-1, 1:-1]  # (4, 4)
            corners = [inside[:2, :2], inside[:2, 2:], inside[2:, :2], inside[2:, 2:]]
            assert [c.mean() for c in corners].count(1.0) == 1 and inside.sum() == 4
            assert colours[row, column] not in marked
            marked[int(colours[row, column])] = (row, column, [c.mean() for c in corners].index(1.0))
        else:
            assert not rim.any()
    return marked, colours


def test_a_picture_shows_what_is_known_about_it():
    drawn = cues.pictures(12, seed=3, noise=0.02)
    for n, image in enumerate(drawn.images):
        marked, colours = read(image)
        assert sorted(marked) == [0, 1, 2, 3]
        assert (colours == drawn.colour[n]).all()
        for kind, (row, column, corner) in marked.items():
            assert 8 * row + column == drawn.marked[n, kind] and corner == drawn.corner[n, kind]


@pytest.mark.parametrize("question", cues.QUESTIONS)
def test_answers_and_targets_are_those_of_a_loop_over_what_the_eye_sees(question):
    drawn = cues.pictures(9, seed=4, noise=0.02)
    right, places = cues.answers(question, drawn), cues.targets(question, drawn)
    assert right.shape == (9, 8, 8) and places.shape == (9, 64)
    for n, image in enumerate(drawn.images):
        marked, colours = read(image)
        for row, column in np.ndindex(8, 8):
            asked = 0 if question == "image_cue" else colours[row, column]
            assert right[n, row, column] == marked[asked][2]
            assert places[n, 8 * row + column] == 8 * marked[asked][0] + marked[asked][1]


def test_one_place_for_all_or_one_for_each_colour():
    drawn = cues.pictures(50, seed=5)
    assert {len(np.unique(row)) for row in cues.targets("image_cue", drawn)} == {1}
    assert {len(np.unique(row)) for row in cues.targets("per_pixel", drawn)} == {4}
    red = drawn.colour == 0
    assert (cues.answers("image_cue", drawn)[red] == cues.answers("per_pixel", drawn)[red]).all()


def test_nothing_is_favoured():
    drawn = cues.pictures(4000, seed=6)
    assert np.abs(np.bincount(drawn.corner.ravel(), minlength=4) / drawn.corner.size - 1 / 4).max() < 0.02
    assert np.abs(np.bincount(drawn.colour.ravel(), minlength=4) / drawn.colour.size - 1 / 4).max() < 0.01
    for kind in range(4):
        assert np.bincount(drawn.marked[:, kind], minlength=64).min() > 30  # 62.5 expected


def test_noise_is_what_was_asked_for_and_is_not_clipped():
    clean, noisy = cues.pictures(40, seed=7, noise=0), cues.pictures(40, seed=7, noise=0.05)
    difference = noisy.images - clean.images
    assert abs(difference.std() - 0.05) < 1e-3 and abs(difference.mean()) < 1e-3
    assert noisy.images.max() > 1.1 and noisy.images.min() < 0
    assert {tuple(pixel) for pixel in clean.images[0].reshape(3, -1).T.round(6).tolist()} == {
        tuple(colour) for colour in np.vstack([KINDS, np.ones((1, 3))]).astype(np.float32).round(6).tolist()
    }


def test_seeds_repeat_and_generators_go_on():
    assert all((a == b).all() for a, b in zip(cues.pictures(3, 8), cues.pictures(3, 8), strict=True))
    random = np.random.default_rng(8)
    first, second = cues.pictures(3, random), cues.pictures(3, random)
    assert (first.images == cues.pictures(3, 8).images).all() and not (first.colour == second.colour).all()
    before = np.random.get_state()[1].copy()
    cues.pictures(2, 9)
    assert (np.random.get_state()[1] == before).all()


def test_shapes_and_dtypes():
    drawn = cues.pictures(1, seed=0)
    assert [a.dtype.name for a in drawn] == ["float32", "int64", "int64", "int64"]
    assert [a.shape for a in drawn] == [(1, 3, 48, 48), (1, 8, 8), (1, 4), (1, 4)]


def test_colours_differ_in_grey_too():
    grey = KINDS @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(grey) > 0.05).all() and grey.max() < 0.8


@pytest.mark.parametrize(("call", "words"), [
    (lambda: cues.pictures(0, 1), "n = 0"),
    (lambda: cues.pictures(2.0, 1), "n = 2.0"),
    (lambda: cues.pictures(True, 1), "n = True"),
    (lambda: cues.pictures(2, 1, noise=-0.1), "noise = -0.1"),
    (lambda: cues.pictures(2, 1, noise=float("nan")), "noise = nan"),
    (lambda: cues.answers("pixel", cues.pictures(1, 1)), "Valid names: image_cue, per_pixel"),
    (lambda: cues.targets("imagecue", cues.pictures(1, 1)), "did you mean 'image_cue'"),
])  # fmt: skip
def test_errors_name_what_is_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()
