"""How the server's user gets through closed folders, and that nobody else does."""

import os
import pwd
import struct
import subprocess
import sys

import pytest

from marketplace.postgresql import passage
from tests.billing.waiting import PATIENCE_SECONDS
from tests.marketplace.test_postgresql import ROOT, needs_root

pytestmark = needs_root
ACL = "system.posix_acl_access"
UNDEFINED = 0xFFFFFFFF


@pytest.fixture
def account():
    return passage.server_account(passage.Path("/nonexistent"))


def entries(path):
    return [struct.unpack_from("<HHI", os.getxattr(path, ACL), at) for at in range(4, len(os.getxattr(path, ACL)), 8)]


def may(who, path, *, flag):
    return (
        subprocess.run(
            ["/usr/bin/test", f"-{flag}", path], user=who.pw_uid, group=who.pw_gid, extra_groups=[], check=False
        ).returncode
        == 0
    )


def test_new_data_belong_to_a_system_user_and_old_data_stay_with_their_owner(tmp_path, account):
    assert account.pw_name == "pgserver"
    assert account.pw_uid < 1000
    os.chown(tmp_path, 65534, 65534)
    assert passage.server_account(tmp_path).pw_name == "nobody"


def test_processes_that_need_the_system_user_at_once_on_a_new_machine_all_get_the_same_one():
    name = f"suanlitest{os.getpid()}"
    code = f"from marketplace.postgresql import passage; print(passage._new_account({name!r}).pw_uid)"
    try:
        started = [
            subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for _ in range(6)
        ]
        told = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in started]
        assert told == [f"{pwd.getpwnam(name).pw_uid}\n"] * 6
    finally:
        subprocess.run(["/usr/sbin/userdel", name], check=False, capture_output=True)


def test_a_closed_folder_lets_one_user_through_and_shows_it_nothing(tmp_path, account):
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True, mode=0o755)
    (tmp_path / "closed").chmod(0o700)
    assert not may(account, inner, flag="x")
    passage.let_through(account, inner)
    assert entries(tmp_path / "closed") == [
        (0x01, 7, UNDEFINED),
        (0x02, 1, account.pw_uid),
        (0x04, 0, UNDEFINED),
        (0x10, 1, UNDEFINED),
        (0x20, 0, UNDEFINED),
    ]
    assert may(account, inner, flag="x")
    assert not may(account, tmp_path / "closed", flag="r")
    assert not may(pwd.getpwnam("nobody"), inner, flag="x")


def test_open_folders_are_left_as_they_are(tmp_path, account):
    (tmp_path / "open").mkdir(mode=0o755)
    passage.let_through(account, tmp_path / "open" / "inner")
    assert ACL not in os.listxattr(tmp_path / "open")


def test_others_named_in_an_entry_gain_nothing_when_the_mask_grows(tmp_path, account):
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o700)
    before = [(0x01, 7, UNDEFINED), (0x02, 7, 65534), (0x04, 5, UNDEFINED), (0x10, 4, UNDEFINED), (0x20, 0, UNDEFINED)]
    os.setxattr(folder, ACL, struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in before))
    passage.let_through(account, folder / "inner")
    assert {(tag, who): rights for tag, rights, who in entries(folder)} == {
        (0x01, UNDEFINED): 7,
        (0x02, account.pw_uid): 1,
        (0x02, 65534): 4,
        (0x04, UNDEFINED): 4,
        (0x10, UNDEFINED): 5,
        (0x20, UNDEFINED): 0,
    }


def test_an_installation_made_under_a_strict_umask_becomes_readable_to_one_user(tmp_path, account):
    tree = tmp_path / "installation"
    (tree / "bin").mkdir(parents=True)
    program, text = tree / "bin" / "program", tree / "bin" / "text"
    for path, mode in ((program, 0o700), (text, 0o600), (tree / "bin", 0o700), (tree, 0o700)):
        path.touch() if path in (program, text) else None
        path.chmod(mode)
    passage.let_read(account, tree)
    assert [may(account, program, flag=flag) for flag in "rwx"] == [True, False, True]
    assert [may(account, text, flag=flag) for flag in "rwx"] == [True, False, False]
    assert not may(pwd.getpwnam("nobody"), text, flag="r")
