"""Credit rules by name: worked numbers, on flat groups and on trees."""

import numpy as np
import pytest
from scripts import toy_episode
from trees import RENDERER, branched, credit_of, opened, policy_values, scored, turn
from vtool.rl.advantage import AdvantageError
from vtool.rl.attempts import Attempts, Layout, Seen, attempts_of
from vtool.rl.batch import make_sample
from vtool.rl.credit_rules import credit_rules, situations
from vtool.rl.credit_spec import CreditSpec, OverlongSpec, RuleSpec, resolve
from vtool.rl.group_advantage import blended_credits, group_credits, settle, tree_credits
from vtool.rl.layout import lay_out
from vtool.rl.step_advantage import discounted_returns, gigpo

from vtool.message import Author
from vtool.plain_codec import PlainFamily
from vtool.record import Fold, Spawn


def group(final, turns=None):
    """Attempts that share nothing; `turns` are their rewards by turn, or how many they have."""
    turns = turns or [1] * len(final)
    rows = [t if isinstance(t, list) else [0.0] * t for t in turns]
    return Attempts.of(Layout.flat([len(r) for r in rows]), final, [v for r in rows for v in r])


def ruled(name, attempts, **options):
    """What a rule says, attempt by attempt."""
    found = credit_rules.get(name)(attempts, **options)
    count = len(attempts.returns)
    return [found[attempts.layout.attempt == i].tolist() for i in range(count)]


R2 = 0.5**0.5

WORKED = [
    # E1 on R = [1, 0, 0, 0] (A1), for every choice of baseline and divisor.
    ("group", [1, 0, 0, 0], None, {"eps": 0}, [[1.5], [-0.5], [-0.5], [-0.5]]),
    ("group", [1, 0, 0, 0], None, {"scale": "none"}, [[0.75], [-0.25], [-0.25], [-0.25]]),
    ("group", [1, 0, 0, 0], None, {"scale": "pop", "eps": 0}, [[3**0.5]] + 3 * [[-(3**-0.5)]]),
    ("group", [1, 0, 0, 0], None, {"scale": "none", "baseline": "loo"}, [[1]] + 3 * [[-1 / 3]]),
    ("group", [1, 0, 0, 0], None, {"scale": "none", "center": False}, [[1], [0], [0], [0]]),
    ("group", [2, 0], None, {"center": False, "eps": 0}, [[2**0.5], [0]]),
    # LOOP: K = 6.
    ("rloo", [1, 0, 0, 0, 0, 0], None, {}, [[1]] + 5 * [[-0.2]]),
    # MatchTIR: rewards by turn [1, 1] and [0, 1]; lambda .9 makes returns [1.9, 1] and [.9, 1].
    ("group", [0, 0], [[1.0, 1.0], [0.0, 1.0]], {"eps": 0}, [[R2, R2], [-R2, -R2]]),
    ("turn_group", [0, 0], [[1.0, 1.0], [0.0, 1.0]], {"eps": 0}, [[R2, 0], [-R2, 0]]),
    # A turn that one attempt alone has says nothing.
    ("turn_group", [0, 0], [[1.0, 5.0], [0.0]], {"discount": 0, "eps": 0}, [[R2, 0], [-R2]]),
    # CM2: four holders give no gradient.
    ("turn_group", [0] * 4, [[1.0], [0.0], [0.0], [0.0]], {"min_holders": 5}, [[0]] * 4),
    # Flow-GRPO: one turn (R = 1) and three turns (R = 0): mean .5 by rollout, .25 by turn.
    ("broadcast", [1, 0], [1, 3], {"scale": "none"}, [[0.5], [-0.5] * 3]),
    ("broadcast", [1, 0], [1, 3], {"scale": "none", "stats": "turn"}, [[0.75], [-0.25] * 3]),
    ("given", [9, 9], [[0.5, 0.0], [-1.0]], {}, [[0.5, 0.0], [-1.0]]),
]


@pytest.mark.parametrize(("name", "final", "turns", "options", "wanted"), WORKED)
def test_worked_numbers(name, final, turns, options, wanted):
    found = ruled(name, group(final, turns), **options)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_cm2_needs_five_holders():
    options = {"discount": 0, "scale": "none", "min_holders": 5}
    five = ruled("turn_group", group([0] * 5, [[1.0]] + [[0.0]] * 4), **options)
    assert five == [[pytest.approx(0.8)]] + [[pytest.approx(-0.2)]] * 4


