"""Things out of published packages, fetched as users fetch them, once, into the usual cache."""

import os
from functools import lru_cache

import pytest

from vtool.download import FetchError
from vtool.models import fetch

CI = os.environ.get("CI", "").lower() in ("1", "true")


@lru_cache
def _fetched(name):
    try:
        return fetch(name, seconds=300), ""
    except FetchError as err:
        return None, f"{name} could not be fetched: {err}"


def fetched(name):
    """The folder of a catalogue entry; without it a test is skipped on a desk and fails in CI."""
    folder, said = _fetched(name)
    if folder is None:
        pytest.fail(said, pytrace=False) if CI else pytest.skip(said)
    return folder
