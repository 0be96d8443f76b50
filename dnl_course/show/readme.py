"""The picture of the README, taken from the executed lesson 01: ``python -m dnl_course.show.readme`` writes it again.

It is cut out of the committed notebook rather than drawn anew, so it always shows what the lesson shows.
"""

from __future__ import annotations

import base64
import io
import json

from dnl_course import paths

NOTEBOOK, CELL, PICTURE = "notebooks/01_non_local_means.ipynb", "01-contest-figure", "docs/lesson_01.png"
WIDTH = 800


def picture() -> bytes:
    """Return the figure of the contest of filters as a small grey PNG (800 pixels wide, below 300 kB)."""
    from PIL import Image

    notebook = json.loads((paths.root() / NOTEBOOK).read_text(encoding="utf-8"))
    cell = next(cell for cell in notebook["cells"] if cell["id"] == CELL)
    recorded = next(o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {}))
    with Image.open(io.BytesIO(base64.b64decode("".join(recorded)))) as image:
        grey = image.convert("L")
    grey = grey.resize((WIDTH, round(grey.height * WIDTH / grey.width)), Image.Resampling.LANCZOS)
    small = io.BytesIO()
    grey.quantize(32, dither=Image.Dither.NONE).save(small, format="PNG", optimize=True)
    return small.getvalue()


def main() -> None:
    """Write the picture and say where."""
    target = paths.root() / PICTURE
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(picture())
    print(f"{PICTURE}: {target.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
