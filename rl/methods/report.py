"""What came of a comparison: tables of every ground, and the claims."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from .claim import LEVEL, Claim, Expected, Finding, Wish, accuracy, findings
from .claims import CLAIMS
from .trial import START

Row = Mapping[str, Any]


def by_budget(rows: Sequence[Row]) -> dict[int, list[Row]]:
    """Rows by the sampled tokens that they had, each with the starts, which had none.

    What learnt from more tokens is no further seed of what learnt from fewer.
    """
    starts = [r for r in rows if r["method"] == START]
    budgets = sorted({int(r["budget"]) for r in rows if r["method"] != START}) or [0]
    return {
        b: starts + [r for r in rows if r["method"] != START and int(r["budget"]) == b]
        for b in budgets
    }


def table(rows: Sequence[Row]) -> str:
    """Markdown: for each ground its methods, best first."""
    grounds = list(dict.fromkeys(r["ground"] for r in rows))
    return "\n\n".join(ground_table(g, [r for r in rows if r["ground"] == g]) for g in grounds)


def ground_table(ground: str, rows: Sequence[Row]) -> str:
    """Markdown: one ground."""
    methods = list(dict.fromkeys(r["method"] for r in rows))
    lines = [
        f"### {ground}",
        "",
        "| method | seeds | accuracy | deviation | calls | tokens a question | sampled | steps |"
        " learnt from | turns |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    told = [method_line(m, [r for r in rows if r["method"] == m]) for m in methods]
    lines += [line for _, line in sorted(told, key=lambda t: -t[0])]
    notes = [*priced(rows), *filtered(rows), *short(rows), *refusals(rows)]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def priced(rows: Sequence[Row]) -> list[str]:
    """Where the world says that a call costs: accuracy less that price, best first."""
    good = [r for r in rows if r["error"] is None and "net" in r["held_out"]]
    if all(r["held_out"]["net"] == r["held_out"]["accuracy"] for r in good):
        return []
    left = {
        m: statistics.fmean(r["held_out"]["net"] for r in good if r["method"] == m)
        for m in dict.fromkeys(r["method"] for r in good)
    }
    ranked = sorted(left.items(), key=lambda pair: -pair[1])
    told = ", ".join(f"{m} {value:.3f}" for m, value in ranked)
    return [f"* accuracy less what calls cost in this world: {told}"]


def filtered(rows: Sequence[Row]) -> list[str]:
    """Which methods played more attempts than they learnt from, as a filter of groups does."""
    notes = []
    for method in dict.fromkeys(r["method"] for r in rows):
        mine = [r for r in rows if r["method"] == method and r["error"] is None and "played" in r]
        played, kept = (sum(int(r[k]) for r in mine) for k in ("played", "episodes"))
        if played > kept:
            notes.append(
                f"* {method}: {played / len(mine):.0f} attempts were played; "
                f"{1 - kept / played:.0%} of them, in refused groups, were not learnt from"
            )
    return notes


def short(rows: Sequence[Row]) -> list[str]:
    """Which methods ran out of steps before their tokens were spent."""
    least: dict[str, Row] = {}
    for r in rows:
        if r["error"] is None and r["tokens"] < r["budget"]:
            known = least.setdefault(r["method"], r)
            least[r["method"]] = min(known, r, key=lambda row: int(row["tokens"]))
    return [
        f"* {m}: the ground's {r['steps']} steps ended at {r['tokens']} of {r['budget']} tokens; "
        "give the ground more steps"
        for m, r in least.items()
    ]


def refusals(rows: Sequence[Row]) -> list[str]:
    """Why some methods have no numbers here."""
    why = {r["method"]: r["error"] for r in rows if r["error"] is not None}
    return [f"* {m}: {text}" for m, text in why.items()]


def method_line(method: str, rows: Sequence[Row]) -> tuple[float, str]:
    """Mean accuracy, and the line of a method on a ground."""
    good = [r for r in rows if r["error"] is None]
    if not good:
        return -1.0, f"| {method} | 0 | | | | | | | | |"
    right = [r["held_out"]["accuracy"] for r in good]
    spread = f"{statistics.stdev(right):.3f}" if len(right) > 1 else ""
    means = [statistics.fmean(r["held_out"][k] for r in good) for k in ("calls", "tokens")]
    counts = [
        statistics.fmean(r[k] for r in good) for k in ("tokens", "steps", "episodes", "turns")
    ]
    at = statistics.fmean(right)
    cells = [
        method,
        str(len(good)),
        f"{at:.3f}",
        spread,
        f"{means[0]:.2f}",
        f"{means[1]:.0f}",
        *(f"{c:.0f}" for c in counts),
    ]
    return at, f"| {' | '.join(cells)} |"


def pairs_table(rows: Sequence[Row]) -> str:
    """Markdown: on each ground the accuracy of every method against the first that was named.

    Nothing where no two methods share two seeds.
    """
    lines = []
    for ground in dict.fromkeys(r["ground"] for r in rows):
        mine = [r for r in rows if r["ground"] == ground and r["method"] != START]
        names = list(dict.fromkeys(r["method"] for r in mine))
        for name in names[1:]:
            wish = Wish(accuracy, Expected.MORE)
            (f,) = findings(Claim(name, "", "", ground, name, names[0], (wish,)), mine)
            if f.seeds > 1:
                lines.append(
                    f"| {ground} | {name} | {names[0]} | {difference(f)} | {f.p:.3f} | {f.seeds} |"
                )
    if not lines:
        return ""
    head = [
        "| ground | method | against | accuracy more by (95 %) | p | seeds |",
        "|---|---|---|---|---|---|",
    ]
    few = f"By seed; fewer than six allow no interval, and no p below {LEVEL:g}."
    return "\n".join([*head, *lines, "", few])


def claims_table(rows: Sequence[Row], claims: Sequence[Claim] = CLAIMS) -> str:
    """Markdown: what the seeds say of each claim that was played; nothing where none was."""
    told = [claim_line(f) for claim in claims for f in findings(claim, rows) if f.seeds]
    if not told:
        return ""
    lines = [
        "| claim | source | where | what | first | second | difference (95 %) | p | seeds | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *told])


def claims_json(rows: Sequence[Row], claims: Sequence[Claim] = CLAIMS) -> list[dict[str, Any]]:
    """The same as plain values; an interval without bounds is None."""
    told = [f for claim in claims for f in findings(claim, rows) if f.seeds]
    return [
        {
            "claim": f.claim.name,
            "measure": f.wish.measure.__name__,
            "expected": str(f.wish.expected),
            "first": f.first,
            "second": f.second,
            "interval": [f.low, f.high] if isfinite(f.low) else None,
            "p": f.p,
            "seeds": f.seeds,
            "verdict": str(f.verdict),
        }
        for f in told
    ]


def claim_line(f: Finding) -> str:
    """One number of one claim."""
    c = f.claim
    what = f"{c.first} against {c.second}: {f.wish.measure.__name__} {f.wish.expected}"
    cells = [
        c.says,
        c.source,
        c.ground if c.beside is None else f"{c.ground}, {c.beside}",
        what.replace("_", " "),
        f"{f.first:.3f}",
        f"{f.second:.3f}",
        difference(f),
        f"{f.p:.3f}",
        str(f.seeds),
        f"**{f.verdict}**",
    ]
    return f"| {' | '.join(cells)} |"


def difference(f: Finding) -> str:
    """The difference with its interval, where there are seeds enough for one."""
    gap = f"{f.first - f.second:+.3f}"
    return f"{gap} ({f.low:+.3f} to {f.high:+.3f})" if isfinite(f.low) else gap


def tools_table(rows: Sequence[Row]) -> str:
    """Markdown: calls a held-out question by tool, before and after learning."""
    names = sorted({t for r in rows if r["error"] is None for t in r["held_out"]["tools"]})
    heads = " | ".join(f"`{n}`" for n in names)
    lines = [
        f"| world | method | accuracy | {heads} |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for ground, method in dict.fromkeys((r["ground"], r["method"]) for r in rows):
        mine = [r for r in rows if (r["ground"], r["method"]) == (ground, method)]
        good = [r["held_out"] for r in mine if r["error"] is None]
        if good:
            share = statistics.fmean(h["accuracy"] for h in good)
            counts = [statistics.fmean(h["tools"].get(n, 0.0) for h in good) for n in names]
            told = " | ".join(f"{c:.2f}" for c in counts)
            lines.append(f"| {ground} | {method} | {share:.3f} | {told} |")
    return "\n".join(lines)
