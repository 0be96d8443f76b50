"""The workshop: copies that lose nothing, a doctor that is right, executions that repeat, pages that need no network."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from typer.testing import CliRunner

from dnl_course import cli, copies, links, paths
from dnl_course.workshop import doctor, execute, lab, site

REPOSITORY = Path(__file__).resolve().parent.parent
OWN = "answer = 'mine'"


def write(path: Path, *cells) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def code(source, name, **metadata):
    return new_code_cell(source, id=name, metadata=metadata)


def task(number, source):
    return code(source, f"task-{number}", nbgrader={"grade_id": f"task-{number}", "solution": True, "grade": False})


def exercise(course, stub="raise NotImplementedError", text="Two tasks."):
    """Write exercise 01 of an empty course: two tasks and a check."""
    cells = (new_markdown_cell(text, id="text"), task("01-1", stub), task("01-2", stub), code("check()", "check-01-1"))
    return write(course / "exercises" / "01_a.ipynb", *cells)


def change(path: Path, name: str, source: str) -> None:
    """Write in a cell of a notebook, as a learner does."""
    notebook = nbformat.read(path, as_version=4)
    next(cell for cell in notebook.cells if cell.id == name).source = source
    nbformat.write(notebook, path)


def source_of(path: Path, name: str) -> str:
    return next(c.source for c in nbformat.read(path, as_version=4).cells if c.id == name)


def actions() -> list[tuple[str, str]]:
    return [(copy.action, copy.path.name) for copy in copies.make()]


# --- copies ------------------------------------------------------------------------------------------------------


def test_copies_keep_ids_and_tags_clear_outputs_and_lead_to_each_other(course):
    cell = code("1", "one", tags=["core"])
    cell.update(outputs=[new_output("stream", text="1")], execution_count=3)
    link = new_markdown_cell("[task](../exercises/01_a.ipynb#x) [web](https://example.org) [about](../README.md)", id="l")
    write(course / "notebooks" / "00_a.ipynb", link, cell)
    exercise(course, text="[lesson](../notebooks/00_a.ipynb)")
    made = copies.make()
    assert [str(copy) for copy in made] == ["work/00_a.ipynb: your copy", "work/exercises/01_a.ipynb: your copy"]
    words, copied = nbformat.read(course / "work" / "00_a.ipynb", as_version=4).cells
    assert copied.id == "one" and copied.metadata.tags == ["core"]
    assert copied.outputs == [] and copied.execution_count is None
    assert words.source == "[task](exercises/01_a.ipynb#x) [web](https://example.org) [about](../README.md)"
    assert source_of(course / "work" / "exercises" / "01_a.ipynb", "text") == "[lesson](../00_a.ipynb)"
    assert copies.make() == []


def test_a_copy_with_nothing_in_it_is_replaced(course):
    exercise(course)
    copies.make()
    copy = course / "work" / "exercises" / "01_a.ipynb"
    notebook = nbformat.read(copy, as_version=4)
    notebook.metadata.language_info = {"name": "python", "version": "3.11.7"}  # JupyterLab does this on opening
    nbformat.write(notebook, copy)
    exercise(course, stub="raise NotImplementedError()")
    assert actions() == [("replaced", "01_a.ipynb")]
    assert source_of(copy, "task-01-1") == "raise NotImplementedError()"
    assert actions() == []


def test_a_new_version_is_laid_beside_what_a_learner_wrote_once(course):
    exercise(course)
    copies.make()
    copy = course / "work" / "exercises" / "01_a.ipynb"
    change(copy, "task-01-1", OWN)
    mine = copy.read_bytes()
    exercise(course, text="Better told.")
    assert actions() == [("laid beside", "01_a.v2.ipynb")]
    assert actions() == []
    exercise(course, text="Told better still.")
    assert actions() == [("laid beside", "01_a.v3.ipynb")]
    assert copy.read_bytes() == mine
    assert source_of(copy.with_name("01_a.v2.ipynb"), "text") == "Better told."


def test_an_output_is_work_too(course):
    write(course / "notebooks" / "00_a.ipynb", code("1", "one"))
    copies.make()
    copy = course / "work" / "00_a.ipynb"
    notebook = nbformat.read(copy, as_version=4)
    notebook.cells[0].outputs = [new_output("stream", text="1")]
    nbformat.write(notebook, copy)
    write(course / "notebooks" / "00_a.ipynb", code("2", "one"))
    assert actions() == [("laid beside", "00_a.v2.ipynb")]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"exercises/01_a.ipynb": 3}', None])
def test_a_damaged_manifest_costs_no_work(course, damage):
    exercise(course)
    copies.make()
    copy, manifest = course / "work" / "exercises" / "01_a.ipynb", course / "work" / ".dnl" / "copies.json"
    change(copy, "task-01-1", OWN)
    mine = copy.read_bytes()
    manifest.unlink() if damage is None else manifest.write_bytes(damage)
    exercise(course, text="New.")
    copies.make()
    assert copy.read_bytes() == mine
    assert source_of(copy.with_name("01_a.v2.ipynb"), "text") == "New."
    assert actions() == []


@pytest.mark.parametrize("fatal", range(5))
def test_an_interrupted_run_loses_nothing_and_the_next_completes_it(course, monkeypatch, fatal):
    """Ctrl-C at each of the moments at which a file is put in place."""
    write(course / "notebooks" / "00_a.ipynb", code("1", "one"))
    exercise(course)
    copies.make()
    lesson, copy = course / "work" / "00_a.ipynb", course / "work" / "exercises" / "01_a.ipynb"
    change(copy, "task-01-1", OWN)
    mine = copy.read_bytes()
    write(course / "notebooks" / "00_a.ipynb", code("2", "one"))
    exercise(course, text="New.")
    replace, calls = os.replace, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == fatal + 1:
            raise KeyboardInterrupt
        replace(*arguments)

    monkeypatch.setattr(os, "replace", interrupted)
    if fatal < 4:
        with pytest.raises(KeyboardInterrupt):
            copies.make()
    else:
        copies.make()
    monkeypatch.setattr(os, "replace", replace)
    copies.make()
    assert copies.make() == []
    assert copy.read_bytes() == mine
    assert source_of(lesson, "one") == "2"
    names = sorted(p.name for p in (course / "work").rglob("*") if p.is_file())
    assert names == ["00_a.ipynb", "01_a.ipynb", "01_a.v2.ipynb", "copies.json"]


def test_reset_restores_an_exercise_with_a_backup(course):
    exercise(course)
    copies.make()
    copy = course / "work" / "exercises" / "01_a.ipynb"
    pristine = copy.read_bytes()
    change(copy, "task-01-1", OWN)
    backup, again = copies.reset("01"), copies.reset("01")
    assert copy.read_bytes() == pristine
    assert backup.parent == course / "work" / "backups" and source_of(backup, "task-01-1") == OWN
    assert re.fullmatch(r"01_a\.\d{4}-\d\d-\d\d_\d{6}(-\d+)?\.ipynb", backup.name)
    assert again != backup and again.read_bytes() == pristine


def test_reset_of_a_task_leaves_the_others(course):
    exercise(course)
    copies.make()
    copy = course / "work" / "exercises" / "01_a.ipynb"
    for name in ("task-01-1", "task-01-2", "check-01-1"):
        change(copy, name, OWN)
    backup = copies.reset("01.2")
    assert source_of(copy, "task-01-2") == "raise NotImplementedError"
    assert source_of(copy, "task-01-1") == source_of(copy, "check-01-1") == source_of(backup, "task-01-2") == OWN


@pytest.mark.parametrize("number", ["02", "1", "01.9", "01.", "", "../01", "01_a"])
def test_reset_of_something_else_changes_nothing(course, number):
    exercise(course)
    copies.make()
    before = sorted((p, p.read_bytes()) for p in (course / "work").rglob("*") if p.is_file())
    with pytest.raises(ValueError, match="exercise"):
        copies.reset(number)
    assert sorted((p, p.read_bytes()) for p in (course / "work").rglob("*") if p.is_file()) == before


def test_links_stay_where_they_should():
    def same(path):
        return path

    for text in ("[a](https://x.org/../b)", "[a](#here)", "[a](/abs)", "[a](../../outside)", "`f(x)`", "mailto:a@b.c"):
        assert links.relink(text, "notebooks", "work", same) == text
    assert links.relink('<a href="../a.md">', "exercises", "work/exercises", same) == '<a href="../../a.md">'


# --- doctor ------------------------------------------------------------------------------------------------------


def versions(monkeypatch, **other):
    """Have the doctor see other versions than are installed; None is a missing package."""
    real = doctor.importlib.metadata.version

    def version(name):
        if name in other and other[name] is None:
            raise PackageNotFoundError(name)
        return other.get(name) or real(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    return {check.name.removeprefix("package "): check for check in doctor.packages()}


def test_the_doctor_tells_other_too_old_and_missing(monkeypatch):
    found = versions(monkeypatch, numpy="2.99.0", torch="2.8.0", sympy=None, matplotlib="3.9.1")
    assert (found["numpy"].state, found["torch"].state, found["sympy"].state) == ("warn", "fail", "fail")
    assert found["matplotlib"].state == "warn" and "the lock has" in found["matplotlib"].detail
    assert ">=2.9" in found["torch"].detail and found["sympy"].detail == "missing"
    assert all(check.mend for check in found.values() if check.state != "ok")


@pytest.mark.parametrize("build", ["+cpu", "+cu130", ""])
def test_a_build_for_another_device_is_the_same_version(monkeypatch, build):
    locked = doctor._locked()["torch"]
    assert versions(monkeypatch, torch=locked + build)["torch"].state == "ok"


def test_this_machine_passes_and_the_line_for_the_class_is_not_personal():
    report = doctor.examine()
    assert report.ok, report.text
    assert report.text.splitlines()[-1].startswith("This machine is ready")
    line = report.line
    assert "\n" not in line and "torch 2." in line and "kernel" in line and " · ok · " in line
    names = {os.environ.get("USER"), os.uname().nodename if hasattr(os, "uname") else None} - {None, "", "localhost"}
    assert not any(re.search(rf"\b{re.escape(name)}\b", line) for name in names)
    assert "/" not in line and "\\" not in line


def test_a_failure_is_in_the_text_the_line_and_the_exit_code(monkeypatch):
    monkeypatch.setattr(doctor, "kernel", lambda seconds: doctor.Check("kernel", "fail", "no answer after 1.0 s", "mend"))
    result = CliRunner().invoke(cli.app, ["doctor", "--class"])
    assert result.exit_code == 1
    assert result.stdout.count("\n") == 1 and " · fail · " in result.stdout and "fail kernel" in result.stdout
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 1 and "not ready: kernel" in result.stdout and "→ mend" in result.stdout


def test_a_kernel_that_does_not_answer_is_one_line(monkeypatch):
    check = doctor.kernel(0.01)
    assert check.state == "fail" and "no answer" in check.detail and check.mend


def test_a_driver_without_a_cuda_build_is_a_warning(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "_driver", lambda: "NVIDIA X")
    assert doctor.gpu().state == "warn" and "TORCH_INDEX" in doctor.gpu().mend
    monkeypatch.setattr(doctor, "_driver", lambda: None)
    assert doctor.gpu() == doctor.Check("GPU", "ok", "no GPU: everything runs on the CPU")


# --- execute -----------------------------------------------------------------------------------------------------


def test_an_error_names_notebook_cell_and_last_line(course):
    path = write(course / "notebooks" / "00_a.ipynb", code("1", "fine"), code("raise ValueError('first\\nlast')", "bad"))
    (run,) = execute.notebooks()
    assert run.faults == ["00_a.ipynb, cell bad: ValueError: last"]
    assert nbformat.read(path, as_version=4).cells[0].execution_count is None, "a failed notebook stays as it was"


def test_what_a_reader_should_not_see_is_a_fault(course):
    noise = "import sys, warnings; print('psst', file=sys.stderr)"
    write(course / "notebooks" / "00_a.ipynb", code(noise, "noisy"), code(f"print({str(course)!r})", "path"))
    (run,) = execute.notebooks()
    assert "00_a.ipynb, cell noisy: wrote to stderr: psst" in run.faults
    assert "00_a.ipynb, cell path: prints a path of this machine." in run.faults


def test_a_cell_that_takes_too_long_is_stopped(course):
    path = write(course / "notebooks" / "00_a.ipynb", code("import time; time.sleep(30)", "slow"))
    run = execute.execute(path, timeout=1, budget=0.5)
    assert run.seconds < 15
    assert run.faults[0] == "00_a.ipynb, cell slow: took more than 1 s and was stopped."
    assert "a notebook may take 0.5 s" in run.faults[-1]


def test_executing_twice_gives_the_same_bytes_without_what_is_volatile(course):
    cells = [
        code("import os; print(os.environ['DNL_RECORD'], os.environ['DNL_ROOT'] != '')", "env", tags=["core"]),
        code("import matplotlib.pyplot as plt; plt.plot([1, 2]);", "figure"),
        code("from tqdm.auto import tqdm\nfor i in tqdm(range(3)): print(i)", "bar"),
        code("import ipywidgets; ipywidgets.IntSlider()", "widget"),
    ]
    path = write(course / "notebooks" / "00_a.ipynb", *cells)
    (run,) = execute.notebooks()
    assert run.ok, run.text
    first = path.read_bytes()
    assert first.endswith(b"}\n") and b"widget-view" not in first and b"iopub" not in first
    notebook = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3, 4]
    assert [cell.id for cell in notebook.cells] == ["env", "figure", "bar", "widget"]
    assert notebook.cells[0].metadata == {"tags": ["core"]}
    assert notebook.cells[0].outputs[0].text == "off True\n"
    assert "image/png" in notebook.cells[1].outputs[0].data
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    execute.notebooks()
    assert path.read_bytes() == first


# --- site --------------------------------------------------------------------------------------------------------

FIGURE = """import matplotlib.pyplot as plt
import io
from IPython.display import display
fig, ax = plt.subplots(figsize=(3, 2)); ax.plot([1, 2]); plt.close(fig)
picture = io.BytesIO(); fig.savefig(picture, format="png")
display({"image/png": picture.getvalue(), "text/plain": "x"}, raw=True, metadata={"image/png": {"alt": "A line."}})"""
LOADED = re.compile(r"""<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//|\bimport\s*\(?["']https?:"""
                    r"""|url\(["']?(?:https?:)?//|@import""")


