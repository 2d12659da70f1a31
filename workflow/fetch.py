"""Files with known checksums, from a folder or from the network, complete or not at all.

In: what is wanted, a folder that may hold some of it already. Out: the files, and a sentence about what could not be
obtained. Called again, only what is missing is fetched; one call at a time.
"""

import errno
import fcntl
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

from essim.runs.files import remove

TRIES_AGAIN = 1  # after a download that broke off or came damaged
SECONDS = 30  # without an answer: the address can't be reached


@dataclass(frozen=True)
class Wanted:
    """One file: its path below the folder, where it comes from, how large it is, its SHA-256 in hexadecimal, and the
    group with which it is reported."""

    file: str
    address: str
    bytes: int
    sha256: str
    group: str

    def lies_in(self, folder):
        """Whether the file lies below `folder`, complete."""
        path = Path(folder) / self.file
        return path.is_file() and path.stat().st_size == self.bytes and pooch.file_hash(path) == self.sha256


class _Refused(Exception):
    """Why a file could not be obtained; `beyond` is the group or the host that need not be asked again."""

    def __init__(self, reason, beyond=None):
        super().__init__(reason)
        self.beyond = beyond


def fetch(wanted, out, folder=None):
    """Bring the files `wanted` into the folder `out`; returns sentences about those that could not be obtained.

    Args: wanted: list of `Wanted`. out: a folder, created if missing. folder: one with the same layout, which is only
        read, and searched before the network.

    Raises ValueError if another process is fetching into `out`; OSError, in a sentence, if the disk is full.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out), _scratch(out) as scratch:
        there = {item.file for item in wanted if item.lies_in(out)}
        refused, closed = {}, {}
        sizes = {"total": sum(item.bytes for item in wanted), "unit": "B", "unit_scale": True}
        with tqdm(desc="fetch", initial=sum(item.bytes for item in wanted if item.file in there), **sizes) as bar:
            for item in wanted:
                if item.file in there:
                    continue
                try:
                    for reason in _obtain(item, scratch, folder, closed):
                        refused.setdefault((item.group, reason), []).append(item.file)
                    (out / item.file).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(scratch / item.file, out / item.file)
                    bar.update(item.bytes)
                except _Refused as error:
                    refused.setdefault((item.group, str(error)), []).append(item.file)
                    if error.beyond:
                        closed[error.beyond] = error
                except OSError as error:
                    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                        raise
                    text = "the disk is full; free some space and run the same command again"
                    raise OSError(errno.ENOSPC, text, str(out / item.file)) from error
    counts = {group: sum(item.group == group for item in wanted) for group, _ in refused}
    return [_sentence(group, reason, files, counts[group]) for (group, reason), files in refused.items()]


def _obtain(item, scratch, folder, closed):
    """Bring one file into `scratch`; yields why the folder's was not taken; `_Refused` says why there is none."""
    if folder and (Path(folder) / item.file).is_file():
        (scratch / item.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(folder) / item.file, scratch / item.file)
        if item.lies_in(scratch):
            return
        yield f"what lies in {folder} has another checksum than the list says, and is left alone"
    host = urlsplit(item.address).netloc
    for beyond in (host, item.group):
        if beyond in closed:
            raise closed[beyond]
    _download(item, scratch, host)


def _download(item, scratch, host):
    """Download one file into `scratch` and check its checksum; `_Refused` says why it isn't there."""
    registry = {"registry": {item.file: f"sha256:{item.sha256}"}, "urls": {item.file: item.address}}
    store = pooch.create(scratch, base_url="", retry_if_failed=TRIES_AGAIN, **registry)
    try:
        store.fetch(item.file, downloader=pooch.HTTPDownloader(timeout=SECONDS))
    except requests.HTTPError as error:
        code = error.response.status_code
        moved = code in (403, 404, 410)
        reason = f"their address answers {code}" + (", they may have moved" if moved else "")
        raise _Refused(reason, item.group if moved else None) from None
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
        raise _Refused("the download broke off") from None
    except requests.RequestException:
        raise _Refused(f"{host} can't be reached", host) from None
    except ValueError:  # pooch's, of the checksum
        raise _Refused("what came from their address has another checksum than the list says") from None


def _sentence(group, reason, files, count):
    names = ", ".join(files[:2]) + (", ..." if len(files) > 2 else "")
    return f"{group}: {len(files)} of {count} files ({names}): {reason}."


@contextmanager
def _alone(folder):
    """One process at a time; the system frees the lock however the process ends."""
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another run is fetching into it; wait for it or stop it.") from None
        yield


@contextmanager
def _scratch(folder):
    """A folder for incomplete files; what a killed process left there is removed first."""
    scratch = folder / ".part"
    remove(scratch)
    scratch.mkdir()
    pooch.get_logger().setLevel("WARNING")  # the bar shows as much
    try:
        yield scratch
    finally:
        remove(scratch)
