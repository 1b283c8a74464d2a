"""Okapi BM25: how well the words of a text match those of a question."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"  # scripts without spaces: each sign a word
    r"|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)


def words(text: str) -> list[str]:
    """Words of a text, case folded, compatibility forms made plain."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class BM25:
    """An index of texts.

    score(q, d) = sum over words t of q of
    idf(t) * f(t, d) * (k1 + 1) / (f(t, d) + k1 * (1 - b + b * |d| / mean |d|)),
    idf(t) = ln(1 + (N - n(t) + 0.5) / (n(t) + 0.5)).

    Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond",
    2009, equation 3.15; the 1 within the logarithm keeps words that most texts hold from
    counting against them.

    Args:
        texts: The words of each.
        k1: How soon more of the same word stops mattering.
        b: How much long texts are held back, 0 to 1.
    """

    def __init__(self, texts: Sequence[Sequence[str]], k1: float = 1.2, b: float = 0.75) -> None:
        self.k1 = k1
        lengths = np.array([len(t) for t in texts], np.float64)
        mean = lengths.mean() if len(texts) and lengths.sum() else 1.0
        self._hold = k1 * (1 - b + b * lengths / mean)
        found: dict[str, tuple[list[int], list[int]]] = {}
        for i, text in enumerate(texts):
            for word, times in Counter(text).items():
                at, count = found.setdefault(word, ([], []))
                at.append(i)
                count.append(times)
        self._found = {
            w: (np.array(at, np.intp), np.array(count, np.float64))
            for w, (at, count) in found.items()
        }

    def __len__(self) -> int:
        return len(self._hold)

    def scores(self, query: Sequence[str]) -> NDArray[np.float64]:
        """Score of every text, float64 (N,); 0 where no word of the query stands.

        Args:
            query: Its words; one that comes twice counts twice.
        """
        total = np.zeros(len(self))
        for word in query:
            if word in self._found:
                at, times = self._found[word]
                idf = np.log1p((len(self) - len(at) + 0.5) / (len(at) + 0.5))
                total[at] += idf * times * (self.k1 + 1) / (times + self._hold[at])
        return total
