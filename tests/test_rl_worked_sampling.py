"""Worked numbers of what is sampled and kept: filters, curricula, prefixes, rescued groups.

Each test names the system whose published numbers or rules it holds.
"""

import asyncio
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from sampling import RENDERER, TASK, VOCAB, Unsure, looks, maker, seats
from scripts import toy_episode
from vtool.rl.batch import make_sample
from vtool.rl.collect import Collected
from vtool.rl.credit_spec import CreditSpec, RuleSpec, Shared
from vtool.rl.curriculum import CurriculumSpec, dressers, make_curriculum, pickers
from vtool.rl.group_advantage import blended_credits, group_credits
from vtool.rl.group_filter import FilterSpec, by_accuracy, by_std, make_filter, top_std
from vtool.rl.layout import lay_out
from vtool.rl.replay import RescueSpec, SuccessBuffer
from vtool.rl.rollout_sampler import SamplerSpec, Scene, make_sampler
from vtool.rl.run import write_groups
from vtool.rl.schedule import ScheduleSpec
from vtool.vision_tools.zoom import zoom

from vtool.environment import ToolEnvironment
from vtool.errors import DataError, RecipeError
from vtool.geometry import Box, Point
from vtool.message import Author
from vtool.plain_codec import PlainFamily
from vtool.programs.solo import play
from vtool.record import Group, StopReason
from vtool.reward import Score, Unscored, combines
from vtool.shape_metrics import inside
from vtool.task import Boxes, Evidence
from vtool.toolbox import Toolbox


def scores(values):
    """Scores whose total is the part that judges answers."""
    return [Score({"answer": v}, v) for v in values]


# ------------------------------------------------------------------ dynamic sampling


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([1.0, 1.0, 1.0, 1.0], False),
        ([0.0, 0.0, 0.0, 0.0], False),
        ([1.0, 0.0, 0.0, 0.0], True),
        ([1.0, 1.0, 1.0, 0.0], True),
        ([0.5, 0.5], True),
        ([None, None], False),
    ],
)
def test_dapo_keeps_groups_that_are_neither_all_right_nor_all_wrong(values, kept):
    assert by_accuracy(scores(values), []) is kept


def test_tapo_refills_all_right_and_all_wrong_and_counts_malformed_as_wrong():
    """Totals 1 x 4 and -1 x 4 are refilled; a right answer in a malformed attempt is wrong."""
    total = combines.get("signed")()

    def group(right, formed):
        pairs = zip(right, formed, strict=True)
        return [total({"answer": float(a), "format": float(f)}) for a, f in pairs]

    keeps, _ = make_filter(FilterSpec("accuracy", {"gate": "format"}))
    assert [s.total for s in group([1] * 4, [1] * 4)] == [1] * 4
    assert not keeps(group([1] * 4, [1] * 4), [])
    assert [s.total for s in group([0] * 4, [1] * 4)] == [-1] * 4
    assert not keeps(group([0] * 4, [1] * 4), [])
    half = group([1, 1, 1, 1], [1, 1, 0, 0])
    assert [s.total for s in half] == [1, 1, -1, -1]
    assert keeps(half, [])
    assert not by_accuracy(half, [])  # without the gate a group that teaches is thrown away
    assert not keeps(group([1] * 4, [0] * 4), [])


def test_toolorchestra_drops_groups_that_deviate_by_less_than_a_tenth():
    assert by_std(scores([1.0, 1.2]), [])  # deviation (n-1) .1414
    assert not by_std(scores([1.0, 1.1]), [])  # .0707
    assert not by_std(scores([1.0]), [])
    lost = [*scores([1.0]), Score({}, Unscored("lost")), *scores([1.0])]
    assert not by_std(lost, [])
    assert by_std([Score({"cost": c}, 0.0) for c in (0.0, 1.0)], [], part="cost")


def test_spear_keeps_the_three_quarters_of_groups_that_deviate_most():
    groups = [scores(v) for v in ([0, 1], [0, 0.2], [0, 0.4], [0, 0.1])]
    assert top_std(groups) == [True, True, True, False]
    assert top_std(groups, share=0.5) == [True, False, True, False]
    assert top_std(groups[:1]) == [True]
    assert top_std([scores([0, 0])] * 3) == [True, True, True]  # 2.25 is rounded up


# ------------------------------------------------------------------ curricula


def rows(**tags):
    """Task rows with one tag."""
    ((name, values),) = tags.items()
    return [SimpleNamespace(id=f"t{i}", tags={name: v}) for i, v in enumerate(values)]


