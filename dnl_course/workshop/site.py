"""Executes every lesson and writes ``build/course``, a small site that reads without a network (``make run``).

The lessons run in a temporary folder, so the repository stays as it is. Pages are nbconvert's, through a template that
leaves out all that it would load from elsewhere; formulas are typeset by the MathJax that is copied beside them.
"""

from __future__ import annotations

import base64
import html
import importlib.metadata
import io
import logging
import platform
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dnl_course import __version__, links, paths
from dnl_course.workshop import execute, stable

TEMPLATES = Path(__file__).parent / "templates"
COURSE_SECONDS = 360.0
TAGS = {"core": "core cells", "annex": "annex cells", "question": "questions", "demo": "demos"}
NO_ALT = "No description has been provided for this image"


@dataclass
class Page:
    """One lesson's page: what the index shows of it, and the faults of its run and its pictures."""

    run: execute.Execution
    title: str
    question: str
    thumbnail: str = ""
    thumbnail_alt: str = ""
    faults: list[str] = field(default_factory=list)

    number = property(lambda self: self.run.path.name[:2])
    page = property(lambda self: f"{self.run.path.stem}.html")
    seconds = property(lambda self: self.run.seconds)

    @property
    def tags(self) -> list[str]:
        """How many cells carry each of the lessons' tags, in words."""
        count = Counter(tag for cell in self.run.notebook.cells for tag in cell.metadata.get("tags", ()))
        return [f"{count[tag]} {word if count[tag] > 1 else word.rstrip('s')}" for tag, word in TAGS.items() if count[tag]]


