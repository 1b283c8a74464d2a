"""Make the golden arrays of the image processor, with the library's torchvision backend.

Needs torchvision, so it runs in a throw-away environment, never in the project's own:

    python -m venv /tmp/tv && /tmp/tv/bin/pip install --no-deps torchvision==0.28.0
    # torch, transformers, numpy and pillow as in constraints/cpu.txt, then
    /tmp/tv/bin/python tests/golden/make_processor.py

For each case it keeps the levels (uint8, one temporal slice) behind the library's floats, and for
each channel the float of each level. Together they are the library's output, exactly; that is
asserted here before anything is written.
"""

import json
import platform
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "support"))

import torchvision_shim  # noqa: E402

torchvision_shim.install()

import PIL  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
import transformers  # noqa: E402
from pictures import textured  # noqa: E402
from transformers.models.qwen2_vl.image_processing_qwen2_vl import (  # noqa: E402
    Qwen2VLImageProcessor,
)

CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
HALF = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
FAMILIES = {"qwen25_vl": (14, *CLIP), "qwen3_vl": (16, *HALF)}
CASES = {
    "up": ((40, 30), 12_544, 50_176),
    "down": ((333, 217), 1_024, 7_500),
    "odd": ((101, 67), 1_024, 50_176),
    "wide": ((400, 30), 1_024, 7_500),
    "tall": ((23, 180), 1_024, 50_176),
    "same": (None, 1_024, 50_176),
}
"""Name: (size or None for one that needs no resize, min_pixels, max_pixels)."""


def run(family, size, low, high, seed):
    patch, mean, std = FAMILIES[family]
    processor = Qwen2VLImageProcessor(
        patch_size=patch,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": low, "longest_edge": high},
        image_mean=mean,
        image_std=std,
    )
    picture = PIL.Image.fromarray(textured(*size, seed))
    out = processor(images=[picture], return_tensors="pt")
    return out["pixel_values"].numpy(), out["image_grid_thw"][0].tolist(), patch, mean, std


def levels_and_table(values, patch, mean, std):
    """The levels behind the floats, and the float of each level and channel."""
    frames = values.reshape(len(values), 3, 2, patch * patch)
    assert (frames[:, :, 0] == frames[:, :, 1]).all()
    slices = frames[:, :, 0]
    scale = np.array(std)[None, :, None] * 255
    shift = np.array(mean)[None, :, None] * 255
    levels = np.rint(slices * scale + shift).astype(np.uint8)
    table = np.full((3, 256), np.nan, np.float32)
    for channel in range(3):
        table[channel, levels[:, channel].ravel()] = slices[:, channel].ravel()
        assert (table[channel][levels[:, channel]] == slices[:, channel]).all()
    return levels.reshape(len(levels), -1), table


def main():
    arrays, cases = {}, {}
    for seed, (name, (size, low, high)) in enumerate(CASES.items()):
        for family, (patch, *_) in FAMILIES.items():
            shape = size or (patch * 8, patch * 6)
            values, grid, *rest = run(family, shape, low, high, seed)
            key = f"{family}.{name}"
            arrays[f"{key}.levels"], arrays[f"{key}.table"] = levels_and_table(values, *rest)
            cases[key] = {
                "family": family,
                "size": shape,
                "seed": seed,
                "min_pixels": low,
                "max_pixels": high,
                "grid": grid,
            }
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "torchvision_ops": torchvision_shim.state(),
        "transformers": transformers.__version__,
        "pillow": PIL.__version__,
        "numpy": np.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    np.savez_compressed(HERE / "processor_levels.npz", **arrays)
    body = {"made_by": "tests/golden/make_processor.py", "versions": versions, "cases": cases}
    (HERE / "processor_cases.json").write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
