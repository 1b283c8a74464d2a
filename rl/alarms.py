"""Alarms: what goes wrong in training with tools, seen in the metrics while there is still time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vtool.errors import nearest

from .hacks import HACKS

FORMAT, ACCURACY, ENTROPY = "reward/part/format", "accuracy", "entropy"
TOOLS, DEAD = "tool_rate", "dead_groups"
LENGTH = "policy_tokens"
WATCHED = (
    FORMAT,
    ACCURACY,
    ENTROPY,
    TOOLS,
    DEAD,
    LENGTH,
    *(f"hack/{name}" for name in HACKS),
)
"""Metrics whose rolling mean is kept."""

VITAL = ("loss", "grad_norm")
"""Where one of these is not finite and the step was not skipped, the weights are lost."""


ALARMS = (
    "nan",
    "format_collapse",
    "entropy_collapse",
    "tools_unused",
    "dead_groups",
    "mismatch",
    "length_growth",
    *HACKS,
)
"""Every alarm there is."""


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """When an alarm goes off. Every rate is a mean over `window` steps.

    Attributes:
        window: Steps in a rolling mean; nothing but NaN, mismatch and skips is judged earlier.
        format_ceiling: A format reward from here on counts as 1.
        accuracy_drop: How far accuracy must fall below its best rolling mean.
        entropy_floor: Nats a token; below it a policy that is not good yet explores no more.
        entropy_share: The same, as a share of the entropy that the run began with.
        solved: Accuracy from which low entropy is success, not collapse.
        tool_floor: A tool rate up to here counts as 0.
        tool_used: Tool rate that the policy must have had for its loss to be worth an alarm.
        dead_share: Share of groups without any difference in reward.
        mismatch: Largest |log-prob of the engine - log-prob of the learner| of one token.
        skips: Skipped steps in a row that stop the run.
        growth: Tokens of the policy an attempt, as a multiple of those that the run began with,
            from which growing longer without growing better is an alarm.
        gain: Accuracy that excuses it.
        hacks: Rates from which a detector of `hacks` is an alarm, where they differ from its own;
            above 1 it never is.
    """

    window: int = 10
    format_ceiling: float = 0.99
    accuracy_drop: float = 0.15
    entropy_floor: float = 0.005
    entropy_share: float = 0.05
    solved: float = 0.9
    tool_floor: float = 0.02
    tool_used: float = 0.2
    dead_share: float = 0.8
    mismatch: float = 1.0
    skips: int = 5
    growth: float = 2.0
    gain: float = 0.05
    hacks: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.window < 1 or self.skips < 1:
            raise ValueError(
                f"window and skips are at least 1, got window={self.window}, skips={self.skips}"
            )
        for name in self.hacks:
            if name not in HACKS:
                raise ValueError(
                    f"alarms.hacks: no detector {name!r}{nearest(name, HACKS)}; there is "
                    f"{', '.join(HACKS)}"
                )


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person should look at.

    Attributes:
        name: Its kind, a stable word.
        message: What was seen, and what to try.
        fatal: The run should stop and keep its last good checkpoint.
    """

    name: str
    message: str
    fatal: bool = False


