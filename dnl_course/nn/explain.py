"""What a `DisentangledBlock` computes, in words and numbers: equation, widths, start, differences from print (lesson 08)."""

from __future__ import annotations

__all__ = ["explanation"]

TOTAL = {"dnl": 2, "dnl_dagger": 2}
SOURCE = {
    "nl": "Wang et al. 2018, embedded Gaussian",
    "nl_p": "Yin et al. 2020, pairwise NL",
    "nl_u": "Yin et al. 2020, unary NL",
    "dnl": "Yin et al. 2020, DNL",
    "dnl_star": "Yin et al. 2020, DNL*",
    "dnl_dagger": "Yin et al. 2020, DNL with a dagger",
}


def _number(value: float) -> str:
    return f"{value:.4g}"


def _weights(block) -> str:
    factor = block._pairwise_factor()
    times = "" if factor == 1 else f"{_number(factor)} "
    mean = "mean(q)" if block.preset.scalar_mean else "mu_q"
    unary_times = "" if block._factor() == 1 else f"{_number(block._factor())} "
    white = f"{times}(q_i - {mean}).(k_j - mu_k)"
    hidden, own = f"{unary_times}mu_q.k_j", "m_j"
    gate = "gate * " if block.preset.gate else ""
    return {
        "nl": f"softmax_j({unary_times}q_i.k_j)",
        "nl_p": f"{gate}softmax_j({white})",
        "nl_u": f"softmax_j({hidden})",
        "dnl": f"{gate}softmax_j({white}) + softmax_j({own})",
        "dnl_star": f"softmax_j({white} + {own})",
        "dnl_dagger": f"{gate}softmax_j({white}) + softmax_j({hidden})",
    }[block.variant]


def explanation(block) -> str:
    """Return the text of `DisentangledBlock.explain`."""
    C, D, preset = block.channels, block.inner_channels, block.preset
    width = C if preset.full_value else D
    last = "" if not preset.out else "W_z " if block.norm is None else f"{type(block.norm).__name__}(W_z ".replace("(W", "(W")
    close = ")" if preset.out and block.norm is not None else ""
    sums = f"        each row sums to {TOTAL.get(block.variant, 1)}" if not preset.gate else ""
    lines = [
        f"{SOURCE[block.variant]}; variant={block.variant!r}, preset={preset.name!r}",
        f"z_i = {last}y_i{close} + x_i,   y_i = sum_j omega_ij v_j",
        f"omega_ij = {_weights(block)}{sums}",
        f"x: {C} channels; q = W_q x and k = W_k x: {D}; v = W_v x: {width}" + ("; m = W_m x: 1" if hasattr(block, "mask") else ""),
    ]
    if "mu_q" in lines[2]:
        lines.append("mu_q, mu_k: means over all positions of one image, channel by channel (mu_k changes nothing)")
    if preset.scalar_mean:
        lines.append("mean(q): one number per image, over channels and positions")
    if block.subsample:
        how = "after" if block.subsample == "conv_pool" else "before"
        lines.append(f"j runs over a pooled map: pooled {how} the 1x1 convolutions of k, v and m")
    parameters = sum(p.numel() for p in block.parameters())
    lines.append(f"{parameters:,} parameters; now {'z = x (the identity)' if block.is_identity() else 'z is not x'}")
    lines += ["", "How this differs from the printed equation:"]
    return "\n".join(lines + [f"- {line}" for line in _differences(block)])


def _differences(block) -> list[str]:
    preset, D = block.preset, block.inner_channels
    found = []
    if preset.out:
        found.append(
            "v has D channels, and W_z brings y back to C; the printed cost counts a value of C channels and no W_z (preset 'table5')"
        )
    if preset.scalar_mean:
        found.append("one scalar is taken out of the queries, not mu_q: a unary part (mu_q - mean(q)).k_j stays in the pairwise term")
    if preset.gate:
        found.append(f"a learned gate, now {float(block.gate.detach()):.3g}, multiplies the pairwise term")
    if preset.scale:
        found.append(f"logits made from q or mu_q are multiplied by D**-0.5 = {_number(D**-0.5)}")
    if preset.temperature != 1:
        found.append(f"the whitened logit is divided by the temperature {preset.temperature:g}")
    if block.norm is not None:
        found.append(f"{type(block.norm).__name__} follows W_z")
    if block.subsample:
        found.append("keys are sub-sampled")
    return found or ["in nothing"]
