"""Make the golden arrays of SAM 2's pre- and post-processing, with the library's own processor.

That processor exists only where torchvision does, so this runs in a throw-away environment, set
up as `make_processor.py` says, never in the project's own:

    /tmp/tv/bin/python tests/golden/make_sam2_processor.py

For each case: the pixels, points and boxes that reach the model, and the mask made of its logits.
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
from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor  # noqa: E402
from transformers.models.sam2.processing_sam2 import Sam2Processor  # noqa: E402

SIDE = 32
BOX = (0.25, 0.125, 0.75, 0.5)
POINTS = ((0.3, 0.7), (0.9, 0.05))
"""Shares of the sides; the second point lies off the thing."""
SIZES = {"wide": (96, 64), "tall": (47, 140), "small": (20, 13), "same": (32, 32)}


def main():
    image_processor = Sam2ImageProcessor(size={"height": SIDE, "width": SIDE})
    processor = Sam2Processor(image_processor)
    arrays = {}
    for seed, (name, (width, height)) in enumerate(SIZES.items()):
        given = processor(
            images=PIL.Image.fromarray(textured(width, height, seed)),
            input_points=[[[[x * width, y * height] for x, y in POINTS]]],
            input_labels=[[[1, 0]]],
            input_boxes=[[[v * s for v, s in zip(BOX, (width, height) * 2, strict=True)]]],
            return_tensors="pt",
        )
        logits = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        masks = processor.post_process_masks(logits[None], given["original_sizes"])
        for key in ("pixel_values", "input_points", "input_boxes"):
            arrays[f"{name}.{key}"] = given[key].numpy().astype(np.float32)
        arrays[f"{name}.logits"] = logits.numpy()
        arrays[f"{name}.mask"] = masks[0][0, 0].numpy()
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "torchvision_ops": torchvision_shim.state(),
        "transformers": transformers.__version__,
        "pillow": PIL.__version__,
        "numpy": np.__version__,
    }
    np.savez_compressed(HERE / "sam2_processor.npz", **arrays)
    body = {
        "made_by": "tests/golden/make_sam2_processor.py",
        "versions": versions,
        "side": SIDE,
        "box": BOX,
        "points": POINTS,
        "mean": image_processor.image_mean,
        "std": image_processor.image_std,
        "sizes": SIZES,
    }
    (HERE / "sam2_processor.json").write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