def test_matchtir_fuses_both_levels_half_and_half():
    episodes = [toy_episode(RENDERER, turns=2, seed=i) for i in range(2)]
    scores = [scored(0, {0: 1.0, 1: 1.0}), scored(0, {0: 0.0, 1: 1.0})]
    blend = (RuleSpec("group", 0.5, "turns"), RuleSpec("turn_group", 0.5, "turns"))
    found = [policy_values(c) for c in blended_credits(episodes, scores, CreditSpec(blend))]
    assert found[0] == pytest.approx([R2, R2 / 2], abs=1e-5)
    assert found[1] == pytest.approx([-R2, -R2 / 2], abs=1e-5)


def anchored(rows):
    """Two attempts of two steps; `rows` name what each step answers."""
    seen = tuple(Seen(w.encode()) for row in rows for w in row)
    flat = Layout.flat([len(r) for r in rows])
    return Layout(flat.attempt, flat.step, flat.position, flat.parent, flat.turns, seen)


def test_anchor_group_is_the_step_half_of_gigpo():
    layout = anchored([["start", "hall"], ["start", "attic"]])
    attempts = Attempts.of(layout, [1.0, 0.0])
    step = credit_rules.get("anchor_group")(attempts, discount=0.95, scale="none")
    returns = [*discounted_returns([0, 1], 0.95), *discounted_returns([0, 0], 0.95)]
    wanted = gigpo([0.0] * 4, returns, [0, 1, 0, 2], scale="none")
    assert step == pytest.approx(wanted)
    assert step == pytest.approx([0.475, 0, -0.475, 0])


def test_an_attempt_that_meets_a_situation_twice_is_compared_with_itself():
    """GiGPO's groups hold steps, not attempts: the later visit is nearer to the reward."""
    attempts = Attempts.of(anchored([["hall", "attic", "hall"]]), [1.0])
    step = credit_rules.get("anchor_group")(attempts, discount=0.5, scale="none")
    assert step == pytest.approx([(0.25 - 1) / 2, 0, (1 - 0.25) / 2])


def test_alike_is_enough_where_it_is_asked_for_and_pictures_are_never_alike():
    words = [np.arange(20, dtype=np.int32), np.arange(20, dtype=np.int32)]
    words[1][3] = 99
    near = tuple(Seen(w.tobytes()) for w in words)
    assert situations(near).tolist() == [0, 1]
    assert situations(near, 0.95).tolist() == [0, 0]
    assert situations(near, 0.96).tolist() == [0, 1]
    other = (near[0], Seen(near[0].words, ("digest",)))
    assert situations(other, 0.5).tolist() == [0, 1]
    with pytest.raises(AdvantageError, match="similarity"):
        situations(near, 0.0)


def test_equal_observations_of_recorded_attempts_are_one_situation():
    """The prompt is one for all; after it, the same words lead to the same situation."""
    group = []
    for told in ("dark", "dark", "light"):
        episode, context = opened()
        turn(context, "Look.", told=told)
        turn(context, "<answer>1</answer>")
        group.append(episode)
    labels = situations(lay_out(group).layout.seen)
    assert labels.tolist() == [0, 1, 0, 1, 0, 2]
    values = credit_of(group, [1, 0, 1], RuleSpec("anchor_group", options={"scale": "none"}))
    assert [v[1] for v in values] == pytest.approx([0.5, -0.5, 0.0])


# ------------------------------------------------------------------------------ trees


def portool(**options):
    """PORTool's worked tree: s1 -> s2a (right, ends at 2), s1 -> s2b -> s3 (wrong, ends at 3)."""
    layout = Layout(
        np.array([0, 0, 1, 1, 1]),
        np.array([0, 1, 0, 2, 3]),
        np.array([0, 1, 0, 1, 2]),
        np.array([-1, 0, 0, 2]),
        np.array([2, 3]),
    )
    return credit_rules.get("fork_group")(Attempts.of(layout, [1.0, -1.0]), gamma=0.95, **options)


def test_fork_group_is_the_worked_tree_of_portool():
    # Values .02375 (s1), 1 (s2a), -.95 (s2b), -1 (s3): only the two siblings differ.
    assert portool() == pytest.approx([0, 0.975, 0, -0.975, 0])
    assert portool(pool="max") == pytest.approx([0, 0.975, 0, -0.975, 0])


def test_the_pool_of_portool_shows_where_siblings_have_several_paths():
    """Steps a (paths 1 and 0) and b (path 1/2): the mean calls them equal, the maximum does not."""
    layout = Layout(
        np.array([0, 0, 1, 1, 2]),
        np.array([0, 1, 0, 2, 3]),
        np.array([0, 1, 0, 1, 0]),
        np.array([-1, 0, 0, -1]),
        np.array([2, 2, 1]),
    )
    attempts = Attempts.of(layout, [1.0, 0.0, 0.5])
    rule = credit_rules.get("fork_group")
    assert rule(attempts, pool="mean")[[0, 4]] == pytest.approx([0, 0])
    assert rule(attempts, pool="max")[[0, 4]] == pytest.approx([0.25, -0.25])