def test_the_site_shows_the_lessons_and_loads_nothing_from_elsewhere(course):
    before = new_markdown_cell("# 00 · Start\n\n**Does *it* work?**\n\nMore. $x^2$", id="text")
    folded = "<details><summary>Answer</summary>\n\nFolded *in*.\n\n</details>\n\n[exercise](../exercises/01_a.ipynb)"
    exercise(course)
    write(course / "notebooks" / "00_a.ipynb", before, code(FIGURE, "figure", tags=["core"]))
    write(course / "notebooks" / "01_b.ipynb", new_markdown_cell("# 01 · Next", id="t"), new_markdown_cell(folded, id="f"))
    built = site.build()
    assert built.ok, built.text
    assert built.index == course / "build" / "course" / "index.html"
    pages = {page.name: page.read_text(encoding="utf-8") for page in built.index.parent.glob("*.html")}
    assert set(pages) == {"index.html", "00_a.html", "01_b.html"}
    for name, page in pages.items():
        assert not LOADED.search(page), (name, LOADED.search(page)[0])
        for path in re.findall(r'(?:src|href)="([^"#:?]+)[?"]', page):
            assert (built.index.parent / path).exists(), (name, path)
    index = pages["index.html"]
    assert "00 · Start" in index and "Does <em>it</em> work?" in index and "1 core cell" in index
    assert (built.index.parent / "thumbnails" / "00.png").stat().st_size > 100
    assert 'href="01_b.html"' in pages["00_a.html"] and 'href="00_a.html"' in pages["01_b.html"]
    assert 'alt="A line."' in pages["00_a.html"]
    assert re.search(r"<details>.*Folded.*</details>", pages["01_b.html"], re.DOTALL)
    assert sorted(p.name for p in course.iterdir()) == ["build", "exercises", "notebooks", "pyproject.toml",
                                                        "requirements.txt", "solutions"]


