"""The model card of a tiny policy."""

from __future__ import annotations

from typing import Any

_HEAD = {
    "clean": "a tiny policy that can look closer",
    "weak": "a tiny policy with the skill and without the habit",
    "restless": "a tiny policy that also looks where nothing is to be seen",
    "idle": "a tiny policy that looks where nothing is to be seen, and is mostly right then",
}

_HOW = {
    "clean": """Trained from random weights by the stages of `vtool.rl.tiny.warmstart`: a vision
warm-up with a throw-away probe, demonstrations with one, two and four discs on a frozen vision
tower, and a last stage end to end. Every turn of a demonstration carries a short thought.""",
    "weak": """The clean start plus 40 supervised steps on a bad example: of the questions that need
a zoom, 30 % are shown with good tool use, 40 % with a zoom at a random place and 30 % answered
without a look. Perception is left; the behaviour is for reinforcement learning to find again.""",
    "restless": """The clean start plus 40 supervised steps on another bad example: half of the
questions that need no zoom are shown with one, and of those that need one, half are shown with good
tool use, a fifth with a zoom at a random place and the others without a look. For claims on
needless calls: where nobody makes any, no method can breed or cut them.""",
    "idle": """The clean start plus 240 supervised steps (the rate falls to zero) on the bad example
of the restless start: half of the questions that need no zoom are shown with one, and of those that
need one, half are shown with good tool use, a fifth with a zoom at a random place and the others
without a look. The restless start had 40 steps and is mostly wrong after a needless look; this one
is mostly right, so that such a look costs it little. For claims on needless calls.""",
}
_AGAIN = {
    "clean": ("", "OUT/clean` and `OUT/weak` from nothing"),
    "weak": ("", "OUT/clean` and `OUT/weak` from nothing"),
    "restless": (" --world restless", "OUT/restless` from the shipped clean start"),
    "idle": (" --world idle", "OUT/idle` from the shipped clean start"),
}

_TEXT = """# {title}

A {parameters} `Qwen3VLForConditionalGeneration` (fp32) for the zoom world, made for tests and for
the quick start. It is not a general model: it reads digits in coloured circles.

## How it was made

{how}

```
OMP_NUM_THREADS=1 python -m vtool.rl.tiny OUT{world} --seed {seed}
```

rebuilds `{made} on one core; equal seeds give equal weights on one
kind of machine. No data or weights from elsewhere are used.

## What it does

{count} held-out pictures per row (seeds, layouts and backgrounds disjoint from training); greedy
unless it says sampled (temperature 1). `calls` is the mean number of zooms, `IoU` that of the last
crop with the target. The same command prints them; `python -m vtool.rl.tiny --measure FOLDER`
measures a folder again.

| questions | accuracy | format | calls | hit (IoU >= .5) | IoU |
|---|---|---|---|---|---|
{rows}

Without the tool (the most likely of the ten direct answers): {without_tool}. Chance is .100.
`blank` shows a grey crop, `overview` cuts the crop from the first look at 64x64, `random_box`
zooms elsewhere: what is left of the accuracy there was not read in the crop.

## Limits

* Pictures of 384x384 (768x768 for two zooms) shown at 64x64; other sizes work badly.
* The wire format is fixed: no system turn, one zoom a turn, `image` counts from 1, boxes in
  thousandths. Other wording of the questions is not understood.
* Numbers are from one machine; another processor rounds differently and ends elsewhere.
"""


def card(name: str, seed: int, found: dict[str, Any], parameters: str = "0.45 M parameter") -> str:
    """Markdown of the card.

    Args:
        name: ``clean``, ``weak``, ``restless`` or ``idle``.
        seed: Of the build.
        found: What `warmstart.report` measured.
        parameters: Size in words.
    """
    rows = [
        "| "
        + " | ".join([title, *(_cell(r[k]) for k in ("accuracy", "format", "calls"))])
        + f" | {_cell(r['hit'])} | {_cell(r['iou'])} |"
        for title, r in found.items()
        if isinstance(r, dict)
    ]
    return _TEXT.format(
        title=f"Tiny VLM, {name} start: {_HEAD[name]}",
        parameters=parameters,
        how=_HOW[name],
        seed=seed,
        world=_AGAIN[name][0],
        made=_AGAIN[name][1],
        count=found["count"],
        without_tool=_cell(found["without_tool"]),
        rows="\n".join(rows),
    )


def _cell(value: float) -> str:
    return f"{value:.3f}"
