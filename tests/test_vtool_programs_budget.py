"""Budgets and votes: what is told, what is refused, and who wins."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripts import answer_text, completion, picture, plain_renderer, zoom_text
from vtool.vision_tools.zoom import zoom

from vtool.environment import ToolEnvironment
from vtool.errors import RecipeError, UnknownName
from vtool.programs.budget import Budget, BudgetedEnvironment, Tally, unified_cost
from vtool.programs.named import programs
from vtool.programs.solo import play
from vtool.programs.vote import majority
from vtool.record import Sampling, StopReason
from vtool.seat import Seat
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox

RENDERER = plain_renderer()
TASK = Task(id="t", prompt=(picture(), "digit?"), reference=Answer(("7",)))


class Says:
    """Answers each draw by a function of its key."""

    version = 0

    def __init__(self, script):
        self.script = script

    async def generate(self, request):
        return completion(RENDERER, self.script(request.key), seed=sum(request.key))


def seats(script):
    return {"policy": Seat("policy", RENDERER, Says(script), Sampling())}


def env():
    return ToolEnvironment(TASK, Toolbox([zoom]))


def looks(count):
    """Zooms so many times, then answers."""
    return lambda key: zoom_text() if key[-1] < count else answer_text()


def run(script, **options):
    return asyncio.run(programs.get("budgeted")(env(), seats(script), key=(1,), **options))


def told(episode):
    """The tracker's text after each message of user or tool."""
    texts = [m.text for m in episode.final.messages()]
    return [t[t.index("Budget.") :] for t in texts if "Budget." in t]


@pytest.mark.parametrize(
    ("used", "level"),
    [(0, "high"), (3, "high"), (4, "medium"), (7, "medium"), (8, "low"), (9, "low"), (10, "spent")],
)
def test_levels_of_what_remains(used, level):
    """The bounds of mechanisms: high from 70 %, medium from 30, low from 10, critical below."""
    assert Tally(Budget({"zoom": 10})).level(used, 10)[0] == level
    assert Tally(Budget({"zoom": 100})).level(91, 100)[0] == "critical"


def test_the_budget_is_told_every_turn_and_at_nothing_it_says_answer_now():
    episode = run(looks(2), calls={"zoom": 2})
    assert told(episode) == [
        "Budget. calls of zoom: 0 used, 2 left of 2 (high: look around)",
        "Budget. calls of zoom: 1 used, 1 left of 2 (medium: look where it matters)",
        "Budget. calls of zoom: 2 used, 0 left of 2 (spent: nothing is left: answer now)",
    ]
    assert episode.answer == "7"
    assert episode.verdicts["budget"]["calls"] == {"zoom": [2, 2]}


def test_a_call_beyond_the_budget_is_refused_with_an_observation():
    episode = run(looks(3), calls={"zoom": 1})
    codes = [o.fault.code if o.fault else None for o in episode.outcomes()]
    assert codes == [None, "limit", "limit"]
    assert len(episode.final.store.images()) == 2
    refused = [m.text for m in episode.final.messages() if "no calls of zoom" in m.text]
    assert len(refused) == 2
    assert "answer now" in refused[0]


def test_all_tools_together_may_have_a_budget():
    episode = run(looks(2), calls={"*": 1})
    assert [o.fault is not None for o in episode.outcomes()] == [False, True]


def test_tokens_are_a_budget_and_who_goes_on_without_answering_is_stopped():
    first = len(completion(RENDERER, zoom_text()).ids)
    answering = run(looks(1), tokens=first)
    assert answering.stop is StopReason.ANSWERED
    assert "tokens: " in told(answering)[-1]
    assert "spent" in told(answering)[-1]
    going_on = run(looks(9), tokens=first)
    assert going_on.stop is StopReason.MAX_TOKENS
    assert [o.fault.code if o.fault else None for o in going_on.outcomes()] == ["limit"]
    assert len(going_on.final.store.images()) == 1


