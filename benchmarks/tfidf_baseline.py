"""TF-IDF and logistic regression: the cheap method that an intent model has to beat.

Words and pairs of neighbours, sublinear counts, L2-normalised rows, multinomial logistic
regression with an L2 penalty, fitted by L-BFGS; the usual choice of scikit-learn's
TfidfVectorizer and LogisticRegression, without depending on it.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from robot_learning.language.tokens import shape_of, tokens
from torch import Tensor
from torch.nn import functional as F

_ITERATIONS = 60


class TfidfRegression:
    """Fitted when made.

    Args:
        texts: lower case.
        labels: one per text.
        penalty: C of scikit-learn: the larger, the less restrained.
    """

    def __init__(self, texts: Sequence[str], labels: Sequence[str], penalty: float = 10.0):
        counts = [Counter(_terms(text)) for text in texts]
        documents = Counter(term for count in counts for term in count)
        self._places = {term: place for place, term in enumerate(documents)}
        self._idf = {
            term: math.log((1 + len(texts)) / (1 + found)) + 1 for term, found in documents.items()
        }
        self.labels = sorted(set(labels))
        numbers = {label: number for number, label in enumerate(self.labels)}
        rows, target = self._rows(counts), torch.tensor([numbers[label] for label in labels])
        self._weight = torch.zeros(len(self._places), len(self.labels), requires_grad=True)
        self._bias = torch.zeros(len(self.labels), requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [self._weight, self._bias], max_iter=_ITERATIONS, line_search_fn='strong_wolfe'
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            fit = F.cross_entropy(rows @ self._weight + self._bias, target, reduction='sum')
            total: Tensor = penalty * fit + 0.5 * self._weight.square().sum()
            total.backward()
            return total

        optimizer.step(loss)

    @torch.no_grad()
    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return the most likely label of each text."""
        scores = self._rows([Counter(_terms(text)) for text in texts]) @ self._weight + self._bias
        return [self.labels[number] for number in scores.argmax(1).tolist()]

    def _rows(self, counts: Sequence[Counter[str]]) -> Tensor:
        places: list[tuple[int, int]] = []
        values: list[float] = []
        for row, count in enumerate(counts):
            known = {
                t: (1 + math.log(n)) * self._idf[t] for t, n in count.items() if t in self._idf
            }
            length = math.sqrt(sum(value**2 for value in known.values())) or 1.0
            places += [(row, self._places[term]) for term in known]
            values += [value / length for value in known.values()]
        index = torch.tensor(places or [(0, 0)]).T
        size = (len(counts), len(self._places))
        return torch.sparse_coo_tensor(
            index, torch.tensor(values or [0.0]), size, check_invariants=True
        ).coalesce()


def _terms(text: str) -> Iterator[str]:
    words = [shape_of(token.text) for token in tokens(text)]
    yield from words
    yield from (f'{first} {second}' for first, second in itertools.pairwise(words))
