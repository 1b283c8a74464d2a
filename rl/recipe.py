"""Recipes: what a training run is, as frozen data. Everything is named, nothing is code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from vtool.config import build, merged, override, read_yaml
from vtool.environment import Limits
from vtool.errors import RecipeError, nearest
from vtool.families.adapters import AdapterSpec
from vtool.record import Sampling, StopReason

from .alarms import AlarmSettings
from .credit_spec import CreditSpec
from .curriculum import CurriculumSpec
from .curriculum_dress import BudgetSpec
from .group_filter import FilterSpec
from .imitation_buffer import ImitationSpec
from .learner import LearnerSettings
from .other_weightings import OtherSpec
from .pair_spec import PairSpec
from .recipe_about import About
from .recipe_check import check_recipe
from .replay import RescueSpec
from .rewards.presets import preset
from .rollout_sampler import SamplerSpec
from .sample_weight import WeightSpec
from .schedule import ScheduleSpec

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class DataSpec:
    """Where tasks come from: a file of yours, or worlds that are written to disk first.

    Args:
        path: Task file (jsonl) or a folder that holds `tasks.jsonl`.
        world: Name of a world; used where there is no path.
        worlds: Several worlds at once, in the place of one: `{box: {count: 100}, ...}`, with
            options of each; `options` holds for all of them.
        options: Counts and settings of the world, see `vtool data make --help`.
        only: Keep tasks whose tags hold these values.
        ids: File with one task id a line: keep only these (what a `sample` stage writes).
    """

    path: str | None = None
    world: str = "zoom"
    worlds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, Any] = field(default_factory=dict)
    ids: str | None = None


@dataclass(frozen=True)
class EvalSpec:
    """Greedy numbers on held-out tasks while training goes on.

    Args:
        every: Steps between them; 0 for never.
        count: Tasks.
        data: Which tasks.
        tool_names: Seed of random names under which tools are told here; None for the run's.
            From 2**30 on they are none that the curriculum `tool_names` draws in training.
    """

    every: int = 0
    count: int = 64
    tool_names: int | None = None
    data: DataSpec = field(
        default_factory=lambda: DataSpec(options={"seed": 9, "one": 64, "split": "held_out"})
    )


@dataclass(frozen=True)
class RewardSpec:
    """How episodes are scored.

    Args:
        parts: Registered reward parts; one with settings is ``{name: {option: value}}``.
        combine: Registered combine.
        options: Of the combine.
        preset: A hierarchy by the kind of task (vqa, grounding ...) instead of these three.
        others: Other combines of the same parts, by name: the trace tells beside each attempt what
            they would have given. They change nothing.
    """

    parts: tuple[str | dict[str, dict[str, Any]], ...] = (
        "format",
        "answer",
        "evidence_iou",
        "economy",
    )
    combine: str = "hierarchy"
    options: Mapping[str, Any] = field(
        default_factory=lambda: {"process": {"evidence_iou": 1.0, "economy": 1.0}}
    )
    preset: str | None = None
    others: Mapping[str, OtherSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain = {f.name: f for f in fields(self)}
        given = self.options != plain["options"].default_factory()  # type: ignore[misc]
        given |= self.parts != plain["parts"].default or self.combine != plain["combine"].default
        if self.preset is not None and given:
            raise RecipeError(
                f"reward.preset={self.preset} stands for parts, combine and options: leave those "
                "out, or the preset"
            )

    @property
    def resolved(self) -> RewardSpec:
        """The same with the preset's parts, combine and options in place of its name.

        Raises:
            UnknownName: No such preset.
        """
        if self.preset is None:
            return self
        chosen = preset(self.preset)
        return RewardSpec(chosen.parts, "hierarchy", chosen.options, others=self.others)

    @property
    def outcome(self) -> str:
        """The part that says how right an answer is: `accuracy` is its mean."""
        return str(self.resolved.options.get("outcome", "answer"))


@dataclass(frozen=True)
class ReplaySpec:
    """What is learnt from again.

    Args:
        rescue: Stored successes that take an attempt's place where everybody failed; None for
            none. ``{}`` takes the published constants.
        imitation: Attempts that went better than usual, learnt from beside; None for none.
    """

    rescue: RescueSpec | None = None
    imitation: ImitationSpec | None = None


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Args:
        name: What it is called.
        about: What it says of itself.
        kind: ``rl``; ``imitate`` (supervised, from a trace); ``sample`` (play, keep the good
            episodes as a trace and the ids of tasks that were neither always nor never solved);
            ``prefer`` (from pairs, found in a trace); ``tiny`` (the shipped policy, from nothing).
        model: Shipped checkpoint such as ``tiny/weak``, or a local folder.
        data: Tasks.
        trace: For ``imitate`` and ``prefer``: episodes to learn from.
        pairs: For ``prefer``: how attempts become pairs.
        frontier: For ``sample``: whose ids are written down: ``between`` (solved by some attempts
            and not by others) or ``solvable`` (solved by at least one, as ARPO for GUI agents
            filters its tasks).
        trace_least: For ``imitate`` and ``sample``: leave out episodes that scored less; None
            takes all.
        tools: Registered tools on offer.
        tool_names: Seed of random names under which tools are told, for the whole run; None for
            their own names. To draw them anew for each task: the curriculum `tool_names`.
        group_size: Attempts a task.
        prompts: Tasks a step.
        steps: Optimisation steps.
        estimator: Advantage kernel: grpo, dr_grpo, rloo, reinforce_pp_baseline. It is one half of
            a method; the other is `learner.aggregation` (Dr.GRPO as published also wants
            seq-mean-token-sum-norm with a length).
        estimator_options: Of the kernel.
        weight: How much a group counts: ``{name: difficulty}`` is DGRPO (VITAL).
        credit: A blend of credit rules by name, in the place of `estimator`.
        sampler: How the attempts of a group come to be: flat, entropy_branch, tree, partial,
            prefix.
        filter: Which groups a step learns from: dead, accuracy, std, top_std.
        mask: Ways to end (``max_turns``, ``max_tokens``, ``no_action`` ...): an attempt that ended
            so counts in its group's statistics, but nothing is learnt from its tokens (Mini-o3
            masks attempts that ran out of turns instead of punishing them).
        refill: Draw further tasks for groups that the filter refuses, up to so many times the
            prompts of a step; 0 for never (DAPO's dynamic sampling).
        replay: What is learnt from again.
        curriculum: Which tasks come when (stage, difficulty: one of them) and in what dress
            (demo_anneal, tool_stage, tool_names).
        budget: Calls and tokens that an attempt may use, told to it every turn.
        schedules: Numbers of this recipe that change over the run, by their key with dots.
        reward: Scoring.
        sampling: How attempts are drawn.
        limits: Bounds of an episode.
        learner: Optimisation.
        adapter: Train low-rank adapters instead of the weights: `{rank: 16, alpha: 32}`.
        precision: float32; mixed (float32 weights, bfloat16 arithmetic); bfloat16 (weights too:
            only under an adapter, since small updates would be lost in rounding).
        device: Such as cpu or cuda; an accelerator where there is one, if left out.
        clips: What the frames of clips become: ``pictures`` or ``video`` tokens; if left out, as
            the checkpoint's `vtool.json` says.
        reference: Keep the first weights as reference for a KL term.
        max_failed: Share of failed episodes beyond which the run stops.
        eval: Numbers on held-out tasks meanwhile.
        checkpoint_every: Steps between checkpoints.
        keep: Checkpoints kept.
        trace_every: Steps between groups written to the trace; 0 for none.
        tensorboard: Whether to write TensorBoard events beside the metrics file.
        alarms: When to raise an alarm.
        stop_on: Names of alarms that end the run: nan, format_collapse, entropy_collapse,
            tools_unused, dead_groups, mismatch.
        seed: Of everything.
        minutes: For ``tiny``: shrinks every part of it; None takes the full 15.
        threads: Of torch; 1 is fastest for tiny models.
        stages: Recipes to run one after the other, each with what the one before it made
            (weights, trace, task ids); keys that a stage leaves out are taken from this recipe.
    """

    name: str = "run"
    about: About = field(default_factory=About)
    kind: str = "rl"
    model: str = "tiny/weak"
    data: DataSpec = field(default_factory=DataSpec)
    trace: str | None = None
    trace_least: float | None = None
    pairs: PairSpec = field(default_factory=PairSpec)
    frontier: str = "between"
    tools: tuple[str | dict[str, dict[str, Any]], ...] = ("zoom",)
    tool_names: int | None = None
    group_size: int = 8
    prompts: int = 16
    steps: int = 60
    estimator: str = "grpo"
    estimator_options: Mapping[str, Any] = field(default_factory=dict)
    weight: WeightSpec = field(default_factory=WeightSpec)
    credit: CreditSpec = field(default_factory=CreditSpec)
    sampler: SamplerSpec = field(default_factory=SamplerSpec)
    filter: FilterSpec = field(default_factory=FilterSpec)
    mask: tuple[StopReason, ...] = ()
    refill: int = 0
    replay: ReplaySpec = field(default_factory=ReplaySpec)
    curriculum: tuple[CurriculumSpec, ...] = ()
    budget: BudgetSpec | None = None
    schedules: Mapping[str, ScheduleSpec] = field(default_factory=dict)
    reward: RewardSpec = field(default_factory=RewardSpec)
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=80))
    limits: Limits = field(default_factory=lambda: Limits(max_turns=4, max_tokens=1024))
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    adapter: AdapterSpec | None = None
    precision: str = "float32"
    device: str | None = None
    clips: str | None = None
    reference: bool = False
    max_failed: float = 0.5
    eval: EvalSpec = field(default_factory=EvalSpec)
    checkpoint_every: int = 10
    keep: int = 2
    trace_every: int = 20
    tensorboard: bool = True
    alarms: AlarmSettings = field(default_factory=AlarmSettings)
    stop_on: tuple[str, ...] = ()
    seed: int = 0
    minutes: float | None = None
    threads: int = 1
    stages: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_recipe(self)


