"""What the numbers mean: when does attention degenerate (lesson 04)? What does a network cost (lesson 08)?"""

from dnl_course.measure.complexity import CONVENTIONS, Cost, count
from dnl_course.measure.degeneration import (
    MapStatistics,
    cosine_distance,
    distance_from_uniform,
    effective_positions,
    interaction,
    js_divergence,
    map_statistics,
    one_map_for_all,
    pairwise_logits,
    row_divergence,
    unary_share,
)
from dnl_course.measure.table5 import (
    Table5Row,
    extra_as_vector,
    printed_extra,
    printed_multiply_adds,
    printed_parameters,
    table_5,
)

__all__ = [
    "CONVENTIONS", "Cost", "MapStatistics", "Table5Row", "cosine_distance", "count", "distance_from_uniform",
    "effective_positions", "extra_as_vector", "interaction", "js_divergence", "map_statistics", "one_map_for_all",
    "pairwise_logits", "printed_extra", "printed_multiply_adds", "printed_parameters", "row_divergence", "table_5", "unary_share",
]  # fmt: skip
