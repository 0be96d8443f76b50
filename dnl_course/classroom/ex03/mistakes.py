"""The known mistakes of exercise 03, the non-local block. Ids are permanent: a class's tally is kept by them."""

from ..task import Mistake

# where the axes of a feature map are renamed instead of moved: x itself, keys and values before they are pooled, what comes out
SCRAMBLED = ("all out", "k, v out", "k, v in", "k, v in, out", "x", "x, k, v in", "x, k, v in, out")


def _judged_by_property(name: str, sentence: str) -> Mistake:
    return Mistake(name, sentence, ())  # named by driven.judge_start


TO_POSITIONS = (
    Mistake(
        "view",
        "You cut x up as it lies in memory, so a row holds numbers of *one* channel; move the channels to the end first, "
        "then flatten.",
        ({"move": False},),
    ),
    Mistake(
        "channels_first",
        "Your answer is (B, C, N); positions come before channels: (B, N, C).",
        ({"layout": "bcn"},),
    ),
    Mistake(
        "columns_first",
        "Your positions are in another order: the *last* spatial dimension runs fastest, so the first W positions are the first "
        "row of the image.",
        ({"order": "reversed"}, {"order": "last first"}, {"order": "last two"}),
    ),
    Mistake(
        "only_2d",
        "Your function is right for images and fails for sequences or clips: let it take any number of spatial dimensions.",
        ({"only": "unpack"}, {"only": "permute"}, {"only": "index"}, {"only": "flatten"}),
    ),
    Mistake(
        "batch_lost",
        "You put the positions of all images into one list, (B·N, C); each image keeps its own: (B, N, C).",
        ({"layout": "bn,c"},),
    ),
    Mistake(
        "t_reverses_all",
        "Your answer is (N, C, B): `.T` reverses *all* axes of a tensor; `.transpose(1, 2)` swaps two.",
        ({"layout": "ncb"},),
    ),
    Mistake(
        "positions_then_batch",
        "Your answer is (N, B, C), as some Transformer layers want it; here the batch stays first: (B, N, C).",
        ({"layout": "nbc"},),
    ),
    Mistake(
        "not_flattened",
        "You move the channels to the end and keep the spatial dimensions apart; flatten them into one: (B, N, C).",
        ({"flatten": False},),
    ),
    Mistake(
        "channels_flattened",
        "You flatten the channels along with the positions; a position is one row of C numbers: (B, N, C).",
        ({"layout": "b,cn"},),
    ),
)

RESIDUAL_BLOCK = (
    Mistake("no_residual", "You return W_z y alone; x itself is added: z = W_z y + x.", ({"residual": "none"},)),
    Mistake(
        "view",
        "You give W_z y, of shape (B, N, C), the shape of x without moving the channels: transpose to (B, C, N) first, then "
        "reshape.",
        ({"back": "view"},),
    ),
    Mistake(
        "not_back",
        "You return rows, (B, N, C); z has the shape of x, so that the next layer does not notice the block.",
        ({"back": "never"},),
    ),
    Mistake(
        "w_z_transposed",
        "W_z is used the wrong way round: it is (C, E) and takes E numbers to C, so for rows of y that is `y @ w_z.T`.",
        ({"turn": "over"}, {"turn": "left"}),
    ),
    Mistake(
        "multiplied",
        "You multiply x by the branch, as a gate does; the branch is *added* to x.",
        ({"residual": "times"}, {"residual": "gate"}),
    ),
    Mistake(
        "subtracted",
        "You subtract one from the other; the branch is *added* to x.",
        ({"residual": "minus"}, {"residual": "minus x"}),
    ),
    Mistake(
        "no_w_z",
        "You add y itself; W_z maps it from E to C channels first, also where E and C are the same number.",
        ({"mapped": False},),
    ),
    Mistake(
        "relu",
        "You put in a ReLU, as a ResNet's block has it; this block has none: z = W_z y + x and nothing else.",
        ({"relu": "sum"}, {"relu": "branch"}),
    ),
    Mistake(
        "only_2d",
        "Your function is right for images and fails for sequences or clips: `x.shape` serves for any number of spatial dimensions.",
        ({"only": "unpack"}, {"only": "index"}),
    ),
)

