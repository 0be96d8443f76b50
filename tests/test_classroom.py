"""The classroom: what a learner's function, right, wrong or strange, is told."""

import dataclasses
import functools
import importlib
import json
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest

import dnl_course.denoise
from dnl_course import classroom
from dnl_course.classroom import check, hint, log, progress, registry, solved
from dnl_course.classroom.engine import examine
from dnl_course.classroom.judge import judge, probes_of
from dnl_course.classroom.probe import Observation, observe
from dnl_course.classroom.recognise import recognise
from dnl_course.classroom.report import Result
from dnl_course.classroom.source import fingerprint, outside_data, refused
from dnl_course.classroom.task import Probe

notebook_array = np.ones((30, 30))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A course folder of its own, in which checks are written down."""
    (tmp_path / "pyproject.toml").write_text('name = "dnl_course"\n')
    monkeypatch.setenv("DNL_ROOT", str(tmp_path))
    monkeypatch.setenv("DNL_RECORD", "on")
    return tmp_path


def right(image, i, j, patch_size):
    r = patch_size // 2
    a, b = (image[y - r : y + r + 1, x - r : x + r + 1] for y, x in (i, j))
    return ((a - b) ** 2).mean()


# ------------------------------------------------------------------ before anything runs


def test_right_answer_passes():
    result = check("01.1", right)
    assert result and result.passed and result.mistake == "" and "✓" in str(result)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (None, 'call `check("01.1", patch_distance)`'),
        (3.5, "You passed a float, not a function"),
        (np.ones(3), "You passed a ndarray, not a function"),
    ],
)
def test_not_a_function(function, words):
    assert words in check("01.1", function).sentence


def test_unknown_task_suggests():
    result = check("1.1", right)
    assert not result and "Did you mean '01.1'?" in result.sentence
    assert "01.5" in check("01.7", right).sentence
    assert "There is no task" in check(11, right).sentence


def test_function_of_another_task():
    def pixel_weights(distances, h):
        return distances

    assert "the function of task 01.2; task 01.1 checks `patch_distance`" in check("01.1", pixel_weights).sentence


def test_stub_is_not_attempted_also_with_comments_and_a_docstring():
    def patch_distance(image, i, j, patch_size):
        """Something else."""
        # tomorrow
        raise NotImplementedError()

    result = check("01.1", patch_distance)
    assert result.status == "not attempted" and result.sentence == ""


def test_stub_with_given_lines_is_not_attempted():
    def nl_means_vectorised(image, h, patch_size, patch_distance):
        t, r = patch_distance, patch_size // 2
        rows, columns = image.shape  # noqa: RUF059
        padded = np.pad(image, t + r, mode="reflect")  # noqa: F841
        raise NotImplementedError()

    assert check("01.4", nl_means_vectorised).status == "not attempted"


def test_changed_stub_that_still_raises():
    def patch_distance(image, i, j, patch_size):
        r = patch_size // 2
        distance = ((image[i[0] - r : i[0] + r + 1] - image[j[0] - r : j[0] + r + 1]) ** 2).mean()
        raise NotImplementedError()
        return distance

    assert "delete the line `raise NotImplementedError()`" in check("01.1", patch_distance).sentence


def _through_helper(image, h, patch_size, patch_distance):
    return _helper(image, h)


def _helper(image, h):
    return dnl_course.denoise.nl_means(image, h=h)


def _inside_import(image, h, patch_size, patch_distance):
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(image, patch_size, patch_distance, h)


def _dynamic_import(image, h, patch_size, patch_distance):
    module = importlib.import_module("dnl_course." + "denoise")
    return module.nl_means(image, h=h, patch_size=patch_size, patch_distance=patch_distance)


def _method(image, h, patch_size, patch_distance):
    import cv2

    return cv2.fastNlMeansDenoising(image)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (dnl_course.denoise.nl_means, "`dnl_course.denoise.nl_means` is the package's own answer"),
        (functools.partial(dnl_course.denoise.nl_means, h=1), "dnl_course.denoise.nl_means"),
        (_through_helper, "`dnl_course.denoise` is the package's own answer"),
        (_inside_import, "skimage.restoration"),
        (_dynamic_import, "dnl_course.denoise"),
        (_method, "cv2"),
    ],
)
def test_whole_answers_are_refused_by_name(answer, name):
    result = check("01.4", answer)
    assert result.status == "refused" and name in result.sentence and "write the lines yourself" in result.sentence


def test_learners_own_module_of_a_similar_name_is_not_refused():
    def mine(x):
        return np.pad(x, 1)

    assert refused(mine, ("numpy.linalg", "num")) is None


# ------------------------------------------------------------------ what it did


def test_missing_return():
    def patch_distance(image, i, j, patch_size):
        right(image, i, j, patch_size)

    assert check("01.1", patch_distance).sentence == "Nothing is returned: is a `return` missing?"


def test_name_error_wrong_arguments_and_other_exceptions_are_sentences():
    assert "name 'imge' is not defined" in check("01.1", lambda image, i, j, p: imge.mean()).sentence.lower()  # noqa: F821
    assert "patch_distance(image, i, j, patch_size)" in check("01.1", lambda image, i: 0.0).sentence
    assert "ZeroDivisionError: division by zero" in check("01.1", lambda image, i, j, p: 1 / 0).sentence


def test_inputs_must_not_change():
    def pixel_weights(distances, h):
        distances /= -(h**2)
        np.exp(distances, out=distances)
        distances /= distances.sum()
        return distances

    assert "changes its argument `distances`" in check("01.2", pixel_weights).sentence


def test_wrong_kind_of_result():
    assert "returns a str; expected one number" in check("01.1", lambda image, i, j, p: "0.3").sentence
    assert "shape (3,); expected one number" in check("01.1", lambda image, i, j, p: np.ones(3)).sentence
    assert "are NaN" in check("01.2", lambda d, h: d * np.nan).sentence
    assert "dtype complex128" in check("01.2", lambda d, h: d * 1j).sentence
    assert "whole numbers" in check("01.2", lambda d, h: (9 * d).astype(int)).sentence
    assert "returns one array; expected `pairwise_logits` (N, N) and" in check("01.5", lambda q, h: q).sentence
    assert "`pairwise_logits` has shape (4, 9); expected (4, 4), that is (N, N)" in check("01.5", lambda q, h: (q, q[:, 0])).sentence


def test_array_of_the_notebook_instead_of_the_argument():
    def denoised_pixel(image, pixel, weights):
        return (notebook_array[:3, :3] * weights[:3, :3]).sum()

    result = check("01.3", denoised_pixel)
    assert "reads `notebook_array` from the notebook and never its argument `image`" in result.sentence


def test_printing_does_not_flood_the_notebook(capsys):
    def patch_distance(image, i, j, patch_size):
        print("patch size", patch_size)
        return 0.0

    result = check("01.1", patch_distance)
    assert capsys.readouterr().out == "" and result.printed == "patch size 3\n"


def test_single_precision_passes_with_a_note():
    result = check("01.2", lambda d, h: (np.exp(-d / h**2) / np.exp(-d / h**2).sum()).astype(np.float32))
    assert result and "single precision" in result.notes[0]
    nearly = check("01.2", lambda d, h: 1.001 * (np.exp(-d / h**2) / np.exp(-d / h**2).sum()).astype(np.float32))
    assert not nearly


# ------------------------------------------------------------------ naming the mistake


def test_two_mistakes_are_two_things():
    result = check("01.1", lambda image, i, j, p: np.sqrt(right(image, i, j, p) * p**2))
    assert result.mistake == "sum+root" and result.sentence.startswith("Two things. First: you add")


def test_a_mistake_must_explain_all_probes():
    """Wrong as `sum` on patches of 3 pixels only: no single switch explains it."""
    result = check("01.1", lambda image, i, j, p: right(image, i, j, p) * (9 if p == 3 else 1))
    assert result.mistake == "layer:values" and "The number is not right" in result.sentence


def test_a_mistake_that_raises_is_recognised():
    """One axis swapped makes patches leave a narrow image: the exception is part of the mistake."""
    from dnl_course.classroom.task import Mistake

    def reference(image, *, broken=False):
        return image.reshape(-1, 7).sum() if broken else image.sum()

    task = dataclasses.replace(
        registry.task("01.1"), reference=reference, mistakes=(Mistake("broken", "Broken.", ({"broken": True},)),), limits=()
    )
    inputs = [{"image": np.ones((2, 5))}]
    seen = observe(lambda image: image.reshape(-1, 7).sum(), [Probe(inputs[0])])
    other = observe(lambda image: np.ones(3) + image, [Probe(inputs[0])])
    assert other[0].error == "ValueError" and recognise(task, inputs, other, 1e-7) is None  # another ValueError
    assert seen[0].error == "ValueError" and recognise(task, inputs, seen, 1e-7).id == "broken"


@pytest.mark.parametrize(
    ("task", "answer", "pattern", "words"),
    [
        ("01.1", lambda *a: 3 * right(*a), "factor", "3 times the right one, on every input"),
        ("01.1", lambda *a: right(*a) / a[3], "factor", "1/patch_size of the right one"),
        ("01.1", lambda *a: -right(*a), "negated", "opposite sign"),
        ("01.2", lambda d, h: np.exp(-d / h**2) / np.exp(-d / h**2).sum() + 0.25, "shift", "the same number everywhere (+0.25)"),
        ("01.5", lambda q, h: (2 * q @ q.T / q.shape[1] / h**2 * (1 + np.tri(len(q))),) * 2, "", "shape"),
    ],
)
def test_general_patterns(task, answer, pattern, words):
    result = check(task, answer)
    assert words in result.sentence and result.mistake == (f"general:{pattern}" if pattern else "layer:shape")


def _means(image, h, patch_size, patch_distance, mode="reflect"):
    t, r, (rows, columns) = patch_distance, patch_size // 2, image.shape
    big = np.pad(image, t + r, mode=mode)
    numerator = denominator = 0
    for y in range(2 * t + 1):
        for x in range(2 * t + 1):
            moved = big[y : y + rows + 2 * r, x : x + columns + 2 * r]
            squared = (big[t : t + rows + 2 * r, t : t + columns + 2 * r] - moved) ** 2
            d = np.lib.stride_tricks.sliding_window_view(squared, (patch_size, patch_size)).mean((2, 3))
            w = np.exp(-d / h**2)
            numerator, denominator = numerator + w * moved[r : r + rows, r : r + columns], denominator + w
    return numerator / denominator


def test_border_and_transposed_patterns():
    task = registry.task("01.4")
    inputs = [p.inputs for p in probes_of(task, 0) if p.measure is None]
    bare = dataclasses.replace(task, mistakes=())

    def spoilt(image, *rest):
        out = _means(image, *rest)
        out[0, :3] += 1.0
        return out

    border = recognise(bare, inputs, observe(spoilt, [Probe(i) for i in inputs]), 1e-7)
    assert border.id == "general:border" and "outer 1 rows" in border.sentence
    turned = recognise(bare, inputs, observe(lambda *a: _means(*a).T, [Probe(i) for i in inputs]), 1e-7)
    assert turned.id == "general:transposed"


def test_wrong_split_with_right_weights_says_so():
    def shifted(patches, h):
        patches = patches - 0.3
        return 2 * patches @ patches.T / patches.shape[1] / h**2, -(patches**2).mean(1) / h**2

    assert "Together your two parts give the right weights" in check("01.5", shifted).sentence


def test_right_values_at_too_high_a_price():
    def everything(image, h, patch_size, patch_distance):
        return np.stack([_means(image, h, patch_size, patch_distance)] * 80)[0]

    result = check("01.4", everything)
    assert result.mistake == "all_at_once" and "images in memory at once (allowed: 64)" in result.sentence


def test_counting_leaves_no_trace():
    before = sys.gettrace()
    check("01.4", _means)
    assert sys.gettrace() is before and not tracemalloc.is_tracing()


# ------------------------------------------------------------------ probe and judge apart


def test_observations_cross_a_process_boundary_to_the_bit():
    task, exercise = registry.task("01.4"), registry.exercise("01")
    seen = observe(_means, probes_of(task, 5))
    back = [Observation.from_plain(json.loads(json.dumps(o.to_plain()))) for o in seen]
    assert all(np.array_equal(a, b) for o, p in zip(seen, back) for a, b in zip(o.values, p.values))
    assert judge(task, exercise, 5, back).status == "passed"
    assert judge(task, exercise, 6, back).status == "wrong"  # answers to other questions


def test_fresh_seeds_draw_other_inputs():
    task = registry.task("01.1")
    one, same, other = (probes_of(task, seed)[1].inputs["image"] for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert other.mean() == pytest.approx(1.0, abs=0.2) and other.std() == pytest.approx(0.6, abs=0.2)  # rule R2


def test_hard_coded_answers_do_not_survive_other_seeds():
    known = [float(registry.task("01.1").expected(p.inputs)[0]) for p in probes_of(registry.task("01.1"), 0)]
    answers = iter(known)
    assert check("01.1", lambda *a: next(answers))
    answers = iter(known)
    assert not check("01.1", lambda *a: next(answers), seed=7)


def test_answer_modules_are_absent_only_while_probing():
    check("01.1", right)
    assert sys.modules["dnl_course.denoise"] is dnl_course.denoise


def test_a_fault_of_ours_is_not_the_learners(monkeypatch):
    monkeypatch.setattr("dnl_course.classroom.engine.judge", lambda *a: 1 / 0)
    assert "not your mistake" in check("01.1", right).sentence


# ------------------------------------------------------------------ what is shown


def test_result_as_text_and_html():
    result = check("01.2", lambda d, h: np.exp(-d / h**2))
    html = result._repr_html_()
    assert "dnl-result dnl-wrong" in html and "<details>" in html and "distances =" in html
    assert "hint(&quot;01.2&quot;)" in html and "  yours     " in str(result)
    assert "<script" not in Result("01.1", "x", "wrong", "<script>")._repr_html_()


def test_images_are_shown_side_by_side():
    html = check("01.4", lambda image, h, p, t: image)._repr_html_()
    assert html.count("<img ") == 1 and 'alt="result: yours, expected, and their difference' in html


def test_under_nbgrader_a_check_raises(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert check("01.1", right) and repr(check("01.1", right)) == "2"
    with pytest.raises(AssertionError, match="divide by their sum"):
        check("01.2", lambda d, h: np.exp(-d / h**2))


# ------------------------------------------------------------------ progress


def test_one_line_per_check(desk):
    check("01.1", lambda image, i, j, p: right(image, i, j, p) * p**2)
    check("01.1", right)
    lines = [json.loads(row) for row in (desk / "work/.dnl/checks.jsonl").read_text().splitlines()]
    assert [(row["task"], row["verdict"], row["mistake"]) for row in lines] == [("01.1", "wrong", "sum"), ("01.1", "passed", "")]
    assert all(isinstance(row["seconds"], float) and row["time"] for row in lines)


def test_nothing_is_written_when_recording_is_off(desk, monkeypatch):
    monkeypatch.setenv("DNL_RECORD", "off")
    assert check("01.1", right) and not (desk / "work").exists()


def test_progress_survives_a_torn_line_and_a_reset(desk):
    check("01.1", right)
    with open(log.log_file(), "a") as file:
        file.write('{"task": "01.1", "verd\n[1]\n{"task": 3}\n')
    check("01.2", lambda d, h: d)
    rows = {r.task: r for r in progress("01").rows}
    assert (rows["01.1"].status, rows["01.2"].status, rows["01.3"].status) == ("passed", "tried", "open")
    assert progress("01").points == (2, 12) and "2 of 12 points" in str(progress("01"))
    log.append({"task": "01", "reset": True})
    assert progress("01").points == (0, 12)


def test_check_works_where_nothing_can_be_written(desk, monkeypatch):
    (desk / "work").write_text("a file in the way")
    assert check("01.1", right)


def test_hints_go_on_from_one_to_the_next(desk):
    assert [str(hint("01.3"))[:9] for _ in range(4)] == ["Hint 1 of", "Hint 2 of", "Hint 3 of", "Hint 3 of"]
    assert "hints 1 to 3, not 4" in str(hint("01.3", 4)) and "There is no task" in str(hint("99"))
    assert "hint 3 of" not in str(check("01.3", lambda *a: 0.0)) and "hints again" in str(check("01.3", lambda *a: 0.0))


def test_progress_of_no_exercise():
    assert "Did you mean 01" in str(progress("1")) and "no exercise" in str(progress(["01"]))
    with pytest.raises(LookupError, match="Did you mean 01"):
        log.overview("1")


def test_payoff_guard(capsys):
    def pixel_weights(distances, h):
        raise NotImplementedError()

    assert solved(patch_distance=right) and not solved(patch_distance=right, pixel_weights=pixel_weights)
    assert "Solve 01.2 first" in capsys.readouterr().out


# ------------------------------------------------------------------ reading source


def test_fingerprint_sees_statements_only():
    plain = "def f(x):\n    raise NotImplementedError()\n"
    assert fingerprint(plain) == fingerprint('def f(x: int) -> int:\n    "doc"\n\n    # c\n    raise NotImplementedError()')
    assert fingerprint(plain) != fingerprint("def f(x):\n    x = 1\n    raise NotImplementedError()")


def test_functions_without_source_are_checked_too():
    space = {"np": np}
    exec(  # noqa: S102
        "def patch_distance(image, i, j, p):\n    return 0.0", space
    )
    assert check("01.1", space["patch_distance"]).mistake == "general:zero"


def test_callable_objects_and_numpy_functions():
    class Mine:
        def __call__(self, image, i, j, patch_size):
            return right(image, i, j, patch_size)

    assert check("01.1", Mine()) and not check("01.2", np.add)


def test_public_names():
    assert set(classroom.__all__) == {"check", "hint", "progress", "reset", "solved"}
    assert examine(registry.task("01.1"), registry.exercise("01"), right, 3).status == "passed"


# ------------------------------------------------------------------ whatever comes back, check does not raise


class Rude:
    """Raises whenever it is asked for anything."""

    def __array__(self, *args, **options):
        raise RuntimeError("no")

    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = None


class Unreadable(Exception):
    def __str__(self):
        raise ValueError("no text")


def raising(error):
    raise error


async def later(*arguments):
    return 1.0


STRANGE = {
    "complex": lambda *a: 1 + 2j,
    "bool": lambda *a: True,
    "bool array": lambda image, *a: image > 1,
    "string": lambda *a: "\ud800",
    "dict": lambda *a: {"a": 1},
    "ragged": lambda *a: [[[1], [2, 3]], [1]],
    "object array": lambda *a: np.array([None, "x"], dtype=object),
    "rude": lambda *a: Rude(),
    "generator": lambda *a: (x for x in a),
    "huge": lambda image, *a: np.full(image.shape, 1e308),
    "view of something huge": lambda *a: np.broadcast_to(1.0, (10**6, 10**6)),
    "masked": lambda image, *a: np.ma.masked_greater(image, 1),
    "matrix": lambda image, *a: image[:3, :3].view(np.ndarray).astype("complex64"),
    "itself": lambda *a: STRANGE,
    "SystemExit": lambda *a: sys.exit(),
    "unreadable": lambda *a: raising(Unreadable()),
    "recursion": lambda *a: STRANGE["recursion"](*a),
    "surrogates": lambda *a: print("\ud800"),
    "empty": lambda *a: np.empty((0, 3)),
    "class": int,
}


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("task", [t.id for n in registry.exercises() for t in registry.exercise(n).tasks])
@pytest.mark.parametrize("name", [*STRANGE, "async"])
def test_strange_answers_are_wrong_and_nothing_more(task, name):
    result = check(task, later if name == "async" else STRANGE[name])
    assert result.status == "wrong" and result.mistake != "layer:check_failed", str(result)
    str(result).encode()
    result._repr_html_().encode()


@pytest.mark.parametrize("task", [["01.1"], None, 1.1, {}])
def test_strange_tasks_are_no_tasks(task):
    assert "There is no task" in check(task, right).sentence and "There is no task" in str(hint(task))


def test_imports_inside_an_answer_stay_imported():
    """A second import of a compiled module would end the kernel."""
    code = (
        "from dnl_course.classroom import check\n"
        "def pixel_weights(distances, h):\n"
        "    import scipy.special, torch\n"
        "    return scipy.special.softmax(torch.as_tensor(-distances / h**2).numpy())\n"
        "print(*(check('01.2', pixel_weights).status for _ in range(3)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["passed"] * 3, done.stderr[-500:]


def test_rounded_or_single_precision_inside_passes_with_a_note():
    result = check("01.1", lambda *a: round(float(right(*a)), 6))
    assert result and "rounded" in result.notes[0]


def test_an_argument_missing_in_a_call_of_a_helper_is_not_the_signature():
    def box_mean(x, patch_size):
        return x

    sentence = check("01.4", lambda image, h, p, t: box_mean(image)).sentence
    assert sentence.startswith("Your function raises TypeError") and "box_mean() missing 1 required" in sentence


def test_an_unsolved_other_task_is_named():
    def patch_distance(image, i, j, patch_size):
        raise NotImplementedError()

    sentence = check("01.5", lambda patches, h: patch_distance(patches, 0, 0, 3)).sentence
    assert "calls `patch_distance`, which is not written yet (task 01.1)" in sentence


def test_drawing_inside_an_answer_is_allowed_and_a_hint_is_not():
    from dnl_course.show import plots

    def with_style(*a):
        plots.STYLE.exists()
        return right(*a)

    def with_hint(*a):
        hint("01.1")
        return right(*a)

    assert check("01.1", with_style)
    assert "has no place inside an answer: take it out" in check("01.1", with_hint).sentence


def test_references_cannot_be_called():
    def patch_distance(*a):
        return registry.task("01.1").reference(*a)

    assert check("01.1", patch_distance).status == "refused"


def test_printed_instead_of_returned():
    assert "prints its result; `return` it" in check("01.1", lambda *a: print(right(*a))).sentence


def test_both_outputs_scaled_and_which_output_is_off():
    def terms(patches, h, pair=1.0, unary=1.0):
        scale = patches.shape[1] * h**2
        return pair * 2 * patches @ patches.T / scale, unary * -(patches**2).sum(1) / scale

    assert "Each of your outputs is 3 times" in check("01.5", lambda q, h: terms(q, h, 3, 3)).sentence
    assert "opposite sign" in check("01.5", lambda q, h: terms(q, h, -1, -1)).sentence
    assert "The values of `unary_logits` are not right" in check("01.5", lambda q, h: (terms(q, h)[0], q[:, 0])).sentence


def test_the_definition_as_a_loop_is_named_quickly():
    def slow(image, h, patch_size, patch_distance):
        t, r, out = patch_distance, patch_size // 2, np.empty_like(image)
        padded = np.pad(image, t + r, mode="reflect")
        for y in range(image.shape[0]):
            for x in range(image.shape[1]):
                total = weight = 0.0
                centre = padded[y + t : y + t + patch_size, x + t : x + t + patch_size]
                for dy in range(2 * t + 1):
                    for dx in range(2 * t + 1):
                        other = padded[y + dy : y + dy + patch_size, x + dx : x + dx + patch_size]
                        w = np.exp(-((centre - other) ** 2).mean() / h**2)
                        total, weight = total + w * other[r, r], weight + w
                out[y, x] = total / weight
        return out

    start = time.perf_counter()
    assert check("01.4", slow).mistake == "pixel_loop"
    assert time.perf_counter() - start < 2.0


def test_emphasis_is_set_and_code_is_left_alone():
    wrong = check("01.2", lambda d, h: np.exp(d / h**2) / np.exp(d / h**2).sum())
    assert "<em>larger</em>" in wrong._repr_html_() and "the larger the distance" in str(wrong)
    assert "patches**2" in hint("01.5", 3)._repr_html_() and "2 * patches @" in hint("01.5", 3)._repr_html_()


# ------------------------------------------------------------------ the judge's smaller duties


def test_another_right_answer_must_leave_its_input_alone_too():
    def centred(patches, h):
        patches -= patches.mean(axis=0)
        return 2 * patches @ patches.T / patches.shape[1] / h**2, -(patches**2).mean(1) / h**2

    assert "changes its argument `patches`" in check("01.5", centred).sentence


def test_single_precision_is_no_excuse_for_changing_an_input():
    def pixel_weights(distances, h):
        weights = np.exp((-distances / h**2).astype(np.float32))
        distances[:] = 0
        return (weights / weights.sum()).tolist()

    assert "changes its argument `distances`" in check("01.2", pixel_weights).sentence


def test_half_precision_is_refused_and_right_whole_numbers_are_not():
    assert "dtype float16" in check("01.2", lambda d, h: np.float16(np.exp(-d / h**2))).sentence
    task = dataclasses.replace(registry.task("01.3"), probes=lambda rng: [
        Probe({"image": np.arange(25.0).reshape(5, 5), "pixel": (2, 2), "weights": np.full((3, 3), 1.0) / 9})])  # fmt: skip
    assert examine(task, registry.exercise("01"), lambda image, pixel, weights: 12, 0).status == "passed"


def test_nan_and_infinity_are_not_the_same():
    from dnl_course.classroom.recognise import close

    assert not close(np.array([np.inf, 1]), np.array([np.nan, 1]), 1e-6)
    assert close(np.array([np.nan, 1]), np.array([np.nan, 1]), 1e-6)


def test_a_reset_is_written_down(desk, monkeypatch):
    from dnl_course import copies

    check("01.1", right)
    monkeypatch.setattr(copies, "reset", lambda number: desk / "work" / "backups" / "01.ipynb")
    assert "Your version is kept in work/backups/01.ipynb" in str(classroom.reset("01"))
    assert progress("01").points == (0, 12)


def test_a_reset_of_nothing_changes_nothing():
    assert "Nothing was changed: no exercise 'nonsense'" in str(classroom.reset("nonsense"))


def test_a_local_that_a_comprehension_reads_is_not_the_notebooks_array():
    """Before Python 3.12 a comprehension is a function of its own, and reads the locals around it like a closure."""
    scope = {"np": np, "window": np.ones(3)}
    exec("def f(x):\n    window = x * 2\n    return [window[i] for i in range(3)]\n\ndef g(x):\n    return [window[i] for i in range(3)]", scope)
    assert outside_data(scope["f"]) == []
    assert outside_data(scope["g"]) == ["window"]
