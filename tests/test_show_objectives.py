"""`dnl_course.show.objectives`: the three objectives against the sums that define them, the figure, the dragging."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from fractions import Fraction
from unittest.mock import Mock

import IPython
import numpy as np
import pytest

from dnl_course.show import plots
from dnl_course.show.explorer import WIDGET_VIEW
from dnl_course.show.objectives import NAMES, Objectives, values

TRIANGLE = [[0, 0], [1, 0], [0, 1]]
CROSS = [[0, 0], [2, 0]], [[1, 3], [1, 7]]  # the queries differ along one axis, the keys along the other
SQUARE = [[1, 0], [-1, 0], [0, 1], [0, -1]]


def dot(x, y):
    return sum(a * b for a, b in zip(x, y))


def minus(x, y):
    return [a - b for a, b in zip(x, y)]


def fraction(Q, K, alpha, beta):
    """One fraction of formula (3), as it is printed: sums over all i, m, n."""
    weights = [[dot(minus(q, alpha), minus(k, beta)) for k in K] for q in Q]
    above = sum((row[m] - row[n]) ** 2 for row in weights for m in range(len(K)) for n in range(len(K)))
    energy = sum(dot(minus(q, alpha), minus(q, alpha)) for q in Q)
    return above / (energy * sum(dot(minus(k, other), minus(k, other)) for k in K for other in K))


def by_definition(Q, K, alpha, beta):
    """The three objectives as sums of Fractions: (printed, energy, repaired)."""
    Q, K, alpha, beta = (np.vectorize(Fraction, otypes=[object])(x).tolist() for x in (Q, K, alpha, beta))
    w = [[dot(minus(q, alpha), minus(k, beta)) for k in K] for q in Q]
    energy = sum(x**2 for row in w for x in row)
    along = sum((x - y) ** 2 for row in w for x in row for y in row)
    across = sum((x - y) ** 2 for column in zip(*w) for x in column for y in column)
    return fraction(Q, K, alpha, beta) + fraction(K, Q, beta, alpha), energy, (along + across) / energy


def random_problem(seed, N, M, D):
    numbers = np.random.default_rng(seed)
    return [numbers.integers(-6, 7, size).astype(float) for size in ((N, D), (M, D), (D,), (D,))]


@pytest.mark.parametrize(("seed", "N", "M", "D"), [(0, 3, 5, 2), (1, 4, 3, 3), (2, 6, 2, 1), (3, 2, 7, 5), (4, 3, 3, 2)])
def test_the_closed_forms_equal_the_sums_that_define_them(seed, N, M, D):
    Q, K, alpha, beta = random_problem(seed, N, M, D)
    expected = [float(value) for value in by_definition(Q, K, alpha, beta)]
    assert values(Q, K, alpha, beta) == pytest.approx(expected, rel=1e-12)
    shifted = Q + 1000, K - 3000, alpha + 1000, beta - 3000  # the objectives know differences only
    assert values(*shifted) == pytest.approx(expected, rel=1e-8)


def test_many_points_are_computed_at_once_and_nothing_is_modified():
    Q, K, _, beta = random_problem(5, 4, 3, 2)
    alphas = np.random.default_rng(6).normal(size=(5, 7, 2))
    kept = [x.copy() for x in (Q, K, alphas, beta)]
    many = values(Q, K, alphas, beta)
    assert many.printed.shape == many.energy.shape == many.repaired.shape == (5, 7)
    for at in [(0, 0), (4, 6), (2, 3)]:
        assert [plane[at] for plane in many] == pytest.approx([float(x) for x in by_definition(Q, K, alphas[at], beta)])
    assert all(np.array_equal(x, y) for x, y in zip(kept, (Q, K, alphas, beta)))


def test_the_triangle_of_the_lesson():
    third = [1 / 3, 1 / 3]
    for point, exact in ((third, 5 / 4), ([1, 0], 4 / 3), ([0, 0], 1)):
        assert values(TRIANGLE, TRIANGLE, point, point).printed == pytest.approx(exact)
    assert by_definition(TRIANGLE, TRIANGLE, [1, 0], [1, 0])[0] == Fraction(4, 3)
    at_means = values(TRIANGLE, TRIANGLE, third, third)
    plane = values(TRIANGLE, TRIANGLE, np.random.default_rng(0).normal(0, 2, (500, 2)), third)
    assert plane.printed.min() < at_means.printed < plane.printed.max() < 3 / 4 + 5 / 8
    assert plane.energy.min() > at_means.energy and plane.repaired.max() < at_means.repaired


def test_where_the_repaired_objective_is_0_over_0_it_is_nan():
    Q, K = CROSS
    found = values(Q, K, [1, 0], [1, 5])
    assert found.printed == pytest.approx(0) and found.energy == pytest.approx(0) and np.isnan(found.repaired)
    turned = np.array([[0.6, -0.8], [0.8, 0.6]])  # the same with rounding errors
    assert np.isnan(values(Q @ turned, K @ turned, [1, 0] @ turned, [1, 5] @ turned).repaired)
    assert not np.isnan(values(Q, K, [1, 1], [1, 5]).repaired)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 2]] * 3, TRIANGLE, [0, 0], [0, 0]), "all rows of Q are equal"),
        ((TRIANGLE, [[1, 2]] * 3, [0, 0], [0, 0]), "all rows of K are equal"),
        (([1, 2], TRIANGLE, [0, 0], [0, 0]), r"Q has the shape \(2,\)"),
        ((TRIANGLE, [[1, 2, 3], [0, 0, 0]], [0, 0], [0, 0]), "same width"),
        ((TRIANGLE, TRIANGLE, [0, 0, 0], [0, 0]), r"alpha has the shape \(3,\)"),
        ((TRIANGLE, TRIANGLE, [0, 0], 1), r"beta has the shape \(\)"),
        ((TRIANGLE, TRIANGLE, [0, np.inf], [0, 0]), "alpha has entries that are not finite"),
        (([[0, 0], [np.nan, 0]], TRIANGLE, [0, 0], [0, 0]), "Q has entries that are not finite"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        values(*arguments)


# ---------------------------------------------------------------- the figure


def test_it_starts_at_the_means_and_says_so():
    look = Objectives(TRIANGLE, SQUARE)
    assert look.alpha == pytest.approx([1 / 3, 1 / 3]) and look.beta == pytest.approx([0, 0])
    assert {look.compared(name) for name in NAMES} == {"as at the means"}
    assert "alpha = (0.33, 0.33) and beta = (0.00, 0.00)" in look.alt


def test_words_say_above_below_and_undefined():
    look = Objectives(TRIANGLE, TRIANGLE, alpha=(1, 0))
    assert [look.compared(name) for name in NAMES] == [
        "0.042 above the means", "1.556 above the means", "3.500 below the means"
    ]  # fmt: skip
    look.set(alpha=(0, 0), beta=(0, 0))
    assert look.now.printed == pytest.approx(1) and look.compared("printed") == "0.250 below the means"
    assert Objectives(*CROSS).compared("repaired") == "0/0 here"
    assert Objectives(*CROSS, alpha=(1, 1)).compared("repaired") == "0/0 at the means"
    assert Objectives(*CROSS, alpha=(1, 1)).compared("printed") == "0.500 above the means"


def test_the_planes_hold_the_objectives_at_their_coordinates():
    low = [[0, 0], [1, -5], [2, 2]]  # mean (1, -1)
    look = Objectives(low, SQUARE, beta=(0.5, -1), reach=3)
    x, y, planes = look.planes()
    assert (x[0], x[-1], y[0], y[-1]) == pytest.approx((-2, 4, -4, 2))
    for column, row in ((0, 120), (17, 90), (60, 60)):
        expected = by_definition(low, SQUARE, [x[column], y[row]], [0.5, -1])
        assert [plane[row, column] for plane in planes] == pytest.approx([float(value) for value in expected])


def test_the_picture_shows_the_planes_the_right_way_up():
    look = Objectives(TRIANGLE, TRIANGLE, alpha=(1, 0))
    fig = look.figure()
    assert [ax.get_label() for ax in fig.axes] == list(NAMES)
    for ax, plane in zip(fig.axes, look.planes()[2]):
        (drawn,) = ax.get_images()
        assert np.array_equal(drawn.get_array(), plane) and drawn.origin == "lower"
        assert drawn.get_extent() == pytest.approx([*ax.get_xlim(), *ax.get_ylim()])
        dots = [line.get_xydata().tolist() for line in ax.lines]
        assert dots[0] == TRIANGLE and dots[1] == [pytest.approx([1 / 3, 1 / 3])] and dots[2] == [[1, 0]]
    assert fig.axes[0].get_title() == "printed O = 1.292\n0.042 above the means"


def test_a_constant_plane_is_drawn_without_lines_that_are_rounding_errors():
    fig = Objectives(SQUARE, SQUARE).figure()  # equal variances in all directions: O = 1 everywhere
    printed, energy, _ = fig.axes
    assert [len(ax.collections) for ax in (printed, energy)] == [0, 1]
    assert printed.get_images()[0].get_clim() == pytest.approx((0, 2))


def test_planes_that_are_partly_undefined_are_drawn():
    assert len(plots.png(Objectives(*CROSS, alpha=(1, 1), reach=2).figure())) > 5000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": (1, 2, 3)}, r"alpha has the shape \(3,\): \(2,\) is needed"),
        ({"beta": [[0, 0]]}, r"beta has the shape \(1, 2\): \(2,\) is needed"),
        ({"alpha": (np.nan, 0)}, "not finite"),
        ({"reach": 0}, "reach = 0"),
    ],
)
def test_a_wrong_option_is_refused_and_changes_nothing(options, message):
    with pytest.raises(ValueError, match=message):
        Objectives(TRIANGLE, TRIANGLE, **options)
    if "reach" not in options:
        look = Objectives(TRIANGLE, TRIANGLE, alpha=(1, 0), beta=(0, 1))
        before = look.now
        with pytest.raises(ValueError, match=message):
            look.set(**options)
        assert look.alpha.tolist() == [1, 0] and look.beta.tolist() == [0, 1] and look.now is before


def test_it_is_a_plane_and_keeps_its_own_copy_of_a_point():
    with pytest.raises(ValueError, match=r"K has the shape \(2, 3\): the figure is a plane"):
        Objectives(TRIANGLE, [[0, 0, 0], [1, 1, 1]])
    point = np.array([1.0, 0.0])
    look = Objectives(TRIANGLE, TRIANGLE, alpha=point)
    point[:] = 7
    assert look.alpha.tolist() == [1, 0]


@pytest.mark.parametrize("missing", [None, "ipympl.backend_nbagg", "ipywidgets"])
def test_without_widgets_there_is_a_picture_with_alt_text(monkeypatch, missing):
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
        monkeypatch.setattr(IPython, "get_ipython", lambda: Mock())
    look = Objectives(TRIANGLE, TRIANGLE, alpha=(1, 0))
    assert look.widget() is None
    data, metadata = look._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}
    assert metadata == {"image/png": {"alt": look.alt}} and data["text/plain"] == look.alt


# ---------------------------------------------------------------- the widget


@pytest.fixture
def with_widget(monkeypatch):
    """The figure in what it takes for a kernel, and its widget."""
    if importlib.util.find_spec("ipympl") is None:  # importing it here would change the backend
        pytest.skip("ipympl is not installed")
    look = Objectives(TRIANGLE, TRIANGLE, alpha=(1, 0))
    monkeypatch.setattr(IPython, "get_ipython", lambda: Mock())
    return look, look.widget()


def mouse(canvas, name, x, y, *, panel="printed", button=1):
    """Let the mouse do something at (x, y) of a panel."""
    from matplotlib.backend_bases import MouseEvent

    ax = next(ax for ax in canvas.figure.axes if ax.get_label() == panel)
    canvas.callbacks.process(name, MouseEvent(name, canvas, *ax.transData.transform((x, y)), button))


def test_the_output_carries_both_the_widget_and_the_picture(with_widget):
    import matplotlib.pyplot as plt

    look, widget = with_widget
    data, metadata = look._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain", WIDGET_VIEW}
    assert data[WIDGET_VIEW]["model_id"] == widget.model_id and metadata["image/png"]["alt"] == look.alt
    assert "ipympl" not in plt.get_backend() and plt.get_fignums() == []  # other figures are left alone


def test_alpha_follows_the_mouse_while_the_button_is_held(with_widget):
    look, widget = with_widget
    canvas = widget.children[-1]
    mouse(canvas, "motion_notify_event", 0.8, 0.8)
    assert look.alpha.tolist() == [1, 0]  # nothing is held yet
    mouse(canvas, "button_press_event", 0, 1)
    assert look.alpha == pytest.approx([0, 1])
    mouse(canvas, "motion_notify_event", -0.5, 1.25, panel="energy")
    assert look.alpha == pytest.approx([-0.5, 1.25])
    expected = by_definition(TRIANGLE, TRIANGLE, look.alpha, look.beta)
    assert look.now == pytest.approx([float(value) for value in expected])
    for ax in canvas.figure.axes:
        assert ax.lines[-1].get_xydata() == pytest.approx(np.array([[-0.5, 1.25]]))
        assert ax.get_title() == f"{NAMES[ax.get_label()]} = {getattr(look.now, ax.get_label()):.3f}\n{look.compared(ax.get_label())}"
    mouse(canvas, "motion_notify_event", 50, 50)  # outside the panels
    assert look.alpha == pytest.approx([-0.5, 1.25])
    mouse(canvas, "button_release_event", 0, 0)
    mouse(canvas, "motion_notify_event", 0.8, 0.8)
    assert look.alpha == pytest.approx([-0.5, 1.25])


@pytest.mark.parametrize(("name", "button"), [("figure_leave_event", 1), ("button_press_event", 3)])
def test_leaving_the_figure_lets_go_and_other_buttons_do_nothing(with_widget, name, button):
    look, widget = with_widget
    canvas = widget.children[-1]
    mouse(canvas, "button_press_event", 0, 1)
    mouse(canvas, name, 0.5, 0.5, button=button)
    mouse(canvas, "motion_notify_event", 0.8, 0.8)
    assert look.alpha == pytest.approx([0, 1])


def test_the_sliders_move_beta_and_the_planes_follow(with_widget):
    look, widget = with_widget
    canvas = widget.children[-1]
    first, second = widget.children[1].children
    assert (first.value, second.value) == pytest.approx((1 / 3, 1 / 3))
    first.value = 0.8
    assert look.beta == pytest.approx([0.8, 1 / 3], abs=look.reach / 30)
    second.value = -0.5
    assert look.beta == pytest.approx([0.8, -0.5], abs=look.reach / 30) and look.alpha.tolist() == [1, 0]
    for ax, plane in zip(canvas.figure.axes, look.planes()[2]):
        assert np.array_equal(ax.get_images()[0].get_array(), plane)
    assert [float(x) for x in look.now] == pytest.approx(
        [float(x) for x in by_definition(TRIANGLE, TRIANGLE, look.alpha, look.beta)]
    )
    mouse(canvas, "button_press_event", 0, 1)  # the new panels answer the mouse too
    assert look.alpha == pytest.approx([0, 1])


def test_showing_the_picture_does_not_take_the_marks_from_the_widget(with_widget):
    look, widget = with_widget
    look.figure()
    look.set(alpha=(0.5, 0.5))
    for ax in widget.children[-1].figure.axes:
        assert ax.lines[-1].get_xydata().tolist() == [[0.5, 0.5]]


def test_importing_draws_and_loads_nothing():
    code = (
        "import sys, dnl_course.show.objectives\n"
        "print(sorted({'matplotlib', 'IPython', 'ipywidgets', 'sympy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
