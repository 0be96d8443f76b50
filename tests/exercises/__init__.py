"""Proofs of the exercises: every mistake written a second time in another style, and right answers in other styles."""
