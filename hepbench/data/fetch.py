"""Downloads original files: resumes interrupted downloads, and refuses wrong files.

The content is written to ``<name>.part``, beside ``<name>.part.json`` with its address, size and
version, and is renamed when it is complete and correct. A partial file is continued only if the server
states that the file has not changed (``If-Range``), or if a checksum is published.

The standard library is used because pooch discards a partial download, and requests would decompress
a response with ``Content-Encoding: gzip``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from http.client import HTTPException
from ssl import SSLCertVerificationError
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from hepbench._version import __version__
from hepbench.specs.errors import DataError
from hepbench.specs.text import duration
from hepbench.storage import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.client import HTTPResponse
    from pathlib import Path

    from hepbench.specs.dataset import File


BLOCK_BYTES = 1 << 20


TIMEOUT_SECONDS = 60
"""Longest time without a byte."""


WAITS_SECONDS = (1, 2, 5, 10)
"""Waiting times before further tries; progress resets the count."""


TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


ADDRESS = re.compile("https?://")


PAGE = re.compile(rb"\s*(<!doctype html|<html|<\?xml)", re.IGNORECASE)


CHANGED = "the file on the server changed during each try"


PAGE_CAME = "{} returns a web page instead of the file"


class _BrokenOffError(Exception):
    """The connection of a download ended early or failed; another try may help."""


class _FileChangedError(Exception):
    """The partial download belongs to an older file on the server; it must start again."""


@dataclass(frozen=True)
class PartialFile:
    """A partial download, with a note on the complete file that it belongs to.

    Args:
        target: path of the complete file.
        url: where it is downloaded from.
    """

    target: Path
    url: str

    @property
    def path(self) -> Path:
        """Path of the partial download."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def _note_path(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.json")

    def size(self) -> int:
        """Return the size of the partial download in bytes; 0 if there is none."""
        return self.path.stat().st_size if self.path.exists() else 0

    def note(self) -> dict[str, Any]:
        """Return the note on the partial download, empty if it belongs to another file."""
        try:
            found = json.loads(self._note_path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        mine = isinstance(found, dict) and found.get("url") == self.url
        return found if mine else {}

    def write_note(self, validator: str, expected: int | None) -> None:
        """Write a note on the partial download: the file's size and identification."""
        found = {"url": self.url, "validator": validator, "bytes": expected}
        self._note_path.write_text(json.dumps({k: v for k, v in found.items() if v}))

    def discard(self) -> None:
        """Remove the partial download and its note."""
        for path in (self.path, self._note_path):
            path.unlink(missing_ok=True)

    def complete(self) -> None:
        """Give the complete download its final name, and remove the note."""
        self.path.replace(self.target)
        self._note_path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Fetch:
    """The download of one original file into a folder.

    Args:
        dataset: name at the start of each error.
        file: the file; it is downloaded from ``file.url``.
        folder: the folder that it is written into.
        report_progress: takes a short text on the progress.
    """

    dataset: str
    file: File
    folder: Path
    report_progress: Callable[[str], None]

    @property
    def target(self) -> Path:
        """Path of the complete download."""
        return self.folder / self.file.name

    @property
    def partial(self) -> PartialFile:
        """The partial download so far."""
        return PartialFile(self.target, self.file.url)

    def __call__(self) -> Path:
        """Download the original file and return its path.

        Raises:
            DataError: the download fails, or gives a wrong file. A good partial file is kept, and
                the next call continues it.
        """
        if not ADDRESS.match(self.file.url):
            self._fail(f"the address '{self.file.url}' does not begin with http:// or https://")
        try:
            lock = self.target.with_name(f".{self.target.name}.lock")
            claimed = locks.claim(lock)
            if claimed is None:
                self._fail("another process is downloading it")
            try:
                self._download()
                self._check_complete_file()
                self.partial.complete()
            finally:
                locks.release(lock, claimed)
        except OSError as error:
            msg = f"{self.dataset}: cannot write {error.filename or self.partial.path}: {error.strerror}"
            raise DataError(msg) from error
        return self.target

    def _fail(self, problem: str, cause: Exception | None = None) -> NoReturn:
        page = f"; by hand: {self.file.address}" if self.file.address else ""
        msg = " ".join(f"{self.dataset}: {self.file.name}: {problem}{page}".split())
        raise DataError(msg) from cause

    # --- downloading

    def _download(self) -> None:
        """Complete the partial download, with several tries if necessary."""
        furthest, failures = self.partial.size(), 0
        while True:
            try:
                self._request_missing_bytes()
            except _FileChangedError as error:
                self.partial.discard()
                reason, failures = str(error), failures + 1
            except _BrokenOffError as error:
                reason = str(error)
                failures = failures + 1 if self.partial.size() <= furthest else 0
                furthest = max(furthest, self.partial.size())
            else:
                return
            if failures > len(WAITS_SECONDS):
                kept = self.partial.size()
                more = f"; {kept:,} bytes are kept, and the same command continues the download"
                self._fail(reason + (more if kept else ""))
            wait = WAITS_SECONDS[max(failures - 1, 0)]
            self.report_progress(f"{reason}; next try in {wait} s")
            time.sleep(wait)

    def _request_missing_bytes(self) -> None:
        """Request the missing bytes of a download, and append them to the partial file."""
        start, known = self.partial.size(), self.partial.note()
        if start and start == known.get("bytes"):
            return
        if start and not (known.get("validator") or self.file.sha256):
            msg = "the server does not say whether the file has changed since"
            raise _FileChangedError(msg)
        request = Request(
            self.file.url, headers=_request_headers(start, known.get("validator", ""))
        )
        try:
            response = urlopen(request, timeout=TIMEOUT_SECONDS)
        except HTTPError as error:
            self._handle_http_error(error, start)
            return
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, SSLCertVerificationError):
                self._fail(
                    f"the server's certificate is not valid ({reason.verify_message})", error
                )
            msg = f"no answer from {self.file.url} ({_error_in_one_line(reason)})"
            raise _BrokenOffError(msg) from error
        with response:
            self._receive_response(response, start, known)

    def _handle_http_error(self, error: HTTPError, start: int) -> None:
        """Raise an error for an HTTP error status, unless the partial download is complete."""
        with error:
            if error.code == 416 and start:
                total = _total_size(error.headers.get("Content-Range", ""))
                if total == start == self._expected_size(total):
                    return
                raise _FileChangedError(CHANGED) from error
            answer = f"{self.file.url} answers {error.code} ({error.reason})"
            if error.code in TRANSIENT:
                raise _BrokenOffError(answer) from error
            self._fail(answer, error)

    def _receive_response(self, response: HTTPResponse, start: int, known: dict[str, Any]) -> None:
        headers = response.headers
        if not ADDRESS.match(response.url):
            self._fail(f"{self.file.url} redirects to {response.url}; http or https is expected")
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            self._fail("the server sends it compressed; the original bytes are expected")
        if headers.get_content_type() in {"text/html", "application/xhtml+xml"}:
            self._fail(PAGE_CAME.format(self.file.url))
        validator = _version_header(headers)
        if response.status == 206:
            begin, total = _parse_content_range(headers.get("Content-Range", ""))
            other = validator and known.get("validator") and validator != known["validator"]
            if not start or begin != start or other or total != known.get("bytes", total):
                raise _FileChangedError(CHANGED)
        else:
            start, total = 0, response.length
        expected = self._expected_size(total)
        chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
        if expected is None and not chunked and not self.file.sha256:
            self._fail("neither the server nor the dataset states its size")
        self._check_free_space((expected or 0) - start)
        if not start:
            # the note is written first, so that it always describes the partial file
            self.partial.discard()
            self.partial.write_note(validator, expected)
        self._append_to_file(response, start, expected)

    def _expected_size(self, total: int | None) -> int | None:
        """Return the size of the complete download in bytes; None if it is not known."""
        published = self.file.bytes
        if published is not None and total is not None and total != published:
            self._fail(f"the server's file has {total:,} bytes, the published one {published:,}")
        return total if published is None else published

    def _check_free_space(self, missing: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if missing > free:
            sizes = f"{missing / 1e9:.1f} GB are still needed, but {free / 1e9:.1f} GB are free"
            self._fail(f"{sizes} in {self.folder}")

    def _append_to_file(self, response: HTTPResponse, start: int, expected: int | None) -> None:
        began, done = time.perf_counter(), start
        with self.partial.path.open("ab") as file:
            for block in _read_blocks(response):
                if not done and PAGE.match(block):
                    self._fail(PAGE_CAME.format(self.file.url))
                file.write(block)
                done += len(block)
                if expected is not None and done > expected:
                    break
                self.report_progress(_progress(done, start, expected, time.perf_counter() - began))
            file.flush()
            os.fsync(file.fileno())
        if expected is not None and done < expected:
            msg = f"the connection ended at {done:,} of {expected:,} bytes"
            raise _BrokenOffError(msg)

    def _check_complete_file(self) -> None:
        """Compare a complete download with the published size and checksum; remove a wrong one."""
        size = self.partial.size()
        with self.partial.path.open("rb") as file:
            page = PAGE.match(file.read(BLOCK_BYTES))
        if page:
            self.partial.discard()
            self._fail(PAGE_CAME.format(self.file.url))
        if not size or self.file.bytes not in {None, size}:
            self.partial.discard()
            published = f"{self.file.bytes:,}" if self.file.bytes else "some"
            self._fail(f"{size:,} bytes were received, but the published file has {published}")
        if self.file.sha256:
            self.report_progress("computing its checksum")
            with self.partial.path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != self.file.sha256:
                self.partial.discard()
                self._fail(f"its checksum {found[:12]}... differs from the published one")


def _request_headers(start: int, validator: str) -> dict[str, str]:
    found = {"User-Agent": f"hepbench/{__version__}", "Accept-Encoding": "identity"}
    if start:
        found["Range"] = f"bytes={start}-"
        if validator:
            found["If-Range"] = validator
    return found


def _read_blocks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while block := response.read1(BLOCK_BYTES):
            yield block
    except (OSError, HTTPException) as error:
        msg = f"the connection ended early ({_error_in_one_line(error)})"
        raise _BrokenOffError(msg) from error


def _error_in_one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _version_header(headers: Any) -> str:
    """Return the response header that identifies the file's version (not a weak ETag)."""
    etag = str(headers.get("ETag", ""))
    return etag if etag.startswith('"') else str(headers.get("Last-Modified", ""))


def _parse_content_range(text: str) -> tuple[int | None, int | None]:
    """Parse the header ``bytes 5-9/10`` of a download into its start and total size."""
    match = re.match(r"bytes (\d+)-\d+/", text)
    return int(match[1]) if match else None, _total_size(text)


def _total_size(text: str) -> int | None:
    match = re.fullmatch(r"bytes .*/(\d+)", text)
    return int(match[1]) if match else None


def _progress(done: int, start: int, expected: int | None, seconds: float) -> str:
    rate = (done - start) / max(seconds, 1e-9)
    if expected is None:
        return f"{done / 1e6:,.1f} MB, {rate / 1e6:.1f} MB/s"
    left = duration((expected - done) / max(rate, 1))
    return (
        f"{done / 1e6:,.1f} of {expected / 1e6:,.1f} MB ({done / expected:.0%}), "
        f"{rate / 1e6:.1f} MB/s, {left} left"
    )
