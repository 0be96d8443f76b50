"""The equations as functions of queries, keys and values (lesson 02 on)."""

from dnl_course.attention.maps import PAIRWISE, attention_map
from dnl_course.attention.pairwise import concatenation, dot_product, embedded_gaussian, gaussian

__all__ = ["PAIRWISE", "attention_map", "concatenation", "dot_product", "embedded_gaussian", "gaussian"]
