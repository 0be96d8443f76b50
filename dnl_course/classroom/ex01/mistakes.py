"""The known mistakes of exercise 01, non-local means. Ids are permanent: a class's tally is kept by them."""

from ..task import Limit, Mistake

# One row too few, one column too few, or both; averaged over what is there, or over what should be.
EARLY = tuple({"after": after, "whole": whole} for whole in (False, True) for after in ((0, 0), (0, 1), (1, 0)))

PATCH_DISTANCE = (
    Mistake(
        "sum",
        "You add the squared differences up; the distance is their mean, so that a 7 × 7 patch and a 3 × 3 patch "
        "can be judged by the same h.",
        ({"reduce": "sum"},),
    ),
    Mistake("root", "You take the square root; the distance stays squared.", ({"root": True},)),
    Mistake(
        "absolute", "You average the absolute differences; the definition squares each difference.", ({"power": 1},)
    ),
    Mistake(
        "half_open",
        "Your patches end one row or one column early: a slice `a:b` or a `range(a, b)` does not contain `b`, so the end "
        "needs `+ 1`.",
        EARLY,
    ),
    Mistake(
        "signed",
        "You average the differences as they are, so that bright and dark cancel; square each difference first.",
        ({"power": "signed"},),
    ),
    Mistake(
        "corner",
        "Your patches start at the pixel; they must be centred at it, half a patch to each side.",
        ({"corner": True},),
    ),
    Mistake(
        "x_y_swapped",
        "Row and column have changed places: an image is indexed `image[row, column]`, and `i`, `j` are (row, column).",
        ({"swapped": True},),
    ),
    Mistake(
        "means_only",
        "You compare the means of the two patches; compare them pixel by pixel, square, and average last.",
        ({"means_only": True},),
    ),
)

PIXEL_WEIGHTS = (
    Mistake("not_normalised", "Your weights do not sum to 1: divide by their sum.", ({"divide": "nothing"},)),
    Mistake("h_not_squared", "You divide the distance by h; it is divided by h².", ({"scale": "h"},)),
    Mistake(
        "two_h2",
        "You divide by 2h², as a normal distribution does; non-local means divides by h².",
        ({"scale": "2h²"},),
    ),
    Mistake(
        "plus",
        "The sign in your exponent is missing: the *larger* the distance, the *smaller* the weight.",
        ({"sign": 1},),
    ),
    Mistake(
        "max_one",
        "Your largest weight is 1; what must be 1 is the sum of all of them.",
        ({"divide": "largest"},),
    ),
    Mistake(
        "squared_twice",
        "You square the distance; it is a mean of *squared* differences already.",
        ({"power": 2},),
    ),
    Mistake(
        "one_axis",
        "You normalise along one axis only; all candidates together, in every axis, must sum to 1.",
        ({"divide": "first axis"}, {"divide": "last axis"}),
    ),
    Mistake("h_forgotten", "Your weights do not depend on h: divide the distance by h².", ({"scale": "1"},)),
    Mistake(
        "h_multiplied",
        "You multiply by h² instead of dividing by it (`a / 2 * b` is `(a / 2) * b`).",
        ({"scale": "1/h²"}, {"scale": "2/h²"}),
    ),
)

DENOISED_PIXEL = (
    Mistake(
        "mean",
        "You average the products; the weights sum to 1 already, so the products are *added*.",
        ({"reduce": "mean"},),
    ),
    Mistake(
        "half_open",
        "Your window ends one row or one column early: a slice `a:b` or a `range(a, b)` does not contain `b`, so the end "
        "needs `+ 1`.",
        EARLY,
    ),
    Mistake(
        "corner",
        "Your window starts at the pixel; it must be centred at it, t pixels to each side.",
        ({"corner": True},),
    ),
    Mistake(
        "flipped",
        "Your weights and your window run in opposite directions: `weights[0, 0]` belongs to the upper left pixel.",
        ({"turn": "flipped"},),
    ),
    Mistake(
        "transposed",
        "Your weights and your window are transposed against each other: the first axis of both counts rows.",
        ({"turn": "transposed"},),
    ),
    Mistake(
        "unweighted",
        "You take the plain mean of the window; `weights` says how much each pixel counts.",
        ({"take": "mean"},),
    ),
    Mistake(
        "best_only",
        "You copy the pixel with the largest weight; all pixels of the window contribute.",
        ({"take": "best"},),
    ),
    Mistake(
        "x_y_swapped",
        "Row and column have changed places: `pixel` is (row, column), and so is the order of an image's axes.",
        ({"swapped": True},),
    ),
)

