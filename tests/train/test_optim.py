"""The optimizers: Muon's steps are what the paper says, and each weight has one optimizer."""

import pytest
import torch
from helpers import tiny

from essim.models import build_model
from essim.train.optim import Muon, make_optimizers, orthogonalise


@pytest.mark.parametrize("shape", [(16, 144), (64, 64), (96, 24)])
def test_singular_values_end_near_one(shape):
    generator = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    spread = torch.logspace(0, -2, min(shape))  # of a hundred to one
    found = orthogonalise((u * spread @ v)[None])[0]
    assert found.shape == shape
    along = u.T @ found @ v.T  # diagonal where the directions are the same
    assert 0.6 < along.diagonal().min() and along.diagonal().max() < 1.3
    assert (along - along.diagonal().diag()).abs().max() < 1e-3


def test_matrices_of_a_batch_are_independent():
    sizes = torch.tensor([1, 1e-3, 1e3])[:, None, None]
    batch = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0)) * sizes
    together = orthogonalise(batch)
    for matrix, result in zip(batch, together, strict=True):
        torch.testing.assert_close(orthogonalise(matrix[None])[0], result, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(orthogonalise(7 * matrix[None])[0], result, rtol=1e-4, atol=1e-5)
    assert torch.equal(orthogonalise(torch.zeros(1, 4, 9)), torch.zeros(1, 4, 9))


def test_the_first_step_by_hand():
    """The momentum starts at 0: both it and the look ahead lie along the gradient."""
    weight = torch.nn.Parameter(torch.zeros(4, 2, 3, 3))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    Muon([weight], lr=0.1).step()
    expected = -0.1 * 0.2 * 18**0.5 * orthogonalise(weight.grad.flatten(1)[None])[0]
    torch.testing.assert_close(weight.detach().flatten(1), expected, rtol=1e-4, atol=1e-6)
    assert weight.detach().square().mean().sqrt() == pytest.approx(0.1 * 0.2, rel=0.2)  # a step of Adam's size


def test_every_weight_has_one_optimizer():
    network = build_model(tiny().model_dump()).model
    shapes = {id(weight): name for name, weight in network.named_parameters()}
    for choice, count in (("adam", 1), ("muon", 2)):
        optimizers = make_optimizers(network, tiny(optimizer=choice, lr=0.003))
        assert len(optimizers) == count
        owned = [id(weight) for one in optimizers for weight in one.param_groups[0]["params"]]
        assert sorted(owned) == sorted(shapes)
        assert {one.param_groups[0]["lr"] for one in optimizers} == {0.003}
    inner = {shapes[id(weight)] for weight in optimizers[1].param_groups[0]["params"]}
    assert {"middle.1.qkv.weight", "down.0.conv1.weight"} <= inner
    assert not [name for name in inner if name.startswith(("stem", "head", "time")) or name.endswith("bias")]
