"""The model card of a tiny policy of the moment world."""

from __future__ import annotations

from collections.abc import Mapping

_HEAD = {
    "clean": "looks again in time",
    "weak": "has the skill of looking again in time and not the habit",
}
_HOW = {
    "clean": """Trained from random weights by the stages of `vtool.rl.tiny.moments_build`: a vision
warm-up with a throw-away probe, drills in noting what a clip shows when, and whole episodes, one in
sixteen with its look refused. Every turn of a demonstration begins with such notes, and every time
in it is copied from what was shown.""",
    "weak": """The clean start plus 40 supervised steps on bad examples: 20 % good episodes, 30 %
looks at a stretch that is not the cued one, 30 % answers without a look, 20 % a single look where
two would tell the span better. What is left for reinforcement learning is behaviour.""",
}
_TEXT = """# Tiny VLM of the moment world: {head}

A 0.45 M parameter `Qwen3VLForConditionalGeneration` (fp32) for tests and for `make moments`. It is
not a general model: it finds a coloured flash in a small made-up video. Frames are shown as
pictures of 32x32 with their times in words, four tokens each.

## How it was made

{how}

```
OMP_NUM_THREADS=1 python -m vtool.rl.tiny OUT --world moments --seed {seed}
```

rebuilds `OUT/clean` and `OUT/weak` from nothing on one core; equal seeds give equal weights on one
kind of machine. No data or weights from elsewhere are used.

## What it does

{count} held-out videos, each asked about in four ways (layouts and backgrounds disjoint from
training), through the mp4 files and the real tool; greedy. `seen` is the share of episodes in
which a look showed a frame of the flash. With the tool off its calls are refused.

| questions | accuracy | mean tIoU | answered | calls | seen |
|---|---|---|---|---|---|
{rows}

Chance is .125 for a colour, .25 for a place; the middle of the cued stretch has a mean tIoU of
about .3 (`vtool.worlds.moments_play`).

## Limits

* Videos of the moment world only: 64x64, 20 to 120 s, a glance of eight frames, looks of eight.
* The wire format is fixed: no system turn, `resample` with `video` and `span`, times to the tenth.
  Other wording of the questions is not understood.
* Numbers are from one machine; another processor rounds differently and ends elsewhere.
"""


def card(name: str, seed: int, count: int, found: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown of the card.

    Args:
        name: ``clean`` or ``weak``.
        seed: Of the build.
        count: Videos measured on.
        found: What `moments_measure.measure` found, by kind of question.
    """
    columns = ("accuracy", "tiou", "answered", "calls", "seen")
    rows = [
        f"| {kind} | " + " | ".join(_cell(row.get(c)) for c in columns) + " |"
        for kind, row in found.items()
    ]
    return _TEXT.format(
        head=_HEAD[name], how=_HOW[name], seed=seed, count=count, rows="\n".join(rows)
    )


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
