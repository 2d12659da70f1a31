"""Files that are there whole or not at all.

In: the path of a file or folder that is to be written. Out: that path, complete, or the state before.
Everything essim writes that a later step takes to be finished goes through `writing`.
"""

import errno
import glob
import json
import os
import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path

# What the writers' own libraries say when the disk is full; the last is torch.save's
NO_ROOM = ("No space left on device", "File too large", "Disk quota exceeded", "unexpected pos")
UMASK = os.umask(0o077)  # can only be read by setting it
os.umask(UMASK)


def remove(path):
    """Remove a file, a link or a whole folder; nothing happens where there is none."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def writing(path):
    """Yield a temporary path beside `path`; what the block wrote there becomes `path` if the block ends well.

    The block may create a file or a folder. The temporary name keeps the target's endings (`.nii.gz`, `.csv`), since
    writers choose the format by them, and starts with a dot. Missing parent folders are made. A file is replaced in one
    step (`os.replace`); a folder takes the place of an existing one in two renames, and the old one comes back if the
    second fails. What a killed process left behind of the same target is removed.

    Raises whatever the block raised, after removing what it had written; if the disk is full, an OSError that says so
    and names the file; and FileNotFoundError if the block wrote nothing.

    >>> with writing("table.csv") as temporary:
    ...     frame.to_csv(temporary)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{'[0-9a-f]' * 12}.*{glob.escape(path.name)}"):
        if left.name[14:] in (path.name, f"old.{path.name}"):
            remove(left)
    unique = uuid.uuid4().hex[:12]
    temporary = path.with_name(f".{unique}.{path.name}")
    try:
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(f"{path}: nothing was written to the temporary path that `writing` gave")
        if temporary.is_file():
            temporary.chmod(0o666 & ~UMASK)  # safetensors lets only the owner read its files
        if path.is_dir() and not path.is_symlink():
            _swap(temporary, path, path.with_name(f".{unique}.old.{path.name}"))
        else:
            os.replace(temporary, path)
    except BaseException as error:
        remove(temporary)
        if any(phrase in str(error) for phrase in NO_ROOM):
            message = "the disk is full; free some space and run the same command again"
            raise OSError(errno.ENOSPC, message, str(path)) from error
        raise


def write_json(path, content):
    """Write a JSON file; what JSON doesn't know (paths, dates) becomes text."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str, ensure_ascii=False) + "\n", encoding="utf-8")


def _swap(new, path, old):
    """Put `new` (file or folder) in the place of the folder `path`, by way of the spare name `old`."""
    os.replace(path, old)
    try:
        os.replace(new, path)
    except BaseException:
        os.replace(old, path)
        raise
    remove(old)
