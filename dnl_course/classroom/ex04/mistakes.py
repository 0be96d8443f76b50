"""The known mistakes of exercise 04 about maps (04.1 to 04.3). Ids are permanent: a class's tally is kept by them."""

from ..task import Limit, Mistake

COSINE_DISTANCE = (
    Mistake(
        "averaged_first",
        "Your answer is 0 for every map. Are the rows averaged before they are normalised, or compared with themselves? Divide "
        "each row by its length first, then average.",
        ({"give": "zero"},),
    ),
    Mistake(
        "mean_over_wrong_axis",
        "Your unit rows are right; average them over the *queries* (axis 0), you averaged each over its own keys.",
        ({"mean_over": "keys"},),
    ),
    Mistake(
        "not_normalised",
        "Your rows have lengths of their own; they sum to 1, but a cosine needs rows of *length* 1, so divide each by "
        "the root of its sum of squares.",
        ({"unit": "nothing"},),
    ),
    Mistake(
        "columns_normalised",
        "You divide the columns by their lengths; each *row* belongs to a query and is divided by its own length (axis 1).",
        ({"unit": "columns"},),
    ),
    Mistake(
        "norm_not_squared",
        "You use the length of the mean unit row; the mean cosine is the *square* of that length.",
        ({"power": 1},),
    ),
    Mistake(
        "similarity",
        "You return how alike the rows are, which is 1 where all are equal; the distance (1 − cos)/2 is 0 there.",
        ({"give": "similarity"}, {"give": "similarity, halved"}),
    ),
    Mistake("no_half", "You average 1 − cos; the distance is half of it, (1 − cos)/2.", ({"half": False},)),
    Mistake(
        "self_left_out",
        "You leave out the pairs of a query with itself; they count here, with distance 0, so there are N² pairs.",
        ({"own": False},),
    ),
    Mistake(
        "columns_compared",
        "You compare the columns; the map of query i is *row* i, so rows are compared with rows.",
        ({"compare": "columns"},),
    ),
    Mistake(
        "summed",
        "You add the unit rows up; take their *mean* before you square its length.",
        ({"centre": "sum"},),
    ),
    Mistake(
        "mean_over_keys",
        "You average the squares of the mean unit row; the squared length of a vector is their *sum*.",
        ({"divide": "M"},),
    ),
    Mistake(
        "keepdim_missing",
        "`rows.norm(dim=1)` has shape (N,) and is matched with the columns; keep the axis, `keepdim=True`, so that each row is "
        "divided by its own length.",
        ({"unit": "rows, flat"},),
    ),
)

COSINE_LIMITS = (
    Limit(
        "all_pairs",
        "you made a tensor of {counted:.0f} entries, of the size of all pairs of queries. At 128 × 128 pixels there are 268 "
        "million pairs: the length of the mean unit row needs none of them.",
        "tensor",
        800.0,
        note=True,
    ),
    Limit(
        "pair_loop",
        "you go through all pairs of queries one by one: for twice the queries your function runs {counted:.1f} times the Python "
        "lines. At 128 × 128 pixels there are 268 million pairs: the length of the mean unit row needs none of them.",
        "lines",
        2.5,
        note=True,
    ),
)