@given(
    whole=st.integers(0, 5),
    names=st.lists(st.sampled_from(["zoom", "turn", "free"]), max_size=12),
)
def test_no_counter_ever_goes_below_zero(whole, names):
    tally = Tally(Budget({"zoom": whole, "*": 4}))
    for name in names:
        before = dict(tally.calls)
        short = tally.take(name)
        assert (tally.calls == before) is (short is not None)
        assert 0 <= tally.calls.get("zoom", 0) <= whole
        assert 0 <= tally.calls.get("*", 0) <= 4


def test_a_budget_without_bounds_changes_no_token():
    plain = asyncio.run(play(env(), seats(looks(2)), key=(1,)))
    free = asyncio.run(play(BudgetedEnvironment(env(), Budget({"turn": 3})), seats(looks(2))))
    assert told(free)[0].startswith("Budget. calls of turn: 0 used")
    assert [m.action for m in free.path_messages()] == [m.action for m in plain.path_messages()]


def test_a_fork_has_used_as_much():
    async def go():
        one = BudgetedEnvironment(env(), Budget({"zoom": 2}))
        await one.reset()
        one.tally.take("zoom")
        other = await one.fork()
        other.tally.take("zoom")
        return one.tally.left("zoom"), other.tally.left("zoom")

    assert asyncio.run(go()) == (1, 0)


@pytest.mark.parametrize("bad", [{"calls": {"zoom": -1}}, {"tokens": 0}])
def test_budgets_that_are_none_are_refused(bad):
    with pytest.raises(RecipeError, match="counts from 0"):
        Budget(**bad)
    with pytest.raises(RecipeError, match="fall"):
        Budget(levels=((0.1, "low", ""), (0.5, "high", "")))


def test_cost_is_linear_in_tokens_and_calls():
    episode = run(looks(2), calls={"zoom": 5})
    tokens = int(episode.final.mask().sum())
    assert unified_cost(episode, token_price=0.5) == 0.5 * tokens
    assert unified_cost(episode, prices={"zoom": 3.0}) == 6.0
    assert unified_cost(episode, token_price=0.5, prices={"*": 3.0}) == 0.5 * tokens + 6.0
    assert unified_cost(episode) == 0.0


@pytest.mark.parametrize(
    ("answers", "index", "votes"),
    [
        (["7", "1", "7."], 0, {"7": 2, "1": 1}),
        (["1", "A  cat", "a cat"], 1, {"1": 1, "a cat": 2}),
        ([None, "1", "2"], 1, {"1": 1, "2": 1}),
        ([None, None], 0, {}),
    ],
)
def test_the_answer_that_most_give_wins_and_of_equals_the_first(answers, index, votes):
    assert majority(answers) == (index, votes)


def test_a_vote_is_one_episode_that_answers_what_most_attempts_answer():
    answers = {0: "1", 1: "7", 2: "3", 3: "7"}
    script = lambda key: answer_text(answers[key[-2]])  # noqa: E731
    episode = asyncio.run(programs.get("vote")(env(), seats(script), key=(1,), k=4))
    assert episode.answer == "7"
    assert episode.final.number == 1
    assert episode.verdicts["votes"] == {"1": 1, "7": 2, "3": 1}
    assert len(episode.leaves()) == 4


def test_a_vote_of_one_is_the_attempt_itself():
    alone = asyncio.run(play(env(), seats(looks(1)), key=(1,)))
    voted = asyncio.run(programs.get("vote")(env(), seats(looks(1)), key=(1,), k=1))
    assert np.array_equal(alone.final.ids(), voted.final.ids())
    assert voted.answer == alone.answer


def test_programs_are_chosen_by_name():
    assert programs.names() == ["branch", "budgeted", "solo", "vote"]
    with pytest.raises(UnknownName, match="did you mean 'vote'"):
        programs.get("vot")