def test_the_format_of_a_step_cannot_outweigh_the_outcome():
    layout = Layout.flat([1, 1])
    attempts = Attempts.of(layout, [0.0, 1.0], [1.0, -1.0])
    free = credit_rules.get("fork_group")(attempts)
    bound = credit_rules.get("fork_group")(attempts, gamma=0.95, max_turns=3)
    assert free[0] > free[1]  # the wrong way round: 0 + 1 against 1 - 1
    assert bound == pytest.approx([-(1 - 2 * 0.4286875) / 2, (1 - 2 * 0.4286875) / 2])


def test_a_tree_is_a_group_of_its_leaves():
    """Three paths: trunk right, its two forks wrong. Shared steps have the mean of their paths."""
    views = branched().leaves()
    assert [v.leaf for v in views] == [0, 1, 2]
    values = credit_of(views, [1, 0, 0], RuleSpec("group", options={"scale": "none"}))
    trunk, first, second = values
    # Turn 0 of the trunk is shared with the second fork: (2/3 - 1/3) / 2.
    assert trunk == pytest.approx([1 / 6, 2 / 3, 2 / 3])
    assert first[-1] == pytest.approx(-1 / 3)
    assert second[-1] == pytest.approx(-1 / 3)


def test_hard_and_soft_forms_of_shared_prefixes():
    """ARPO: once with the mean of the branches, or in each branch with its own advantage."""
    views = branched().leaves()
    rule = RuleSpec("group", options={"scale": "none"})
    soft = credit_of(views, [1, 0, 0], rule, shared="each")
    assert soft[0] == pytest.approx([2 / 3] * 3)
    assert soft[2] == pytest.approx([-1 / 3] * 2)  # the shared turn, and its own
    hard = credit_of(views, [1, 0, 0], rule)
    assert hard[0][0] == pytest.approx(np.mean([soft[0][0], soft[2][0]]))


def test_soft_credit_makes_targets_of_shared_prefixes():
    views = branched().leaves()
    spec = CreditSpec((RuleSpec("group"),), shared="each")
    credits = blended_credits(views, [scored(t) for t in (1, 0, 0)], spec)
    sample = make_sample(
        credits[2].context, RENDERER, PlainFamily(), credits[2].laid, whole=credits[2].whole
    )
    own = make_sample(credits[2].context, RENDERER, PlainFamily(), credits[2].laid)
    assert sample.target.sum() > own.target.sum() > 0
    assert (sample.advantage[sample.target] < 0).all()


def test_siblings_sum_to_zero_and_only_children_get_nothing():
    values = credit_of(branched((3, 2)).leaves(), [1, 0.2, 0, 0.5], RuleSpec("fork_group"))
    trunk, *forks = values
    firsts = [trunk[0], forks[0][-1], forks[1][-1]]
    assert sum(firsts) == pytest.approx(0)
    assert trunk[1] + forks[2][-1] == pytest.approx(0)
    assert trunk[2] == 0


def test_trees_and_flat_attempts_stand_in_one_group():
    flat, context = opened()
    turn(context, "<answer>3</answer>")
    views = branched().leaves()
    values = credit_of([*views, flat], [1, 0, 0, 1], RuleSpec("group", options={"scale": "none"}))
    assert values[3] == pytest.approx([0.5])
    assert values[1][-1] == pytest.approx(-0.5)


def test_a_path_that_nobody_could_judge_leaves_the_tree():
    views = branched().leaves()
    rule = RuleSpec("group", options={"scale": "none"})
    values = credit_of(views, [1, None, 0], rule)
    assert len(values) == 2
    assert values[0] == pytest.approx([0.0, 0.5, 0.5])
    same = tree_credits(views[0], {0: scored(1), 1: scored(None), 2: scored(0)}, fork_weight=0)
    assert len(same) == 3
    assert same[1].dead


def test_folds_go_on_and_children_have_no_turns_of_the_path():
    episode, context = opened()
    turn(context, "First.", told="x")
    folded = episode.open("policy", edge=Fold(0))
    for segment in context.segments[:1]:
        folded.append(segment)
    child = episode.open("policy", edge=Spawn(0, 0, 0))
    for segment in context.segments[:1]:
        child.append(segment)
    turn(child, "<answer>c</answer>")
    turn(folded, "<answer>7</answer>")
    ground = lay_out([episode])
    contexts = [ground.steps[s].context for s in ground.layout.step]
    assert dict(zip(contexts, ground.layout.position.tolist(), strict=True)) == {0: 0, 1: 1, 2: -1}
    found = group_credits([episode], [scored(0, {0: 1.0, 1: 2.0})], "dr_grpo")
    assert {c.context.number: policy_values(c) for c in found} == {0: [1.0], 1: [2.0], 2: [0.0]}


