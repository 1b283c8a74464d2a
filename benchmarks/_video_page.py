"""The results of the video benchmark as a page of Markdown."""

from __future__ import annotations

import json
from typing import Any


def page(payload: dict[str, Any]) -> str:
    """The results as a page of Markdown."""
    lines = [
        "# video_window",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/video_window.py` (its docstring says what is what).",
        f"Machine: {payload['machine']['cpu']}, {payload['machine']['cores']} cores; packages: "
        + ", ".join(f"{k} {v}" for k, v in payload["machine"]["packages"].items() if v),
        "",
        "| file | look | candidate | CPU s (quartiles), n | wall s | peak MB | frames | wrong |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in payload["rows"]:
        spread = f"{r['cpu_s']:.2f} ({r['q1']:.2f}-{r['q3']:.2f}), {r['n']}"
        cells = [r["file"], r["look"], r["candidate"], spread, f"{r['wall_s']:.2f}"]
        cells += [f"{r['peak_mb']:.0f}", str(r["frames"]), str(r["wrong"])]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Peers' cost over ours:", "", "| what | ratio |", "|---|---|"]
    lines += [f"| {k} | {v:.2f} |" for k, v in payload["ratios"].items()]
    for name in ("targets", "index_s", "decoded_to_least", "group", "hour", "left_out"):
        lines += ["", f"{name}: `{json.dumps(rounded(payload.get(name)))}`"]
    lines += ["", "Short of a target (against qwen-vl-utils, the group against no cache):", ""]
    lines += [f"- {line}" for line in short(payload)] or ["- nothing"]
    lines += ["", "Our peak counts all of our worker (about 60 MB of it are its imports)."]
    return "\n".join(lines) + "\n"


def short(payload: dict[str, Any]) -> list[str]:
    """Ratios that miss their target."""
    targets, missed = payload["targets"], []
    for name, ratio in payload["ratios"].items():
        file, look, peer, what = name.split()
        if not peer.startswith("qwen"):
            continue
        key = "memory" if what == "memory" else "keys" if look == "keys" else f"exact_gop{file[3:]}"
        if ratio < targets[key]:
            missed.append(f"{name}: {ratio:.2f}, target {targets[key]:g}")
    if payload["group"]["ratio"] < targets["group"]:
        missed.append(f"group: {payload['group']['ratio']:.2f}, target {targets['group']:g}")
    return missed


def rounded(value: Any) -> Any:
    """The same with three decimals."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return round(value, 3) if isinstance(value, float) else value
