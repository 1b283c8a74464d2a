"""What a training run holds in memory, by arithmetic: weights, optimiser, activations, caches.

Counted are the tensors that autograd keeps, as the library's layers of this version make them;
tests compare the counts with what is really kept on small models.
"""

from __future__ import annotations

from dataclasses import dataclass

from .recipe import Recipe
from .shapes import Shape

FLOAT, HALF = 4, 2
CHUNK = 1024
"""Rows of logits that the policy holds at once."""
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of a run at its fullest.

    Args:
        weights: Of the policy, adapters included.
        reference: Of a second model for a KL term.
        gradients: Of what is trained.
        optimizer: AdamW's two moments, in float32.
        casts: Weights in bfloat16 that mixed precision makes of float32 ones.
        activations: Kept for the backward pass of one micro-batch.
        logits: Of one chunk, forward and backward.
        rollout_cache: Keys and values of all attempts of a step, if they were played at once.
    """

    weights: int
    reference: int
    gradients: int
    optimizer: int
    casts: int
    activations: int
    logits: int
    rollout_cache: int

    @property
    def learning(self) -> int:
        """While weights are changed; caches are empty then."""
        state = self.weights + self.reference + self.gradients + self.optimizer
        return state + self.casts + self.activations + self.logits

    @property
    def playing(self) -> int:
        """While attempts are made; there are neither gradients nor activations then."""
        return self.weights + self.reference + self.optimizer + self.casts + self.rollout_cache

    def rows(self) -> dict[str, float]:
        """The table, in GiB."""
        names = (*self.__dataclass_fields__, "learning", "playing")
        return {f"{name}_gib": round(getattr(self, name) / GIB, 4) for name in names}


def estimate(shape: Shape, recipe: Recipe, tokens: int, patches: int = 0) -> Footprint:
    """Memory of a run.

    Args:
        shape: Of the model.
        recipe: Precision, adapter, freezing, checkpointing, attempts a step.
        tokens: Of a micro-batch.
        patches: Of its pictures.
    """
    unit = HALF if recipe.precision == "bfloat16" else FLOAT
    low_rank = adapter_parameters(shape, recipe)
    trained = low_rank or trainable(shape, recipe)
    whole = shape.parameters * unit
    kept = HALF if recipe.precision != "float32" else FLOAT
    attempts = recipe.prompts * recipe.group_size
    own_reference = recipe.reference and recipe.adapter is None
    return Footprint(
        weights=whole + low_rank * FLOAT,
        reference=whole if own_reference else 0,
        gradients=trained * FLOAT,
        optimizer=2 * trained * FLOAT,
        casts=cast_bytes(shape, recipe),
        activations=text_activations(shape, recipe, tokens)
        + vision_activations(shape, recipe, patches, kept),
        logits=2 * CHUNK * shape.vocab * FLOAT,
        rollout_cache=attempts
        * recipe.limits.max_tokens
        * 2
        * shape.layers
        * shape.kv_heads
        * shape.head_dim
        * unit,
    )


def trainable(shape: Shape, recipe: Recipe) -> int:
    """Weights that learn where there is no adapter."""
    frozen = recipe.learner.freeze
    language = 0 if "language" in frozen else shape.language
    return language + (0 if "vision" in frozen else shape.vision)


def adapter_parameters(shape: Shape, recipe: Recipe) -> int:
    """Numbers of the adapters; 0 where there are none."""
    spec = recipe.adapter
    if spec is None:
        return 0
    inner, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    ends = {
        "q_proj": shape.hidden + inner,
        "k_proj": shape.hidden + narrow,
        "v_proj": shape.hidden + narrow,
        "o_proj": inner + shape.hidden,
        "gate_proj": shape.hidden + shape.intermediate,
        "up_proj": shape.hidden + shape.intermediate,
        "down_proj": shape.intermediate + shape.hidden,
    }
    count = spec.rank * shape.layers * sum(ends[name] for name in spec.targets)
    if spec.vision:
        c, i = shape.vision_hidden, shape.vision_intermediate
        block = (c + 3 * c) + (c + c) + (3 if shape.vision_gated else 2) * (c + i)
        count += spec.rank * shape.vision_layers * block
    return count


@dataclass(frozen=True, slots=True)
class _Kept:
    """Rows a token that one decoder layer keeps, by their width and the bytes of a number."""

    hidden: tuple[int, int]
    """Of the model's width, (float32, bfloat16)."""
    inner: tuple[int, int]
    """Of the MLP's width."""
    heads: tuple[int, int]
    """Of all queries, and as many of all keys."""
    normed: tuple[int, int]
    """Further ones where queries and keys are normalised."""