def load_recipe(name: str | Path, overrides: tuple[str, ...] | list[str] = ()) -> Recipe:
    """A recipe by name (ours) or by path (yours), with `key=value` overrides.

    A file with `extends: NAME` says only what differs from that recipe, key by key as a stage
    does; what a recipe says of itself (`about`) and its stages are not inherited.

    Raises:
        RecipeError: No such recipe (the nearest is named), keys that do not fit, or recipes that
            extend each other in a circle.
    """
    return build(Recipe, override(_body(recipe_path(name)), overrides), f"recipe {name}")


def recipe_body(path: Path) -> dict[str, Any]:
    """What a recipe file says, with what it extends, before it is checked.

    Raises:
        RecipeError: As `load_recipe`.
    """
    return _body(path)


def _body(path: Path, inside: tuple[Path, ...] = ()) -> dict[str, Any]:
    body = read_yaml(path)
    base = body.pop("extends", None)
    if base is None:
        return body
    if path.resolve() in inside:
        raise RecipeError(f"recipe {path} extends itself by way of {base!r}")
    beside = path.parent / f"{base}.yaml"
    own = beside.resolve() == path.resolve()  # a file of yours may be called as what it extends
    found = beside if beside.is_file() and not own else recipe_path(base)
    below = _body(found, (*inside, path.resolve()))
    taken = {key: value for key, value in below.items() if key not in ("about", "stages")}
    return merged(taken, body)


def recipe_path(name: str | Path) -> Path:
    """Where a recipe lies.

    Raises:
        RecipeError: No such file and no shipped recipe of that name.
    """
    path = Path(name)
    if path.is_file():
        return path
    ours = RECIPES / f"{name}.yaml"
    if ours.is_file():
        return ours
    known = recipe_names()
    raise RecipeError(
        f"no recipe {str(name)!r}{nearest(str(name), known)}; shipped: {', '.join(known)}"
    )


def recipe_names() -> list[str]:
    """Shipped recipes."""
    return sorted(p.stem for p in RECIPES.glob("*.yaml"))
