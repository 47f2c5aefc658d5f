"""Causal language models of Hugging Face, by name or from a folder, and ours as one of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from robot_learning import durable_files
from robot_learning.errors import ConfigError, EnvironmentSetupError
from robot_learning.model_store import Array
from robot_learning.models.code_model import CodeModelConfig
from robot_learning.models.code_tokens import END, PAD, CodeTokens


class HubModel:
    """A causal language model with its tokenizer.

    Args:
        name: at Hugging Face, or a folder with config.json, weights and tokenizer.
        device: where it computes.
        is_bf16: hold its weights in bfloat16.

    Raises:
        EnvironmentSetupError: a library is missing, or the model cannot be had.
        ConfigError: its tokenizer has no token that ends a text.
    """

    def __init__(self, name: str, device: torch.device | str = 'cpu', is_bf16: bool = False):
        self.name, self.device = name, torch.device(device)
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise EnvironmentSetupError(
                'transformers: is not installed, expected for adapters. '
                'Install it with "pip install transformers peft", or run ./run prepare.'
            ) from error
        is_folder = Path(name).is_dir()
        # Small models are held whole: only their gradients are taken in bfloat16.
        dtype = torch.bfloat16 if is_bf16 and self.device.type != 'cpu' else torch.float32
        with _failures(name):
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name, local_files_only=is_folder)
            model: Any = AutoModelForCausalLM.from_pretrained(
                name, dtype=dtype, local_files_only=is_folder, use_safetensors=True
            )
        if self.tokenizer.eos_token_id is None:
            raise ConfigError(
                f'{name}: its tokenizer has no token that ends a text, so a model could not learn '
                f'to stop. Choose another model.'
            )
        self.model: Any = model.to(self.device)

    @property
    def end(self) -> int:
        """The token that ends code, in training as when it serves."""
        return int(self.tokenizer.eos_token_id)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of code, no others before or after them."""
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def encode_prompt(self, text: str) -> list[int]:
        """Return the tokens of a prompt, after the token that begins texts if there is one."""
        first = self.tokenizer.bos_token_id
        return [*([] if first is None else [int(first)]), *self.encode(text)]


@contextlib.contextmanager
def _failures(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise EnvironmentSetupError(
            f'{name}: the language model cannot be loaded ({reason}). Name a model of Hugging '
            f'Face that this machine can download, or a folder that holds one.'
        ) from None


def write_hugging_face(
    folder: Path, tensors: Mapping[str, Array], config: CodeModelConfig, tokens: CodeTokens
) -> None:
    """Write a code model of ours as a folder that `transformers` and `BaseModel` load."""
    folder.mkdir(parents=True, exist_ok=True)
    pad = json.loads(tokens.text)['model']['vocab'][PAD]
    files: dict[str, Any] = {
        'config.json': config.hugging_face(len(tokens), tokens.end, pad),
        'generation_config.json': {'eos_token_id': tokens.end, 'pad_token_id': pad},
        'tokenizer_config.json': {
            'tokenizer_class': 'PreTrainedTokenizerFast',
            'eos_token': END,
            'pad_token': PAD,
            'clean_up_tokenization_spaces': False,
        },
    }
    for name, content in files.items():
        durable_files.replace(folder / name, json.dumps(content, indent=1).encode())
    durable_files.replace(folder / 'tokenizer.json', tokens.text.encode())
    weights = {key: torch.tensor(value, dtype=torch.float32) for key, value in tensors.items()}
    save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
