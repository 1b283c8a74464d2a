"""Credit rules in a recipe: weights, blends that fit and that do not, rules of strangers."""

from importlib.metadata import EntryPoint

import numpy as np
import pytest
from scripts import plain_renderer, toy_episode
from trees import RENDERER, credit_of, policy_values, scored
from vtool.rl.credit_rules import credit_rule, credit_rules, divides
from vtool.rl.credit_spec import RuleSpec, resolve
from vtool.rl.group_advantage import group_credits
from vtool.rl.layout import lay_out
from vtool.rl.other_weightings import make_combine
from vtool.rl.recipe import load_recipe
from vtool.rl.sample_weight import WeightSpec, rank_aware

from vtool.errors import RecipeError, UnknownName, VToolError

# ------------------------------------------------------------------------------ weights


def test_worked_numbers_of_rapo():
    assert rank_aware([1, 0], logp=[-2, -1], gamma=0.5).tolist() == [1.5, 1]
    assert rank_aware([1, 0], logp=[-1, -2], gamma=0.5).tolist() == [1, 1]
    assert rank_aware([1, 0], logp=[-2, -1], gamma=0).tolist() == [1, 1]
    masked = rank_aware([1, np.nan], [True, False], logp=[-2, -1], gamma=0.5)
    assert masked.tolist() == [1, 1]


def test_weights_are_multiplied_onto_the_whole_blend():
    episodes = [toy_episode(RENDERER, turns=1, seed=i) for i in range(2)]
    logp = lay_out(episodes).layout.logp
    better = int(np.argmin(logp))  # the attempt that the policy finds less likely is right
    totals = [float(i == better) for i in range(2)]
    rule = RuleSpec("dr_grpo")
    plain = credit_of(episodes, totals, rule)
    weights = (WeightSpec("rank_aware", options={"gamma": 1.0}),)
    found = credit_of(episodes, totals, rule, weights=weights)
    assert found[better][0] == pytest.approx(2 * plain[better][0])
    assert found[1 - better] == plain[1 - better]


# ------------------------------------------------------------------------------ recipes


def test_a_recipe_names_its_blend():
    blend = "credit={blend: [{rule: group, weight: 0.5}, {rule: turn_group, weight: 0.5, of: sum}]}"
    spec = load_recipe("zoom", [blend, "credit.least=0.01"]).credit
    assert [r.rule for r in spec.blend] == ["group", "turn_group"]
    assert spec.least == 0.01
    assert resolve(spec, "grpo").blend == spec.blend


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("{blend: [{rule: gruop}]}", "did you mean 'group'"),
        ("{blend: [{rule: group, on: call}]}", "did you mean 'calls'"),
        ("{blend: [{rule: turn_group, options: {lambda: 1}}]}", "turn_group"),
        ("{blend: [{rule: group, weight: 0}]}", "nobody would learn"),
        ("{blend: [{rule: group, weigth: 1}]}", "did you mean 'weight'"),
        ("{blend: [{rule: reinforce_pp_baseline}]}", "whiten: rollout"),
        ("{least: -1}", "credit.least"),
        ("{weights: [{name: dificulty}]}", "did you mean 'difficulty'"),
        ("{overlong: {limit: 5, buffer: 6}}", "overlong.buffer"),
        (
            "{blend: [{rule: turn_group}], weights: [{name: difficulty, placement: before}]}",
            "divides it out",
        ),
    ],
)
def test_a_blend_that_does_not_fit_is_refused(change, said):
    with pytest.raises(RecipeError, match=said):
        load_recipe("zoom", [f"credit={change}"])


def test_a_blend_and_an_estimator_are_refused_together():
    with pytest.raises(RecipeError, match="takes the place of estimator"):
        load_recipe("zoom", ["credit={blend: [{rule: group}]}", "estimator=rloo"])


@pytest.mark.parametrize(
    ("rule", "options", "wanted"),
    [
        ("group", {}, True),
        ("group", {"scale": "none"}, False),
        ("grpo", {}, True),
        ("rloo", {}, False),
        ("fork_group", {}, False),
        ("turn_group", {"scale": "pop"}, True),
        ("given", {}, False),
        ("reinforce_pp_baseline", {}, True),
    ],
)
def test_which_rules_divide_constants_out(rule, options, wanted):
    assert divides(rule, options) is wanted


