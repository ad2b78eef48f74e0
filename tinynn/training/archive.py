"""Archives of arrays and texts: written whole or not at all, and read without trusting them."""

import glob
import io
import json
import math
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, BinaryIO

import numpy as np

from tinynn import _checks as check

File = str | bytes | os.PathLike[str] | BinaryIO

LONGEST_HEADER = 4096  # bytes that say an array's shape and dtype: enough for 64 axes
LONGEST_NAME = 200  # bytes of a file's name from which its temporary name can be made


class Damaged(Exception):
    """An archive is not what it should be."""


@contextmanager
def untrusted() -> Iterator[None]:
    """Raise Damaged for whatever a damaged file makes Python, zipfile and NumPy raise inside."""
    try:
        yield
    except Exception as error:
        raise Damaged(str(error) or type(error).__name__) from error


# ---------------------------------------------------------------- reading


class Stored:
    """An array in an archive: its shape and dtype are known, its values are read when asked for."""

    def __init__(self, archive: Any, info: Any) -> None:
        self._archive, self._info = archive, info
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            if version != (1, 0):
                raise Damaged(f"{info.filename!r} has the version {version} of NumPy's format")
            found = np.lib.format.read_array_header_1_0(member, max_header_size=LONGEST_HEADER)
            self.shape, _, self.dtype = found
            length = info.file_size - member.tell()
        if self.dtype.hasobject or self.dtype.names is not None or self.dtype.subdtype:
            raise Damaged(f"{info.filename!r} holds objects, not numbers")
        if any(n < 0 for n in self.shape) or length != math.prod(self.shape) * self.dtype.itemsize:
            more = "has bytes after its array" if length > self.nbytes else "ends too early"
            raise Damaged(f"{info.filename!r} {more}")

    @property
    def nbytes(self) -> int:
        """How many bytes the array takes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.read()

    def read(self) -> np.ndarray:
        """Return the array."""
        with untrusted(), self._archive.open(self._info) as member:
            array: np.ndarray = np.lib.format.read_array(
                member, allow_pickle=False, max_header_size=LONGEST_HEADER
            )
            if member.read(1):  # also makes zipfile check the sum of what is read whole
                raise Damaged(f"{self._info.filename!r} has bytes after its array")
        return array


class Archive:
    """An archive that is open for reading; its ``arrays`` and ``texts`` by name, not yet read."""

    def __init__(self, file: Any) -> None:
        import zipfile  # costs a tenth of importing NumPy, and only files need it

        if not file.seekable():
            file = io.BytesIO(file.read())
        self._archive = zipfile.ZipFile(file)
        self.size = file.seek(0, os.SEEK_END)
        file.seek(-22, os.SEEK_END)  # the last record, if no comment and nothing else follows
        if file.read(4) != b"PK\5\6":
            raise Damaged("it has bytes after its end")
        self.arrays: dict[str, Stored] = {}
        self.texts: dict[str, Any] = {}
        for info in self._archive.infolist():
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Damaged(f"{info.filename!r} is compressed in an unusual way")
            name = info.filename.removesuffix(".npy")
            if name in self.arrays or name in self.texts:
                raise Damaged(f"it holds two arrays of one name, {name!r}")
            if info.filename.endswith(".json"):
                self.texts[name] = info
            else:
                self.arrays[name] = Stored(self._archive, info)

    def demand_backed(self) -> None:
        """Raise Damaged if it claims to hold more bytes than it has."""
        claimed = sum(info.file_size for info in self._archive.infolist())
        if claimed > self.size:
            raise Damaged(
                f"it claims to hold {claimed} bytes, but has only {self.size}. A file that was "
                "compressed by another program is read by tinynn.load, into a model that is there"
            )

    def json(self, name: str) -> Any:
        """Return what a text of JSON says, or None if there is none of this name."""
        if name not in self.texts:
            return None
        self.demand_backed()
        with untrusted():
            text = self._archive.read(self.texts[name]).decode("utf-8")
            return json.loads(text, parse_constant=_no_number)


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


@contextmanager
def opened(owner: str, file: Any, kind: str, rest: str = "") -> Iterator[Archive]:
    """Open an archive; whatever is wrong with it is a ValueError that names it.

    ``kind``: what it should be; ``rest``: what else the message says.
    """
    named, name = is_path(file), shown_name(file)
    if named and os.path.isdir(file):
        raise ValueError(f"{owner}: {name} is a folder, not a file.")
    with naming(owner, file), open(file, "rb") if named else nullcontext(file) as stream:
        try:
            with untrusted():
                archive = Archive(stream)
            yield archive
        except Damaged as error:
            raise ValueError(f"{owner}: {name} is not a readable {kind}: {error}.{rest}") from error


def is_path(file: Any) -> bool:
    """Tell a path from a file object."""
    return isinstance(file, (str, bytes, os.PathLike))


def checked_path(owner: str, path: Any) -> str:
    """Return the path of a file to write, in a folder that is there."""
    if not is_path(path):
        raise TypeError(f"{owner}: path must be a path, got {check.shown(path)}.")
    path = os.fsdecode(path)
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{owner}: {path}: there is no folder {folder}. Make it first.")
    if os.path.isdir(path):
        raise ValueError(f"{owner}: {path} is a folder, not a file.")
    return path


def shown_name(file: Any) -> str:
    """Return what a message calls the file."""
    if is_path(file):
        return os.fsdecode(file)
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else f"the {type(file).__name__}"


@contextmanager
def naming(owner: str, file: Any) -> Iterator[None]:
    """Raise an OSError inside in the name of the file that was asked for."""
    try:
        yield
    except OSError as error:
        what = f"{owner}: {error.strerror or error}"
        raise OSError(error.errno, what, shown_name(file)) from error


# ---------------------------------------------------------------- writing


def write(file: Any, arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> None:
    """Write an archive; numpy.savez would refuse an array named "file"."""
    import zipfile

    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        for name, text in texts.items():
            archive.writestr(name, text)


def write_whole(path: Any, write: Callable[[Any], None], *, sweep: bool = False) -> None:
    """Replace a file all at once by what ``write`` writes to a file object.

    A link is followed, and the permissions of a file that is replaced are kept. ``sweep``: remove
    what a process has left that was killed while it wrote this file.
    """
    target = os.path.realpath(os.fsdecode(path))
    before = os.stat(target).st_mode if os.path.exists(target) else None
    if before is not None and not stat.S_ISREG(before):
        with open(target, "wb") as device:  # such as a pipe: it is not for us to replace
            write(device)
        return
    if before is not None and not os.access(target, os.W_OK):
        raise PermissionError(13, "Permission denied, the file is read-only")
    folder, name = os.path.split(target)
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f"{zlib.crc32(os.fsencode(name)):08x}"
    start = os.path.join(folder, f".{name}.")
    if sweep:
        for left in glob.glob(f"{glob.escape(start)}*.tmp"):
            with suppress(FileNotFoundError):
                os.remove(left)
    temporary = f"{start}{os.urandom(8).hex()}.tmp"
    try:
        with open(temporary, "xb") as file:
            if before is not None:
                os.chmod(temporary, stat.S_IMODE(before))
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if not os.path.exists(temporary):
            raise OSError(
                5, "What was written is gone. Does another process write to the same path?"
            )
        os.replace(temporary, target)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Have the new name of a file outlive a loss of power, where the system can do that."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
