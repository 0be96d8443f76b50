"""Weights of lessons: written and read whole, with the command that makes them, also when the file is lost."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from dnl_course import nn as course_nn
from dnl_course.nn import NonLocalBlock, describe, load_weights, save_weights, weights

METADATA = {"command": "dnl train cue --seed 3", "seed": 3, "accuracy": 0.75}


@pytest.fixture
def block(course):
    torch.manual_seed(0)
    return NonLocalBlock(6, norm="batch", zero_init=False)


def test_there_and_back(block, course):
    path = save_weights("cue_1", block, METADATA)
    assert path == course / "weights" / "cue_1.safetensors"
    loaded = load_weights("cue_1")
    state = block.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) and loaded[name].dtype == state[name].dtype for name in state)
    NonLocalBlock(6, norm="batch").load_state_dict(loaded)
    known = describe("cue_1")
    assert {key: known[key] for key in METADATA} == METADATA
    assert known["versions"].keys() == {"python", "torch", "dnl_course"} and "+" not in known["versions"]["torch"]
    assert sorted(p.name for p in path.parent.iterdir()) == ["cue_1.safetensors", "index.json"]


def test_the_same_weights_make_the_same_file(block, course):
    first = save_weights("cue", block, METADATA).read_bytes()
    again = save_weights("cue", block, dict(reversed(METADATA.items()))).read_bytes()
    assert first == again
    assert save_weights("cue", block, {**METADATA, "seed": 4}).read_bytes() != first
    load_weights("cue")  # the index knows the last one


def test_tensors_that_share_or_are_not_contiguous(course):
    module = nn.Module()
    module.a = nn.Parameter(torch.arange(6.0).reshape(2, 3).T)
    module.b = module.a
    module.c = nn.Parameter(torch.arange(4.0))
    module.d = module.c
    save_weights("odd", module, METADATA)
    loaded = load_weights("odd")
    assert torch.equal(loaded["a"], module.a) and torch.equal(loaded["b"], module.a)
    assert torch.equal(loaded["c"], module.c) and torch.equal(loaded["d"], module.c)


def test_a_lost_file_names_the_command(block, course):
    save_weights("cue", block, METADATA).unlink()
    for read in (load_weights, describe):
        with pytest.raises(FileNotFoundError, match=r"^weights/cue.safetensors is missing. Make it: dnl train cue --seed 3$"):
            read("cue")


def test_an_unknown_name_lists_the_known_ones(block, course):
    with pytest.raises(FileNotFoundError, match="weights/cues.safetensors is missing. There are: none yet"):
        load_weights("cues")
    for name in ("cue", "shapes"):
        save_weights(name, block, METADATA)
    with pytest.raises(FileNotFoundError, match="There are: cue, shapes$"):
        load_weights("cues")


@pytest.mark.parametrize("damage", [
    lambda data: data[:-3],
    lambda data: data[:20],
    lambda data: b"",
    lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    lambda data: b"version https://git-lfs.github.com/spec/v1\n",
])  # fmt: skip
@pytest.mark.parametrize("indexed", [True, False])
def test_a_damaged_file_names_the_command(block, course, damage, indexed):
    path = save_weights("cue", block, METADATA)
    data = path.read_bytes()
    path.write_bytes(damage(data))
    if not indexed:
        (path.parent / "index.json").unlink()
        if len(damage(data)) == len(data):
            return  # one bit: only the checksum sees it
    for read in (load_weights, describe):
        with pytest.raises(ValueError, match="weights/cue.safetensors is not what was written") as caught:
            read("cue")
        assert ("Make it again: dnl train cue --seed 3" in str(caught.value)) == indexed


def test_a_file_of_somebody_else(course):
    from safetensors.torch import save_file

    (course / "weights").mkdir()
    save_file({"a": torch.ones(2)}, course / "weights" / "theirs.safetensors")
    assert load_weights("theirs")["a"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="theirs.safetensors is not what was written"):
        describe("theirs")


@pytest.mark.parametrize("name", ["a/b", "../cue", "cue.safetensors", "", "a b", 3, None])
def test_wrong_names(block, name):
    for call in (load_weights, describe, lambda name: save_weights(name, block, METADATA)):
        with pytest.raises(ValueError, match="name is .*; allowed are letters, digits, _ and -"):
            call(name)


def test_wrong_arguments(block, course):
    with pytest.raises(ValueError, match="metadata lacks command and seed"):
        save_weights("cue", block, {"accuracy": 1})
    with pytest.raises(ValueError, match="metadata lacks seed; allowed is a dict with 'command' and 'seed'"):
        save_weights("cue", block, {"command": "x"})
    with pytest.raises(TypeError, match="module is of type OrderedDict"):
        save_weights("cue", block.state_dict(), METADATA)
    with pytest.raises(TypeError, match="metadata holds what JSON cannot"):
        save_weights("cue", block, {**METADATA, "when": object()})
    assert not (course / "weights").exists()


def test_an_interrupted_write_leaves_the_old_file(block, course, monkeypatch):
    save_weights("cue", block, METADATA)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(weights.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_weights("cue", NonLocalBlock(6, norm="batch"), METADATA)
    assert torch.equal(load_weights("cue")["out.weight"], block.out.weight)


def test_a_broken_index_is_named(block, course):
    save_weights("cue", block, METADATA)
    (course / "weights" / "index.json").write_text("{")
    with pytest.raises(ValueError, match="weights/index.json is no JSON"):
        load_weights("cue")
    with pytest.raises(ValueError, match="weights/index.json is no JSON"):
        save_weights("cue", block, METADATA)


def test_no_path_of_a_machine_is_written(block, course):
    save_weights("cue", block, METADATA)
    for file in (course / "weights").iterdir():
        assert str(Path.home()).encode() not in file.read_bytes() and str(course).encode() not in file.read_bytes()
    assert json.loads((course / "weights" / "index.json").read_text())["cue"]["command"] == METADATA["command"]


def test_everything_public_has_a_docstring():
    for name in course_nn.__all__:
        assert getattr(course_nn, name).__doc__, name
