"""The known mistakes of exercise 06. Ids are permanent: a class's tally is kept by them."""

from ..task import Mistake

FIRST_FRACTION = (
    Mistake(
        "no_difference",
        "You square the products (q_i − α)·(k_m − β) themselves; the slides square the *difference* of two of them, for keys "
        "m and n.",
        ({"above": "products"}, {"above": "products, M times"}),
    ),
    Mistake(
        "alpha_not_in_denominator",
        "Your denominator has Σ |q_i|²; α belongs there too: Σ |q_i − α|².",
        ({"queries": "as they are"},),
    ),
    Mistake(
        "alpha_not_in_numerator",
        "Your numerator has q_i where q_i − α belongs; α does not cancel there, only β does.",
        ({"above": "alpha forgotten"},),
    ),
    Mistake(
        "mean_for_alpha",
        "You use the mean of the queries; the fraction is wanted at the *given* α, whatever it is.",
        ({"reference_point": "mean"},),
    ),
    Mistake(
        "pairs_once",
        "You count each pair of keys once (m < n) in one of the two sums, above or below; the slides let m and n run over all "
        "keys in both, which is twice as much.",
        ({"half": "above"}, {"half": "below"}),
    ),
    Mistake(
        "key_energy",
        "Your denominator has the distances of the keys from β; the slides have those of the keys from each other, Σ_mn |k_m "
        "− k_n|².",
        ({"keys": "about beta"}, {"keys": "about beta, M times"}),
    ),
    Mistake(
        "sum_of_denominators",
        "You add the two sums of the denominator; the slides multiply them.",
        ({"combine": "plus"},),
    ),
    Mistake(
        "second_fraction",
        "That is the second fraction, with queries and keys exchanged; in the first one the differences are those of keys.",
        ({"roles": "kq"},),
    ),
    Mistake(
        "both_fractions",
        "That is the whole objective, both fractions; the task asks for the first one alone.",
        ({"give": "both"},),
    ),
    Mistake(
        "not_divided",
        "That is the numerator alone; divide it by Σ_i |q_i − α|² times Σ_mn |k_m − k_n|².",
        ({"give": "numerator"},),
    ),
    Mistake(
        "no_dot_product",
        "Your numerator has no dot product: multiply q_i − α and k_m − k_n channel by channel, *add up the channels*, then "
        "square.",
        ({"above": "each channel"}, {"above": "lengths"}),
    ),
    Mistake(
        "norm_not_squared",
        "A length in your denominator is not squared: `.norm()` is a root; the slides have squares, x·x.",
        ({"root": "queries and keys"}, {"root": "queries"}, {"root": "keys"}),
    ),
    Mistake(
        "square_outside",
        "Your numerator is 0 for all data: over all pairs m, n the differences cancel, so square each one *before* you add.",
        ({"above": "square outside"},),
    ),
)

BETTER_THAN_MEAN = (
    Mistake(
        "the_mean",
        "For these data your α is the mean of the queries; the task asks for a *larger* first fraction than there.",
        (),
    ),
    Mistake(
        "direction_only",
        "If your α is meant as a direction: the step along it starts at the mean of the queries, so add the mean.",
        (),
    ),
    Mistake(
        "least_direction",
        "From the mean of the queries your α lies in the direction in which the keys vary *least*; where they vary most is the "
        "eigenvector of their covariance's largest eigenvalue (`eigh` and `diagonalize` have eigenvectors in *columns*).",
        (),
    ),
    Mistake(
        "query_direction",
        "From the mean of the queries your α lies in the direction in which the *queries* vary most; the first fraction grows "
        "in that in which the *keys* vary most.",
        (),
    ),
    Mistake(
        "along_an_axis",
        "From the mean of the queries your α lies along an axis, and there these keys vary too little: try other directions "
        "than the axes, and if you used KᵀK, take the mean of the keys off first.",
        (),
    ),
    Mistake(
        "not_centred",
        "From the mean of the queries your α lies in the direction in which the keys *with* their mean are longest (an "
        "eigenvector of KᵀK); take their mean off first, as a covariance does.",
        (),
    ),
    Mistake(
        "rows_not_columns",
        "Your step has the sign of one entry turned: the eigenvectors are the *columns* of the matrix that `eigh` or "
        "`diagonalize` returns, not its rows.",
        (),
    ),
    Mistake(
        "hard_coded",
        "(1, 0) and (0, 1) beat the mean for the triangle of the text, not for all data; compute your α from `Q` and `K`.",
        (),
    ),
    Mistake(
        "other_mean",
        "Your α is the mean of the *keys*, or a step from there in the right direction; α belongs to the queries, so start at "
        "their mean.",
        (),
    ),
)

