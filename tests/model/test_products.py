"""Products by NumPy's BLAS against torch's in float64, whatever way the operands lie in memory."""

import pytest
import torch
from torch import Tensor

from stages.model import fused
from stages.model.products import matmul, pays

GENERATOR = torch.Generator()


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=GENERATOR.manual_seed(sum(shape)), dtype=dtype)


WAYS = {
    "as they are": lambda x: x,
    "transposed": lambda x: x.mT.contiguous().mT,
    "every second": lambda x: torch.stack([x, x], -1).flatten(-2)[..., ::2],
    "repeated": lambda x: x[..., :1, :].expand(x.shape),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("way", WAYS)
def test_product_is_torch_s(way: str, lead: tuple[int, ...], dtype: torch.dtype) -> None:
    a, b = WAYS[way](random(*lead, 7, 5, dtype=dtype)), WAYS[way](random(*lead, 5, 4, dtype=dtype))
    expected = torch.matmul(a.double(), b.double())
    torch.testing.assert_close(matmul(a, b).double(), expected, rtol=1e-5, atol=1e-5)
    out = torch.full((*lead, 7, 4), torch.nan, dtype=dtype)
    assert matmul(a, b, out=out) is out
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)


def test_what_numpy_cannot_multiply_is_torch_s() -> None:
    """Half precision, and full precision under autocast, whose products are in half."""
    a, b = random(7, 5, dtype=torch.bfloat16), random(5, 4, dtype=torch.bfloat16)
    assert not pays(a)
    torch.testing.assert_close(matmul(a, b), a @ b)
    with torch.autocast("cpu", torch.bfloat16):
        assert not pays(a.float())
        assert fused.linear(a.float(), b.float().T).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 5)])
def test_linear_has_the_gradients_of_differences(shape: tuple[int, ...]) -> None:
    x, weight = random(*shape).requires_grad_(), random(4, 5).requires_grad_()
    torch.testing.assert_close(fused.linear(x, weight), x @ weight.T)
    assert torch.autograd.gradcheck(fused.linear, (x, weight))
