"""The rules of SGD, Adam, AdamW and RMSprop."""

import math

import numpy as np

from tinynn import _checks as check
from tinynn.training.groups import Given, Slots
from tinynn.training.optimizers import Optimizer
from tinynn.training.schedules import Schedule
from tinynn.training.settings import Misnamed, Scheduled, Setting


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    For each parameter w with gradient g, as Keras::

        w = w - learning_rate * weight_decay * w               # decoupled decay
        w = w - learning_rate * g                              # momentum 0
        v = momentum * v - learning_rate * g;  w = w + v       # momentum
        w = w + momentum * v - learning_rate * g               # the same, with nesterov

    Parameters
    ----------
    parameters : iterable of Tensor, of (path, Tensor), or of groups
        Tensors that require a gradient, such as ``model.parameters()``; see :class:`Optimizer`.
    learning_rate : float or schedule, default 0.01
        A number, or a function of the step.
    momentum : float or schedule, default 0.0
        At least 0 and below 1. With momentum 0, v is forgotten.
    nesterov : bool, default False
        Whether the step looks ahead. It needs a momentum above 0.
    weight_decay : float, default 0.0
        The share of w, times the learning rate, that each step takes away.
    clip_norm : float, default None
        Bound of the joint norm of all gradients.
    clip_value : float, default None
        Bound of each element of the gradients.

    Raises
    ------
    ValueError, TypeError
        For values out of range, and for nesterov without momentum.

    Notes
    -----
    PyTorch leaves the learning rate out of v: the same while the rate is constant. It adds
    weight_decay * w to g: the same without momentum.

    Examples
    --------
    >>> from tinynn import Tensor
    >>> w = Tensor([1.0], requires_grad=True)
    >>> sgd = SGD([w], learning_rate=0.5)
    >>> (w * w).sum().backward(); sgd.step(); w
    Tensor([0.], requires_grad=True)
    """

    momentum = Scheduled(at_least=0, below=1)
    nesterov: bool = Setting()  # type: ignore[assignment]
    weight_decay: float = Setting(at_least=0)  # type: ignore[assignment]
    lr = Misnamed("learning_rate")
    slot_names = ("velocity",)
    elementwise = True

    @check.with_hints
    def __init__(
        self, parameters: Given, learning_rate: float | Schedule = 0.01, *,
        momentum: float | Schedule = 0.0, nesterov: bool = False, weight_decay: float = 0.0,
        clip_norm: float | None = None, clip_value: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(parameters, learning_rate, clip_norm=clip_norm, clip_value=clip_value)
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay
        for part in self._parts:
            settings = {**vars(self), **part.own}
            if settings["nesterov"] and not settings["momentum"]:
                raise ValueError("SGD: nesterov=True needs a momentum above 0, such as 0.9.")

    def updated(self, w: np.ndarray, g: np.ndarray, slots: Slots) -> tuple[np.ndarray, Slots]:
        """Return the new value of a parameter and its velocity."""
        rate, momentum = self.learning_rate, self.momentum
        if self.weight_decay:
            w = w - rate * self.weight_decay * w
        if not momentum:
            return w - rate * g, {}
        v = -rate * g
        if slots:
            v += momentum * slots["velocity"]
        return (w + momentum * v - rate * g if self.nesterov else w + v), {"velocity": v}


class Adam(Optimizer):
    """Adaptive moments, with Keras's defaults.

    For each w with gradient g, at step t from 1::

        w = w - learning_rate * weight_decay * w               # decoupled decay
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        w = w - learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)

    Parameters
    ----------
    parameters : iterable of Tensor, of (path, Tensor), or of groups
        Tensors that require a gradient, such as ``model.parameters()``; see :class:`Optimizer`.
    learning_rate : float or schedule, default 0.001
        A number, or a function of the step.
    beta_1 : float, default 0.9
        Decay of the running mean of gradients.
    beta_2 : float, default 0.999
        Decay of the running mean of their squares.
    epsilon : float, default 1e-07
        Added to the root, so that it is never 0.
    weight_decay : float, default 0.0
        The share of w, times the learning rate, that each step takes away.
    clip_norm : float, default None
        Bound of the joint norm of all gradients.
    clip_value : float, default None
        Bound of each element of the gradients.

    Raises
    ------
    ValueError, TypeError
        For values out of range.

    References
    ----------
    D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, ICLR 2015.

    Examples
    --------
    >>> from tinynn import Tensor
    >>> w = Tensor([1.0], requires_grad=True)
    >>> adam = Adam([w], learning_rate=0.5)
    >>> (w * w).sum().backward(); adam.step(); round(w.item(), 4)
    0.5
    """

    beta_1: float = Setting(at_least=0, below=1)  # type: ignore[assignment]
    beta_2: float = Setting(at_least=0, below=1)  # type: ignore[assignment]
    epsilon: float = Setting(above=0)  # type: ignore[assignment]
    weight_decay: float = Setting(at_least=0)  # type: ignore[assignment]
    lr = Misnamed("learning_rate")
    slot_names = ("m", "v")
    elementwise = True

    @check.with_hints
    def __init__(
        self, parameters: Given, learning_rate: float | Schedule = 0.001, *, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-7, weight_decay: float = 0.0,
        clip_norm: float | None = None, clip_value: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(parameters, learning_rate, clip_norm=clip_norm, clip_value=clip_value)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.weight_decay = weight_decay

    def updated(self, w: np.ndarray, g: np.ndarray, slots: Slots) -> tuple[np.ndarray, Slots]:
        """Return the new value of a parameter and its moments."""
        t, rate = self.iterations + 1, self.learning_rate
        if self.weight_decay:
            w = w - rate * self.weight_decay * w
        m, v = (1 - self.beta_1) * g, (1 - self.beta_2) * g * g
        if slots:
            m += self.beta_1 * slots["m"]
            v += self.beta_2 * slots["v"]
        rate *= math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        return w - rate * m / (np.sqrt(v) + self.epsilon), {"m": m, "v": v}


class AdamW(Adam):
    """:class:`Adam` with Keras's default of the decoupled decay.

    Parameters
    ----------
    parameters : iterable of Tensor, of (path, Tensor), or of groups
        Tensors that require a gradient, such as ``model.parameters()``; see :class:`Optimizer`.
    learning_rate : float or schedule, default 0.001
        A number, or a function of the step.
    weight_decay : float, default 0.004
        The share of w, times the learning rate, that each step takes away.
    beta_1 : float, default 0.9
        Decay of the running mean of gradients.
    beta_2 : float, default 0.999
        Decay of the running mean of their squares.
    epsilon : float, default 1e-07
        Added to the root, so that it is never 0.
    clip_norm : float, default None
        Bound of the joint norm of all gradients.
    clip_value : float, default None
        Bound of each element of the gradients.

    Raises
    ------
    ValueError, TypeError
        For values out of range.

    Notes
    -----
    PyTorch's AdamW has weight_decay 0.01 and epsilon 1e-8, which it adds to the corrected root.

    References
    ----------
    I. Loshchilov and F. Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> from tinynn import Tensor
    >>> w = Tensor([1.0], requires_grad=True)
    >>> adam = AdamW([w], learning_rate=0.5, weight_decay=0.1)
    >>> (w * w).sum().backward(); adam.step(); round(w.item(), 4)
    0.45
    """

    @check.with_hints
    def __init__(
        self, parameters: Given, learning_rate: float | Schedule = 0.001, *,
        weight_decay: float = 0.004, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-7, clip_norm: float | None = None, clip_value: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            parameters, learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon,
            weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value,
        )  # fmt: skip


class RMSprop(Optimizer):
    """Steps divided by a running root mean square.

    For each w with gradient g, as Keras::

        w = w - learning_rate * weight_decay * w               # decoupled decay
        s = rho * s + (1 - rho) * g**2
        step = learning_rate * g / sqrt(s + epsilon)
        w = w - step                                           # momentum 0
        v = momentum * v + step;  w = w - v                    # momentum

    Parameters
    ----------
    parameters : iterable of Tensor, of (path, Tensor), or of groups
        Tensors that require a gradient, such as ``model.parameters()``; see :class:`Optimizer`.
    learning_rate : float or schedule, default 0.001
        A number, or a function of the step.
    rho : float, default 0.9
        Decay of the running mean of squares.
    momentum : float or schedule, default 0.0
        At least 0 and below 1. With momentum 0, v is forgotten.
    epsilon : float, default 1e-07
        Added under the root, so that it is never 0.
    weight_decay : float, default 0.0
        The share of w, times the learning rate, that each step takes away.
    clip_norm : float, default None
        Bound of the joint norm of all gradients.
    clip_value : float, default None
        Bound of each element of the gradients.

    Raises
    ------
    ValueError, TypeError
        For values out of range.

    Notes
    -----
    PyTorch adds epsilon to the root, and leaves the learning rate out of v.

    References
    ----------
    T. Tieleman and G. Hinton, Lecture 6.5: RMSProp, Neural Networks for Machine Learning, 2012.

    Examples
    --------
    >>> from tinynn import Tensor
    >>> w = Tensor([1.0], requires_grad=True)
    >>> rms = RMSprop([w], learning_rate=0.1)
    >>> (w * w).sum().backward(); rms.step(); round(w.item(), 4)
    0.6838
    """

    rho: float = Setting(at_least=0, below=1)  # type: ignore[assignment]
    momentum = Scheduled(at_least=0, below=1)
    epsilon: float = Setting(above=0)  # type: ignore[assignment]
    weight_decay: float = Setting(at_least=0)  # type: ignore[assignment]
    lr = Misnamed("learning_rate")
    slot_names = ("square", "velocity")
    optional_slots = ("velocity",)
    elementwise = True

    @check.with_hints
    def __init__(
        self, parameters: Given, learning_rate: float | Schedule = 0.001, *, rho: float = 0.9,
        momentum: float | Schedule = 0.0, epsilon: float = 1e-7, weight_decay: float = 0.0,
        clip_norm: float | None = None, clip_value: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(parameters, learning_rate, clip_norm=clip_norm, clip_value=clip_value)
        self.rho, self.momentum, self.epsilon = rho, momentum, epsilon
        self.weight_decay = weight_decay

    def updated(self, w: np.ndarray, g: np.ndarray, slots: Slots) -> tuple[np.ndarray, Slots]:
        """Return the new value of a parameter, its mean square and its velocity."""
        rate, momentum = self.learning_rate, self.momentum
        if self.weight_decay:
            w = w - rate * self.weight_decay * w
        square = (1 - self.rho) * g * g
        if slots:
            square += self.rho * slots["square"]
        step = rate * g / np.sqrt(square + self.epsilon)
        if not momentum:
            return w - step, {"square": square}
        if "velocity" in slots:
            step += momentum * slots["velocity"]
        return w - step, {"square": square, "velocity": step}
