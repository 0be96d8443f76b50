"""The banks of exercise 08: what is often written instead, and the sentence that names it."""

from __future__ import annotations

from ..task import Mistake


def _forms(identity: str, sentence: str, *forms: str) -> Mistake:
    return Mistake(identity, sentence, tuple({"form": f} for f in (forms or (identity,))))


def _given(identity: str, sentence: str, *variants: dict) -> Mistake:
    return Mistake(identity, sentence, variants)


AXIS_LOST = (
    "The mean over the positions has lost their axis, (B, D), and cannot be subtracted from all positions; with `keepdim=True` it "
    "is (B, 1, D)."
)
LOST = {"centre": "axis_lost"}, {"centre": "axis_lost", "keys": "none"}, {"keys": "axis_lost"}
NO_AXIS = "m is (B, M), without an axis for the queries; `m.unsqueeze(1)` is (B, 1, M), the same for all queries."
ALL_ONE = "All your weights are 1: does the softmax run over an axis of length 1? It runs over the M keys of one image."

PAIRWISE_MAP = (
    _given(
        "query_mean_kept",
        "The mean of the queries is still in: with it, or with the keys alone centred, this is plain NL; take μ_q, the mean over "
        "the positions, out of the queries.",
        {"centre": "none"},
    ),
    _given(
        "centred_over_channels",
        "You take out the mean over the channels of each position; μ_q is the mean over the positions (axis 1), channel by channel.",
        {"centre": "channels"},
    ),
    _given(
        "centred_over_batch",
        "You take out the mean over the images (axis 0); each image has its own μ_q, the mean over its positions (axis 1).",
        {"centre": "batch"}, {"centre": "batch", "keys": "none"},
    ),
    _given(
        "batch_and_positions",
        "You take one mean over images and positions together; each image has its own μ_q: the mean over axis 1 only.",
        {"centre": "batch_and_positions"},
    ),
    _given(
        "one_scalar",
        "You take out one number for all channels, as a released configuration of DNL does; in the equation μ_q is a vector, one "
        "mean for each channel.",
        {"centre": "one_scalar"}, {"centre": "one_scalar_for_all"},
    ),
    _given(
        "standardised",
        "You also divide by the standard deviation; “whitened” means centred here, and nothing else.",
        {"std": 0}, {"std": 1}, {"std": 0, "of": "q"}, {"std": 1, "of": "q"},
    ),
    _given(
        "over_queries",
        "The softmax runs over the queries; each query shares its attention out over the keys: the last axis.",
        {"axis": 1}, {"axis": 1, "keys": "none"},
    ),
    _given("scaled", "You divide by √D, as a Transformer does; this equation has no scale.", {"scaled": True}),
    _given("sum_taken_out", "You take out the sum over the positions; μ_q is the mean.", {"centre": "sum"}, {"centre": "sum", "keys": "none"}),
    _given("axis_lost", AXIS_LOST, *LOST),
)  # fmt: skip

HIDDEN_UNARY_MAP = (
    _forms("key_mean", "You use the mean of the keys, μ_k·k_j; the term that hides in q·k is μ_q·k_j, with the mean of the queries."),
    _forms("mean_of_maps", "You average the queries' maps; take the mean of the queries first, then one softmax."),
    _forms("sum_not_mean", "You sum the queries; μ_q is their mean, and the sum makes the map far too sharp."),
    _forms("logits", "You return the logits μ_q·k_j; the map is their softmax over the keys."),
    _forms("over_batch", "The softmax runs over the images; each image's weights sum to 1 over its keys (axis 1)."),
    _forms("first_query", "You use the first query; the term that all queries share belongs to their mean."),
    _forms("query_side", "You return q_i·μ_k, one number per query; the unary term is about the keys: μ_q·k_j, (B, M)."),
    _forms("repeated_rows", "You repeat the map for every query, (B, N, M); it is the same for all of them: return it once, (B, M)."),
    _forms("axis_of_one", ALL_ONE),
    _forms(
        "batch_as_matrix",
        "A (B, D) matrix was taken as one image's, so that every image meets the means of all images: `unsqueeze` it first.",
        "batch_as_matrix", "batch_as_matrix_1", "batch_as_matrix_k",
    ),
    _forms("batch_mean", "You take the mean over the images too; each image has its own μ_q."),
)

UNARY_VECTOR = (
    _forms("not_normalised", "The weights do not sum to 1: take the softmax of m over the keys, not exp(m) or m itself.", "not_normalised", "logits"),
    _forms("average_pool", "You take the plain mean and leave m out; it is the mean weighted with softmax(m)."),
    _forms("not_summed", "You weight the values and do not add them up; sum over the keys, to one vector per image."),
    _forms("dim_lost", "The axis of the queries is lost, (B, E); keep it as (B, 1, E), so that the vector can be added at every position."),
    _forms("divided_by_m", "You divide by the number of keys as well; the softmax weights sum to 1 already."),
    _forms("sigmoid", "You use a sigmoid, which decides for each key alone; the softmax weights sum to 1.", "sigmoid", "sigmoid_mean"),
    _forms("over_batch", "The softmax runs over the images; it runs over the keys of one image (axis 1)."),
    _forms("value_softmaxed", "You take the softmax of the values; m decides how much each value counts.", "value_softmaxed", "both_softmaxed"),
    _forms("axis_of_one", ALL_ONE),
    _forms(
        "batch_as_matrix",
        "A (B, M) matrix was taken as one image's, so that every image meets the weights of all images: `unsqueeze(1)` it first.",
    ),
    _forms("weights_without_axis", "The weights are (B, M), without an axis for the channels of v; `.unsqueeze(2)` makes them (B, M, 1)."),
)