class Alarms:
    """Looks at the metrics of each step.

    An alarm that stays on is told when it begins, not every step; fatal ones always. `state` and
    `restore` carry the windows over a resume.
    """

    def __init__(self, settings: AlarmSettings | None = None) -> None:
        self.settings = settings or AlarmSettings()
        self._recent = {key: Rolling(self.settings.window) for key in WATCHED}
        self._skipped = 0
        self._on: set[str] = set()

    def check(self, step: int, metrics: Mapping[str, Any]) -> list[Alarm]:
        """The alarms that begin at this step.

        Args:
            step: Number of the step.
            metrics: As logged; keys that are missing or None are not judged.
        """
        for key, rolling in self._recent.items():
            value = _number(metrics, key)
            if value is not None and math.isfinite(value):
                rolling.add(value)
        self._skipped = self._skipped + 1 if metrics.get("skipped") else 0
        found = [*self._numbers(metrics), *self._rolling()]
        fresh = [
            Alarm(a.name, f"step {step}: {a.message}", a.fatal)
            for a in found
            if a.fatal or a.name not in self._on
        ]
        self._on = {a.name for a in found}
        return fresh

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, as plain JSON."""
        recent = {key: rolling.state() for key, rolling in self._recent.items()}
        return {"recent": recent, "skipped": self._skipped, "on": sorted(self._on)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        for key, rolling in self._recent.items():
            rolling.restore(state["recent"].get(key, {}))
        self._skipped = int(state["skipped"])
        self._on = set(state["on"])

    def _numbers(self, metrics: Mapping[str, Any]) -> Iterator[Alarm]:
        """Alarms that one step is enough for."""
        wrong = sorted(k for k in metrics if not math.isfinite(_number(metrics, k) or 0.0))
        if wrong:
            lost = not metrics.get("skipped") and any(key in wrong for key in VITAL)
            advice = (
                "The step was taken: the weights are no longer good. Go back to the last "
                "checkpoint with a lower learning rate or fp32"
                if lost
                else "Look at the step's trace; a lower learning rate or fp32 usually cures it"
            )
            yield Alarm("nan", f"{', '.join(wrong)} not finite. {advice}", fatal=lost)
        if self._skipped >= self.settings.skips:
            yield Alarm(
                "skipped",
                f"{self._skipped} steps skipped in a row. Resume from the last checkpoint with a "
                "lower learning rate, or look for broken pictures or log-probs in the trace",
                fatal=True,
            )
        gap = _number(metrics, "mismatch_max")
        if gap is not None and gap > self.settings.mismatch:
            yield Alarm(
                "mismatch",
                f"engine and learner differ by {gap:.3g} in the log-prob of a token (limit "
                f"{self.settings.mismatch:g}). Check that weights were published before this "
                "rollout, that both use one precision, and the sampling settings",
            )

    def _rolling(self) -> Iterator[Alarm]:
        """Alarms that need a full window."""
        for rule in (self._collapse, self._entropy, self._tools, self._dead, self._longer):
            alarm = rule()
            if alarm is not None:
                yield alarm
        for name, hack in HACKS.items():
            rate = self._recent[f"hack/{name}"].mean
            if rate is not None and rate > self.settings.hacks.get(name, hack.share):
                yield Alarm(name, f"{rate:.0%} {name.replace('_', ' ')}: {hack.advice}")

    def _collapse(self) -> Alarm | None:
        form, right = self._recent[FORMAT].mean, self._recent[ACCURACY].mean
        best = self._recent[ACCURACY].best
        if form is None or right is None or best is None or form < self.settings.format_ceiling:
            return None
        if best - right < self.settings.accuracy_drop:
            return None
        return Alarm(
            "format_collapse",
            f"format is {form:.2f} while accuracy fell from {best:.2f} to {right:.2f}: the policy "
            "lives on its format reward. Gate or lower that part, and go back to a checkpoint "
            "from before the fall",
        )

    def _entropy(self) -> Alarm | None:
        rolling, right = self._recent[ENTROPY], self._recent[ACCURACY].mean
        if rolling.mean is None or rolling.first is None:
            return None
        limit = max(self.settings.entropy_floor, self.settings.entropy_share * rolling.first)
        if rolling.mean >= limit or (right is not None and right >= self.settings.solved):
            return None
        return Alarm(
            "entropy_collapse",
            f"entropy is {rolling.mean:.3g} nats a token ({rolling.first:.3g} at the start): all "
            "attempts are alike. Raise the upper clip bound, add an entropy or KL term, or lower "
            "the learning rate",
        )

    def _tools(self) -> Alarm | None:
        rolling = self._recent[TOOLS]
        if rolling.mean is None or rolling.best is None or rolling.mean > self.settings.tool_floor:
            return None
        if rolling.best < self.settings.tool_used:
            return None
        return Alarm(
            "tools_unused",
            f"tool rate fell from {rolling.best:.2f} to {rolling.mean:.2f}: the policy stopped "
            "using tools. Check that the questions need them, that calls do not fail, and that no "
            "reward part charges too much for a call",
        )

    def _longer(self) -> Alarm | None:
        length, right = self._recent[LENGTH], self._recent[ACCURACY]
        if not length.mean or not length.first or length.mean < self.settings.growth * length.first:
            return None
        if right.mean is not None and right.mean - (right.first or 0) >= self.settings.gain:
            return None
        return Alarm(
            "length_growth",
            f"attempts grew from {length.first:.0f} to {length.mean:.0f} tokens and got no better: "
            "add `overlong` or `economy_tokens`, or aggregate the loss by token",
        )

    def _dead(self) -> Alarm | None:
        share = self._recent[DEAD].mean
        if share is None or share <= self.settings.dead_share:
            return None
        return Alarm(
            "dead_groups",
            f"{share:.0%} of the groups have one reward for all attempts and teach nothing. Mix "
            "in harder or easier questions, raise the group size or the temperature",
        )


class Rolling:
    """A rolling mean that remembers its first and its best value.

    Attributes:
        mean: Over the last `window` values; None before there are that many.
        first: The first such mean.
        best: The largest such mean.
    """

    def __init__(self, window: int) -> None:
        self._values: deque[float] = deque(maxlen=window)
        self.mean: float | None = None
        self.first: float | None = None
        self.best: float | None = None

    def add(self, value: float) -> None:
        """Take the next value in."""
        self._values.append(value)
        if len(self._values) < (self._values.maxlen or 1):
            return
        self.mean = math.fsum(self._values) / len(self._values)
        self.first = self.mean if self.first is None else self.first
        self.best = self.mean if self.best is None else max(self.best, self.mean)

    def state(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "values": list(self._values),
            "mean": self.mean,
            "first": self.first,
            "best": self.best,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; an empty one starts anew."""
        self._values = deque(state.get("values", ()), maxlen=self._values.maxlen)
        self.mean, self.first, self.best = (state.get(k) for k in ("mean", "first", "best"))


def _number(metrics: Mapping[str, Any], key: str) -> float | None:
    value = metrics.get(key)
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
