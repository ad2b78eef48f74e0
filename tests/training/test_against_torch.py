"""Layers, losses and SGD against PyTorch, where it is installed: forward, gradients, training."""

import numpy as np
import pytest

import tinynn as tnn

torch = pytest.importorskip("torch")


def copied(ours):
    """Return PyTorch's Conv1d with our weights: one transposition."""
    theirs = torch.nn.Conv1d(
        *(ours.in_channels, ours.filters, ours.kernel_size),
        stride=ours.strides,
        padding=ours.padding,
        dilation=ours.dilation_rate,
        groups=ours.groups,
        dtype=torch.float64,
    )
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(ours.kernel.data.transpose(2, 1, 0)))
        theirs.bias.copy_(torch.tensor(ours.bias.data))
    return theirs


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_network_trains_step_for_step_like_pytorchs(padding):
    rng = np.random.default_rng(0)
    how = {"padding": padding, "dtype": "float64", "rng": rng}
    a, b = tnn.Conv1d(2, 4, 5, activation="relu", **how), tnn.Conv1d(4, 1, 3, **how)
    model = tnn.Sequential(a, b)
    theirs = torch.nn.Sequential(copied(a), torch.nn.ReLU(), copied(b))
    x = rng.normal(size=(6, 30, 2))
    y = (rng.random(model(x).shape) < 0.2) * 1.0
    ours = tnn.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    sgd = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9, nesterov=True)
    weight = torch.tensor(3.0)
    for _ in range(10):
        ours.zero_grad()
        loss = tnn.losses.binary_crossentropy(model(x), y, from_logits=True, pos_weight=3.0)
        loss.backward()
        ours.step()
        sgd.zero_grad()
        z = theirs(torch.tensor(x.transpose(0, 2, 1)))
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            z, torch.tensor(y.transpose(0, 2, 1)), pos_weight=weight
        )
        expected.backward()
        sgd.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-10)
    kernel = theirs[0].weight.detach().numpy().transpose(2, 1, 0)
    np.testing.assert_allclose(a.kernel.data, kernel, rtol=1e-9)


def test_weight_decay_without_momentum_is_pytorchs():
    w = tnn.Tensor([1.0, -2.0], requires_grad=True)
    v = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    ours, theirs = tnn.SGD([w], 0.1, weight_decay=0.3), torch.optim.SGD([v], 0.1, weight_decay=0.3)
    for _ in range(4):
        w.grad = np.array([0.5, 0.25])
        v.grad = torch.tensor([0.5, 0.25], dtype=torch.float64)
        ours.step()
        theirs.step()
    np.testing.assert_allclose(w.data, v.detach().numpy(), rtol=1e-14)
