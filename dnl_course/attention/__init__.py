"""The equations as functions of queries, keys and values (lessons 02 and 08)."""

from dnl_course.attention.family import VARIANTS, AttentionMaps, attend, attention_maps
from dnl_course.attention.maps import PAIRWISE, attention_map
from dnl_course.attention.pairwise import concatenation, dot_product, embedded_gaussian, gaussian
from dnl_course.attention.terms import centred, pairwise_logits, unary_logits

__all__ = [
    "PAIRWISE",
    "VARIANTS",
    "AttentionMaps",
    "attend",
    "attention_map",
    "attention_maps",
    "centred",
    "concatenation",
    "dot_product",
    "embedded_gaussian",
    "gaussian",
    "pairwise_logits",
    "unary_logits",
]
