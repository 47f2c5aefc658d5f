"""The part of `train` that learns to write robot-API code, from nothing."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic.dataclasses import dataclass

from robot_learning.commands import phase_settings
from robot_learning.commands.model_keys import ask_passphrase
from robot_learning.commands.progress import steps_progress
from robot_learning.config import STRICT
from robot_learning.language import code_corpus, code_records
from robot_learning.language.code_corpus import Example
from robot_learning.model_signatures import Signer, read_signer
from robot_learning.model_store import ModelStore, parse_reference

if TYPE_CHECKING:
    from robot_learning.language.code_scores import Scores
    from robot_learning.phases.code_model import CodeTraining, CodeTrainingConfig

PHASE = 'code'
MADE = 'grammar'  # What the data is called that no file holds.
_NUM_CALIBRATION = 600  # Commands that tell what the confidence is worth.


@dataclass(frozen=True, config=STRICT)
class _RecipeFile:
    """The keys of the file."""

    phase: str
    config: dict[str, Any] = field(default_factory=dict)


class _Data(NamedTuple):
    training: list[Example]
    held_out: list[Example]  # None of their phrases, or none of their commands, is learned from.
    sources: list[str]
    split: str  # How they were parted, in words.


def train_code(options: argparse.Namespace) -> dict[str, Any]:
    """Train a code model, publish it and return what was measured, as plain data.

    Args:
        options: of `train`. `data` holds JSON files of records; None: commands are made.

    Raises:
        ConfigError: settings or options are wrong.
        DataError: the data cannot be read, or must not teach a robot.
    """
    from robot_learning.phases import cpu
    from robot_learning.phases.code_model import CodeTraining

    name = options.name or PHASE
    parse_reference(name)
    settings = load_settings(options.config)
    signer = None
    if options.sign_with is not None:
        signer = read_signer(options.sign_with, ask_passphrase(options.sign_with))
    cpu.settle()
    wall, cpu_s = time.monotonic(), time.process_time()
    data = _data(options.data or [], settings, options.held_out, options.seed)
    training = CodeTraining(data.training, settings, options.seed)
    losses = _run(training)
    scores = training.measure(data.held_out)
    spent = {
        'wall_s': round(time.monotonic() - wall, 1),
        'cpu_s': round(time.process_time() - cpu_s, 1),
    }
    version = publish(training, data, scores, spent, options.models, name, options.seed, signer)
    result = {
        'model': name,
        'phase': PHASE,
        'version': version,
        'metrics': _metrics(scores),
        'loss': losses[-1],
        'seed': options.seed,
        'data': data.sources,
        'split': data.split,
        'training': {'records': len(data.training)},
        'held_out': {'records': len(data.held_out)},
        **spent,
    }
    print(
        f'code: {scores.exact:.1%} of {scores.num_commands} held-out commands give exactly the '
        f'expected code, {scores.parsed:.1%} the same program, {scores.executable:.1%} of the '
        f'doable ones a program that the checker accepts. {spent["cpu_s"]:.0f} s of CPU time. '
        f'Version {version} of {name} is in {options.models}.'
    )
    return result


def load_settings(path: Path | None = None) -> CodeTrainingConfig:
    """Read the settings; None: `config/phases/code.yaml`.

    Raises:
        ConfigError: names every unknown key and wrong value.
    """
    from robot_learning.phases.code_model import CodeTrainingConfig

    return phase_settings.load(PHASE, _RecipeFile, CodeTrainingConfig, path)[1]


def _data(
    paths: Sequence[Path], settings: CodeTrainingConfig, held_out: float, seed: int
) -> _Data:
    if not paths:
        ratio = settings.held_out_ratio
        made = code_corpus.lessons(settings.num_examples, seed, ratio, settings.typo_ratio)
        _, unknown = code_corpus.split(ratio, seed)
        other = code_corpus.examples(settings.num_validation, seed + 1, unknown)
        words = f'{ratio:.0%} of the phrases are held out'
        return _Data(made, code_corpus.disjoint(list(other), made), [MADE], words)
    records = [record for path in paths for record in code_records.read(path)]
    code_records.check(records, ', '.join(map(str, paths)))
    training, validation = code_records.split(records, held_out, seed)
    words = 'commands that differ in their values only are on one side'
    return _Data(training, validation, [str(path) for path in paths], words)


def _run(training: CodeTraining) -> list[float]:
    """Train to the end; return the mean loss of each pass."""
    means = []
    with steps_progress(training.num_updates, 'updates') as advance:
        for _ in range(training.config.epochs):
            losses = []
            for loss in training.epoch():
                losses.append(loss)
                advance(1)
            means.append(float(np.mean(losses)))
    return means


def publish(
    training: CodeTraining,
    data: _Data,
    scores: Scores,
    spent: Mapping[str, float],
    models: Path,
    name: str,
    seed: int,
    signer: Signer | None = None,
) -> int:
    """Publish what was trained, in half precision, with what its confidence is worth."""
    from robot_learning.phases.publishing import code_version, plain
    from robot_learning.serving.code import Calibration, CodeGenerator

    tensors = {
        key: value.numpy().astype(np.float16) for key, value in training.model.state_dict().items()
    }
    described: dict[str, Any] = {
        'tokenizer': training.tokens.text,
        'model': plain(training.config.model),
    }
    generator = CodeGenerator(tensors, {'code': described})
    part = data.held_out[:_NUM_CALIBRATION]
    decoded = [generator.decode(record.input) for record in part]
    is_right = [code == record.output for record, (code, _) in zip(part, decoded, strict=True)]
    described['calibration'] = list(Calibration.fitted([p for _, p in decoded], is_right))
    manifest = {
        'code': described,
        'phase': PHASE,
        'config': plain(training.config),
        'metrics': _metrics(scores),
        'score': scores.exact,
        'created': datetime.now(timezone.utc).isoformat(timespec='milliseconds'),
        'provenance': {
            'command': f'./run train --mode code --name {name} --seed {seed}',
            'sources': data.sources,
            'split': data.split,
            'records': len(data.training),
            'seed': seed,
            'code_version': code_version(),
            **spent,
        },
    }
    return ModelStore(models, signer=signer).publish(name, tensors, manifest)


def _metrics(scores: Scores) -> dict[str, float]:
    named = {
        'held_out/exact_match': scores.exact,
        'held_out/program_match': scores.parsed,
        'held_out/executable': scores.executable,
    }
    return {name: value for name, value in named.items() if np.isfinite(value)}
