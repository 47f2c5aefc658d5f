import pytest
import torch
from robot_learning.models.products import RoundedProduct

HAS_BFLOAT16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
SHAPES = [
    ((12, 5), (5, 7), (7,)),
    ((3, 4, 5), (5, 7), (7,)),
    ((2, 12, 5), (2, 5, 7), (2, 1, 7)),
]


def draw(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes
    ]


def gradients(output, inputs):
    """Of a sum in which every output has a weight of its own."""
    weight = torch.linspace(-1, 2, output.numel()).view_as(output)
    return torch.autograd.grad((output * weight).sum(), inputs)


@pytest.mark.parametrize('shapes', SHAPES)
def test_rounded_products_have_the_exact_gradients_but_for_rounding(shapes):
    inputs = draw(*shapes)
    output, exact = RoundedProduct.apply(*inputs), inputs[2] + inputs[0] @ inputs[1]
    results = [(output, exact)]
    results += zip(gradients(output, inputs), gradients(exact, inputs), strict=True)
    for found, expected in results:
        assert found.dtype == torch.float32 and found.shape == expected.shape
        assert (found - expected).abs().max() < 2**-7 * expected.abs().max()
    assert torch.equal(results[3][0], results[3][1]) or HAS_BFLOAT16  # Of the bias: a sum.


def test_rounded_products_equal_products_of_rounded_factors():
    x, weight, bias = draw((64, 64), (64, 64), (64,))
    low = [t.detach().bfloat16().double() for t in (x, weight)]
    expected = (low[0] @ low[1] + bias.detach().double()).float()
    output = RoundedProduct.apply(x, weight, bias)
    exact = torch.addmm(bias, x, weight)
    assert torch.equal(output, exact) is not HAS_BFLOAT16  # Without the unit nothing is rounded.
    if HAS_BFLOAT16:
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('transposed', [False, True])
def test_the_gradient_of_a_weight_lies_in_memory_as_the_weight(transposed):
    x, _, bias = draw((12, 5), (5, 7), (7,))
    leaf = torch.randn(7, 5) if transposed else torch.randn(5, 7)
    leaf.requires_grad_()
    product = RoundedProduct.apply(x, leaf.t() if transposed else leaf, bias)
    (gradient,) = gradients(product, [leaf])
    assert gradient.is_contiguous() and gradient.shape == leaf.shape


def test_what_does_not_learn_gets_no_gradient_and_the_rest_the_same():
    x, weight, bias = draw((2, 12, 5), (2, 5, 7), (2, 1, 7))
    (alone,) = gradients(RoundedProduct.apply(x, weight.detach(), bias.detach()), [x])
    together = gradients(RoundedProduct.apply(x, weight, bias), [x, weight, bias])[0]
    assert torch.equal(alone, together)
    fixed = RoundedProduct.apply(x.detach(), weight.detach(), bias.detach())
    assert not fixed.requires_grad


def test_other_products_of_the_process_stay_exact():
    x, weight, bias = draw((64, 64), (64, 64), (64,))
    before = x @ weight
    gradients(RoundedProduct.apply(x, weight, bias), [x, weight, bias])
    assert torch.equal(x @ weight, before)
    assert torch.backends.mkldnn.matmul.fp32_precision != 'bf16'
