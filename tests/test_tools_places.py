"""Places on every picture that a tool makes lead to the right place of its source, or nowhere."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import Result, check_all, leads_to, made, results
from tool_calls import READY, call, replaced
from tool_samples import WHOLE, filled, smooth

from vtool.geometry import Point, Region, Unmappable
from vtool.transform import Affine


@pytest.mark.parametrize("name", READY)
def test_places_on_a_result_lead_to_what_is_seen_there(name):
    """Paint a mark where a place leads to, run again: the mark is seen at that place."""
    for result in results(name):
        places = [(i / 8, j / 8) for i in range(1, 8) for j in range(1, 8)]
        maps = [lead(result.store, result.handle, *p) for p in places]
        if any(maps) and name not in WHOLE:
            # A mark under a drawn line, or at the border, is not seen; but some must be.
            assert check_all(result) >= 3, f"too few marks were seen on {result.handle}"


def lead(store, handle, x, y):
    """Whether a place leads anywhere; then to something that is in the store."""
    at = store.to_source(Region(handle, Point(x, y)))
    assert isinstance(at, Unmappable) or at.media in store
    return not isinstance(at, Unmappable)


STEPS = {
    "contact_sheet": lambda n: {"images": [n, 2, n], "side": 150},
    "draw_box": lambda n: {"image": n, "boxes": [[700, 700, 950, 950]]},
    "flip": lambda n: {"image": n},
    "grid": lambda n: {"image": n, "columns": 2, "rows": 2},
    "highlight": lambda n: {"image": n, "boxes": [[100, 100, 900, 900]], "dim": 0.3},
    "magnify": lambda n: {"image": n, "factor": 1.7},
    "rotate": lambda n: {"image": n, "degrees": -25},
    "zoom": lambda n: {"image": n, "box": [150, 100, 900, 850]},
    "zoom_many": lambda n: {"image": n, "boxes": [[150, 100, 900, 850]]},
}


def played(steps, change=lambda h, v: v):
    """A chain of calls, each on the result of the one before."""
    pictures = (smooth(200, 150), smooth(90, 120, 1))
    store = replaced(filled(*pictures), change)
    number = 1
    for name in steps:
        outcome = call(name, STEPS[name](number), store).outcomes[0]
        assert outcome.fault is None, outcome.fault
        number = len(store)
    return store, f"image_{number}"


@given(steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=2, max_size=4))
@settings(max_examples=15)
def test_chains_of_tools_lead_back_to_the_first_picture(steps):
    result = Result(*played(steps), lambda change: played_image(steps, change))
    seen = 0
    for x, y in ((0.3, 0.4), (0.5, 0.5), (0.25, 0.6), (0.6, 0.35)):
        seen += leads_to(result, x, y)
    assert seen or "contact_sheet" in steps or "rotate" in steps


def played_image(steps, change):
    store, handle = played(steps, change)
    return store.image(handle)


@pytest.mark.parametrize(
    "wrong", [Affine.identity(), Affine(-1, 0, 1 + 3 / 160, 0, 1, 0), Affine(-1, 0, 1, 0, 0.97, 0)]
)
def test_the_property_catches_a_wrong_way(wrong, monkeypatch):
    monkeypatch.setattr("vtool.vision_tools.flip._MIRRORED", wrong)
    made.cache_clear()
    wrong_one = results("flip")[0]
    made.cache_clear()
    for x, y in ((0.2, 0.8), (0.7, 0.6), (0.4, 0.9)):
        with pytest.raises(AssertionError, match=r"pixels (beside|of the source off)"):
            leads_to(wrong_one, x, y)
