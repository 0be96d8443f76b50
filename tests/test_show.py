"""`dnl_course.show`: figures with alt text, stable files, the explorer and what it falls back to."""

from __future__ import annotations

import base64
import doctest
import importlib.util
import io
import json
import subprocess
import sys
from unittest.mock import Mock

import IPython.display
import numpy as np
import pytest
from PIL import Image

from dnl_course import denoise, paths
from dnl_course.show import explorer, plots, readme
from dnl_course.show.explorer import WIDGET_VIEW, Explorer

ALT = "Two squares of noise, the left one darker than the right one."


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """Collect what is displayed, and write figures to a temporary folder."""
    from IPython.core.interactiveshell import InteractiveShell

    outputs = []
    monkeypatch.setattr(InteractiveShell, "initialized", classmethod(lambda cls: True))
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: outputs.append((data, options)))
    monkeypatch.setattr(paths, "build", lambda: tmp_path)
    return outputs, tmp_path / "figures"


def two_squares():
    noise = np.random.default_rng(0).random((2, 12, 16))
    return plots.show_images({"dark": noise[0] / 2, "bright": noise[1]})


def noisy_image(shape=(40, 37)):
    return np.random.default_rng(1).normal(0.5, 0.2, shape)


@pytest.mark.parametrize("module", [plots, explorer])
def test_doctests(module):
    assert doctest.testmod(module).failed == 0


def test_importing_draws_and_loads_nothing():
    code = (
        "import sys, dnl_course, dnl_course.show.plots, dnl_course.data.photographs\n"
        "print(sorted({'matplotlib', 'torch', 'IPython', 'ipywidgets', 'skimage', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- show


def test_show_displays_a_png_with_its_alt_text_and_nothing_else(shown, capsys):
    import matplotlib.pyplot as plt

    outputs, _ = shown
    fig = two_squares()
    assert plots.show(fig, name="99_test", alt=ALT) is None
    [(data, options)] = outputs
    assert set(data) == {"image/png", "text/plain"} and data["text/plain"] == ALT
    assert options == {"metadata": {"image/png": {"alt": ALT}}, "raw": True}
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert capsys.readouterr() == ("", "")
    assert not plt.fignum_exists(fig.number)


def test_nbconvert_finds_the_alt_text(shown):
    import nbformat.v4
    from nbconvert import HTMLExporter

    outputs, _ = shown
    plots.show(two_squares(), name="99_test", alt=ALT)
    [(data, options)] = outputs
    output = nbformat.v4.new_output("display_data", data=data, metadata=options["metadata"])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    body, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)
    assert f'alt="{ALT}"' in body


def test_files_are_the_same_bytes_each_time(shown):
    outputs, folder = shown
    files = []
    for _ in range(2):
        plots.show(two_squares(), name="99_test", alt=ALT)
        files.append((folder / "99_test.svg").read_bytes())
    assert files[0] == files[1]
    assert outputs[0] == outputs[1]
    assert b"<svg" in files[0] and b"<dc:date" not in files[0]
    assert [path.name for path in folder.iterdir()] == ["99_test.svg"]


def test_show_works_without_a_clone(shown, monkeypatch):
    def nowhere():
        raise FileNotFoundError("no clone")

    monkeypatch.setattr(paths, "build", nowhere)
    plots.show(two_squares(), name="99_test", alt=ALT)
    assert len(shown[0]) == 1


def test_outside_jupyter_only_the_file_is_written(monkeypatch, tmp_path, capsys):
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setattr(InteractiveShell, "initialized", classmethod(lambda cls: False))
    monkeypatch.setattr(paths, "build", lambda: tmp_path)
    plots.show(two_squares(), name="99_test", alt=ALT)
    assert (tmp_path / "figures" / "99_test.svg").is_file()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "alt", "message"),
    [
        ("99_test", "", "describe in a sentence"),
        ("99_test", "a figure", "describe in a sentence"),
        ("99 Test", ALT, "lower-case"),
        ("../99_test", ALT, "lower-case"),
    ],
)
def test_show_wants_a_stable_name_and_a_description(shown, name, alt, message):
    fig = two_squares()
    with pytest.raises(ValueError, match=message):
        plots.show(fig, name=name, alt=alt)
    plots.close(fig)
    assert shown[0] == []


@pytest.mark.parametrize(("colour", "mode"), [(False, "L"), (True, "RGB")])
def test_a_grey_figure_is_written_as_grey_and_nothing_is_lost(colour, mode):
    figures = [two_squares(), two_squares()]  # the layout of one figure may move a little when it is drawn again
    for fig in figures:
        fig.axes[0].set_title("title", color="red" if colour else "black")
    drawn = io.BytesIO()
    figures[0].savefig(drawn, format="png")
    exact, small = Image.open(drawn).convert("RGB"), Image.open(io.BytesIO(plots.png(figures[1])))
    for fig in figures:
        plots.close(fig)
    assert small.mode == mode
    assert np.array_equal(np.asarray(exact), np.asarray(small.convert("RGB")))


