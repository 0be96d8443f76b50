"""What a learner sees: JupyterLab, started by `make lab`'s own code, driven in a headless Chromium.

The screenshots stay in build/browser. The course is a copy, so nobody's work/ is touched.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress

import nbformat
import pytest

from dnl_course import copies, paths
from dnl_course.workshop import lab

pytestmark = pytest.mark.browser

SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = paths.build() / "browser"
STDERR = '[data-mime-type="application/vnd.jupyter.stderr"]'

WRONG = '''def patch_distance(image, i, j, patch_size):
    r = patch_size // 2
    a = image[i[0] - r : i[0] + r + 1, i[1] - r : i[1] + r + 1]
    b = image[j[0] - r : j[0] + r + 1, j[1] - r : j[1] + r + 1]
    return float(((a - b) ** 2).sum())'''
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"
RIGHT = WRONG.replace(".sum()", ".mean()")


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright in this environment")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    """A page that shows the start page of a running lab, and the lab's URL."""
    source, root = paths.root(), tmp_path_factory.mktemp("lab") / "a course"
    shutil.copytree(source / "notebooks", root / "notebooks")
    shutil.copytree(source / "exercises", root / "exercises")
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(source / name, root / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNL_ROOT", str(root))
        copies.make()
        with lab.running(8900) as (url, _):
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.set_default_timeout(30_000)
            page.goto(url)
            page.wait_for_selector(".jp-Notebook .jp-Cell")
            yield page, url
            page.screenshot(path=PICTURES / "last.png")
            page.close()


def cell(page, text):
    """Return the code cell that holds `text`, scrolled into view: JupyterLab draws only what can be seen."""
    found = page.locator(f"{PANEL} .jp-CodeCell", has_text=text).first
    found.scroll_into_view_if_needed()
    return found


def fill(page, text, content):
    """Replace the content of the cell that holds `text`."""
    editor = cell(page, text).locator(".cm-content")
    editor.click()
    page.locator(f"{PANEL} .jp-CodeCell .cm-focused").wait_for()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(content)
    assert editor.inner_text().split() == content.split()


def run(page, text):
    """Run the cell that holds `text`, wait for its answer, and return the cell.

    JupyterLab shows a kernel as idle a moment before it sends it anything; what is run in that moment is lost without
    a word, so a cell whose prompt stays empty is run again, as a person would.
    """
    from playwright.sync_api import TimeoutError as NoAnswer

    code = cell(page, text)
    for _ in range(6):
        code.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        with suppress(NoAnswer):
            code.locator(".jp-InputPrompt", has_text=re.compile(r"\[(\d+|\*)\]:")).wait_for(timeout=5_000)
            break
    code.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]:")).wait_for()
    return code


def test_the_start_page_is_lesson_00(opened):
    page, _ = opened
    lesson = nbformat.read(paths.root() / "notebooks" / "00_start_here.ipynb", as_version=4)
    heading = re.search(r"^# +(.+)$", lesson.cells[0].source, re.MULTILINE)[1]
    page.locator(".jp-Notebook h1").first.wait_for()
    assert heading in page.locator(".jp-Notebook h1").first.inner_text().replace("¶", "")
    page.screenshot(path=PICTURES / "start.png")


def test_no_news_and_nothing_of_the_teachers(opened):
    page, _ = opened
    page.wait_for_timeout(3000)  # the question about news comes late
    seen = page.inner_text("body").lower()
    for unwanted in ("jupyter news", "nbgrader", "create assignment", "assignment list", "course list", "validate"):
        assert unwanted not in seen, unwanted
    assert page.locator(".Toastify__toast").count() == 0
    page.keyboard.press("Control+Shift+C")
    page.locator(".lm-CommandPalette-input").fill("formgrader")
    page.locator(".lm-CommandPalette-emptyMessage").wait_for()
    page.keyboard.press("Escape")


def test_a_wrong_answer_is_named_and_a_right_one_passes(opened):
    page, url = opened
    page.goto(url.replace("00_start_here.ipynb", "exercises/01_non_local_means.ipynb"))
    page.locator(f"{PANEL} h1", has_text="Exercise 01").wait_for()  # lesson 00 is open in the tab beside it
    # The kernel has to be there: a cell that is run before it is lost.
    page.locator(f"{PANEL} .jp-Notebook-ExecutionIndicator[data-status='idle']").first.wait_for()
    setup = run(page, "from dnl_course.classroom import")
    assert setup.locator(STDERR).count() == 0

    fill(page, "def patch_distance", WRONG)
    run(page, "def patch_distance")
    check = run(page, 'check("01.1"')
    check.locator(".dnl-wrong").wait_for()
    said = check.locator(".jp-OutputArea").inner_text()
    assert "01.1" in said and "mean" in said and re.search(r"\b(sum|add)", said), said
    assert check.locator(".dnl-passed").count() == 0
    page.screenshot(path=PICTURES / "wrong.png")

    fill(page, "def patch_distance", RIGHT)
    run(page, "def patch_distance")
    check.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    check.locator(".dnl-passed").wait_for()
    assert "✓" in check.locator(".jp-OutputArea").inner_text()
    assert check.locator(".dnl-wrong").count() == 0
    assert page.locator(STDERR).count() == 0
    check.scroll_into_view_if_needed()
    page.screenshot(path=PICTURES / "right.png")


def test_the_site_reads_without_a_network(browser, course, monkeypatch):
    """`make run`'s pages, opened as files in a browser without a network: formulas are set, nothing is missing."""
    from dnl_course.workshop import site

    cells = [nbformat.v4.new_markdown_cell("# A lesson\n\nWhy $x^2$?\n\n$$\\sum_{i=1}^{N} w_i x_i = y$$", id="text")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), course / "notebooks" / "00_start_here.ipynb")
    built = site.build()
    context = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True)
    page, failed = context.new_page(), []
    # MathJax tries "about:blank" as a font on purpose
    page.on("requestfailed", lambda request: failed.append(request.url) if request.url != "about:blank" else None)
    for name, formulas in (("index.html", 1), ("00_start_here.html", 2)):
        page.goto((built.index.parent / name).as_uri())
        page.wait_for_function("window.MathJax && MathJax.Hub")
        page.evaluate("new Promise(done => MathJax.Hub.Queue(done))")
        assert page.locator("span.MathJax").count() == formulas
        assert page.get_by_text("Math Processing Error").count() == 0
        page.screenshot(path=PICTURES / f"site_{name.removesuffix('.html')}.png")
    assert failed == []
    context.close()
