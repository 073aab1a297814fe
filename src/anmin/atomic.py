"""Writing files so that a reader, or a crash, never meets half of one, and so that two writers never meet."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_atomically(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it there on success, remove it on failure.

    An existing file at ``path`` keeps its contents until the new one is complete, and its permissions after. An
    OSError, such as that of a full disk, names ``path``.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=".tmp", dir=path.parent)
    except FileNotFoundError:
        raise FileNotFoundError(f"Cannot write {path}: there is no folder {path.parent}.") from None
    except OSError as error:
        raise _of(path, error) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or (error.filename is not None and not _is(error.filename, temporary)):
            raise  # not of this file
        raise _of(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | os.PathLike) -> None:
    """Remove what :func:`written_atomically` left beside ``path`` in processes that were killed in the act."""
    path = Path(path)
    temporary = re.compile(rf"{re.escape(_prefix(path))}[a-z0-9_]{{8}}\.tmp")
    for other in path.parent.iterdir():
        if temporary.fullmatch(other.name):
            other.unlink(missing_ok=True)


@contextmanager
def held_alone(path: str | os.PathLike) -> Iterator[None]:
    """Hold the lock of ``path``, a file beside it, in the block; it ends with the process, however that ends.

    Raises
    ------
    ValueError
        If it is held already, be it in this process.
    """
    lock = Path(f"{path}.lock")
    try:
        handle = _locked(lock)
    except BlockingIOError:
        raise ValueError(f"{path} is in use by another fit; wait until that has ended, or name another file.") from None
    try:
        yield
    finally:
        # Removed while it is held, so that it is not one that another has taken since.
        if sys.platform != "win32":
            lock.unlink(missing_ok=True)
        os.close(handle)


def _locked(lock: Path) -> int:
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
                return handle
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(lock)):
                return handle
        except FileNotFoundError:
            pass  # removed by who held it before, between two of these calls
        except PermissionError as error:  # as Windows has it
            os.close(handle)
            raise BlockingIOError(*error.args) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _of(path: Path, error: OSError) -> OSError:
    return OSError(error.errno, error.strerror, str(path))  # of the subclass that the number stands for


def _is(name: Any, path: Path) -> bool:
    return os.fspath(name) == str(path) if isinstance(name, str | os.PathLike) else False


def _prefix(path: Path) -> str:
    # Systems allow names of 255 bytes, of which 12 come after the prefix.
    return f".{os.fsdecode(os.fsencode(path.name)[:230])}."


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
