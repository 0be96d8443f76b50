"""The known mistakes of exercise 04 about logits and queries (04.4 and 04.5). Ids are permanent, as in ``mistakes.py``."""

from ..task import Mistake

UNARY_SHARE = (
    Mistake(
        "row_means_kept",
        "You keep the row means, in the numerator, in the denominator or in both; softmax does not see them: take them off the "
        "logits first, then use what is left in both places.",
        ({"remove": "nothing"}, {"kept": "denominator"}, {"kept": "numerator"}),
    ),
    Mistake(
        "only_grand_mean_removed",
        "You take one number off all logits; each *row* has its own mean, which softmax does not see.",
        ({"remove": "grand mean"},),
    ),
    Mistake(
        "column_means_removed",
        "Your answer is 0 for all logits: a sum over the keys of row-centred logits is always 0, and so is a column mean after the "
        "column means are off. Perhaps one of them is in your lines? The row means go off (axis 1), u is the mean over the "
        "queries (axis 0), and its entries are squared before they are added.",
        ({"form": "zero"},),
    ),
    Mistake(
        "no_n",
        "You count the column means once; each of them stands in N rows, so their sum of squares is multiplied by N.",
        ({"count": False},),
    ),
    Mistake(
        "not_squared",
        "You compare lengths or absolute values; a share is a ratio of *squares*, which add up.",
        ({"power": 1}, {"form": "root"}, {"form": "absolute", "remove": "row means", "kept": None}),
    ),
    Mistake(
        "query_term",
        "Queries and keys have changed places: softmax runs over the keys, so take the row means off (axis 1) and average over "
        "the queries (axis 0).",
        ({"remove": "column means", "means": "rows"}, {"remove": "nothing", "means": "rows"}),
    ),
    Mistake(
        "pairwise_share",
        "You return what is left, the pairwise share; the unary share is 1 minus it.",
        ({"form": "pairwise"},),
    ),
    Mistake(
        "ratio_not_share",
        "You divide the unary part by the pairwise part; a share is a part of the whole, so divide by everything.",
        ({"form": "ratio"},),
    ),
    Mistake(
        "unbiased",
        "Your variances divide by one less than their number, as `torch.var` does unless told `correction=0`; here nothing is "
        "estimated, so divide by the number itself.",
        ({"correction": 1},),
    ),
    Mistake(
        "keepdim_missing",
        "`logits.mean(1)` has shape (N,) and is matched with the columns; keep the axis, `keepdim=True`, so that each row loses "
        "its own mean.",
        ({"remove": "row means, flat"},),
    ),
)

QUERIES_WITH_ONE_MAP = (
    Mistake(
        "constant",
        "Your queries are all equal. They do share one map, but that is the easy case: find *different* ones.",
        (),
    ),
    Mistake(
        "scaled_copies",
        "Your queries are multiples of one query: multiplying a query makes its map sharper or flatter, so the maps differ.",
        (),
    ),
    Mistake(
        "row_space",
        "Your queries vary in the directions in which the keys vary; they must vary only where the keys do *not*: the last "
        "rows of `Vh`, those with singular value 0.",
        (),
    ),
    Mistake(
        "orthogonal_to_mean_key",
        "Your queries differ at right angles to the mean key only; they must differ at right angles to every *difference* of "
        "keys, k_j − μ_k.",
        (),
    ),
    Mistake(
        "orthogonal_to_first_key",
        "Your queries differ at right angles to the first key only; they must differ at right angles to every *difference* of "
        "keys, k_j − μ_k.",
        (),
    ),
    Mistake(
        "left_vectors",
        "You take your directions from `U`, which mixes the keys; directions in the space of the queries are the rows of `Vh`.",
        (),
    ),
    Mistake(
        "columns_of_vh",
        "The directions are the *rows* of `Vh`, that is the *columns* of `V` (or of the vectors of `eigh`); you took the others.",
        (),
    ),
    Mistake(
        "large_base",
        "Your queries are one large vector plus small differences, and these change the map: softmax sees differences of logits, "
        "however large the logits are. The small differences, too, must be at right angles to every k_j − μ_k.",
        (),
    ),
    Mistake(
        "saturated",
        "Your maps look equal only because softmax is saturated: nearly all weight lies on one key, and the logits still differ; look "
        "for queries whose maps are equal at any scale.",
        (),
    ),
)