def by_recipe(name, episodes, marks):
    """Credit of each attempt's turns, by a shipped recipe's combine and blend."""
    recipe = load_recipe(name)
    combine = make_combine(recipe.reward.combine, recipe.reward.options)
    scores = [combine(m) for m in marks]
    found = group_credits(
        episodes, scores, recipe.estimator, recipe.estimator_options, credit=recipe.credit
    )
    return [policy_values(c) for c in found]


def test_portools_format_counts_and_never_more_than_the_outcome():
    """Equal outcomes: the step in good form wins. Right in bad form still beats wrong in good."""
    episodes = [toy_episode(RENDERER, turns=2, seed=i) for i in range(3)]
    forms = [[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
    marks = [
        {"format": min(form), "answer": float(n < 2), "turn_format": form}
        for n, form in enumerate(forms)
    ]
    good, bad, wrong = (values[0] for values in by_recipe("portool", episodes, marks))
    assert good > bad > wrong
    rules = {r.rule: r for r in load_recipe("portool").credit.blend}
    assert rules["fork_group"].options["max_turns"] == load_recipe("portool").limits.max_turns


def test_openthinkimgs_format_is_centred_like_the_answer():
    """One number an attempt, inside the group's advantage: equals learn nothing."""
    episodes = [toy_episode(RENDERER, turns=3, seed=i) for i in range(2)]
    same = [{"answer": 1.0, "format_mean": 2 / 3, "turn_format": [1.0, 0.0, 1.0]}] * 2
    assert by_recipe("openthinkimg", episodes, same) == [[0.0] * 3] * 2


# ------------------------------------------------------------------------------ strangers


def median_gap(attempts, *, scale=1.0):
    """A stranger's rule: the return against the median of the group."""
    middle = np.median(attempts.returns[attempts.believed])
    return scale * attempts.spread(attempts.returns - middle)


def test_a_new_advantage_by_a_decorator(monkeypatch):
    monkeypatch.setattr(credit_rules, "_things", dict(credit_rules._things))
    assert credit_rule("median_gap")(median_gap) is median_gap
    recipe = load_recipe("zoom", ["credit={blend: [{rule: median_gap, options: {scale: 2}}]}"])
    episodes = [toy_episode(RENDERER, turns=1, seed=i) for i in range(3)]
    found = group_credits(episodes, [scored(t) for t in (1, 0, 0)], credit=recipe.credit)
    assert [policy_values(c)[0] for c in found] == [2, 0, 0]
    with pytest.raises(RecipeError, match="did you mean 'scale'"):
        load_recipe("zoom", ["credit={blend: [{rule: median_gap, options: {scael: 2}}]}"])


def test_a_new_advantage_by_an_entry_point(monkeypatch, tmp_path):
    body = "def rule(attempts):\n    return attempts.spread(attempts.returns * 0 + 0.5)\n"
    (tmp_path / "stranger_rule.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("constant_half", "stranger_rule:rule", "vtool.credit_rules")
    monkeypatch.setattr(credit_rules, "_points", {"constant_half": point})
    monkeypatch.setattr(credit_rules, "_things", dict(credit_rules._things))
    assert "constant_half" in credit_rules.names()
    values = credit_of([toy_episode(RENDERER, turns=1)], [3], RuleSpec("constant_half"))
    assert values == [[0.5]]


def test_what_a_rule_may_not_say(monkeypatch):
    monkeypatch.setattr(credit_rules, "_things", dict(credit_rules._things))
    credit_rule("short")(lambda attempts: np.zeros(1))
    credit_rule("broken")(lambda attempts: attempts.spread(attempts.returns * np.inf))
    episodes = [toy_episode(RENDERER, turns=2)]
    with pytest.raises(VToolError, match="one finite number a visit"):
        credit_of(episodes, [1], RuleSpec("short"))
    with pytest.raises(VToolError, match="one finite number a visit"):
        credit_of(episodes, [1], RuleSpec("broken"))
    with pytest.raises(UnknownName, match="credit rule"):
        credit_of(episodes, [1], RuleSpec("nowhere"))


def test_other_dialects_are_laid_out_alike():
    for dialect in ("hermes", "inline"):
        episode = toy_episode(plain_renderer(dialect), turns=3)
        layout = lay_out([episode]).layout
        assert layout.position.tolist() == [0, 1, 2]
        assert layout.turns.tolist() == [3]
