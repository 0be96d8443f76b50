"""`dnl_course.train.two_tasks`, the network it trains and what it records (lesson 04)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dnl_course import paths
from dnl_course.data import cues
from dnl_course.nn import describe
from dnl_course.nn.backbones import PatchNet
from dnl_course.train import records, two_tasks


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lively(seed=0):
    """A network that is far from its start: random non-zero weights everywhere, sharp maps."""
    generator = torch.Generator().manual_seed(seed)
    net = PatchNet()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
        net.block.query.weight.mul_(2)
    return net.eval().requires_grad_(False)


def loop_maps(net, images):
    """(B, 64, 64) float64, by the definition."""
    q, k, _ = (e.double() for e in net.block.embeddings(net.features(images)))
    rows = torch.empty(len(q), 64, 64, dtype=torch.float64)
    for b in range(len(q)):
        for i in range(64):
            weights = torch.stack([(q[b, i] * k[b, j]).sum() for j in range(64)])
            weights = (weights - weights.max()).exp()
            rows[b, i] = weights / weights.sum()
    return rows


def test_cells_know_of_each_other_only_through_the_block():
    net, (images, _) = lively(), two_tasks.examples("per_pixel", 2, 0)
    changed = images.clone()
    changed[:, :, 12:18, 30:36] += 0.5  # cell (2, 5)
    other = torch.ones(8, 8, dtype=torch.bool)
    other[2, 5] = False
    assert torch.equal(net.features(images)[..., other], net.features(changed)[..., other])
    assert not torch.equal(net.features(images)[..., 2, 5], net.features(changed)[..., 2, 5])
    with torch.no_grad():  # look at everything equally
        net.block.query.weight.zero_()
        net.block.query.bias.zero_()
    assert (net(images) - net(changed))[..., other].abs().amax(1).min() > 1e-4  # each of them has noticed
    with torch.no_grad():
        net.block.out.weight.zero_()
    assert torch.equal(net(images)[..., other], net(changed)[..., other])


def test_another_block_other_sizes():
    net = PatchNet(5, channels=12, patch=4, block=torch.nn.Identity())
    assert net(torch.rand(2, 3, 20, 28)).shape == (2, 5, 5, 7)


def test_a_fresh_network_is_the_identity_in_its_block_and_its_values_are_not_small():
    block = PatchNet().block
    assert block.is_identity() and block.value.weight.std() > 0.15 and 0 < block.query.weight.std() < 0.02


def test_examples_are_the_same_pictures_for_both_questions_and_new_ones_for_each_seed():
    (image, cue), (pixel, own) = (two_tasks.examples(task, 6, 2) for task in two_tasks.TASKS)
    assert torch.equal(image, pixel) and not torch.equal(cue, own)
    assert not torch.equal(image, two_tasks.examples("image_cue", 6, 3)[0])
    assert (cue == cue[:, :1, :1]).all() and cue.dtype == torch.int64
    training = cues.pictures(two_tasks.BATCH, 2).images  # what a training with seed 2 begins with
    assert not any(np.array_equal(a, b) for a in image.numpy() for b in training)


def test_one_map_answers_by_the_definition():
    net, (images, _) = lively(), two_tasks.examples("per_pixel", 2, 0)
    x = net.features(images)
    v = net.block.embeddings(x)[2].double()
    mean_rows = loop_maps(net, images).mean(1)  # (B, 64)
    y = torch.zeros(2, 16, 8, 8)
    for b, row, column in np.ndindex(2, 8, 8):
        y[b, :, row, column] = sum(mean_rows[b, j] * v[b, j] for j in range(64)).float()
    expected = net.head(x + net.block.out(y))
    assert (two_tasks.one_map_answers(net, images) - expected).abs().max() < 1e-4
    assert (net(images) - expected).abs().max() > 1e-2  # it is not what the network itself says
    with torch.no_grad():  # with equal queries there is one map already
        net.block.query.weight.zero_()
    assert (two_tasks.one_map_answers(net, images) - net(images)).abs().max() < 1e-4


def test_measured_by_loops():
    net, n = lively(1), 3
    found = two_tasks.measured(net, "per_pixel", n)
    images, labels = two_tasks.examples("per_pixel", n, 0)
    rows = loop_maps(net, images).numpy()
    distance, divergence, positions, uniform = [], [], [], []
    for A in rows:
        unit = A / np.sqrt((A**2).sum(axis=1, keepdims=True))
        distance.append(np.mean([[(1 - a @ b) / 2 for a in unit] for b in unit]))
        mean = A.mean(axis=0)
        divergence.append(np.mean([(a * np.log(a / mean)).sum() for a in A]))
        positions.append(np.mean([np.exp(-(a * np.log(a)).sum()) for a in A]))
        uniform.append(np.abs(mean - 1 / 64).sum() / 2)
    assert found["cosine_distance"] == pytest.approx(np.mean(distance), rel=1e-6)
    assert found["row_divergence"] == pytest.approx(np.mean(divergence), rel=1e-6)
    assert found["effective_positions"] == pytest.approx(np.mean(positions), rel=1e-6)
    assert found["distance_from_uniform"] == pytest.approx(np.mean(uniform), rel=1e-6)
    logs = np.log(rows)  # logits but for a number per row
    seen = logs - logs.mean(axis=2, keepdims=True)
    shares = 64 * (seen.mean(axis=1) ** 2).sum(axis=1) / (seen**2).sum(axis=(1, 2))
    assert found["unary_share"] == pytest.approx(shares.mean(), rel=1e-6)
    assert found["accuracy"] == pytest.approx((net(images).argmax(1) == labels).double().mean().item())
    one = two_tasks.one_map_answers(net, images).argmax(1) == labels
    assert found["accuracy_one_map"] == pytest.approx(one.double().mean().item())


def test_measuring_leaves_the_network_in_its_mode_and_its_averages_alone():
    net = PatchNet()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    two_tasks.measured(net, "image_cue", 2)
    assert net.training and all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_training_repeats_begins_alike_and_leaves_the_callers_generator():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    torch.set_num_threads(2)
    first = two_tasks.train("per_pixel", 3, steps=3, watch=(0, 2, 3, 9))
    assert torch.equal(torch.rand(3), expected) and torch.get_num_threads() == 2
    again, other, cue = (
        two_tasks.train(task, seed, steps=3, watch=()) for task, seed in (("per_pixel", 3), ("per_pixel", 4), ("image_cue", 3))
    )

    def same(a, b):
        return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))

    assert [row["step"] for row in first.history] == [0, 2, 3] and list(first.nets) == [0, 3]
    assert first.at(2)["step"] == 2 and again.history == []
    assert same(first.nets[3], again.nets[3]) and same(first.nets[0], cue.nets[0])
    assert not same(first.nets[3], cue.nets[3]) and not same(first.nets[0], other.nets[0])
    assert not any(net.training for net in first.nets.values())


def test_it_learns_to_look_at_one_place():
    run = two_tasks.train("image_cue", 1, steps=120, watch=(0, 120))
    assert run.at(0)["accuracy"] < 0.35 and run.at(0)["effective_positions"] > 63.9
    assert run.at(120)["accuracy"] > 0.45 and run.at(120)["effective_positions"] < 40
    assert run.at(120)["cosine_distance"] < 0.05


@pytest.mark.parametrize(("call", "words"), [
    (lambda: two_tasks.train("pixels"), "Valid names: image_cue, per_pixel"),
    (lambda: two_tasks.train("per_pixel", steps=0), "steps = 0"),
    (lambda: two_tasks.examples("pixels", 2, 0), "Valid names: image_cue, per_pixel"),
    (lambda: two_tasks.examples("per_pixel", 0, 0), "n = 0"),
    (lambda: two_tasks.examples("per_pixel", 2, -1), "seed = -1"),
    (lambda: two_tasks.shipped("trained"), "Valid names: untrained, image_cue, per_pixel, per_pixel_midway"),
])  # fmt: skip
def test_errors_name_what_is_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_shipped_networks_are_what_the_lesson_says():
    found = {
        name: two_tasks.measured(two_tasks.shipped(name), "image_cue" if name == "image_cue" else "per_pixel", 64)
        for name in two_tasks.SHIPPED
    }
    flat, one, own, midway = (found[name] for name in ("untrained", "image_cue", "per_pixel", "per_pixel_midway"))
    assert flat["cosine_distance"] < 1e-4 and flat["effective_positions"] > 63.9 and flat["accuracy"] < 0.35
    assert one["cosine_distance"] < 1e-4 and one["effective_positions"] < 1.1 and one["unary_share"] > 0.8
    assert one["accuracy"] > 0.99 and one["accuracy_one_map"] > 0.99
    assert abs(own["cosine_distance"] - 3 / 8) < 0.02 and own["effective_positions"] < 3 and own["unary_share"] < 0.35
    assert own["accuracy"] > 0.99 and own["accuracy_one_map"] < 0.65
    assert midway["cosine_distance"] < 0.02 and midway["effective_positions"] < 4
    for name in two_tasks.SHIPPED:
        net = two_tasks.shipped(name)
        assert not net.training and not any(p.requires_grad for p in net.parameters())
        about = describe(f"two_tasks_{name}")
        assert about["command"] == "python -m dnl_course.train.two_tasks" and about["seed"] == two_tasks.SHIPPED_SEED
    assert two_tasks.shipped("untrained").block.is_identity()
    files = [paths.root() / "weights" / f"two_tasks_{name}.safetensors" for name in two_tasks.SHIPPED]
    assert sum(file.stat().st_size for file in files) < 250_000


def test_the_recorded_runs_say_what_the_lesson_says():
    runs = records.read("two_tasks")
    assert {(run["task"], run["seed"]) for run in runs} == {(task, seed) for task in two_tasks.TASKS for seed in range(12)}
    for run in runs:
        assert [row["step"] for row in run["history"]] == list(two_tasks.WATCHED)
        assert run["settings"] == {"steps": 400, "batch": 32, "rate": 0.005, "test_pictures": 256, "threads": 1}
        assert run["command"] == "python -m dnl_course.train.two_tasks" and run["versions"]["torch"] and run["device"]
        end = run["history"][-1]
        if run["task"] == "image_cue":
            assert end["cosine_distance"] < 0.01 and end["distance_from_uniform"] > 0.8
            assert abs(end["accuracy"] - end["accuracy_one_map"]) < 0.01
        else:
            assert end["cosine_distance"] > 0.36 and end["accuracy"] > 0.99 and end["accuracy_one_map"] < 0.6


def test_a_run_from_the_command_line_writes_records_and_weights_that_can_be_read(course, capsys):
    two_tasks.main(["--seeds", "1", "--steps", "31"])
    assert capsys.readouterr().out == "2 runs: results/two_tasks.jsonl; weights/\n"
    lines = (course / "results" / "two_tasks.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["task"] for line in lines] == ["image_cue", "per_pixel"]
    assert json.loads(lines[0])["command"] == "python -m dnl_course.train.two_tasks --seeds 1 --steps 31"
    assert json.loads(lines[0])["commit"] == "unknown"  # no repository here
    assert [row["step"] for row in records.read("two_tasks")[1]["history"]] == [0, 10, 20, 30]
    made = {name: two_tasks.shipped(name) for name in two_tasks.SHIPPED}
    run = two_tasks.train("per_pixel", 1, steps=31, watch=())
    for name, step in (("untrained", 0), ("per_pixel_midway", 30), ("per_pixel", 31)):
        for ours, theirs in zip(run.nets[step].state_dict().values(), made[name].state_dict().values(), strict=True):
            assert torch.equal(ours, theirs)
    two_tasks.main(["--seeds", "0", "--steps", "1"])
    assert capsys.readouterr().out == "2 runs: results/two_tasks.jsonl\n"
