"""Robot-LoRA: teaches a language model robot-API code from records of input and output."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_learning.commands.argument_types import number_above, whole_number
from robot_learning.commands.run_directory import write_json
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.errors import ConfigError, RobotLearningError
from robot_learning.language import code_records
from robot_learning.language.code_corpus import Example
from robot_learning.model_store import ModelStore, parse_reference

if TYPE_CHECKING:
    from robot_learning.phases.code_adapter import AdapterConfig, AdapterTraining, Report

EMBEDDED = 'robot_learning/code'  # As --model-name: the small model that comes with the project.
_EXAMPLES = """examples:
  train_robot --data-json commands.json --output-dir adapters/mine
  train_robot --train-json train.json --val-json val.json --model-name robot_learning/code
  train_robot --data-json stage2.json --resume-from adapters/stage1 --output-dir adapters/stage2
Records are {"input": "turn left", "output": "robot.turn(angle=90.0)", "category": "turning"}, in a
JSON list or JSON lines. Only the code teaches, with the prompt that is used when serving. The same
command with --resume-from a checkpoint goes on bit by bit; with other data or settings it begins
a next stage from that adapter. Several adapters can vote: see robot_demo."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(argv)
    try:
        result = train_robot(options)
        if options.json:
            write_json(options.json, result)
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def train_robot(options: argparse.Namespace) -> dict[str, Any]:
    """Train an adapter as the options say; return what was measured, as plain data.

    Raises:
        ConfigError: settings do not go together.
        DataError: records are missing, wrong, or on both sides.
        EnvironmentSetupError: the language model cannot be had.
    """
    from robot_learning.config import from_mapping
    from robot_learning.models.hub_model import HubModel
    from robot_learning.phases import cpu
    from robot_learning.phases.code_adapter import AdapterConfig, AdapterTraining

    if options.name is not None:
        parse_reference(options.name)
    names = AdapterConfig.__dataclass_fields__
    given = {key: value for key, value in vars(options).items() if key in names}
    config = from_mapping(AdapterConfig, given, 'train_robot')
    training_records, held_out = _records(options)
    cpu.settle()
    started = time.monotonic()
    output: Path = options.output_dir
    base_name = _base(options.model_name, output)
    base = HubModel(base_name, options.device, config.bf16)
    training = AdapterTraining(base, training_records, held_out, config, options.seed, output)
    if options.resume_from is not None:
        is_same = training.resume(options.resume_from)
        how = f'goes on at step {training.step}' if is_same else 'begins a stage from its weights'
        print(f'{options.resume_from}: {how}')
    with StopRequests() as requests:
        training.run(_show, lambda: requests.is_requested)
    _write(training, output)
    result: dict[str, Any] = {
        'model_name': options.model_name,
        'output_dir': str(output),
        'steps': training.step,
        'of_steps': training.num_steps,
        'held_out_loss': dict(training.losses),
        'records': {'training': len(training_records), 'held_out': len(held_out)},
        'seed': options.seed,
        'wall_s': round(time.monotonic() - started, 1),
    }
    if options.name is not None:
        result['version'] = _publish(options, config, output, result)
    write_json(output / 'robot_learning.json', result)
    print(f'{training.step} of {training.num_steps} steps. The adapter is in {output}.')
    return result


def _records(options: argparse.Namespace) -> tuple[list[Example], list[Example]]:
    """Return what to learn from and what to measure on, both checked.

    Raises:
        ConfigError: the data is named in no way, or in both.
    """
    is_pair = options.train_json is not None and options.val_json is not None
    is_half = (options.train_json is None) != (options.val_json is None)
    if is_half or (options.data_json is None) != is_pair:
        raise ConfigError(
            'train_robot: expected either --data-json FILE, of which a part is held out, or '
            '--train-json FILE and --val-json FILE.'
        )
    if options.data_json is not None:
        records = code_records.read(options.data_json)
        code_records.check(records, str(options.data_json))
        return code_records.split(records, options.val_ratio, options.seed)
    training, held_out = code_records.read(options.train_json), code_records.read(options.val_json)
    code_records.check(training, str(options.train_json))
    code_records.check(held_out, str(options.val_json))
    code_records.check_disjoint(training, held_out, str(options.val_json))
    return training, held_out


def _base(name: str, output: Path) -> str:
    """Return a name that `transformers` knows; the embedded model is written as a folder."""
    if name != EMBEDDED:
        return name
    from robot_learning.models.code_model import CodeModelConfig
    from robot_learning.models.code_tokens import CodeTokens
    from robot_learning.models.hub_model import write_hugging_face
    from robot_learning.serving.code import NAME, PRETRAINED

    tensors, manifest = ModelStore(PRETRAINED).load(NAME)
    described = manifest['code']
    folder = output / 'base'
    sizes = CodeModelConfig(**described['model'])
    write_hugging_face(folder, tensors, sizes, CodeTokens(described['tokenizer']))
    return str(folder)