NL_MEANS_VECTORISED = (
    Mistake(
        "count_not_weights",
        "You divide by the number of shifts, (2t+1)²; divide by the sum of the weights.",
        ({"divide": "count"},),
    ),
    Mistake(
        "one_normaliser",
        "You divide every pixel by one and the same sum; each pixel has its own sum of weights.",
        ({"divide": "sum over the image"}, {"divide": "mean over the image"}),
    ),
    Mistake(
        "pixels_not_patches",
        "You compare single pixels; average the squared differences over the patch with `box_mean`.",
        ({"compare": "pixels"},),
    ),
    Mistake(
        "patch_means",
        "You average over the patch before you square; square the differences first, then take `box_mean`.",
        ({"compare": "patch means"},),
    ),
    Mistake(
        "wraps_round",
        "What leaves the image on one side comes in on the other, as with `np.roll` or `mode=\"wrap\"`; cut the shifted "
        "image out of `padded` instead.",
        ({"border": "roll"}, {"border": "roll, zeros"}, {"border": "wrap"}),
    ),
    Mistake(
        "last_shift_missing",
        "The last shift is missing: `range(-t, t)` does not contain t, so it needs `t + 1`.",
        ({"last": 0},),
    ),
    Mistake(
        "self_left_out",
        "You leave the pixel itself out; here it counts like any other, with distance 0 and weight 1.",
        ({"own": False},),
    ),
    Mistake(
        "h_not_squared",
        "You divide the distance by h; it is divided by h².",
        ({"scale": "h"},),
    ),
    Mistake("h_forgotten", "Your weights do not depend on h: divide the distance by h².", ({"scale": "1"},)),
    Mistake(
        "two_h2",
        "You divide by 2h², as a normal distribution does; non-local means divides by h².",
        ({"scale": "2h²"},),
    ),
)

NL_MEANS_LIMITS = (
    Limit(
        "pixel_loop",
        "The values are right, but your function loops over pixels or rows: at four times the pixels it runs {counted:.1f} "
        "times the Python lines. Loop over the shifts and let NumPy do all pixels at once.",
        "lines",
        1.5,
    ),
    Limit(
        "all_at_once",
        "The values are right, but your function holds {counted:.0f} images in memory at once (allowed: {allowed:.0f}): "
        "add up shift by shift, and keep no list of the shifts.",
        "memory",
        64.0,
    ),
)

NL_MEANS_TERMS = (
    Mistake(
        "nothing_split",
        "You put the whole −d/h² into the part about the pair; expand the square and give what depends on j alone its "
        "own place.",
        ({"split": False},),
    ),
    Mistake(
        "unary_dropped",
        "Your part about j is zero; the square of P_j does depend on j, so softmax over j does not ignore it.",
        ({"unary": 0.0},),
    ),
    Mistake(
        "unary_sign",
        "The sign of your part about j is wrong: a large |P_j|² makes the distance larger and the weight smaller.",
        ({"unary": 1.0},),
    ),
    Mistake(
        "no_two",
        "A factor 2 is missing in the part about the pair: (a − b)² = a² − 2ab + b².",
        ({"two": 1.0},),
    ),
    Mistake(
        "no_patch_mean",
        "You add over the patch; the distance is the *mean* squared difference, so both parts are divided by P.",
        ({"mean": False},),
    ),
    Mistake(
        "norm_not_squared",
        "The part about j needs the squared norm |P_j|², not the norm.",
        ({"norm_power": 1},),
    ),
    Mistake("h_not_squared", "You divide by h; both parts are divided by h².", ({"scale": "h"},)),
    Mistake("h_forgotten", "Your two parts do not depend on h: both are divided by h².", ({"scale": "1"},)),
    Mistake(
        "row_term_kept",
        "The part about the pair still holds −|P_i|²: it is the same for every j, so softmax over j ignores it. Drop it.",
        ({"row_term": True},),
    ),
)
