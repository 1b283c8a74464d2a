"""A trial: one method on one ground from one seed, and the recipe that this comes to."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vtool.errors import RecipeError, nearest

from ..recipe import Recipe, load_recipe, recipe_body, recipe_names

HERE = Path(__file__).parent
GROUNDS, VARIANTS = HERE / "grounds", HERE / "variants"
START = "start"
"""The method that learns nothing: what a ground's first weights can do."""
ABLATED = ":ablated"
"""Ends the name of a method that is played without its namesake component."""

OF_METHOD = (
    "estimator",
    "estimator_options",
    "weight",
    "credit",
    "sampler",
    "filter",
    "mask",
    "refill",
    "replay",
    "curriculum",
    "budget",
    "schedules",
    "reward",
    "reference",
)
"""Keys of a recipe that make a method. All others are the ground's: start, questions, tools,
attempts a step, learning rate, limits."""
OF_LEARNER = (
    "loss",
    "replay",
    "inner_epochs",
    "aggregation",
    "aggregation_length",
    "aggregation_average",
)
"""The same among the learner's settings."""


@dataclass(frozen=True, slots=True, order=True)
class Trial:
    """One run of the comparison.

    Args:
        ground: Name of a shipped ground, or a recipe file of yours.
        method: Name of a shipped variant or recipe (with `:ablated`, without the component that
            it is named after), a recipe file of yours, or `start`.
        seed: Of everything that is drawn in training; questions are the same for all seeds.
        tokens: Sampled tokens after which no further step begins.
    """

    ground: str
    method: str
    seed: int
    tokens: int

    @property
    def key(self) -> str:
        """Names it in the results."""
        return f"{name_of(self.ground)}/{name_of(self.method)}/{self.seed}/{self.tokens}"


def trials(
    grounds: Iterable[str], methods: Iterable[str], seeds: Iterable[int], tokens: int
) -> list[Trial]:
    """Every combination; the start is played once a ground, since it draws nothing.

    All methods of a seed come before the next seed, so that a table can be read early. What is
    named twice is played once: a seed that counted twice would pass for two.
    """
    grounds = list(dict.fromkeys(grounds))
    methods, seeds = [m for m in dict.fromkeys(methods) if m != START], list(dict.fromkeys(seeds))
    starts = [Trial(g, START, 0, 0) for g in grounds]
    return starts + [Trial(g, m, s, tokens) for s in seeds for g in grounds for m in methods]


def name_of(what: str) -> str:
    """A file is called by its stem."""
    plain, ablated, _ = what.partition(ABLATED)
    return Path(plain).stem + ablated if plain.endswith(".yaml") else what


def ground_of(name: str) -> Recipe:
    """A ground: a recipe that says where learning happens.

    Raises:
        RecipeError: No such ground, or no recipe.
    """
    path = file_of(name) or GROUNDS / f"{name}.yaml"
    if not path.is_file():
        raise RecipeError(unknown("ground", name, ground_names()))
    return load_recipe(path)


def file_of(name: str) -> Path | None:
    """The recipe file of yours that a name means; None where it means a shipped one.

    Raises:
        RecipeError: It means a file that is not there.
    """
    if not name.endswith(".yaml"):
        return None
    if not Path(name).is_file():
        raise RecipeError(f"there is no file {name} in {Path.cwd()}")
    return Path(name)


def method_of(name: str) -> Recipe:
    """A method: a recipe of which `OF_METHOD` and `OF_LEARNER` count.

    Raises:
        RecipeError: No such method, or `:ablated` of one that names no ablation.
    """
    plain = name.removesuffix(ABLATED)
    path = file_of(plain) or VARIANTS / f"{plain}.yaml"
    if not path.is_file() and plain not in recipe_names():
        raise RecipeError(unknown("method", plain, method_names()))
    where = path if path.is_file() else plain
    recipe = load_recipe(where)
    if recipe.kind != "rl":
        raise RecipeError(f"a method learns by reinforcement; {plain} is of kind {recipe.kind}")
    if plain == name:
        return recipe
    if not recipe.about.ablation:
        raise RecipeError(f"method {plain} names no ablation: leave out {ABLATED!r}")
    return load_recipe(where, recipe.about.ablation)


def recipe_of(trial: Trial) -> Recipe:
    """The ground's recipe with the method's keys.

    Raises:
        RecipeError: One of them is not there, or the two do not go together.
    """
    ground = replace(ground_of(trial.ground), seed=trial.seed, stages=())
    if trial.method == START:
        return ground
    method = method_of(trial.method)
    taken = {key: getattr(method, key) for key in OF_METHOD}
    learner = {key: getattr(method.learner, key) for key in OF_LEARNER}
    return replace(ground, **taken, learner=replace(ground.learner, **learner))


def files_digest(trial: Trial) -> str:
    """Hash of what files of yours make of a trial; none where ground and method are shipped.

    A shipped name means the same for as long as the package does; a file may be changed under the
    name that its results bear.
    """
    names = [name.removesuffix(ABLATED) for name in (trial.ground, trial.method)]
    bodies = [recipe_body(Path(name)) for name in names if name.endswith(".yaml")]
    if not bodies:
        return ""
    text = json.dumps(bodies, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def first_sentence(path: Path) -> str:
    """What a shipped file says of itself in the comment above it."""
    lines = path.read_text(encoding="utf-8").split("\n")
    told = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.lstrip("# ") for line in told).partition(". ")[0].rstrip(".")


def ground_names() -> list[str]:
    """Shipped grounds."""
    return sorted(p.stem for p in GROUNDS.glob("*.yaml"))


def method_names() -> list[str]:
    """What can be named: the start, variants of ours, and every recipe of the kind rl."""
    variants = (p.stem for p in VARIANTS.glob("*.yaml"))
    learning = (n for n in recipe_names() if load_recipe(n).kind == "rl")
    return sorted({START, *variants, *learning})


def unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """The sentence for a name that nothing has."""
    return f"no {kind} {name!r}{nearest(name, known)}; shipped: {', '.join(known)}"
