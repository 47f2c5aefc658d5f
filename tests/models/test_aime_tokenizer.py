import pytest
import torch
from robot_learning.models.aime.video_tokenizer import Codebook, VideoTokenizer, perplexity


def codebook(codes, decay=0.5, revival_usage=0.0, averaged=list):
    found = Codebook(len(codes), len(codes[0]), decay, revival_usage, averaged)
    found.codes.copy_(torch.tensor(codes))
    return found


def test_vectors_get_the_nearest_code_and_the_gradient_passes_through():
    vectors = torch.tensor([[0.9, 0.1], [0.2, 0.7]], requires_grad=True)
    values, indices, commitment = codebook([[1.0, 0.0], [0.0, 1.0]]).eval()(vectors)
    assert indices.tolist() == [0, 1]
    assert values.tolist() == [[1, 0], [0, 1]]
    # (0.1^2 + 0.1^2 + 0.2^2 + 0.3^2) / 4
    assert commitment.item() == pytest.approx(0.15 / 4)
    (gradient,) = torch.autograd.grad(values.sum(), vectors)
    assert gradient.tolist() == [[1, 1], [1, 1]]


def test_codes_follow_running_means_by_hand():
    book = codebook([[0.0], [10.0]]).train()
    book(torch.tensor([[1.0], [3.0], [9.0]]))  # The first means are taken as they are.
    assert book.codes.tolist() == [[2], [9]] and book.counts.tolist() == [2, 1]
    book(torch.tensor([[4.0]]))
    # Counts halve towards (1, 0), sums (4, 9) towards (4, 0).
    assert book.counts.tolist() == [1.5, 0.5]
    assert book.codes.flatten().tolist() == pytest.approx([4 / 1.5, 9])


def test_codes_stay_where_nobody_trains():
    book = codebook([[0.0], [10.0]]).eval()
    book(torch.tensor([[1.0], [3.0]]))
    assert book.codes.tolist() == [[0], [10]] and book.counts.tolist() == [0, 0]


def test_dead_codes_come_back_where_data_are():
    torch.manual_seed(0)
    book = codebook([[0.0, 0.0], [50.0, 50.0], [-50.0, 50.0]], revival_usage=0.1).train()
    book(torch.randn(64, 2))
    assert book.revived.item() == 2
    assert book.codes.abs().max().item() < 5
    found = book.eval()(torch.randn(500, 2)).indices
    assert set(found.tolist()) == {0, 1, 2}
    torch.testing.assert_close(book.usage.sum(), torch.tensor(1.0))


def test_all_processes_keep_one_codebook():
    seen = []

    def averaged(tensors):
        seen.append([tensor.shape for tensor in tensors])
        return [tensor / 2 for tensor in tensors]  # The other one saw nothing.

    book = codebook([[0.0], [10.0]], averaged=averaged).train()
    book(torch.tensor([[1.0], [3.0], [9.0]]))
    assert seen == [[(2,), (2, 1)]]
    assert book.counts.tolist() == [1, 0.5] and book.codes.tolist() == [[2], [9]]


def test_a_tokenizer_alone():
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(12, 4, Codebook(16, 8, 0.99, 0.02), 8)
    maps = torch.randn(2, 12, 4, 4, requires_grad=True)
    tokens = tokenizer(maps)
    assert tokens.values.shape == (2, 16, 8) and tokens.indices.shape == (2, 16)
    assert tokens.reconstruction.shape == (2, 3, 32, 32)
    (gradient,) = torch.autograd.grad(tokens.reconstruction.sum(), maps)
    assert bool(gradient.any())


def test_places_stay_where_they_are():
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(12, 4, Codebook(16, 8, 0.99, 0.02), 8).eval()
    maps = torch.randn(1, 12, 4, 4)
    changed = maps.clone()
    changed[0, :, 3, 3] += 5
    before, after = (tokenizer(each) for each in (maps, changed))
    assert bool((before.values[0, :15] == after.values[0, :15]).all())
    difference = (before.reconstruction - after.reconstruction).abs().sum((0, 1))
    assert difference[24:, 24:].sum() > difference[:8, :8].sum()


def test_perplexity_by_hand():
    assert perplexity(torch.tensor([0, 1, 2, 3]), 8).item() == pytest.approx(4)
    assert perplexity(torch.tensor([5, 5, 5]), 8).item() == pytest.approx(1)