def test_what_is_wrong_with_a_lesson_is_a_fault_of_the_site(course):
    cells = code("import matplotlib.pyplot as plt; plt.plot([1, 2]);", "plain"), code("1 / 0", "bad")
    write(course / "notebooks" / "00_a.ipynb", *cells)
    result = CliRunner().invoke(cli.app, ["dev", "run"])
    assert result.exit_code == 1
    assert "cell bad: ZeroDivisionError: division by zero" in result.stdout
    assert "cell plain: a picture without alt text." in result.stdout
    assert "division by zero" in (course / "build" / "course" / "index.html").read_text(encoding="utf-8")


def test_all_lessons_together_have_a_budget(course, monkeypatch):
    write(course / "notebooks" / "00_a.ipynb", new_markdown_cell("# A", id="a"))
    monkeypatch.setattr(execute, "run_all", lambda files, **_: [
        execute.Execution(file, nbformat.read(file, as_version=4), seconds=400.0) for file in files])
    assert site.build().faults == ["all lessons: 400 s; together they may take 360 s."]


# --- lab ---------------------------------------------------------------------------------------------------------


def test_make_lab_prints_a_url_that_answers_and_ends_cleanly(course):
    """The first port is taken, the path has a space, and Ctrl-C ends it without leaving a kernel or a temporary file."""
    write(course / "notebooks" / "00_start_here.ipynb", new_markdown_cell("# Start", id="start"))
    taken = lab.socket.create_server(("127.0.0.1", 0))
    port = min(taken.getsockname()[1], 65000)
    command = [sys.executable, "-m", "dnl_course.cli", "lab", "--no-browser", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=course)
    try:
        assert process.stdout.readline() == "work/00_start_here.ipynb: your copy\n"
        line = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:(\d+)/lab/tree/work/00_start_here\.ipynb\?token=\w+", line)
        assert url and int(url[1]) != taken.getsockname()[1], line + process.stderr.read()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url[0], timeout=20) as page:
            html = page.read().decode()
        config = json.loads(re.search(r'<script id="jupyter-config-data" type="application/json">(.*?)</script>', html,
                                      re.DOTALL)[1])
        assert "@jupyter/nbgrader" in config["disabledExtensions"]
        token = url[0].rpartition("=")[2]
        with opener.open(f"http://127.0.0.1:{url[1]}/api/contents/work/00_start_here.ipynb?token={token}") as answer:
            assert json.loads(answer.read())["content"]["cells"][0]["source"] == "# Start"
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
        assert process.returncode == 0 and "Your work is in work/." in rest and errors == ""
        with pytest.raises(OSError):  # nothing answers there any more
            opener.open(url[0], timeout=5)
    finally:
        process.kill()
        taken.close()
    log = (course / "work" / ".dnl" / "lab.log").read_text(encoding="utf-8")
    assert "nbgrader" not in log and token not in log