# ------------------------------------------------------------------------- what a rule is about


def test_a_rule_is_about_the_reward_that_it_names():
    layout = Layout.flat([2, 1])
    scores = [scored(1, {0: 0.5}, act=2.0, look=[1.0, 3.0]), scored(0, {}, act=None, look=[4.0])]

    def told(of):
        found = attempts_of(layout, scores, of)
        return found.returns.tolist(), found.rewards.tolist()

    assert told("total") == ([1, 0], [0, 1, 0])
    assert told("turns") == ([0.5, 0], [0.5, 0, 0])
    assert told("sum") == ([1.5, 0], [0.5, 1, 0])
    assert told("look") == ([4, 4], [1, 3, 4])
    act = attempts_of(layout, scores, "act")
    assert act.believed.tolist() == [True, False]  # it does not apply: neither good nor bad
    with pytest.raises(AdvantageError, match="about 'acts'"):
        attempts_of(layout, scores, "acts")
    with pytest.raises(AdvantageError, match="3 numbers, but the attempt has 2 turns"):
        attempts_of(layout, [scored(1, look=[1.0, 2.0, 3.0]), scores[1]], "look")


def test_an_estimator_stands_for_a_blend():
    episodes = [toy_episode(RENDERER, turns=2, seed=i) for i in range(3)]
    scores = [scored(1, {0: 0.25}), scored(0), scored(0)]
    plain = group_credits(episodes, scores, "rloo")
    spec = CreditSpec((RuleSpec("rloo"), RuleSpec("given", of="turns")))
    said = group_credits(episodes, scores, credit=spec)
    assert [c.segments for c in plain] == [c.segments for c in said]


def test_the_batch_s_deviation_is_that_of_all_groups_of_a_step():
    """REINFORCE++: centred by group, divided by the deviation of the whole step."""
    groups = [[toy_episode(RENDERER, turns=n, seed=i) for i, n in enumerate((1, 2))] for _ in "ab"]
    marks = [[scored(1), scored(0)], [scored(1), scored(1)]]
    spec = resolve(None, "reinforce_pp_baseline")
    credits = [c for g, m in zip(groups, marks, strict=True) for c in blended_credits(g, m, spec)]
    found = [policy_values(c)[0] for c in settle(credits, spec)]
    assert found == pytest.approx([1.224744871391589, -1.224744871391589, 0, 0], abs=1e-6)
    alone = group_credits(groups[0], marks[0], "reinforce_pp_baseline")
    assert [policy_values(c)[0] for c in alone] == pytest.approx([R2, -R2], abs=1e-6)


def test_whitening_by_token_counts_long_attempts_more():
    episodes = [toy_episode(RENDERER, turns=n, seed=n) for n in (1, 3)]
    spec = CreditSpec((RuleSpec("dr_grpo"),), whiten="token")
    credits = blended_credits(episodes, [scored(1), scored(0)], spec)
    values = np.concatenate([np.repeat(*v) for v in weighed(credits)])
    found = np.concatenate([np.repeat(*v) for v in weighed(settle(credits, spec))])
    assert found == pytest.approx((values - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-8))


def weighed(credits):
    """For each policy segment its credit and how many tokens it has."""
    for credit in credits:
        for segment, value in zip(credit.context.segments, credit.laid, strict=True):
            if segment.author is Author.POLICY:
                yield value, len(segment)


def test_credit_near_nothing_is_nothing_where_it_is_asked_for():
    episodes = [toy_episode(RENDERER, turns=1, seed=i) for i in range(3)]
    totals = [0.02, 0.0, 0.005]
    kept = credit_of(episodes, totals, RuleSpec("dr_grpo"), least=0.01)
    assert [v[0] for v in kept] == pytest.approx([0.02 - 0.025 / 3, 0, 0])


def test_long_attempts_pay_softly():
    episodes = [toy_episode(RENDERER, turns=n, seed=0) for n in (1, 2)]
    lengths = lay_out(episodes).layout.lengths
    ramp = OverlongSpec(limit=int(lengths[1]), buffer=int(lengths[1]), factor=1.0)
    rule = RuleSpec("dr_grpo")
    found = credit_of(episodes, [1, 1], rule, overlong=ramp)
    share = lengths[0] / lengths[1]
    assert found[0] == pytest.approx([(1 - share) / 2])
    assert found[1] == pytest.approx([(share - 1) / 2] * 2)
