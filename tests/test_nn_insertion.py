"""`insert`: a network with new blocks gives the same output to the bit, and is as it was after `remove`."""

import copy
import io
import shutil

import pytest
import torch
from torch import nn

from dnl_course.nn import Insertion, NonLocalBlock, insert


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small tensors: on a busy machine two threads wait for each other, six times as long as the work takes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)  # runs twice

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + x)


class Network(nn.Module):
    """A ResNet in small: stages of residual blocks in nn.Sequential, channels 4, 6."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layer1 = nn.Sequential(Residual(4), Residual(4))
        self.down = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.layer2 = nn.Sequential(Residual(6), Residual(6), Residual(6))
        self.split = Split()
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.layer2(self.down(self.layer1(self.stem(x))))
        return self.head(self.split(x)[0].mean((2, 3)))


class Split(nn.Module):
    def forward(self, x):
        return x, x


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = Network()
    for _ in range(3):
        network(torch.randn(8, 3, 8, 8))  # running statistics that are not 0 and 1
    return network


@pytest.fixture
def x():
    return torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(1))


def woken(block, std=0.3):
    """Return the block with random weights, no longer the identity."""
    for p in block.parameters():
        nn.init.normal_(p, std=std)
    return block


def picture(model):
    """Return all that `remove` must bring back: modules, hooks, tensors, modes."""
    return (
        [(name, id(module), module.training, dict(module._forward_hooks)) for name, module in model.named_modules()],
        [(name, id(tensor)) for name, tensor in [*model.named_parameters(), *model.named_buffers()]],
        {key: value.clone() for key, value in model.state_dict().items()},
        set(vars(model)),
    )


def same(a, b):
    return a[0] == b[0] and a[1] == b[1] and a[3] == b[3] and list(a[2]) == list(b[2]) and all(
        torch.equal(a[2][key], b[2][key]) for key in a[2]
    )  # fmt: skip


PLACES = {"layer2.1": 6, "layer1": 4, "down": 6, "layer1.0.conv2": 4}


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("training", [True, False])
def test_the_output_is_unchanged_to_the_bit(network, x, training, norm):
    network.train(training)
    reference = copy.deepcopy(network)
    insertion = insert(network, {name: NonLocalBlock(C, norm=norm) for name, C in PLACES.items()})
    assert torch.equal(network(x), reference(x))
    assert all(block.training == training for block in insertion.blocks.values())
    for key, value in reference.state_dict().items():  # running statistics too
        assert torch.equal(network.state_dict()[key], value), key


def test_a_block_that_has_learned_changes_the_output_and_removing_brings_it_back(network, x):
    network.eval()
    before, plain = picture(network), network(x)
    insertion = insert(network, {name: NonLocalBlock(C) for name, C in PLACES.items()})
    for name in PLACES:  # each of them works
        last = network(x)
        woken(insertion.blocks[name])
        assert not torch.allclose(network(x), last, rtol=0, atol=1e-4), name
    insertion.remove()
    assert torch.equal(network(x), plain)
    assert same(picture(network), before)
    insertion.remove()
    assert same(picture(network), before)


def test_where_the_block_stands(network, x):
    network.eval()
    block = woken(NonLocalBlock(6))
    features = network.layer2[1](network.layer2[0](network.down(network.layer1(network.stem(x)))))
    by_hand = network.head(network.layer2[2](block(features)).mean((2, 3)))
    insert(network, {"layer2.1": block}, allow_change=True)
    assert torch.allclose(network(x), by_hand, rtol=0, atol=1e-6)


def test_parameters_and_keys(network):
    before = network.state_dict()
    insertion = insert(network, {"layer2.1": NonLocalBlock(6), "": NonLocalBlock(5, ndim=1)})
    after = network.state_dict()
    assert list(after)[: len(before)] == list(before) and all(torch.equal(after[key], before[key]) for key in before)
    own = [f"non_local_blocks.layer2_1.{key}" for key in NonLocalBlock(6).state_dict()]
    own += [f"non_local_blocks.whole.{key}" for key in NonLocalBlock(5, ndim=1).state_dict()]
    assert list(after)[len(before) :] == own
    parameters = {id(p) for p in network.parameters()}
    assert all(id(p) in parameters for block in insertion.blocks.values() for p in block.parameters())
    network.double()
    assert insertion.blocks["layer2.1"].value.weight.dtype == torch.float64
    network.eval()
    assert not insertion.blocks["layer2.1"].training
    assert repr(insertion) == "Insertion('layer2.1': NonLocalBlock, '': NonLocalBlock)"


def test_keys_do_not_collide():
    model = nn.ModuleDict({"a_b": nn.Conv2d(3, 3, 1), "state": nn.Sequential()})
    model["a"] = nn.ModuleDict({"b": nn.Conv2d(3, 3, 1)})
    model["state"].add_module("dict", nn.Conv2d(3, 3, 1))
    names = ("a_b", "a.b", "state.dict")
    insertion = insert(model, {name: woken(NonLocalBlock(3)) for name in names}, allow_change=True)
    saved = {key: value.clone() for key, value in model.state_dict().items()}
    assert {key.split(".")[1] for key in saved if key.startswith("non_local")} == {"a__b", "a_b", "state_dict_"}
    insertion.remove()
    again = insert(model, {name: NonLocalBlock(3) for name in reversed(names)}, allow_change=True)
    model.load_state_dict(saved)  # each block finds its own weights, in whatever order it was inserted
    for name in names:
        assert torch.equal(again.blocks[name].out.weight, insertion.blocks[name].out.weight)
    again.remove()
    assert not any("non_local" in key for key in model.state_dict())


def test_several_insertions_and_any_order_of_removal(network, x):
    network.eval()
    before, plain = picture(network), network(x)
    first = insert(network, {"layer2.0": woken(NonLocalBlock(6))}, allow_change=True)
    with_first = network(x)
    second = insert(network, {"layer2.2": woken(NonLocalBlock(6))}, allow_change=True)
    first.remove()
    assert not torch.allclose(network(x), with_first) and "non_local_blocks.layer2_2.out.bias" in network.state_dict()
    again = insert(network, dict(first.blocks), allow_change=True)
    second.remove()
    assert torch.equal(network(x), with_first)
    again.remove()
    assert torch.equal(network(x), plain) and same(picture(network), before)


def test_removing_twice_leaves_what_came_later(network, x):
    network.eval()
    blocks = {"down": woken(NonLocalBlock(6))}
    first = insert(network, blocks, allow_change=True)
    first.remove()
    insert(network, blocks, allow_change=True)
    z = network(x)
    first.remove()
    assert torch.equal(network(x), z) and "non_local_blocks.down.out.bias" in network.state_dict()


def test_under_autocast(network, x):
    network.eval()
    insert(network, {"down": woken(NonLocalBlock(6), std=0.1)}, allow_change=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(x)  # the block's input is bfloat16, its weights are float32
    assert half.dtype == torch.bfloat16
    assert (half.float() - network(x)).abs().max() < 3e-2 * network(x).abs().max()


def test_as_a_context_manager(network, x):
    network.eval()
    before, plain = picture(network), network(x)
    with pytest.raises(KeyError), insert(network, {"down": woken(NonLocalBlock(6))}, allow_change=True) as insertion:
        assert isinstance(insertion, Insertion) and not torch.allclose(network(x), plain)
        raise KeyError
    assert same(picture(network), before) and torch.equal(network(x), plain)


def test_other_hooks_stay(network, x):
    seen = []
    first = network.down.register_forward_hook(lambda module, inputs, output: seen.append("first"))
    insertion = insert(network, {"down": NonLocalBlock(6)})
    network.down.register_forward_hook(lambda module, inputs, output: seen.append("second"))
    insertion.remove()
    network(x)
    assert seen == ["first", "second"]
    first.remove()


def test_removing_after_the_network_was_rebuilt(network, x):
    insertion = insert(network, {"layer2.1": NonLocalBlock(6), "down": NonLocalBlock(6)})
    old = network.layer2
    network.layer2 = nn.Identity()
    insertion.remove()
    assert not old[1]._forward_hooks and not network.down._forward_hooks and not hasattr(network, "non_local_blocks")


def test_a_sequential_network_still_runs(x):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU()))
    before, plain, parts = picture(model), model(x), list(model)
    insertion = insert(model, {"1": NonLocalBlock(4), "2": NonLocalBlock(5), "2.0": NonLocalBlock(5)})
    assert torch.equal(model(x), plain)
    assert len(model) == 4 and [model[i] is part for i, part in enumerate(parts)] == [True] * 3
    assert len(model[2]) == 2  # a stage keeps its length
    insertion.remove()
    assert len(model) == 3 and same(picture(model), before)


# training


def test_blocks_learn_with_the_network(network, x):
    insertion = insert(network, {"layer2.1": NonLocalBlock(6)})
    step = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        step.zero_grad()
        network(x).square().sum().backward()
        step.step()
    block = insertion.blocks["layer2.1"]
    assert not block.is_identity()
    assert float(block.value.weight.grad.abs().max()) > 0  # since the second step W_z is not 0
    assert float(network.stem.weight.grad.abs().max()) > 0


def test_a_module_that_runs_twice_is_followed_twice(network, x):
    block = NonLocalBlock(6)
    calls = []
    insert(network, {"layer2.1.relu": block})
    block.register_forward_hook(lambda module, inputs, output: calls.append(1))
    network(x)
    assert len(calls) == 2


# copies and files


def test_a_copy_has_blocks_of_its_own(network, x):
    network.eval()
    insertion = insert(network, {"layer2.1": woken(NonLocalBlock(6))}, allow_change=True)
    z = network(x)
    twin, of_twin = copy.deepcopy((network, insertion))
    assert torch.equal(twin(x), z)
    woken(of_twin.blocks["layer2.1"])
    assert torch.equal(network(x), z) and not torch.allclose(twin(x), z)
    of_twin.remove()
    assert "non_local_blocks.layer2_1.out.bias" not in twin.state_dict() and torch.equal(network(x), z)
    insertion.remove()
    assert torch.equal(twin(x), network(x))


def test_saving_the_whole_network(network, x):
    network.eval()
    insert(network, {"layer2.1": woken(NonLocalBlock(6))}, allow_change=True)
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert torch.equal(loaded(x), network(x))
    woken(loaded.non_local_blocks.layer2_1)
    assert not torch.allclose(loaded(x), network(x))  # the hook calls the block that was loaded


def test_checkpoints(network, x):
    network.eval()
    plain = copy.deepcopy(network)
    old = {key: value.clone() for key, value in network.state_dict().items()}
    places = {"layer2.1": NonLocalBlock(6, norm="batch")}
    insert(network, places)
    woken(places["layer2.1"])
    new = network.state_dict()
    other = Network().eval()
    insert(other, {"layer2.1": NonLocalBlock(6, norm="batch")})
    other.load_state_dict(new)  # with blocks into with blocks
    assert torch.equal(other(x), network(x))
    fresh = Network().eval()
    insert(fresh, {"layer2.1": NonLocalBlock(6, norm="batch")})
    keys = fresh.load_state_dict(old, strict=False)  # of the plain network
    assert not keys.unexpected_keys and all(key.startswith("non_local_blocks.layer2_1.") for key in keys.missing_keys)
    assert torch.equal(fresh(x), plain(x))
    with pytest.raises(RuntimeError, match="non_local_blocks.layer2_1.out.weight"):
        fresh.load_state_dict(old)


def test_export_takes_the_blocks_along(network, x):
    network.eval()
    insert(network, {"layer2.1": woken(NonLocalBlock(6))}, allow_change=True)
    batch, size = torch.export.Dim("batch", min=1), torch.export.Dim.AUTO
    program = torch.export.export(network, (x,), dynamic_shapes=({0: batch, 2: size, 3: size},))
    assert any("scaled_dot_product" in str(node.target) for node in program.graph.nodes)
    for other in (x, torch.randn(3, 3, 12, 10)):
        assert torch.allclose(program.module()(other), network(other), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compile_takes_the_blocks_along(network, x):
    network.eval()
    plain = network(x)
    insert(network, {"layer2.1": woken(NonLocalBlock(6))}, allow_change=True)
    z = torch.compile(network, fullgraph=True)(x)
    assert torch.allclose(z, network(x), rtol=0, atol=1e-5) and not torch.allclose(z, plain, rtol=0, atol=1e-3)


# what is refused, and that nothing is left behind


class WithName(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.non_local_blocks = nn.Identity()


shared = NonLocalBlock(6)


@pytest.mark.parametrize(("blocks", "error", "sentence"), [
    ({"layer2.7": NonLocalBlock(6)}, ValueError, r"blocks names 'layer2.7', and the model has no such module; near are '"),
    ({"layer_2": NonLocalBlock(6)}, ValueError, r"near are 'layer2'"),
    ({"qqq": NonLocalBlock(6)}, ValueError, r"no such module; there are '', 'stem', 'layer1'"),
    ({3: NonLocalBlock(6)}, ValueError, "blocks names 3"),
    ({"stem.weight": NonLocalBlock(6)}, ValueError, "no such module; near are 'stem'"),
    ({"down": woken(NonLocalBlock(6))}, ValueError, "'down' is not the identity.* zero_init=True, or pass allow_change=True"),
    ({"down": NonLocalBlock(6, zero_init=False)}, ValueError, "not the identity"),
    ({"down": nn.Conv2d(6, 6, 1)}, ValueError, "not the identity"),
    ({"down": nn.Sequential(NonLocalBlock(6), nn.ReLU())}, ValueError, "not the identity"),
    ({"down": NonLocalBlock}, TypeError, "the block for 'down' is the class NonLocalBlock; allowed is a torch.nn.Module"),
    ({"down": None}, TypeError, "the block for 'down' is of type NoneType"),
    ({"layer2.0": shared, "layer2.1": shared}, ValueError, r"block for 'layer2.1' stands 'layer2.0' too: they would share"),
    ({}, ValueError, "blocks is empty"),
    ([("down", NonLocalBlock(6))], TypeError, "blocks is of type list; allowed is a dict of names"),
])  # fmt: skip
@pytest.mark.parametrize("good_first", [True, False])
def test_what_is_refused_leaves_nothing_behind(network, blocks, error, sentence, good_first):
    if good_first and isinstance(blocks, dict) and blocks:
        blocks = {"layer1.0": NonLocalBlock(4)} | blocks
    network.eval()
    given = list(blocks.values()) if isinstance(blocks, dict) else []
    modes = [block.training for block in given if isinstance(block, nn.Module)]
    before = picture(network)
    with pytest.raises(error, match=sentence):
        insert(network, blocks)
    assert same(picture(network), before)
    assert [block.training for block in given if isinstance(block, nn.Module)] == modes


@pytest.mark.parametrize("kept", [False, True])
def test_a_module_that_takes_no_hook_leaves_nothing_behind(network, kept, monkeypatch):
    if kept:
        insert(network, {"stem": NonLocalBlock(4)})
    before = picture(network)

    def refuse(*_):
        raise RuntimeError("no hooks here")

    monkeypatch.setattr(network.down, "register_forward_hook", refuse)
    with pytest.raises(RuntimeError, match="no hooks here"):
        insert(network, {"layer2.1": NonLocalBlock(6), "down": NonLocalBlock(6)})
    monkeypatch.undo()
    assert same(picture(network), before)


def test_other_models_that_are_refused():
    with pytest.raises(TypeError, match="model is of type dict"):
        insert({}, {"down": NonLocalBlock(6)})
    model = WithName()
    with pytest.raises(ValueError, match="'non_local_blocks' of its own, of type Identity"):
        insert(model, {"conv": NonLocalBlock(3)})
    assert list(dict(model.named_children())) == ["conv", "non_local_blocks"]


def test_places_that_are_taken(network):
    insertion = insert(network, {"layer2.1": NonLocalBlock(6)})
    before = picture(network)
    with pytest.raises(ValueError, match=r"'layer2.1', which has a block already. .*Sequential\(first, second\)"):
        insert(network, {"down": NonLocalBlock(6), "layer2.1": NonLocalBlock(6)})
    with pytest.raises(ValueError, match="stands elsewhere in the model too"):
        insert(network, {"down": insertion.blocks["layer2.1"]})
    with pytest.raises(ValueError, match="no such module"):
        insert(network, {"non_local_blocks.layer2_1.out": NonLocalBlock(6)})
    assert same(picture(network), before)
    network.again = network.layer2[1]  # a second name for one module
    with pytest.raises(ValueError, match="'again', which has a block already"):
        insert(network, {"again": NonLocalBlock(6)})
    insertion.remove()
    with pytest.raises(ValueError, match="'layer2.1' and 'again', which are one module"):
        insert(network, {"layer2.1": NonLocalBlock(6), "again": NonLocalBlock(6)})
    assert not network.again._forward_hooks


def test_two_blocks_at_one_place_as_a_sequence(network, x):
    network.eval()
    plain = network(x)
    insert(network, {"layer2.1": nn.Sequential(NonLocalBlock(6), nn.Identity(), NonLocalBlock(6))})
    assert torch.equal(network(x), plain)


@pytest.mark.parametrize(("name", "block", "error", "sentence"), [
    ("layer2.1", NonLocalBlock(4), ValueError, r"the output of 'layer2.1' \(Residual\) has 6 channels, shape \(2, 6, 5, 6\)"),
    ("layer2.1", NonLocalBlock(6, ndim=3), ValueError, r"'layer2.1' \(Residual\) has 4 axes.*build the block with ndim=2"),
    ("head", NonLocalBlock(5), ValueError, r"the output of 'head' \(Linear\) has 2 axes, shape \(2, 5\)"),
    ("split", NonLocalBlock(6), TypeError, r"the output of 'split' \(Split\) is of type tuple; a block takes a tensor"),
    ("down", NonLocalBlock(6).double(), TypeError, r"'down' \(Conv2d\) has the dtype float32 and the block float64.*block.to\("),
    ("down", NonLocalBlock(6).to("meta"), ValueError, r"'down' \(Conv2d\) is on cpu and the block on meta. Use block.to\('cpu'\)"),
])  # fmt: skip
def test_what_does_not_fit_is_named_at_the_first_forward(network, x, name, block, error, sentence):
    insertion = insert(network, {name: block}, allow_change=True)
    with pytest.raises(error, match=sentence):
        network(x)
    insertion.remove()
    network(x)


def test_sub_sampling_names_the_module_whose_output_is_too_small(network):
    insert(network, {"layer2.1": NonLocalBlock(6, subsample="conv_pool")})
    with pytest.raises(ValueError, match=r"the output of 'layer2.1' \(Residual\) has the shape \(1, 6, 1, 1\), too small"):
        network.eval()(torch.randn(1, 3, 2, 2))


class Doubled(NonLocalBlock):
    def forward(self, x):
        return super().forward(x) * 2


class DoubledSequence(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * 2


class Shifted(nn.BatchNorm2d):
    def __init__(self, channels):
        super().__init__(channels)
        self.shift = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        return super().forward(x) + self.shift


def hooked():
    block = NonLocalBlock(6)
    block.register_forward_hook(lambda module, inputs, output: 2 * output)
    return block


@pytest.mark.parametrize("make", [
    lambda: Doubled(6), lambda: DoubledSequence(NonLocalBlock(6)), hooked, lambda: nn.Sequential(hooked()),
    lambda: NonLocalBlock(6, norm=Shifted),
])  # fmt: skip
def test_what_only_looks_like_the_identity_is_refused(network, make):
    before = picture(network)
    with pytest.raises(ValueError, match="is not the identity"):
        insert(network, {"layer2.1": make()})
    assert same(before, picture(network))


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager"), lambda m: nn.Sequential(nn.DataParallel(m))])
def test_wrappers_that_would_not_see_the_blocks_are_refused(network, wrap):
    wrapped = wrap(network)
    name = next(n for n, m in wrapped.named_modules() if n.endswith("layer2.1"))
    with pytest.raises(ValueError, match="would not see the blocks"):
        insert(wrapped, {name: NonLocalBlock(6)})


def test_a_list_of_modules_would_be_one_longer():
    with pytest.raises(ValueError, match="one element more"):
        insert(nn.ModuleList([nn.Conv2d(3, 6, 1)]), {"0": NonLocalBlock(6)})


def test_a_block_without_values_is_named(network):
    with pytest.raises(ValueError, match="'layer2.1' has parameters on the meta device"):
        insert(network, {"layer2.1": NonLocalBlock(6).to("meta")})
