"""All samplers of ours: imported where one is looked up by name."""

from . import partial as _partial  # noqa: F401
from . import prefix as _prefix  # noqa: F401
from . import rollout_sampler as _rollout_sampler  # noqa: F401