def test_a_lab_that_does_not_start_says_why(course, monkeypatch):
    monkeypatch.setattr(lab, "command", lambda port, browser: [sys.executable, "-c", "print('because'); raise SystemExit(1)"])
    with pytest.raises(RuntimeError, match="(?s)did not start.*because"), lab.running():
        pass


def test_the_users_own_settings_stay_behind_ours(monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "theirs")
    assert lab.environment("t")["JUPYTER_CONFIG_PATH"] == f"{lab.SETTINGS}{os.pathsep}theirs"


# --- command line ------------------------------------------------------------------------------------------------


def test_the_command_line_imports_nothing_heavy():
    asked = "import sys, dnl_course.cli; print(sorted({'torch', 'numpy', 'IPython', 'nbformat'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout == "[]\n"


COMMANDS = ["doctor", "lab", "check", "progress", "hint", "reset", "dev check", "dev notebooks", "dev exercises", "dev run"]


@pytest.mark.parametrize("command", ["", "dev", *COMMANDS])
def test_every_command_has_help_with_an_example(command):
    result = CliRunner().invoke(cli.app, [*command.split(), "--help"], prog_name="dnl")
    assert result.exit_code == 0
    assert re.search(rf"Examples?: dnl {command}", result.output), result.output


@pytest.mark.parametrize("arguments, said", [
    (["doktor"], "no command 'doktor': did you mean dnl doctor?"),
    (["dev", "notebook"], "no command 'notebook': did you mean dnl dev notebooks?"),
    (["zzz"], "no command 'zzz': there are:"),
    (["check", "1"], "no exercise 1: did you mean 01?"),
    (["check", "01.2"], "'01.2' is a task; this command takes an exercise: did you mean 01?"),
    (["hint", "1.2"], "no exercise 1: did you mean 01.2?"),
    (["reset", "77"], "no exercise 77: there are:"),
    (["dev", "notebooks", "99"], "no notebook starts with '99'"),
    (["dev", "notebooks", "--only", "work"], "no folder 'work'"),
])
def test_what_was_mistyped_is_one_line_with_a_suggestion(arguments, said):
    result = CliRunner().invoke(cli.app, arguments, prog_name="dnl")
    assert result.exit_code == 2
    assert result.stdout == "" and result.stderr.startswith(f"dnl: {said}") and result.stderr.count("\n") == 1


