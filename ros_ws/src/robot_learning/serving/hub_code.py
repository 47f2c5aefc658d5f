"""Robot-API code from any causal language model of Hugging Face, with or without an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from robot_learning.errors import CommandError, EnvironmentSetupError, ModelRefusedError
from robot_learning.language.code_grammar import CodeGrammar
from robot_learning.language.code_prompt import prompt
from robot_learning.model_store import Array
from robot_learning.models.hub_model import HubModel
from robot_learning.serving.code import Calibration, Generated, checked
from robot_learning.serving.code_adapters import Adapter
from robot_learning.serving.code_decoding import greedy

_MAX_NEW_TOKENS = 256


class HubCodeGenerator:
    """Like `CodeGenerator`, for models that only `transformers` knows; slower to load and run.

    Args:
        base: the language model.
        adapter: folder of an adapter for it, merged in; None: the model as it is.
        calibration: of the confidence; by default the mean token probability itself.

    Raises:
        EnvironmentSetupError: peft is not installed, or the tokenizer is of no known kind.
        ModelRefusedError: the adapter is damaged or made for another model.
    """

    def __init__(
        self,
        base: HubModel,
        adapter: Path | None = None,
        calibration: Calibration = Calibration(),  # noqa: B008 - immutable.
    ):
        self._base, self._calibration = base, calibration
        self._model = base.model if adapter is None else _merged(base, adapter)
        self._model.eval()
        backend = getattr(base.tokenizer, 'backend_tokenizer', None)
        if backend is None:
            raise EnvironmentSetupError(
                f'{base.name}: its tokenizer has no tokenizer.json, expected for the grammar. '
                f'Choose a model that has one.'
            )
        num_tokens = int(self._model.get_input_embeddings().weight.shape[0])
        self._grammar = CodeGrammar(backend.to_str(), num_tokens, base.end)

    def generate(self, text: str, abilities: frozenset[str] | None = None) -> Generated:
        """Return code for a command, checked for a robot of these abilities; None: any.

        Raises:
            CommandError: the text is empty, too long or not in plain letters.
        """
        code, probability = self.decode(text)
        return checked(code, self._calibration.confidence(probability), abilities)

    @torch.inference_mode()
    def decode(self, text: str) -> tuple[str, float]:
        """Return the likeliest code under the grammar, and its tokens' mean probability.

        Raises:
            CommandError: the text is empty, too long or not in plain letters.
        """
        step = self._base.encode_prompt(prompt(text))
        limit = getattr(self._model.config, 'max_position_embeddings', 2048)
        if len(step) + _MAX_NEW_TOKENS > limit:
            raise CommandError(f'command: has {len(step)} tokens, too many for {self._base.name}.')
        cache: Any = None

        def log_prob(tokens: list[int]) -> Array:
            nonlocal cache
            given = torch.tensor([tokens], device=self._base.device)
            out = self._model(input_ids=given, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            found: Array = out.logits[0, -1].float().log_softmax(-1).cpu().numpy()
            return found

        walk = self._grammar.walk()
        draft = greedy(log_prob, step, walk, self._base.end, _MAX_NEW_TOKENS)
        code = str(self._base.tokenizer.decode(draft.tokens, skip_special_tokens=True))
        return code, draft.probability


def _merged(base: HubModel, adapter: Path) -> Any:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise EnvironmentSetupError(
            'peft: is not installed, expected for adapters. Install it with "pip install peft".'
        ) from error
    Adapter.of_folder(adapter)  # Names what is missing there; peft would look on the internet.
    try:
        return PeftModel.from_pretrained(base.model, str(adapter)).merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise ModelRefusedError(
            f'{adapter}: is no adapter of {base.name} ({reason}). Name the folder that '
            f'train_robot wrote for it.'
        ) from None
