"""A forward and a backward written by hand, in NumPy or whatever takes and gives arrays."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.primitive import values
from tinynn.autodiff.tensor import Tensor
from tinynn.testing import points
from tinynn.testing.cases import Cause
from tinynn.testing.gradients import check_floats, checked, concluded, settings_for
from tinynn.testing.reports import GradcheckError, GradcheckReport, InputReport, fault

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours
OWNER = "check_backward"
NARROW = (np.float16, np.float32)
Content = tuple[str, Any, Any]  # a path, an array that an object holds there, the value


def check_backward(
    forward: Callable[..., Any], backward: Callable[..., Any], *inputs: Any,
    eps: float | None = None, rtol: float = 1e-5, atol: float = 1e-8, mode: str = "auto",
    rng: "check.Seed" = None, raise_on_fail: bool = True, allow_float32: bool = False,
) -> GradcheckReport:  # fmt: skip
    """Check a ``backward`` that you wrote by hand against what your ``forward`` does.

    Both take and give arrays: of NumPy, or what NumPy can read.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs)`` returns the result y, or ``(y, cache)``; a tuple of two is always that.
        Several results are a tuple or list in y's place.
    backward : callable
        ``backward(dy, cache)``, or without a cache ``backward(dy, *inputs)``. It returns the
        gradient of sum(dy * y) for each input, as a tuple; of one input also by itself. None stands
        where there is no gradient.
    *inputs : array_like
        Floats are checked. All else, such as labels, sizes and flags, is passed on as it is, and
        its gradient is None.
    eps : float, default None
        The step, as of :func:`check_grads`.
    rtol : float, default 1e-05
        By which share of the numeric gradient an element may be off.
    atol : float, default 1e-08
        By which share of the largest element of its input an element may be off.
    mode : "auto", "fast" or "full", default "auto"
        How thorough the check is, as of :func:`check_grads`.
    rng : Generator or int, default None
        What dy and directions are drawn from. None: the same ones every time.
    raise_on_fail : bool, default True
        Whether a wrong gradient raises. If not, the falsy report is returned.
    allow_float32 : bool, default False
        Whether float32 inputs are taken. They are compared at ``rtol=1e-3, atol=1e-4``.

    Returns
    -------
    GradcheckReport
        Truthy if no gradient is wrong. Printed, it shows the worst element of each input.

    Raises
    ------
    GradcheckError
        If a gradient is wrong, or a rule of the notes is broken. It carries the report.
    TypeError
        For inputs without floats, and for what cannot be read as arrays.

    Notes
    -----
    dy is like y: same shape and dtype, a tuple or list if y is one. ``backward`` is called directly
    after ``forward`` at the same inputs, so it may rely on what forward left behind.

    Neither may write to the inputs, to dy, or to the cache: that fails, even if the gradient is
    right. So do gradients of another shape, and a second call that gives others.

    Examples
    --------
    >>> def forward(x, w):
    ...     return x @ w, (x, w)
    >>> def backward(dy, cache):
    ...     x, w = cache
    ...     return dy @ w.T, x.T @ dy
    >>> report = check_backward(forward, backward, np.ones((2, 3)), np.eye(3))
    >>> bool(report), [entry.verdict for entry in report.inputs]
    (True, ['ok', 'ok'])
    """
    for name, f in (("forward", forward), ("backward", backward)):
        if not callable(f):
            raise TypeError(f"{OWNER}: {name} must be a function of arrays, got {check.shown(f)}.")
    how: dict[str, Any] = {"eps": eps, "rtol": rtol, "atol": atol, "mode": mode, "rng": rng}
    settings = settings_for(OWNER, **how, f="forward", rule="backward", g="dy")
    allow_float32 = check.flag(OWNER, "allow_float32", allow_float32)
    given = [values(x) if isinstance(x, Tensor) else x for x in inputs]
    floats = {i: x for i, x in enumerate(map(_floats_of, given)) if x is not None}
    if not floats:
        raise TypeError(f"{OWNER}: give forward's inputs after backward, with arrays of floats.")
    for i, x in floats.items():
        check_floats(OWNER, f"input {i}", x, allow_float32)
    pair = Pair(forward, backward, given, list(floats))
    arrays = {i: np.array(x) for i, x in floats.items()}
    return concluded(_report(pair, arrays, settings), raise_on_fail)


def _report(
    pair: "Pair", arrays: dict[int, np.ndarray], settings: points.Settings
) -> GradcheckReport:
    """Check a pair; ``arrays``: the inputs of floats by their places."""
    try:
        with np.errstate(all="ignore"):
            settings, unchecked = pair.prepared(arrays, settings)
        kept = [x for i, x in arrays.items() if i in pair.places]
        report = checked(pair, kept, [f"input {i}" for i in pair.places], 1, settings)
    except GradcheckError as error:  # one that makes comparisons pointless
        return error.report
    return replace(report, inputs=report.inputs + tuple(unchecked))


def _floats_of(x: Any) -> np.ndarray | None:
    """Return an input as an array if it has a gradient, else None."""
    if isinstance(x, (str, bytes, dict, set, type(None))) or callable(x):
        return None
    try:
        array = _array(x)
    except (TypeError, ValueError):
        return None
    return array if array.dtype.kind == "f" else None


def _array(x: Any) -> np.ndarray:
    """Return what NumPy can read as an array, of PyTorch's tensors with a graph, too."""
    try:
        return np.asarray(values(x))
    except (RuntimeError, TypeError):
        if not callable(getattr(x, "detach", None)):
            raise
        return np.asarray(x.detach().cpu())