ZERO_INIT = (
    _judged_by_property(
        "bias_left",
        "You zero the weight of the last layer and leave its bias: the branch then adds the bias to every position.",
    ),
    _judged_by_property(
        "both_zero",
        "You zero the convolution *and* the norm: each blocks the gradient of the other, so the branch never depends on its input; "
        "zero the last of the two only.",
    ),
    _judged_by_property(
        "conv_only",
        "You leave the norm as it is: its bias is added after the convolution, so the branch is not 0; where there is a norm, "
        "zero the norm instead.",
    ),
    _judged_by_property(
        "small",
        "Your weights are small and not 0: the network's output changes a little at insertion, and it must not change at all.",
    ),
    _judged_by_property(
        "frozen",
        "The branch starts at 0 and stays there: you switch off `requires_grad`, so no step of training can move it.",
    ),
    _judged_by_property(
        "wrong_layer",
        "You zero the weight of one layer and the bias of the other; both must belong to the layer that comes last, the norm.",
    ),
    _judged_by_property(
        "bias_only",
        "You zero the bias and leave the weight: the branch is 0 only when the weight of the last layer is 0 too.",
    ),
    _judged_by_property(
        "one_case",
        "You handle one case only: without a norm, `out` is the last layer of the branch; with one, the norm is.",
    ),
    _judged_by_property(
        "untouched",
        "The parameters are as they were: change them in place (`nn.init.zeros_(layer.weight)`), since a new tensor under an old "
        "name leaves the layer alone.",
    ),
    _judged_by_property(
        "no_grad_missing",
        "PyTorch records what you do to a parameter and so refuses to change it in place: put the lines under "
        "`with torch.no_grad():`, or use `nn.init.zeros_`.",
    ),
)

SUBSAMPLED_ATTENTION = (
    Mistake(
        "queries_too",
        "You pool the queries as well, so that M positions come out; only keys and values are pooled, every one of the N positions "
        "still asks.",
        ({"queries": True},),
    ),
    Mistake(
        "pool_before_conv",
        "You pool x and map it afterwards, as the paper's released code does; the paper, and this task, pool what *comes out* of "
        "the two maps.",
        ({"when": "before"},),
    ),
    Mistake("average", "You average each square; take its largest value, channel by channel.", ({"pool": "average"},)),
    Mistake(
        "strided",
        "You keep one position of each square and throw the others away; take the largest value of the square.",
        ({"pool": "strided"}, {"pool": "strided, whole windows"}),
    ),
    Mistake(
        "flattened_1d",
        "You pool along the list of positions, so that a window is a piece of a row; pool stride × stride squares of the image, then "
        "flatten.",
        ({"when": "flat, s"}, {"when": "flat, s²"}),
    ),
    Mistake(
        "value_not_pooled",
        "You pool the keys and not the values, or the other way round: there must be one value for each of the M keys.",
        ({"unpooled": "value"},),
    ),
    Mistake(
        "not_pooled",
        "You pool nothing: keys and values are those of all N positions, whatever `stride` says.",
        ({"kernel": "1"},),
    ),
    Mistake(
        "over_queries",
        "Your softmax runs over the queries; each query's weights over the *keys* (the last axis) sum to 1.",
        ({"over": 1},),
    ),
    Mistake("no_softmax", "You use the logits as weights; the embedded Gaussian takes their softmax.",
            ({"softmax": False}, {"softmax": False, "scale": "1/M"})),
    Mistake(
        "scaled",
        "You scale the logits, as a Transformer does; the embedded Gaussian has no scale.",
        ({"scale": "1/√D"}, {"scale": "1/√C"}),
    ),
    Mistake(
        "overlapping",
        "Your windows overlap: they are stride × stride, and the next one starts where the last one ends.",
        ({"kernel": "step 1"}, {"kernel": "3, padded"}),
    ),
    Mistake("always_two", "You pool 2 × 2 whatever `stride` says.", ({"kernel": "always 2"},)),
    Mistake(
        "ceil",
        "You also pool the incomplete squares at the lower and right border; what does not fill a square is left out.",
        ({"kernel": "ceil"},),
    ),
    Mistake(
        "adaptive",
        "Adaptive pooling spreads its windows over the whole image, so where stride does not divide the size they are no "
        "stride × stride squares.",
        ({"pool": "adaptive"},),
    ),
    Mistake(
        "view",
        "You reshape between (B, D, H, W) and (B, N, D) without moving the channels, so a row holds numbers of *one* channel: flatten "
        "to (B, D, N) and transpose, or the other way round.",
        tuple({"scrambled": where} for where in SCRAMBLED),
    ),
    Mistake(
        "as_image",
        "Your answer is a picture, (B, E, H, W); asked are its positions as rows, (B, N, E).",
        ({"layout": "image"},),
    ),
    Mistake(
        "channels_first",
        "Your answer is (B, E, N); positions come before channels: (B, N, E).",
        ({"layout": "ben"},),
    ),
)
