"""The advice for functions that tinynn does not have gives what NumPy gives."""

import math

import numpy as np
import pytest

import tinynn as tnn
from tinynn.autodiff.protocols import ADVICE, COUNTERPARTS

RNG = np.random.default_rng(0)
PLANE, ROW, LONG = RNG.normal(size=(4, 4)), RNG.normal(size=5), RNG.normal(size=(2, 3, 4))
INSIDE = RNG.uniform(0.1, 0.9, size=(3, 4)) * RNG.choice([-1, 1], size=(3, 4))
HOLES = np.where(PLANE > 1, np.nan, PLANE)
PAIR = [(PLANE, RNG.normal(size=(4, 4))), (ROW, RNG.normal(size=5))]
ANY = [(ROW,), (PLANE,), (LONG,)]

ARGUMENTS = {  # of these functions: what they are tried on; ANY for the others
    "arctanh": [(INSIDE,)],
    "arccosh": [(1 + np.exp(PLANE),)],
    "sinc": [(np.append(ROW, 0.0),)],
    "hypot remainder vdot": PAIR,
    "nansum nanmean nan_to_num": [(HOLES,)],
    "cov": [(PLANE,), (INSIDE,), (ROW,)],
    "trace diagonal tril triu fliplr": [(PLANE,), (INSIDE,), (LONG,)],
    "column_stack": [([ROW, 2 * ROW],), ([PLANE, 2 * PLANE],)],
    "inner": [*PAIR, (LONG, RNG.normal(size=(5, 4)))],
    "convolve correlate": [(ROW, ROW[:3]), (RNG.normal(size=30), ROW[1:])],
    "add.outer subtract.outer multiply.outer": [*PAIR, (ROW, PLANE)],
}
ARGUMENTS = {name: tries for names, tries in ARGUMENTS.items() for name in names.split()}


def numpys(name):
    f = np
    for part in name.split("."):
        f = getattr(f, part)
    return f


@pytest.mark.parametrize("name", ADVICE)
def test_advice_gives_numpys_value_and_a_gradient(name):
    for args in ARGUMENTS.get(name, ANY):
        expected = numpys(name)(*args)

        def composed(*tensors):
            names = {"x": tensors[0], "xs": tensors[0], "y": tensors[-1]}
            return eval(ADVICE[name], {"tinynn": tnn, "numpy": np, "math": math, **names})

        def as_tensor(a):
            if isinstance(a, list):
                return [as_tensor(part) for part in a]
            floats = isinstance(a, np.ndarray) and a.dtype.kind == "f"
            return tnn.Tensor(a, requires_grad=True) if floats else a

        y = composed(*map(as_tensor, args))
        assert isinstance(y, tnn.Tensor)
        assert y.requires_grad
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)
        assert y.shape == np.shape(expected)
        with pytest.raises(TypeError) as caught:
            numpys(name)(*map(as_tensor, args))
        assert f"numpy.{name} has no counterpart" in str(caught.value)
        assert f"Compose it: {ADVICE[name]}. Or call it on numpy.asarray" in str(caught.value)


def test_no_advice_for_what_has_a_counterpart():
    assert [name for name in ADVICE if numpys(name) in COUNTERPARTS] == []


def test_what_has_a_counterpart_is_found_by_its_name():
    for name in "exp sum where concatenate einsum maximum abs argmax split".split():
        assert COUNTERPARTS[getattr(np, name)] is getattr(tnn, name)