def test_reset_says_where_the_backup_is(course):
    exercise(course)
    copies.make()
    result = CliRunner().invoke(cli.app, ["reset", "01.1"])
    assert result.exit_code == 0, result.output
    assert re.search(r"01\.1 is as it was.*work/backups/01_a\.", result.stdout)


# --- Makefile ----------------------------------------------------------------------------------------------------

needs_make = pytest.mark.skipif(not shutil.which("make") or os.name == "nt", reason="no make here")


@pytest.fixture
def clone(tmp_path):
    """A bare clone, as far as the Makefile is concerned, in a path with a space."""
    folder = tmp_path / "a clone"
    shutil.copytree(REPOSITORY / ".ci", folder / ".ci")
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def make(folder, *arguments):
    ours = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "TORCH_INDEX")
    env = {key: value for key, value in os.environ.items() if key not in ours}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=env, check=False, capture_output=True, text=True, timeout=60
    )


def python_that(folder, does):
    """Write an interpreter that is this one, except for what `does` does first."""
    fake = folder / "fake python"
    body = f"import sys\n{does}\nexec(sys.argv[1])"
    fake.write_text(f'#!/bin/sh\n[ "$1" = -c ] || exit 1\nexec "{sys.executable}" -c "{body}" "$2"\n')
    fake.chmod(0o755)
    return f"PYTHON={fake}"


