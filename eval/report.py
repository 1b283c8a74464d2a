"""Reports: accuracy with intervals, by tag, stop counts, tool use; as JSON and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from vtool.intervals import clusters, mean, resampled, wilson
from vtool.message import Json

from .attempt import Attempt

MAX_VALUES = 12
"""Tags with more values than this are identifiers, not kinds; they get no table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Counts over some tasks."""

    n: int
    """Tasks with at least one attempt that counts."""
    attempts: int
    accuracy: float
    """Mean over tasks of the mean over attempts."""
    low: float
    high: float
    """95 % interval over tasks (attempts at one task are no independent draws)."""
    best_of_k: float
    """Share of tasks that some attempt got right."""
    tool_rate: float
    """Share of attempts with a call."""
    valid_call_rate: float | None
    """Share of calls that could be run; None where there was no call."""
    calls: float
    turns: float
    tokens: float
    iou: float | None
    """Mean overlap of the deciding look with the evidence, over attempts that looked."""
    interval: str = "wilson"
    """`wilson` where every attempt is right or wrong and no two tasks share a picture, else
    `bootstrap` over the clusters of tasks that share one."""
    clusters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an evaluation found."""

    name: str
    control: str | None
    k: int
    total: Cell
    by_tag: Mapping[str, Mapping[str, Cell]]
    stops: Mapping[str, int]
    broken: int
    """Attempts in which something of ours failed: kept out of every number above."""
    errors: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Json] = field(default_factory=dict)
    seconds: float = 0.0
    unscored: int = 0
    """Attempts on which there is no verdict: neither right nor wrong, in no accuracy."""
    unscored_why: Mapping[str, int] = field(default_factory=dict)
    tools: Mapping[str, int] = field(default_factory=dict)
    """Calls by tool."""
    scored_by: Mapping[str, int] = field(default_factory=dict)
    missing: int = 0
    """Tasks of which the folder that was scored again holds no attempt."""
    card: Mapping[str, Json] = field(default_factory=dict)
    """What someone else needs to get the same numbers."""

    def to_json(self) -> dict[str, Json]:
        """Plain values, for a file."""
        return asdict(self)


def summarise(
    attempts: Sequence[Attempt],
    *,
    name: str = "",
    control: str | None = None,
    settings: Mapping[str, Json] | None = None,
    seconds: float = 0.0,
    card: Mapping[str, Json] | None = None,
    missing: int = 0,
) -> Report:
    """Boil attempts down to a report."""
    counted = [a for a in attempts if a.counts]
    broken = [a for a in attempts if a.broken]
    unscored = [a for a in attempts if not a.broken and a.unscored is not None]
    tools: Counter[str] = Counter()
    for a in attempts:
        tools.update(a.tools)
    return Report(
        name=name,
        control=control,
        k=max((a.attempt for a in attempts), default=-1) + 1,
        total=cell(counted),
        by_tag={tag: _split(counted, tag) for tag in _tags(counted)},
        stops=dict(sorted(Counter(str(a.stop) for a in attempts).items())),
        broken=len(broken),
        errors=dict(Counter(a.error or str(a.stop) for a in broken).most_common(5)),
        settings=settings or {},
        seconds=seconds,
        unscored=len(unscored),
        unscored_why=dict(Counter(a.unscored or "" for a in unscored).most_common(5)),
        tools=dict(sorted(tools.items())),
        scored_by=dict(sorted(Counter(a.scored_by for a in counted).items())),
        missing=missing,
        card=card or {},
    )


def cell(attempts: Sequence[Attempt]) -> Cell:
    """Counts over some attempts."""
    tasks: dict[str, list[float]] = {}
    for a in attempts:
        tasks.setdefault(a.task_id, []).append(a.correct)
    n = len(tasks)
    accuracy = mean([mean(v) for v in tasks.values()])
    cluster = clusters({a.task_id: a.media for a in attempts})
    plain = len(set(cluster.values())) == n and all(a.correct in (0.0, 1.0) for a in attempts)
    low, high = (
        wilson(accuracy, n)
        if plain
        else resampled([mean(v) for v in tasks.values()], [cluster[t] for t in tasks])
    )
    calls = sum(a.calls for a in attempts)
    overlaps = [a.iou for a in attempts if a.iou is not None]
    return Cell(
        n=n,
        attempts=len(attempts),
        accuracy=accuracy,
        low=low,
        high=high,
        best_of_k=mean([float(max(v) >= 1.0) for v in tasks.values()]),
        tool_rate=mean([float(a.calls > 0) for a in attempts]),
        valid_call_rate=sum(a.valid_calls for a in attempts) / calls if calls else None,
        calls=mean([float(a.calls) for a in attempts]),
        turns=mean([float(a.turns) for a in attempts]),
        tokens=mean([float(a.tokens) for a in attempts]),
        iou=mean(overlaps) if overlaps else None,
        interval="wilson" if plain else "bootstrap",
        clusters=len(set(cluster.values())),
    )


def to_markdown(reports: Sequence[Report]) -> str:
    """One table of several reports, each with its tags below it."""
    lines = [
        "| what | n | accuracy | 95 % | tool rate | valid calls | IoU | best of k |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for report in reports:
        lines.append(_line(_title(report), report.total))
        for tag, cells in report.by_tag.items():
            lines += [_line(f"  {tag} = {value}", c) for value, c in cells.items()]
    for report in reports:
        stops = ", ".join(f"{name} {count}" for name, count in report.stops.items())
        lines += ["", f"{_title(report)}: {stops}; {report.seconds:.1f} s"]
        if report.tools and report.total.n:
            used = ", ".join(f"{name} {count}" for name, count in report.tools.items())
            lines.append(f"calls by tool: {used}; {report.total.tokens:.1f} tokens an attempt")
        if report.unscored:
            why = dict(report.unscored_why)
            lines.append(f"**{report.unscored} attempts unscored, in no accuracy**: {why}")
        if report.broken:
            lines.append(f"**{report.broken} attempts broke and are not counted**: {report.errors}")
        if report.missing:
            lines.append(f"**{report.missing} tasks have no attempt yet**")
    # Half characters, which JSON may hold, cannot be printed; they are spelt out.
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace").decode()


def _title(report: Report) -> str:
    return report.name + (f" ({report.control})" if report.control else "")


def _line(name: str, c: Cell) -> str:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    name = " ".join(name.replace("|", "\\|").splitlines())
    if not c.n:  # of nothing there is no accuracy, and 0.000 would be read as one
        return f"| {name} | 0 |{' - |' * 6}"
    return (
        f"| {name} | {c.n} | {c.accuracy:.3f} | {c.low:.3f}-{c.high:.3f} | {c.tool_rate:.3f} | "
        f"{share(c.valid_call_rate)} | {share(c.iou)} | {c.best_of_k:.3f} |"
    )


def _tags(attempts: Sequence[Attempt]) -> list[str]:
    """Tags that sort tasks: few values, and not one of its own for (nearly) every task."""
    values: dict[str, dict[str, set[str]]] = {}
    for a in attempts:
        for tag, value in a.tags.items():
            values.setdefault(tag, {}).setdefault(str(value), set()).add(a.task_id)
    return sorted(
        tag
        for tag, seen in values.items()
        if 1 < len(seen) <= MAX_VALUES and 2 * len(seen) <= len(set().union(*seen.values()))
    )


def _split(attempts: Sequence[Attempt], tag: str) -> dict[str, Cell]:
    parts: dict[str, list[Attempt]] = {}
    for a in attempts:
        parts.setdefault(str(a.tags.get(tag)), []).append(a)
    return {value: cell(part) for value, part in sorted(parts.items())}