@dataclass
class Site:
    """What `build` wrote: the index, the pages, and all faults."""

    index: Path
    pages: list[Page]
    faults: list[str]

    @property
    def ok(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return not self.faults

    @property
    def text(self) -> str:
        """One line for each lesson, each fault, and where to look."""
        lines = [page.run.text.splitlines()[0] for page in self.pages] + self.faults
        total = sum(page.seconds for page in self.pages)
        where = self.index.relative_to(paths.root()).as_posix()
        return "\n".join([*lines, f"{len(self.pages)} lessons in {total:.0f} s: {where}"])


def build(*, budget: float = COURSE_SECONDS) -> Site:
    """Execute the lessons and write the site; what goes wrong is in the site's `faults`.

    Raises
    ------
    FileNotFoundError
        When there is no lesson in ``notebooks/``.

    Examples
    --------
    >>> print(build().text)  # doctest: +SKIP
    00_start_here.ipynb: 3.1 s
    1 lessons in 3 s: build/course/index.html
    """
    files = sorted((paths.root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not files:
        raise FileNotFoundError("there is no lesson in notebooks/.")
    target = paths.build() / "course"
    paths.build().mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dnl-", ignore_cleanup_errors=True) as folder:
        runs = list(execute.run_all(files, cwd=folder))
    fresh = Path(tempfile.mkdtemp(dir=paths.build(), prefix=".course-"))
    try:
        (fresh / "thumbnails").mkdir()
        for run in runs:
            stable.normalise(run.notebook)
        pages = [_page(run, fresh) for run in runs]
        for i, page in enumerate(pages):
            before, after = (pages[i - 1] if i else None), (pages[i + 1] if i + 1 < len(pages) else None)
            page.faults += _write_page(page, before, after, fresh)
        faults = [fault for page in pages for fault in page.faults]
        total = sum(page.seconds for page in pages)
        if total > budget:
            faults.append(f"all lessons: {total:.0f} s; together they may take {budget:g} s.")
        (fresh / "index.html").write_text(_index(pages, total), encoding="utf-8")
        _copy_mathjax(fresh / "mathjax")
        fresh.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Site(target / "index.html", pages, faults)


def _page(run: execute.Execution, folder: Path) -> Page:
    """Read off a notebook what the index shows: its first heading, its first paragraph, a figure."""
    title, question = run.path.stem, ""
    for cell in run.notebook.cells:
        if cell.cell_type == "markdown" and (heading := re.search(r"^# +(.+)$", cell.source, re.MULTILINE)):
            title = re.sub(r"[*_`]", "", heading[1]).strip()
            following = [part.strip() for part in cell.source[heading.end():].split("\n\n") if part.strip()]
            question = next((part for part in following if not re.match(r"[#|!<]|- |---", part)), "")
            break
    page = Page(run, title, _inline(question), faults=list(run.faults))
    # A cell may be tagged "thumbnail"; sorting is stable, so otherwise the first figure it is.
    for cell in sorted(run.notebook.cells, key=lambda cell: "thumbnail" not in cell.metadata.get("tags", ())):
        for output in cell.get("outputs", ()):
            picture = output.get("data", {}).get("image/png")
            if picture:
                name = f"thumbnails/{page.number}.png"
                _shrink(base64.b64decode(picture), folder / name)
                alt = output.metadata.get("image/png", {}).get("alt", "")
                page.thumbnail, page.thumbnail_alt = name, f"Lesson {page.number}. {alt}".strip()
                return page
    return page


def _inline(markdown: str) -> str:
    """Render a paragraph: links become their words, since the whole entry is about one link."""
    from nbconvert.filters import markdown2html

    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"^> ?", "", markdown, flags=re.MULTILINE))
    return str(markdown2html(text))


def _shrink(picture: bytes, path: Path, width: int = 480) -> None:
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").resize((width, max(1, round(image.height * width / image.width)))).save(path)


def _write_page(page: Page, before: Page | None, after: Page | None, folder: Path) -> list[str]:
    """Write a lesson's page; return the faults that show only there."""
    from bs4 import BeautifulSoup
    from nbconvert import HTMLExporter
    from nbformat import from_dict

    notebook = from_dict(page.run.notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = links.relink(cell.source, "notebooks", "build/course", _page_of)
        for output in cell.get("outputs", ()):
            _without_widgets(output)
    exporter = HTMLExporter(
        template_name="course",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_anchor_links=True,
        # embed_images would close every <details> before what is folded in it
        embed_images=False,
        **dict.fromkeys(("mathjax_url", "require_js_url", "jquery_url", "jupyter_widgets_base_url"), ""),
    )
    course = {"navigation": _navigation(before, after), "style": _style()}
    resources = {"metadata": {"name": page.title, "path": str(folder)}, "course": course}
    with _warnings() as warnings:
        body, _ = exporter.from_notebook_node(notebook, resources)
    (folder / page.page).write_text(body, encoding="utf-8")
    faults = [f"{page.run.path.name}: {w}" for w in warnings if "lternative text is missing" not in w]
    for image in BeautifulSoup(body, "html.parser").find_all("img"):
        if image.get("alt", "").strip() in ("", NO_ALT):
            cell = image.find_parent(id=re.compile("^cell-id="))
            where = cell["id"].removeprefix("cell-id=") if cell else "?"
            faults.append(f"{page.run.path.name}, cell {where}: a picture without alt text.")
    return faults


def _without_widgets(output) -> None:
    """Put a sentence in the place of a widget that has nothing but its name to show on paper."""
    data = output.get("data", {})
    data.pop(stable.WIDGET, None)
    text = data.get("text/plain", "")
    if set(data) == {"text/plain"} and re.match(r"(?:[A-Z]\w*)\((?:.|\n)*\)$", text) and "children=(" in text:
        data["text/html"] = "<p><em>Here is something to play with: open this lesson with <code>make lab</code>.</em></p>"


def _page_of(path: str) -> str:
    """Map a lesson to its page, and leave the other files of the repository where they are."""
    return re.sub(r"^notebooks/(.+)\.ipynb$", r"build/course/\1.html", path)


def _navigation(before: Page | None, after: Page | None) -> str:
    left = f'<a rel="prev" href="{before.page}">← {html.escape(before.title)}</a>' if before else ""
    right = f'<a rel="next" href="{after.page}">{html.escape(after.title)} →</a>' if after else ""
    home = '<a href="index.html">All lessons</a>'
    return f'<nav class="course"><span>{left}</span><span>{home}</span><span>{right}</span></nav>'


def _style() -> str:
    return (TEMPLATES / "course.css").read_text(encoding="utf-8")


def _index(pages: list[Page], seconds: float) -> str:
    from jinja2 import Environment, FileSystemLoader

    template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("course_index.html.j2")
    return template.render(
        lessons=pages,
        seconds=seconds,
        style=_style(),
        version=__version__,
        python=platform.python_version(),
        torch=importlib.metadata.version("torch"),
    )


def _copy_mathjax(target: Path) -> None:
    """Copy MathJax without what the pages do not use: translations, and the fonts of the SVG output."""
    import jupyter_server_mathjax

    source = Path(jupyter_server_mathjax.__file__).parent / "static"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("localization", "SVG"))


class _warnings(logging.Handler):
    """Collects what nbconvert logs as a warning or worse."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record):
        self.found.append(record.getMessage())

    def __enter__(self) -> list[str]:
        import traitlets.log

        self.logger = traitlets.log.get_logger()
        self.propagates, self.logger.propagate = self.logger.propagate, False
        self.logger.addHandler(self)
        return self.found

    def __exit__(self, *_):
        self.logger.removeHandler(self)
        self.logger.propagate = self.propagates
