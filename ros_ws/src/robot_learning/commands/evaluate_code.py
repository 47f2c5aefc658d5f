"""The part of `evaluate` that scores a code model on commands it has not learned from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from robot_learning.commands.report_output import console
from robot_learning.errors import CommandError
from robot_learning.language import code_records
from robot_learning.language.code_corpus import Example
from robot_learning.language.code_scores import program_of, table
from robot_learning.model_store import Array
from robot_learning.serving.code import CodeGenerator
from robot_learning.serving.code_adapters import Adapter

MODEL, ADAPTER = 'code', 'code_adapter'  # Phases.
_COLUMNS = ('commands', 'exact_match', 'program_match', 'executable')
_NUM_BINS = 10


def evaluate_code(
    tensors: Mapping[str, Array], manifest: Mapping[str, Any], data: Sequence[Path]
) -> dict[str, Any]:
    """Print how good the code for records of input and output is; return it as plain data.

    Args:
        tensors: of the version: a code model, or an adapter of the one of this project.
        manifest: of the version.
        data: JSON files of records.

    Raises:
        DataError: a file is broken or holds no records.
        ModelRefusedError: the version is no code model.
    """
    if manifest.get('phase') == ADAPTER:
        generator = CodeGenerator.load().with_adapter(Adapter.of_version(tensors, manifest))
    else:
        generator = CodeGenerator(tensors, manifest)
    records = [record for path in data for record in code_records.read(path)]
    result = measured(generator, records)
    shown = Table(*('category', *_COLUMNS), box=box.SIMPLE)
    for name, row in result['categories'].items():
        shown.add_row(name, *(_text(row.get(column)) for column in _COLUMNS))
    console().print(shown)
    latency = result['latency_ms']
    print(
        f'{latency["p50"]:.1f} ms a command, p99 {latency["p99"]:.1f} ms. Confidence is '
        f'{result["calibration_error"]:.3f} away from how often the program is right.'
    )
    return result


def measured(generator: CodeGenerator, records: Sequence[Example]) -> dict[str, Any]:
    """Return scores by category, latency and calibration; commands that are refused count."""
    codes, confidences, seconds = [], [], []
    for record in records:
        start = time.perf_counter()
        try:
            answer = generator.generate(record.input)
        except CommandError:
            code, confidence = '', 1.0
        else:
            code, confidence = answer.code, answer.confidence
        seconds.append(time.perf_counter() - start)
        codes.append(code)
        confidences.append(confidence)
    is_right = [
        program_of(code) is not None and program_of(code) == program_of(record.output)
        for record, code in zip(records, codes, strict=True)
    ]
    p50, p99 = np.percentile(np.array(seconds) * 1e3, (50, 99))
    return {
        'categories': table(records, codes),
        'latency_ms': {'p50': round(float(p50), 2), 'p99': round(float(p99), 2)},
        'calibration_error': round(_calibration_error(confidences, is_right), 4),
        'mean_confidence': round(float(np.mean(confidences)), 4),
    }


def _calibration_error(confidences: Sequence[float], is_right: Sequence[bool]) -> float:
    """Return the expected calibration error over bins (Guo et al. 2017, equation 3)."""
    confidence, right = np.array(confidences), np.array(is_right, float)
    bins = np.minimum((confidence * _NUM_BINS).astype(int), _NUM_BINS - 1)
    gaps = [abs((right - confidence)[bins == index].sum()) for index in range(_NUM_BINS)]
    return float(sum(gaps) / len(confidence))


def _text(value: float | int | None) -> str:
    return '' if value is None else f'{value:.3f}' if isinstance(value, float) else str(value)