def ours(result):
    return [line for line in result.stderr.splitlines() if not line.startswith("make")]


@needs_make
def test_make_alone_helps(clone):
    for result in (make(clone), make(clone, "help")):
        assert result.returncode == 0
        targets = re.findall(r"^make ([a-z-]+) ", result.stdout, re.MULTILINE)
        assert targets == ["lab", "test", "run", "notebooks", "exercises", "bench", "test-all", "clean"]
    assert not (clone / ".venv").exists()


@needs_make
@pytest.mark.parametrize("target", ["lab", "test", "bench"])
def test_an_old_python_gets_one_clear_line(clone, target):
    result = make(clone, target, python_that(clone, "sys.version_info = (3, 9, 2, 'final', 0)"))
    assert result.returncode != 0
    (line,) = ours(result)
    assert "needs Python 3.11 or newer" in line and "fake python is 3.9.2" in line and "PYTHON=" in line
    assert not (clone / ".venv").exists()


@needs_make
def test_a_python_without_venv_gets_one_clear_line(clone):
    result = make(clone, "lab", python_that(clone, "sys.modules['ensurepip'] = None"))
    assert result.returncode != 0
    (line,) = ours(result)
    assert "has no venv module" in line and "apt install python3-venv" in line


@needs_make
def test_an_interrupted_installation_is_begun_again(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv" / ".dnl-unfinished").touch()
    result = make(clone, "lab", python_that(clone, "sys.version_info = (3, 9, 2, 'final', 0)"))
    assert ours(result)[0] == ".venv is made again: its installation was interrupted."
    assert not (clone / ".venv").exists()


@needs_make
def test_a_second_call_installs_nothing(clone):
    """With the stamp of this folder and lock, no interpreter is looked for, let alone pip."""
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").symlink_to(sys.executable)
    stamp = "{ pwd -P; cat requirements.txt pyproject.toml; } | cksum > .venv/.dnl-installed"
    subprocess.run(["sh", "-c", stamp], cwd=clone, check=True)
    unusable = python_that(clone, "sys.version_info = (3, 9, 2, 'final', 0)")
    result = make(clone, "environment", unusable)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    (clone / "requirements.txt").write_text("torch==0\n")
    (clone / ".venv" / "bin" / "python").unlink()
    assert make(clone, "environment", unusable).returncode != 0


@needs_make
def test_clean_leaves_work_and_the_environment(clone):
    kept = [clone / "work" / "a.ipynb", clone / "work" / ".ipynb_checkpoints" / "a.ipynb", clone / ".venv" / "x"]
    gone = [clone / "build" / "x", clone / "dnl_course" / "__pycache__" / "x", clone / ".pytest_cache" / "x"]
    for file in kept + gone:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert make(clone, "clean").returncode == 0
    assert all(file.exists() for file in kept) and not any(file.exists() for file in gone)


def test_the_repository_is_found():
    assert paths.root() == REPOSITORY


# ------------------------------------------------------------------ what a review found


def test_resets_at_the_same_moment_keep_every_version(course):
    from concurrent.futures import ThreadPoolExecutor

    exercise(course)
    copies.make()
    copy = course / "work" / "exercises" / "01_a.ipynb"
    change(copy, "task-01-1", OWN)
    with ThreadPoolExecutor(4) as pool:
        backups = list(pool.map(lambda _: copies.reset("01"), range(8)))
    assert len(set(backups)) == 8
    assert any(OWN in b.read_text(encoding="utf-8") for b in backups)
    assert not list((course / "work" / "backups").glob("*.tmp"))


def test_outputs_that_differ_every_time_are_kept_while_the_cell_is_the_same(tmp_path):
    from dnl_course.workshop import stable

    def notebook(source, said):
        cell = new_code_cell(source, id="a", metadata={"tags": ["nbval-ignore-output"]}, execution_count=1,
                             outputs=[new_output("stream", text=said)])  # fmt: skip
        return new_notebook(cells=[cell])

    path = tmp_path / "x.ipynb"
    stable.write(notebook("time()", "noon"), path)
    assert stable.keep_ignored(notebook("time()", "midnight"), path).cells[0].outputs[0].text == "noon"
    assert stable.keep_ignored(notebook("time() + 1", "midnight"), path).cells[0].outputs[0].text == "midnight"


def test_progress_without_a_course_says_so(monkeypatch):
    monkeypatch.setenv("DNL_ROOT", "/nowhere")
    result = CliRunner().invoke(cli.app, ["progress"])
    assert result.exit_code == 2 and "DNL_ROOT=/nowhere is not a clone of the course" in result.output


@pytest.mark.parametrize(("words", "said"), [(["hint", "01.9"], "There is no task '01.9'"), (["check", "²"], "no exercise ²")])
def test_tasks_that_do_not_exist_are_one_line(words, said):
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 2 and said in result.output


def test_a_torch_that_cannot_be_loaded_is_a_line_of_the_table(monkeypatch):
    import builtins

    real = builtins.__import__

    def broken(name, *args, **options):
        if name == "torch":
            raise OSError("libcudart.so.13: cannot open shared object file")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", broken)
    assert "torch cannot be imported (OSError)" in str(doctor.threads()) and doctor.gpu().state == doctor.FAIL
