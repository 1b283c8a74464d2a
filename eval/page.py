"""A report as one self-contained page: tables, the card, and every sample behind filters.

Nothing is fetched and nothing foreign is believed: all words are escaped, and the page carries a
policy that allows its own style and script by their hashes and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape

from .attempt import Attempt
from .report import Cell, Report

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;text-align:right}
td:first-child,th:first-child{text-align:left}tr{border-bottom:1px solid #ddd}
details{border-left:4px solid #bbb;margin:.3rem 0;padding:.1rem .7rem}
details.right{border-color:#2a7}details.wrong{border-color:#c43}
details.unscored{border-color:#d90}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f6f6;padding:.5rem;margin:.3rem 0}
.bad{color:#a20;font-weight:600}nav{position:sticky;top:0;background:#fff;padding:.5rem 0}
select,input{font:inherit;margin-right:.6rem}
"""

SCRIPT = """
const all=[...document.querySelectorAll('details.sample')];
const by=id=>document.getElementById(id);
function show(){
  const state=by('state').value,tool=by('tool').value,stop=by('stop').value;
  const words=by('words').value.toLowerCase();let n=0;
  for(const d of all){
    const ok=(!state||d.dataset.state===state)&&(!stop||d.dataset.stop===stop)
      &&(!tool||(tool==='none'?d.dataset.calls==='0':d.dataset.calls!=='0'))
      &&(!words||d.textContent.toLowerCase().includes(words));
    d.hidden=!ok;n+=ok?1:0;
  }
  by('count').textContent=n+' of '+all.length;
}
for(const id of ['state','tool','stop','words'])by(id).addEventListener('input',show);
show();
"""

MAX_WORDS = 4000
"""Of one field on the page; the trace has them all."""


def render_page(reports: Sequence[Report], attempts: Sequence[Attempt] = ()) -> str:
    """The whole page.

    Args:
        reports: Tables, the first one's name as heading.
        attempts: Samples to look through.
    """
    title = escape(reports[0].name if reports else "evaluation")
    body = "".join(_report(r) for r in reports) + (_viewer(attempts) if attempts else "")
    script = f"<script>{SCRIPT}</script>" if attempts else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
        f"<body><h1>{title}</h1>{body}{script}</body></html>\n"
    )


def policy() -> str:
    """What the page may do: its own style and script, known by hash."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _report(report: Report) -> str:
    rows = [_row("all", report.total)]
    for tag, cells in report.by_tag.items():
        rows += [_row(f"{tag} = {value}", c) for value, c in cells.items()]
    heads = ("what", "n", "accuracy", "95 %", "tool rate", "calls", "turns", "tokens", "best of k")
    head = "".join(f"<th>{h}</th>" for h in heads)
    control = f"<h2>control: {escape(report.control)}</h2>" if report.control else ""
    return (
        f"{control}<table><tr>{head}</tr>{''.join(rows)}</table>{_notes(report)}"
        f"<details><summary>card</summary><pre>{_json(report.card)}</pre></details>"
    )


def _row(name: str, c: Cell) -> str:
    if not c.n:
        return f"<tr><td>{escape(name)}</td><td>0</td>{'<td>-</td>' * 7}</tr>"
    span = f"{c.low:.3f}-{c.high:.3f} ({c.interval})"
    cells = (
        f"{c.n}",
        f"{c.accuracy:.3f}",
        span,
        f"{c.tool_rate:.3f}",
        f"{c.calls:.2f}",
        f"{c.turns:.2f}",
        f"{c.tokens:.0f}",
        f"{c.best_of_k:.3f}",
    )
    return f"<tr><td>{escape(name)}</td>{''.join(f'<td>{v}</td>' for v in cells)}</tr>"


def _notes(report: Report) -> str:
    lines = [f"<p>stops: {_counts(report.stops)}; calls by tool: {_counts(report.tools)}</p>"]
    if report.unscored:
        why = _counts(report.unscored_why)
        lines.append(f'<p class="bad">{report.unscored} unscored, in no accuracy: {why}</p>')
    if report.broken:
        why = _counts(report.errors)
        lines.append(f'<p class="bad">{report.broken} broke, in no number: {why}</p>')
    if report.missing:
        lines.append(f'<p class="bad">{report.missing} tasks have no attempt yet</p>')
    return "".join(lines)


def _counts(counts: object) -> str:
    items = dict(counts).items()  # type: ignore[call-overload]
    return escape(", ".join(f"{name} {n}" for name, n in items)) or "none"


def _viewer(attempts: Sequence[Attempt]) -> str:
    stops = sorted({str(a.stop) for a in attempts})
    pick = (
        _select("state", "right or wrong", ("right", "partly", "wrong", "unscored", "broken"))
        + _select("tool", "with or without tools", ("used", "none"))
        + _select("stop", "any end", stops)
    )
    words = '<input id="words" placeholder="words" aria-label="words">'
    bar = f'<nav>{pick}{words}<span id="count"></span></nav>'
    return f"<h2>samples</h2>{bar}{''.join(map(_sample, attempts))}"


def _select(name: str, every: str, values: Sequence[str]) -> str:
    options = "".join(f'<option value="{escape(v)}">{escape(v)}</option>' for v in values)
    first = f'<option value="">{every}</option>'
    return f'<select id="{name}" aria-label="{name}">{first}{options}</select>'


def state(attempt: Attempt) -> str:
    """In one word."""
    if attempt.broken:
        return "broken"
    if attempt.unscored is not None:
        return "unscored"
    return "right" if attempt.correct >= 1 else "partly" if attempt.correct > 0 else "wrong"


def _sample(a: Attempt) -> str:
    name = escape(f"{a.task_id} #{a.attempt}")
    facts = f"{a.stop}, {a.turns} turns, {a.calls} calls, {a.tokens} tokens, by {a.scored_by}"
    why = a.unscored or a.error
    told = f'<p class="bad">{escape(why)}</p>' if why else ""
    more = _json({"tags": dict(a.tags), "tools": dict(a.tools), "iou": a.iou})
    marks = f'data-state="{state(a)}" data-stop="{escape(str(a.stop))}" data-calls="{a.calls}"'
    return (
        f'<details class="sample {state(a)}" {marks}><summary>{name}: {state(a)} '
        f"({a.correct:.3f})</summary><p>{escape(facts)}</p>{told}"
        f"<pre>{escape(a.question[:MAX_WORDS])}</pre><pre>{_answer(a)}</pre>"
        f"<pre>{more}</pre></details>"
    )


def _answer(a: Attempt) -> str:
    return "(no answer)" if a.answer is None else escape(a.answer[:MAX_WORDS])


def _json(value: object) -> str:
    return escape(json.dumps(value, indent=1, default=str))
