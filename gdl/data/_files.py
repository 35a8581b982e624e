"""Files from the network: fetched within limits, checked, and stored in one step."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import urllib.request
from pathlib import Path

# Seconds of silence after which a connection is given up, and seconds for one whole file.
SILENCE_SECONDS = 20.0
DOWNLOAD_SECONDS = 600.0


def fetch(url: str, limit: int) -> bytes:
    """The answer of a server, if it is at most ``limit`` bytes long and comes in time."""
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    received = bytearray()
    with urllib.request.urlopen(url, timeout=SILENCE_SECONDS) as response:
        while chunk := response.read1(2**16):
            received += chunk
            if len(received) > limit:
                raise ValueError(f"expected at most {limit} bytes, got more")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not complete after {DOWNLOAD_SECONDS:.0f} s")
    return bytes(received)


def with_sha256(content: bytes, sha256: str) -> bytes:
    """Return ``content`` if this is its checksum."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"expected sha256 {sha256}, got {found}")
    return content


def write_atomically(path: Path, content: bytes) -> None:
    """Store a file that appears under its name only when it is complete."""
    # A folder beside the target is on the same file system, where os.replace is atomic.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as scratch:
        part = Path(scratch) / path.name
        part.write_bytes(content)
        os.replace(part, path)
