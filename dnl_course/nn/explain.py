"""What a `DisentangledBlock` computes, in words and numbers: equation, widths, differences from print (lesson 08)."""

from __future__ import annotations

from dnl_course.nn._norms import takes_out_what_is_the_same_everywhere

__all__ = ["explanation"]

SOURCE = {
    "nl": "Wang et al. 2018, embedded Gaussian",
    "nl_p": "Yin et al. 2020, pairwise NL",
    "nl_u": "Yin et al. 2020, unary NL",
    "dnl": "Yin et al. 2020, DNL",
    "dnl_star": "Yin et al. 2020, DNL*",
    "dnl_dagger": "Yin et al. 2020, DNL with a dagger",
}
TWO_MAPS = ("dnl", "dnl_dagger")  # the sum of two softmaxes


def explanation(block) -> str:
    """Return the text of `DisentangledBlock.explain`."""
    C, D, preset = block.channels, block.inner_channels, block.preset
    value = C if preset.full_value else D
    z = "W_z y_i" if preset.out else "y_i"
    z = z if block.norm is None else f"{type(block.norm).__name__}({z})"
    mask = "; m = W_m x: 1" if hasattr(block, "mask") else ""
    lines = [
        f"{SOURCE[block.variant]}; variant={block.variant!r}, preset={preset.name!r}",
        f"z_i = {z} + x_i,   y_i = sum_j omega_ij v_j",
        f"omega_ij = {_weights(block)}        each row sums to {_row_sum(block)}",
        f"x: {C} channels; q = W_q x and k = W_k x: {D}; v = W_v x: {value}{mask}",
        *_means(_weights(block)),
    ]
    if block.subsample:
        how = "after" if block.subsample == "conv_pool" else "before"
        lines.append(f"j runs over a pooled map, pooled {how} the 1x1 convolutions of {'k, v and m' if mask else 'k and v'}")
    parameters = sum(p.numel() for p in block.parameters())
    lines.append(f"{parameters:,} parameters" + _state(block))
    lines += ["", "How this differs from what is printed:"]
    return "\n".join(lines + [f"- {line}" for line in _differences(block)])


def _number(value: float) -> str:
    return f"{value:.6g}"


def _weights(block) -> str:
    """Return omega_ij as a formula with the factors that are used."""
    times, hidden_times = ("" if x == 1 else f"{_number(x)} " for x in (block._pairwise_factor(), block._factor()))
    gate = "gate * " if block.preset.gate else ""
    white = f"{times}(q_i - mean(q)).k_j" if block.preset.scalar_mean else f"{times}(q_i - mu_q).(k_j - mu_k)"
    hidden = f"softmax_j({hidden_times}mu_q.k_j)"
    return {
        "nl": f"softmax_j({hidden_times}q_i.k_j)",
        "nl_p": f"{gate}softmax_j({white})",
        "nl_u": hidden,
        "dnl": f"{gate}softmax_j({white}) + softmax_j(m_j)",
        "dnl_star": f"softmax_j({white} + m_j)",
        "dnl_dagger": f"{gate}softmax_j({white}) + {hidden}",
    }[block.variant]


def _row_sum(block) -> str:
    unary = 1 if block.variant in TWO_MAPS else 0
    if block.preset.gate:
        return "gate + 1" if unary else "gate"
    return str(1 + unary)


def _means(formula: str) -> list[str]:
    """Return what the means in a formula are."""
    found = [name for name in ("mu_q", "mu_k") if name in formula]
    lines = []
    if found:
        of_keys = " (of mu_k: all keys)" if "mu_k" in found else ""
        lines.append(f"{' and '.join(found)}: mean over all positions of one image{of_keys}, channel by channel")
    if "mu_k" in found:
        lines.append("mu_k changes nothing but rounding: the softmax over j does not see it")
    if "mean(q)" in formula:
        lines.append("mean(q): one number per image, over channels and positions")
    return lines


def _state(block) -> str:
    if any(p.is_meta for p in block.parameters()):
        return ", without values yet"
    gate = f"; gate = {_number(float(block.gate.detach()))}" if block.preset.gate else ""
    return f"; now {'z = x, the identity' if block.is_identity() else 'z is not x'}{gate}"


def _differences(block) -> list[str]:
    preset, D, found = block.preset, block.inner_channels, []
    found.append(
        f"v has {D} channels, and W_z brings y back to {block.channels}, as the block is printed; the printed cost counts a value "
        "of C channels and no W_z (preset 'table5')"
        if preset.out
        else "there is no W_z, as the cost is printed; the block is printed with one, z = W_z y + x (preset 'block')"
    )
    biased = [f"W_{sign}" for sign, name in zip("qkvz", ("query", "key", "value", "out")) if _bias(block, name)]
    if biased:
        found.append(f"a bias is added by {', '.join(biased)}")
    if preset.scalar_mean:
        found.append(
            "one number is taken out of the queries, not mu_q, their mean channel by channel: of the unary term, "
            "(mu_q - mean(q)).k_j stays in the pairwise one"
        )
    if preset.gate:
        found.append("a learned number, the gate, multiplies the pairwise term")
    if preset.scale:
        found.append(f"logits made from q or mu_q are multiplied by D**-0.5 = {_number(D**-0.5)}")
    if preset.temperature != 1:
        found.append(f"the whitened logit is divided by the temperature {_number(preset.temperature)}")
    if block.norm is not None:
        found.append(f"{type(block.norm).__name__} follows W_z" + _deleted(block.norm, block.variant))
    if block.subsample:
        found.append("keys, values and unary logits come from a pooled map")
    return found


def _bias(block, name: str) -> bool:
    return getattr(getattr(block, name), "bias", None) is not None


def _deleted(norm, variant: str) -> str:
    """Say it if the norm takes out what is the same at all positions (claim E3)."""
    when = takes_out_what_is_the_same_everywhere(norm)
    if not when or variant not in (*TWO_MAPS, "nl_u"):
        return ""
    words = "takes the unary term out again: that is one vector, the same at all positions"
    if when == "always":
        return f", and {words}"
    return f", and {when} {words}; in evaluation it takes stored means out, and the term stays"