@dataclass
class Pair:
    """A function on arrays, and its gradient, both written by hand."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    given: list[Any]  # all inputs
    places: list[int]  # of those that are checked
    reasons: tuple[str, ...] = ()
    rounds: np.dtype[Any] | None = None  # forward's results hold no more than this dtype
    narrows = False  # C code may believe what it is told of a dtype

    def at(self, inputs: Sequence[np.ndarray]) -> "Called":
        """Call forward with inputs that are nobody else's."""
        arguments = [_copied(x) for x in self.given]
        for place, x in zip(self.places, inputs, strict=True):
            arguments[place] = np.array(x)
            if np.isscalar(self.given[place]):  # x *= 2 does not change it
                arguments[place] = arguments[place][()]
        before = list(_contents(arguments, "input"))
        result = self.forward(*arguments)
        if at := _changed(before, _contents(arguments, "input")):
            fault(f"forward changes {at} in place", ON_A_COPY, owner=OWNER)
        return Called(self, arguments, result)

    def prepared(
        self, arrays: dict[int, np.ndarray], settings: points.Settings
    ) -> tuple[points.Settings, list[InputReport]]:
        """Call both once, and see what kind of gradients there are.

        Returns tolerances that the gradients' precision permits, and inputs that are not checked.
        """
        here = self.at(list(arrays.values()))
        rng = np.random.default_rng(0)
        cotangents = [points.random_signs(rng, y.shape).astype(y.dtype) for y in here.outputs]
        found = here.pull(cotangents)
        self._compared(found, here.pull(cotangents), here.pull(cotangents))
        if all(g is None for g in found):
            advice = "Return a tuple with the gradient of each input, None where there is none."
            fault("backward returns no gradient at all", advice, owner=OWNER)
        missing = [place for place, g in zip(self.places, found, strict=True) if g is None]
        notes = [self._unchecked(arrays, place, here) for place in missing]
        self.given = [
            arrays[i] if i in missing and not np.isscalar(x) else x
            for i, x in enumerate(self.given)
        ]
        self.places = [place for place in self.places if place not in missing]
        self.rounds = self._rounded(arrays, here)
        here.outputs = here.outputs if self.rounds is None else [np.empty(0, self.rounds)]
        wide = all(x.dtype.itemsize >= 8 for x in (*arrays.values(), *here.outputs))
        dtypes = [(i, _precision(g)) for i, g in zip(arrays, found, strict=True) if g is not None]
        narrow = [(dtype, i) for i, dtype in dtypes if dtype.itemsize < 8]
        if wide and narrow:
            dtype, i = min(narrow, key=lambda pair: pair[0].itemsize)
            settings = points.coarsened(settings, dtype)
            self.reasons += (
                f"backward computes the gradient of input {i} in {dtype}, with less precision than "
                f"the inputs have: compared at rtol={settings.rtol:.1g}, atol={settings.atol:.1g}.",
            )
        return settings, notes

    def _rounded(self, arrays: dict[int, np.ndarray], here: "Called") -> "np.dtype[Any] | None":
        """Return the narrow dtype that holds all results of forward, if it holds no input."""
        if any(_precision(x).itemsize < 8 for x in arrays.values() if x.size):
            return None
        found = [_precision(y) for y in here.outputs if np.unique(y).size > 2]
        narrow = [dtype for dtype in found if dtype.itemsize < 8]
        if len(narrow) < len(found):
            return None
        return min(narrow, key=lambda dtype: dtype.itemsize, default=None)

    def _compared(self, *calls: list[Any]) -> None:
        """Refuse gradients that depend on earlier calls."""
        for place, *found in zip(self.places, *calls, strict=True):
            if any(g is None for g in found):
                continue
            a, b, c = (g.astype(float) for g in found)
            size, gap, more = (points.length(x) for x in (a, b - a, c - b - (b - a)))
            if gap > 1e-3 * size:
                adds = more <= 1e-3 * gap
                cause = "adds up from call to call" if adds else "differs from call to call"
                fault(
                    f"the gradient of input {place} {cause}",
                    "After forward at the same inputs, backward must return the same gradient for "
                    "the same dy. Assign it (dw = ...), do not add to an array that is kept (+=).",
                    owner=OWNER,
                )

    def _unchecked(self, arrays: dict[int, np.ndarray], place: int, here: "Called") -> InputReport:
        """Report an input of which backward returns None."""
        moved = dict(arrays)
        x = moved[place]
        moved[place] = x + (1e-3 * (np.abs(x) + 1)).astype(x.dtype)
        try:
            still = np.array_equal(
                points.flattened(self.at(list(moved.values())).outputs),
                points.flattened(here.outputs),
            )
        except Exception:  # out of forward's domain
            still = False
        name, verdict = f"input {place}", "ok" if still else "inconclusive"
        cause = "backward returns None"
        cause += ", and the result does not depend on it" if still else (
            ", though the result moves with it: it was not checked"
        )  # fmt: skip
        return InputReport(name, 1, x.shape, verdict, cause, numbers=False)


