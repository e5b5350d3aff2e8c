"""Fetching from publishers who truncate, lie, stall or are not there."""

import errno
import hashlib
import os
import subprocess
import sys

import pytest

from pcbench.data import fetch as fetching
from pcbench.data.fetch import FetchError, fetch
from pcbench.data.published import Published
from tests.data.publishers import publisher
from tests.helpers.command_line import pcbench, python
from tests.helpers.interruptions import interruptible

CONTENT = bytes(range(256)) * 1000
HALF = len(CONTENT) // 2


@pytest.fixture
def server():
    with publisher(file=CONTENT) as server:
        yield server


@pytest.fixture
def get(server, tmp_path):
    """Fetch the file from sources that serve it in these manners, one after another."""

    def get(*manners, told=None):
        sources = tuple(f"{server.url}/file/{manner}".rstrip("/") for manner in manners)
        digest = hashlib.sha256(CONTENT).hexdigest()
        file = Published("set/file.gz", len(CONTENT), digest, sources)
        progress = (lambda _: None) if told is None else told.append
        return fetch(file, tmp_path, progress, patience_s=0.3)

    return get


@pytest.fixture
def place(tmp_path):
    return tmp_path / "set" / "file.gz"


@pytest.fixture
def part(place):
    return place.with_name("file.gz.part")


def test_a_file_is_fetched_into_its_place_and_not_again(get, server, place, part):
    told = []
    assert get("", told=told) == place
    assert place.read_bytes() == CONTENT
    assert told == sorted(told)
    assert told[-1] == len(CONTENT)
    assert not part.exists()
    get("")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("manner", "said"),
    [
        ("truncate", f"ends after {HALF:,} of {len(CONTENT):,} bytes"),
        ("short", f"ends after {len(CONTENT) - 10:,} of {len(CONTENT):,} bytes"),
        ("lie", "sends another file than the published one"),
        ("endless", f"sends more than the {len(CONTENT):,} bytes that are published"),
        ("stall", "sends nothing for 0.3 s"),
        ("mute", "sends nothing for 0.3 s"),
        ("refuse", "answers 404 Not Found"),
    ],
)
def test_what_a_source_does_is_said_and_the_next_is_asked(get, server, place, manner, said):
    with pytest.raises(FetchError) as caught:
        get(manner)
    assert f"{server.url}/file/{manner} {said}" in str(caught.value)
    assert not place.exists()
    assert get(manner, "") == place
    assert place.read_bytes() == CONTENT


def test_no_more_is_taken_than_is_published(get, server):
    with pytest.raises(FetchError):
        get("endless")
    assert server.sent < 50 * len(CONTENT)  # what is on its way is sent, and then no more


@pytest.mark.parametrize("manner", ["truncate", "stall"])
def test_the_next_attempt_goes_on_where_the_last_one_ended(get, server, place, part, manner):
    with pytest.raises(FetchError):
        get(manner)
    kept = part.stat().st_size
    assert 0 < kept <= HALF
    assert get("") == place
    assert server.asked[-1] == ("/file", f"bytes={kept}-")
    assert place.read_bytes() == CONTENT


def test_a_source_that_knows_nothing_of_ranges_begins_anew(get, place):
    with pytest.raises(FetchError):
        get("truncate")
    assert get("whole") == place
    assert place.read_bytes() == CONTENT


def test_what_a_liar_has_left_does_not_spoil_the_file_of_another(get, place, server):
    with pytest.raises(FetchError):
        get("lie_and_truncate")
    assert get("") == place
    assert place.read_bytes() == CONTENT
    assert [asked for _, asked in server.asked[1:]] == [f"bytes={HALF}-", None]


def test_more_than_the_file_is_dropped_before_anything_is_asked(get, part, place, server):
    part.parent.mkdir()
    part.write_bytes(CONTENT * 2)
    assert get("") == place
    assert server.asked == [("/file", None)]


def test_a_file_that_is_not_the_published_one_is_replaced(get, place):
    place.parent.mkdir()
    place.write_bytes(b"damaged")
    get("")
    assert place.read_bytes() == CONTENT


def test_nobody_there_is_a_sentence_with_the_remedy(tmp_path):
    file = Published("set/file.gz", 3, "0" * 64, ("http://127.0.0.1:9/file.gz",))
    with pytest.raises(FetchError, match=r"cannot be reached\. Try again .* into .*set yourself"):
        fetch(file, tmp_path, lambda _: None, patience_s=0.3)


def test_a_folder_that_cannot_be_written_is_a_sentence(get, tmp_path, server):
    (tmp_path / "set").write_text("a file where the folder belongs")
    with pytest.raises(FetchError, match="cannot be written: "):
        get("")


