"""Recordings and labelled beats from files: WFDB, EDF, NumPy and text; faults told in one line.

Beats are those annotations that mark a beat. Their symbols are those of the MIT-BIH convention:
Moody, "PhysioBank annotations" (archive.physionet.org/physiobank/annotations.shtml). Rhythm changes
(+), noise (~), flutter waves (!) and so on are not among them.
"""

import glob
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")
BEAT_WORDS = re.compile(r"(heart ?)?beats?|qrs|r|r[- ]?peaks?", re.IGNORECASE)  # in EDF
NOT_ANNOTATIONS = {".hea", ".dat", ".mat", ".edf", ".bdf", ".csv", ".txt", ".npy", ".npz", ".xws"}
KINDS = ".npy, .npz, .csv, .edf, .bdf or a WFDB record (.hea)"


@dataclass
class Recorded:
    """A recording as it is in its file; ``beats`` are the labelled ones, sample numbers or None."""

    name: str
    ecg: np.ndarray
    rate: float
    beats: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)  # what a person should know


def read_recording(
    path: str, rate: float | None, column: str | None, events: str | None, annotator: str | None
) -> Recorded:
    """Return the recording in a file; its beats are those of ``events`` if such a file is given.

    ``rate``: needed where the file has none. ``annotator``: of a WFDB record, by default atr.
    """
    kind = Path(path).suffix.lower()
    if kind in (".npy", ".npz", ".csv"):
        if rate is None or not 30 <= rate <= 1e6:
            raise ValueError("--recording needs its --rate in samples a second, from 30 up.")
        made = Recorded(path, read_column(path, "recording", column).astype(float), rate)
    elif kind in (".edf", ".bdf"):
        made = _read_edf(path, column, labelled=events is None)
    else:
        made = _read_wfdb(path, column, annotator, labelled=events is None)
    if annotator is not None and kind in (".npy", ".npz", ".csv", ".edf", ".bdf"):
        raise ValueError(f"--annotator is for WFDB records; {path} has none.")
    if annotator is not None and events is not None:
        raise ValueError("--annotator and --events both name the beats; leave one of them out.")
    if rate is not None and rate != made.rate:
        raise ValueError(f"{path} has {made.rate:g} Hz, not --rate {rate:g}; leave --rate out.")
    _check_samples(made)
    if events is not None:
        made.beats = read_events(events, len(made.ecg))
    return made


def _check_samples(made: Recorded) -> None:
    """Refuse samples in which no beat can be found; bridge those that are missing."""
    what, n = f"recording {made.name}", len(made.ecg)
    if not 30 <= made.rate <= 1e6:
        raise ValueError(f"{what} has {made.rate:g} samples a second; at least 30 are needed.")
    if n < 10 * made.rate:
        raise ValueError(
            f"{what}: {n} samples at {made.rate:g} Hz are {n / made.rate:.1f} s; at least 10 s "
            "are needed."
        )
    gone = ~np.isfinite(made.ecg)
    if gone.mean() > 0.5:
        raise ValueError(f"{what}: {gone.mean():.0%} of the samples are missing.")
    if gone.any():
        at = np.arange(n)
        made.ecg = np.interp(at, at[~gone], made.ecg[~gone])
        made.notes.append(f"{gone.sum() / made.rate:.1f} s are missing, bridged by straight lines")
    if np.ptp(made.ecg) == 0:
        raise ValueError(f"{what}: all values are the same.")


