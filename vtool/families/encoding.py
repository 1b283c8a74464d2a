"""From patches to features: every picture through the vision tower once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vtool.errors import RecordError
from vtool.families.base import Patches, PixelSpec
from vtool.families.pixels import normalise, normalise_slice, tensor
from vtool.families.tower import walk


@dataclass(frozen=True, slots=True, eq=False)
class VisionBatch:
    """Features of some pictures, each encoded once."""

    embeds: Tensor
    """(T, H): what stands in for placeholder tokens."""
    deepstack: tuple[Tensor, ...]
    """One (T, H) tensor per early language layer that takes one; empty for qwen25_vl."""
    offsets: tuple[int, ...]
    """Rows of picture i are ``offsets[i]`` up to ``offsets[i + 1]``."""

    def rows(self, pictures: Sequence[int]) -> Tensor:
        """Row numbers of these pictures, in that order; a picture may come several times."""
        parts = [torch.arange(self.offsets[i], self.offsets[i + 1]) for i in pictures]
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.long)

    def detach(self) -> VisionBatch:
        """The same features, cut from the graph."""
        deep = tuple(d.detach() for d in self.deepstack)
        return VisionBatch(self.embeds.detach(), deep, self.offsets)


def encode_pictures(visual: nn.Module, patches: Sequence[Patches], spec: PixelSpec) -> VisionBatch:
    """Features of pictures, all in one call.

    The tower is walked by `tower.walk`, or by the library where its layers are to be recomputed
    in the backward pass, which they themselves know how to do.

    Args:
        visual: The library's vision model.
        patches: At least one picture.
        spec: Geometry and normalisation that the patches were cut for.

    Raises:
        RecordError: A picture's rows do not match its grid, or its patches another family's.
    """
    for number, picture in enumerate(patches):
        check_patches(number, picture, spec)
    counts = [picture.tokens(spec.merge) for picture in patches]
    offsets = (0, *torch.tensor(counts).cumsum(0).tolist())
    # Rows of stills and of clips differ in width: a call of the tower takes one kind.
    kinds = dict.fromkeys(p.data.shape[1] for p in patches)
    if len(kinds) == 1:
        return VisionBatch(*_encode(visual, patches, spec), offsets)
    parts, order = [], []
    for width in kinds:
        chosen = [i for i, p in enumerate(patches) if p.data.shape[1] == width]
        parts.append(_encode(visual, [patches[i] for i in chosen], spec))
        order += [torch.arange(offsets[i], offsets[i + 1]) for i in chosen]
    place = torch.cat(order).argsort().to(parts[0][0].device)
    deep = zip(*(d for _, d in parts), strict=True)
    embeds = torch.cat([e for e, _ in parts])[place]
    return VisionBatch(embeds, tuple(torch.cat(d)[place] for d in deep), offsets)


def _encode(
    visual: nn.Module, patches: Sequence[Patches], spec: PixelSpec
) -> tuple[Tensor, tuple[Tensor, ...]]:
    device = next(visual.parameters()).device
    raw = torch.cat([tensor(picture.data) for picture in patches]).to(device)
    grids = [picture.grid for picture in patches]
    if visual.training and getattr(visual, "gradient_checkpointing", False):
        return encode_by_library(visual, normalise(raw, spec), grids)
    frames = [(h, w) for t, h, w in grids for _ in range(t)]
    # One slice and summed kernels save half of the embedding; in half precision the sum itself
    # would be rounded.
    exact = visual.patch_embed.proj.weight.dtype == torch.float32
    values = normalise_slice(raw, spec) if exact else normalise(raw, spec)
    return walk(visual, values, frames)


def encode_by_library(
    visual: nn.Module, values: Tensor, grids: Sequence[tuple[int, int, int]]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Features by the library's own forward, from patches with all temporal slices."""
    out = visual(
        values.to(next(visual.parameters()).dtype),
        grid_thw=torch.tensor(grids, device=values.device),
        return_dict=True,
    )
    return out.pooler_output, tuple(getattr(out, "deepstack_features", None) or ())


def check_patches(number: int, picture: Patches, spec: PixelSpec) -> None:
    """Refuse patches that contradict themselves or the family.

    Raises:
        RecordError: They do.
    """
    t, h, w = picture.grid
    still = (t * h * w, 3 * spec.patch * spec.patch)
    clip = (still[0], still[1] * spec.temporal)
    if picture.data.shape not in (still, clip):
        raise RecordError(
            f"picture {number}: grid {picture.grid} needs patches of shape {still}, or {clip} of a "
            f"clip, not {picture.data.shape}"
        )
    if h % spec.merge or w % spec.merge or min(picture.grid) < 1:
        raise RecordError(
            f"picture {number}: grid {picture.grid} does not divide into blocks of {spec.merge}"
        )


def check_rows(visual_mask: Tensor, vision: VisionBatch | None, rows: Tensor | None) -> Tensor:
    """Refuse placeholders without features and features without placeholders.

    Returns:
        The feature row of every placeholder.

    Raises:
        RecordError: Counts differ, or a row does not exist.
    """
    total = 0 if vision is None else len(vision.embeds)
    if rows is None:
        rows = torch.arange(total)
    wanted = int(visual_mask.sum())
    if wanted != len(rows):
        raise RecordError(
            f"{wanted} placeholder tokens but {len(rows)} feature rows: the pictures passed are "
            "not those that the ids show"
        )
    if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= total):
        raise RecordError(f"feature rows run from 0 to {total - 1}, but {int(rows.max())} is asked")
    return rows