def _precision(g: np.ndarray) -> np.dtype[Any]:
    """Return the narrowest dtype that holds all values of a gradient, which are no round ones."""
    finite = g[np.isfinite(g) & (g != 0)]
    with np.errstate(all="ignore"):
        for dtype in NARROW if finite.size else ():
            if g.dtype == dtype or np.array_equal(finite.astype(dtype).astype(g.dtype), finite):
                return np.dtype(dtype)
    return g.dtype if g.dtype.kind == "f" else np.dtype(float)


@dataclass
class Called:
    """A pair at some inputs: what forward returned, for backward to be called once."""

    pair: Pair
    arguments: list[Any]
    result: Any

    def __post_init__(self) -> None:
        self.cached = isinstance(self.result, tuple) and len(self.result) == 2
        self.y = self.result[0] if self.cached else self.result
        self.several = isinstance(self.y, (list, tuple))
        outputs = [_output(part) for part in (self.y if self.several else [self.y])]
        self.outputs = [y.astype(self.pair.rounds) if self.pair.rounds else y for y in outputs]

    @property
    def inputs(self) -> list[np.ndarray]:
        """The inputs that are checked, as forward has left them."""
        return [np.asarray(self.arguments[place]) for place in self.pair.places]

    def pull(self, cotangents: Sequence[np.ndarray]) -> list[Any]:
        """Call forward at the same inputs, then backward; return the gradients."""
        again = self.pair.at(self.inputs)
        scalars = [np.isscalar(y) for y in (again.y if again.several else [again.y])]
        dys = [np.array(v)[()] if s else np.array(v)
               for v, s in zip(cotangents, scalars, strict=True)]  # fmt: skip
        dy: Any = dys[0]
        if again.several:
            dy = dys if isinstance(again.y, list) else tuple(dys)
        kept = (again.result[1],) if again.cached else tuple(again.arguments)
        before = again.contents(dy)
        try:
            result = self.pair.backward(dy, *kept)
        except Exception as error:
            how = "dy, cache" if again.cached else "dy, *inputs"
            error.add_note(
                f"Raised by backward, which {OWNER} calls as backward({how}) after forward."
            )
            raise
        if at := _changed(before, again.contents(dy)):
            fault(f"backward changes {at} in place", ON_A_COPY, owner=OWNER)
        return self._gradients(result)

    def contents(self, dy: Any) -> list[Content]:
        """Return copies of all that backward must leave as it is."""
        held = list(_contents(dy, "dy")) + list(_contents(self.arguments, "input"))
        return held + (list(_contents(self.result[1], "cache")) if self.cached else [])

    def _gradients(self, result: Any) -> list[Any]:
        """Return the gradient of each input that is checked, in its shape; None without one."""
        given, places = self.pair.given, self.pair.places
        if isinstance(result, dict):
            fault("backward returns a dict", IN_ORDER, owner=OWNER)
        alone = not isinstance(result, (tuple, list)) or (
            isinstance(result, list) and len(given) == 1 and len(result) != 1
        )
        parts = [result] if alone else list(result)
        floats = [i for i, x in enumerate(given) if _floats_of(x) is not None]
        for named in (range(len(given)), floats, [i for i in floats if not np.isscalar(given[i])]):
            if len(parts) == len(named):
                by_place = dict(zip(named, parts, strict=True))
                return [self._gradient(place, by_place.get(place)) for place in places]
        if result is None:
            return [None] * len(places)
        count = f"{len(parts)} gradient{'s' * (len(parts) != 1)} for {len(given)} inputs"
        return fault(f"backward returns {count}", IN_ORDER, owner=OWNER)

    def _gradient(self, place: int, part: Any) -> np.ndarray | None:
        """Return one gradient as an array, if it has the shape of its input."""
        if part is None:
            return None
        g, shape, name = np.array(_array(part)), np.shape(self.arguments[place]), f"input {place}"
        if g.dtype.kind not in "fiub":
            fault(f"the gradient of {name} has dtype {g.dtype}", "Return floats.", owner=OWNER)
        if g.shape == shape:
            return g
        cause, advice = _misshapen(g.shape, shape)
        for j, other in enumerate(self.arguments):
            if j != place and np.shape(other) == g.shape and not np.isscalar(other):
                cause, advice = f"it has that of input {j}", f"Is it that of input {j}? {IN_ORDER}"
        cause = f"the gradient of {name} has shape {g.shape}, not {shape}: {cause}"
        return fault(cause, advice, owner=OWNER)


