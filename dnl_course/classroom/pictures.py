"""Yours, expected and the difference as one small picture, for answers that are images or maps."""

from __future__ import annotations

import base64
import io

import numpy as np

SMALLEST = 4  # a map below 4 × 4 is better read as numbers


def side_by_side(yours: np.ndarray, expected: np.ndarray, name: str) -> str:
    """Return an ``<img>`` tag with three panels, or an empty string where a picture would not help.

    Parameters
    ----------
    yours, expected : (H, W) or (B, H, W) arrays
        Of several, the first one is drawn, on one grey scale; the difference on its own, symmetric about zero.
    name : str
        What they are, for the alt text.
    """
    if yours.ndim == expected.ndim == 3 and len(yours) and len(expected):
        yours, expected = yours[0], expected[0]
    if yours.shape != expected.shape or yours.ndim != 2 or min(yours.shape) < SMALLEST:
        return ""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    limit = 1e6 * max(np.abs(expected).max(), 1.0)  # beyond it, a colour scale shows nothing
    finite = np.clip(np.where(np.isfinite(yours), yours, 0.0), -limit, limit)
    difference = finite - expected
    figure = Figure(figsize=(6.6, 2.3), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    low, high = min(finite.min(), expected.min()), max(finite.max(), expected.max())
    most = max(np.abs(difference).max(), 1e-12)
    panels = (("yours", finite, "gray", low, high), ("expected", expected, "gray", low, high),
              ("yours − expected", difference, "RdBu_r", -most, most))  # fmt: skip
    for axes, (title, data, colours, bottom, top) in zip(figure.subplots(1, 3), panels):
        drawn = axes.imshow(data, cmap=colours, vmin=bottom, vmax=top)
        axes.set(title=title, xticks=[], yticks=[])
        figure.colorbar(drawn, ax=axes, shrink=0.8)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    coded = base64.b64encode(png.getvalue()).decode()
    alt = f"{name}: yours, expected, and their difference (at most {most:.3g})"
    return f'<img alt="{alt}" src="data:image/png;base64,{coded}">'