def test_craft_gui_never_draws_a_later_bucket_early():
    steps = [1, 3, 2, 1, 3, 2, 1]
    by = {"by": "steps", "order": [1, 2, 3], "until": [2, 4]}
    stages = pickers.get("stage")(rows(steps=steps), 0, **by)
    for step in range(7):
        stages.begin(step)
        wanted = 1 + (step >= 2) + (step >= 4)
        # More than the bucket holds: it comes again, and nothing else fills the step up.
        assert {steps[i] for i in stages.draw(5)} == {wanted}
    mixed = pickers.get("stage")(rows(steps=steps), 0, **by, together=True)
    mixed.begin(3)
    assert {steps[i] for i in mixed.draw(20)} == {1, 2}
    edged = pickers.get("stage")(rows(steps=steps), 0, by="steps", edges=[2], until=[1])
    edged.begin(0)
    assert {steps[i] for i in edged.draw(9)} == {1}


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"order": [1, 2], "until": []}, RecipeError, "needs 1 steps"),
        ({"order": [1], "edges": [1], "until": []}, RecipeError, "not both"),
        ({"order": [1, 2, 3], "until": [4, 2]}, RecipeError, "rising"),
        ({"order": [1, 9], "until": [1]}, DataError, "bucket 1"),
    ],
)
def test_stages_that_are_none_are_refused(options, error, said):
    with pytest.raises(error, match=said):
        pickers.get("stage")(rows(steps=[1, 2, 3]), 0, by="steps", **options)


def test_a_click_on_the_border_of_the_box_counts():
    """CRAFT-GUI's action reward."""
    box = Box(0.25, 0.25, 0.5, 0.5)
    clicks = [Point(0.25, 0.3), Point(0.5, 0.5), Point(0.51, 0.5)]
    assert [inside(p, box) for p in clicks] == [True, True, False]


def test_skillmimic_draws_tasks_in_proportion_to_how_badly_they_go():
    picker = pickers.get("difficulty")(rows(x=[0, 0, 0]), 0, rate=2.0)
    for name, mark in (("t0", 1.0), ("t1", 0.5)):
        picker.learn(name, scores([mark, mark]))
    picker.learn("t1", [Score({}, Unscored("lost"))])
    weights = np.exp([-2.0, -1.0, 0.0])  # what was never played counts as 0
    assert picker.chances() == pytest.approx(weights / weights.sum())
    assert sorted(picker.draw(3)) == [0, 1, 2]
    steep = pickers.get("difficulty")(rows(x=[0] * 4), 0, rate=1e4)
    for i in range(3):
        steep.learn(f"t{i}", scores([1.0]))
    assert sorted(steep.draw(4)) == [0, 1, 2, 3]


# ------------------------------------------------------------------ ICRL, SpaceTools


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    """A trace of four answered attempts, one of them at the task that is asked."""
    folder = tmp_path_factory.mktemp("demos")
    tasks = [dataclasses.replace(TASK, id=name) for name in ("a", "b", "c", TASK.id)]
    groups = []
    for seed, task in enumerate(tasks):
        episode = toy_episode(RENDERER, turns=2, seed=seed, task_id=task.id)
        episode.stop = episode.contexts[0].stop = StopReason.ANSWERED
        groups.append(Group(task.id, (episode,)))
    write_groups(folder, Collected(tasks, groups, [scores([1.0])] * 4), 0)
    return folder


def annealed(folder, **options):
    counts = {0: 3, 100: 2, 200: 0}
    return dressers.get("demo_anneal")(0, trace=str(folder), counts=counts, **options)


def shown(task):
    """Examples in a prompt."""
    return sum(p.startswith("Example ") for p in task.prompt if isinstance(p, str))


def asked(task):
    """An attempt at it: what the policy is told, and what it learns."""
    env = ToolEnvironment(task, Toolbox([zoom]))
    episode = asyncio.run(play(env, seats(Unsure(looks(1))), key=(1, 0)))
    assert not episode.stop.ours, episode.error
    return episode.final


def test_icrl_shows_three_two_and_no_demonstrations_and_nobody_learns_them(demonstrations):
    dress = annealed(demonstrations)
    told = {step: shown(dress(TASK, step)) for step in (0, 99, 100, 199, 200, 900)}
    assert told == {0: 3, 99: 3, 100: 2, 199: 2, 200: 0, 900: 0}
    plain, full = asked(TASK), asked(dress(TASK, 0))
    assert dress(TASK, 200) is TASK  # the last stage asks exactly as evaluation does
    assert len(full) > len(plain)
    learnt = [int(c.mask(Author.POLICY).sum()) for c in (plain, full)]
    assert learnt[0] == learnt[1] > 0
    first = [next(s for s in c.segments if s.author is Author.POLICY) for c in (plain, full)]
    assert first[0].ids.tolist() == first[1].ids.tolist()


def test_a_demonstration_never_tells_the_answer_of_its_own_task(demonstrations):
    for step in range(20):
        dressed = annealed(demonstrations)(TASK, step)
        assert shown(dressed) == 3  # of four attempts the one at this task is left out
    many = dataclasses.replace(TASK, id="other")
    assert shown(annealed(demonstrations)(many, 0)) == 3
    assert annealed(demonstrations)(many, 0).prompt == annealed(demonstrations)(many, 0).prompt


