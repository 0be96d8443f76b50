"""More of ``mistakes.py``: the concatenation (02.4) and the equivariance error (02.5)."""

from ..task import Mistake
from .mistakes import LOOPS, SOFTMAXES

CONCATENATION = (
    Mistake(
        "no_relu",
        "The ReLU is missing: without it the weights are a sum of a part about i and a part about j.",
        ({"relu": "none"},),
    ),
    Mistake(
        "relu_each_half",
        "You take the ReLU of the query's part and of the key's part; add them first, then take *one* ReLU of the sum.",
        ({"relu": "each"},),
    ),
    Mistake(
        "relu_after_sum",
        "You take the ReLU of the result; it belongs around each weight, before the sum over j.",
        ({"relu": "after"},),
    ),
    Mistake(
        "other_function",
        "You do not take a ReLU, max(0, ·), but another function of w_f·[q; k].",
        tuple({"relu": r} for r in ("leaky", "absolute", "sigmoid", "gelu", "softplus", "tanh", "exp")),
    ),
    Mistake(
        "relu_too_early",
        "You take the ReLU of q and k themselves, before w_f; weigh [q; k] with w_f first, then take the ReLU of that number.",
        ({"relu": "inputs"}, {"relu": "inputs and sum"}),
    ),
    Mistake(
        "halves_swapped",
        "The halves of w_f have changed places: its first D entries belong to q, the others to k.",
        ({"halves": "k first"},),
    ),
    Mistake(
        "softmax",
        "You take a softmax; the concatenation version weighs with the ReLU itself, divided by M.",
        tuple(
            {"relu": relu, "weights": weights, "divide": divide}
            for relu in ("sum", "none")
            for weights in SOFTMAXES
            for divide in ("nothing", "M")
        ),
    ),
    Mistake("no_1_m", "You only add up; divide by M, the number of keys.", ({"divide": "nothing"},)),
    Mistake(
        "one_over_n",
        "You divide by the number of queries; C(x) counts the keys, M = k.shape[1].",
        ({"divide": "N"},),
    ),
    Mistake(
        "one_over_d",
        "You divide by a width; C(x) counts the keys, M = k.shape[1].",
        ({"divide": "2D"}, {"divide": "D"}, {"divide": "E"}),
    ),
    Mistake(
        "one_over_b", "You divide by the number of images; C(x) counts the keys, M = k.shape[1].", ({"divide": "B"},)
    ),
    Mistake(
        "sum_of_weights",
        "You divide by the sum of the weights, which makes an average; here C(x) is the number of keys.",
        ({"divide": "row sum"},),
    ),
    Mistake(
        "axes_missing",
        "The queries' numbers (B, N) and the keys' numbers (B, M) cannot be added as they are: give the first a last axis and "
        "the second a middle one, (B, N, 1) + (B, 1, M).",
        ({"axes": False},),
    ),
)

CONCATENATION_LIMITS = (LOOPS,)

YES_OR_NO = "You answer yes or no; the task asks *how large* the largest difference is."

EQUIVARIANCE_ERROR = (
    Mistake(
        "input_only",
        "You permute on one side only; compare op(x permuted) with op(x) *permuted in the same way*.",
        ({"left": "op"}, {"right": "op"}),
    ),
    Mistake(
        "op_forgotten",
        "One side never goes through `op`; both do, one before the permutation and one after it.",
        (
            *({side: what} for side in ("left", "right") for what in ("order", "x")),
            *({"left": "order", "right": what} for what in ("x", "op")),
        ),
    ),
    Mistake(
        "inverse",
        "You undo `order` where you should apply it: input and output are both permuted as in `x[:, order]`.",
        (
            {"left": "op, then back"},
            {"right": "back, then op"},
            {"left": "op, then back", "right": "back, then op"},
        ),
    ),
    Mistake(
        "channels",
        "You permute the channels (the last axis); `order` is an order of the positions, axis 1 of (B, N, C).",
        (
            {"left": "op, then channels", "right": "channels, then op"},
            {"left": "op", "right": "channels, then op"},
            {"left": "op, then channels", "right": "op"},
        ),
    ),
    Mistake(
        "mean_signed",
        "Differences of opposite signs cancel in your answer: take absolute values first, then the largest.",
        tuple({"answer": way + answer} for answer in ("mean", "sum") for way in ("", "minus ", "absolute ")),
    ),
    Mistake(
        "no_abs",
        "You take the largest *signed* difference, which overlooks a larger one of the other sign: absolute values first, "
        "then the largest.",
        (
            *(
                {"answer": answer}
                for answer in ("signed largest", "signed smallest", "minus smallest", "minus largest")
            ),
            *({"answer": answer} for answer in ("absolute signed largest", "absolute signed smallest")),
        ),
    ),
    Mistake(
        "mean_abs",
        "You average (or add up) over all entries, which hides one large difference among many small ones; take the largest.",
        tuple(
            {"answer": answer}
            for answer in ("mean of absolute", "sum of absolute", "norm", "mean square", "root mean square")
        ),
    ),
    Mistake("squared", "You square the differences; take their absolute values.", ({"answer": "largest square"},)),
    Mistake(
        "always_zero",
        "Your answer is 0 for every `op`, even for one that knows where a position is: compare two *different* ways, op(x "
        "permuted) and op(x) permuted.",
        ({"answer": "zero"},),
    ),
    Mistake(
        "yes_or_no",
        YES_OR_NO,
        tuple({"answer": answer} for answer in ("same", "not the same", "exactly the same", "not exactly the same")),
    ),
)