JS_DIVERGENCE = (
    Mistake(
        "one_kl",
        "You compute one Kullback-Leibler divergence between p and r; this one measures both against their mean "
        "m = (p + r)/2.",
        ({"take": "p|r"}, {"take": "r|p"}, {"take": "p|r", "naive": True}, {"take": "r|p", "naive": True}),
    ),
    Mistake(
        "jeffreys",
        "You take KL(p | r) and KL(r | p) together, which is infinite where one of them is 0; measure both against their "
        "mean m = (p + r)/2.",
        (
            {"take": "jeffreys"}, {"take": "jeffreys, halved"}, {"take": "jeffreys", "naive": True},
            {"take": "jeffreys, halved", "naive": True},
        ),
    ),
    Mistake(
        "mixture_first",
        "You measure from the mean to p and r, KL(m | p) and KL(m | r); it is KL(p | m) and KL(r | m), weighted with p and r "
        "(in `F.kl_div(input, target)` the weights are the *target*).",
        ({"take": "m|p, m|r"}, {"take": "m|p, m|r", "naive": True}),
    ),
    Mistake(
        "no_half",
        "You add KL(p | m) and KL(r | m); each counts half, so that the largest divergence is log 2.",
        ({"half": False},),
    ),
    Mistake(
        "one_sided",
        "One half is missing: KL(p | m) and KL(r | m) are both needed, or the divergence is not symmetric.",
        ({"take": "p|m"}, {"take": "r|m"}, {"take": "p|m", "half": False}, {"take": "r|m", "half": False}),
    ),
    Mistake(
        "mixture_not_halved",
        "Your m is p + r; it must be their mean, (p + r)/2, to sum to 1 like them.",
        ({"mixture": 1.0},),
    ),
    Mistake(
        "kl_div_needs_log",
        "The logarithm of the second map is missing: KL(p | m) = Σ p (log p − log m), and you have m in place of log m "
        "(`F.kl_div(input, target)` expects `m.log()` as its input).",
        ({"second": "weights"}, {"second": "weights", "reduce": "mean"}),
    ),
    Mistake("bits", "You measure in bits (log2); the task asks for nats, the natural logarithm.", ({"log": "bits"},)),
    Mistake(
        "root",
        "You return the Jensen-Shannon *distance*; the divergence is its square, so leave the root out.",
        ({"root": True},),
    ),
    Mistake(
        "mean_not_sum",
        "You average over the positions; the terms of a divergence are *added* up (`F.kl_div` needs `reduction=\"sum\"`).",
        ({"reduce": "mean"},),
    ),
    Mistake(
        "zero_log_zero",
        "You get NaN where p or r is 0: 0 · log 0 counts as 0 here, so leave these entries out (`torch.xlogy(p, p)`, or "
        "`torch.where`).",
        ({"naive": True},),
    ),
)

EFFECTIVE_POSITIONS = (
    Mistake(
        "entropy",
        "You return the entropy; its exponential is the number of positions.",
        ({"give": "entropy"}, {"give": "entropy", "log": "bits"}, {"give": "entropy", "sign": 1}),
    ),
    Mistake(
        "sign",
        "The sign of your entropy is wrong: it is *minus* the sum of w log w, so that a flat row of M positions gives M and "
        "not 1/M.",
        ({"sign": 1},),
    ),
    Mistake(
        "over_queries",
        "You add over the queries; each query has an entropy of its own, so add over the positions (axis 1).",
        ({"over": "queries"},),
    ),
    Mistake(
        "bits",
        "You mix two units: an entropy in bits (log2) belongs into a power of 2, one in nats (log) into `exp`.",
        ({"log": "bits"}, {"base": 2.0}),
    ),
    Mistake(
        "counted",
        "You count the positions that have any weight; the exponential of the entropy also asks *how much*, so that a position "
        "with next to no weight hardly counts.",
        ({"give": "counted"},),
    ),
    Mistake(
        "of_mean_map",
        "You average the rows first and count for their mean; the task asks for every row on its own, N numbers.",
        ({"of": "mean row"},),
    ),
    Mistake(
        "averaged",
        "You return one average; the task asks for one number per query, N of them.",
        ({"of": "mean of all"}, {"of": "mean entropy"}),
    ),
    Mistake(
        "mean_not_sum",
        "You average −w log w over the positions; an entropy is their *sum*.",
        ({"reduce": "mean"},),
    ),
    Mistake(
        "fraction",
        "You divide by M and get a share of the map; the task asks for the number of positions, from 1 to M.",
        ({"divide": "M"},),
    ),
    Mistake(
        "inverse_simpson",
        "You compute 1/Σw², another effective number (the inverse Simpson index); this one is the exponential of the entropy.",
        ({"give": "simpson"},),
    ),
    Mistake(
        "zero_log_zero",
        "You get NaN for rows with a 0 in them: 0 · log 0 counts as 0 here (`torch.xlogy(w, w)`, or `torch.where`).",
        ({"naive": True},),
    ),
)
