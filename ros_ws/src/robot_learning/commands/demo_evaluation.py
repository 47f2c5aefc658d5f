"""Scores baselines and model versions of a run on the fixed layouts; every score is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from robot_learning.commands.run_directory import RunDirectory, write_json
from robot_learning.commands.simulated_navigation import (
    baseline_factory,
    stored_policy_factory,
    world_factory,
)
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.contract import RobotContract
from robot_learning.evaluation.evaluation_pool import EvaluationPool
from robot_learning.evaluation.layouts import FIRST_EVALUATION_SEED, evaluation_layouts
from robot_learning.evaluation.navigation import DriveResult, PolicyFactory
from robot_learning.model_store import ModelStore

Array = np.ndarray[Any, Any]


@dataclass
class ScoreBook:
    """Scores of a run by policy name, kept as one JSON file each and reused by reruns."""

    run: RunDirectory
    contract: RobotContract
    num_layouts: int
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)

    def load(self) -> None:
        """Read the scores that were kept and are for the same layouts."""
        for path in sorted(self.run.evaluations.glob('*.json')):
            score = json.loads(path.read_text(encoding='utf-8'))
            if self._is_current(score):
                self.scores[path.stem] = score

    def lacking(self, names: Sequence[str]) -> list[str]:
        """Return those of `names` that have no score yet."""
        return [name for name in names if name not in self.scores]

    def add(self, name: str, score: dict[str, Any]) -> None:
        """Keep a score."""
        content = {
            **score,
            'contract_hash': self.contract.hash,
            'first_seed': FIRST_EVALUATION_SEED,
        }
        write_json(self.run.evaluations / f'{name}.json', content)
        self.scores[name] = json.loads(json.dumps(content, allow_nan=False))

    def rate(self, name: str) -> float | None:
        """Return a success rate, None where there is no score."""
        score = self.scores.get(name)
        return None if score is None else float(score['success_rate'])

    def _is_current(self, score: dict[str, Any]) -> bool:
        return (
            score.get('num_layouts') == self.num_layouts
            and score.get('contract_hash') == self.contract.hash
            and score.get('first_seed') == FIRST_EVALUATION_SEED
        )


def version_name(model: str, version: int) -> str:
    """Return the name under which the score of a model version is kept."""
    return f'{model}_{version:06d}'


def score_baselines(book: ScoreBook, names: Sequence[str], stop: StopRequests) -> None:
    """Score scripted drivers that have no score yet."""
    score(book, {name: baseline_factory(name) for name in book.lacking(names)}, stop)


def score_versions(
    book: ScoreBook, models: Path, model: str, versions: Sequence[int], stop: StopRequests
) -> None:
    """Score model versions that have no score yet."""
    factories = {
        version_name(model, version): stored_policy_factory(book.contract, models, model, version)
        for version in versions
    }
    score(book, {name: factories[name] for name in book.lacking(list(factories))}, stop)


def score(book: ScoreBook, factories: dict[str, PolicyFactory], stop: StopRequests) -> None:
    """Drive each policy through the layouts in two worker processes, showing progress.

    Raises:
        KeyboardInterrupt: somebody asked to stop; finished scores are kept.
    """
    if not factories:
        return
    layouts = evaluation_layouts(book.num_layouts)
    with (
        EvaluationPool(world_factory(book.contract)) as pool,
        EvaluationProgress(list(factories), book.num_layouts) as progress,
    ):
        for name, make_policy in factories.items():

            def on_drive(result: DriveResult, name: str = name) -> None:
                stop.check()
                progress.advance(name, result.success)

            result = pool.evaluate(name, make_policy, layouts, on_drive)
            book.add(name, result.to_dict())
            progress.finish(name, result.success_rate)


def spread(environment_steps: dict[int, int], count: int) -> list[int]:
    """Choose up to `count` versions evenly over environment steps; the last one always.

    Args:
        environment_steps: version -> environment steps behind it.
        count: how many at most.
    """
    versions = sorted(environment_steps, key=lambda version: (environment_steps[version], version))
    if len(versions) <= count:
        return versions
    steps = np.asarray([environment_steps[version] for version in versions])
    targets = np.linspace(steps[0], steps[-1], count)
    chosen = {versions[int(np.abs(steps - target).argmin())] for target in targets}
    return sorted({*chosen, versions[-1]})


def steps_of_versions(models: Path, model: str) -> dict[int, int]:
    """Return version -> environment steps behind it, of versions that nobody refused."""
    store = ModelStore(models)
    steps = {}
    for version in store.versions(model):
        if store.refusal(model, version) is None:
            provenance = store.manifest(model, version).get('provenance', {})
            steps[version] = int(provenance.get('environment_step') or 0)
    return steps


class EvaluationProgress(AbstractContextManager['EvaluationProgress']):
    """A progress bar per policy on a terminal, one line per finished policy elsewhere."""

    def __init__(self, names: Sequence[str], num_layouts: int, console: Console | None = None):
        self._console = console or Console()
        self._successes = dict.fromkeys(names, 0)
        self._progress = Progress(
            TextColumn('{task.description:<20}'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('{task.fields[note]}'),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks = {
            name: self._progress.add_task(name, total=num_layouts, note='', visible=index == 0)
            for index, name in enumerate(names)
        }

    def advance(self, name: str, success: bool) -> None:
        """Count one drive."""
        self._successes[name] += success
        note = f'{self._successes[name]} reached'
        self._progress.update(self._tasks[name], advance=1, note=note, visible=True)

    def finish(self, name: str, rate: float) -> None:
        """Say the result of one policy."""
        if not self._console.is_terminal:
            self._console.print(f'{name}: {100 * rate:.0f} % of the layouts', soft_wrap=True)

    def __enter__(self) -> EvaluationProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