# ---------------------------------------------------------------- drawing


def test_show_images_takes_pairs_with_equal_titles_and_leaves_no_empty_axes():
    image = np.zeros((4, 5))
    fig = plots.show_images([("a", image), ("a", image), ("b", image)], rows=2)
    assert [ax.get_title() for ax in fig.axes] == ["a", "a", "b"]
    assert all(drawn.get_clim() == (0, 1) for ax in fig.axes for drawn in ax.get_images())
    plots.close(fig)


@pytest.mark.parametrize("pixel", [(20, 18), (0, 0), (39, 2), (3, 36)])
def test_overlay_puts_each_weight_on_its_own_pixel(pixel):
    image, t = noisy_image(), 5
    weights = np.arange(1.0, 122.0).reshape(11, 11) / 7381  # no symmetry
    fig, ax = plots.subplots()
    plots.overlay_weights(ax, image, pixel, weights, patch_size=3, margin=2)
    lit = ax.get_images()[-1]
    left, right, bottom, top = lit.get_extent()
    alpha = lit.get_array()[..., 3]
    assert (bottom - top, right - left) == alpha.shape
    for row in range(40):
        for column in range(37):
            down, aside = row - pixel[0] + t, column - pixel[1] + t
            y, x = row - int(top + 0.5), column - int(left + 0.5)
            inside = 0 <= down <= 2 * t and 0 <= aside <= 2 * t
            assert inside == (0 <= y < alpha.shape[0] and 0 <= x < alpha.shape[1])
            if inside:
                assert alpha[y, x] == pytest.approx((weights[down, aside] / weights.max()) ** 0.4)
    plots.close(fig)


@pytest.mark.parametrize("log", [True, False])
def test_weight_map_shows_the_weights_over_their_shifts(log):
    weights = denoise.nl_weights(noisy_image(), (20, 18), h=0.1, patch_size=3, patch_distance=4)
    fig, ax = plots.subplots()
    drawn = plots.draw_weights(ax, weights, log=log, decades=3)
    shown = np.asarray(drawn.get_array())
    expected = np.log10(np.maximum(weights, weights.max() / 1000)) if log else weights
    assert np.allclose(shown, expected) and tuple(drawn.get_extent()) == (-4.5, 4.5, 4.5, -4.5)
    plots.close(fig)


# ---------------------------------------------------------------- explorer


@pytest.mark.parametrize("pixel", [(20, 18), (0, 0), (39, 36), (2, 35)])
@pytest.mark.parametrize("settings", [{"h": 0.15, "patch_size": 5, "patch_distance": 6}, {"h": 0.1, "sigma": 0.1}])
def test_explorer_shows_what_nl_means_computes(pixel, settings):
    noisy = noisy_image()
    clean = np.full(noisy.shape, 0.5)
    look = Explorer(noisy, clean, pixel=pixel, **settings)
    assert np.array_equal(look.weights, denoise.nl_weights(noisy, pixel, **settings))
    middle = look.patch_size // 2
    assert look.patches["noisy"][middle, middle] == noisy[pixel]
    assert look.patches["denoised"][middle, middle] == pytest.approx(
        denoise.nl_means(noisy, **settings)[pixel], abs=1e-10
    )
    assert look.patches["clean"].shape == look.patches["denoised"].shape == (look.patch_size,) * 2
    entropy = -sum(w * np.log(w) for w in look.weights.flat if w > 0)
    assert look.effective == pytest.approx(np.exp(entropy))


def test_a_wrong_setting_changes_nothing():
    look = Explorer(noisy_image(), h=0.1, patch_size=3, patch_distance=4)
    before = look.weights
    for wrong in ({"patch_size": 4}, {"h": 0.0}, {"pixel": (40, 0)}):
        with pytest.raises((ValueError, IndexError)):
            look.set(**wrong)
        assert (look.pixel, look.h, look.patch_size) == ((20, 18), 0.1, 3) and look.weights is before
    with pytest.raises(TypeError, match="width: not one of h, log"):
        look.set(width=3)


def test_explorer_wants_grey_pictures_of_one_shape():
    with pytest.raises(ValueError, match="grey photograph"):
        Explorer(np.zeros((8, 8, 3)), h=0.1)
    with pytest.raises(ValueError, match="same shape"):
        Explorer(np.zeros((8, 8)), np.zeros((8, 9)), h=0.1)


