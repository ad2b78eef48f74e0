"""Keras: the same numbers both ways, and the same file there and back."""

import os
import re
import warnings

import numpy as np
import pytest

import tinynn as tnn

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

import torch

torch.set_num_threads(1)

from .drawn import drawn_model, file_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
to_keras, from_keras = tnn.formats.to_keras, tnn.formats.from_keras


NOT_THERE = "Keras has no such padding|Keras has no (groups|strides)|padding into the mean"


def assert_equal_outputs(model, made, series):
    for x in series:
        wanted = tnn.predict(model, x)
        y = keras.ops.convert_to_numpy(made(x, training=False))
        assert y.dtype == wanted.dtype
        assert y.shape == wanted.shape
        scale = max(1, np.abs(wanted).max())
        np.testing.assert_allclose(y / scale, wanted / scale, atol=1e-5)


@pytest.mark.parametrize("seed", range(300))
def test_drawn_models_give_the_same_numbers_and_come_back(seed):
    model, series = drawn_model(seed)
    try:
        made = to_keras(model)
    except ValueError as error:
        if not re.search(NOT_THERE, str(error)):
            raise
        pytest.skip(str(error))
    takes_series = any(p.takes_series or type(p) is tnn.Flatten for p in model._layers())
    given = series if takes_series else [x.mean(axis=1) for x in series]
    assert_equal_outputs(model, made, given)
    assert file_of(from_keras(made)) == file_of(model)
    del made.tinynn
    try:
        back = from_keras(made)
    except ValueError as error:
        if not re.search("its layers are no chain|tinynn has no such layer", str(error)):
            raise
    else:
        assert_equal_outputs(back, made, given)
