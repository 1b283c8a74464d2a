"""Write docs/rl: what can be chosen by name in a recipe, from the code's own words.

`python scripts/method_pages.py` writes the pages; tests compare them with what this would write.
`own.md` is written by hand.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from reward_pages import _about as about_cell
from vtool.rl.aggregate import Mode
from vtool.rl.credit_rules import credit_rules
from vtool.rl.credit_spec import Shared, Whiten
from vtool.rl.curriculum import dressers, pickers
from vtool.rl.group_filter import filters
from vtool.rl.kl import KL_ESTIMATORS
from vtool.rl.loss_spec import Band, KLPlace, Objective
from vtool.rl.recipe import load_recipe, recipe_names
from vtool.rl.recipe_about import Certainty, row_of
from vtool.rl.rollout_sampler import samplers
from vtool.rl.sample_weight import WEIGHTS
from vtool.rl.schedule import SCHEDULES
from vtool.rl.token_spans import token_kinds

DOCS = Path(__file__).parent.parent / "docs" / "rl"


def pages() -> dict[str, str]:
    """Every file name with its text."""
    return {
        "advantages.md": advantages(),
        "losses.md": losses(),
        "samplers.md": sampling(),
        "recipes.md": recipes(),
    }


def advantages() -> str:
    """Credit rules, weights and kinds of tokens."""
    return _page(
        "Advantages",
        "How the attempts of a group become credit. A recipe says it as a weighted sum of rules; "
        "each is about one reward (`of`: total, turns, sum, or a part's name) and lands on one "
        "kind of tokens (`on`). Without a blend, `estimator` alone decides.",
        "credit:\n  blend:\n    - {rule: group, weight: 0.5}\n"
        "    - {rule: turn_group, of: turns, weight: 0.5, options: {discount: 0.9}}",
        _functions("Rules", {n: credit_rules.get(n) for n in ours(credit_rules)}),
        _functions("Weights of groups and attempts", WEIGHTS),
        _functions("Kinds of tokens", {n: token_kinds.get(n) for n in ours(token_kinds)}),
        _members("How shared steps are learnt (`credit.shared`)", Shared),
        _members("Dividing by the whole batch (`credit.whiten`)", Whiten),
        "Attempts that nobody could score, and those that failed by our fault, are in no mean. A "
        "group of one, and a group of equals, has credit 0.",
    )


def losses() -> str:
    """Objectives, aggregation, KL."""
    return _page(
        "Losses",
        "What is clipped, how tokens are averaged, and what ties the policy to its first weights.",
        "learner:\n  aggregation: token-mean\n"
        "  loss: {objective: ppo, clip_low: 0.2, clip_high: 0.28, dual_clip: 3.0}",
        _members("Objectives (`learner.loss.objective`)", Objective),
        _members("Where the lower bound lies (`learner.loss.band`)", Band),
        _members("Aggregation (`learner.aggregation`)", Mode),
        _functions("KL estimators (`learner.loss.kl`)", KL_ESTIMATORS),
        _members("Where the KL is charged (`learner.loss.kl_in`)", KLPlace),
        "Observations, their pictures and the template around them are in no loss, no KL, no "
        "entropy, no length and no statistic.",
    )


def sampling() -> str:
    """Samplers, filters, curricula, schedules."""
    known = {n: samplers.get(n) for n in ours(samplers)}
    rows = [(n, _module_about(s), _fields(s.settings)) for n, s in known.items()]
    picked = {n: pickers.get(n) for n in ours(pickers)}
    dressed = {n: dressers.get(n) for n in ours(dressers)}
    return _page(
        "Sampling",
        "Who is sampled from where, which groups are kept, and which tasks come when.",
        "sampler: {name: entropy_branch, options: {initial: 8}}\n"
        "filter: {name: accuracy}\nrefill: 3",
        _table("Samplers (`sampler`)", ("sampler", "about", "options"), rows),
        _functions("Filters of groups (`filter`)", {n: filters.get(n) for n in ours(filters)}),
        _functions("Curricula: which tasks come (`curriculum`)", picked),
        _functions("Curricula: in what dress (`curriculum`)", dressed),
        _functions("Schedules (`schedules`)", SCHEDULES),
        "Every sampler gives exactly `group_size` attempts; those that share a past share a "
        "record, and each knows where it parted from the others.",
    )


def recipes() -> str:
    """Every recipe that says whose method it is."""
    rows = []
    for name in recipe_names():
        recipe = load_recipe(name)
        row = row_of(name, recipe)
        if recipe.about.certainty is Certainty.OURS:
            continue
        doubt = (
            f"; ours: {', '.join(f'`{k}`' for k in row['uncertain'])}" if row["uncertain"] else ""
        )
        rows.append(
            (
                name,
                f"{row['title']}. *{row['source']}*",
                "; ".join(row["components"]),
                row["certainty"] + doubt,
                "; ".join(row["missing"]) or "-",
            )
        )
    return _page(
        "Recipes of published methods",
        "Each runs with the shipped tiny policy on a core, and on a model of yours with "
        "`model=FOLDER data={path: my/tasks.jsonl}`. *Known from* says how sure the constants are: "
        "read in released code, in the paper, or only the idea in the abstract; keys after `ours` "
        "are of our choice. `vtool recipes NAME` shows a recipe with all its keys, its ablation "
        "(changes that take the namesake component out) and the published sizes. What a file does "
        "not say itself (clip, learning rate, questions a step) is the quick start's (`zoom`), not "
        "the paper's.",
        "extends: dapo            # your own file says only what differs\nname: mine\n"
        "learner: {lr: 1.0e-4}",
        _table("Recipes", ("recipe", "system", "made of", "known from", "missing here"), rows),
    )


def ours(registry: Any) -> list[str]:
    """Names of what is written in this project; others may be registered beside it."""
    found = []
    for name in registry:
        thing = registry.get(name)
        home = getattr(thing, "settings", thing)
        if str(getattr(home, "__module__", "")).startswith("vtool."):
            found.append(name)
    return sorted(found)


def _page(title: str, about: str, example: str, *parts: str) -> str:
    return "\n".join([f"# {title}", "", about, "", f"```yaml\n{example}\n```", "", *parts, ""])


def _functions(title: str, known: Mapping[str, Callable[..., Any]]) -> str:
    rows = [(n, about_cell(_doc(fn)), _options(fn)) for n, fn in sorted(known.items())]
    return _table(title, ("name", "about", "options"), rows)


def _doc(fn: Callable[..., Any]) -> str:
    return re.sub(r"\bTraps:", "Trap:", fn.__doc__ or "")


def _options(fn: Callable[..., Any]) -> str:
    plain = getattr(fn, "__wrapped__", fn)
    found = [
        f"`{p.name}`" if p.default is p.empty else f"`{p.name}: {_value(p.default)}`"
        for p in inspect.signature(plain).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.name not in ("groups", "logp")
    ]
    return ", ".join(found)


def _value(value: object) -> str:
    return str(getattr(value, "value", value))


def _fields(settings: type) -> str:
    return ", ".join(f"`{f.name}: {_value(f.default)}`" for f in fields(settings))


def _module_about(named: Any) -> str:
    home = inspect.getmodule(named.settings)
    doc = (home.__doc__ or "") if named.settings.__name__ != "FlatSettings" else None
    return about_cell(doc if doc is not None else "Attempts that know nothing of each other.")


def _members(title: str, closed: type) -> str:
    """A closed set with the text under each member, as the source has it."""
    source = inspect.getsource(closed)
    rows = []
    for member in closed:  # type: ignore[attr-defined]
        found = re.search(rf'^    {member.name} = .*?\n    """(.*?)"""', source, re.S | re.M)
        rows.append((str(member.value), about_cell(found.group(1) if found else "")))
    return _table(title, ("name", "about"), rows)


def _table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    def lines() -> Iterator[str]:
        yield f"## {title}\n"
        yield "| " + " | ".join(head) + " |"
        yield "|" + "---|" * len(head)
        for name, *rest in rows:
            yield "| " + " | ".join([f"`{name}`", *rest]) + " |"

    return "\n".join(lines()) + "\n"


def main() -> None:
    """Write all pages."""
    DOCS.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
