"""The part of `evaluate` that measures NSCA: its evaluations and the linear probe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table

from robot_learning import durable_files
from robot_learning.commands.report_output import console, print_line
from robot_learning.errors import ConfigError, DataError, NotEnoughDataError
from robot_learning.evaluation import nsca_suites
from robot_learning.evaluation.nsca_drawings import drawn
from robot_learning.evaluation.nsca_features import sequences_of
from robot_learning.evaluation.nsca_names import SUITES
from robot_learning.evaluation.nsca_outcomes import outcome_lines
from robot_learning.evaluation.nsca_suites import Line
from robot_learning.models.nsca.published import Published, load_published
from robot_learning.trajectory.paired_data import PairedSet
from robot_learning.trajectory.paired_sources import open_paired

if TYPE_CHECKING:
    from robot_learning.commands.own_loops import Version

_HORIZON = 10
_SEED = 0
_SEQUENCES = ('dynamics', 'properties', 'causal', 'outcomes')  # Need a version of phase full.


def evaluate_nsca(version: Version) -> dict[str, Any]:
    """Print every figure that applies, with chance and cheap features beside, and return them.

    Args:
        version: of phase vision, audio, fusion or full; `options.suite` names a suite or 'all'.

    Raises:
        ConfigError: no data are named, or the suite does not apply.
        DataError: the data cannot be read, or lack a sense.
        ModelRefusedError: the version is none of these.
    """
    published = load_published(version.tensors, version.manifest, version.where)
    paths = version.data('an NSCA model')
    if len(paths) > 1:
        raise ConfigError(
            f'--data: found {len(paths)}, expected one for --mode nsca. Measure them one by one.'
        )
    text = str(paths[0])
    paired = open_paired(
        text if text.startswith('hf:') else Path(text),
        image_size=published.config.image_size,
        window=published.config.temporal_length,
    )
    print_line(paired.report.text())
    suite = getattr(version.options, 'suite', 'all')
    evaluation = _Evaluation(published, paired)
    lines = evaluation.run(SUITES if suite == 'all' else (suite,), is_lenient=suite == 'all')
    _print(lines, version.where)
    pictures = evaluation.draw(version.pictures) if version.pictures is not None else []
    return {
        'data': paired.report.to_dict(),
        'senses': list(published.senses),
        'figures': [
            {
                'suite': line.suite,
                'what': line.what,
                'features': line.features,
                **line.score.to_dict(),
            }
            for line in lines
        ],
        'left_out': evaluation.left_out,
        'pictures': [str(path) for path in pictures],
    }


class _Evaluation:
    """One version on one set of data; what does not apply is noted."""

    def __init__(self, published: Published, paired: PairedSet):
        self._published, self._paired = published, paired
        self.left_out: dict[str, str] = {}
        splits = paired.split_names
        self._train = paired.split('train') if 'train' in splits and len(splits) > 1 else None
        self._held_out = paired.split('val') if 'val' in splits else paired
        of_both = [name in ('train', 'val') for name in nsca_suites.splits_of(paired)]
        self._both = paired
        if self._train is not None and 'val' in splits:
            self._both = paired.subset(np.flatnonzero(of_both).tolist())

    def run(self, suites: Sequence[str], is_lenient: bool) -> list[Line]:
        """Measure; where lenient, what does not apply is left out, else it is an error."""
        lines: list[Line] = []
        for suite in suites:
            try:
                lines += self._suite(suite)
            except (DataError, NotEnoughDataError, ConfigError) as error:
                if not is_lenient:
                    raise
                self.left_out[suite] = str(error)
        for suite, why in self.left_out.items():
            print_line(f'left out: {suite}: {why}')
        if not lines:
            raise DataError(
                f'{self._paired.report.where}: nothing can be measured on it: '
                f'{"; ".join(self.left_out.values())}'
            )
        return lines

    def _suite(self, suite: str) -> list[Line]:
        published = self._published
        if suite in _SEQUENCES:
            return self._sequences(suite)
        both = {'image', 'sound'} <= set(self._paired.modalities)
        if suite == 'retrieval' or (suite == 'zero_shot' and published.has_states and both):
            if not published.has_states:
                raise ConfigError(
                    f'{suite}: {published.where} is of {published.kind}, expected nsca_fusion or '
                    f'nsca_full. Name another version.'
                )
            measure = (
                nsca_suites.zero_shot_lines
                if suite == 'zero_shot'
                else nsca_suites.retrieval_lines
            )
            return list(measure(published, self._held_out, self._train))
        return list(nsca_suites.representation_lines(published, self._both, suite, _SEED))

    def _sequences(self, suite: str) -> list[Line]:
        published, held_out = self._published, self._held_out
        if published.kind != 'nsca_full':
            raise ConfigError(
                f'{suite}: {published.where} is of {published.kind}, expected nsca_full. Name '
                f'another version.'
            )
        if suite == 'dynamics':
            sequences = sequences_of(published, held_out)
            return nsca_suites.dynamics(published, sequences, _HORIZON, _SEED).lines
        if suite == 'outcomes':
            sequences = sequences_of(published, held_out.require('outcome'))
            return list(outcome_lines(published, sequences, held_out, _HORIZON, _SEED))
        if suite == 'causal' and 'interventions' in self._paired.split_names:
            held_out = self._paired.split('interventions')
        held_out.require('properties')
        if suite == 'causal' and not held_out.interventions:
            raise DataError(
                f'{self._paired.report.where}: holds no interventions. Make some with ./run '
                f'collect --interactions.'
            )
        sequences = sequences_of(published, held_out)
        cheap = None
        if self._train is not None:
            cheap = nsca_suites.correlational_properties(self._train, held_out)
        if suite == 'properties':
            return list(nsca_suites.property_lines(sequences, held_out, cheap, _SEED))
        return list(nsca_suites.causal_lines(sequences, held_out, cheap))

    def draw(self, folder: Path) -> list[Path]:
        """Write all pictures; return where."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, content in drawn(self._published, self._held_out, _HORIZON).items():
            path = folder / name
            durable_files.replace(path, content)
            paths.append(path)
        return paths


def _print(lines: Sequence[Line], where: str) -> None:
    table = Table(box=box.SIMPLE, title=where)
    for column in ('evaluation', 'of', 'features'):
        table.add_column(column)
    for column in ('value', '95 %', 'chance', 'on'):
        table.add_column(column, justify='right')
    for line in lines:
        score = line.score
        interval = f'{score.low:.3f} to {score.high:.3f}' if np.isfinite(score.low) else ''
        chance = f'{score.chance:.3f}' if np.isfinite(score.chance) else ''
        table.add_row(
            line.suite,
            line.what,
            line.features,
            f'{score.value:.3f}',
            interval,
            chance,
            str(score.count),
        )
    console().print(table)