@contextmanager
def _reading(what: str, advice: str) -> Iterator[None]:
    """Tell in one line what a reader raises: at a damaged file that may be anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModuleNotFoundError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{what} cannot be read: {advice} ({reason})") from error


def _chosen(what: str, names: list[str], column: str | None) -> int | None:
    """Return the place of a channel by its name or number; None if none was asked for."""
    if column is None:
        return None
    if column in names:
        return names.index(column)
    if column.isdigit() and int(column) < len(names):
        return int(column)
    raise ValueError(f"{what} has no channel {column!r}; it has {', '.join(names)}.")


# ---------------------------------------------------------------- WFDB


def _read_wfdb(path: str, column: str | None, annotator: str | None, *, labelled: bool) -> Recorded:
    """Read one channel of a WFDB record, by default the first, and its beat annotations."""
    record = re.sub(r"\.(hea|dat)$", "", path)
    what, header = f"recording {path}", Path(f"{record}.hea")
    if not header.is_file():
        if not Path(path).is_file():
            raise FileNotFoundError(f"{what}: there is no such file, nor {header}.")
        if Path(path).suffix.lower() != ".dat":
            kind = Path(path).suffix.lower()
            raise ValueError(f"{what}: the file must be {KINDS}, not {kind!r}.")
        raise FileNotFoundError(f"{what}: its header {header} is missing; put it beside the file.")
    import_quietly("wfdb")
    import wfdb

    advice = f"is {header} whole, and are its signal files beside it, uncut?"
    with _reading(what, advice):
        about = wfdb.rdheader(record, rd_segments=True)
        names = getattr(about, "sig_name", None) or about.get_sig_name()
        names = [name or str(i) for i, name in enumerate(names)]
        if not about.fs or len(names) != about.n_sig or not names:
            raise ValueError("the header names no signals or no rate")
    at = _chosen(what, names, column) or 0
    with _reading(what, advice):
        read = wfdb.rdrecord(record, channels=[at])
        ecg = np.asarray(read.p_signal, float)[:, 0]
    made = Recorded(path, ecg, float(read.fs))
    if len(names) > 1 and column is None:
        made.notes.append(f"channel {names[at]} of {', '.join(names)}; --column chooses another")
    if labelled:
        _annotate(made, record, annotator)
    return made


def _annotate(made: Recorded, record: str, annotator: str | None) -> None:
    """Give a recording the beats of a WFDB annotation file, if there is one."""
    import wfdb

    name = annotator or "atr"
    file = Path(f"{record}.{name}")
    folder, stem = file.parent, Path(f"{record}.hea").stem
    others = sorted(
        p.suffix[1:]
        for p in folder.glob(f"{glob.escape(stem)}.*")
        if p.stem == stem and p.suffix.lower() not in NOT_ANNOTATIONS and p != file
    )
    choose = f"; it has {', '.join(others)}: choose with --annotator" if others else ""
    if not file.is_file():
        if annotator is not None:
            raise FileNotFoundError(f"recording {made.name} has no annotations {file}{choose}.")
        made.notes.append(f"no annotations {file}{choose}")
        return
    with _reading(f"annotations {file}", "is the file whole?"):
        read = wfdb.rdann(record, name)
        symbols, samples = np.array(read.symbol, str), np.asarray(read.sample, np.int64)
        rate = float(read.fs or made.rate)  # annotations may count in steps of their own
    beat = np.isin(symbols, sorted(BEATS))
    if not beat.any():
        marks = ", ".join(sorted(set(symbols.tolist()))) or "nothing"
        raise ValueError(f"annotations {file} mark no beats (they hold: {marks}){choose}.")
    _take(made, np.round(samples[beat] / rate * made.rate), f"the {name} annotations")


def _take(made: Recorded, samples: np.ndarray, source: str) -> None:
    """Take labelled beats, sorted, each once, without those that lie outside the recording."""
    beats = np.unique(samples.astype(np.int64))
    inside = (beats >= 0) & (beats < len(made.ecg))
    made.beats = beats[inside]
    made.notes.append(f"{np.sum(inside)} labelled beats: {source}")
    if not inside.all():
        made.notes.append(f"{np.sum(~inside)} labelled beats beyond its end are left out")


def import_quietly(name: str) -> None:
    """Import a package without what it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        __import__(name)


# ---------------------------------------------------------------- EDF


def _read_edf(path: str, column: str | None, *, labelled: bool) -> Recorded:
    """Read one channel of an EDF or BDF file, and those of its annotations that mark beats."""
    what = f"recording {path}"
    if not Path(path).is_file():
        raise FileNotFoundError(f"{what}: there is no such file.")
    import pyedflib

    _check_size(path, what)
    with _reading(what, "is it an EDF file, and whole?"), pyedflib.EdfReader(path) as file:
        names = [name.strip() for name in file.getSignalLabels()]
        rates = [float(rate) for rate in file.getSampleFrequencies()]
    at = _chosen(what, names, column)
    if at is None:
        hearts = [i for i, name in enumerate(names) if re.search("ecg|ekg", name, re.IGNORECASE)]
        if not hearts and len(names) != 1:
            told = ", ".join(names) or "no channels"
            raise ValueError(f"{what} has {told}; choose the heart's with --column.")
        at = hearts[0] if hearts else 0
    with _reading(what, "is it whole?"), pyedflib.EdfReader(path) as file:
        made = Recorded(path, file.readSignal(at).astype(float), rates[at])
        onsets, _, texts = file.readAnnotations()
    if len(names) > 1 and column is None:
        made.notes.append(f"channel {names[at]} of {', '.join(names)}; --column chooses another")
    texts = [str(text).strip() for text in texts]
    beat = np.array([t in BEATS or bool(BEAT_WORDS.fullmatch(t)) for t in texts], bool)
    if labelled and beat.any():
        _take(made, np.round(np.asarray(onsets)[beat] * made.rate), "annotations in the file")
    elif labelled:
        few = ", ".join(sorted(set(texts))[:5])
        made.notes.append(f"its annotations mark no beats ({few})" if few else "no annotations")
    return made


