"""Read logs that `vtool eval export` wrote with inspect_ai's own reader, and say what is in them.

python3 -m venv /tmp/inspect && /tmp/inspect/bin/pip install inspect_ai
/tmp/inspect/bin/python scripts/check_inspect_log.py LOG...
"""

from __future__ import annotations

import sys

from inspect_ai.log import read_eval_log


def main(paths: list[str]) -> int:
    """Whether all of them can be read, and hold what an analysis needs."""
    for path in paths:
        log = read_eval_log(path)
        assert log.status == "success"
        assert log.results is not None
        assert log.samples
        (score,) = log.results.scores
        values = [s.scores["vtool"].as_float() for s in log.samples if s.scores]
        mean = sum(values) / max(1, len(values))
        told = score.metrics["accuracy"].value
        assert abs(mean - told) < 1e-6, (mean, told)
        calls = [
            c for s in log.samples for m in s.messages for c in getattr(m, "tool_calls", None) or ()
        ]
        replies = [m for s in log.samples for m in s.messages if m.role == "tool"]
        assert len(calls) == len(replies)
        count = f"{len(log.samples)} samples, {len(calls)} calls"
        print(f"{path}: {log.eval.task}, {count}, accuracy {told:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
