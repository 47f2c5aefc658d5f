"""A toy world of coloured squares, drawn without a renderer, for the dual encoder's tests."""

import numpy as np
from robot_learning.language.tokens import Vocabulary
from robot_learning.models.dual_encoder import DualEncoderConfig
from robot_learning.models.image_encoder import ImageEncoderConfig
from robot_learning.models.text_encoder import TextEncoderConfig
from robot_learning.phases.image_text_data import (
    NOTHING,
    ImageTextData,
    Item,
    Texts,
    Thing,
    all_texts,
)
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.vision_language import VisionLanguage, VisionLanguageConfig

COLORS = {'red': (220, 30, 30), 'green': (30, 200, 30), 'blue': (30, 30, 220)}
NUM_CELLS = 64  # Of pictures of 32 x 32.


def square(color, column, row):
    """A picture of one square on grey, 8 pixels wide, with its caption and three phrases."""
    image = np.full((32, 32, 3), 120, np.uint8)
    image[row : row + 8, column : column + 8] = COLORS[color]
    cells = np.zeros((8, 8), bool)
    cells[row // 4 : row // 4 + 2, column // 4 : column // 4 + 2] = True
    box = tuple(edge / 32 - 0.5 for edge in (column, row, column + 8, row + 8))
    other = next(name for name in COLORS if name != color)
    phrases = (f'the {color} square', 0), ('the square', 0), (f'the {other} square', NOTHING)
    side = 'left' if column < 12 else 'right'
    text = f'a {color} square on the {side}'
    return Item(image, (text,), text, (Thing(cells.ravel(), box),), phrases)


def items(count, seed=0):
    rng = np.random.default_rng(seed)
    names = list(COLORS)
    return [
        square(names[rng.integers(3)], 4 * int(rng.integers(7)), 4 * int(rng.integers(7)))
        for _ in range(count)
    ]


def config(**passes):
    defaults = {'epochs': 2, 'batch_size': 8, 'learning_rate': 5e-3, 'warmup_updates': 2}
    return VisionLanguageConfig(
        model=DualEncoderConfig(
            height=32,
            image=ImageEncoderConfig(channels=(8, 16), blocks=1, features=16, pool=(2, 2)),
            text=TextEncoderConfig(layers=1, heads=2, width=16, feedforward=32),
            embedding=16,
        ),
        passes=PassesConfig(**defaults | passes),
        phrases=2,
        num_buckets=64,
        max_tokens=16,
    )


def training(rows, held_out, seed=0, settings=None):
    """What learns, and both parts of its data."""
    settings = settings or config()
    known = Vocabulary.of(all_texts(rows), 1)
    vocabulary = Vocabulary(known.words, settings.num_buckets, settings.max_tokens, 1)
    texts = Texts(all_texts(rows, held_out), vocabulary)
    objective = VisionLanguage(settings, vocabulary, texts, seed)
    return (
        objective,
        ImageTextData(rows, texts, NUM_CELLS),
        ImageTextData(held_out, texts, NUM_CELLS),
    )
