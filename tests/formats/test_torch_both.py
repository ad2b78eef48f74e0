"""PyTorch: the same numbers both ways, and the same file there and back."""

import copy

import numpy as np
import pytest

import tinynn as tnn

torch = pytest.importorskip("torch")
nn = torch.nn
torch.set_num_threads(1)

from .drawn import drawn_model, file_of  # noqa: E402

to_torch, from_torch = tnn.formats.to_torch, tnn.formats.from_torch


def theirs(module, x):
    """What a module makes of series (batch, length, channels), as tinynn would lay it out."""
    with torch.no_grad():
        y = module(torch.tensor(np.swapaxes(x, 1, -1) if x.ndim == 3 else x)).numpy()
    return np.swapaxes(y, 1, 2) if y.ndim == 3 else y


def assert_equal_outputs(model, module, series):
    for x in series:
        wanted = tnn.predict(model, x)
        y = theirs(module, x)
        assert y.dtype == wanted.dtype
        assert y.shape == wanted.shape
        scale = max(1, np.abs(wanted).max())
        np.testing.assert_allclose(y / scale, wanted / scale, atol=1e-5)


@pytest.mark.parametrize("seed", range(300))
def test_drawn_models_give_the_same_numbers_and_come_back(seed):
    model, series = drawn_model(seed)
    state = torch.get_rng_state()
    module = to_torch(model)
    assert torch.equal(state, torch.get_rng_state())
    assert not module.training
    if not any(isinstance(part, nn.Linear | nn.Flatten) for part in module.modules()):
        series = series + [series[0][:1]]
    takes_series = any(p.takes_series or type(p) is tnn.Flatten for p in model._layers())
    given = series if takes_series else [x.mean(axis=1) for x in series]
    assert_equal_outputs(model, module, given)
    assert file_of(from_torch(module)) == file_of(model)
    again = copy.deepcopy(module)
    for part in again.modules():
        vars(part).pop("tinynn", None)
    try:
        back = from_torch(again)
    except ValueError:
        return
    assert_equal_outputs(back, module, given)
