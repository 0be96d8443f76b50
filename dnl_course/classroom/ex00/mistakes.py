"""The known mistakes of exercise 00. Ids are permanent."""

from ..task import Mistake

MEAN_OF_WINDOW = (
    Mistake(
        "half_open",
        "Your window ends one row and one column early: a slice `a:b` does not contain `b`, so the end needs `+ 1`.",
        ({"after": 0},),
    ),
    Mistake("sum", "You add the pixels up; the task asks for their mean.", ({"reduce": "sum"},)),
    Mistake(
        "x_y_swapped",
        "Row and column have changed places: an image is indexed `image[row, column]`, and `pixel` is (row, column).",
        ({"swapped": True},),
    ),
)
