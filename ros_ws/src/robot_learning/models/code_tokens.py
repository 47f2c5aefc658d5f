"""Tokens of commands and code: whole calls and words where they are frequent, digits one by one.

A tokenizer is a Hugging Face tokenizer.json as text; it travels inside the model version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from robot_learning.errors import EnvironmentSetupError, ModelRefusedError

PAD, END = '<pad>', '</s>'
# Where tokens may not reach across. Calls are whole: robot.turn( and , speed= and "red".
_PIECES = (
    r'[A-Za-z]+\.[A-Za-z_]+\(',
    r',? ?[A-Za-z_]+=',
    r'"[A-Za-z_]+"',
    r'\d',
    r" ?[A-Za-z']+",
    r'\n *',
    r' ?[^A-Za-z\d\s"]+',
    r'\s+',
    r'"',
)


class CodeTokens:
    """Text to token numbers and back.

    Args:
        text: of a tokenizer.json.
        end: the token that ends code.

    Raises:
        ModelRefusedError: it is no tokenizer, or has no such token.
    """

    def __init__(self, text: str, end: str = END):
        library = _library()
        try:
            self._tokenizer = library.Tokenizer.from_str(text)
        except Exception as error:  # The library raises no narrower one.
            raise ModelRefusedError(
                f'tokenizer: cannot be read ({str(error)[:200]}). Use another version.'
            ) from None
        number = self._tokenizer.token_to_id(end)
        if number is None:
            raise ModelRefusedError(f'tokenizer: has no token {end!r}. Use another version.')
        self.text = text
        self.end: int = number

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, no others before or after them."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of many texts."""
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [list(each.ids) for each in found]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without those that mark ends."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    @classmethod
    def learned(cls, texts: Iterable[str], num_tokens: int = 1024) -> CodeTokens:
        """Return a tokenizer for such texts: byte pairs (Sennrich et al. 2016) on bytes."""
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE())
        split = library.pre_tokenizers.Split(library.Regex('|'.join(_PIECES)), 'isolated')
        to_bytes = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence([split, to_bytes])
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=num_tokens,
            min_frequency=3,
            special_tokens=[PAD, END],
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer.to_str())


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise EnvironmentSetupError(
            'tokenizers: is not installed, expected for code models. '
            'Install it with "pip install tokenizers", or run ./run prepare.'
        ) from error
    return tokenizers
