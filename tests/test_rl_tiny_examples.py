"""A policy that does as examples do: its experts, its prompts, its build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtool.rl.tiny.examples_build import (
    NOW,
    after_examples,
    at_once,
    build,
    demonstrations,
    episodes,
    looking,
    played,
    questions,
)

from vtool.task import Task


@pytest.fixture(scope="module")
def asked() -> list[Task]:
    return questions(8, 3)


def test_one_expert_looks_at_digits_and_the_other_at_nothing(asked: list[Task]) -> None:
    looked, guessed = played(asked, looking), played(asked, at_once)
    digits = [str(t.prompt[-1]).startswith("what digit") for t in asked]
    assert sum(digits) == 6
    for digit, a, b in zip(digits, looked, guessed, strict=True):
        assert len(a.actions()) == 1 + digit
        assert len(b.actions()) == 1
    right = [t.reference.texts[0] == e.answer for t, e in zip(asked, looked, strict=True)]  # type: ignore[union-attr]
    assert all(right)


def test_experts_read_the_question_behind_the_examples(asked: list[Task]) -> None:
    told = demonstrations(5, 8)
    task = next(t for t in asked if str(t.prompt[-1]).startswith("what digit"))
    rng = np.random.default_rng(0)
    for shown in told.values():
        dressed = after_examples(task, shown, rng, 3)
        words = "".join(p for p in dressed.prompt if isinstance(p, str))
        assert words.count("Example ") == 3
        assert words.endswith(NOW + str(task.prompt[-1]))
        assert [e.answer for e in played([dressed], looking)] == [
            e.answer for e in played([task], looking)
        ]


def test_examples_differ_by_what_they_do() -> None:
    told = demonstrations(5, 8)
    calls = {k: sum(len(e.actions()) - 1 for e in rows) for k, rows in told.items()}
    assert calls == {"looking": 6, "at once": 0}


def test_episodes_are_a_mix_and_the_same_for_a_seed() -> None:
    made = episodes(24, 0)
    prompts = ["".join(m.text for m in e.final.messages()[:1]) for e in made]
    assert 4 < sum("Example 1" in p for p in prompts) < 24
    again = episodes(24, 0)
    assert [e.answer for e in made] == [e.answer for e in again]


def test_it_is_built_measured_and_told(tmp_path: Path) -> None:
    log: list[dict[str, Any]] = []
    found = build(tmp_path, minutes=0.02, count=4, log=log.append)
    assert set(found) == {"looking", "at once", "none"}
    assert all(0 <= row["accuracy"] <= 1 for row in found.values())
    card = (tmp_path / "examples" / "README.md").read_text(encoding="utf-8")
    assert "| answer at once |" in card
    assert len(log) > 3
