"""Robot-API code from commands: right programs, what a new verb costs, time a command takes.

Commands are made of phrases that the model has not learned from; the split is that of the
version's manifest, and commands that also occur in training are left out. Beside it stands a
nearest neighbour: the most similar training command gives the code, with the values replaced.
New verbs are taught by LoRA, beside commands of the old ones, and measured on phrases of their
own; the old ones are measured again with the adapter merged in.

    python benchmarks/robot_code.py [--quick] [--models DIR --model NAME]
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')

import numpy as np  # noqa: E402
import torch  # noqa: E402
from reporting import table, write  # noqa: E402
from robot_learning.commands.evaluate_code import measured  # noqa: E402
from robot_learning.language import code_corpus, code_records, code_scores  # noqa: E402
from robot_learning.language.code_corpus import Example  # noqa: E402
from robot_learning.language.code_grammar import CodeGrammar, grammar  # noqa: E402
from robot_learning.language.skills import COLORS, VERBS, Argument, Choice, Number, Verb  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402
from robot_learning.models.code_model import CodeModelConfig  # noqa: E402
from robot_learning.serving.code import PRETRAINED, CodeGenerator  # noqa: E402
from robot_learning.serving.code_adapters import Adapter  # noqa: E402

_MORE, _BESIDE = 800, 4000  # Commands of new verbs beyond the 400, and of old ones beside.
_SEED = 1000  # Far from the seeds of training and validation.
_LITERAL = re.compile(r'"(\w+)"|(?<![\w.])\d+(?:\.\d+)?')
_NEW_VERBS = (
    Verb('robot.wave', 'Wave.', (Argument('times', Number(1, 9, '')),)),
    Verb('lights.set', 'Shine in a colour.', (Argument('color', Choice(COLORS)),), moves=False),
    Verb('lights.off', 'Shine no more.', moves=False),
)
_NEW_TEMPLATES = {  # In the corpus's notation; a fifth of the phrases is held out.
    'robot.wave(times={n})': (
        '(wave|wave your arm|wave your hand) [to me|at me|at the people] {n} times',
        '(give|make) [me] {n} (waves|big waves)',
        '(say hello|greet me) by waving [your arm|your hand] {n} times',
        '{n} (waves|times waving) [please|for me]',
        '(please|could you) wave [your arm|your hand] {n} times',
    ),
    'lights.set(color="{c}")': (
        '(make|turn|set|switch|change) your lights [to] {c}',
        '(make|turn|set|switch|change) the lights [to] {c}',
        '(shine|glow) [in] {c} [now|please]',
        '(let|have) your lights (shine|glow) [in] {c}',
        '(show|give) [me] [a] {c} light [now|please]',
    ),
    'lights.off()': (
        '(switch|turn|put) your lights off [now|please]',
        '(switch|turn|put) off (your|the) lights [now|please]',
        '(shine|glow) no more',
        '(stop shining|stop glowing|no more light) [now|please]',
        '(your|the) lights (off|should be off|must be off)',
    ),
}


def main() -> int:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--models', type=Path, default=PRETRAINED, help='model store')
    parser.add_argument('--model', default='code', help='name there')
    parser.add_argument('--quick', action='store_true', help='few commands, few steps')
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    tensors, manifest = ModelStore(options.models).load(options.model)
    generator = CodeGenerator(tensors, manifest)
    generator.generate('stop')
    load_s = time.perf_counter() - start
    training, held_out = _data(manifest, 150 if options.quick else 2000)
    results: dict[str, Any] = {
        'model': f'{options.model}@{manifest["version"]}',
        'parameters': sum(int(value.size) for value in tensors.values()),
        'weights_mb': round(sum(value.nbytes for value in tensors.values()) / 1e6, 2),
        'training': manifest['provenance'],
        'load_s': round(load_s, 2),
        'held_out': measured(generator, held_out),
        'seen_phrases': measured(generator, _seen(manifest, 50 if options.quick else 500)),
        'with_typos': measured(generator, _data(manifest, 60 if options.quick else 600, 1.0)[1]),
    }
    neighbours = training[: 1500 if options.quick else 20_000]
    codes = NearestNeighbour(neighbours).generate([record.input for record in held_out])
    results['nearest_neighbour'] = code_scores.table(held_out, codes)
    results['new_verbs'] = new_verbs(generator, tensors, manifest, options.quick)
    for name in ('held_out', 'seen_phrases', 'with_typos'):
        print(f'\n{name}')
        table(_rows(results[name]['categories']))
        print(results[name]['latency_ms'], results[name]['calibration_error'])
    print('\nnearest neighbour')
    table(_rows(results['nearest_neighbour']))
    print('\nnew verbs by LoRA', results['new_verbs'])
    print(write('robot_code', results, options.quick))
    return 0


def _data(
    manifest: dict[str, Any], count: int, typo_ratio: float = 0.0
) -> tuple[list[Example], list[Example]]:
    """Return what the version learned from, made again, and commands of other phrases."""
    config, seed = manifest['config'], manifest['provenance']['seed']
    ratio = config['held_out_ratio']
    training = code_corpus.lessons(config['num_examples'], seed, ratio, config['typo_ratio'])
    _, unknown = code_corpus.split(ratio, seed)
    held_out = list(code_corpus.examples(count, seed + _SEED, unknown, typo_ratio))
    return training, code_corpus.disjoint(held_out, training)


def _seen(manifest: dict[str, Any], count: int) -> list[Example]:
    """Return commands of the phrases that were learned from, with other values."""
    config, seed = manifest['config'], manifest['provenance']['seed']
    known, _ = code_corpus.split(config['held_out_ratio'], seed)
    return list(code_corpus.examples(count, seed + 2 * _SEED, known))


def _rows(categories: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {'category': name, **{k: v for k, v in row.items() if not k.endswith('interval')}}
        for name, row in categories.items()
    ]


class NearestNeighbour:
    """The code of the most similar command, by TF-IDF over words and pairs, values replaced."""

    def __init__(self, records: Sequence[Example]):
        of_skeleton = {code_records.skeleton(record.input): record for record in records}
        self._records = list(of_skeleton.values())
        counts = [_pieces(skeleton) for skeleton in of_skeleton]
        frequency = Counter(piece for each in counts for piece in each)
        self._weight = {piece: math.log(len(counts) / n) for piece, n in frequency.items()}
        found: dict[str, list[tuple[int, float]]] = {}
        for row, each in enumerate(counts):
            for piece, value in self._vector(each).items():
                found.setdefault(piece, []).append((row, value))
        self._having = {  # Rows of each piece, and its value there.
            piece: (np.array([row for row, _ in each]), np.array([value for _, value in each]))
            for piece, each in found.items()
        }

    def generate(self, texts: Sequence[str]) -> list[str]:
        """Return the code of each command."""
        found = []
        for text in texts:
            similarity = np.zeros(len(self._records))
            for piece, value in self._vector(_pieces(code_records.skeleton(text))).items():
                rows, values = self._having[piece]
                similarity[rows] += value * values
            found.append(_replaced(self._records[int(similarity.argmax())], text))
        return found

    def _vector(self, pieces: Counter[str]) -> dict[str, float]:
        """Return the weighted pieces that are known, of length 1."""
        weighted = {p: n * self._weight[p] for p, n in pieces.items() if p in self._weight}
        length = max(math.hypot(*weighted.values()), 1e-6)
        return {piece: value / length for piece, value in weighted.items()}


def _pieces(skeleton: str) -> Counter[str]:
    words = skeleton.split()
    return Counter([*words, *(' '.join(pair) for pair in itertools.pairwise(words))])


def _replaced(neighbour: Example, text: str) -> str:
    """Put the command's values where the neighbour's stood, in the order of each kind."""
    theirs = code_records.values(neighbour.input)
    ours = code_records.values(text)
    pairs: dict[str, list[str]] = {}
    for slot in {slot for slot, _ in theirs}:
        old = [value for kind, value in theirs if kind == slot]
        new = [value for kind, value in ours if kind == slot]
        for before, after in zip(old, new, strict=False):
            pairs.setdefault(before, []).append(after)

    def change(found: re.Match[str]) -> str:
        literal = found[1] or f'{float(found[0]):g}'
        left = pairs.get(literal)
        if not left:
            return found[0]
        value = left.pop(0) if len(left) > 1 else left[0]
        if found[1]:
            return f'"{value}"'
        return repr(float(value)) if '.' in found[0] else value

    return _LITERAL.sub(change, neighbour.output)


def new_verbs(
    generator: CodeGenerator, tensors: Any, manifest: dict[str, Any], quick: bool
) -> dict[str, Any]:
    """Teach verbs that the base has never seen, with commands of the old ones beside them."""
    from robot_learning.models.hub_model import HubModel, write_hugging_face
    from robot_learning.phases.code_adapter import AdapterConfig, AdapterTraining

    VERBS.update({verb.name: verb for verb in _NEW_VERBS})
    rng = random.Random(_SEED)
    teach, ask = _new_examples(rng, *((60, 0) if quick else (400, _MORE)))
    training, held_out = _data(manifest, 60 if quick else 600)
    beside = rng.sample(training, 60 if quick else _BESIDE)
    config = AdapterConfig(
        learning_rate=1e-3, batch_size=16, num_epochs=1 if quick else 2, group_by_length=True
    )
    with tempfile.TemporaryDirectory() as folder:
        sizes = CodeModelConfig(**manifest['code']['model'])
        write_hugging_face(Path(folder) / 'base', tensors, sizes, generator.tokens)
        base = HubModel(str(Path(folder) / 'base'))
        lora = AdapterTraining(base, [*teach, *beside], ask, config, 0, Path(folder))
        cpu_s = time.process_time()
        lora.run(lambda report: None)
        cpu_s = time.process_time() - cpu_s
        lora.model.save_pretrained(folder)
        adapter = Adapter.of_folder(Path(folder))
    tokens = generator.tokens
    wider = CodeGrammar(tokens.text, len(tokens), tokens.end, grammar(VERBS))
    adapted = CodeGenerator(tensors, manifest, wider).with_adapter(adapter)
    before = CodeGenerator(tensors, manifest, wider)
    return {
        'records': {'new_verbs': len(teach), 'old_verbs': len(beside)},
        'cpu_s': round(cpu_s, 1),
        'new_verbs': _summary(adapted, ask),
        'new_verbs_without_adapter': _summary(before, ask),
        'old_verbs': _summary(adapted, held_out),
        'old_verbs_without_adapter': _summary(before, held_out),
    }


def _summary(generator: CodeGenerator, records: Sequence[Example]) -> dict[str, Any]:
    return measured(generator, records)['categories']['all']


def _new_examples(
    rng: random.Random, count: int, more: int
) -> tuple[list[Example], list[Example]]:
    """Return commands to teach and to ask, of different phrases; so many, and `more` to teach."""
    teach: list[Example] = []
    ask: list[Example] = []
    other_rng = random.Random(_SEED + 1)  # What is asked does not depend on how much is taught.
    for code, templates in _NEW_TEMPLATES.items():
        phrases = [phrase for each in templates for phrase in code_corpus.phrases_of(each)]
        rng.shuffle(phrases)
        cut = len(phrases) // 5
        teach += _said(code, phrases[cut:], count // 3, rng)
        ask += _said(code, phrases[:cut], count // 3, rng)
        teach += _said(code, phrases[cut:], more // 3, other_rng)
    return teach, code_corpus.disjoint(ask, teach)


def _said(code: str, phrases: Sequence[str], count: int, rng: random.Random) -> list[Example]:
    found = []
    for _ in range(count):
        values = {'n': str(rng.randint(1, 9)), 'c': rng.choice(COLORS)}
        output = code.format(n=f'{values["n"]}.0', c=values['c'])
        found.append(Example(rng.choice(phrases).format(**values), output, 'new'))
    return found


if __name__ == '__main__':
    sys.exit(main())
