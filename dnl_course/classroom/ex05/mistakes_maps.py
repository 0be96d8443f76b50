"""The known mistakes of exercise 05 about what softmax sees, and about maps (05.4 to 05.6). Ids are permanent, as in ``mistakes.py``."""

from ..task import Mistake

SAME_ATTENTION = (
    Mistake(
        "equal_only",
        "You ask whether the logits are equal; softmax does not see a number that is added to a whole row, so L1 − L2 may be "
        "any such numbers.",
        ({"how": "equal only"},),
    ),
    Mistake(
        "structural",
        "You compare expressions as they are written; `x*(y + 1)` and `x*y + x` are equal, but not for `==`, so `expand` the "
        "difference before you compare it with 0.",
        ({"how": "structural"}, {"how": "not expanded"}),
    ),
    Mistake(
        "one_constant",
        "You allow one constant for the whole matrix; each *row* is normalised by itself, so each may have a constant of its own.",
        ({"how": "one constant"},),
    ),
    Mistake(
        "column_constants",
        "You allow a constant for each column; softmax does see these (they are a unary term), but it does not see one for each *row*.",
        ({"how": "column constants"},),
    ),
    Mistake(
        "row_and_column",
        "You allow row constants *and* column constants; a column constant is a unary term, and softmax sees it.",
        ({"how": "row and column"},),
    ),
    Mistake(
        "first_row",
        "You decide by the first row alone (is a `return` inside the loop?); *every* row of L1 − L2 must be constant.",
        ({"how": "first row"},),
    ),
    Mistake(
        "one_point",
        "You put numbers in for the symbols; two expressions can agree there and differ elsewhere, so look at the expanded "
        "difference, with its symbols.",
        ({"how": "all ones"}, {"how": "counted"}),
    ),
    Mistake("always_true", "Your function says True for every pair; not all of them have the same attention.", ({"how": "always true"},)),
    Mistake(
        "always_false",
        "Your function says True for no pair, not even for a matrix and itself; is a `return` missing, or are things of different "
        "kinds compared (a matrix is never equal to the number 0)? Compare every entry with 0.",
        ({"how": "always false"},),
    ),
)

DOUBLE_CENTRE = (
    Mistake(
        "printed_sign",
        "You take the grand mean off; it went off twice with the row means and the column means, so it must be put back: + grand mean.",
        ({"grand": -1},),
    ),
    Mistake(
        "grand_mean_forgotten",
        "You take off row means and column means; each of them holds the grand mean, which has now gone twice, so add it once.",
        ({"grand": 0},),
    ),
    Mistake(
        "rows_only",
        "You take off the row means only; the *column* means, the unary term, have to go as well.",
        ({"columns": 0, "grand": 0},),
    ),
    Mistake(
        "columns_only",
        "You take off the column means only; the *row* means have to go as well.",
        ({"rows": 0, "grand": 0},),
    ),
    Mistake(
        "grand_mean_only",
        "You take off the grand mean only; every row and every column has a mean of its own.",
        ({"rows": 0, "columns": 0, "grand": -1},),
    ),
    Mistake(
        "projects_onto_means",
        "You return the means, what is to be taken off; return what is left of S *without* them.",
        ({"give": "what is taken off"}, {"give": "grand mean"}),
    ),
    Mistake(
        "unchanged",
        "You return S as it came in; take off its row means and its column means, and put back what went off twice.",
        ({"rows": 0, "columns": 0, "grand": 0},),
    ),
    Mistake(
        "means_mixed_up",
        "You divide by the wrong numbers: a row has M = `S.cols` entries, a column has N = `S.rows`.",
        ({"counts": "swapped"},),
    ),
    Mistake(
        "sums_not_means",
        "You take off sums; divide each row's sum by M = `S.cols`, each column's by N = `S.rows`, and the sum of all by N M.",
        ({"counts": "none"}, {"counts": "none at all"}),
    ),
)

_said = {mistake.id: mistake.sentence for mistake in DOUBLE_CENTRE}

PAIRWISE_LOGITS_FROM_MAP = (
    Mistake(
        "unchanged",
        "You return the map as it came in; take the logarithm of every weight, and centre that doubly.",
        ({"take": "nothing", "rows": False, "columns": False},),
    ),
    Mistake(
        "no_log",
        "You centre the map itself; softmax took exponentials, so take the logarithm of every weight first.",
        ({"take": "nothing"},),
    ),
    Mistake(
        "log_only",
        "You return the logarithm of the map; it still holds log Z_i of every row and the unary term: centre it doubly.",
        ({"rows": False, "columns": False},),
    ),
    Mistake(
        "rows_only",
        "You take off the row means only, which removes log Z_i; the *column* means, the unary term, have to go as well.",
        ({"columns": False},),
    ),
    Mistake(
        "columns_only",
        "You take off the column means only; the *row* means, with log Z_i in them, have to go as well.",
        ({"rows": False},),
    ),
    Mistake(
        "grand_mean_forgotten",
        _said["grand_mean_forgotten"],
        ({"grand": 0},),
    ),
    Mistake("printed_sign", _said["printed_sign"], ({"grand": -1},)),
    Mistake(
        "log_after",
        "You centre first and take the logarithm afterwards, of numbers that are 0 on average; the logarithm comes *first*.",
        ({"take": "log after"},),
    ),
    Mistake(
        "exp_not_log",
        "You take exponentials of the weights; softmax did that already, and the logarithm undoes it.",
        ({"take": "exp"},),
    ),
    Mistake(
        "log10",
        "You use a logarithm to base 10 or 2; softmax uses e, so take the natural logarithm, `sp.log(x)`.",
        ({"base": 10.0}, {"base": 2.0}),
    ),
    Mistake(
        "log_of_column_normalised",
        "You divide the columns of the map by their *sums* and expect the unary term to be gone; that leaves column means in the "
        "logarithm, so take off the row means and the column means of log A.",
        ({"first": "columns normalised", "columns": False}, {"first": "columns normalised", "rows": False, "columns": False}),
    ),
    Mistake("sign", "Your answer has the opposite sign: the logits are *plus* the logarithm of the map, centred.", ({"sign": -1},)),
)
