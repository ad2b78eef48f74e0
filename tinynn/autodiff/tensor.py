"""The Tensor: an array that remembers how it was computed. Each method is one line over an op."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import graph, ops, protocols
from tinynn.autodiff.listening import effects
from tinynn.autodiff.primitive import as_array, refuse_hidden, values


@effects(*"data grad requires_grad numpy item detach _fill _read _add_gradient".split())
class Tensor(graph.Node):
    """An n-dimensional array with reverse-mode automatic differentiation.

    Arithmetic, indexing and methods are NumPy's.

    Parameters
    ----------
    data : array_like
        Real numbers, which are copied.
    dtype : dtype, default None
        Of the elements; None means NumPy's choice.
    requires_grad : bool, default False
        Whether gradients with respect to it are wanted. Floats only.

    Raises
    ------
    TypeError
        For data that are not numbers, or for integers that should require a gradient.

    Examples
    --------
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    array([2., 4.])
    """

    __slots__ = ("__weakref__", "_grad")
    _grad: np.ndarray | None

    def __init__(self, data: Any, *, dtype: Any = None, requires_grad: bool = False) -> None:
        if isinstance(data, (list, tuple)):
            refuse_hidden("Tensor", data)
        check.unmasked("Tensor", data)
        self._fill(data, dtype)
        self._birth = next(graph._births)
        self._trace, self._ownership = None, graph.PRIVATE
        self._grad = None
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = requires_grad

    def _fill(self, data: Any, dtype: Any) -> None:
        """Take a copy of ``data`` for the values of a new leaf."""
        try:
            array = np.array(data._data if isinstance(data, graph.Node) else data, dtype=dtype)
        except ValueError as error:
            if "inhomogeneous" not in str(error):
                raise
            advice = "Pad them, or make a Tensor of each."
            raise ValueError(
                f"Tensor: nested lists must have equal lengths. {advice} (NumPy: {error})"
            ) from None
        if array.dtype.kind not in "fiubc":
            raise TypeError(
                f"Tensor: data must be numbers, got dtype {array.dtype}. "
                "Give an array, or nested lists of equal lengths."
            )
        self._data = array

    # ------------------------------------------------------------ the array and its gradient

    @property
    def data(self) -> np.ndarray:
        """The values. A leaf's may be written to, and no pending gradient is hurt by it."""
        if self._ownership is graph.RESULT:
            self._data.flags.writeable = False
        elif self._ownership is not graph.EXPOSED:
            if self._ownership is graph.LENT:
                self._data = self._data.copy()
            self._ownership = graph.EXPOSED
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        if self._trace is not None:
            raise TypeError(
                "Tensor: the data of a computed tensor cannot be replaced; its gradient would be "
                "wrong. Make a new one with .detach()."
            )
        array = value._data if isinstance(value, graph.Node) else as_array("Tensor", value)
        if array.shape != self._data.shape:
            raise ValueError(
                f"Tensor: new data must have shape {self._data.shape}, got {array.shape}. "
                "Make a new Tensor for another shape."
            )
        if array is not self._data:  # t.data += v wrote in place already
            self._replace(array.astype(self._data.dtype, casting="same_kind"))

    def _replace(self, array: np.ndarray) -> None:
        """Take ``array``, which nobody else has, for the data; old data stay with their graphs."""
        self._data = array
        self._ownership = graph.PRIVATE

    @property
    def grad(self) -> np.ndarray | None:
        """What backward() has added up for this leaf: an ndarray of its shape, or None."""
        return getattr(self, "_grad", None)

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            value = as_array("Tensor", value)
            value = np.array(value._data if isinstance(value, graph.Node) else value)
            if value.dtype.kind not in "fiub":
                raise TypeError(
                    f"Tensor: a gradient must be real numbers, got dtype {value.dtype}. Convert it."
                )
            if value.shape != self._data.shape:
                raise ValueError(
                    f"Tensor: a gradient must have the tensor's shape {self._data.shape}, "
                    f"got {value.shape}."
                )
            value = value.astype(self._data.dtype, copy=False)
        self._grad = value

    def _add_gradient(self, share: Any) -> None:
        before = getattr(self, "_grad", None)
        self._grad = np.array(share if before is None else before + share)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients with respect to this tensor are computed."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"Tensor: requires_grad must be True or False, got {value!r}.")
        if value and self._data.dtype.kind != "f":
            raise TypeError(
                f"Tensor: only floating-point tensors can require a gradient, got dtype "
                f"{self._data.dtype}. Give floats, or dtype=float."
            )
        if not value and self._trace is not None:
            raise ValueError(
                "Tensor: a computed tensor requires a gradient because its arguments do. "
                "Use .detach() for one that does not."
            )
        self._requires_grad = bool(value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._data.dtype

    @property
    def T(self) -> "Tensor":
        """The tensor with its axes reversed."""
        return self.transpose()

    def backward(self, gradient: Any = None) -> None:
        """Add the gradient of this scalar to ``.grad`` of every leaf that requires one.

        ``gradient``: that of a final scalar with respect to this tensor, of its shape; needed
        unless it has one element. The graph is released: a second backward() through it raises
        RuntimeError. Nothing is stored if anything fails.

        >>> w = Tensor([3.0], requires_grad=True)
        >>> (2 * w).backward([10.0]); w.grad
        array([20.])
        """
        for leaf, share in graph.gradients("backward", self, gradient, None, False, True):
            leaf._add_gradient(share)

    def detach(self) -> "Tensor":
        """Return the same values without their history: no gradient flows through."""
        return type(self)._result(self._lend(), None)

    def numpy(self) -> np.ndarray:
        """Return a copy of the values as an ndarray."""
        return self._data.copy()

    def copy(self) -> "Tensor":
        """Return a copy that gradients flow through."""
        return self - 0 if self._data.dtype.kind != "b" else self.detach()  # -0.0 + 0 is 0.0

    def item(self) -> Any:
        """Return the only element as a Python number."""
        self._refuse_many("item()")
        return self._data.item()

    def tolist(self) -> Any:
        """Return the values as nested lists of Python numbers."""
        return self._read("tolist()").tolist()

    def _read(self, how: str) -> np.ndarray:
        """Return the values for Python or NumPy to compute with; ``how`` says by what way."""
        return self._data

    def astype(self, dtype: Any) -> "Tensor":
        """Convert to ``dtype``; gradients come back in this tensor's own."""
        return ops.astype(self, dtype)

    # ------------------------------------------------------------ Python protocols

    def __repr__(self) -> str:
        text = np.array2string(self._read("repr()"), separator=", ", prefix="Tensor(")
        notes = "" if self.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        return f"Tensor({text}{notes}{', requires_grad=True' if self._requires_grad else ''})"

    def __format__(self, spec: str) -> str:
        if spec and self.size != 1:
            raise TypeError(
                f"Tensor: the format {spec!r} is for one number, got shape {self.shape}. "
                "Format an element, or use numpy.array2string."
            )
        return format(self.item() if spec else str(self), spec)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator["Tensor"]:
        if self.ndim == 0:
            raise TypeError("Tensor: a tensor without axes cannot be iterated over; use .item().")
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self._only("float()"))

    def __int__(self) -> int:
        return int(self._only("int()"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"Tensor: only an integer can be an index, got dtype {self.dtype}.")
        return int(self._only("an index"))

    def _only(self, how: str) -> Any:
        """Return the only element, for Python to compute with."""
        self._refuse_many(how)
        return self._read(how).item()

    def _refuse_many(self, how: str) -> None:
        if self._data.size != 1:
            raise ValueError(
                f"{how}: the tensor must have one element, got shape {self.shape}. Select one, or "
                "use .tolist() for all."
            )

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ValueError(
                f"Tensor: the truth of a tensor of shape {self.shape} is ambiguous. "
                "Use .any() or .all()."
            )
        return bool(self._only("its truth"))

    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        if self._trace is not None:
            raise TypeError(
                "Tensor: a computed tensor cannot be copied or pickled with its graph. "
                "Use .detach() for the values, .copy() for a copy in the graph."
            )
        kept = self._ownership is graph.RESULT
        return _rebuild, (type(self), self._read("a copy"), self._requires_grad, self.grad, kept)

    def __getitem__(self, index: Any) -> "Tensor":
        return ops.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "Tensor: elements cannot be assigned, a gradient could not follow. "
            "Use tinynn.where(mask, new, old), or build a new Tensor."
        )

    # ------------------------------------------------------------ operators

    # fmt: off
    def __add__(self, other: Any) -> "Tensor": return ops.add(self, other)
    def __radd__(self, other: Any) -> "Tensor": return ops.add(other, self)
    def __sub__(self, other: Any) -> "Tensor": return ops.subtract(self, other)
    def __rsub__(self, other: Any) -> "Tensor": return ops.subtract(other, self)
    def __mul__(self, other: Any) -> "Tensor": return ops.multiply(self, other)
    def __rmul__(self, other: Any) -> "Tensor": return ops.multiply(other, self)
    def __truediv__(self, other: Any) -> "Tensor": return ops.divide(self, other)
    def __rtruediv__(self, other: Any) -> "Tensor": return ops.divide(other, self)
    def __pow__(self, other: Any) -> "Tensor": return ops.power(self, other)
    def __rpow__(self, other: Any) -> "Tensor": return ops.power(other, self)
    def __matmul__(self, other: Any) -> "Tensor": return ops.matmul(self, other)
    def __rmatmul__(self, other: Any) -> "Tensor": return ops.matmul(other, self)
    def __neg__(self) -> "Tensor": return ops.negative(self)
    def __pos__(self) -> "Tensor": return self
    def __abs__(self) -> "Tensor": return ops.abs(self)
    def __eq__(self, other: Any) -> "Tensor":  # type: ignore[override]
        return ops.compare(self, other, np.equal)
    def __ne__(self, other: Any) -> "Tensor":  # type: ignore[override]
        return ops.compare(self, other, np.not_equal)
    def __lt__(self, other: Any) -> "Tensor": return ops.compare(self, other, np.less)
    def __le__(self, other: Any) -> "Tensor": return ops.compare(self, other, np.less_equal)
    def __gt__(self, other: Any) -> "Tensor": return ops.compare(self, other, np.greater)
    def __ge__(self, other: Any) -> "Tensor": return ops.compare(self, other, np.greater_equal)
    def __and__(self, other: Any) -> "Tensor": return ops.compare(self, other, np.bitwise_and)
    def __or__(self, other: Any) -> "Tensor": return ops.compare(self, other, np.bitwise_or)
    def __invert__(self) -> "Tensor": return ops.holds(self, np.invert)
    __rand__, __ror__ = __and__, __or__

    # ------------------------------------------------------------ methods, as NumPy's

    def sum(self, axis: ops.Axis = None, keepdims: bool = False) -> "Tensor":
        """See :func:`tinynn.sum`."""
        return ops.sum(self, axis, keepdims)
    def mean(self, axis: ops.Axis = None, keepdims: bool = False) -> "Tensor":
        """See :func:`tinynn.mean`."""
        return ops.mean(self, axis, keepdims)
    def var(self, axis: ops.Axis = None, ddof: float = 0, keepdims: bool = False) -> "Tensor":
        """See :func:`tinynn.var`."""
        return ops.var(self, axis, ddof, keepdims)
    def std(self, axis: ops.Axis = None, ddof: float = 0, keepdims: bool = False) -> "Tensor":
        """See :func:`tinynn.std`."""
        return ops.std(self, axis, ddof, keepdims)
    def max(self, axis: ops.Axis = None, keepdims: bool = False) -> "Tensor":
        """See :func:`tinynn.max`."""
        return ops.max(self, axis, keepdims)
    def min(self, axis: ops.Axis = None, keepdims: bool = False) -> "Tensor":
        """See :func:`tinynn.min`."""
        return ops.min(self, axis, keepdims)
    def prod(self, axis: ops.Axis = None, keepdims: bool = False) -> "Tensor":
        """See :func:`tinynn.prod`."""
        return ops.prod(self, axis, keepdims)
    def cumsum(self, axis: int | None = None) -> "Tensor":
        """See :func:`tinynn.cumsum`."""
        return ops.cumsum(self, axis)
    def cumprod(self, axis: int | None = None) -> "Tensor":
        """See :func:`tinynn.cumprod`."""
        return ops.cumprod(self, axis)
    def take(self, indices: Any, axis: int | None = None, mode: str = "raise") -> "Tensor":
        """See :func:`tinynn.take`."""
        return ops.take(self, indices, axis, mode)
    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """See :func:`tinynn.argmax`."""
        return ops.argmax(self, axis, keepdims)
    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """See :func:`tinynn.argmin`."""
        return ops.argmin(self, axis, keepdims)
    def all(self, axis: ops.Axis = None, keepdims: bool = False) -> Any:
        """Tell whether all elements along ``axis`` are true."""
        return np.all(values(self), axis=axis, keepdims=keepdims)
    def any(self, axis: ops.Axis = None, keepdims: bool = False) -> Any:
        """Tell whether any element along ``axis`` is true."""
        return np.any(values(self), axis=axis, keepdims=keepdims)
    def reshape(self, *shape: Any) -> "Tensor":
        """See :func:`tinynn.reshape`; the lengths as one tuple or one by one."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)
    def transpose(self, *axes: Any) -> "Tensor":
        """See :func:`tinynn.transpose`; the axes as one tuple or one by one."""
        one = len(axes) == 1 and not isinstance(axes[0], (int, np.integer))
        return ops.transpose(self, (axes[0] if one else axes) or None)
    def swapaxes(self, axis1: int, axis2: int) -> "Tensor":
        """See :func:`tinynn.swapaxes`."""
        return ops.swapaxes(self, axis1, axis2)
    def squeeze(self, axis: ops.Axis = None) -> "Tensor":
        """See :func:`tinynn.squeeze`."""
        return ops.squeeze(self, axis)
    def ravel(self) -> "Tensor":
        """See :func:`tinynn.ravel`."""
        return ops.ravel(self)
    flatten = ravel
    def repeat(self, repeats: Any, axis: int | None = None) -> "Tensor":
        """See :func:`tinynn.repeat`."""
        return ops.repeat(self, repeats, axis)
    def clip(self, a_min: Any = None, a_max: Any = None) -> "Tensor":
        """See :func:`tinynn.clip`."""
        return ops.clip(self, a_min, a_max)
    def dot(self, other: Any) -> "Tensor":
        """See :func:`tinynn.dot`."""
        return ops.dot(self, other)
    # fmt: on

    # ------------------------------------------------------------ NumPy protocols

    # Not for type checkers: to them array * tensor would be NumPy's, and an array.
    if not TYPE_CHECKING:

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            self._read("NumPy")
            if copy is not False and (copy or (dtype is not None and dtype != self.dtype)):
                return np.array(self._data, dtype=dtype)
            view = np.asarray(self._lend(), dtype=dtype, copy=copy)[...]
            view.flags.writeable = False
            return view

    __array_ufunc__ = protocols.OperatorsDefer(protocols.array_ufunc)
    __array_function__ = protocols.array_function
    # Arrays of other libraries leave the operators to the higher priority.
    __array_priority__ = __pandas_priority__ = 1_000_000


def _rebuild(cls: type[Tensor], data: Any, requires: bool, gradient: Any, kept: bool) -> Tensor:
    tensor = cls(data, requires_grad=requires)
    tensor.grad = gradient
    if kept:  # a result that was detached is none the less a result
        tensor._ownership = graph.RESULT
    return tensor
