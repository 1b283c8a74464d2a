"""What a recipe says of itself: whose method it is, of what it is made, how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .recipe import Recipe


class Certainty(StrEnum):
    """How well we know what a recipe is named after."""

    CODE = "code"
    """Its constants were read in released code."""
    PAPER = "paper"
    """They were read in the paper."""
    ABSTRACT = "abstract"
    """Only the idea is known; every constant is ours."""
    OURS = "ours"
    """It is named after nobody."""


class Shown(StrEnum):
    """Where taking the component out shows."""

    EPISODES = "episodes"
    """In the gradient of the very same episodes."""
    PLAY = "play"
    """In what is played: tasks, their dress, or who goes on from where."""


@dataclass(frozen=True)
class About:
    """What a recipe says of itself.

    Args:
        title: The system or method.
        source: Where it is told: paper, and where there is one its arXiv number.
        components: What it is made of, in words.
        certainty: How well its constants are known.
        uncertain: Keys of this recipe whose values were not to be found: they are ours.
        published: Sizes of the original; these recipes keep those that suit the tiny policy.
        missing: Parts of the original that are not here.
        ablation: `key=value` changes that take its namesake component out.
        shown: Where that shows.
    """

    title: str = ""
    source: str = ""
    components: tuple[str, ...] = ()
    certainty: Certainty = Certainty.OURS
    uncertain: tuple[str, ...] = ()
    published: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    ablation: tuple[str, ...] = ()
    shown: Shown = Shown.EPISODES


def row_of(name: str, recipe: Recipe) -> dict[str, Any]:
    """One line of `vtool recipes --json`."""
    about = recipe.about
    kinds = [str(stage.get("kind", recipe.kind)) for stage in recipe.stages] or [recipe.kind]
    return {
        "name": name,
        "title": about.title,
        "source": about.source,
        "kind": " > ".join(kinds),
        "model": recipe.model,
        "tools": [tool if isinstance(tool, str) else next(iter(tool)) for tool in recipe.tools],
        "components": list(about.components),
        "certainty": str(about.certainty),
        "uncertain": list(about.uncertain),
        "published": dict(about.published),
        "missing": list(about.missing),
        "ablation": list(about.ablation),
    }
