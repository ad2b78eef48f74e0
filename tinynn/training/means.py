"""Is a recorded loss a mean, or a sum, over the samples of its batch? Then it may be cut in chunks.

Each array of the recording is one of four kinds: the same whatever the batch; a number, or several,
for each sample by itself; a sum over all samples, or what is linear in such; or anything else.
"""

from typing import Any

import numpy as np

from tinynn.autodiff import conv, ops
from tinynn.autodiff.record import Recording, Ref, Step

SAME, EACH, FLAT, TOTAL, OTHER = "same", "each", "flat", "total", "other"
ALONG_FEATURES = ops.softmax.forward, ops.log_softmax.forward, ops.logsumexp.forward
ELEMENTWISE = tuple(  # those that are not recorded as the NumPy functions they consist of
    op.forward
    for op in (
        *(ops.guarded_multiply, ops.guarded_divide, ops.astype, ops.where, ops.leaky_relu, ops.elu),
        *(ops.erf, ops._clip),
    )
)


def is_over_samples(recording: Recording, samples: int) -> bool:
    """Tell whether the result is surely a total over the samples, as far as its form goes."""
    kinds: dict[int, str] = {}
    for index in sorted(recording.sources):
        source = recording.sources[index]
        if source.kind == "argument":
            shape = source.array.shape
            kinds[index] = EACH if shape and shape[0] == samples else OTHER
        else:
            kinds[index] = SAME if source.kind in ("variable", "constant") else OTHER
    for step in recording.steps:
        if step.result is not None:
            given = [kinds.get(x.index, OTHER) if isinstance(x, Ref) else SAME for x in step.args]
            kinds[step.result.index] = _kind(step, given, recording, samples)
    result = getattr(recording.result, "ref", None)
    return result is not None and kinds.get(result.index) == TOTAL


def _kind(step: Step, given: list[str], recording: Recording, samples: int) -> str:
    like = recording.arrays[step.result.index] if step.result else None
    kinds = set(given)
    if OTHER in kinds or like is None:
        return OTHER
    if kinds <= {SAME}:
        return SAME
    if step.function is np.matmul or step.function is conv.conv.forward:
        return EACH if given == [EACH, SAME] else OTHER
    if (
        isinstance(step.function, np.ufunc)
        or step.function in ELEMENTWISE
        or (step.name == "astype")
    ):
        return _elementwise(step, given, like, samples)
    if isinstance(getattr(step.function, "__self__", None), np.ufunc):
        x = recording.arrays[step.args[0].index]
        return _reduced(step, given[0], like, x.ndim)
    if step.function is ops.reshape.forward:
        if kinds == {EACH}:
            return EACH if like.shape[:1] == (samples,) else FLAT
        return given[0]
    if step.function in ALONG_FEATURES:
        return EACH if given[0] == EACH and step.params.get("axis") == -1 else OTHER
    if step.function is ops._take_last.forward and kinds == {EACH}:
        return EACH if like.shape[:1] == (samples,) else OTHER
    if step.function is ops._getitem.forward and given[0] == EACH:
        index = step.params["index"]
        first = index[0] if isinstance(index, tuple) and index else index
        return EACH if isinstance(first, slice) and first == slice(None) else OTHER
    return OTHER


def _elementwise(step: Step, given: list[str], like: Any, samples: int) -> str:
    kinds = set(given) - {SAME}
    if kinds == {TOTAL}:
        linear = {"numpy.add": 2, "numpy.subtract": 2, "numpy.negative": 1, "numpy.multiply": 1}
        divided = step.name == "numpy.divide" and given == [TOTAL, SAME]
        fits = given.count(TOTAL) <= linear.get(step.name, 0)
        return TOTAL if like.size == 1 and (fits or divided or step.name == "astype") else OTHER
    if kinds == {EACH}:
        return EACH if like.shape[:1] == (samples,) else OTHER
    return FLAT if kinds == {FLAT} else OTHER


def _reduced(step: Step, given: str, like: Any, ndim: int) -> str:
    axis = step.params.get("axis", 0)
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    over = {i % ndim for i in axes} if ndim else set()
    if given == EACH and 0 not in over:
        return EACH
    if given in (EACH, FLAT) and over == set(range(ndim)) and step.name == "numpy.add":
        return TOTAL
    return OTHER
