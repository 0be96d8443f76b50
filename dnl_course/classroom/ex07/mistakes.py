"""The banks of exercise 07: what is often written instead, and the sentence that names it."""

from __future__ import annotations

from ..task import Mistake


def _forms(identity: str, sentence: str, *forms: str) -> Mistake:
    return Mistake(identity, sentence, tuple({"form": f} for f in (forms or (identity,))))


SOFTMAX_JACOBIAN = (
    _forms("diagonal_only", "You return diag(a); every logit also lowers the other weights, through the sum in the softmax."),
    _forms(
        "off_diagonal_sign",
        "Your diagonal is right; beside it the sign is turned: ∂a_i/∂logit_j = −a_i a_j, for a larger logit of one key takes weight "
        "from the others.",
    ),
    _forms(
        "sigmoid_diagonal",
        "You have a_i (1 − a_i) on the diagonal, as for a sigmoid, and 0 elsewhere; in a softmax the weights share one sum, so "
        "∂a_i/∂logit_j = −a_i a_j for i ≠ j.",
    ),
    _forms("sign", "The sign is turned round: a weight grows with its own logit, so the diagonal a_i (1 − a_i) is positive."),
    _forms("plus", "You add aᵀa; it is subtracted: a larger logit of one key takes weight from the others."),
    _forms("one_minus", "You start from the identity; it is diag(a), with the weights themselves on the diagonal."),
    _forms(
        "scalar_product",
        "You subtract a aᵀ, which is one number: a is a row, so `a * a.T` is 1 × 1; `a.T * a`, the column times the row, is the "
        "M × M matrix of all a_i a_j.",
        "scalar_everywhere", "scalar_on_diagonal", "scalar_raises",
    ),
    _forms(
        "rows_repeat", "You subtract a itself from every row (or column); it is a_i a_j, the product of two weights.",
        "rows_repeat", "columns_repeat",
    ),
)  # fmt: skip

PRODUCT_ATTENTION = (
    _forms("not_normalised", "You multiply the maps and stop; the product's rows do not sum to 1: divide each by its sum Z_i."),
    _forms("one_normaliser", "You divide by one sum for all queries; each query has its own Z_i, the sum of its row."),
    _forms("over_queries", "You divide by the sums over the queries; a softmax over keys has row sums of 1, so divide by those."),
    _forms(
        "added", "You add the maps; summed *logits* multiply the exponentials, and so the maps.",
        "added", "halved",
    ),
    _forms(
        "geometric_mean", "You take the root of the product, which halves the summed logits; their exponential is the product itself.",
        "geometric_mean", "geometric_mean_normalised",
    ),
    _forms("times_m", "You multiply by the number of keys; that is right only where the mean of U is seen by all: divide by Z_i."),
    _forms(
        "softmax_again", "You take a softmax of maps; they are exponentials already, only the division by the row sum is missing.",
        "softmax_again", "softmax_of_sum",
    ),
)  # fmt: skip


def _switches(identity: str, sentence: str, **switches) -> Mistake:
    return Mistake(identity, sentence, (switches,))


GRAD_PAIRWISE_MUL = (
    _switches(
        "shortcut_gu", "G·U forgets that P also stands in the normaliser Z_i: divide by Z_i and take Σ_j G_ij ω_ij off.",
        centre="none", gate="U",
    ),
    _switches(
        "not_centred", "You have U·G/Z; a larger P_il also makes Z_i larger, which takes Σ_j G_ij ω_ij off every G_il.", centre="none",
    ),
    _switches("no_z", "The division by Z_i is missing: ω_il = P_il U_l / Z_i.", gate="U"),
    _switches("own_key_only", "You have the term j = l only; P_il is in Z_i too, so it moves every ω_ij of the row.", centre="own key"),
    _switches("plus", "You add Σ_j G_ij ω_ij; it goes off, not on: a larger Z_i makes every ω_ij of the row smaller.", centre="plus"),
    Mistake(
        "one_normaliser",
        "You divide by one sum for all queries; Z_i is the sum of row i, and P_il moves the ω of its own row only.",
        ({"normaliser": "one"}, {"normaliser": "one, by derivative"}, {"normaliser": "one, in front"}),
    ),
    Mistake(
        "p_in_front",
        "You multiply by P_il; the factor in front is U_l/Z_i.",
        ({"gate": "P", "centre": "none"}, {"gate": "P"}),
    ),
    _switches("plain_mean", "You take off the plain mean of G; the attention weighs it: Σ_j G_ij ω_ij.", centre="mean"),
    _switches("centred_with_p", "You take off Σ_j G_ij P_ij; the weights are those of the attention ω, not of P.", centre="P"),
    _switches("unnormalised_weights", "You take off Σ_j G_ij P_ij U_j; these weights are not divided by Z_i.", centre="product"),
    _switches("on_logits", "This is the gradient for the pairwise *logits*, with a factor P_il too many; the task asks for the map P.",
              times_P=True),
    _switches("unary_gate", "The factor is P_il/Z_i, which belongs to the gradient for U; for P it is U_l/Z_i.", gate="P/Z"),
)  # fmt: skip

