"""A small causal transformer that continues a command with robot-API code.

It is a Llama (Touvron et al. 2023) down to the names of its parameters: what is trained here loads
into `transformers.LlamaForCausalLM` and takes LoRA adapters unchanged, and the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.config import STRICT

Cache = list[tuple[Tensor, Tensor]]  # Of each layer: keys and values, [B, heads, T, D] both.


@dataclass(frozen=True, config=STRICT)
class CodeModelConfig:
    """Sizes; some 1.6 million parameters."""

    layers: PositiveInt = 4
    heads: PositiveInt = 4
    width: Annotated[int, Field(ge=16, multiple_of=8)] = 160
    feedforward: PositiveInt = 448
    max_tokens: PositiveInt = 512  # Of prompt and code together.
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    rope_base: PositiveFloat = 10_000.0
    norm_epsilon: PositiveFloat = 1e-6

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ValueError('width must be an even multiple of heads')

    def hugging_face(self, num_tokens: int, end_token: int, pad_token: int) -> dict[str, Any]:
        """Return the config.json of the same model for `transformers`."""
        return {
            'architectures': ['LlamaForCausalLM'],
            'model_type': 'llama',
            'vocab_size': num_tokens,
            'hidden_size': self.width,
            'intermediate_size': self.feedforward,
            'num_hidden_layers': self.layers,
            'num_attention_heads': self.heads,
            'num_key_value_heads': self.heads,
            'max_position_embeddings': self.max_tokens,
            'rms_norm_eps': self.norm_epsilon,
            'rope_theta': self.rope_base,
            'rope_parameters': {'rope_type': 'default', 'rope_theta': self.rope_base},
            'hidden_act': 'silu',
            'tie_word_embeddings': True,
            'attention_bias': False,
            'mlp_bias': False,
            'bos_token_id': None,
            'eos_token_id': end_token,
            'pad_token_id': pad_token,
        }


class CodeModel(nn.Module):
    """Tokens to logits of the next ones; embeddings are shared between both ends."""

    def __init__(self, config: CodeModelConfig, num_tokens: int):
        super().__init__()
        self.config = config
        self.model = _Body(config, num_tokens)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
        for layer in self.model.layers:  # As GPT-2: what is added to the stream starts small.
            for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
                nn.init.normal_(weight, std=0.02 / (2 * config.layers) ** 0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits [B, T, V] of tokens [B, T]; each sees those before it, padding comes last.

        Use `hidden` and `logits` where only some positions matter.
        """
        return self.logits(self.hidden(tokens))

    def hidden(self, tokens: Tensor) -> Tensor:
        """Return the last layer's normed states [B, T, D]."""
        states: Tensor = self.model(tokens, None)
        return states

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits [..., V] of states [..., D]."""
        return hidden @ self.model.embed_tokens.weight.T

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Return logits [B, V] after `tokens` [B, T], which follow those in `cache`.

        The cache, empty at first, takes the tokens in.
        """
        return self.logits(self.model(tokens, cache)[:, -1])


class _Body(nn.Module):
    cos: Tensor
    sin: Tensor

    def __init__(self, config: CodeModelConfig, num_tokens: int):
        super().__init__()
        self.embed_tokens = nn.Embedding(num_tokens, config.width)
        self.layers: list[_Layer] = nn.ModuleList(  # type: ignore[assignment]
            _Layer(config) for _ in range(config.layers)
        )
        self.norm = nn.RMSNorm(config.width, config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)
        cos, sin = rotations(config.max_tokens, config.width // config.heads, config.rope_base)
        self.register_buffer('cos', cos, persistent=False)
        self.register_buffer('sin', sin, persistent=False)

    def forward(self, tokens: Tensor, cache: Cache | None) -> Tensor:
        start = cache[0][0].shape[2] if cache else 0
        end = start + tokens.shape[1]
        x = self.dropout(self.embed_tokens(tokens))
        cos, sin = self.cos[start:end], self.sin[start:end]
        if cache is not None and not cache:
            batch, heads = len(tokens), self.layers[0].self_attn.heads
            none = x.new_zeros(batch, heads, 0, x.shape[-1] // heads)
            cache += [(none, none)] * len(self.layers)
        for index, layer in enumerate(self.layers):
            x = layer(x, cos, sin, cache, index)
        normed: Tensor = self.norm(x)
        return normed


class _Layer(nn.Module):
    def __init__(self, config: CodeModelConfig):
        super().__init__()
        self.self_attn = _Attention(config)
        self.mlp = _FeedForward(config)
        self.input_layernorm = nn.RMSNorm(config.width, config.norm_epsilon)
        self.post_attention_layernorm = nn.RMSNorm(config.width, config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: Cache | None, index: int
    ) -> Tensor:
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), cos, sin, cache, index))
        out: Tensor = x + self.dropout(self.mlp(self.post_attention_layernorm(x)))
        return out


class _Attention(nn.Module):
    def __init__(self, config: CodeModelConfig):
        super().__init__()
        self.heads = config.heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(config.width, config.width, bias=False) for _ in range(4)
        )

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: Cache | None, index: int
    ) -> Tensor:
        batch, length, width = x.shape
        query, key, value = (
            projection(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotated(query, cos, sin), rotated(key, cos, sin)
        mask = None
        if cache is not None:
            past = cache[index]
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
            cache[index] = key, value
            if length > 1:
                mask = x.new_ones(length, key.shape[2], dtype=torch.bool)
                mask = mask.tril(key.shape[2] - length)
        out = F.scaled_dot_product_attention(query, key, value, mask, is_causal=cache is None)
        mixed: Tensor = self.o_proj(out.transpose(1, 2).reshape(batch, length, width))
        return mixed


class _FeedForward(nn.Module):
    def __init__(self, config: CodeModelConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.feedforward, bias=False)
        self.up_proj = nn.Linear(config.width, config.feedforward, bias=False)
        self.down_proj = nn.Linear(config.feedforward, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


def rotations(length: int, size: int, base: float) -> tuple[Tensor, Tensor]:
    """Return cosines and sines [length, size] of rotary positions (Su et al. 2021)."""
    rate = base ** (-torch.arange(0, size, 2) / size)
    angle = torch.outer(torch.arange(length), rate).repeat(1, 2)
    return angle.cos(), angle.sin()


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate [..., T, D] by its positions; pairs are halves of D apart, as in Llama's weights."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


@torch.no_grad()
def continued(
    model: CodeModel, prompts: Sequence[Sequence[int]], end: int, max_new: int = 160
) -> list[list[int]]:
    """Return the likeliest tokens after each prompt, without `end`; of equally long ones at once.

    Nothing holds it to a grammar: for measuring what a model has learned.
    """
    by_length: dict[int, list[int]] = {}
    for index, tokens in enumerate(prompts):
        by_length.setdefault(len(tokens), []).append(index)
    found: list[list[int]] = [[] for _ in prompts]
    for rows in by_length.values():
        cache: Cache = []
        newest = torch.tensor([prompts[row] for row in rows])
        is_open = torch.ones(len(rows), dtype=torch.bool)
        for _ in range(min(max_new, model.config.max_tokens - newest.shape[1])):
            newest = model.step(newest, cache).argmax(-1, keepdim=True)
            is_open &= newest[:, 0] != end
            if not is_open.any():
                break
            for place, row in enumerate(rows):
                if is_open[place]:
                    found[row].append(int(newest[place, 0]))
    return found
