"""Losses against PyTorch: values, and first and second derivatives."""

import numpy as np
import pytest

import tinynn as tnn
from tinynn import losses

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(0)
X, CLASSES = RNG.normal(size=(6, 4)), RNG.integers(0, 4, 6)
ROWS = RNG.dirichlet(np.ones(4), 6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("target", [CLASSES, ROWS], ids=["sparse", "rows"])
def test_crossentropy_with_label_smoothing(target, reduction, smoothing):
    name = "sparse_categorical_crossentropy" if target.ndim == 1 else "categorical_crossentropy"
    how = {"label_smoothing": smoothing, "reduction": reduction}
    x, z = tnn.Tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    ours = getattr(losses, name)(x, target, from_logits=True, **how)
    theirs = F.cross_entropy(z, torch.tensor(target), **how)
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-12)
    [slope] = tnn.grad((ours * ours).sum(), x, create_graph=True)
    [wanted] = torch.autograd.grad((theirs * theirs).sum(), z, create_graph=True)
    np.testing.assert_allclose(slope.numpy(), wanted.detach().numpy(), rtol=1e-10, atol=1e-14)
    [second] = tnn.grad((slope * slope).sum(), x)
    [wanted] = torch.autograd.grad((wanted * wanted).sum(), z)
    np.testing.assert_allclose(second, wanted.numpy(), rtol=1e-10, atol=1e-14)