def test_places_are_renumbered_behind_the_pictures_of_demonstrations(demonstrations):
    box = Box(0.0, 0.0, 0.5, 0.5)
    task = dataclasses.replace(TASK, reference=Boxes((box,)), evidence=(Evidence(0, box),))
    dressed = annealed(demonstrations)(task, 100)
    before = sum(not isinstance(p, str) for p in dressed.prompt) - 1
    assert before == 4  # two demonstrations, a picture and a crop each
    assert dressed.reference.image == dressed.evidence[0].image == before
    words = annealed(demonstrations, pictures=False)(task, 100)
    assert words.reference.image == 0
    assert sum(not isinstance(p, str) for p in words.prompt) == 1


def test_icrl_s_schedule_is_the_same_by_the_schedule_s_name():
    steps = ScheduleSpec("steps", at={0: 3, 100: 2, 200: 0})
    assert [steps.value(s) for s in (0, 99, 100, 200)] == [3, 3, 2, 0]


def test_spacetools_offers_one_tool_first_and_all_in_the_end():
    dress = dressers.get("tool_stage")(0, tools={0: ["point"], 5: ["point", "zoom", "depth"]})
    assert dress(TASK, 4).tools == ("point",)
    assert dress(TASK, 5).tools == ("point", "zoom", "depth")
    own = dataclasses.replace(TASK, tools=("zoom",))
    assert dress(own, 0).tools == ()
    assert dress(own, 5).tools == ("zoom",)


def test_dressers_are_put_on_one_after_the_other(demonstrations):
    specs = [
        CurriculumSpec("tool_stage", {"tools": {0: ["zoom"]}}),
        CurriculumSpec("demo_anneal", {"trace": str(demonstrations), "counts": {0: 1}}),
    ]
    curriculum = make_curriculum(specs, rows(x=[0, 1]), 0)
    dressed = curriculum.dress(TASK, 0)
    assert (dressed.tools, shown(dressed)) == (("zoom",), 1)
    assert sorted(curriculum.picker.draw(2)) == [0, 1]


# ------------------------------------------------------------------ rescue and prefixes


def test_arpo_gui_rescues_eight_failures_with_one_success():
    """Deviation 0 < .05 and mean 0 < .2: one positive of eight, (1 - 1/8) / sd in its favour."""
    buffer = SuccessBuffer(RescueSpec())
    success = toy_episode(RENDERER, turns=1, seed=50, task_id=TASK.id)
    buffer.admit(TASK, Group(TASK.id, (success,)), [Score({}, 1.0)])
    failed = [toy_episode(RENDERER, turns=1, seed=i, task_id=TASK.id) for i in range(8)]
    rescued = buffer.substitute(TASK, Group(TASK.id, tuple(failed)), [Score({}, 0.0)] * 8)
    marks = [Score({}, float(e is rescued.episodes[0])) for e in rescued.episodes]
    credits = group_credits(rescued.episodes, marks)
    values = [max(c.segments, key=abs) for c in credits]
    # sd (n-1) of one 1 and seven 0 is 8**-.5: 7 / 8 and -1 / 8 over it.
    assert values == pytest.approx([2.474873734, *[-0.353553391] * 7], abs=1e-4)


def test_skillmimic_s_groups_begin_where_a_stored_attempt_stood(tmp_path):
    """All attempts of a group share what was given, and learn only what comes after it."""
    stored = asyncio.run(play(maker()(0), seats(Unsure(looks(2))), key=(9, 0)))
    write_groups(tmp_path, Collected([TASK], [Group(TASK.id, (stored,))], [scores([1.0])]), 0)
    sampler = make_sampler(SamplerSpec("prefix", {"trace": str(tmp_path), "turn": 1}))
    make = maker(max_turns=4)
    scene = Scene(seats(Unsure(looks(3))), lambda task, n: make(n), 3, vocab=VOCAB)
    ((_, played),) = asyncio.run(sampler.play([TASK], (1,), scene))
    assert len(played.episodes) == 3
    policy = [s for s in stored.final.segments if s.author is Author.POLICY]
    marks = [Score({}, float(i == 0)) for i in range(3)]
    for shared in Shared:
        spec = CreditSpec((RuleSpec("fork_group"),), shared=shared)
        credits = blended_credits(played.episodes, marks, spec)
        assert len(credits) == 3  # what was given is nobody's to learn
        for number, credit in enumerate(credits):
            sample = sample_of(credit)
            past = sum(len(s) for s in credit.context.segments[: credit.context.shared])
            assert past > len(policy[0])
            assert not sample.target[:past].any()
            assert sample.target[past:].any()
            # The first turn played anew is a sibling of the others': 1 - 1/3 against -1/3.
            wanted = 2 / 3 if number == 0 else -1 / 3
            assert sample.advantage[sample.target][0] == pytest.approx(wanted)
    lengths = lay_out(played.episodes).layout.lengths
    assert lengths.tolist() == [int(sample_of(c).target.sum()) for c in credits]


def sample_of(credit):
    return make_sample(
        credit.context,
        RENDERER,
        PlainFamily(),
        credit.laid,
        whole=credit.whole,
        given=credit.given,
    )
