"""The model card of the joint policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT = """# Tiny VLM of several worlds: one policy, {tools} tools

A 0.45 M parameter `Qwen3VLForConditionalGeneration` (fp32). It is not a general model: it plays the
worlds {worlds} (`docs/worlds`) and chooses among the tools of all of them.

## How it was made

It begins as `tiny/clean`. A tokenizer is learnt from the texts of all worlds; tokens that both
know keep their embedding. Then it learns expert episodes of all worlds in one mix (`vtool.rl.tiny.
joint_build`): the experts are the worlds' scripted policies with a thought before each turn, played
through the real tools. The detector of the world detect is a stand-in for a learned one, as that
world's page says.

```
OMP_NUM_THREADS=1 python -m vtool.rl.tiny OUT --world joint --seed {seed}
```

rebuilds `OUT/joint` on one core; equal seeds give equal weights on one kind of machine.

## What it does

{count} held-out questions per row (layouts disjoint from training), greedy, all tools on offer in
every world. The right part counts calls an episode.

| world | accuracy | chance | answered | {heads} |
|---|---|---|---|{rule}
{rows}

## Limits

* The wire format is fixed: no system turn, Hermes calls, places in thousandths. Other wording of
  the questions is not understood.
* Numbers are from one machine; another processor rounds differently and ends elsewhere.
"""


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
    return _TEXT.format(
        tools=len(names),
        worlds=", ".join(dict.fromkeys(title.split(",")[0] for title in found)),
        seed=seed,
        count=count,
        heads=" | ".join(f"`{n}`" for n in names),
        rule="---|" * len(names),
        rows="\n".join(rows),
    )


def tool_names(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every tool that was called in some world, sorted."""
    return sorted({name for row in found.values() for name in row["tools"]})
