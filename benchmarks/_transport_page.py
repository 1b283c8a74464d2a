"""What `tool_transport.py` found, as ratios and as the committed page."""

from __future__ import annotations

from typing import Any

import _timing

UINT8_TARGET, F32_TARGET, REFERENCE_TARGET = 80.0, 30.0, 2.0
BY = ("q1", "median")
"""What ratios are told of: the lower quartile, which counts, and the median."""


def ratios(times: dict[str, list[float]], by: str = "q1") -> dict[str, float]:
    """By lower quartiles, or by medians."""
    at = {name: _timing.summary(values)[by] for name, values in times.items()}
    return {
        "uint8_speedup": at["peer"] / at["ours_uint8"],
        "f32_speedup": at["peer"] / at["ours_f32"],
        "transport_only_speedup": at["peer_our_patches"] / at["ours_uint8"],
        "reference_over_floor": (at["by_reference"] - at["tool_alone"]) / at["null_post"],
    }


def missed(payload: dict[str, Any]) -> str:
    """Which targets were not met, in a sentence."""
    one = payload["ratios"]["1"]["q1"]
    ways = {
        "uint8": (one["uint8_speedup"], UINT8_TARGET, one["uint8_speedup"] >= UINT8_TARGET),
        "f32": (one["f32_speedup"], F32_TARGET, one["f32_speedup"] >= F32_TARGET),
        "by reference": (
            one["reference_over_floor"],
            REFERENCE_TARGET,
            one["reference_over_floor"] <= REFERENCE_TARGET,
        ),
    }
    short = [f"{k} ({got:.1f}, target {aim:g})" for k, (got, aim, met) in ways.items() if not met]
    if not short:
        return "All targets are met."
    return (
        f"Missed: {', '.join(short)}. The targets were set when the peer took 475 ms and an empty "
        "POST 3.3 ms; the peer here is leaner (a plain client, no framework validation, no delayed "
        "acknowledgements), and what is left of ours is mostly the resize and the digest."
    )


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: milliseconds a call, lower quartile (median)."""
    names = list(results["1"])
    lines = ["| ms a call, lower quartile (median) | 1 client | 32 clients |", "|---|---|---|"]
    for name in names:
        cells = []
        for clients in results:
            if name not in results[clients]:
                cells.append("-")
                continue
            s = _timing.summary(results[clients][name])
            cells.append(f"{s['q1'] * 1e3:.2f} ({s['median'] * 1e3:.2f}), n={int(s['n'])}")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def report(payload: dict[str, Any], results: dict[str, dict[str, list[float]]]) -> str:
    """The committed page."""
    found = payload["ratios"]
    rows = [
        ("peer / ours, uint8", "uint8_speedup", f">= {UINT8_TARGET:g}"),
        ("peer / ours, f32", "f32_speedup", f">= {F32_TARGET:g}"),
        ("peer with our patches / ours, uint8", "transport_only_speedup", ""),
        ("(by reference - tool) / null POST", "reference_over_floor", f"<= {REFERENCE_TARGET:g}"),
    ]
    lines = [
        f"| {words} | "
        + " | ".join(f"{found[c][by][key]:.2f}" for c in found for by in BY)
        + f" | {target} |"
        for words, key, target in rows
    ]
    quality = payload["psnr_db"]
    return "\n".join(
        [
            "# tool_transport",
            "",
            "    OMP_NUM_THREADS=1 python benchmarks/tool_transport.py",
            "",
            "An 800x600 box of a 4000x3000 picture, from the call to model-ready patches; what "
            "each line is stands at the head of the script.",
            "",
            table(results),
            "",
            "| ratio | 1 client, lower quartiles | medians | 32 clients, lower quartiles "
            "| medians | target (1 client) |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            missed(payload),
            "",
            f"PSNR against the picture's own pixels: ours {quality['ours']}, by reference "
            f"{quality['by_reference']}, peer {quality['peer']:.1f} dB. The peer's last step is "
            f"the library's `{payload['processor']}` processor.",
            "",
            f"Machine: {payload['machine']['cpu']}, {payload['machine']['cores']} cores, load "
            f"{payload['machine']['load'][0]:.1f} at the start; Python "
            f"{payload['machine']['python']}, {payload['machine']['packages']}.",
            "",
        ]
    )
