"""A scripted policy whose engine tells how unsure it was, for tests of samplers."""

import math

from scripts import answer_text, completion, picture, plain_renderer, zoom_text
from vtool.vision_tools.zoom import zoom

from vtool.environment import Limits, ToolEnvironment
from vtool.record import Finish, Sampling
from vtool.seat import Seat
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox

RENDERER = plain_renderer()
VOCAB = 100
TASK = Task(id="t", prompt=(picture(), "digit?"), reference=Answer(("7",)))


class Unsure:
    """Says what a function of the request's key says, and how unsure it is of each token.

    Args:
        script: Text by key: (..., attempt, context, draw).
        nats: Entropy of every token by key, at most log 2; 0 by default.
    """

    version = 0

    def __init__(self, script, nats=lambda key: 0.0):
        self.script, self.nats, self.keys = script, nats, []

    async def generate(self, request):
        self.keys.append(request.key)
        text = self.script(request.key)
        if isinstance(text, Exception):
            raise text
        got = completion(RENDERER, text, seed=sum(request.key))
        keep = slice(request.skip, request.skip + request.sampling.max_tokens)
        cut = request.skip + request.sampling.max_tokens < len(got.ids)
        count = len(got.ids[keep])
        top = (two_ways(self.nats(request.key)),) * count if request.sampling.record_top else ()
        return type(got)(
            ids=got.ids[keep],
            logprobs=got.logprobs[keep],
            finish=Finish.LENGTH if cut else got.finish,
            version=self.version,
            top=top,
        )


def two_ways(nats):
    """Two alternatives whose entropy is so many nats (0 to log 2)."""
    low, high = 0.0, 0.5
    for _ in range(60):
        p = (low + high) / 2
        h = -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)
        low, high = (p, high) if h < nats else (low, p)
    p = min(max(p, 1e-300), 1 - 1e-16)
    return ((0, math.log1p(-p)), (1, math.log(p)))


def seats(engine, **sampling):
    return {"policy": Seat("policy", RENDERER, engine, Sampling(**sampling))}


def maker(task=TASK, **limits):
    box = Toolbox([zoom])
    return lambda attempt: ToolEnvironment(task, box, Limits(**limits), attempt)


def looks(count):
    """Zooms so many times, then answers; a branch goes on counting its own draws."""
    return lambda key: zoom_text() if key[-1] < count else answer_text()


def own_ids(episode):
    """Ids of each context of an episode."""
    return [c.ids().tolist() for c in episode.contexts]
