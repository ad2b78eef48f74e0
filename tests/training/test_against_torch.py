"""Layers, losses and SGD against PyTorch, where it is installed: forward, gradients, training."""

from functools import partial

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


def rate_of(step):
    return 0.5 / (1 + step)


CASES = [
    ("SGD", {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    ("AdamW", {"weight_decay": 0.1, "epsilon": 1e-15}, {"weight_decay": 0.1, "eps": 1e-15}),
    ("RMSprop", {"rho": 0.9, "epsilon": 1e-15}, {"alpha": 0.9, "eps": 1e-15}),
]


@pytest.mark.parametrize(("name", "ours", "theirs"), CASES)
@pytest.mark.parametrize("clip", ["nothing", "values", "norm"])
def test_fifty_steps_of_groups_with_schedules_are_pytorchs(name, ours, theirs, clip):
    rng = np.random.default_rng(0)
    a = [tnn.Tensor(rng.normal(size=s), requires_grad=True) for s in ((3, 2), (2,), (4,))]
    b = [torch.tensor(p.numpy(), requires_grad=True) for p in a]
    how = {"clip_value": 0.8} if clip == "values" else {"clip_norm": 0.5} if clip == "norm" else {}
    first = {"parameters": a[:2], "learning_rate": lambda step: 0.1 * rate_of(step)}
    optimizer = getattr(tnn, name)([first, {"parameters": a[2:]}], 0.01, **ours, **how)
    other = getattr(torch.optim, name)(
        [{"params": b[:2], "lr": 0.1}, {"params": b[2:]}], lr=0.01, **theirs
    )
    # With momentum, PyTorch leaves the learning rate out of the velocity: equal while it is fixed.
    fixed = name == "SGD"
    if fixed:
        optimizer.groups[0].learning_rate = 0.05
        other.param_groups[0]["lr"] = 0.05
    schedule = torch.optim.lr_scheduler.LambdaLR(other, [rate_of, lambda step: 1.0])
    for _ in range(50):
        for p, q in zip(a, b, strict=True):
            p.grad = rng.normal(size=p.shape)
            q.grad = torch.tensor(p.grad)
        optimizer.step()
        if clip == "values":
            torch.nn.utils.clip_grad_value_(b, 0.8)
        elif clip == "norm":
            norm = torch.sqrt(sum((q.grad**2).sum() for q in b))
            for q in b:
                q.grad *= 0.5 / max(norm, 0.5)  # clip_grad_norm_ adds 1e-6 to the norm
        if fixed:
            other.param_groups[0]["lr"] = 0.05
        other.step()
        schedule.step()
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", [2, 3, 10, 37, 100])
def test_one_cycle_is_pytorchs(steps):
    w = torch.zeros(1, requires_grad=True)
    sgd = torch.optim.SGD([w], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(sgd, 0.4, total_steps=steps, cycle_momentum=False)
    ours = tnn.schedules.one_cycle(0.4, steps)
    for step in range(steps):
        assert ours(step) == pytest.approx(sgd.param_groups[0]["lr"], rel=1e-12), step
        sgd.step()
        if step < steps - 1:
            theirs.step()


def test_cosine_decay_is_pytorchs():
    w = torch.zeros(1, requires_grad=True)
    sgd = torch.optim.SGD([w], lr=0.4)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 30, eta_min=0.05)
    ours = tnn.schedules.cosine_decay(0.4, 30, final=0.05)
    for step in range(31):
        assert ours(step) == pytest.approx(sgd.param_groups[0]["lr"], rel=1e-10)
        sgd.step()
        theirs.step()


@pytest.mark.parametrize("how", [{"compile": False}, {}, {"chunk": 4}], ids=str)
def test_twenty_steps_with_batch_norm_are_those_of_pytorch(how):
    rng = np.random.default_rng(0)
    given = {"padding": "same", "dtype": "float64", "rng": rng}
    a, b = tnn.Conv1d(2, 4, 5, **given), tnn.Conv1d(4, 1, 3, **given)
    norm = tnn.BatchNorm(4, dtype="float64")
    model = tnn.Sequential(a, norm, tnn.Activation("relu"), b)
    batch_norm = torch.nn.BatchNorm1d(4, eps=1e-3, momentum=0.01, dtype=torch.float64)
    theirs = torch.nn.Sequential(copied(a), batch_norm, torch.nn.ReLU(), copied(b))
    x = rng.normal(size=(5 * 8, 30, 2)) + 1
    y = (rng.random((5 * 8, 30, 1)) < 0.3) * 1.0
    history = tnn.fit(
        *(model, x, y), loss=partial(tnn.losses.binary_crossentropy, from_logits=True),
        optimizer=tnn.SGD(model.parameters(), 0.1, momentum=0.9), epochs=4, batch_size=8,
        shuffle=False, progress=False, **how,
    )  # fmt: skip
    sgd = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9)
    losses = []
    for step in range(20):
        part = slice(step % 5 * 8, step % 5 * 8 + 8)
        sgd.zero_grad()
        z = theirs(torch.tensor(x[part].transpose(0, 2, 1)))
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            z, torch.tensor(y[part].transpose(0, 2, 1))
        )
        expected.backward()
        sgd.step()
        losses.append(expected.item())
    np.testing.assert_allclose(history.history["loss"], np.reshape(losses, (4, 5)).mean(1))
    pairs = zip(model.parameters(), theirs.parameters(), strict=True)
    for p, q in pairs:
        wanted = q.detach().numpy()
        wanted = wanted.transpose(2, 1, 0) if wanted.ndim == 3 else wanted
        np.testing.assert_allclose(p.data, wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(norm.moving_mean.data, batch_norm.running_mean, rtol=1e-9)
    # PyTorch keeps the unbiased variance: of 240 values, 240 / 239 of that of Keras.
    start = 0.99**20
    unbiased = start + (norm.moving_variance.data - start) * 240 / 239
    np.testing.assert_allclose(unbiased, batch_norm.running_var, rtol=1e-9)


def test_layer_norm_and_transposed_convolution_are_those_of_pytorch():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 4))
    norm = tnn.LayerNorm(4, dtype="float64")
    norm.gamma.data, norm.beta.data = rng.normal(size=4), rng.normal(size=4)
    layer = tnn.Conv1dTranspose(
        *(4, 6, 3), strides=2, padding=1, output_padding=1, groups=2, dtype="float64", rng=rng
    )
    model = tnn.Sequential(norm, layer)
    theirs = torch.nn.Sequential(
        torch.nn.LayerNorm(4, eps=1e-3, dtype=torch.float64),
        torch.nn.ConvTranspose1d(
            *(4, 6, 3), stride=2, padding=1, output_padding=1, groups=2, dtype=torch.float64
        ),
    )
    with torch.no_grad():
        for p, q in zip(model.parameters(), theirs.parameters(), strict=True):
            q.copy_(torch.tensor(p.data.transpose(2, 1, 0) if p.ndim == 3 else p.data))
    given = torch.tensor(x, requires_grad=True)
    expected = theirs[1](theirs[0](given).transpose(1, 2)).transpose(1, 2)
    t = tnn.Tensor(x, requires_grad=True)
    y = model(t)
    np.testing.assert_allclose(y.data, expected.detach(), atol=1e-12)
    g = rng.normal(size=y.shape)
    expected.backward(torch.tensor(g))
    y.backward(g)
    np.testing.assert_allclose(t.grad, given.grad, atol=1e-12)
    for p, q in zip(model.parameters(), theirs.parameters(), strict=True):
        wanted = q.grad.numpy()
        wanted = wanted.transpose(2, 1, 0) if wanted.ndim == 3 else wanted
        np.testing.assert_allclose(p.grad, wanted, atol=1e-12)
