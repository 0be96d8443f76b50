"""What the numbers mean: when does attention degenerate (lesson 04)?"""

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

__all__ = [
    "MapStatistics", "cosine_distance", "distance_from_uniform", "effective_positions", "interaction", "js_divergence",
    "map_statistics", "one_map_for_all", "pairwise_logits", "row_divergence", "unary_share",
]  # fmt: skip