class Full(list):
    """Stands for a disk that is full once something has come."""

    def append(self, have):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_a_sentence_and_what_has_come_is_kept(get, part):
    with pytest.raises(FetchError, match="No space left on device; make room"):
        get("", told=Full())
    assert part.stat().st_size > 0


@pytest.mark.skipif(fetching.fcntl is None, reason="this system has no locks of this sort")
def test_two_do_not_fetch_one_file_at_the_same_time(get, part):
    part.parent.mkdir()
    with part.open("ab") as stream:
        fetching.fcntl.flock(stream, fetching.fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="is being fetched by another process"):
            get("")
    get("")


def test_without_pooch_the_remedy_is_named(get, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(FetchError, match=r"pip install 'pcbench\[data\]'"):
        get("")


# The command line

PLUGIN = """
from pcbench.data.mnist import Mnist, MnistParameters
from pcbench.data.published import Published
from typing import Literal

class Parameters(MnistParameters):
    name: Literal["digits"]

class Digits(Mnist):
    name = "digits"
    Parameters = Parameters
    published = (Published("digits/train.bin", {size}, "{digest}", ("{url}/file/{manner}",)),)
"""


@pytest.fixture
def plugged(tmp_path, server):
    """Return an environment with a dataset whose publisher serves in a manner of its own."""

    def plugged(manner=""):
        folder = tmp_path / "plugin"
        info = folder / "digits-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(CONTENT).hexdigest()
        (folder / "digits.py").write_text(
            PLUGIN.format(size=len(CONTENT), digest=digest, url=server.url, manner=manner)
        )
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: digits\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[pcbench.datasets]\ndigits = digits:Digits\n")
        path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        return {"PYTHONPATH": path, "XDG_CACHE_HOME": tmp_path / "cache"}

    return plugged


def test_the_command_fetches_into_the_cache_and_says_where(plugged, tmp_path):
    done = pcbench("data", "fetch", "digits", **plugged())
    assert done.returncode == 0, done.stderr
    place = tmp_path / "cache" / "pcbench" / "digits" / "train.bin"
    assert done.stdout == f"{place}\n"
    assert place.read_bytes() == CONTENT
    assert "digits/train.bin: 100 % of 250 KiB" in done.stderr
    listed = pcbench("data", "list", **plugged())
    assert "250 KiB from 127.0.0.1" in listed.stdout


@pytest.mark.parametrize("manner", ["lie", "refuse", "truncate"])
def test_what_cannot_be_had_ends_the_command_with_a_sentence(plugged, manner):
    done = pcbench("data", "fetch", "digits", "-q", **plugged(manner))
    assert (done.returncode, done.stdout) == (2, "")
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith("train.bin cannot be fetched: ")


def test_an_interrupt_keeps_what_has_come(plugged, tmp_path, server):
    script = (
        "import signal, pcbench.data.fetch as f, pcbench.cli.data;"
        "from pcbench.cli import main;"
        "f._CHUNK = 1000; go_on = f._go_on;"
        "end = lambda: signal.raise_signal(signal.SIGINT);"
        "tell = lambda told: lambda n: (told(n), n > 50_000 and end());"
        "f._go_on = lambda u, p, s, told, w: go_on(u, p, s, tell(told), w);"
        "main()"
    )
    with interruptible():
        done = python("-c", script, "data", "fetch", "digits", **plugged())
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    part = tmp_path / "cache" / "pcbench" / "digits" / "train.bin.part"
    assert part.stat().st_size >= 50_000
    done = pcbench("data", "fetch", "digits", **plugged())
    assert done.returncode == 0
    assert server.asked[-1][1] == f"bytes={part_size(server)}-"


def part_size(server):
    [start] = [each for _, each in server.asked if each]
    return int(start.removeprefix("bytes=").removesuffix("-"))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["toy_gaussian"], "toy_gaussian has nothing to fetch; those that have are "),
        (["minst"], "unknown dataset 'minst'; did you mean 'mnist'?"),
    ],
)
def test_a_name_that_cannot_be_fetched_is_refused_before_anything_is(names, said):
    done = pcbench("data", "fetch", "mnist", *names)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_two_commands_at_once_leave_a_whole_file(plugged, tmp_path):
    command = [sys.executable, "-m", "pcbench", "data", "fetch", "digits", "-q"]
    variables = {**os.environ, **{key: str(value) for key, value in plugged().items()}}
    both = [
        subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    codes = sorted(process.communicate() and process.returncode for process in both)
    assert codes in ([0, 0], [0, 2])
    place = tmp_path / "cache" / "pcbench" / "digits" / "train.bin"
    assert place.read_bytes() == CONTENT
