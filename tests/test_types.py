"""To a type checker, arithmetic and functions of a Tensor are Tensors."""

import re
from pathlib import Path

import pytest

import tinynn as tnn

PREAMBLE = """\
from typing import Any, assert_type

import numpy as np

import tinynn as tnn
from tinynn import Tensor

t = Tensor([1.0, 2.0], requires_grad=True)
a = np.ones(2)
layer = tnn.Dense(2, 1, rng=0)


def square(x: Tensor) -> Tensor:
    return x * x


"""

TENSORS = """
t + 1 | t - t | 2 * t | t / a | a * t | a - t | np.float64(2) * t | 2**t | t**2 | a @ t
-t | abs(t) | t > 0 | t == a | a < t | t[0] | t[..., None] | t.T | t.sum() | t.mean(axis=0)
t.reshape(2, 1) | t.detach() | t.astype("float32") | next(iter(t))
tnn.exp(t) | tnn.sqrt(t + 1) | tnn.maximum(t, 0) | tnn.maximum(0, t) | tnn.power(2.0, t)
tnn.where(t > 0, t, 0.0) | tnn.where(a > 0, t, 0.0) | tnn.where(a > 0, 0.0, t) | tnn.matmul(a, t)
tnn.sum(t, axis=0) | tnn.max(t, keepdims=True) | tnn.relu(t) | tnn.softmax(t) | tnn.logsumexp(t)
tnn.mean(t) | tnn.std(t, axis=0) | tnn.clip(t, 0, 1) | tnn.concatenate([t, t]) | tnn.gelu(t)
tnn.var(t, axis=0) | tnn.std(t) | tnn.prod(t) | tnn.cumsum(t)
tnn.stack([t, t]) | tnn.reshape(t, (2, 1))
tnn.transpose(t) | tnn.pad(t, 1) | tnn.ravel(t) | tnn.squeeze(t) | tnn.expand_dims(t, 0)
tnn.repeat(t, 2) | tnn.roll(t, 1) | tnn.flip(t) | tnn.outer(a, t)
tnn.einsum("i,i", t, a) | tnn.tensordot(t, t, 1) | tnn.swapaxes(t, 0, 0)
tnn.moveaxis(t, 0, 0) | tnn.broadcast_to(t, (2, 2)) | tnn.silu(t)
tnn.norm(t) | tnn.diff(t) | tnn.tile(t, 2) | tnn.vstack([t, t]) | tnn.hstack([t, t]) | tnn.log2(t)
tnn.arctan2(a, t) | tnn.logaddexp(t, 0.0) | tnn.cumprod(t) | tnn.take(t, [0]) | tnn.sort(t)
tnn.take_along_axis(t, a) | t.take([0]) | t.cumprod() | tnn.arcsin(t) | tnn.exp2(t)
tnn.conv1d(t, t) | tnn.conv1d(a, t) | tnn.conv1d_transpose(t, t) | tnn.pad1d(t, (1, 1))
tnn.max_pool1d(t, 2) | tnn.avg_pool1d(t, 2) | layer(t) | tnn.Sequential(layer)(a)
tnn.losses.dice(t, a)
tnn.losses.mean_squared_error(t, a) | tnn.losses.binary_crossentropy(t, a, from_logits=True)
square(t) | tnn.value_and_grad(square)(t)[0] | tnn.vjp(square, t)[0] | tnn.jvp(square, [t], [t])[0]
"""

OTHERS = {
    "t.data": "np.ndarray",
    "t.numpy()": "np.ndarray",
    "t.grad": "np.ndarray | None",
    "t.shape": "tuple[int, ...]",
    "t.requires_grad": "bool",
    "float(t)": "float",
    "len(t)": "int",
    "t.backward()": "None",
    "tnn.grad(t, [t])": "list[Any]",
    "tnn.exp(a)": "Any",
    "np.exp(t)": "Any",
    "np.asarray(t)": "np.ndarray[tuple[Any, ...], np.dtype[Any]]",
}

MISTAKES = {  # what is no Tensor's, and what the checker says of it
    "tnn.exp(t).no_such_method()": 'has no attribute "no_such_method"',
    "(2 * t).requires_gradient": 'has no attribute "requires_gradient"',
    "Tensor([1.0], require_grad=True)": 'Unexpected keyword argument "require_grad"',
    "t.mean(dim=0)": 'Unexpected keyword argument "dim"',
}

EXPECTED = {
    **{
        text.strip(): "Tensor" for line in TENSORS.strip().split("\n") for text in line.split(" | ")
    },
    **OTHERS,
}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """What mypy says of each expression, by the expression."""
    api = pytest.importorskip("mypy.api")
    folder = tmp_path_factory.mktemp("types")
    lines = [f"assert_type({text}, {kind})" for text, kind in EXPECTED.items()]
    script = folder / "script.py"
    script.write_text(PREAMBLE + "\n".join([*lines, *MISTAKES]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPYPATH", str(Path(tnn.__file__).parents[1]))
        patch.chdir(folder)
        report, errors, _ = api.run(
            ["--strict", "--follow-imports=silent", "--config-file=", str(script)]
        )
    assert errors == ""
    found = {}
    for line in report.splitlines():
        if place := re.match(r"script\.py:(\d+): error: (.*)", line):
            found.setdefault(int(place[1]), place[2])
    first = PREAMBLE.count("\n") + 1
    texts = dict(enumerate([*EXPECTED, *MISTAKES], first))
    assert set(found) <= set(texts), report
    return {texts[line]: text for line, text in found.items()}


@pytest.mark.parametrize("text", EXPECTED)
def test_the_type_of_an_expression(text, complaints):
    assert complaints.get(text) is None


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_found(text, complaints):
    assert MISTAKES[text] in complaints[text]
