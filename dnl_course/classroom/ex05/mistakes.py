"""The known mistakes of exercise 05 about means and terms (05.1 to 05.3). Ids are permanent: a class's tally is kept by them."""

from ..task import Mistake

MEAN_ROW = (
    Mistake("no_n", "You add the rows up; a mean is the sum divided by their number N = `Q.rows`.", ({"divide": "1"},)),
    Mistake(
        "one_over_d",
        "You divide by D, the number of channels; there are N = `Q.rows` positions to divide by.",
        ({"divide": "D"},),
    ),
    Mistake(
        "over_channels",
        "You average each row over its channels; average each *column*, over the positions: one number per channel.",
        (
            {"over": "channels"}, {"over": "channels", "divide": "N"}, {"over": "channels", "divide": "1"},
            {"over": "channels", "give": "the other way round"}, {"over": "channels", "divide": "N", "give": "the other way round"},
            {"over": "channels", "divide": "1", "give": "the other way round"},
        ),
    ),
    Mistake(
        "all_entries",
        "You add *all* entries into one number, as `sum(Q)` does; add the rows `Q.row(i)`, so that each channel keeps a number "
        "of its own.",
        (
            {"over": "all", "divide": "N"}, {"over": "all", "divide": "N", "give": "filled"},
            {"over": "all", "divide": "N", "give": "1 × 1"}, {"over": "all", "divide": "1"},
            {"over": "all", "divide": "1", "give": "filled"}, {"over": "all", "divide": "1", "give": "1 × 1"},
        ),
    ),
    Mistake(
        "grand_mean",
        "You average all entries into one number; each channel has a mean of its own, over the positions.",
        ({"over": "all"}, {"over": "all", "give": "filled"}, {"over": "all", "give": "1 × 1"}),
    ),
    Mistake(
        "column_vector",
        "Your means are right, but they stand below each other in a (D, 1) matrix; rows are positions here, so return a row (1, D).",
        ({"give": "the other way round"},),
    ),
)  # fmt: skip

SPLIT_TERMS = (
    Mistake(
        "printed_sign",
        "Your constant is +μ_q·μ_k, as the slides print it, so your four terms add up to Q Kᵀ + 2 μ_q·μ_k; μ_q·μ_k is in the "
        "unary and in the query term, once too often, so it goes off again: the sign is −.",
        ({"constant": "plus"},),
    ),
    Mistake(
        "unary_and_query_swapped",
        "Your second and third term have changed places: the unary one, μ_q·k_j, is the same in all rows and comes second; the "
        "query one, q_i·μ_k, is the same in all columns and comes third.",
        ({"swap": True},),
    ),
    Mistake(
        "over_channels",
        "You centre every row by the mean of its own channels; μ_q and μ_k are means over the *positions*, one number per channel.",
        ({"means": "channels"},),
    ),
    Mistake(
        "grand_mean",
        "You take one number as the mean of all entries; μ_q and μ_k are rows (1, D), with one mean per channel.",
        ({"means": "grand"},),
    ),
    Mistake(
        "sums_not_means",
        "You use the sums of the rows; μ_q is the sum divided by N = `Q.rows`, μ_k the one divided by M = `K.rows`.",
        ({"means": "sums"},),
    ),
    Mistake(
        "constant_forgotten",
        "Your constant is missing or 0; μ_q·μ_k is in the unary and in the query term, once too often, so the constant −μ_q·μ_k "
        "has to take it off.",
        ({"constant": "left out"}, {"count": 3}),
    ),
    Mistake(
        "only_what_softmax_sees",
        "You leave out the terms that softmax does not see; here all four are wanted, and they add up to Q Kᵀ exactly.",
        ({"fold": "nothing"}, {"count": 2}),
    ),
    Mistake(
        "unary_from_key_mean",
        "Your unary term is μ_k·k_j, the keys with their own mean; what all queries share is the mean *query*: μ_q·k_j.",
        ({"unary": "key mean"}, {"unary": "key mean", "query": "query mean"}),
    ),
    Mistake(
        "query_from_query_mean",
        "Your query term is q_i·μ_q, the queries with their own mean; it is the query with the mean *key*: q_i·μ_k.",
        ({"query": "query mean"},),
    ),
    Mistake(
        "one_side_centred",
        "In your pairwise term only one side is centred; take the mean off the queries *and* off the keys: (q_i − μ_q)·(k_j − μ_k).",
        (
            {"centred": "queries"}, {"centred": "keys"}, {"centred": "none"}, {"centred": "queries", "fold": "nothing"},
        ),
    ),
    Mistake(
        "terms_centred",
        "Your four terms are a true split, with the sign + at its end, but of centred terms, μ_q·(k_j − μ_k) and (q_i − μ_q)·μ_k; "
        "the task asks for μ_q·k_j and q_i·μ_k, and then the constant is −μ_q·μ_k.",
        ({"unary": "centred", "query": "centred", "constant": "plus"},),
    ),
    Mistake(
        "constant_folded_in",
        "Your query term is q_i·μ_k − μ_q·μ_k and your constant 0; they add up, but the task asks for the two apart.",
        ({"fold": "query"},),
    ),
    Mistake(
        "not_spread",
        "Your terms have different shapes; all four are matrices (N, M), so lay the unary row under every query "
        "(`sp.ones(N, 1) * row`), the query column beside every key (`column * sp.ones(1, M)`), and the constant everywhere.",
        (
            {"spread": "none"}, {"spread": "none, number"}, {"spread": "all but the unary"},
            {"spread": "all but the constant"}, {"spread": "all but the constant, number"},
        ),
    ),
)  # fmt: skip

DROP_ROW_CONSTANTS = (
    Mistake(
        "column_means",
        "You take off the column means, which softmax does see (they are the unary term); it runs along the rows, so each *row* "
        "loses its own mean.",
        ({"off": "column means"},),
    ),
    Mistake(
        "grand_mean",
        "You take one number off all entries; each *row* has a mean of its own that softmax does not see.",
        ({"off": "grand mean"},),
    ),
    Mistake(
        "both",
        "Your answer is doubly centred: the column means have gone as well, and with them the unary term, which softmax does see.",
        ({"off": "both"},),
    ),
    Mistake(
        "row_sums",
        "You take off the row *sums*, or divide them by the wrong number; a row mean is the sum of its M entries divided by M = `S.cols`.",
        ({"off": "row sums"}, {"off": "row sums / N"}),
    ),
    Mistake(
        "first_column",
        "Your matrix has the same softmax, but its rows do not sum to 0, for you make one column 0; take off each row's *mean*.",
        ({"off": "first column"}, {"off": "last column"}),
    ),
    Mistake(
        "row_maximum",
        "Your matrix has the same softmax, but its rows do not sum to 0, for you take off their largest (or smallest) entry, as "
        "one does against overflow; take off each row's *mean*.",
        ({"off": "row maximum"}, {"off": "row minimum"}),
    ),
    Mistake(
        "log_softmax",
        "You return the logarithm of the softmax; it has the same softmax, but the *exponentials* of its rows sum to 1; here the "
        "rows themselves are to sum to 0.",
        ({"off": "log of the sum"},),
    ),
    Mistake("added", "You add the row means; take them *off*.", ({"sign": 1},)),
    Mistake(
        "means_returned",
        "You return the row means, what is to be taken off; return S *without* them.",
        ({"give": "what is taken off"}, {"give": "what is taken off, filled"}),
    ),
)  # fmt: skip
