import math

import torch
from robot_learning.phases.image_text_losses import box_loss, info_nce, overlap, region_loss

NONE_SAME = torch.zeros(2, 2, dtype=torch.bool)


def test_the_contrastive_loss_of_two_pairs_is_that_of_paper_and_pencil():
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    text = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    loss = info_nce(image, text, torch.tensor(2.0), NONE_SAME)
    # Rows of 2 * similarity: (1.2, 0), (1.6, 2.0).
    rows = math.log(1 + math.exp(-1.2)) + math.log(1 + math.exp(-0.4))
    columns = math.log(1 + math.exp(0.4)) + math.log(1 + math.exp(-2.0))
    torch.testing.assert_close(loss, torch.tensor((rows + columns) / 4))


def test_it_is_the_same_with_pictures_and_texts_exchanged():
    generator = torch.Generator().manual_seed(0)
    image, text = torch.nn.functional.normalize(torch.randn(2, 5, 8, generator=generator), dim=-1)
    same = torch.zeros(5, 5, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    one = info_nce(image, text, torch.tensor(5.0), same)
    other = info_nce(text, image, torch.tensor(5.0), same)
    torch.testing.assert_close(one, other)


def test_the_same_caption_twice_is_no_negative_of_itself():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    is_same = torch.zeros(3, 3, dtype=torch.bool)
    is_same[0, 1] = is_same[1, 0] = True
    loss = info_nce(vectors, vectors, torch.tensor(100.0), is_same)
    assert loss < 1e-6
    taken_for_negatives = info_nce(
        vectors, vectors, torch.tensor(100.0), torch.zeros_like(is_same)
    )
    torch.testing.assert_close(taken_for_negatives, torch.tensor(2 / 3 * math.log(2.0)))


def test_where_everything_is_the_same_there_is_nothing_to_learn():
    vectors = torch.ones(3, 2, requires_grad=True)
    loss = info_nce(vectors, vectors, torch.tensor(1.0), torch.ones(3, 3, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and torch.equal(vectors.grad, torch.zeros(3, 2))


def test_the_region_loss_adds_the_probability_of_all_cells_that_are_meant():
    share = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]])
    target = torch.tensor([[True, False, True, False], [False, False, False, True]])
    loss = region_loss(share.log(), target)
    torch.testing.assert_close(loss, torch.tensor(-(math.log(0.4) + math.log(0.4)) / 2))


def test_overlap_of_boxes_that_share_a_quarter():
    box = torch.tensor([[[0.0], [0.0], [2.0], [2.0]]])
    target = torch.tensor([[[1.0], [1.0], [3.0], [3.0]]])
    torch.testing.assert_close(overlap(box, target), torch.tensor([[1 / 7]]))
    apart = target + 5
    assert overlap(box, apart) == 0


def test_the_box_loss_counts_only_cells_on_objects():
    box = torch.zeros(1, 4, 2)
    box[0, :, 0] = torch.tensor([0.0, 0.0, 2.0, 2.0])
    target = torch.zeros(1, 4, 2)
    target[0, :, 0] = torch.tensor([1.0, 1.0, 3.0, 3.0])
    on = torch.tensor([[True, False]])
    torch.testing.assert_close(box_loss(box, target, on), torch.tensor(1 - 1 / 7 + 1.0))
    assert box_loss(box, target, torch.zeros_like(on)) == 0
