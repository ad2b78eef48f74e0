"""The workloads in PyTorch, eager and with torch.compile."""

import torch
from torch.nn import functional

from . import workloads
from .workloads import Spec, Task


def versions(variant: str) -> dict[str, str]:
    """Return versions and settings."""
    return {"PyTorch": torch.__version__, "PyTorch's threads": str(torch.get_num_threads())}


def _tensor(array) -> torch.Tensor:
    """Return (batch, length, channels) as PyTorch has it, (batch, channels, length)."""
    return torch.from_numpy(array.swapaxes(1, 2).copy())


def _model(spec: Spec) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for kernel, bias in workloads.weights(spec):
        k, c, f = kernel.shape
        layer = torch.nn.Conv1d(c, f, k, padding="same")
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(kernel.transpose(2, 1, 0)))
            layer.bias.copy_(torch.from_numpy(bias))
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _compiled(variant: str, *functions):
    """Compile for "compile", from a clean slate: Dynamo gives up after a few models else."""
    if variant != "compile":
        return functions
    torch._dynamo.reset()
    return tuple(torch.compile(function, dynamic=False) for function in functions)


def train(spec: Spec, variant: str) -> Task:
    model, (x, y) = _model(spec), map(_tensor, workloads.series(spec))
    optimizer = torch.optim.SGD(model.parameters(), lr=workloads.learning_rate(spec))

    def loss(x, y):
        return functional.binary_cross_entropy_with_logits(model(x), y)

    do, update = _compiled(variant, loss, optimizer.step)

    def run(n):
        for _ in range(n):
            optimizer.zero_grad()
            do(x, y).backward()
            update()

    def value():
        with torch.no_grad():
            return [loss(x, y).item()]

    return Task(run, value)


def predict(spec: Spec, variant: str) -> Task:
    model, x = _model(spec).eval(), _tensor(workloads.series(spec)[0])
    (forward,) = _compiled(variant, model)

    def run(n):
        with torch.no_grad():
            for _ in range(n):
                forward(x)

    def value():
        with torch.no_grad():
            return workloads.fingerprint(model(x).numpy())

    return Task(run, value)


def conv(spec: Spec, variant: str) -> Task:
    x, kernel, g = workloads.convolution(spec)
    x, g = _tensor(x).requires_grad_(), _tensor(g)
    weight = torch.from_numpy(kernel.transpose(2, 1, 0).copy()).requires_grad_()
    padding = "same" if spec["stride"] == 1 else workloads.half(spec)

    def once():
        x.grad = weight.grad = None
        y = functional.conv1d(
            x, weight, None, spec["stride"], padding, spec["dilation"], spec["groups"]
        )
        y.backward(g)
        return y

    def run(n):
        for _ in range(n):
            once()

    def value():
        return workloads.fingerprint(once().detach().numpy(), x.grad.numpy(), weight.grad.numpy())

    return Task(run, value)
