"""Visitors of a studio by program, and policies that tests can steer."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from pathlib import Path

from gradio_client import Client, handle_file
from vtool.demos.studio import app
from vtool.demos.studio.options import Options
from vtool.demos.studio.policies import Cast, Policies
from vtool.demos.studio.script import script_seat, words_seat

EVIL = (
    '<img src=x onerror="window.__evil=1"><script>window.__evil=1</script>'
    '![beacon](http://evil.invalid/b.png)<link rel=stylesheet href="http://evil.invalid/c.css">'
    '<svg/onload=window.__evil=1>"\'><iframe src="javascript:window.__evil=1"></iframe>'
    "<a href='javascript:window.__evil=1'>x</a>[x](javascript:alert(1))"
)
"""What a model, a picture's text or a file's name may hold."""


def made():
    """Policies beside the shipped ones: one that takes its time, one that writes markup."""
    evil = [f"{EVIL}\n<answer>{EVIL}</answer>"] * 50
    return {
        "slow": lambda: Cast("slow", script_seat(seconds=8.0), "scripted"),
        "evil": lambda: Cast("evil", words_seat(evil), "scripted"),
    }


@contextlib.contextmanager
def studio(runs: Path, **options):
    """A running studio: its address and what stands behind it."""
    household = app.make_studio(Options(runs=runs, port=0, **options), Policies(made=made()))
    page = app.build(household)
    address = app.launch(page, household.options, wait=False)
    try:
        yield address, household
    finally:
        page.close(verbose=False)
        household.sessions.close()


def client(address, **options):
    """Somebody who asks by program."""
    return Client(address, verbose=False, download_files=False, **options)


def asked(visitor, picture, question, model="tiny/clean", tools=("zoom",)):
    """The facts of an answer, and everything that came back."""
    file = handle_file(str(picture)) if picture else None
    out = visitor.predict(file, question, model, list(tools), 0, 0, api_name="/ask")
    return facts(out), out


def facts(out):
    """The plain values among what came back."""
    return next(o for o in out if isinstance(o, dict) and ("steps" in o or "error" in o))


def words(html):
    """What is to be read in markup."""
    return re.sub(r"<[^>]*>", " ", html if isinstance(html, str) else html["value"])


def until(true, seconds=10.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.05)


def later(call):
    """Call in a thread; gives a list that holds the result once it is there."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    return thread, found
