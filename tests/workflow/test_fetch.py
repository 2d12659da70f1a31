"""Files with known checksums arrive complete or not at all, from a folder or from a server on this machine."""

import errno
import fcntl
import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fetch
import pytest
from fetch import Wanted

TEXTS = {"a/one.bin": b"one" * 999, "a/two.bin": b"two" * 999, "b/three.bin": b"three" * 999}


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder; requests are recorded, and a file with `short` in its name breaks off in the middle."""

    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        if "short" not in self.path:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "2000")
        self.end_headers()
        self.wfile.write(b"x" * 1000)
        self.close_connection = True

    def log_message(self, *words):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that is served, and its address; there is no wait between two tries."""
    monkeypatch.setattr(fetch.pooch.core.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(Quiet, "asked", [])
    for name, text in TEXTS.items():
        (tmp_path / "served" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "served" / name).write_bytes(text)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "served")) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield tmp_path / "served", f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def wanted(address, **names):
    """A `Wanted` for each of TEXTS; `names` {file's last part: what the address calls it instead}."""
    return [
        Wanted(
            file=name,
            address=address + names.get(name[2:-4], name),
            bytes=len(text),
            sha256=hashlib.sha256(text).hexdigest(),
            group=name[0],
        )
        for name, text in TEXTS.items()
    ]


def content(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name[0] != "."
    }


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    folder, address = server
    out = tmp_path / "out"
    assert fetch.fetch(wanted(address), out) == [] and content(out) == TEXTS
    assert fetch.fetch(wanted(address), out) == [] and len(Quiet.asked) == 3
    (out / "a/two.bin").write_bytes(b"two" * 998 + b"TWO")  # of the same size
    assert fetch.fetch(wanted(address), out) == [] and content(out) == TEXTS
    assert Quiet.asked[3:] == ["/a/two.bin"]


def test_a_folder_is_asked_first_and_only_read(server, tmp_path):
    folder, _ = server
    states = [(path, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))]
    assert fetch.fetch(wanted("http://127.0.0.1:9/"), tmp_path / "out", folder) == []
    (tmp_path / "out/a/one.bin").write_bytes(b"changed")
    assert content(folder) == TEXTS and states == [
        (path, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))
    ]


def test_a_wrong_sum_in_the_folder_is_said_and_the_file_fetched(server, tmp_path):
    _, address = server
    (tmp_path / "mine/a").mkdir(parents=True)
    (tmp_path / "mine/a/one.bin").write_bytes(b"other")
    (sentence,) = fetch.fetch(wanted(address), tmp_path / "out", tmp_path / "mine")
    text = f"a: 1 of 2 files (a/one.bin): what lies in {tmp_path}/mine has another checksum than the list says"
    assert sentence == f"{text}, and is left alone."
    assert content(tmp_path / "out") == TEXTS and content(tmp_path / "mine") == {"a/one.bin": b"other"}


@pytest.mark.parametrize(
    ("instead", "reason"),
    [
        ("b/three.bin", "what came from their address has another checksum than the list says"),
        ("short.bin", "the download broke off"),
        ("gone.bin", "their address answers 404, they may have moved"),
    ],
)
def test_what_can_not_be_had_is_one_sentence_and_nothing_half_written(server, tmp_path, instead, reason):
    _, address = server
    (sentence,) = fetch.fetch(wanted(address, two=instead), tmp_path / "out")
    assert sentence == f"a: 1 of 2 files (a/two.bin): {reason}."
    assert content(tmp_path / "out") == {name: text for name, text in TEXTS.items() if name != "a/two.bin"}
    assert not (tmp_path / "out/.part").exists()


def test_without_a_network_a_host_is_asked_once(server, tmp_path, monkeypatch):
    tries = []
    monkeypatch.setattr(fetch, "TRIES_AGAIN", 0)
    download = fetch._download
    monkeypatch.setattr(fetch, "_download", lambda *arguments: tries.append(1) or download(*arguments))
    sentences = fetch.fetch(wanted("http://127.0.0.1:9/"), tmp_path / "out")
    assert sentences == [
        "a: 2 of 2 files (a/one.bin, a/two.bin): 127.0.0.1:9 can't be reached.",
        "b: 1 of 1 files (b/three.bin): 127.0.0.1:9 can't be reached.",
    ]
    assert len(tries) == 1 and content(tmp_path / "out") == {}


def test_a_group_that_has_moved_is_asked_once(server, tmp_path):
    _, address = server
    (sentence,) = fetch.fetch(wanted(address, one="gone", two="gone"), tmp_path / "out")
    assert sentence.startswith("a: 2 of 2 files (a/one.bin, a/two.bin): their address answers 404")
    assert content(tmp_path / "out") == {"b/three.bin": TEXTS["b/three.bin"]}
    assert Quiet.asked.count("/gone") == 1 + fetch.TRIES_AGAIN


@pytest.mark.parametrize("offline", [True, False])
def test_a_full_disk_stops_it_in_a_sentence(server, tmp_path, monkeypatch, offline):
    folder, address = server

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch.shutil, "copyfile", full)
    monkeypatch.setattr(fetch.pooch.HTTPDownloader, "__call__", full)
    with pytest.raises(OSError, match="the disk is full; free some space and run the same command again"):
        fetch.fetch(wanted(address), tmp_path / "out", folder if offline else None)
    assert content(tmp_path / "out") == {} and not (tmp_path / "out/.part").exists()


def test_one_run_at_a_time(server, tmp_path):
    _, address = server
    out = tmp_path / "out"
    out.mkdir()
    with open(out / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="out: another run is fetching into it; wait for it or stop it."):
            fetch.fetch(wanted(address), out)
    assert fetch.fetch(wanted(address), out) == []  # the lock goes with its process
