"""The explorer of lesson 01: click a pixel of a noisy photograph and see which pixels its average is made of.

With ipywidgets and ipympl it is a widget (a click chooses the pixel, sliders the parameters); without them, and
wherever no kernel is alive, it is the same figure as a picture with alt text. Only the chosen pixel is computed.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from dnl_course import denoise
from dnl_course.show import plots

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
SIZE = (11.6, 4.3)  # inches; at DPI it fits beside the file browser of a small laptop
DPI = 74


def effective_pixels(weights: np.ndarray) -> float:
    """Return how many pixels an average really uses: exp of the entropy of its weights (which sum to 1).

    1 when a single pixel has all the weight, n when n pixels share it equally.

    Examples
    --------
    >>> float(effective_pixels(np.array([[1.0, 0.0], [0.0, 0.0]])))
    1.0
    >>> round(float(effective_pixels(np.full((2, 2), 0.25))), 6)
    4.0
    """
    used = np.asarray(weights)[np.asarray(weights) > 0]
    return np.exp(-(used * np.log(used)).sum())


class Explorer:
    """Non-local means at one pixel, to look at.

    Display it (last line of a cell) to get the widget or, where there is none, the picture.

    Parameters
    ----------
    noisy : numpy.ndarray
        Grey photograph (H, W).
    clean : numpy.ndarray, optional
        The same photograph without noise, shown for comparison only.
    pixel : (int, int), optional
        (row, column) at the start; the middle when left out.
    h, sigma, patch_size, patch_distance
        As in `dnl_course.denoise.nl_means`; what the sliders start from.
    log : bool
        Weight map on a logarithmic scale.

    Attributes
    ----------
    weights : numpy.ndarray
        (2·patch_distance + 1, 2·patch_distance + 1), sums to 1: `dnl_course.denoise.nl_weights` of the pixel.
    patches : dict of str to numpy.ndarray
        The patch of the pixel: "noisy", "denoised" and, if known, "clean". The denoised patch is the average of
        whole patches with the pixel's weights; its middle is the value that `nl_means` gives the pixel.
    effective : float
        `effective_pixels` of the weights.

    Examples
    --------
    >>> noisy = np.random.default_rng(0).normal(0.5, 0.1, (30, 30))
    >>> look = Explorer(noisy, h=0.1, patch_size=3, patch_distance=4)
    >>> look.weights.shape, round(float(look.weights.sum()), 9)
    ((9, 9), 1.0)
    >>> look.set(pixel=(3, 4), patch_size=5).pixel
    (3, 4)
    """

    def __init__(
        self,
        noisy: np.ndarray,
        clean: np.ndarray | None = None,
        *,
        pixel: tuple[int, int] | None = None,
        h: float,
        sigma: float = 0.0,
        patch_size: int = 7,
        patch_distance: int = 11,
        log: bool = True,
    ) -> None:
        self.noisy = np.asarray(noisy)
        if self.noisy.ndim != 2:
            raise ValueError(f"noisy has the shape {self.noisy.shape}: the explorer takes a grey photograph (H, W).")
        self.clean = None if clean is None else np.asarray(clean)
        if self.clean is not None and self.clean.shape != self.noisy.shape:
            raise ValueError(f"clean {self.clean.shape} and noisy {self.noisy.shape} must have the same shape.")
        self.pixel = (self.noisy.shape[0] // 2, self.noisy.shape[1] // 2)
        self.h, self.sigma, self.patch_size, self.patch_distance, self.log = h, sigma, patch_size, patch_distance, log
        self._widget: Any = None
        self._figure: Any = None
        self.set(pixel=pixel)

    def set(self, **changes: Any) -> Explorer:
        """Change ``pixel``, ``h``, ``sigma``, ``patch_size``, ``patch_distance`` or ``log``, and compute again."""
        known = {"pixel", "h", "sigma", "patch_size", "patch_distance", "log"}
        if unknown := set(changes) - known:
            raise TypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(sorted(known))}.")
        wanted = {name: getattr(self, name) for name in known}
        wanted.update({name: value for name, value in changes.items() if value is not None})
        row, column = (int(number) for number in wanted["pixel"])
        wanted["pixel"] = (row, column)
        weights = denoise.nl_weights(
            self.noisy,
            (row, column),
            h=wanted["h"],
            sigma=wanted["sigma"],
            patch_size=wanted["patch_size"],
            patch_distance=wanted["patch_distance"],
        )  # (2t+1, 2t+1); refuses wrong values, so nothing has changed yet if it raises
        for name, value in wanted.items():
            setattr(self, name, value)
        self.weights, self.effective = weights, float(effective_pixels(weights))
        p, t = self.patch_size, self.patch_distance
        near = _around(self.noisy, self.pixel, p // 2 + t)  # (2t+p, 2t+p)
        patches = np.lib.stride_tricks.sliding_window_view(near, (p, p))  # (2t+1, 2t+1, p, p)
        self.patches = {"noisy": patches[t, t], "denoised": np.einsum("ij,ijkl->kl", weights, patches)}  # (p, p) each
        if self.clean is not None:
            self.patches["clean"] = _around(self.clean, self.pixel, p // 2)
        if self._figure is not None:
            self._draw()
        return self

    @property
    def alt(self) -> str:
        """What the figure shows, in words."""
        side = 2 * self.patch_distance + 1
        return (
            f"Explorer of non-local means at row {self.pixel[0]}, column {self.pixel[1]}: the noisy photograph with "
            f"its {side} by {side} window, the weight map, and the {self.patch_size} by {self.patch_size} patch. "
            f"h = {self.h:.3g}. The average uses {self.effective:.0f} effective pixels of {side * side}."
        )

    def draw(self, fig: Any) -> Any:
        """Draw the explorer into an empty Matplotlib figure (`SIZE` suits it) and return the figure."""
        side, radius = 2 * self.patch_distance + 1, self.patch_distance
        names = list(self.patches)
        grid = fig.add_gridspec(len(names), 4, width_ratios=[1.3, 1, 1.3, 0.45])
        fig.get_layout_engine().set(w_pad=0.1)
        photo = fig.add_subplot(grid[:, 0])
        plots.draw_image(photo, self.noisy, "noisy photograph")
        plots.outline(photo, self.pixel, radius, width=1.2)
        photo.set_label("photograph")
        photo.set_xlabel(f"row {self.pixel[0]}, column {self.pixel[1]}")
        zoom = fig.add_subplot(grid[:, 1])
        plots.overlay_weights(
            zoom, self.noisy, self.pixel, self.weights, "where weights lie", patch_size=self.patch_size, margin=2
        )
        zoom.set_xlabel("bright: heavy")
        ax = fig.add_subplot(grid[:, 2])
        drawn = plots.draw_weights(ax, self.weights, f"uses {self.effective:.0f} of {side * side} pixels", log=self.log)
        fig.colorbar(drawn, ax=ax, shrink=0.7, label="log₁₀ of the weight" if self.log else "weight")
        for at, name in enumerate(names):
            plots.draw_image(fig.add_subplot(grid[at, 3]), self.patches[name], name)
        return fig

    def _draw(self) -> None:
        self._figure.clear()
        self.draw(self._figure)
        self._figure.canvas.draw_idle()

    def figure(self) -> Any:
        """Return the explorer as an ordinary figure that does not answer clicks."""
        from matplotlib.figure import Figure

        plots.use_style()
        return self.draw(Figure(figsize=SIZE, dpi=DPI))

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
        wide = {"style": {"description_width": "9em"}, "layout": {"width": "28em"}, "continuous_update": False}
        limit = max(0.4, 2 * float(self.h))
        sliders = {
            "h": ipywidgets.FloatSlider(
                value=self.h,
                min=0.01,
                max=limit,
                step=0.01,
                description="h (grey levels)",
                readout_format=".2f",
                **wide,
            ),
            "patch_size": ipywidgets.IntSlider(
                value=self.patch_size, min=1, max=max(15, self.patch_size), step=2, description="patch size", **wide
            ),
            "patch_distance": ipywidgets.IntSlider(
                value=self.patch_distance, min=1, max=max(25, self.patch_distance), description="patch distance", **wide
            ),
            "log": ipywidgets.Checkbox(value=self.log, description="logarithmic weights", indent=False),
        }
        for name, slider in sliders.items():
            slider.observe(lambda change, name=name: self.set(**{name: change["new"]}), names="value")
        canvas.mpl_connect("button_press_event", self._clicked)
        self._draw()
        hint = ipywidgets.HTML("<b>Click a pixel of the photograph.</b> The sliders change how its average is made.")
        left, right = [sliders["h"], sliders["patch_size"]], [sliders["patch_distance"], sliders["log"]]
        rows = ipywidgets.HBox([ipywidgets.VBox(left), ipywidgets.VBox(right)])
        return ipywidgets.VBox([hint, rows, canvas])

    def _clicked(self, event: Any) -> None:
        if event.inaxes is not None and event.inaxes.get_label() == "photograph":
            row, column = round(event.ydata), round(event.xdata)
            if 0 <= row < self.noisy.shape[0] and 0 <= column < self.noisy.shape[1]:
                self.set(pixel=(row, column))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = plots.bundle(self.figure(), self.alt)
        widget = self.widget()
        if widget is not None:
            data[WIDGET_VIEW] = widget._repr_mimebundle_()[WIDGET_VIEW]
        return data, metadata


def _ipympl() -> tuple[Any, Any]:
    """Return ipympl's canvas and manager; importing them makes ipympl everybody's backend, which we take back."""
    import matplotlib

    before = matplotlib.get_backend()
    from ipympl.backend_nbagg import Canvas, FigureManager

    if matplotlib.get_backend() != before:
        matplotlib.use(before)
    return Canvas, FigureManager


def _around(image: np.ndarray, pixel: tuple[int, int], radius: int) -> np.ndarray:
    """Return the square of 2·radius + 1 pixels around `pixel`, reflected at the borders."""
    rows, columns = (
        np.pad(np.arange(length), radius, mode="reflect")[at : at + 2 * radius + 1]
        for length, at in zip(image.shape, pixel)
    )
    return image[np.ix_(rows, columns)]
