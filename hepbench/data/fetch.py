"""Fetching an original file: resumed where it broke off, refused where it is another.

What comes is written to ``<name>.part`` beside ``<name>.part.json``, which says what it is a part of,
and is renamed when it is whole and right. A part is only added to while the server says that the
file is still the same (``If-Range``), or where a published checksum will tell.

The standard library does the talking: pooch throws away what a broken download has brought, and
requests would decompress what a server sends as ``Content-Encoding: gzip``.
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
"""Without a byte."""


WAITS_SECONDS = (1, 2, 5, 10)
"""Before each further try; the count begins anew with each byte further."""


TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


ADDRESS = re.compile("https?://")


PAGE = re.compile(rb"\s*(<!doctype html|<html|<\?xml)", re.IGNORECASE)


CHANGED = "the file on the server is another at each try"


PAGE_CAME = "{} answers with a page, not with the file"


class _BrokenOffError(Exception):
    """The connection ended early, or was never made: another try may go further."""


class _OtherError(Exception):
    """What is there is no part of what the server has now: the file must be fetched from its start."""


@dataclass(frozen=True)
class Fetch:
    """One file on its way into a folder.

    Args:
        dataset: its name begins each error.
        file: what is fetched, from ``file.url``.
        folder: where it goes.
        tell: takes a few words on how far it is.
    """

    dataset: str
    file: File
    folder: Path
    report_progress: Callable[[str], None]

    @property
    def target(self) -> Path:
        """Where the file is when it is whole and right."""
        return self.folder / self.file.name

    @property
    def part(self) -> Path:
        """What there is of it so far."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def _note(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.json")

    def __call__(self) -> Path:
        """Fetch the file and return where it is.

        Raises:
            DataError: it cannot be had, or what is had is not it. A part that is good is kept, and
                the next call goes on from there.
        """
        if not ADDRESS.match(self.file.url):
            self._refuse(f"'{self.file.url}' is no address of http or https")
        try:
            lock = self.target.with_name(f".{self.target.name}.lock")
            claimed = locks.claim(lock)
            if claimed is None:
                self._refuse("another process is fetching it")
            try:
                self._bring()
                self._check()
                self.part.replace(self.target)
                self._note.unlink(missing_ok=True)
            finally:
                locks.release(lock, claimed)
        except OSError as error:
            msg = f"{self.dataset}: cannot write {error.filename or self.part}: {error.strerror}"
            raise DataError(msg) from error
        return self.target

    def _refuse(self, what: str, cause: Exception | None = None) -> NoReturn:
        page = f"; by hand: {self.file.address}" if self.file.address else ""
        msg = " ".join(f"{self.dataset}: {self.file.name}: {what}{page}".split())
        raise DataError(msg) from cause

    # --- bringing

    def _bring(self) -> None:
        """Have the whole of it in the part, in as many tries as it takes."""
        furthest, failures = self._size(), 0
        while True:
            try:
                self._try()
            except _OtherError as error:
                self._discard()
                reason, failures = str(error), failures + 1
            except _BrokenOffError as error:
                reason = str(error)
                failures = failures + 1 if self._size() <= furthest else 0
                furthest = max(furthest, self._size())
            else:
                return
            if failures > len(WAITS_SECONDS):
                there = f"{self._size():,} bytes are kept: the same command goes on from there"
                self._refuse(f"{reason}; {there}")
            wait = WAITS_SECONDS[max(failures - 1, 0)]
            self.report_progress(f"{reason}; again in {wait} s")
            time.sleep(wait)

    def _try(self) -> None:
        """Ask for what is missing, and append what comes."""
        start, known = self._size(), self._known()
        if start and start == known.get("bytes"):
            return
        if start and not (known.get("validator") or self.file.sha256):
            msg = "the server does not say whether the file is still the same"
            raise _OtherError(msg)
        request = Request(self.file.url, headers=_headers(start, known.get("validator", "")))
        try:
            response = urlopen(request, timeout=TIMEOUT_SECONDS)
        except HTTPError as error:
            self._answered(error, start)
            return
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, SSLCertVerificationError):
                self._refuse(
                    f"the server's certificate is refused ({reason.verify_message})", error
                )
            msg = f"no answer from {self.file.url} ({_said(reason)})"
            raise _BrokenOffError(msg) from error
        with response:
            self._receive(response, start, known)

    def _answered(self, error: HTTPError, start: int) -> None:
        """Judge an answer that is no file."""
        with error:
            if error.code == 416 and start:
                total = _total(error.headers.get("Content-Range", ""))
                if total == start == self._expected(total):
                    return
                raise _OtherError(CHANGED) from error
            what = f"{self.file.url} answers {error.code} ({error.reason})"
            if error.code in TRANSIENT:
                raise _BrokenOffError(what) from error
            self._refuse(what, error)

    def _receive(self, response: HTTPResponse, start: int, known: dict[str, Any]) -> None:
        headers = response.headers
        if not ADDRESS.match(response.url):
            self._refuse(f"{self.file.url} leads to {response.url}")
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            self._refuse("the server sends it compressed; its own bytes are needed")
        if headers.get_content_type() in {"text/html", "application/xhtml+xml"}:
            self._refuse(PAGE_CAME.format(self.file.url))
        validator = _validator(headers)
        if response.status == 206:
            begin, total = _range(headers.get("Content-Range", ""))
            other = validator and known.get("validator") and validator != known["validator"]
            if not start or begin != start or other or total != known.get("bytes", total):
                raise _OtherError(CHANGED)
        else:
            start, total = 0, response.length
        expected = self._expected(total)
        chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
        if expected is None and not chunked and not self.file.sha256:
            self._refuse("the server does not say how long it is, and nobody else does")
        self._require_room((expected or 0) - start)
        if not start:
            # the note first: what is appended is always a part of what it says
            self._discard()
            self._write_note(validator, expected)
        self._append(response, start, expected)

    def _expected(self, total: int | None) -> int | None:
        """Return how many bytes the whole file has, where that is known."""
        published = self.file.bytes
        if published is not None and total is not None and total != published:
            self._refuse(f"the server's file has {total:,} bytes, the published one {published:,}")
        return total if published is None else published

    def _require_room(self, missing: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if missing > free:
            what = f"{missing / 1e9:.1f} GB are missing, {free / 1e9:.1f} GB are free"
            self._refuse(f"{what} in {self.folder}")

    def _append(self, response: HTTPResponse, start: int, expected: int | None) -> None:
        began, done = time.perf_counter(), start
        with self.part.open("ab") as file:
            for block in _blocks(response):
                if not done and PAGE.match(block):
                    self._refuse(PAGE_CAME.format(self.file.url))
                file.write(block)
                done += len(block)
                if expected is not None and done > expected:
                    break
                self.report_progress(_how_far(done, start, expected, time.perf_counter() - began))
            file.flush()
            os.fsync(file.fileno())
        if expected is not None and done < expected:
            msg = f"the connection broke off at {done:,} of {expected:,} bytes"
            raise _BrokenOffError(msg)

    # --- what is there

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _known(self) -> dict[str, Any]:
        """Return what the part is a part of, if it is of this file."""
        try:
            found = json.loads(self._note.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        mine = isinstance(found, dict) and found.get("url") == self.file.url
        return found if mine else {}

    def _write_note(self, validator: str, expected: int | None) -> None:
        found = {"url": self.file.url, "validator": validator, "bytes": expected}
        self._note.write_text(json.dumps({k: v for k, v in found.items() if v}))

    def _discard(self) -> None:
        for path in (self.part, self._note):
            path.unlink(missing_ok=True)

    def _check(self) -> None:
        """Compare the whole with what was published; what is wrong is removed."""
        size = self._size()
        with self.part.open("rb") as file:
            page = PAGE.match(file.read(BLOCK_BYTES))
        if page:
            self._discard()
            self._refuse(PAGE_CAME.format(self.file.url))
        if not size or self.file.bytes not in {None, size}:
            self._discard()
            published = f"{self.file.bytes:,}" if self.file.bytes else "some"
            self._refuse(f"{size:,} bytes came, the published file has {published}")
        if self.file.sha256:
            self.report_progress("checking its checksum")
            with self.part.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != self.file.sha256:
                self._discard()
                self._refuse(f"what came has the checksum {found[:12]}..., not the published one")


def _headers(start: int, validator: str) -> dict[str, str]:
    found = {"User-Agent": f"hepbench/{__version__}", "Accept-Encoding": "identity"}
    if start:
        found["Range"] = f"bytes={start}-"
        if validator:
            found["If-Range"] = validator
    return found


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while block := response.read1(BLOCK_BYTES):
            yield block
    except (OSError, HTTPException) as error:
        msg = f"the connection broke off ({_said(error)})"
        raise _BrokenOffError(msg) from error


def _said(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _validator(headers: Any) -> str:
    """Return what tells this file from a later one; a weak ETag does not."""
    etag = str(headers.get("ETag", ""))
    return etag if etag.startswith('"') else str(headers.get("Last-Modified", ""))


def _range(text: str) -> tuple[int | None, int | None]:
    """Return where ``bytes 5-9/10`` begins, and of how many bytes."""
    match = re.match(r"bytes (\d+)-\d+/", text)
    return int(match[1]) if match else None, _total(text)


def _total(text: str) -> int | None:
    match = re.fullmatch(r"bytes .*/(\d+)", text)
    return int(match[1]) if match else None


def _how_far(done: int, start: int, expected: int | None, seconds: float) -> str:
    rate = (done - start) / max(seconds, 1e-9)
    if expected is None:
        return f"{done / 1e6:,.1f} MB, {rate / 1e6:.1f} MB/s"
    left = duration((expected - done) / max(rate, 1))
    return (
        f"{done / 1e6:,.1f} of {expected / 1e6:,.1f} MB ({done / expected:.0%}), "
        f"{rate / 1e6:.1f} MB/s, {left} left"
    )
