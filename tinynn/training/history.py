"""What a training has seen: figures by name, one an epoch, and how to keep them in a file."""

import csv
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from tinynn import _checks as check

Path = str | os.PathLike[str]


@dataclass
class History:
    """What :func:`fit` has seen: ``history["loss"]``, ``history["val_loss"]``, one per epoch.

    All lists are equally long: an epoch without a figure has nan there.

    Attributes
    ----------
    history : dict of str to list of float
        The losses, the metrics, and what callbacks have added to ``logs``, by name.
    eager : str, default None
        Why steps were not replayed, by the part that stood in the way. None if they were.
    stopped : str, default None
        Who ended the training: "Ctrl-C" or a callback. None if the epochs ran out.
    notes : list of str
        Remarks that are no errors: a monitored figure is nan, the optimizer lacks a parameter.

    Examples
    --------
    >>> seen = History({"loss": [0.5, 0.25]})
    >>> seen.history["loss"][-1], seen.epoch
    (0.25, [0, 1])
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    eager: str | None = None
    stopped: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def epoch(self) -> list[int]:
        """The epochs that have ended, counted from 0."""
        return list(range(max(map(len, self.history.values()), default=0)))

    def append(self, logs: Mapping[str, float]) -> None:
        """Add the figures of one epoch.

        Parameters
        ----------
        logs : dict of str to float
            The figures by name. A figure that is missing becomes nan.
        """
        before = len(self.epoch)
        for name in dict.fromkeys([*self.history, *logs]):
            values = self.history.setdefault(name, [math.nan] * before)
            values.append(float(logs.get(name, math.nan)))

    def to_json(self, path: Path | None = None) -> str:
        """Return all of it as JSON, and write it to ``path`` if there is one.

        What is not finite becomes null, since JSON has no such numbers.

        Parameters
        ----------
        path : path, default None
            The file, which is written anew.

        Returns
        -------
        str

        Raises
        ------
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> History({"loss": [0.5, math.nan]}).to_json()
        '{"history": {"loss": [0.5, null]}, "eager": null, "stopped": null, "notes": []}'
        """
        lists = {
            name: [value if math.isfinite(value) else None for value in values]
            for name, values in self.history.items()
        }
        text = json.dumps(vars(self) | {"history": lists})
        if path is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text + "\n")
        return text

    def to_csv(self, path: Path) -> None:
        """Write a table: the epoch, counted from 0, and its figures; nan is an empty cell.

        Parameters
        ----------
        path : path
            The file, which is written anew.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        rows = [
            {"epoch": i} | {name: values[i] for name, values in self.history.items()}
            for i in self.epoch
        ]
        write_table(path, ["epoch", *self.history], rows)


def write_table(
    path: Path, names: list[str], rows: list[dict[str, float]], mode: str = "w"
) -> None:
    """Write or append rows of a CSV file, a new one with its head; no cell for nan."""
    with open(path, mode, newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        if mode == "w":
            writer.writeheader()
        for row in rows:
            writer.writerow({k: "" if v != v else v for k, v in row.items()})


def as_figure(owner: str, name: str, value: object) -> float:
    """Return a figure as a float, which may be nan; a Tensor or array of one element will do."""
    try:
        if not isinstance(value, (str, bytes, bool)):
            return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{owner}: {name} must be a number, got {check.shown(value)}.")
