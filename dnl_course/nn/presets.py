"""Which DNL do you mean? The block exists in versions that disagree; four of them, by name (lesson 08; F1, F2, F5).

==========  ======  ===  ===============  ===========  =======  ===========  ===============================
preset      value   W_z  biases           mean         scale    temperature  at the start
==========  ======  ===  ===============  ===========  =======  ===========  ===============================
"block"     D wide  yes  W_q W_k W_v W_z  per channel  1        1            the identity
"table5"    C wide  no   none             per channel  1        1            y is added as it is
"mmseg"     D wide  yes  W_q W_k W_v W_z  per channel  D**-0.5  0.05         the identity
"official"  C wide  no   W_q W_k          one number   1        1            the unary term is added as it is
==========  ======  ===  ===============  ===========  =======  ===========  ===============================

D is C/2 unless said otherwise. "table5" is what the printed costs and Table 5 of the paper count: 2 C**2 + C weights
for "dnl". "mmseg" is the block of mmsegmentation 1.2. "official" is the configuration for Cityscapes in the example
commands of the authors' repository (of several that lie there): it takes one number per image out of the queries (the mean
over channels *and* positions), which is not the mean of the equation, and multiplies the pairwise term by a learned gate
that starts at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from dnl_course.nn import _checks as check

__all__ = ["PRESETS", "Preset"]

OVERRIDABLE = ("scale", "temperature", "norm", "zero_init")


@dataclass(frozen=True)
class Preset:
    """What a `DisentangledBlock` leaves open in the printed equation.

    Attributes
    ----------
    name : str
    full_value : bool
        The value is C wide, not ``inner_channels`` wide, and has no bias.
    out : bool
        W_z follows: z = W_z y + x. Otherwise z = y + x.
    bias : bool
        The 1x1 convolutions have a bias, but for W_m, a value C wide, and W_z before a norm.
    scalar_mean : bool
        Take one number per image out of the queries instead of one per channel.
    gate : bool
        A learned number, 0 at the start, multiplies the pairwise term.
    scale : bool
        Multiply logits made from q or its mean by D**-0.5.
    temperature : float
        Divides the whitened logit.
    norm : None, "batch" or callable
        After W_z. In ``block.preset`` the name of its class stands for a callable, so that blocks can be pickled.
    zero_init : bool, "out" or "norm"
        What is 0 at the start, so that z = x: W_z ("out") or the norm's weight and bias ("norm"). True: the norm if
        there is one, W_z otherwise.

    Examples
    --------
    >>> PRESETS["mmseg"].temperature
    0.05
    >>> PRESETS["mmseg"].differences(PRESETS["block"])
    {'scale': (True, False), 'temperature': (0.05, 1.0)}
    """

    name: str
    full_value: bool = False
    out: bool = True
    bias: bool = True
    scalar_mean: bool = False
    gate: bool = False
    scale: bool = False
    temperature: float = 1.0
    norm: Any = None
    zero_init: bool | str = True

    def changed(self, **overrides: Any) -> Preset:
        """Return the preset with what is not None replaced; only scale, temperature, norm and zero_init may be.

        Raises
        ------
        TypeError, ValueError
            Another field, a value of another kind, or one that contradicts the preset.

        Examples
        --------
        >>> PRESETS["block"].changed(temperature=0.5, scale=None).temperature
        0.5
        """
        other = set(overrides) - set(OVERRIDABLE)
        if other:
            raise TypeError(f"{', '.join(sorted(other))}: a preset fixes all but {', '.join(OVERRIDABLE)}.") from None
        made = replace(self, **{name: value for name, value in overrides.items() if value is not None})
        check.flag("scale", made.scale)
        check.temperature(made.temperature)
        if not isinstance(made.zero_init, bool):
            if made.zero_init not in ("out", "norm"):
                raise ValueError(f"zero_init is {made.zero_init!r}; allowed are True, False, 'out' and 'norm'.") from None
            if made.out and made.zero_init == "norm" and made.norm is None:
                raise ValueError("zero_init is 'norm' and there is no norm. Use zero_init='out', or norm='batch'.") from None
        if not made.out and made.norm is not None:
            raise ValueError(
                f"norm is {made.norm!r} and preset is {self.name!r}, which has no W_z that it could follow. Leave norm away, "
                "or use preset='block'."
            ) from None
        if not made.out and made.zero_init:
            raise ValueError(
                f"zero_init is {made.zero_init!r} and preset is {self.name!r}, which has no W_z: it does not start as the "
                "identity. Use preset='block' for a block that does."
            ) from None
        return replace(made, temperature=float(made.temperature))

    def differences(self, other: Preset) -> dict[str, tuple]:
        """Return the fields, but the name, in which two presets differ: {field: (own, other's)}."""
        return {
            f.name: (getattr(self, f.name), getattr(other, f.name))
            for f in fields(self)
            if f.name != "name" and getattr(self, f.name) != getattr(other, f.name)
        }


PRESETS = {
    p.name: p
    for p in (
        Preset("block"),
        Preset("table5", full_value=True, out=False, bias=False, zero_init=False),
        Preset("mmseg", scale=True, temperature=0.05),
        Preset("official", full_value=True, out=False, scalar_mean=True, gate=True, zero_init=False),
    )
}
"""The four presets by name."""
