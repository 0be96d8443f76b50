"""The known mistakes of exercise 02, the non-local operation. Ids are permanent: a class's tally is kept by them."""

from ..task import Limit, Mistake

SOFTMAXES = ("softmax", "softmax over queries")
AXIS_LOST = (
    "Your sum (or maximum) over the last axis has lost that axis, (B, N) instead of (B, N, 1), and no longer fits to the "
    "rows: use `keepdim=True`."
)
RESHAPED = (
    "You bring k to the shape (B, D, M) by `view` or `reshape`, which exchanges no axes: the numbers keep their order and "
    "only the rows end elsewhere. `k.mT` exchanges the last two axes."
)

SOFTMAX_ROWS = (
    Mistake(
        "over_queries",
        "You sum over the queries, so that the *columns* sum to 1; each query shares its weight among the keys, so sum "
        "over the last axis.",
        tuple({"over": 1, "shift": shift} for shift in ("column", "row", "none", "tensor", "image")),
    ),
    Mistake(
        "over_images",
        "You sum over the images (the first axis); each row of each image sums to 1, so sum over the last axis.",
        tuple({"over": 0, "shift": shift} for shift in ("images", "row", "none", "tensor")),
    ),
    Mistake(
        "no_shift",
        "Your exponential overflows where logits are large (inf / inf is NaN) and vanishes where they are very "
        "negative: subtract each row's largest logit first.",
        ({"shift": "none"},),
    ),
    Mistake(
        "other_shift",
        "You subtract each row's mean, its smallest logit or its largest absolute value, and in some row the exponential "
        "still overflows or all of them vanish: subtract the *largest* logit.",
        tuple({"shift": shift} for shift in ("mean", "min", "largest absolute")),
    ),
    Mistake(
        "one_shift_for_all",
        "You subtract one maximum from rows that lie far below it, and they become 0 / 0: subtract from each row *its own* "
        "largest logit.",
        tuple({"shift": shift} for shift in ("tensor", "image", "column", "images")),
    ),
    Mistake(
        "all_positions",
        "You divide by one sum for a whole image; each row has its own sum.",
        (
            *({"over": (1, 2), "shift": shift} for shift in ("image", "row", "none", "tensor")),
            *({"over": (0, 1, 2), "shift": shift} for shift in ("tensor", "row", "none", "image")),
        ),
    ),
    Mistake(
        "not_normalised",
        "Your rows do not sum to 1: divide the exponentials by their sum.",
        tuple({"divide": "nothing", "shift": shift} for shift in ("row", "none", "tensor", "image")),
    ),
    Mistake(
        "no_exp",
        "You divide the logits themselves by their sum; take the exponential of each first, which makes all weights "
        "positive.",
        tuple({"power": "none", "shift": shift} for shift in ("none", "row")),
    ),
    Mistake(
        "log",
        "You return the logarithm of the weights; the weights themselves are asked for.",
        ({"log": "inside"}, {"log": "of the result"}),
    ),
    Mistake(
        "sign",
        "Your weights fall where the logits rise: the minus sign belonged to lesson 01's distances, logits have none.",
        ({"sign": -1}, {"sign": -1, "shift": "none"}),
    ),
    Mistake("axis_lost", AXIS_LOST, ({"keepdim": False},)),
)

