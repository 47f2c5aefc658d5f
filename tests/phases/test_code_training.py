import pytest
import torch
from robot_learning.errors import NotEnoughDataError, TrainingError
from robot_learning.language.code_corpus import Example
from robot_learning.models.code_model import CodeModelConfig
from robot_learning.phases.code_model import (
    IGNORED,
    CodeTraining,
    CodeTrainingConfig,
    labelled_rows,
    padded,
)

pytest.importorskip('tokenizers')
SMALL = CodeTrainingConfig(
    model=CodeModelConfig(layers=2, heads=2, width=32, feedforward=64, max_tokens=64),
    num_tokens=400,
    epochs=6,
    batch_size=16,
    learning_rate=1e-2,
)
RECORDS = [
    Example(f'go {n} m {way}', f'robot.move_{way}(distance={n}.0)', 'movement')
    for n in range(1, 10)
    for way in ('forward', 'backward')
] * 6


def test_the_loss_falls_and_the_same_seed_gives_the_same():
    first, second = (CodeTraining(RECORDS, SMALL, seed=1) for _ in range(2))
    losses = [[loss for _ in range(6) for loss in each.epoch()] for each in (first, second)]
    assert losses[0] == losses[1] and len(losses[0]) == first.num_updates
    assert losses[0][-1] < 0.4 * losses[0][0]
    torch.rand(3)
    assert CodeTraining(RECORDS, SMALL, seed=2).epoch().__next__() != losses[0][0]


def test_training_leaves_the_random_numbers_of_others_alone():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    next(CodeTraining(RECORDS, SMALL, seed=1).epoch())
    assert torch.equal(torch.rand(4), expected)


def test_only_code_and_its_end_are_learned_and_the_end_is_the_last():
    training = CodeTraining(RECORDS, SMALL, seed=0)
    tokens = training.tokens
    rows = labelled_rows(tokens, ['# stop\n', '# go on\n'], ['robot.stop()', 'pass'], 64)
    found, labels = padded(rows)
    for row, (text, num_prompt) in enumerate(rows):
        assert labels[row, :num_prompt].tolist() == [IGNORED] * num_prompt
        assert labels[row, num_prompt : len(text)].tolist() == text[num_prompt:]
        assert (labels[row, len(text) :] == IGNORED).all()
        assert text[-1] == tokens.end
    assert tokens.decode(found[0].tolist()) == '# stop\nrobot.stop()'


def test_padding_changes_no_loss():
    training = CodeTraining(RECORDS, SMALL, seed=0)
    training.model.eval()
    short, long = sorted(training._rows, key=lambda row: len(row[0]))[:: len(RECORDS) - 1]
    both = [training._loss([short]), training._loss([long])]
    counts = [len(tokens) - num_prompt for tokens, num_prompt in (short, long)]
    mean = sum(c * loss for c, loss in zip(counts, both, strict=True)) / sum(counts)
    assert training._loss([short, long]).item() == pytest.approx(mean.item(), rel=1e-5)


def test_every_record_is_seen_once_in_a_pass():
    training = CodeTraining(RECORDS[:50], SMALL, seed=0)
    seen = [tuple(tokens) for batch in training._batches() for tokens, _ in batch]
    assert sorted(seen) == sorted(tuple(tokens) for tokens, _ in training._rows)


def test_no_records_too_long_ones_and_a_loss_that_is_not_finite_are_named():
    with pytest.raises(NotEnoughDataError, match='no records'):
        CodeTraining([], SMALL, seed=0)
    long = Example('stop', '\n'.join(['robot.stop()'] * 40), '')
    with pytest.raises(NotEnoughDataError, match=r'record 1 has .* tokens, expected at most 64'):
        CodeTraining([RECORDS[0], long], SMALL, seed=0)
    training = CodeTraining(RECORDS, SMALL, seed=0)
    with torch.no_grad():
        training.model.model.norm.weight[0] = float('nan')
    with pytest.raises(TrainingError, match='pass 1 is not finite'):
        next(training.epoch())