def _show(report: Report) -> None:
    measured = '' if report.held_out_loss is None else f', held out {report.held_out_loss:.4f}'
    print(
        f'step {report.step}, pass {report.epoch + 1}: loss {report.loss:.4f}{measured}, '
        f'learning rate {report.learning_rate:.2g}',
        flush=True,
    )


def _write(training: AdapterTraining, output: Path) -> None:
    """Put the adapter where it is looked for: of an early stop the best one, else the last."""
    best = training.best_folder
    if best is None:
        training.model.save_pretrained(output)
        return
    for file in best.iterdir():
        shutil.copyfile(file, output / file.name)


def _publish(
    options: argparse.Namespace, config: AdapterConfig, output: Path, result: dict[str, Any]
) -> int:
    from robot_learning.phases.publishing import code_version, plain
    from robot_learning.serving.code_adapters import Adapter

    adapter = Adapter.of_folder(output)
    described = {
        'r': config.lora_r,
        'lora_alpha': config.lora_alpha,
        'target_modules': list(config.lora_target_modules),
        'base_model_name_or_path': options.model_name,
    }
    losses = list(result['held_out_loss'].values())
    manifest = {
        'adapter': described,
        'phase': 'code_adapter',
        'config': plain(config),
        'metrics': {'held_out/loss': min(losses)} if losses else {},
        'created': datetime.now(timezone.utc).isoformat(timespec='milliseconds'),
        'provenance': {
            'sources': [str(path) for path in _sources(options)],
            'seed': options.seed,
            'update': result['steps'],
            'code_version': code_version(),
        },
    }
    version = ModelStore(options.models).publish(options.name, adapter.tensors, manifest)
    print(f'Version {version} of {options.name} is in {options.models}.')
    return version


def _sources(options: argparse.Namespace) -> Sequence[Path]:
    named = (options.data_json, options.train_json, options.val_json)
    return [path for path in named if path is not None]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='train_robot',
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_argument_group('data')
    data.add_argument('--data-json', type=Path, metavar='FILE', help='records; a part is held out')
    data.add_argument('--train-json', type=Path, metavar='FILE', help='records to learn from')
    data.add_argument('--val-json', type=Path, metavar='FILE', help='records to measure on')
    data.add_argument(
        '--val-ratio', type=number_above(0, below=1), default=0.1, help='of --data-json (0.1)'
    )
    data.add_argument('--max-length', type=whole_number(8), default=256, help='tokens (256)')
    data.add_argument('--group-by-length', action='store_true', help='batches of like lengths')
    data.add_argument('--dataloader-num-workers', type=whole_number(0), default=0)
    data.add_argument('--dataloader-pin-memory', action='store_true')
    model = parser.add_argument_group('model')
    model.add_argument(
        '--model-name',
        default='codellama/CodeLlama-7b-Python-hf',
        help=f'at Hugging Face, a folder, or {EMBEDDED}: the small one of this project',
    )
    model.add_argument('--lora-r', type=whole_number(1), default=32)
    model.add_argument('--lora-alpha', type=number_above(0), default=64)
    model.add_argument('--lora-dropout', type=float, default=0.05)
    model.add_argument('--lora-target-modules', nargs='+', metavar='MODULE', default=_linear())
    model.add_argument('--device', default='cpu', metavar='NAME', help='cpu, cuda, cuda:1 (cpu)')
    _add_training(parser.add_argument_group('training'))
    output = parser.add_argument_group('output')
    output.add_argument('--output-dir', type=Path, default=Path('runs/adapter'), metavar='DIR')
    output.add_argument('--name', help='publish under this name in the model store as well')
    output.add_argument('--models', type=Path, default=Path('runs/models'), metavar='DIR')
    output.add_argument('--json', type=Path, metavar='FILE', help='write the result there')
    return parser


def _linear() -> list[str]:
    return ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument('--num-epochs', type=whole_number(1), default=3)
    group.add_argument('--batch-size', type=whole_number(1), default=4)
    group.add_argument('--learning-rate', type=number_above(0), default=1e-4)
    group.add_argument('--warmup-ratio', type=float, default=0.1)
    group.add_argument('--weight-decay', type=float, default=0.0)
    group.add_argument('--lr-scheduler-type', default='cosine')
    group.add_argument('--optim', default='adamw_torch', help='adamw_torch[_fused] or sgd')
    group.add_argument('--eval-steps', type=whole_number(1), default=100)
    group.add_argument('--save-steps', type=whole_number(1), default=500)
    group.add_argument('--logging-steps', type=whole_number(1), default=50)
    group.add_argument('--gradient-checkpointing', action='store_true', help='less memory')
    group.add_argument('--bf16', action='store_true', help='compute in bfloat16')
    group.add_argument('--seed', type=whole_number(0), default=0)
    group.add_argument(
        '--early-stopping-patience',
        type=whole_number(0),
        default=0,
        metavar='N',
        help='stop after N evaluations that are not better (0: never)',
    )
    group.add_argument('--resume-from', type=Path, metavar='DIR', help='checkpoint or adapter')


if __name__ == '__main__':
    sys.exit(main())