_KEPT = {
    ("float32", False): _Kept((6, 0), (4, 0), (2, 0), (2, 0)),
    ("float32", True): _Kept((4, 0), (4, 0), (2, 0), (1, 0)),
    ("mixed", False): _Kept((4, 5), (0, 4), (0, 2), (1, 1)),
    ("mixed", True): _Kept((2, 5), (0, 4), (0, 2), (1, 1)),
    # Every adapter reads its input in float32, a copy each.
    ("bfloat16", True): _Kept((7, 0), (1, 3), (1, 2), (1, 0)),
}
"""By precision and whether adapters learn: counted in transformers 5.19 with peft 0.21."""


def text_activations(shape: Shape, recipe: Recipe, tokens: int) -> int:
    """Bytes that the language model keeps for the backward pass."""
    layer = layer_bytes(shape, recipe)
    if not recipe.learner.checkpointing:
        return tokens * shape.layers * layer
    # The input of each layer, and one layer whole while it is computed again.
    unit = HALF if recipe.precision == "bfloat16" else FLOAT
    return tokens * (shape.layers * shape.hidden * unit + layer)


def layer_bytes(shape: Shape, recipe: Recipe) -> int:
    """Bytes a token that one decoder layer keeps."""
    spec = recipe.adapter
    rows = _KEPT[recipe.precision, spec is not None]
    heads = (shape.heads + shape.kv_heads) * shape.head_dim
    total = shape.hidden * _bytes(rows.hidden) + shape.intermediate * _bytes(rows.inner)
    total += heads * (_bytes(rows.heads) + (_bytes(rows.normed) if shape.head_norm else 0))
    if spec is not None:
        total += spec.rank * len(spec.targets) * FLOAT
    return total


def cast_bytes(shape: Shape, recipe: Recipe) -> int:
    """Bytes of the linear weights in bfloat16 that autocast makes and holds."""
    if recipe.precision != "mixed":
        return 0
    return HALF * (shape.language - shape.vocab * shape.hidden * (1 if shape.tied else 2))


def _bytes(rows: tuple[int, int]) -> int:
    return rows[0] * FLOAT + rows[1] * HALF


def vision_activations(shape: Shape, recipe: Recipe, patches: int, unit: int) -> int:
    """Bytes that the vision tower keeps; none where nothing in it learns."""
    adapters = recipe.adapter is not None
    learns = recipe.adapter.vision if adapters else True  # type: ignore[union-attr]
    if not learns or "vision" in recipe.learner.freeze:
        return 0
    c, i = shape.vision_hidden, shape.vision_intermediate
    block = (13 * c + 4 * i) if shape.vision_gated else (10 * c + 2 * i)
    if recipe.learner.checkpointing:
        return patches * (shape.vision_layers * c + block) * unit
    return patches * shape.vision_layers * block * unit


def train_flops(shape: Shape, recipe: Recipe, tokens: int) -> float:
    """Floating point operations of a step's learning, by the parameters that a token meets.

    Two a parameter forward, two for the gradients of inputs, two for those of weights, and
    another two where layers are computed again. Attention scores are left out.

    Source: Kaplan et al., arXiv 2001.08361, table 1.
    """
    met = shape.language - (0 if shape.tied else shape.vocab * shape.hidden)
    passes = 4 if recipe.adapter is not None else 6
    if recipe.learner.checkpointing:
        passes += 2
    return float(passes * met * tokens * recipe.learner.inner_epochs)