@pytest.mark.parametrize("missing", [None, "ipympl.backend_nbagg", "ipywidgets"])
def test_without_widgets_there_is_a_picture_with_alt_text(monkeypatch, missing):
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    look = Explorer(noisy_image(), h=0.1, patch_size=3, patch_distance=4)
    assert look.widget() is None
    data, metadata = look._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}
    assert metadata == {"image/png": {"alt": look.alt}} and data["text/plain"] == look.alt
    assert "row 20, column 18" in look.alt and "9 by 9 window" in look.alt


@pytest.fixture
def with_widget(monkeypatch):
    """An explorer that believes itself in a kernel, and its widget."""
    if importlib.util.find_spec("ipympl") is None:  # importing it here would change the backend
        pytest.skip("ipympl is not installed")
    look = Explorer(noisy_image(), h=0.1, patch_size=3, patch_distance=4)
    monkeypatch.setattr(IPython, "get_ipython", lambda: Mock())
    return look, look.widget()


def test_in_a_kernel_the_output_carries_both_the_widget_and_the_picture(with_widget):
    look, widget = with_widget
    data, metadata = look._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain", WIDGET_VIEW}
    assert data[WIDGET_VIEW]["model_id"] == widget.model_id
    assert metadata["image/png"]["alt"] == look.alt


def test_the_widget_leaves_the_other_figures_alone(with_widget):
    import matplotlib.pyplot as plt

    assert "ipympl" in sys.modules
    assert "ipympl" not in plt.get_backend()
    assert plt.get_fignums() == []


def test_a_click_chooses_the_pixel_and_sliders_the_parameters(with_widget):
    from matplotlib.backend_bases import MouseEvent

    look, widget = with_widget
    canvas = widget.children[-1]
    canvas.draw()

    def click(label, row, column):
        ax = next(ax for ax in canvas.figure.axes if (ax.get_label() == "photograph") == (label == "photograph"))
        x, y = ax.transData.transform((column, row))
        canvas.callbacks.process("button_press_event", MouseEvent("button_press_event", canvas, x, y, 1))

    click("photograph", 7, 31)
    assert look.pixel == (7, 31)
    assert np.array_equal(look.weights, denoise.nl_weights(look.noisy, (7, 31), h=0.1, patch_size=3, patch_distance=4))
    click("the enlarged window", 8, 30)
    assert look.pixel == (7, 31)

    (h, patch_size), (distance, log) = (box.children for box in widget.children[1].children)
    h.value, patch_size.value, distance.value, log.value = 0.2, 5, 6, False
    assert (look.h, look.patch_size, look.patch_distance, look.log) == (0.2, 5, 6, False)
    assert np.array_equal(look.weights, denoise.nl_weights(look.noisy, (7, 31), h=0.2, patch_size=5, patch_distance=6))
    titles = [ax.get_title() for ax in canvas.figure.axes]
    assert f"uses {look.effective:.0f} of 169 pixels" in titles


# ---------------------------------------------------------------- lesson 01


@pytest.fixture(scope="module")
def lesson():
    return json.loads((paths.root() / readme.NOTEBOOK).read_text(encoding="utf-8"))


def test_every_picture_of_the_lesson_has_alt_text(lesson):
    pictures = 0
    for cell in lesson["cells"]:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                pictures += 1
                assert len(output["metadata"]["image/png"]["alt"]) > 20, cell["id"]
                assert WIDGET_VIEW not in output["data"], cell["id"]
    assert pictures >= 10


def test_no_picture_is_clipped_at_its_edges(lesson):
    for cell in lesson["cells"]:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                with Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))) as picture:
                    grey = np.asarray(picture.convert("L"))
                assert grey[:2].min() > 250 and grey[-2:].min() > 250, cell["id"]


def test_every_cell_of_the_lesson_belongs_to_core_or_annex_and_asserts_what_it_shows(lesson):
    told = {"01-setup", "01-loop-definition", "01-shift-definition", "01-patches", "01-patches-figure", "01-explorer"}
    told |= {"01-h-curves", "01-h-curves-figure", "01-rivals"}  # asserted in the cell that follows
    for cell in lesson["cells"]:
        assert len({"core", "annex"} & set(cell["metadata"]["tags"])) == 1, cell["id"]
        assert set(cell["metadata"]["tags"]) <= {"core", "annex", "question", "demo", "slide", "thumbnail"}, cell["id"]
        if cell["cell_type"] == "code" and cell["id"] not in told:
            assert "assert " in "".join(cell["source"]), cell["id"]


def test_the_word_of_lesson_05_waits_for_lesson_05(lesson):
    assert "whiten" not in json.dumps(lesson["cells"]).lower()


def test_the_picture_of_the_readme_is_the_one_in_the_lesson():
    committed = paths.root() / readme.PICTURE
    with Image.open(committed) as old, Image.open(io.BytesIO(readme.picture())) as new:
        assert np.array_equal(np.asarray(old.convert("L")), np.asarray(new.convert("L")))
    assert committed.stat().st_size < 300_000