GRAD_UNARY_ADD = (
    _forms("whole_matrix", "You return G itself; all queries share one U, so its gradient is one row: the sum over the queries."),
    _forms("mean_over_queries", "You take the mean; L feels U_j through every query, and the effects add: a sum, not a mean."),
    _forms("over_keys", "You sum over the keys; U has one entry per key, so the sum is over the queries (down each column).",
           "over_keys", "over_keys_column"),
    _forms("first_row", "You return the row of one query; the others use the same U: sum over all queries."),
    _forms("scalar", "You sum everything; each U_j gets the sum of its own column of G."),
    _forms("centred", "You take a mean off, as for a softmax; ω = P + U has none, and U's entries are taken as independent here.",
           "centred", "centred_rows"),
)  # fmt: skip

PAIRWISE_SENSITIVITY = (
    _forms("never_gated", "You give P₁(1 − P₁) for both; under “mul” the weight is softmax(p + u), and u is part of it."),
    _forms("always_gated", "You give ω₁(1 − ω₁) of softmax(p + u) for both; under “add” p has a softmax of its own, without u."),
    _forms("one_minus_missing", "The factor (1 − weight) is missing: p₁ also stands in the sum below the fraction."),
    _forms("mixed", "Under “mul” you multiply ω₁ by 1 − P₁; both factors belong to the same softmax: ω₁(1 − ω₁)."),
    _forms("product", "Under “mul” you use P₁U₁ as the weight; it is not normalised: ω₁ = P₁U₁/Z."),
    _forms(
        "sum_as_softmax",
        "Under “add” you give (P₁ + U₁)(1 − P₁ − U₁); w(1 − w) holds for the weight of one softmax, and ω₁ is a sum of two.",
    ),
    _forms("unary_added", "Under “add” you add U₁(1 − U₁) for the unary map; softmax(u) does not depend on p."),
    _forms("squared", "You give the square of the weight, w²; the derivative by its own logit is w − w² = w(1 − w)."),
    _forms("p_gate", "Under “mul” you multiply P₁(1 − P₁) by U₁; u also changes the normaliser: use ω = softmax(p + u)."),
)

PEAK_MASSES = (
    _forms("empty_product", "Under “mul” you multiply the two maps and do not divide by their sum: nearly nothing is left."),
    _forms("halved", "Under “add” you halve; the sum of two softmaxes has the total 2, and the task keeps it."),
    _forms("joint_normaliser", "Under “add” you divide exp(p) + exp(u) by one sum; each of the two is divided by its own sum first."),
    _forms("logits_added_for_add", "Under “add” you add the logits; that is “mul”: add the two softmaxes."),
    _forms("softmax_of_sum", "Under “add” you take a softmax of the summed maps; the sum itself is the answer."),
    _forms("third_key_forgotten", "The third key is left out; its logits are 0, not its weight: exp(0) = 1.",
           "third_key_forgotten", "third_key_dropped"),
    _forms("third_not_returned", "You return two weights; there are three keys, and the third has a weight too."),
    _forms("peaks_together", "Both of your peaks are at the same key; p has its a at the first key, u its b at the second: u = (0, b, 0).",
           "both_first", "both_second"),
    _forms("peaks_swapped", "The peaks are swapped: p has its a at the first key, u its b at the second."),
)