EMBEDDED_GAUSSIAN_MAP = (
    Mistake(
        "over_queries",
        "Your softmax runs over the queries; a query shares its weight among the *keys*, the last axis.",
        ({"over": 1},),
    ),
    Mistake(
        "over_images",
        "Your softmax runs over the images (the first axis); it runs over the keys, the last axis.",
        ({"over": 0},),
    ),
    Mistake(
        "all_positions",
        "Your whole map sums to 1; each of its rows must, so softmax runs over the keys only.",
        ({"over": (1, 2)}, {"over": (0, 1, 2)}),
    ),
    Mistake(
        "scaled",
        "You scale the logits by the width D, as the Transformer does with 1/√D; this equation has no scale.",
        ({"scale": "1/√D"}, {"scale": "1/D"}, {"scale": "√D"}),
    ),
    Mistake(
        "logits",
        "You return q·k itself, the logits; the map is their softmax over the keys.",
        ({"kind": "logits"},),
    ),
    Mistake(
        "not_normalised",
        "You take the exponential and stop; divide by its sum over the keys, so that each row sums to 1.",
        ({"kind": "exp"}, {"kind": "exp, shifted"}),
    ),
    Mistake(
        "no_exp",
        "You divide q·k by its sum; the embedded Gaussian takes the exponential of q·k first.",
        ({"kind": "share"},),
    ),
    Mistake(
        "sigmoid",
        "You take a sigmoid of each logit, so that no key takes weight from another; the softmax over the keys does.",
        ({"kind": "sigmoid"},),
    ),
    Mistake(
        "relu",
        "You cut the logits off at 0, so that all keys with a negative q·k weigh the same; the exponential takes q·k as it is.",
        ({"kind": "relu"},),
    ),
    Mistake(
        "transposed",
        "Your map is (B, M, N), with a row for each key; it has a row for each query, (B, N, M).",
        ({"turned": True}, {"turned": True, "over": 1}),
    ),
    Mistake(
        "cosine",
        "You divide queries and keys by their lengths, which gives cosines; the equation takes the plain product q·k.",
        ({"compare": "cosine"},),
    ),
    Mistake(
        "distance",
        "You compare by distance, as non-local means does; the embedded Gaussian takes the product q·k.",
        ({"compare": "squared distance"}, {"compare": "distance"}, {"compare": "half the squared distance"}),
    ),
    Mistake(
        "batch_mixed",
        "You mix the images of the batch; each image's queries look at the keys of the same image.",
        tuple({who: what} for who in ("keys", "queries") for what in ("first", "summed")),
    ),
    Mistake(
        "not_transposed",
        "You multiply q by k as it is (or by `k.T`, which turns all three axes round); the products q_i·k_j need k with its "
        "*last two* axes exchanged, (B, D, M): `k.mT`.",
        ({"compare": "not transposed"}, {"compare": "all axes turned"}),
    ),
    Mistake("reshaped", RESHAPED, ({"compare": "view"},)),
    Mistake("axis_lost", AXIS_LOST, ({"keepdim": False}, {"keepdim": False, "kind": "softmax, no shift"})),
)

LOOPS = Limit(
    "loops",
    "your function loops over positions: with twice the queries and keys it runs {counted:.1f} times the Python lines. At "
    "1,600 positions that is too slow to be useful; products of whole tensors do all positions at once.",
    "lines",
    1.5,
    note=True,
)

DOT_PRODUCT = (
    Mistake("no_1_m", "You only add up; divide by M, the number of keys.", ({"divide": "nothing"},)),
    Mistake(
        "one_over_n",
        "You divide by the number of queries; C(x) counts the keys, M = k.shape[1].",
        ({"divide": "N"},),
    ),
    Mistake(
        "one_over_d",
        "You divide by a width, D or E; C(x) counts the keys, M = k.shape[1].",
        ({"divide": "D"}, {"divide": "E"}),
    ),
    Mistake(
        "one_over_b", "You divide by the number of images; C(x) counts the keys, M = k.shape[1].", ({"divide": "B"},)
    ),
    Mistake(
        "softmax",
        "You take a softmax; the dot-product version weighs with q·k itself, divided by M.",
        tuple({"weights": weights, "divide": divide} for weights in SOFTMAXES for divide in ("nothing", "M")),
    ),
    Mistake(
        "sum_of_weights",
        "You divide by the sum of the weights, which makes an average; here C(x) is the number of keys, and the weights need not "
        "sum to 1.",
        ({"divide": "row sum"},),
    ),
    Mistake(
        "scaled",
        "You scale q·k by 1/√D, as the Transformer does; this equation divides by M and by nothing else.",
        ({"scale": "1/√D"},),
    ),
    Mistake(
        "batch_summed",
        "You mix the images of the batch; each image has its own kᵀv, (B, D, E).",
        ({"batch": "sum"}, {"batch": "mean"}, {"batch": "first"}),
    ),
    Mistake(
        "not_transposed",
        "You multiply k by v as it is (or `k.T` by v, which turns all three axes round); kᵀv needs k with its *last two* axes "
        "exchanged, (B, D, M): `k.mT`.",
        ({"turned": "no"}, {"turned": "all axes"}),
    ),
    Mistake("reshaped", RESHAPED, ({"turned": "view"},)),
)

DOT_PRODUCT_LIMITS = (
    Limit(
        "builds_the_map",
        "The values are right, but your largest tensor has {counted:,.0f} entries, where the whole N × M map has 120 · 120 = "
        "14,400, and nothing of that size is needed: bracket the product the other way, q (kᵀ v).",
        "tensor",
        7_000,
    ),
    LOOPS,
)
