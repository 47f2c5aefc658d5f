"""Commands to learn from and to measure on: files, sets of Hugging Face by name, the grammar."""

from __future__ import annotations

import hashlib
import importlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from robot_learning.errors import ConfigError, DataError, EnvironmentSetupError
from robot_learning.language import command_files, corpus, frame_corpus
from robot_learning.language.augmentation import joined
from robot_learning.language.command_files import Labelled
from robot_learning.language.intent_mapping import mapped

GRAMMAR = 'grammar'  # As --data: the project's own commands.
FRAMES = 'frames'  # As --data: its commands for the frames of HuRIC.
_OWN_LICENCE = 'Apache-2.0 (this project)'
_OWN_COPIES = 3  # Of commands that people gave, among those that the frame grammar made.
_JOINED = 0.2  # Share of the grammar's commands that have another one behind them.
_LEAST_SHARE = 5  # Commands that a frame counts for although the data may have none of it.
_MOST_OF_A_SET = 100_000  # Utterances.
_LICENCES = {  # By how the source of their commands begins.
    'huric': 'Apache-2.0 (crux82/huric)',
    'gpsr': 'MIT (GPSRCmdGen)',
    'alfred': 'MIT (askforalfred/alfred)',
    'snips': 'CC0-1.0 (snips-nlu-benchmark)',
    'clinc': 'CC-BY-3.0 (clinc/oos-eval)',
}


class Source(NamedTuple):
    """Where commands come from, for the manifest."""

    name: str
    sha256: str | None  # Of the file; None: it is none.
    commands: int
    licence: str | None = None  # None: nobody here knows it.


class Split(NamedTuple):
    """Commands that do not mix: no text is in two of them."""

    training: list[Labelled]
    calibration: list[Labelled]
    held_out: list[Labelled]


