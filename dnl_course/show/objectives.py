"""The figure of lesson 06: drag α over the plane and watch three objectives. Which has its best at the means?

printed   first fraction + second fraction, formula (3) of the slides 000
energy    F = Σ_ij ((q_i − α)·(k_j − β))², which is smallest at the means
repaired  [Σ_imn (w_im − w_in)² + Σ_mij (w_im − w_jm)²] / Σ w², w_im = (q_i − α)·(k_m − β), largest at the means

With ipywidgets and ipympl it is a widget; without them, and wherever no kernel is alive, the same figure as a picture.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from dnl_course.show import plots
from dnl_course.show.explorer import DPI, WIDGET_VIEW, _ipympl

SIZE = (11.6, 4.9)  # inches
NAMES = {"printed": "printed O", "energy": "energy F", "repaired": "repaired R"}
GRID = 121  # values of each objective along a side of the plane


class Values(NamedTuple):
    """The three objectives, each a number or an array of the shape that α was given in (without its last axis)."""

    printed: Any
    energy: Any
    repaired: Any


def values(Q: np.ndarray, K: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> Values:
    """Return the printed objective, the energy F and the repaired objective (closed forms, derived in lesson 06).

    With d = μ_q − α, e = μ_k − β, S_q and S_k the covariances (with 1/N, 1/M) and t = tr(S_q S_k):

    - printed = (t + d·S_k d) / ((tr S_q + d·d) tr S_k) + (t + e·S_q e) / ((tr S_k + e·e) tr S_q)
    - F = N M (t + e·S_q e + d·S_k d + (d·e)²)
    - repaired = 2(N + M) − 2 N M (M e·S_q e + N d·S_k d + (N + M)(d·e)²) / F

    Parameters
    ----------
    Q, K : array_like
        Queries (N, D) and keys (M, D).
    alpha, beta : array_like
        (..., D): one point or many; the two are broadcast.

    Returns
    -------
    Values
        ``repaired`` is nan where all (q_i − α)·(k_m − β) are 0 (it is 0/0 there).

    Raises
    ------
    ValueError
        When a shape does not fit, or all queries or all keys are equal (the printed objective is then 0/0 somewhere).

    Examples
    --------
    >>> triangle = [[0, 0], [1, 0], [0, 1]]
    >>> at = values(triangle, triangle, [[1, 0], [1 / 3, 1 / 3], [0, 0]], [1 / 3, 1 / 3])
    >>> [round(float(value), 4) for value in at.printed]  # 2/3, 5/8 and 1/2, and 5/8 for β
    [1.2917, 1.25, 1.125]
    >>> [round(float(value), 4) for value in at.repaired]  # 12 = 4 N is the largest that there is
    [8.5, 12.0, 11.0]
    """
    Q, K = _cloud("Q", Q), _cloud("K", K)
    if Q.shape[1] != K.shape[1]:
        raise ValueError(f"Q {Q.shape} and K {K.shape}: queries and keys must have the same width D.")
    alpha, beta = (_point(name, point, Q.shape[1]) for name, point in (("alpha", alpha), ("beta", beta)))
    (N, _), (M, _) = Q.shape, K.shape
    d, e = Q.mean(axis=0) - alpha, K.mean(axis=0) - beta  # (..., D)
    S_q, S_k = (np.atleast_2d(np.cov(points.T, bias=True)) for points in (Q, K))  # (D, D), with 1/N and 1/M
    s_q, s_k, t = np.trace(S_q), np.trace(S_k), np.trace(S_q @ S_k)
    of_d, of_e, of_both = _square(d, S_k), _square(e, S_q), (d * e).sum(axis=-1) ** 2  # (...)
    first = (t + of_d) / ((s_q + (d**2).sum(axis=-1)) * s_k)
    second = (t + of_e) / ((s_k + (e**2).sum(axis=-1)) * s_q)
    mean_square = t + of_e + of_d + of_both  # F / (N M)
    known = np.where(mean_square > 1e-12 * s_q * s_k, mean_square, np.nan)  # the rest is rounding error: 0/0
    lost = 2 * (M * of_e + N * of_d + (N + M) * of_both) / known
    return Values(first + second, N * M * mean_square, 2 * (N + M) - lost)


class Objectives:
    """Three objectives over the plane of α, for given queries and keys in two dimensions.

    Display it (last line of a cell) to get the widget or, where there is none, the picture. In the widget α is dragged
    with the mouse in any of the three panels, and two sliders move β.

    Parameters
    ----------
    Q, K : array_like
        Queries (N, 2) and keys (M, 2).
    alpha, beta : (float, float), optional
        Where they are at the start; the means when left out.
    reach : float, optional
        Half the side of the square that is drawn around the mean of the queries.

    Attributes
    ----------
    now, at_means : Values
        The three objectives at (α, β) and at the means.

    Raises
    ------
    ValueError
        When Q or K is not (N, 2), a point is not two finite numbers, or `values` refuses the data.

    Examples
    --------
    >>> triangle = [[0, 0], [1, 0], [0, 1]]
    >>> look = Objectives(triangle, triangle, alpha=(1, 0))
    >>> look.compared("printed"), look.compared("repaired")
    ('0.042 above the means', '3.500 below the means')
    >>> look.set(alpha=(0, 0)).compared("printed")
    '0.125 below the means'
    """

    def __init__(self, Q: Any, K: Any, *, alpha: Any = None, beta: Any = None, reach: float | None = None) -> None:
        self.Q, self.K = _cloud("Q", Q), _cloud("K", K)
        for name, cloud in (("Q", self.Q), ("K", self.K)):
            if cloud.shape[1] != 2:
                raise ValueError(f"{name} has the shape {cloud.shape}: the figure is a plane, so it takes (N, 2).")
        self.mu_q, self.mu_k = self.Q.mean(axis=0), self.K.mean(axis=0)
        self.at_means = values(self.Q, self.K, self.mu_q, self.mu_k)
        farthest = np.abs(self.Q - self.mu_q).max()
        self.reach = float(reach) if reach is not None else 2.2 * float(farthest)
        if not 0 < self.reach < np.inf:
            raise ValueError(f"reach = {reach}: half the side of the plane must be a positive number.")
        self.alpha, self.beta = self.mu_q, self.mu_k
        self._widget: Any = None
        self._figure: Any = None
        self._marks: dict[str, tuple[Any, Any]] = {}
        self._held = False
        self.set(alpha=alpha, beta=beta)

    def set(self, *, alpha: Any = None, beta: Any = None) -> Objectives:
        """Move ``alpha``, ``beta`` or both, and compute again."""
        new_alpha = self.alpha if alpha is None else _point("alpha", alpha, 2, one=True)
        new_beta = self.beta if beta is None else _point("beta", beta, 2, one=True)
        planes_change = not np.array_equal(new_beta, self.beta)
        self.alpha, self.beta = new_alpha, new_beta
        self.now = values(self.Q, self.K, self.alpha, self.beta)
        if self._figure is not None and planes_change:
            self._redraw()
        elif self._figure is not None:
            self._label(self._marks)
            self._figure.canvas.draw_idle()
        return self

    @property
    def alt(self) -> str:
        """What the figure shows, in words."""
        said = ", ".join(f"{NAMES[name]} = {getattr(self.now, name):.3f} ({self.compared(name)})" for name in NAMES)
        (a1, a2), (b1, b2) = self.alpha, self.beta
        where = f"alpha = ({a1:.2f}, {a2:.2f}) and beta = ({b1:.2f}, {b2:.2f})"
        return f"Three maps over the plane of alpha, a star at the mean of the queries. At {where}: {said}."

    def compared(self, name: str) -> str:
        """Say in words how an objective (a field of `Values`) compares with its value at the means."""
        now, means = getattr(self.now, name), getattr(self.at_means, name)
        if np.isnan(now) or np.isnan(means):
            return "0/0 " + ("here" if np.isnan(now) else "at the means")
        if abs(now - means) <= 1e-9 * max(1.0, abs(means)):
            return "as at the means"
        return f"{abs(now - means):.3f} {'above' if now > means else 'below'} the means"

    def planes(self) -> tuple[np.ndarray, np.ndarray, Values]:
        """Return the grid of α, horizontal (n,) and vertical (n,), and the objectives (n, n) at the present β."""
        x, y = (np.linspace(middle - self.reach, middle + self.reach, GRID) for middle in self.mu_q)
        alphas = np.stack(np.meshgrid(x, y), axis=-1)  # (n, n, 2): row is the second coordinate
        return x, y, values(self.Q, self.K, alphas, self.beta)

    def draw(self, fig: Any) -> dict[str, tuple[Any, Any]]:
        """Draw into an empty Matplotlib figure (`SIZE` suits it) and return the dot and the title of each panel."""
        x, y, planes = self.planes()
        marks = {}
        for ax, name in zip(fig.subplots(1, 3), NAMES):
            plane = getattr(planes, name)
            ax.set_label(name)
            drawn = ax.imshow(plane, extent=(*x[[0, -1]], *y[[0, -1]]), origin="lower", cmap="cividis")
            low, high = np.nanmin(plane), np.nanmax(plane)
            if high - low <= 1e-9 * abs(high):  # constant: what is left is rounding error
                drawn.set_clim(low - 1, high + 1)
            else:
                ax.contour(x, y, plane, levels=10, colors="white", linewidths=0.8, linestyles="solid")
            ax.plot(*self.Q.T, linestyle="", marker="o", color="black", markeredgecolor="white", markersize=7)
            ax.plot(*self.mu_q, linestyle="", marker="*", color="white", markeredgecolor="black", markersize=20)
            (dot,) = ax.plot([], [], linestyle="", marker="o", color="white", markeredgecolor="black", markersize=12)
            ax.set(xlim=x[[0, -1]], ylim=y[[0, -1]], xlabel="α, first coordinate")
            marks[name] = dot, ax.set_title("")
        fig.axes[0].set_ylabel("α, second coordinate")
        self._label(marks)
        return marks

    def _label(self, marks: dict[str, tuple[Any, Any]]) -> None:
        for name, (dot, title) in marks.items():
            dot.set_data([self.alpha[0]], [self.alpha[1]])
            title.set_text(f"{NAMES[name]} = {getattr(self.now, name):.3f}\n{self.compared(name)}")

    def _redraw(self) -> None:
        self._figure.clear()
        self._figure.set_layout_engine("constrained")
        self._marks = self.draw(self._figure)
        self._figure.draw_without_rendering()
        self._figure.set_layout_engine("none")  # laid out once: a drag then draws twice as fast
        self._figure.canvas.draw_idle()

    def figure(self) -> Any:
        """Return an ordinary figure that does not answer the mouse."""
        from matplotlib.figure import Figure

        plots.use_style()
        fig = Figure(figsize=SIZE, dpi=DPI)
        self.draw(fig)
        return fig

    def widget(self) -> Any:
        """Return the widget (made once), or None without ipywidgets, ipympl or a running Jupyter kernel."""
        if self._widget is None:
            try:
                import ipywidgets
                from IPython import get_ipython

                if getattr(get_ipython(), "kernel", None) is None:
                    return None
                Canvas, FigureManager = _ipympl()
            except ImportError:
                return None
            self._widget = self._make(ipywidgets, Canvas, FigureManager)
        return self._widget

    def _make(self, ipywidgets: Any, Canvas: Any, FigureManager: Any) -> Any:
        from matplotlib.figure import Figure

        plots.use_style()
        self._figure = Figure(figsize=SIZE, dpi=DPI)
        with warnings.catch_warnings():  # ipympl 0.10 passes its toolbar's argument twice, and traitlets warns of it
            warnings.simplefilter("ignore", DeprecationWarning)
            canvas = Canvas(self._figure)  # attached to this figure alone: all other figures stay as they were
            FigureManager(canvas, 0)
        canvas.toolbar_visible = canvas.header_visible = canvas.footer_visible = canvas.resizable = False
        sliders = []
        for at, middle in enumerate(self.mu_k):
            limits = {"min": min(middle - self.reach, self.beta[at]), "max": max(middle + self.reach, self.beta[at])}
            look = {"style": {"description_width": "12em"}, "layout": {"width": "30em"}, "readout_format": ".2f"}
            name = f"β, {('first', 'second')[at]} coordinate"
            slider = ipywidgets.FloatSlider(
                value=self.beta[at], step=self.reach / 30, description=name, continuous_update=False, **limits, **look
            )
            moved = np.arange(2) == at
            slider.observe(lambda c, moved=moved: self.set(beta=np.where(moved, c["new"], self.beta)), names="value")
            sliders.append(slider)
        for name in ("button_press_event", "motion_notify_event", "button_release_event", "figure_leave_event"):
            canvas.mpl_connect(name, self._mouse)
        self._redraw()
        hint = ipywidgets.HTML("<b>Drag α (the dot)</b> over any of the planes. The star is the mean of the queries.")
        return ipywidgets.VBox([hint, ipywidgets.HBox(sliders), canvas])

    def _mouse(self, event: Any) -> None:
        if event.name != "motion_notify_event":
            self._held = event.name == "button_press_event" and event.button == 1
        if self._held and event.inaxes is not None and event.inaxes.get_label() in NAMES:
            self.set(alpha=(event.xdata, event.ydata))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = plots.bundle(self.figure(), self.alt)
        widget = self.widget()
        if widget is not None:
            data[WIDGET_VIEW] = widget._repr_mimebundle_()[WIDGET_VIEW]
        return data, metadata


def _cloud(name: str, points: Any) -> np.ndarray:
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f"{name} has the shape {points.shape}: one row for each position, (N, D).")
    _finite(name, points)
    if (points == points[0]).all():
        raise ValueError(f"all rows of {name} are equal: the printed objective is then 0/0. Give at least two points.")
    return points


def _point(name: str, point: Any, width: int, *, one: bool = False) -> np.ndarray:
    point = np.array(point, dtype=float)
    if point.ndim == 0 or point.shape[-1] != width or (one and point.shape != (width,)):
        wanted = f"({width},)" if one else f"(..., {width})"
        raise ValueError(f"{name} has the shape {point.shape}: {wanted} is needed, as wide as the queries and keys.")
    return _finite(name, point)


def _finite(name: str, numbers: np.ndarray) -> np.ndarray:
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} has entries that are not finite numbers.")
    return numbers


def _square(x: np.ndarray, S: np.ndarray) -> np.ndarray:
    return ((x @ S) * x).sum(axis=-1)  # x·S x for every x of (..., D)
