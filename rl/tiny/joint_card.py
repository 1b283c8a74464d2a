"""The model card of the joint policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT = """# Tiny VLM of several worlds: one policy, {tools} tools

A 0.46 M parameter `Qwen3VLForConditionalGeneration` (fp32). It is not a general model: it plays the
worlds {worlds}
(`docs/worlds`) and chooses among the tools of all of them. Pictures, and frames of videos, are
shown as 64x64, sixteen tokens each.

## How it was made

It begins as `tiny/clean`. A tokenizer is learnt from the texts of all worlds; tokens that both
know keep their embedding. Then it learns expert episodes of all worlds of pictures in one mix
(`vtool.rl.tiny.joint_build`): the experts are the worlds' scripted policies with a thought before
each turn, played through the real tools. Videos come last: the tokenizer grows by times and the
words of the moment world, frames are noted in drills, all worlds are learnt beside each other, and
short drills without pictures teach to look tenths of seconds up.
The detector of the world detect is a stand-in for a learned one, as that world's page says.

```
OMP_NUM_THREADS=1 python -m vtool.rl.tiny OUT --world joint --seed {seed}
```

rebuilds `OUT/joint` on one core; equal seeds give equal weights on one kind of machine
(75 minutes; built whole once more, the weights came out bit-identical to those that ship).

## What it does

{count} held-out questions per row (layouts disjoint from training), greedy, all tools on offer in
every world. A box or a span is right from an overlap of one half on. The right part counts calls
an episode.

| world | accuracy | chance | answered | {heads} |
|---|---|---|---|{rule}
{rows}
{times}
## Limits

* The wire format is fixed: no system turn, Hermes calls, places in thousandths. Other wording of
  the questions is not understood.
* Numbers are from one machine; another processor rounds differently and ends elsewhere.
"""
_SPANS = (
    "",
    "What is asked for in words, and the mean overlap of the spans that are asked for:",
    "",
    "| world | words right | mean tIoU |",
    "|---|---|---|",
)


def card(
    seed: int, count: int, found: Mapping[str, Mapping[str, Any]], chances: Mapping[str, float]
) -> str:
    """Markdown of the card.

    Args:
        seed: Of the build.
        count: Questions measured on, of each world.
        found: What `joint_measure.measure` found.
        chances: Of each world.
    """
    names = tool_names(found)
    rows = []
    for title, row in found.items():
        chance = chances.get(title.split(",")[0])
        cells = [f"{row['accuracy']:.3f}", "-" if chance is None else f"{chance:.2f}"]
        cells += [f"{row['answered']:.3f}", *(f"{row['tools'].get(n, 0):.2f}" for n in names)]
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
    spans = [_span(title, row) for title, row in found.items() if "tiou" in row]
    return _TEXT.format(
        tools=len(names),
        worlds=", ".join(dict.fromkeys(title.split(",")[0] for title in found)),
        seed=seed,
        count=count,
        heads=" | ".join(f"`{n}`" for n in names),
        rule="---|" * len(names),
        rows="\n".join(rows),
        times="\n".join([*_SPANS, *spans, ""]) if spans else "",
    )


def _span(title: str, row: Mapping[str, Any]) -> str:
    return f"| {title} | {row['words']:.3f} | {row['tiou']:.3f} |"


def tool_names(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every tool that was called in some world, sorted."""
    return sorted({name for row in found.values() for name in row["tools"]})