ON_A_COPY = (
    "Work on a copy, or compute a new array (x = x * 2, not x *= 2). Who uses that array next, and "
    "a second call, would get other numbers."
)
IN_ORDER = (
    "Return a tuple with the gradient of each input, in their order, None where there is none."
)


def _misshapen(got: tuple[int, ...], shape: tuple[int, ...]) -> Cause:
    """Say what may have led from one shape to the other."""
    count = len(got) - len(shape)
    if count >= 0 and all(n in (1, m) for n, m in zip(shape, got[count:], strict=True)):
        stretched = [count + k for k, n in enumerate(shape) if n != got[count + k]]
        axes = [*range(count), *stretched]
        if all(got[axis] == 1 for axis in axes):
            return "it has axes of length 1 too many", f"Reshape it to {shape}."
        few = "one axis" if len(axes) == 1 else f"{len(axes)} axes"
        keep = " (keepdims=True)" if stretched else ""
        return f"summed over {few} too few", (
            f"The input is broadcast there, so its gradient is a sum: sum over ax"
            f"{'is' if len(axes) == 1 else 'es'} {', '.join(map(str, axes))} too{keep}."
        )
    if sorted(got) == sorted(shape):
        return "transposed", "Its axes are in another order than the input's."
    if count < 0 or got == ():
        return "summed over too many axes", "Sum only over axes along which it is broadcast."
    return "another shape", "A gradient has the shape of its input."


def _output(y: Any) -> np.ndarray:
    """Return a copy of a result of forward, which must be an array of floats."""
    try:
        array = np.array(_array(y))
    except (TypeError, ValueError):
        array = np.array(None)
    if array.dtype.kind not in "fc":
        got = f"dtype {array.dtype}" if array.dtype != object else type(y).__name__
        raise TypeError(
            f"{OWNER}: forward must return an array of floats, or a tuple (y, cache), got {got}. "
            "Several results are a tuple or list in y's place, as in ((y0, y1), cache)."
        )
    return array


def _copied(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x


def _contents(part: Any, path: str, seen: "set[int] | None" = None) -> Iterator[Content]:
    """Yield all values in nested containers and objects, each with its path, arrays as bytes."""
    seen = set() if seen is None else seen
    if isinstance(part, (int, float, complex, str, bytes, np.generic, type(None))):
        yield path, None, repr(part)
        return
    if isinstance(part, np.ndarray):
        yield path, None, (part.shape, part.dtype, part.tobytes())
        return
    if id(part) in seen or callable(part):
        return
    seen.add(id(part))
    if isinstance(part, (dict, list, tuple)):
        yield path, None, len(part)
        space = " {}" if path == "input" else "[{!r}]"
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            yield from _contents(value, path + space.format(key), seen)
    elif hasattr(part, "__array__"):
        with suppress(Exception):  # of what cannot be read nothing can be said
            yield path, None, _array(part).tobytes()
    else:  # an object may take new arrays for its attributes, but not write to those it has
        for key, held in getattr(part, "__dict__", {}).items():
            if isinstance(held, np.ndarray):
                yield f"{path}.{key}", held, held.tobytes()


def _changed(before: list[Content], after: Iterable[Content]) -> str:
    """Return the path of the first value that is another now, "" if none is."""
    now = {path: (held, value) for path, held, value in after}
    changed = []
    for path, held, value in before:
        there = now.get(path, (held, before))
        if there[1] != value and there[0] is held:
            changed.append(path)
    caches = [path for path in changed if path.startswith("cache")]
    others = [path for path in changed if not path.startswith("cache")]
    if caches and others:
        return f"{caches[0]} (its cache) and {others[0]}"
    return f"{caches[0]} (its cache)" if caches else "".join(others[:1])