def _check_size(path: str, what: str) -> None:
    """Refuse an EDF file that is shorter than its header says; the reader would print more."""
    with open(path, "rb") as file:
        head = file.read(256)
        try:
            size, records, n = int(head[184:192]), int(head[236:244]), int(head[252:256])
            file.seek(256 + 216 * n)
            samples = [int(file.read(8)) for _ in range(n)]
        except ValueError:
            raise ValueError(f"{what} cannot be read: its EDF header is none, or cut.") from None
    each = 3 if head[:1] == b"\xff" else 2  # bytes of a sample in BDF and EDF
    needed, there = size + records * sum(samples) * each, Path(path).stat().st_size
    if there < needed:
        raise ValueError(f"{what} is cut short: it has {there} of {needed} bytes. Copy it again.")


# ---------------------------------------------------------------- NumPy and text


def read_events(path: str, length: int) -> np.ndarray:
    """Return sample numbers of beats in a recording of so many samples, ascending."""
    beats = np.sort(read_column(path, "events"))
    if (beats != np.round(beats)).any():
        raise ValueError(
            f"events {path}: must be whole sample numbers, got {beats[0]:g}, ...; "
            "multiply seconds by the rate."
        )
    if beats[0] < 0 or beats[-1] >= length:
        raise ValueError(
            f"events {path}: sample numbers must lie in 0..{length - 1}, "
            f"got {beats[0]:g} to {beats[-1]:g}."
        )
    return beats.astype(np.int64)


def read_column(path: str, what: str, column: str | None = None) -> np.ndarray:
    """Return one column of numbers from a .npy, .npz or .csv file, or say what is wrong."""
    kind = Path(path).suffix.lower()
    readers: dict[str, Any] = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    if kind not in readers:
        raise ValueError(f"{what} {path}: the file must be .npy, .npz or .csv, not {kind!r}.")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{what} {path}: there is no such file.")
    try:
        columns = readers[kind](path)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{what} {path} cannot be read: {error}") from error
    if not columns:
        raise ValueError(f"{what} {path} holds no numbers.")
    names = ", ".join(map(str, columns))
    if column is None and len(columns) > 1:
        raise ValueError(f"{what} {path} has the columns {names}; choose one with --column.")
    if column is not None and column not in columns:
        if not (column.isdigit() and int(column) < len(columns)):
            raise ValueError(f"{what} {path} has no column {column!r}; it has {names}.")
        column = list(columns)[int(column)]
    values = columns[column] if column is not None else next(iter(columns.values()))
    if values.dtype.kind not in "fiu" or values.size == 0:
        raise ValueError(f"{what} {path} must hold numbers, got {values.size} of {values.dtype}.")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(
            f"{what} {path}: {bad.size} values are missing or not finite, the first at row "
            f"{bad[0]} of the data. Fill them in or cut them out."
        )
    return values


def _columns(array: np.ndarray, names: list[str] | None = None) -> dict[str, np.ndarray]:
    if array.size == 0:
        return {}
    array = np.squeeze(array) if array.ndim > 1 else array
    if array.ndim == 0:
        array = array[None]
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"needs one axis, or rows and columns, got shape {array.shape}")
    if array.shape[0] < array.shape[1]:
        array = array.T
    names = names if names and len(names) == array.shape[1] else map(str, range(array.shape[1]))
    return dict(zip(names, array.T, strict=True))


def _read_npy(path: str) -> dict[str, np.ndarray]:
    return _columns(np.load(path, allow_pickle=False))


def _read_npz(path: str) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        found = {name: _columns(archive[name]) for name in archive.files}
    return {
        name if len(columns) == 1 else f"{name}.{part}": values
        for name, columns in found.items()
        for part, values in columns.items()
    }


def _read_csv(path: str) -> dict[str, np.ndarray]:
    with open(path, encoding="utf-8-sig") as file:
        first = file.readline().strip()
    mark = next((mark for mark in (",", ";", "\t") if mark in first), None)
    cells = [cell.strip().strip("\"'") for cell in first.split(mark)]
    try:
        [float(cell) for cell in cells]
        header = 0
    except ValueError:
        header = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty file is told below
        rows = np.loadtxt(path, delimiter=mark, skiprows=header, ndmin=2, encoding="utf-8-sig")
    return _columns(rows, cells if header else None)
