"""How a server started by root runs as a lesser user, and how that user gets to its files.

PostgreSQL refuses to run as root. The user it runs as must pass through every folder above its data and its programs, and
some of them (/root) are closed. A POSIX ACL entry lets that one user through, and nobody else: no folder is opened to all.
"""

import fcntl
import os
import pwd
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

SERVER_USER = "pgserver"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

_ACL = "system.posix_acl_access"
_HEADER, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NOBODY_IN_PARTICULAR = 0xFFFFFFFF
_READ, _PASS = 4, 1


class ClosedFolderError(Exception):
    """`folder` keeps the server's user out, and its file system cannot let one user through."""

    def __init__(self, folder: Path, account: pwd.struct_passwd) -> None:
        super().__init__(
            f"the folder {folder} is closed to the user {account.pw_name}, who runs the database server for root"
        )
        self.folder = folder


def server_account(data_folder: Path) -> pwd.struct_passwd | None:
    """Who runs the server: None for the caller, else (the caller being root) the account to change to.

    Data that an ordinary user has made stay that user's; new data belong to the system user `pgserver`, made here if need be.
    """
    if os.geteuid() != 0:
        return None
    if data_folder.exists() and (owner := data_folder.stat().st_uid) != 0:
        return pwd.getpwuid(owner)
    return _account(SERVER_USER) or _new_account(SERVER_USER) or pwd.getpwnam("nobody")


def let_through(account: pwd.struct_passwd, folder: Path) -> None:
    """Let `account` reach `folder` through the folders above it, whatever their modes.

    :raises ClosedFolderError: a folder is closed and its file system has no ACLs.
    """
    for parent in reversed(folder.resolve().parents):
        _grant(account, parent, _PASS)


def let_read(account: pwd.struct_passwd, tree: Path) -> None:
    """Let `account` read and run everything below `tree` (an installation made under `umask 077` is closed to it)."""
    let_through(account, tree)
    for path in _walk(tree.resolve()):
        mode = path.stat().st_mode
        runs = stat.S_ISDIR(mode) or mode & stat.S_IXUSR
        _grant(account, path, _READ | _PASS if runs else _READ)


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _new_account(name: str) -> pwd.struct_passwd | None:
    useradd = shutil.which("useradd", path=SYSTEM_PATH)
    if useradd is None:
        return None
    # Several processes may get here at once, and two runs of useradd at once both succeed: the later one replaces the
    # account by one of another number, and what was given to the first is nobody's. So they come one after another.
    lock = os.open("/etc", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _account(name) is None:
            subprocess.run(  # noqa: S603  - constants only
                [
                    useradd,
                    *("--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"),
                    name,
                ],
                check=False,
                capture_output=True,
            )
    finally:
        os.close(lock)
    return _account(name)


def _walk(tree: Path) -> Iterator[Path]:
    yield tree
    for folder, folders, files in os.walk(tree):
        for name in folders + files:
            path = Path(folder, name)
            if not path.is_symlink():
                yield path


def _grant(account: pwd.struct_passwd, path: Path, wanted: int) -> None:
    status = path.stat()
    entries = _read_acl(path, status.st_mode)
    if _rights(account, status, entries) & wanted == wanted:
        return
    # The mask limits named entries: fold it into each of them before it grows, so that nobody else gains by it.
    mask = entries.get((_MASK, _NOBODY_IN_PARTICULAR), 7)
    for tag, who in entries:
        if tag in (_USER, _GROUP_OBJ, _GROUP):
            entries[tag, who] &= mask
    entries[_USER, account.pw_uid] = entries.get((_USER, account.pw_uid), 0) | wanted
    entries[_MASK, _NOBODY_IN_PARTICULAR] = 0
    for (tag, _), rights in list(entries.items()):
        if tag in (_USER, _GROUP_OBJ, _GROUP):
            entries[_MASK, _NOBODY_IN_PARTICULAR] |= rights
    packed = _HEADER.pack(2) + b"".join(_ENTRY.pack(tag, rights, who) for (tag, who), rights in sorted(entries.items()))
    try:
        os.setxattr(path, _ACL, packed)
    except (OSError, AttributeError) as error:  # AttributeError: no extended attributes on this operating system
        raise ClosedFolderError(path, account) from error


def _read_acl(path: Path, mode: int) -> dict[tuple[int, int], int]:
    try:
        packed = os.getxattr(path, _ACL)
    except (OSError, AttributeError):  # no entries yet, or no ACLs at all: the mode says everything
        rights = {_USER_OBJ: mode >> 6 & 7, _GROUP_OBJ: mode >> 3 & 7, _OTHER: mode & 7}
        return {(tag, _NOBODY_IN_PARTICULAR): right for tag, right in rights.items()}
    return {(tag, who): rights for tag, rights, who in _ENTRY.iter_unpack(packed[_HEADER.size :])}


def _rights(account: pwd.struct_passwd, status: os.stat_result, entries: dict[tuple[int, int], int]) -> int:
    """What `account` may do, as the kernel decides it: owner, then named user, then groups, then all others."""
    if status.st_uid == account.pw_uid:
        return entries[_USER_OBJ, _NOBODY_IN_PARTICULAR]
    mask = entries.get((_MASK, _NOBODY_IN_PARTICULAR), 7)
    if (_USER, account.pw_uid) in entries:
        return entries[_USER, account.pw_uid] & mask
    groups = []
    if status.st_gid == account.pw_gid:
        groups.append(entries[_GROUP_OBJ, _NOBODY_IN_PARTICULAR])
    if (_GROUP, account.pw_gid) in entries:
        groups.append(entries[_GROUP, account.pw_gid])
    if groups:
        return max(groups) & mask
    return entries[_OTHER, _NOBODY_IN_PARTICULAR]
