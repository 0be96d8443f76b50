"""The ``dnl`` command: a thin wrapper around the classroom and the workshop, which do the work.

Nothing heavy is imported before a command needs it, so that ``dnl --help`` answers at once.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from typing import Annotated

import typer

EXERCISE = Annotated[str, typer.Argument(metavar="EXERCISE", help="Its number, such as 01.")]


class Suggesting(typer.core.TyperGroup):
    """A group of commands that answers a misspelt one with the nearest right one."""

    def resolve_command(self, ctx, args):
        name = args[0] if args else ""
        if name and self.get_command(ctx, name) is None:
            commands = self.list_commands(ctx)
            near = difflib.get_close_matches(name, commands, n=1, cutoff=0.5)
            hint = f"did you mean {ctx.command_path} {near[0]}?" if near else f"there are: {', '.join(commands)}."
            _stop(f"no command {name!r}: {hint}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Suggesting,
    name="dnl",
    help="From non-local means to Disentangled Non-Local networks: a course in notebooks.",
    epilog="Example: dnl lab",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
dev = typer.Typer(
    cls=Suggesting,
    help="For authors: prove, execute and build the course.",
    epilog="Example: dnl dev check",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(dev, name="dev")


@app.command(epilog="Example: dnl doctor --class   (one line to send to your teacher)")
def doctor(
    class_: Annotated[bool, typer.Option("--class", help="One line without personal data, to send beforehand.")] = False,
):
    """Say whether this machine works.

    Versions against the lock, threads, GPU, a kernel that starts; exit code 0 when nothing fails.
    """
    from dnl_course.workshop import doctor as doctor_

    report = _clean(doctor_.examine)
    print(report.line if class_ else report.text)
    raise typer.Exit(0 if report.ok else 1)


@app.command(epilog="Examples: dnl lab · dnl lab --port 9000 --no-browser")
def lab(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="The first port to try.")] = 8888,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser too.")] = True,
):
    """Open the course in JupyterLab.

    Your own copies of lessons and exercises lie in work/.
    """
    from dnl_course.workshop import lab as lab_

    raise typer.Exit(_clean(lab_.start, port, browser=browser))


@app.command(epilog="Example: dnl check 01")
def check(exercise: EXERCISE):
    """Check your answers to an exercise.

    They are read from work/exercises; exit code 0 when every task passes.
    """
    from dnl_course.workshop.rehearse import check_notebook

    report = _clean(check_notebook, _known(exercise))
    print(report.text)
    raise typer.Exit(0 if report.ok else 1)


@app.command(epilog="Example: dnl progress")
def progress():
    """Show what is passed and what is to come."""
    from dnl_course import paths
    from dnl_course.classroom.log import overview

    _clean(paths.root)
    print(_clean(overview))


@app.command(epilog="Examples: dnl hint 01.2 · dnl hint 01.2 --number 3")
def hint(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Its number, such as 01.2.")],
    number: Annotated[int | None, typer.Option(min=1, max=3, help="Which of the three; the next one if left out.")] = None,
):
    """Give a hint for a task, stronger each time."""
    from dnl_course import classroom

    print(_clean(classroom.hint, _known(task, tasks=True), number))


@app.command(epilog="Examples: dnl reset 01 · dnl reset 01.2")
def reset(target: Annotated[str, typer.Argument(metavar="EXERCISE|TASK", help="Such as 01, or 01.2 for one task.")]):
    """Restore an exercise or one of its tasks.

    What was there is kept in work/backups.
    """
    from dnl_course.classroom.engine import restore

    print(_clean(restore, _known(target, tasks=True)))


@dev.command("check", epilog="Examples: dnl dev check · dnl dev check 01")
def dev_check(exercises: Annotated[list[str] | None, typer.Argument(metavar="[EXERCISE]...")] = None):
    """Prove the exercises.

    Stubs are not attempted, solutions pass, every known mistake is named, exercises/ is what is derived.
    """
    from dnl_course.workshop.prove import prove

    report = _clean(prove, [_known(exercise) for exercise in exercises] if exercises else None)
    print(report.text)
    raise typer.Exit(0 if report.ok else 1)


@dev.command("notebooks", epilog="Examples: dnl dev notebooks · dnl dev notebooks 01 · dnl dev notebooks --only solutions")
def dev_notebooks(
    number: Annotated[str | None, typer.Argument(help="Only those that start with this, such as 01.")] = None,
    only: Annotated[str | None, typer.Option(help="Only this folder: notebooks or solutions.")] = None,
):
    """Execute lessons and solutions in place.

    What differs between two runs or two machines is left out of the files.
    """
    from dnl_course.workshop.execute import notebooks

    if only and only not in ("notebooks", "solutions"):
        _stop(f"no folder {only!r} of executed notebooks: there are notebooks and solutions.")
    runs = _clean(notebooks, [only] if only else ["notebooks", "solutions"], number)
    print("\n".join(run.text for run in runs) or "There are no notebooks yet.")
    raise typer.Exit(0 if all(run.ok for run in runs) else 1)


@dev.command("exercises", epilog="Example: dnl dev exercises")
def dev_exercises():
    """Derive exercises/ from solutions/."""
    from dnl_course.workshop.derive import derive

    changed = _clean(derive)
    print("\n".join(f"{name}: derived" for name in changed) or "exercises/ is what solutions/ says.")


@dev.command("run", epilog="Example: dnl dev run")
def dev_run():
    """Execute the lessons into build/course.

    Its index.html is readable offline.
    """
    from dnl_course.workshop.site import build

    report = _clean(build)
    print(report.text)
    raise typer.Exit(0 if report.ok else 1)


def _known(number: str, *, tasks: bool = False) -> str:
    """Return the number of an exercise (or task) as the course writes it, or stop with the one that was meant."""
    from dnl_course.classroom import registry

    exercises = list(registry.exercises())
    exercise, dot, _ = number.partition(".")
    if exercise in exercises and (tasks or not dot):
        if dot:
            _clean(registry.task, number)
        return number
    if exercise in exercises:
        _stop(f"{number!r} is a task; this command takes an exercise: did you mean {exercise}?")
    near = [e for e in exercises if exercise.isdecimal() and int(e) == int(exercise)]
    near = near or difflib.get_close_matches(exercise, exercises, n=1)
    what = f"did you mean {near[0]}{number[len(exercise):]}?" if near else f"there are: {', '.join(exercises) or 'none yet'}."
    _stop(f"no exercise {exercise}: {what}")


def _clean(function: Callable, *args, **options):
    """Call `function`; what its user did wrong becomes one line and exit code 2, not a traceback."""
    try:
        return function(*args, **options)
    except (ValueError, LookupError, FileNotFoundError, OSError, RuntimeError) as error:
        _stop(str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error))


def _stop(message: str):
    print(f"dnl: {message}", file=sys.stderr)
    raise typer.Exit(2)


if __name__ == "__main__":
    app(prog_name="dnl")
