"""One process at a time: locks of the kernel, which it releases when their holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

_held: set[int] = set()


def _forget_in_child() -> None:
    # a forked child shares its parent's locks for as long as it keeps their files open
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)


class Lock:
    """A held lock (``flock``) on a file of its own, which is removed on release.

    A holder that was killed leaves the file behind, unlocked, with its note in it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @staticmethod
    def take(path: Path, note: str = "") -> Lock | None:
        """Take the lock, or return None if another process or thread has it.

        Parameters
        ----------
        path : Path
            File of the lock.
        note : str
            Written into the file for others to read.

        Raises
        ------
        OSError
            If the file cannot be made or written, or the file system has no locks.
        """
        return Lock._take(path, note, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @staticmethod
    def wait_for(path: Path) -> Lock:
        """Take the lock as soon as its holder lets go. Raises as :meth:`take` does."""
        lock = Lock._take(path, "", fcntl.LOCK_EX)
        assert lock is not None
        return lock

    @staticmethod
    def _take(path: Path, note: str, operation: int) -> Lock | None:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            _held.add(descriptor)
            lock = Lock(path, descriptor)
            try:
                fcntl.flock(descriptor, operation)
                if os.fstat(descriptor).st_nlink == 0 or not _same(descriptor, path):
                    lock._close()  # the holder before removed the file between our opening and locking it
                    continue
            except BlockingIOError:
                lock._close()
                return None
            except BaseException as error:
                lock._close()
                if isinstance(error, OSError) and error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                    raise OSError(error.errno, f"the file system has no locks ({error.strerror})", str(path)) from error
                raise
            try:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, note.encode())
            except BaseException:
                lock.release()
                raise
            return lock

    def release(self) -> None:
        """Remove the file and let go."""
        self.path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        _held.discard(self._descriptor)
        os.close(self._descriptor)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock right now."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
