import errno
import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from pcbench.report import UnwritableOutputError, check_writable, write_text

posix = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


@contextmanager
def unprivileged():
    """Run as somebody whom permissions bind, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def locked():
    """Return a directory that may be listed by all and written to by nobody."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "old.json").write_text("old")
        path.chmod(0o555)
        yield path
        path.chmod(0o755)


def refused(path):
    with pytest.raises(UnwritableOutputError) as caught:
        check_writable(path)
    with pytest.raises(UnwritableOutputError, match="cannot be written"):
        write_text("new", path)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be written: ")
    assert message.endswith(".")
    return message


def test_a_good_place_is_accepted_and_left_as_it_was(tmp_path):
    check_writable(tmp_path / "report.json")
    assert list(tmp_path.iterdir()) == []


def test_the_check_leaves_an_existing_file_untouched(tmp_path):
    file = tmp_path / "report.json"
    file.write_text("old")
    before = file.stat()
    check_writable(file)
    after = file.stat()
    assert file.read_text() == "old"
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert list(tmp_path.iterdir()) == [file]


def test_a_relative_name_without_a_directory_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_writable(Path("report.json"))
    write_text("new", Path("report.json"))
    assert (tmp_path / "report.json").read_text() == "new"


def test_a_missing_directory_is_named_with_the_remedy(tmp_path):
    message = refused(tmp_path / "absent" / "report.json")
    assert f"the directory {tmp_path / 'absent'} does not exist; create it first" in message
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_refused(tmp_path):
    assert "it is a directory; name a file in it" in refused(tmp_path)


def test_a_file_used_as_a_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("old")
    assert "file is not a directory" in refused(tmp_path / "file" / "report.json")
    assert (tmp_path / "file").read_text() == "old"


def test_a_name_that_is_too_long_is_refused(tmp_path):
    assert "too long" in refused(tmp_path / ("x" * 300))


@posix
def test_a_directory_without_permission_is_refused(locked):
    with unprivileged():
        assert f"permission denied; allow writing to it and to {locked}" in (
            refused(locked / "report.json")
        )
    assert os.listdir(locked) == ["old.json"]


@posix
def test_a_write_protected_file_is_kept():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        file = Path(folder) / "report.json"
        file.write_text("old")
        file.chmod(0o444)
        with unprivileged():
            assert "permission denied" in refused(file)
        assert file.read_text() == "old"


def test_a_read_only_file_system_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "open", refuse)
    assert f"{tmp_path} is on a read-only file system" in refused(tmp_path / "report.json")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "report.json"
    file.write_text("old")

    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UnwritableOutputError, match="the disk is full"):
        write_text("new", file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_interrupt_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "report.json"
    file.write_text("old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text("new", file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@posix
def test_a_new_file_has_the_permissions_of_the_umask_and_an_old_one_keeps_its_own(tmp_path):
    before = os.umask(0o027)
    try:
        write_text("new", tmp_path / "new")
    finally:
        os.umask(before)
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o604)
    write_text("new", tmp_path / "old")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o604


@posix
def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    check_writable(tmp_path / "link")
    write_text("new", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


@posix
def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    # A pipe of our own stands for /dev/stdout and /dev/null: a defect must not replace those.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        check_writable(pipe)
        write_text("new", pipe)
        assert os.read(reader, 100) == b"new"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_text_is_utf8_with_line_feeds_on_every_system(tmp_path):
    write_text("φ\n", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"\xcf\x86\n"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_a_directory_that_takes_no_files_is_not_said_to_be_absent():
    with pytest.raises(UnwritableOutputError) as caught:
        check_writable(Path("/proc/x.json"))
    assert str(caught.value).startswith("/proc/x.json cannot be written: /proc takes no new files")
