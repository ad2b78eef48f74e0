"""tinynn's losses in a compiled function: arrays that they are given are read at each call."""

import numpy as np
import pytest

import tinynn as tnn

RNG = np.random.default_rng(0)
P = RNG.uniform(0.1, 0.9, (6, 3)).astype(np.float32)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("name", tnn.losses.TABLE)
def test_weights_that_change_in_place_are_seen(name, from_logits):
    loss, options = tnn.losses.TABLE[name], {}
    weight, pos_weight = np.ones(6 if "categorical" in name or name == "dice" else 3), np.ones(3)
    if "entropy" in name or name == "focal":
        options["from_logits"] = from_logits
        options["label_smoothing"] = 0.1
    if name == "binary_crossentropy":
        options["pos_weight"] = pos_weight
    y = RNG.integers(0, 2, (6, 3)).astype(np.float32)
    y = RNG.integers(0, 3, 6) if "sparse" in name else y
    p = tnn.Tensor(P, requires_grad=True)

    def f(x, y):
        value = loss(x * p, y, sample_weight=weight, **options)
        return value.detach(), tnn.grad(value, [p])[0]

    compiled = tnn.compile(f)
    for i in range(6):
        weight[...], pos_weight[...] = 1 + i, 1 + 2 * i
        x = RNG.uniform(0.2, 1, (6, 3)).astype(np.float32)
        for found, expected in zip(compiled(x, y), f(x, y), strict=True):
            np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-4)
    weight[0] = -1
    with pytest.raises(ValueError, match=f"{name}: sample_weight must be finite and not negative"):
        compiled(x, y)
