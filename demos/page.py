"""One self-contained page: no script, no network, every foreign word escaped.

The page carries a policy that forbids all but its own styles and embedded pictures, so that
even markup that slipped through could fetch nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from .credit_markup import report, strip
from .figure import HUES, Gallery
from .markup import Html, join, tag
from .steps import CallView, EpisodeView, Step, Strand

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_FILTERS = (
    ("all", "all"),
    ("right", "right"),
    ("wrong", "wrong"),
    ("tool", "used a tool"),
    ("wrongtool", "used a tool and wrong"),
)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with episodes below it."""

    title: str
    lead: str
    episodes: tuple[EpisodeView, ...]
    open_first: int = 1
    """How many episodes are unfolded."""


def render_page(
    title: str, lead: str, sections: Sequence[Section], *, top: Sequence[Html] = ()
) -> str:
    """The whole page.

    Args:
        title: Heading.
        lead: One sentence below it.
        sections: Episodes, by heading.
        top: Markup between the heading and the episodes, such as tables and curves.
    """
    gallery = Gallery()
    body = [_section(gallery, s) for s in sections]
    views = [e for s in sections for e in s.episodes]
    said = [tag("h1", title) if title else None, tag("p", lead, class_="lead") if lead else None]
    head = [*(s for s in said if s is not None), *top]
    bar = [_bar(views)] if len(views) > 1 else []
    page = tag("main", join(head), join(bar), join(body))
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="referrer" content="no-referrer"/>'
        f"{tag('title', title or 'vtool')}<style>\n{style}\n{gallery.css()}\n</style></head>"
        f"<body>{page}</body></html>\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """A plain table; the first column is words, the others are numbers."""
    top = tag("tr", [tag("th", h) for h in head])
    return tag("table", top, [tag("tr", [tag("td", c) for c in row]) for row in rows])


def _bar(views: Sequence[EpisodeView]) -> Html:
    counts = {
        "all": len(views),
        "right": sum(v.right is True for v in views),
        "wrong": sum(v.right is False for v in views),
        "tool": sum(v.calls > 0 for v in views),
        "wrongtool": sum(v.calls > 0 and v.right is False for v in views),
    }
    parts: list[Html] = []
    for name, words in _FILTERS:
        if name == "all" or counts[name]:
            checked = True if name == "all" else None
            parts.append(tag("input", type="radio", name="filter", id=f"f-{name}", checked=checked))
            parts.append(tag("label", f"{words} {counts[name]}", for_=f"f-{name}"))
    return tag("div", parts, class_="bar", role="group", aria_label="filter")


def _section(gallery: Gallery, section: Section) -> Html:
    episodes = [
        _episode(gallery, e, opened=i < section.open_first) for i, e in enumerate(section.episodes)
    ]
    heading = [tag("h2", section.title)] if section.title else []
    lead = [tag("p", section.lead, class_="lead")] if section.lead else []
    return tag("section", join(heading), join(lead), episodes)


def _episode(gallery: Gallery, view: EpisodeView, *, opened: bool) -> Html:
    state = {True: "right", False: "wrong", None: "open"}[view.right]
    kinds = ["ep", state, "tool" if view.calls else "notool"]
    body = [p for s in view.strands for p in _strand(gallery, s, len(view.strands) > 1)]
    scored = report(view.parts, view.terms, view.credit)
    return tag(
        "details",
        _summary(view, state),
        tag("div", body, _foot(view), scored, class_="body"),
        class_=" ".join(kinds),
        open=True if opened else None,
    )


def _summary(view: EpisodeView, state: str) -> Html:
    said = "no answer" if view.answer is None else view.answer
    told = f"{said[:60]}" + (f" · expected {view.accepted[0][:60]}" if view.accepted else "")
    if view.error:
        state, told = "broken", "broken"
    attempt = f" · attempt {view.attempt + 1}" if view.attempt is not None else ""
    calls = f"{view.calls} call{'' if view.calls == 1 else 's'}"
    tags = "".join(f" · {k} {v}" for k, v in view.tags.items() if len(v) <= 12)
    meta = f"{view.task_id}{attempt} · {view.stop} · {calls}{tags}"
    return tag(
        "summary",
        tag("span", {"right": "✓", "wrong": "✗"}.get(state, "·"), class_=f"pill {state}"),
        tag("span", view.question[:400] or view.task_id, class_="q"),
        tag("span", told, class_=f"pill {state}"),
        tag("span", meta, class_="meta"),
    )


def _strand(gallery: Gallery, strand: Strand, several: bool) -> list[Html]:
    head = [tag("p", f"{strand.title}, {strand.own_tokens} tokens", class_="strand")]
    return [*(head if several else []), *(_step(gallery, s) for s in strand.steps)]


def _step(gallery: Gallery, step: Step) -> Html:
    cost = f"{step.tokens} tokens" if step.tokens else ""
    if step.mean_logprob is not None:
        cost += f", mean log-prob {step.mean_logprob:.2f}"
    who = tag("div", step.who, tag("span", cost, class_="cost"), class_=f"who {step.who}")
    told = [
        tag("div", step.thought, class_="thought") if step.thought else None,
        tag("div", step.words, class_="words") if step.words else None,
        *(_call(c) for c in step.calls),
        *(tag("p", f, class_="fault") for f in step.faults),
        tag("p", "Answer: ", tag("b", step.answer), class_="answer")
        if step.answer is not None
        else None,
        strip(step.credit) if step.credit is not None else None,
    ]
    sights = [gallery.figure(s) for s in step.sights]
    shown = tag("div", sights, class_="sights") if sights else None
    return tag("div", who, tag("div", *told), shown, class_="step")


def _call(call: CallView) -> Html:
    number = tag(
        "span", str(call.number), class_="num", style=f"--h:{HUES[(call.number - 1) % len(HUES)]}"
    )
    line = tag("div", number, tag("code", f"{call.name}({call.arguments})"), class_="call")
    cached = "the same call as before: answered from the cache" if call.cached else ""
    notes = [tag("p", n, class_="note") for n in (call.note, cached) if n]
    fault = [tag("p", call.fault, class_="fault")] if call.fault else []
    return join([line, *notes, *fault])


def _foot(view: EpisodeView) -> Html:
    cells = [("reward", view.total)] if view.total is not None else []
    cells += list(view.parts)
    cells.append(("stop", view.stop))
    cells.append(("tokens", str(sum(s.own_tokens for s in view.strands))))
    versions = Counter(
        s.version for strand in view.strands for s in strand.steps if s.version is not None
    )
    if versions:
        cells.append(("weight version", ", ".join(str(v) for v in sorted(versions))))
    cells.append(("seconds", f"{view.seconds:.2f}"))
    if view.error:
        cells.append(("what broke", view.error))
    return tag("dl", [tag("div", tag("dt", k), tag("dd", v)) for k, v in cells if v], class_="foot")