def read(
    path: Path, is_mapped: bool = False, most: int | None = None, seed: int = 0
) -> tuple[list[Labelled], Source]:
    """Return the commands of a file, or of a set of Hugging Face by name.

    Args:
        path: .jsonl or .jsonl.gz, see `language/command_files.py`; or the name of a set.
        is_mapped: under the robot's intents, see `language/intent_mapping.py`.
        most: commands to take, at random; None: all.
        seed: of that.

    Raises:
        DataError: it cannot be read, or has no mapping.
        ConfigError: there is no such file, and no set of this name is known.
        EnvironmentSetupError: the package that loads sets is not installed.
    """
    if path.is_file():
        found = command_files.read(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    elif str(path) in _SETS:
        found, sha256 = _read_set(str(path)), None
    else:
        raise ConfigError(
            f'--data {path}: is no file, expected commands as JSON lines, {GRAMMAR}, {FRAMES} or '
            f'one of the sets {", ".join(_SETS)}.'
        )
    found = mapped(found) if is_mapped else found
    if not found:
        raise DataError(f'{path}: holds no command that can be used. Name other data.')
    if most is not None and len(found) > most:
        found = random.Random(seed).sample(found, most)
    return found, Source(path.name, sha256, len(found), _licence(found))


def split(commands: Sequence[Labelled], held_out_ratio: float, seed: int) -> Split:
    """Hold commands out: those that the data marks as `val`, else a share of the texts.

    Of those held out, half choose the temperature; measured is on the others.

    Raises:
        DataError: there are too few.
    """
    is_marked = [command.split.endswith('val') for command in commands]
    rng = random.Random(seed)
    if any(is_marked) and not all(is_marked):
        kept = {c.text for c, marked in zip(commands, is_marked, strict=True) if marked}
    else:
        texts = sorted({command.text for command in commands})
        kept = set(rng.sample(texts, max(round(held_out_ratio * len(texts)), 1)))
    held = [command for command in commands if command.text in kept]
    training = [command for command in commands if command.text not in kept]
    texts = sorted(kept)
    rng.shuffle(texts)
    for_calibration = set(texts[: len(texts) // 2])
    found = Split(
        training,
        [command for command in held if command.text in for_calibration],
        [command for command in held if command.text not in for_calibration],
    )
    if not all(found):
        raise DataError(
            f'commands: {len(commands)} are too few to learn from some and measure on others. '
            f'Name more data.'
        )
    return found


def grammar(count: int, held_out_ratio: float, seed: int) -> tuple[Split, Source]:
    """Return commands of the project's own grammar; held out are templates, not only texts.

    Some of those to learn from have a second step behind, which does not change their meaning.
    """
    learned, held = corpus.split_templates(held_out_ratio, seed)
    num_held = max(round(held_out_ratio * count), 2)
    held_out = list(_made(num_held, seed + 1, held))
    made = Split(
        joined(list(_made(count, seed, learned)), _JOINED, seed),
        held_out[: num_held // 2],
        held_out[num_held // 2 :],
    )
    return made, Source(
        f'{GRAMMAR}, seed {seed}', None, sum(map(len, made)), 'Apache-2.0 (this project)'
    )


def frames(
    count: int, seed: int, is_mapped: bool = False, like: Sequence[Labelled] = ()
) -> tuple[list[Labelled], Source]:
    """Return commands for the frames of HuRIC, see `language/frame_corpus.py`.

    Args:
        count: how many.
        seed: the same gives the same.
        is_mapped: under the robot's intents.
        like: commands whose frames say how often each is to be; (): equally.
    """
    found = Counter(command.intent for command in like)
    weights = {name: found[name] + _LEAST_SHARE for name in frame_corpus.FRAMES}
    made = list(frame_corpus.examples(count, seed, weights if like else None))
    made = mapped(made) if is_mapped else made
    return made, Source(f'{FRAMES}, seed {seed}', None, len(made), _OWN_LICENCE)


def with_frames(
    commands: Sequence[Labelled], count: int, seed: int
) -> tuple[list[Labelled], Source] | None:
    """Return commands of HuRIC's frames among others made for these; None: they are of others."""
    if not {command.intent for command in commands} <= set(frame_corpus.FRAMES):
        return None
    made, source = frames(count, seed, like=commands)
    texts = {command.text for command in commands}
    return [*list(commands) * _OWN_COPIES, *(c for c in made if c.text not in texts)], source


def _made(count: int, seed: int, templates: Sequence[str]) -> Iterator[Labelled]:
    for example in corpus.examples(count, seed, templates):
        yield Labelled(example.text.lower(), example.intent, example.spans, source=GRAMMAR)


def _licence(commands: Sequence[Labelled]) -> str | None:
    source = commands[0].source.casefold()
    return next((name for start, name in _LICENCES.items() if source.startswith(start)), None)


def _read_set(name: str) -> list[Labelled]:
    try:
        datasets = importlib.import_module('datasets')  # Large; few need it.
    except ImportError as error:
        raise EnvironmentSetupError(
            f'--data {name}: is a set of Hugging Face, and the package datasets is not '
            f'installed. Install it with "pip install datasets", or name a file.'
        ) from error
    try:
        rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(name, split='train')
    except Exception as error:
        raise DataError(
            f'--data {name}: cannot be loaded ({type(error).__name__}: {error}). Look at the '
            f'network, or name a file.'
        ) from error
    found: list[Labelled] = []
    for row in rows:
        for text, label in _SETS[name](row):
            if text.strip() and len(found) < _MOST_OF_A_SET:
                found.append(Labelled(text.lower(), str(label), source=name, has_slots=False))
    return found


def _dialogue_acts(row: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return zip(row['dialog'], row['act'], strict=True)


def _booking_acts(row: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    turns = row['turns']
    for text, act in zip(turns['utterance'], turns['dialogue_acts'], strict=True):
        kinds = act['dialog_act']['act_type']
        if kinds:
            yield text, kinds[0]


# How rows of a set give texts with a label.
_SETS: Mapping[str, Callable[[Mapping[str, Any]], Iterable[tuple[str, Any]]]] = {
    'daily_dialog': _dialogue_acts,
    'multi_woz_v22': _booking_acts,
    'multi_woz': _booking_acts,
    'empathetic_dialogues': lambda row: [(row['utterance'], row['context'])],
    'commonsense_qa': lambda row: [(row['question'], row['question_concept'])],
}