HESSIAN_AT_MEAN = (
    Mistake("no_two", "The factor 2 is missing: differentiating d A dᵀ twice gives 2A.", ({"factor": 1},)),
    Mistake("no_one_over_s", "You do not divide by s, the trace of the queries' covariance.", ({"over_s": False},)),
    Mistake(
        "sign",
        "Your signs are turned: the Hessian is A − r₀ I, times 2/s, not r₀ I − A.",
        ({"sign": -1},),
    ),
    Mistake(
        "r0_missing",
        "You differentiate the numerator only: the denominator grows with d too, which takes r₀ I off.",
        ({"r0": "missing"},),
    ),
    Mistake(
        "r0_unweighted_mean",
        "Your r₀ is the plain mean of A's eigenvalues; it is weighted with the queries' variance, tr(A S_q)/s.",
        ({"r0": "unweighted"},),
    ),
    Mistake("r0_not_divided", "Your r₀ is tr(A S_q); divide it by s = tr S_q.", ({"r0": "not divided"},)),
    Mistake(
        "r0_product_of_traces",
        "Your r₀ is a product of traces, which makes it 1; it is the trace of the *product* A S_q, divided by s.",
        ({"r0": "product of traces"},),
    ),
    Mistake(
        "r0_everywhere",
        "You take r₀ off every entry; r₀ I has it on the diagonal only.",
        ({"minus": "everywhere"},),
    ),
    Mistake(
        "a_not_trace_one",
        "Your A is not S_k/tr S_k, in one place or in both: the eigenvalues of A add up to 1.",
        ({"trace_one": "nowhere"}, {"trace_one": "by s"}, {"trace_one": "by D"}, {"trace_one": "in r0 only"}),
    ),
    Mistake(
        "roles_swapped",
        "Queries and keys have changed places: α belongs to the queries, so s is the trace of *their* covariance and A comes "
        "from the keys.",
        ({"roles": "kq"},),
    ),
)

MEAN_IS_A_MINIMUM = (
    Mistake(
        "undefined",
        "The objective is 0/0 for your data: the keys must differ from each other, and so must the queries.",
        (),
    ),
    Mistake(
        "constant",
        "The objective is constant for your data, so the means are no better and no worse than anything else: in one "
        "dimension it always is, and also where queries and keys vary equally in all directions.",
        (),
    ),
    Mistake("maximum", "For your data the means are a *maximum*: no α and no β gives more.", ()),
    Mistake(
        "saddle",
        "For your data the means are a saddle: from there the objective rises in one direction and falls in another.",
        (),
    ),
    Mistake("one_fraction_only", "For your data the means minimise one of the two fractions, not both.", ()),
)

SECOND_MINIMISER = (
    Mistake("the_means", "These are the means themselves; the task asks for *another* point at which F is as small.", ()),
    Mistake(
        "alpha_moved",
        "You move α; the keys vary in all directions, so every move of α makes F larger. Move β instead.",
        (),
    ),
    Mistake(
        "both_moved",
        "You move α and β; the keys vary in all directions, so α has to stay at the mean of the queries.",
        (),
    ),
    Mistake(
        "along_the_line",
        "You move β along the line of the queries, where F grows fastest; move it at right angles to that line.",
        (),
    ),
    Mistake(
        "orthogonal_to_mean",
        "You move β at right angles to the mean of the queries; it must be at right angles to their *differences* q_i − q_j.",
        (),
    ),
    Mistake(
        "orthogonal_to_one_query",
        "You move β at right angles to one of the queries; it must be at right angles to their *differences* q_i − q_j.",
        (),
    ),
    Mistake(
        "only_the_step",
        "You return the step as β; the step starts at the mean, so β is the mean of the keys *plus* the step.",
        (),
    ),
    Mistake(
        "order_swapped",
        "You return β first: α comes first, and it belongs to the queries.",
        (),
    ),
)

REPAIRED_OBJECTIVE = (
    Mistake(
        "rows_only",
        "You take differences within the rows only; those within the columns, w_im − w_jm, belong to the numerator too.",
        ({"above": "rows"},),
    ),
    Mistake(
        "columns_only",
        "You take differences within the columns only; those within the rows, w_im − w_in, belong to the numerator too.",
        ({"above": "columns"},),
    ),
    Mistake(
        "all_pairs",
        "You compare every entry with every other; a difference stays within one row or within one column.",
        ({"above": "all pairs"},),
    ),
    Mistake(
        "square_outside",
        "Your numerator is 0 for all w: over all pairs the differences cancel, so square each one *before* you add.",
        ({"above": "square outside"},),
    ),
    Mistake(
        "square_of_sum",
        "You divide by (Σ w)²; the squares come first: Σ w².",
        ({"over": "square of sum"},),
    ),
    Mistake(
        "pairs_once",
        "You count each pair once; m and n run over all keys, i and j over all queries, which is twice as much.",
        ({"half": True},),
    ),
    Mistake(
        "mean_energy",
        "You divide by the mean of w²; the task asks for the sum.",
        ({"over": "mean energy"},),
    ),
    Mistake(
        "row_sum_energy",
        "You divide by the squares of row or column sums; the task asks for the sum of the squared entries, Σ w².",
        ({"over": "row sums"}, {"over": "column sums"}, {"over": "both sums"}),
    ),
    Mistake(
        "centred_energy",
        "You take a mean off w in the denominator; the squares of w as it is are added there.",
        ({"over": "centred"}, {"over": "row centred"}, {"over": "column centred"}),
    ),
    Mistake(
        "not_divided",
        "That is the numerator alone; divide it by Σ w².",
        ({"over": "nothing"},),
    ),
    Mistake(
        "one_sum_divided",
        "Only one of your two sums is divided: put both numerators into one pair of brackets, and divide the whole by Σ w².",
        ({"above": "rows not divided"}, {"above": "columns not divided"}),
    ),
    Mistake(
        "four_n",
        "You start from 4N; that is right where there are as many queries as keys, otherwise it is 2(N + M).",
        ({"closed": "N"}, {"closed": "M"}),
    ),
)
