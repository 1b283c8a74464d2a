"""Pictures made by integer arithmetic alone, so that goldens do not hang on a random generator."""

import numpy as np


def textured(width, height, seed=0):
    """Gradients, sharp bars and grain, uint8 (height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width].astype(np.uint64)
    seed = np.uint64(seed + 1)
    grain = (x * np.uint64(2654435761) + y * np.uint64(40503) * seed) >> np.uint64(11)
    bars = ((x // np.uint64(7) + y // np.uint64(5)) % np.uint64(3)) * np.uint64(60)
    planes = [
        (x * np.uint64(3) + seed * np.uint64(31) + bars) % np.uint64(256),
        (y * np.uint64(2) + bars + grain % np.uint64(24)) % np.uint64(256),
        (x + y * seed + grain % np.uint64(48)) % np.uint64(256),
    ]
    return np.stack(planes, axis=-1).astype(np.uint8)
