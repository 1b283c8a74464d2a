"""Write docs/rewards: a page a hierarchy, and an index of every part and combine by name.

`python scripts/reward_pages.py` writes them; tests compare them with what this would write.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import vtool.rl.rewards  # noqa: F401  (registers the parts)
from vtool.rl.rewards.presets import PRESETS, Preset

from vtool.combine import hierarchy
from vtool.reward import RewardPart, combines, parts

DOCS = Path(__file__).parent.parent / "docs" / "rewards"

GROUPS = (
    ("R1 answer", ("answer",)),
    ("R2 format", ("basic",)),
    ("R3 places", ("shapes", "points", "evidence", "temporal")),
    ("R4 calls", ("calls",)),
    ("R5 tool bonuses", ("tools",)),
    ("R6 cost", ("cost",)),
    ("R7 completion", ("completion",)),
    ("R8 checklists and judges", ("checklist",)),
    ("R9 calibration", ("calibration",)),
    ("R10 shaping", ("shaping",)),
)

OWN = '''```python
from vtool.reward import reward


@reward("two_turns")
def two_turns(episode, task):
    """1 for an answer in at most two turns."""
    return float(len(episode.actions()) <= 2)
```
'''

RECIPE = """```yaml
# brief.yaml
extends: zoom
name: brief
reward:
  parts: [format, answer, two_turns]
  combine: hierarchy
  options: {process: {two_turns: 1.0}}
```
"""

LAUNCH = """```python
import my_rewards  # the five lines above
from vtool.rl.recipe import load_recipe
from vtool.rl.train import train

train(load_recipe("brief.yaml", ["steps=1", "prompts=2"]), "runs/brief")
```
"""


def page(chosen: Preset) -> str:
    """The page of one hierarchy."""
    combine = hierarchy(**chosen.options)
    score = combine(chosen.example)
    level = int(chosen.example[chosen.outcome] / chosen.step + 1e-9) * chosen.step  # type: ignore[operator]
    height = chosen.options["share"] * chosen.step
    top = chosen.options["gate_value"] + 1 + height
    lines = [
        f"# {chosen.name}",
        "",
        chosen.about,
        "",
        "```yaml",
        f"reward: {{preset: {chosen.name}}}",
        "```",
        "",
        "| level | parts | worth |",
        "|---|---|---|",
        f"| gate | `{chosen.gate}` | {chosen.options['gate_value']:g}; not passed: 0 in all |",
        f"| outcome | `{chosen.outcome}`, in steps of {chosen.step:g} | 0 to 1 |",
        f"| evidence | {_weights(chosen.evidence)} | half of the process |",
        f"| economy | {_weights(chosen.economy)} | half of the process |",
        "",
        f"The process is the mean of its two halves and worth at most {height:g}, "
        f"{chosen.options['share']:g} of one step of the outcome, so that nothing in it lifts a "
        "worse outcome over one that is a step better. A part that does not apply to a task is "
        "left out of its half, a half without any part out of the mean. "
        f"A perfect attempt gets {top:g}.",
        "",
        "## Worked example",
        "",
        "| part | mark |",
        "|---|---|",
        *(f"| `{name}` | {_mark(chosen.example.get(name))} |" for name in chosen.parts),
        "",
        *_sum(chosen, level, height),
        f"total    = {chosen.options['gate_value']:g} + {level:.4g} + {height:g} * process "
        f"= {score.total:.5f}",
        "```",
        "",
    ]
    return "\n".join(lines)


def index() -> str:
    """The index of all parts and combines."""
    lines = [
        "# Rewards",
        "",
        "A reward is *parts*, each judging one thing and kept apart in every record, and a pure "
        "*combine* that makes one number of them. Both are chosen by name in a recipe; a part's "
        "settings stand beside it:",
        "",
        "```yaml",
        "reward:",
        "  parts: [format, {box_iou_rescaled: {low: 0.3}}, economy]",
        "  combine: hierarchy",
        "  options: {outcome: box_iou_rescaled, step: 0.1, process: {economy: 1.0}}",
        "```",
        "",
        "Where the task is one of these, a hierarchy is ready by name, `reward: {preset: NAME}`:",
        "",
        *(
            f"* [{name}]({name}.md): {p.about.split('. ')[0].rstrip('.')}."
            for name, p in sorted(PRESETS.items())
        ),
        "",
        "How an answer names places, attributes and a confidence is described in "
        "`vtool/dialects/answer.py`; rewards read what the dialect read, never the text.",
        "",
        "## A new reward in five lines",
        "",
        "Outside the package, in a module of yours (`my_rewards.py`):",
        "",
        OWN,
        "A recipe names it like ours:",
        "",
        RECIPE,
        "",
        "What is imported before the recipe is loaded can be named in it, by "
        "`vtool --import my_rewards.py train brief.yaml` or in Python:",
        "",
        LAUNCH,
        "",
        "A published package needs no import: it lists the part under the entry point group "
        "`vtool.rewards` (a `RewardPart`), a combine under `vtool.combines`, a judge under "
        "`vtool.judges`.",
        "",
        "## Parts",
        "",
        "An attempt part is called with one episode and its task, a group part with all attempts. "
        "None means that the part does not apply, `Unscored` that nobody could judge: the episode "
        "is then masked, never scored 0. Where code and paper differ, both are here by name.",
        "",
    ]
    for title, modules in GROUPS:
        lines += [f"### {title}", "", "| part | about | options |", "|---|---|---|"]
        lines += [_row(part) for part in of_modules(modules)]
        lines += [""]
    lines += ["## Combines", "", "| combine | about |", "|---|---|"]
    lines += [f"| `{n}` | {_about(combines.get(n).__doc__)} |" for n in ours()]
    return "\n".join([*lines, ""])


def of_modules(modules: tuple[str, ...]) -> Iterator[RewardPart]:
    """Our parts of some modules, by name."""
    for name in parts:
        if module_of(parts.get(name)) in [f"vtool.rl.rewards.{m}" for m in modules]:
            yield parts.get(name)


def module_of(part: RewardPart) -> str:
    """Where a part is written."""
    return str(getattr(part.fn, "__module__", ""))


def ours() -> list[str]:
    """Our combines, by name."""
    return [n for n in combines if combines.get(n).__module__.startswith("vtool.combine")]


def _row(part: RewardPart) -> str:
    scope = "" if part.scope == "attempt" else f" ({part.scope})"
    site = "" if part.site == "episode" else f" (a {part.site})"
    known = inspect.signature(part.fn).parameters
    told = ", ".join(f"`{n}: {known[n].default}`" for n in part.options)
    return f"| `{part.name}`{scope}{site} | {_about(part.fn.__doc__)} | {told} |"


def _about(doc: str | None) -> str:
    """A docstring in one cell, without its argument list."""
    text = inspect.cleandoc(doc or "")
    text = re.sub(r"(?s)\n\n(Args|Returns|Raises):\n.*?(?=\n\n\S|\Z)", "", text)
    text = re.sub(r"\b(Source|Trap):", r"*\1:*", " ".join(text.split()))
    return text.replace("|", "\\|").replace("``", "`")


def _weights(weights: Mapping[str, float]) -> str:
    total = sum(weights.values())
    return ", ".join(f"`{n}` {w / total:g}" for n, w in weights.items())


def _mark(value: float | None) -> str:
    return "does not apply" if value is None else f"{value:.4g}"


def _sum(chosen: Preset, level: float, height: float) -> Iterator[str]:
    yield "```"
    for name, weights in (("evidence", chosen.evidence), ("economy", chosen.economy)):
        told = [(w, chosen.example.get(n)) for n, w in weights.items()]
        known = [(w, v) for w, v in told if v is not None]
        if not known:
            yield f"{name:8} does not apply"
            continue
        mean = sum(w * v for w, v in known) / sum(w for w, _ in known)
        terms = " + ".join(f"{w:g} * {v:.4g}" for w, v in known)
        divisor = sum(w for w, _ in known)
        yield f"{name:8} = ({terms}) / {divisor:g} = {mean:.4g}"
    step = f"{chosen.example[chosen.outcome]:.4g} in steps of {chosen.step:g}"
    yield f"outcome  = {step}: {level:.4g}"
    yield "process  = mean of the halves that apply"


def pages() -> dict[str, str]:
    """Every file name with its text."""
    return {"index.md": index(), **{f"{n}.md": page(p) for n, p in PRESETS.items()}}


def main() -> None:
    """Write all pages."""
    DOCS.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