ATTEND_DNL = (
    _forms("one_softmax", "You add the logits and take one softmax: that is DNL*; DNL takes two softmaxes and adds the maps."),
    _forms("softmax_of_sum", "You take a softmax of the two maps' sum; the sum itself weighs the values, and its rows sum to 2."),
    _forms("halved", "You halve, so that the rows sum to 1; the equation does not: rows of DNL sum to 2."),
    _forms("unary_logits_added", "You add m itself to the map; it needs a softmax of its own."),
    _forms("multiplied", "You multiply the maps; DNL adds them."),
    _given("not_centred", "The queries are not centred: with μ_q in them the first term is plain NL.", {"centre": "none"}),
    _forms("dnl_dagger", "Your unary term is μ_q·k_j: that is DNL†; DNL takes m."),
    _forms("pairwise_only", "The unary term is missing: add softmax(m)."),
    _forms("unary_only", "The pairwise term is missing: add softmax over the keys of (q_i − μ_q)·(k_j − μ_k)."),
    _forms("axis_of_one", ALL_ONE.replace("weights", "unary weights").replace("softmax", "softmax of m")),
    _forms("m_without_axis", NO_AXIS, "m_without_axis", "m_without_axis_logits", "m_without_axis_one_softmax"),
    _forms(
        "m_over_queries",
        "You add the weights of m along the queries; they belong to the keys: `m.unsqueeze(1)` is (B, 1, M).",
        "m_over_queries", "m_over_queries_ones",
    ),
    _forms("not_summed", "You weight the values with softmax(m) and do not add them up; sum over the keys, to one vector per image."),
    _given("axis_lost", AXIS_LOST, *LOST),
)

ATTEND_DNL_STAR = (
    _forms("two_softmaxes", "You take two softmaxes and add the maps: that is DNL; DNL* adds the logits, and takes one."),
    _given("not_centred", "The queries are not centred: the whitened logit is (q_i − μ_q)·(k_j − μ_k).", {"centre": "none"}),
    _forms("m_softmaxed_first", "You take a softmax of m before you add it; m is a logit like the whitened one: add it as it is."),
    _forms("on_the_map", "You add m after the softmax; it belongs inside, to the logits."),
    _forms("maps_multiplied", "You multiply the two maps and do not divide by the row sums; one softmax of the summed logits does both."),
    _forms("m_over_queries", "You add m along the queries, where a softmax over the keys does not see it; m_j belongs to key j."),
    _forms("m_subtracted", "You subtract m; a large m_j is to draw attention to key j: add it."),
    _forms("m_left_out", "m is left out: add it to the whitened logits before the softmax."),
    _forms("softmax_of_maps", "You take a softmax of the two maps' sum; add the logits, and take one softmax."),
    _forms("m_without_axis", NO_AXIS, "m_without_axis", "m_without_axis_first", "m_without_axis_maps", "m_without_axis_softmax_of_maps"),
    _given("axis_lost", AXIS_LOST, *LOST),
)

MULTIPLY_ADDS = (
    _given("half_width_value", "You count a value of C/2 channels; in this convention it has C, in the projection and in the aggregation.",
           {"value": "half"}),
    _given("with_w_z", "You count W_z too; this convention has none.", {"w_z": True}),
    _given(
        "half_c_per_pair",
        "C/2 is missing for each of the N² pairs: either the logits q·k, or half of the values, which have C channels in the weighted "
        "sum too (and there is no W_z).",
        {"logits": False},
    ),
    _given("w_v_half", "You count W_v from C to C/2 channels; in this convention it leads to C.", {"w_v": "half"}),
    _given("flops_not_macs", "You count a multiplication and an addition as two; a multiply-add counts once.",
           {"twice": "products"}, {"twice": "all"}),
    _given("no_softmax", "The N² entries of the softmax are missing: one each.", {"softmax": False}),
    _given("no_addition", "The N² entries of the sum of the two maps are missing in “dnl”: one each.", {"addition": "none"}),
    _given(
        "sum_twice",
        "Your “nl” is right; “dnl” has N² too many: the sum of the two maps is 1 per entry, and the second softmax does not count.",
        {"addition": "twice"},
    ),
    _given("sum_of_rows", "You count N for the sum of the two maps; they are added entry by entry, 1 for each of the N².", {"addition": "N"}),
    _given("sum_of_outputs", "You count C·N for the sum, as if two outputs were added; here the two maps are, 1 for each of the N² entries.",
           {"addition": "CN"}),
    _given("no_aggregation", "The products of map and values are missing: C for each of the N² entries.", {"aggregation": False}),
    _given("no_pair_products", "The two N × N products, q·k and weights times values, are missing: C/2 and C for each of the N² entries.",
           {"logits": False, "aggregation": False}),
    _given("w_m_square", "W_m makes one number of C channels: C multiply-adds per position, not C².", {"mask": "C2"}),
    _given("w_m_left_out", "W_m is missing in “dnl”: C multiply-adds per position.", {"mask": "none"}),
    _given("projections_once", "You count the 1×1 convolutions once; they run at each of the N positions.", {"once": True}),
)  # fmt: skip
