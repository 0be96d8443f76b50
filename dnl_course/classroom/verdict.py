"""What a judge says of an answer, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .task import Inputs

DOUBLE, SINGLE = 1e-7, 1e-4  # relative tolerances for float64 and float32 answers
PASSED, WRONG, NOT_ATTEMPTED, REFUSED = "passed", "wrong", "not attempted", "refused"


@dataclass
class Verdict:
    """What the judge says.

    Attributes
    ----------
    status : {"passed", "wrong", "not attempted", "refused"}
    sentence : str
        One sentence for the learner.
    mistake : str
        Id of the named mistake, of the limit or of the layer; empty when passed.
    notes : list of str
        Remarks on a right answer, or side remarks on a wrong one.
    inputs, yours, expected : the smallest failing example, where there is one.
    printed : str
        What the function printed on it.
    """

    status: str
    sentence: str
    mistake: str = ""
    notes: list[str] = field(default_factory=list)
    inputs: Inputs | None = None
    yours: list[np.ndarray] | None = None
    expected: tuple[np.ndarray, ...] | None = None
    printed: str = ""
