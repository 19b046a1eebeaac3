"""Download files over HTTP: resumable, verified, from the named host only, complete or not at all."""

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stages.encoders.weights_file import refuse_other_kinds
from stages.study.errors import StudyError
from stages.study.locks import lock
from stages.study.paths import file_digest, scratch, write_text

CHUNK = 2**20  # bytes
DRIVES = ("drive.google.com", "docs.google.com", "1drv.ms", "onedrive.live.com", "pan.baidu.com")
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def download(url: str, *, sha256: str | None, timeout: float = 30.0, attempts: int = 3) -> Path:
    """Return the file of an address; download it to scratch/downloads/ if it is not there.

    sha256:   64 hex digits; None: the digest of the first download, which is recorded beside the file
    timeout:  seconds without data before the connection counts as broken
    attempts: number of connections to try
    Raises StudyError if the download fails. The partial file stays, and the next call continues it.
    """
    refuse_address(url, sha256=sha256)
    target = place(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        record = target.with_name(target.name + ".sha256")
        expected = sha256 or (record.read_text(encoding="utf-8").strip() if record.is_file() else None)
        if not target.is_file():
            partial = target.with_name(target.name + ".partial")
            for attempt in range(attempts):
                try:
                    _fetch(url, partial, timeout=timeout)
                    break
                except (OSError, http.client.HTTPException) as error:
                    if attempt + 1 == attempts or isinstance(error, urllib.error.HTTPError):
                        raise StudyError(_reason(url, error, partial, timeout=timeout)) from None
            try:
                refuse_other_kinds(partial)
            except StudyError as error:
                partial.unlink()
                raise StudyError(f"{url}: {str(error).partition(': ')[2]}") from None
            _verify(partial, expected, url=url)
            os.replace(partial, target)
        digest = _verify(target, expected, url=url)
        if expected is None:
            write_text(record, f"{digest}\n")
            print(
                f"{url}: sha256 {digest} recorded; add it as sha256: beside weights: in params.yaml",
                flush=True,
            )
    return target


def place(url: str) -> Path:
    """Return the path of a downloaded file; each address has its own path."""
    address = urllib.parse.urlsplit(url)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", address.path.rpartition("/")[2])[-100:].lstrip(".") or "file"
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    return scratch() / "downloads" / "checkpoints" / digest / name


def refuse_address(url: str, *, sha256: str | None) -> None:
    """Refuse an address that is invalid or unsafe, without using the network.

    Raises StudyError, which says what to do.
    """
    try:
        address = urllib.parse.urlsplit(url)
        host = address.hostname
    except ValueError:
        host = None
    if not host or address.username or re.search(r"[\s\x00-\x1f]", url):
        raise StudyError(f"{url!r}: not the address of a file; write https://host/path")
    if host in DRIVES:
        raise StudyError(
            f"{url}: this site needs a browser; download the file there and set weights to its path"
        )
    if address.scheme != "https" and sha256 is None and host not in LOOPBACK:
        raise StudyError(f"{url}: without TLS, the file could be changed on the way; set its sha256 too")


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects only within one host and never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        before, after = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if (after.hostname, after.port) != (before.hostname, before.port) or after.scheme != before.scheme:
            place = f"{after.scheme}://{after.netloc}"[:100]
            raise StudyError(
                f"{req.full_url}: redirects to another host, {place!r}; if you trust it, set weights to "
                "that address"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url: str, partial: Path, *, timeout: float) -> None:
    """Download the missing rest of a partial file.

    Raises OSError or HTTPException if the connection breaks.
    """
    validator = _validator(partial)
    version = validator.read_text(encoding="utf-8") if validator.is_file() else ""
    done = partial.stat().st_size if partial.is_file() and version else 0
    headers = {"User-Agent": "what-do-ssl-vits-learn", "Accept-Encoding": "identity"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": version}
    opener = urllib.request.build_opener(_SameHost)
    try:
        answer = opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not done:
            raise
        answer = opener.open(
            urllib.request.Request(url, headers={"Accept-Encoding": "identity"}), timeout=timeout
        )
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        done = done if resumed else 0
        # A later call may continue the file only if a strong validator identifies its version.
        tag = answer.headers.get("ETag", "")
        write_text(
            validator, tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")
        )
        length = answer.headers.get("Content-Length")
        total = int(length) + done if length else None
        bar = tqdm(total=total, initial=done, desc=place(url).name, unit="B", unit_scale=True, disable=None)
        with bar, partial.open("ab" if resumed else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and partial.stat().st_size != total:
        raise ConnectionError(f"received {partial.stat().st_size} of {total} bytes")
    validator.unlink()


def _validator(partial: Path) -> Path:
    """Return the path of the file that records the version of a partial download."""
    return partial.with_name(partial.name + ".validator")


def _verify(path: Path, expected: str | None, *, url: str) -> str:
    """Return the SHA-256 of a file. If it is not the expected one, delete the file and raise StudyError."""
    digest = file_digest(path)
    if expected is not None and digest != expected.lower():
        path.unlink()
        raise StudyError(
            f"{url}: sha256 is {digest}, not {expected}, so the file was deleted; set the new sha256 only if "
            "the authors changed the file"
        )
    return digest


def _reason(url: str, error: BaseException, partial: Path, *, timeout: float) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        known = error.code in {status.value for status in http.HTTPStatus}  # 520 to 526 are not standard
        phrase = f" {http.HTTPStatus(error.code).phrase}" if known else ""
        return f"{url}: the server answered {error.code}{phrase}; check the address"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    silent = isinstance(cause, TimeoutError)
    words = f"no data for {timeout:g} s" if silent else " ".join(f"{cause}".split())[:100]
    resumable = partial.is_file() and _validator(partial).is_file() and _validator(partial).read_text("utf-8")
    done = partial.stat().st_size if resumable else 0
    resume = f"; run it again to continue after {done / 1e6:.1f} MB" if done else ""
    return f"{url}: download failed ({words}){resume or '; run it again, or download the file by hand'}"


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Run the block in one process at a time for each file; other processes wait."""
    with target.with_name(target.name + ".lock").open("a") as file:
        lock(file, waits=True)
        yield
