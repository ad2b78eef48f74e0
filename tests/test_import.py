"""The public face: every promised name, and an import that loads nothing it need not."""

import subprocess
import sys

import pytest

import tinynn as tnn

NAMES = """
Tensor no_grad grad value_and_grad vjp jvp jacobian hessian primitive elementwise
GradientShapeError NotReplayable ReplayMismatch pure Optimizer debug profile
exp log log1p expm1 sqrt square abs sign sin cos tan tanh sinh
cosh arctan norm diff tile vstack hstack log2 log10 exp2 arcsin arccos arctan2 logaddexp cumprod
take take_along_axis sort metrics
maximum minimum where clip power sum mean var std max min prod cumsum logsumexp argmax argmin
reshape transpose swapaxes moveaxis squeeze expand_dims broadcast_to concatenate stack split
pad flip roll repeat ravel matmul dot tensordot einsum outer sigmoid relu leaky_relu elu gelu
silu softplus softmax log_softmax pad1d conv1d conv1d_transpose max_pool1d avg_pool1d Layer
Dense Conv1d Sequential Activation Flatten Dropout MaxPool1d AvgPool1d GlobalMaxPool1d
GlobalAvgPool1d compile fresh losses SGD Adam clip_grad_norm fit History predict stream Stream
batches save load testing spikes losses.mean_squared_error losses.mean_absolute_error losses.huber
losses.binary_crossentropy losses.categorical_crossentropy
losses.sparse_categorical_crossentropy losses.focal testing.check_grads testing.check_primitive
testing.GradcheckReport testing.GradcheckError spikes.simulate spikes.waveform
spikes.find_events spikes.match spikes.best_threshold spikes.precision_recall
spikes.matched_filter spikes.dprime spikes.predicted_f1 spikes.posterior
""".split()


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_reachable_and_documented(name):
    thing = tnn
    for part in name.split("."):
        thing = getattr(thing, part)
    assert thing.__doc__
    assert name.split(".")[0] in tnn.__all__


def test_all_lists_exactly_the_public_names():
    public = {name for name in vars(tnn) if not name.startswith("_")}
    # Loaded when they are first asked for.
    public |= {"formats", "metrics", "plots", "spikes", "testing"}
    public |= {"compile", "NotReplayable", "ReplayMismatch"}
    public |= {"debug", "profile"}
    # Folders are reachable, as every folder is, but not promised.
    assert set(tnn.__all__) == public - {
        "autodiff",
        "debugging",
        "kernels",
        "nn",
        "training",
        "replay",
    }
    assert sorted(tnn.__all__) == sorted(set(tnn.__all__))


def test_a_misspelt_name_is_an_attribute_error_with_a_hint():
    with pytest.raises(AttributeError, match="module 'tinynn' has no attribute 'Conv1D'") as caught:
        _ = tnn.Conv1D
    assert caught.value.name == "Conv1D"
    assert caught.value.obj is tnn


def test_importing_loads_numpy_and_the_standard_library_and_no_more():
    code = "import sys, tinynn; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    tops = {name.split(".")[0] for name in loaded.stdout.split()}
    known = set(sys.stdlib_module_names) | {"numpy", "tinynn", "_distutils_hack", "sitecustomize"}
    foreign = {top for top in tops - known if not top.startswith(("__", "_cython", "cython"))}
    assert foreign == set()
    # Slow to load, and needed only by those who draw numbers, write files or replay.
    assert not {"numpy.random", "zipfile", "tinynn.replay"} & set(loaded.stdout.split())
