import json

import pytest
import torch
from robot_learning.models.code_model import CodeModel, CodeModelConfig, continued

SMALL = CodeModelConfig(layers=2, heads=2, width=32, feedforward=48, max_tokens=64, dropout=0.0)


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = CodeModel(SMALL, 50).eval()
    for parameter in made.parameters():  # Far from symmetric: nothing cancels by chance.
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def test_it_is_the_llama_of_transformers(model, tmp_path):
    transformers = pytest.importorskip('transformers')
    config = transformers.LlamaConfig(**SMALL.hugging_face(50, 1, 0))
    theirs = transformers.LlamaForCausalLM(config).eval()
    weights = model.state_dict()
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert missing == ['lm_head.weight'] and unexpected == []
    tokens = torch.randint(0, 50, (3, 20))
    torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)
    json.dumps(SMALL.hugging_face(50, 1, 0))


def test_tokens_do_not_see_what_follows_them(model):
    tokens = torch.randint(0, 50, (2, 12))
    changed = tokens.clone()
    changed[:, 8:] = (changed[:, 8:] + 1) % 50
    torch.testing.assert_close(model(tokens)[:, :8], model(changed)[:, :8])
    assert not torch.allclose(model(tokens)[:, 8], model(changed)[:, 8])


def test_a_step_at_a_time_gives_what_all_at_once_does(model):
    tokens = torch.randint(0, 50, (2, 12))
    whole, cache = model(tokens), []
    for start, end in ((0, 5), (5, 6), (6, 10), (10, 12)):
        torch.testing.assert_close(model.step(tokens[:, start:end], cache), whole[:, end - 1])
    assert cache[0][0].shape[2] == 12


def test_prompts_are_continued_by_the_likeliest_tokens_until_the_end(model):
    prompts = [[3, 4, 5], [7, 8, 9, 10], [4, 4, 4]]
    expected = []
    for prompt in prompts:
        tokens = list(prompt)
        for _ in range(6):
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
        expected.append(tokens[len(prompt) :])
    assert continued(model, prompts, end=-1, max_new=6) == expected
    end = expected[0][2]
    cut = [row[: row.index(end)] if end in row else row for row in expected]
    assert continued(model, prompts, end, max_new=6) == cut


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='even multiple of heads'):
        CodeModelConfig(width=40, heads=3)


def test_every_parameter_learns(model):
    model(torch.randint(0, 50, (4, 10))).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
