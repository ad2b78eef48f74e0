"""Settings of optimizers: numbers within bounds, flags and schedules, checked when they are set."""

import math
from typing import Any

from tinynn import _checks as check
from tinynn.autodiff.listening import effect
from tinynn.training import schedules


class Setting:
    """A number within bounds, or a flag; it is read from the own dict."""

    def __init__(self, **bounds: float) -> None:
        self.bounds = bounds

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def checked(self, owner: str, value: Any) -> Any:
        """Return a value that may be set."""
        checked = check.real if self.bounds else check.flag
        return checked(owner, self.name, value, **self.bounds)

    def __set__(self, instance: Any, value: Any) -> None:
        _set(self, instance, value)

    def _take(self, instance: Any, value: Any) -> None:
        vars(instance)[self.name] = self.checked(type(instance).__name__, value)


@effect
def _set(setting: Setting, instance: Any, value: Any) -> None:
    setting._take(instance, value)


class Limit(Setting):
    """A number within bounds, or None."""

    def checked(self, owner: str, value: Any) -> Any:
        """Return a value that may be set."""
        return None if value is None else super().checked(owner, value)


class Scheduled(Setting):
    """A number within bounds, or a schedule, which is asked whenever the setting is read."""

    def __get__(self, instance: Any, owner: type | None = None) -> float:
        if instance is None:
            return self  # type: ignore[return-value]
        try:
            value = instance.__dict__[self.name]
        except KeyError:
            raise AttributeError(f"{type(instance).__name__} has no {self.name} yet.") from None
        return read(self, instance, value) if callable(value) else value

    def checked(self, owner: str, value: Any) -> Any:
        """Return a value that may be set."""
        if callable(value) or isinstance(value, type):
            return schedules.function(owner, self.name, value)
        try:
            return super().checked(owner, value)
        except TypeError as error:
            advice = "Or give a schedule, a function of the step: see tinynn.schedules."
            raise TypeError(f"{error} {advice}") from None

    def _take(self, instance: Any, value: Any) -> None:
        super()._take(instance, value)
        held = instance._scheduled | {self.name: vars(instance)[self.name]}
        instance._scheduled = {name: value for name, value in held.items() if callable(value)}

    def asked(self, optimizer: Any, schedule: Any) -> float:
        """Return the number for the next step, which must be within the bounds."""
        step, low, below = optimizer.iterations, self.bounds["at_least"], self.bounds.get("below")
        try:
            number = schedule(step)
            if type(number) is float and low <= number < (below or math.inf):  # nearly always
                return number
            name = f"{self.name}, by {schedules.shown(schedule)} at step {step},"
            return check.real(type(optimizer).__name__, name, number, **self.bounds)
        except Exception as error:
            what = f"{type(optimizer).__name__}.{self.name}: a schedule is asked for a step: "
            error.add_note(f"{what}{schedules.shown(schedule)}({step})")
            raise


@effect
def read(setting: Scheduled, optimizer: Any, schedule: Any) -> float:
    """Return what a schedule gives for the next step."""
    return setting.asked(optimizer, schedule)


class Misnamed:
    """A setting's name elsewhere, which would be another attribute, unheeded."""

    def __init__(self, meant: str) -> None:
        self.meant = meant

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        who = (owner if instance is None else type(instance)).__name__
        raise AttributeError(f"{who}: there is no setting {self.name!r}; it is {self.meant} here.")

    def __set__(self, instance: Any, value: Any) -> None:
        self.__get__(instance, type(instance))
