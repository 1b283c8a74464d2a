"""What becomes of results: shared, bounded, checked, cut; and the breaker."""

import asyncio
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtool.dialects.hermes import Hermes
from vtool.geometry import Box
from vtool.media import Image
from vtool.message import ToolCall
from vtool.observation import Call, Finding, Observation, Way
from vtool.store import Store
from vtool.tool import tool, tools
from vtool.toolbox import Toolbox, ToolBroken, ToolDown
from vtool.workers.results import ResultCache
from vtool.workers.runner import clip_text


@pytest.fixture(autouse=True)
def _own_names(monkeypatch):
    monkeypatch.setattr(tools, "_things", dict(tools._things))


def noise(width=32, height=24, seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def filled(*pictures):
    store = Store()
    for picture in pictures or (noise(),):
        store.add(picture)
    return store


async def call(box, store, *calls, seed=0):
    return await box.run(
        [ToolCall(name, arguments) for name, arguments in calls],
        store,
        Hermes(max_parallel=64),
        store.size,
        seed=seed,
    )


def run(box, *calls, store=None):
    async def go():
        try:
            return await call(box, store or filled(), *calls)
        finally:
            await box.close()

    return asyncio.run(go())


def code(message):
    fault = message.outcomes[0].fault
    return None if fault is None else str(fault.code)


def counting(**options):
    made = []

    @tool(**options)
    def count(image: Image, text: str) -> str:
        """Count.

        Args:
            image: Of what.
            text: Nothing.
        """
        made.append(text)
        time.sleep(0.05)
        return f"{text} {len(made)}"

    return count, made


def test_equal_calls_at_one_time_are_made_once_and_equal_afterwards():
    count, made = counting()
    box, store = Toolbox([count]), filled()
    args = ("count", {"image": 1, "text": "a"})

    async def go():
        first = await call(box, store, args, args, args)
        return [*first, *await call(box, filled(), args)]

    messages = asyncio.run(go())
    assert made == ["a"]
    assert {m.text for m in messages} == {"a 1"}
    assert [m.outcomes[0].cached for m in messages] == [False, True, True, True]


@pytest.mark.parametrize(
    "other",
    [
        ("count", {"image": 2, "text": "a"}),
        ("count", {"image": 1, "text": "b"}),
    ],
)
def test_other_content_is_another_result(other):
    count, made = counting()
    run(
        Toolbox([count]),
        ("count", {"image": 1, "text": "a"}),
        other,
        store=filled(noise(), noise(seed=1)),
    )
    assert len(made) == 2


def test_another_version_is_another_result():
    count, made = counting()
    box = Toolbox([count])
    newer = box.changed(lambda t: replace(t, spec=replace(t.spec, version="2")))
    newer._cache = box._cache
    for which in (box, newer, box):
        run(which, ("count", {"image": 1, "text": "a"}))
    assert len(made) == 2


def test_a_tool_that_is_told_the_seed_is_not_given_another_seed_s_result():
    @tool
    def draw(image: Image, call: Call) -> str:
        """Draw.

        Args:
            image: On what.
        """
        return str(call.seed)

    box, store = Toolbox([draw]), filled()

    async def go():
        one = await call(box, store, ("draw", {"image": 1}), seed=1)
        two = await call(box, store, ("draw", {"image": 1}), seed=2)
        return one[0].text, two[0].text

    assert asyncio.run(go()) == ("1009", "2018")


def test_whoever_leaves_does_not_take_the_result_from_the_others():
    cache, made = ResultCache(), []

    async def make():
        made.append(1)
        await asyncio.sleep(0.05)
        return Observation(text="x")

    async def go():
        first = asyncio.ensure_future(cache.get("k", make))
        second = asyncio.ensure_future(cache.get("k", make))
        await asyncio.sleep(0.01)
        first.cancel()
        assert (await second)[0].text == "x"
        lonely = asyncio.ensure_future(cache.get("other", make))
        await asyncio.sleep(0.01)
        lonely.cancel()
        await asyncio.sleep(0.01)
        assert (await cache.get("other", make))[1] is False

    asyncio.run(go())
    assert len(made) == 3


def test_results_are_bounded_by_their_bytes():
    cache = ResultCache(100_000)

    async def go():
        for i in range(8):

            async def make(i=i):
                return Observation((noise(100, 60, i),))

            await cache.get(str(i), make)
        assert cache.held_bytes <= 100_000
        assert len(cache) == 5

        async def large():
            return Observation((noise(400, 300),))

        assert (await cache.get("large", large))[1] is False
        assert (await cache.get("large", large))[1] is False
        assert (await cache.get("7", large))[1] is True

    asyncio.run(go())


@given(st.text(max_size=400), st.integers(120, 400))
@settings(max_examples=200)
def test_long_texts_are_cut_in_the_middle_and_say_so(text, limit):
    cut = clip_text(text, limit)
    assert len(cut.encode()) <= limit
    if len(text.encode()) <= limit:
        assert cut == text
    else:
        assert cut.startswith("[cut: ")
        assert cut.endswith("[end of the cut text]")


def test_a_huge_text_reaches_the_model_cut():
    @tool
    def recite(text: str) -> str:
        """Recite.

        Args:
            text: Nothing.
        """
        return "first " + "x" * 10**6 + " last"

    words = run(Toolbox([recite]), ("recite", {"text": "a"}))[0].text
    assert len(words) <= 8192
    assert words.startswith("[cut: 1000011 characters")
    assert "first" in words
    assert words.endswith(" last\n[end of the cut text]")


@pytest.mark.parametrize(
    "result",
    [
        3,
        None,
        Observation(values=("a",)),
        Observation(found=("a",)),
        Observation(found=(Finding(Box(0, 0, 1, 1), score=float("nan")),)),
        Observation(text=5),
        Observation(ways=((),)),
        Observation((noise(),), ways=((Way(noise(seed=9)),),)),
        Observation(found=(Finding(Box(0, 0, 1, 1), of=noise(seed=9)),)),
    ],
)
def test_what_no_tool_may_return_breaks_the_call(result):
    @tool
    def odd(image: Image) -> Observation:
        """Return something.

        Args:
            image: Of what.
        """
        return result

    with pytest.raises(ToolBroken):
        run(Toolbox([odd]), ("odd", {"image": 1}))


def test_a_tool_that_breaks_all_the_time_ends_the_run():
    @tool(pure=False)
    def broken(text: str) -> str:
        """Break now and then.

        Args:
            text: `good` does not.
        """
        if text == "good":
            return text
        raise OSError("no such device")

    box = Toolbox([broken])

    def crash():
        with pytest.raises(ToolBroken) as caught:
            run(box, ("broken", {"text": "a"}))
        return caught.value

    for _ in range(19):
        assert not isinstance(crash(), ToolDown)
    assert code(run(box, ("broken", {"text": "good"}))[0]) is None
    assert [isinstance(crash(), ToolDown) for _ in range(20)] == [False] * 19 + [True]
    with pytest.raises(ToolDown, match=r"20 times in a row.*no such device"):
        run(box.only(["broken"]), ("broken", {"text": "good"}))


def test_faults_speak_the_names_of_the_view():
    """A renamed tool that complains under its own names would give the hidden ones away."""
    view = Toolbox(["zoom", "mask_out", "find_changes"]).view(3)
    for spec in view.specs:
        own_names = [
            p.name for o in Toolbox(["zoom", "mask_out", "find_changes"]).specs for p in o.params
        ]
        for param in spec.params:
            first = {spec.params[0].name: 1}
            (said,) = run(view, (spec.name, {**first, param.name: {"odd": True}}))
            fault = said.outcomes[0].fault
            assert fault is not None
            assert fault.field is None or fault.field.startswith("arg_"), fault
            quoted = set(re.findall(r"'(\w+)'", f"{fault.message} {fault.hint}"))
            assert not quoted & set(own_names), fault
    (said,) = run(view, (view.specs[1].name, {view.specs[1].params[0].name: 1}))
    assert said.outcomes[0].fault.field == view.specs[1].params[1].name, "boxes, under its new name"
