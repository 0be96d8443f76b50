"""Figures of the lessons: one style, alt text in every output, a stable SVG beside it (all lessons).

`show` is the one way in which a lesson displays a figure. Matplotlib is imported when the first figure is drawn,
so importing this module costs nothing.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dnl_course import paths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("course.mplstyle")
"""The style file of all lessons."""


def use_style() -> None:
    """Switch Matplotlib to the style of the course, for the rest of the session."""
    import matplotlib.style

    matplotlib.style.use(STYLE)


def subplots(rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Return ``(figure, axes)`` in the style of the course: `matplotlib.pyplot.subplots` after `use_style`."""
    use_style()
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, **options)


def draw_image(ax: Axes, image: np.ndarray, title: str = "", *, limits: tuple[float, float] = (0.0, 1.0)) -> None:
    """Draw a grey (H, W) or colour (H, W, 3) picture without ticks; black and white are `limits`."""
    low, high = limits
    if np.ndim(image) == 3:
        image = np.clip((np.asarray(image) - low) / (high - low), 0, 1)
    ax.imshow(image, vmin=low, vmax=high)
    ax.set(xticks=[], yticks=[], title=title, anchor="S")  # spare room belongs above, where the titles are
    ax.spines[:].set_visible(False)


def show_images(
    pictures: Mapping[str, np.ndarray] | Sequence[tuple[str, np.ndarray]],
    *,
    rows: int = 1,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """Return a figure with the pictures side by side, all on the same grey scale.

    Parameters
    ----------
    pictures : mapping of title to picture, or sequence of (title, picture)
        Arrays (H, W) or (H, W, 3), drawn in this order, row by row. A title may have several lines.
    rows : int
        Number of rows.
    limits : (float, float)
        Grey values drawn as black and as white.

    Examples
    --------
    >>> fig = show_images({"left": np.zeros((4, 4)), "right": np.ones((4, 4))})
    >>> [ax.get_title() for ax in fig.axes]
    ['left', 'right']
    >>> close(fig)
    """
    pairs = list(pictures.items()) if isinstance(pictures, Mapping) else list(pictures)
    columns = -(-len(pairs) // rows)
    height, width = np.shape(pairs[0][1])[:2]
    lines = max(name.count("\n") for name, _ in pairs) + 1
    figsize = (10, rows * (10 / columns * height / width + 0.33 * lines + 0.03))
    fig, axes = subplots(rows, columns, figsize=figsize, squeeze=False)
    for ax in axes.flat[len(pairs) :]:
        ax.remove()
    for ax, (name, picture) in zip(axes.flat, pairs):
        draw_image(ax, picture, name, limits=limits)
    return fig


def outline(ax: Axes, pixel: Sequence[int], radius: int, *, width: float = 2.2, dashed: bool = False) -> None:
    """Draw the square of ``2 * radius + 1`` pixels around `pixel` (row, column): white on black, seen on any grey."""
    from matplotlib.patches import Rectangle

    row, column = pixel
    side = 2 * radius + 1
    for colour, line in (("black", 2.3 * width), ("white", width)):
        ax.add_patch(
            Rectangle(
                (column - radius - 0.5, row - radius - 0.5),
                side,
                side,
                fill=False,
                edgecolor=colour,
                linewidth=line,
                linestyle=(0, (3, 2)) if dashed and colour == "white" else "-",
            )
        )


def draw_weights(ax: Axes, weights: np.ndarray, title: str = "", *, log: bool = True, decades: float = 4.0) -> Any:
    """Draw a weight map (2t+1, 2t+1) over the shifts −t … t and return the drawn image, for a colour bar.

    On the logarithmic scale the map covers `decades` powers of ten below its largest weight; smaller weights are
    drawn as the smallest. Bright is heavy, in colour and in grey.
    """
    weights = np.asarray(weights)
    t = weights.shape[0] // 2
    top = float(weights.max())
    if log:
        values, low, high = np.log10(np.maximum(weights, top * 10.0**-decades)), np.log10(top) - decades, np.log10(top)
    else:
        values, low, high = weights, 0.0, top
    drawn = ax.imshow(values, vmin=low, vmax=high, cmap="inferno", extent=(-t - 0.5, t + 0.5, t + 0.5, -t - 0.5))
    ax.set(title=title, xlabel="shift in columns (pixels)", ylabel="shift in rows (pixels)")
    ax.set(xticks=[-t, 0, t], yticks=[-t, 0, t])
    return drawn


def overlay_weights(
    ax: Axes,
    image: np.ndarray,
    pixel: Sequence[int],
    weights: np.ndarray,
    title: str = "",
    *,
    patch_size: int | None = None,
    margin: int | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Draw where the weights of `pixel` lie on the photograph: the window dimmed, heavy pixels lit in orange.

    The part of the window that reaches over the border (where the photograph is reflected) is not drawn.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    image : numpy.ndarray
        (H, W) or (H, W, 3).
    pixel : (int, int)
        (row, column).
    weights : numpy.ndarray
        (2t+1, 2t+1), as from `dnl_course.denoise.nl_weights`.
    title : str
        Title of the axes.
    patch_size : int, optional
        Also outline the patch of the pixel.
    margin : int, optional
        Show only so many pixels of the photograph around the window; ``None``: the whole photograph.
    limits : (float, float)
        Grey values drawn as black and as white.
    """
    weights = np.asarray(weights)
    height, width = np.shape(image)[:2]
    t, (row, column) = weights.shape[0] // 2, pixel
    draw_image(ax, image, title, limits=limits)
    top, left = max(row - t, 0), max(column - t, 0)
    part = weights[top - row + t : height - row + t, left - column + t : width - column + t]  # the window on the photo
    lit = np.zeros((*part.shape, 4))
    lit[..., :3] = (1.0, 0.9, 0.25)  # light in greyscale too
    lit[..., 3] = (part / weights.max()) ** 0.4  # so that a tenth of the largest weight is still seen
    extent = (left - 0.5, left + part.shape[1] - 0.5, top + part.shape[0] - 0.5, top - 0.5)
    ax.imshow(np.broadcast_to([0.0, 0.0, 0.0, 0.6], (*part.shape, 4)), extent=extent)
    ax.imshow(lit, extent=extent)
    outline(ax, pixel, t)
    if patch_size is not None:
        outline(ax, pixel, patch_size // 2, dashed=True)
    reach = None if margin is None else t + margin
    rows = (0, height - 1) if reach is None else (max(row - reach, 0), min(row + reach, height - 1))
    columns = (0, width - 1) if reach is None else (max(column - reach, 0), min(column + reach, width - 1))
    ax.set(xlim=(columns[0] - 0.5, columns[1] + 0.5), ylim=(rows[1] + 0.5, rows[0] - 0.5))


def png(fig: Figure) -> bytes:
    """Return the figure as PNG; the same figure gives the same bytes."""
    from PIL import Image

    drawn = io.BytesIO()
    fig.savefig(drawn, format="png", metadata={"Software": None})
    with Image.open(drawn) as image:
        image = image.convert("RGB")  # the background is opaque
    red, green, blue = image.split()
    if red == green == blue:  # most figures hold nothing but photographs: grey loses nothing and takes less room
        image = red
    small = io.BytesIO()
    image.save(small, format="PNG", optimize=True)
    return small.getvalue()


def svg(fig: Figure, name: str) -> bytes:
    """Return the figure as SVG, without a date and with ids made from `name`: the same figure, the same bytes."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def close(fig: Figure) -> None:
    """Close a figure, so that neither Jupyter nor Matplotlib keeps or shows it."""
    import matplotlib.pyplot as plt

    plt.close(fig)


def checked_alt(alt: str) -> str:
    """Return `alt` without line breaks, or raise a ValueError when it is too short to describe a figure."""
    words = " ".join(str(alt).split())
    if len(words) < 20:
        raise ValueError(f"alt = {alt!r}: describe in a sentence what the figure shows, for those who do not see it.")
    return words


def bundle(fig: Figure, alt: str) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Return the figure as Jupyter's (data, metadata): a PNG with its alt text, and the alt text as plain text."""
    alt = checked_alt(alt)
    picture = base64.b64encode(png(fig)).decode("ascii")
    return {"image/png": picture, "text/plain": alt}, {"image/png": {"alt": alt}}


def show(fig: Figure, *, name: str, alt: str) -> None:
    """Display a figure in a notebook as a PNG with alt text, write it as SVG, and close it. Prints nothing.

    The alt text is in the output's metadata, ``{"image/png": {"alt": …}}``, where nbconvert looks for it, and it is
    the plain-text form of the output. The SVG is ``build/figures/<name>.svg`` of the course's clone; without a clone
    none is written.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        The figure; closed afterwards.
    name : str
        Stable name: lower-case letters, digits and underscores, beginning with the lesson's number.
    alt : str
        What the figure shows, in a sentence or two, for those who do not see it.

    Raises
    ------
    ValueError
        When the name has other characters or the alt text is shorter than 20 characters.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"name = {name!r}: use lower-case letters, digits and underscores, such as '01_weights'.")
    data, metadata = bundle(fig, alt)
    try:
        folder = paths.build() / "figures"
    except FileNotFoundError:  # used outside a clone of the course: nowhere to keep the SVG
        folder = None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.svg").write_bytes(svg(fig, name))
    close(fig)
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import display

    if InteractiveShell.initialized():
        display(data, metadata=metadata, raw=True)
