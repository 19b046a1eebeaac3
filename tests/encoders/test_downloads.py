"""Downloads from a server on loopback: resumed, verified, refused in one line."""

import hashlib
import io
import threading
import urllib.error
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stages.encoders import downloads
from stages.encoders.downloads import download, place, refuse_address
from stages.study.errors import StudyError

FILE = bytes(range(256)) * 40_000  # 10 MB
SHA256 = hashlib.sha256(FILE).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """A server of one file, which misbehaves as its path says."""

    requests: list[tuple[str, str | None]]
    silence: threading.Event
    breaks: int
    tag = '"one"'

    def log_message(self, *_):
        pass

    def do_GET(self):
        span = self.headers.get("Range")
        type(self).requests.append((self.path, span))
        kind = self.path.strip("/").partition("-")[0]
        if kind == "gone":
            self.send_error(404)
        elif kind == "silent":
            type(self).silence.wait(20)
        elif kind == "page":
            self.answer(b"<!DOCTYPE html><title>Sign in</title>", type="text/html")
        elif kind == "elsewhere":
            self.redirect("http://localhost:1/file.pth")
        elif kind == "moved":
            self.redirect("/file.pth")
        elif kind == "plain":
            self.answer(FILE, tag="")
        else:
            whole = self.headers.get("If-Range") != type(self).tag
            self.answer(FILE, start=0 if whole or not span else int(span[6:-1]))

    def redirect(self, to):
        self.send_response(302)
        self.send_header("Location", to)
        self.end_headers()

    def answer(self, content, *, start=0, type="application/octet-stream", tag=None):
        server = self.__class__
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Content-Type", type)
        if tag is None:
            self.send_header("ETag", server.tag)
        self.end_headers()
        stop = len(content)
        if server.breaks and len(content) > 5_000_000:
            server.breaks -= 1
            stop = start + 3_000_000
        self.wfile.write(content[start:stop])
        self.close_connection = True


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a server, and its handler; downloads go to tmp_path."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    handler = type("Handling", (Handler,), {"requests": [], "silence": threading.Event(), "breaks": 0})
    serving = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=serving.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}", handler
    handler.silence.set()
    serving.shutdown()
    serving.server_close()
    thread.join()


def refusal(*args, **settings):
    with pytest.raises(StudyError) as error:
        download(*args, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_downloaded_once_and_its_digest_recorded(server, capsys):
    address, handler = server
    path = download(f"{address}/file.pth", sha256=None)
    assert path.read_bytes() == FILE and path.name == "file.pth"
    assert f"sha256 {SHA256} recorded" in capsys.readouterr().out
    assert download(f"{address}/file.pth", sha256=None) == path
    assert len(handler.requests) == 1 and capsys.readouterr().out == ""
    assert {file.name for file in path.parent.iterdir()} == {"file.pth", "file.pth.sha256", "file.pth.lock"}


def test_a_file_that_changed_on_the_disk_is_not_used(server):
    address, _ = server
    path = download(f"{address}/file.pth", sha256=None)
    path.write_bytes(FILE[:-1] + b"x")
    assert f"not {SHA256}, so the file was deleted" in refusal(f"{address}/file.pth", sha256=None)
    assert download(f"{address}/file.pth", sha256=SHA256).read_bytes() == FILE


def test_a_broken_connection_is_taken_up_where_it_broke(server):
    address, handler = server
    handler.breaks = 2
    assert download(f"{address}/file.pth", sha256=SHA256).read_bytes() == FILE
    assert [span for _, span in handler.requests] == [None, "bytes=3000000-", "bytes=6000000-"]


def test_what_came_is_kept_for_the_next_call(server):
    address, handler = server
    handler.breaks = 1
    message = refusal(f"{address}/file.pth", sha256=SHA256, attempts=1)
    assert "received 3000000 of 10240000 bytes" in message and "continue after 3.0 MB" in message
    assert not place(f"{address}/file.pth").exists()
    assert download(f"{address}/file.pth", sha256=SHA256, attempts=1).read_bytes() == FILE
    assert handler.requests[-1][1] == "bytes=3000000-"


def test_a_file_that_changed_at_the_server_is_begun_anew(server):
    address, handler = server
    handler.breaks = 1
    refusal(f"{address}/file.pth", sha256=SHA256, attempts=1)
    handler.tag = '"two"'
    assert download(f"{address}/file.pth", sha256=SHA256, attempts=1).read_bytes() == FILE


def test_without_a_name_of_the_version_it_is_begun_anew(server):
    address, handler = server
    handler.breaks = 1
    assert "run it again" in refusal(f"{address}/plain-file.pth", sha256=SHA256, attempts=1)
    assert download(f"{address}/plain-file.pth", sha256=SHA256, attempts=1).read_bytes() == FILE
    assert [span for _, span in handler.requests] == [None, None]


def test_another_digest_is_refused_and_nothing_kept(server):
    address, _ = server
    message = refusal(f"{address}/file.pth", sha256="0" * 64)
    assert f"sha256 is {SHA256}, not {'0' * 64}, so the file was deleted" in message
    folder = place(f"{address}/file.pth").parent
    assert [file.name for file in folder.iterdir()] == ["file.pth.lock"]


def test_no_such_file_is_one_line(server):
    address, handler = server
    assert "answered 404 Not Found; check the address" in refusal(f"{address}/gone-file.pth", sha256=None)
    assert len(handler.requests) == 1


def test_an_answer_without_a_standard_name_is_one_line(tmp_path):
    """Cloudflare answers 520 to 526."""
    error = urllib.error.HTTPError("https://host/a.pth", 522, "", None, io.BytesIO())
    message = downloads._reason("https://host/a.pth", error, tmp_path / "part", timeout=1)
    assert message == "https://host/a.pth: the server answered 522; check the address"


def test_a_page_in_the_place_of_a_file_is_named(server):
    address, _ = server
    message = refusal(f"{address}/page-file.pth", sha256=None)
    assert message.startswith(f"{address}/page-file.pth: a web page, not weights")
    assert [file.name for file in place(f"{address}/page-file.pth").parent.iterdir()] == [
        "page-file.pth.lock"
    ]


def test_another_host_is_not_followed_and_the_same_is(server):
    address, handler = server
    message = refusal(f"{address}/elsewhere-file.pth", sha256=SHA256)
    assert "redirects to another host, 'http://localhost:1'" in message
    assert download(f"{address}/moved-file.pth", sha256=SHA256).read_bytes() == FILE
    assert [path for path, _ in handler.requests][-1] == "/file.pth"


def test_a_silent_server_is_given_up(server):
    address, _ = server
    message = refusal(f"{address}/silent-file.pth", sha256=None, timeout=0.1, attempts=2)
    assert "no data for 0.1 s" in message


def test_nobody_there_is_one_line(server, monkeypatch):
    assert "download failed" in refusal("http://127.0.0.1:1/file.pth", sha256=None)


@pytest.mark.parametrize(
    ("url", "sha256", "words"),
    [
        ("http://example.org/a.pth", None, "set its sha256 too"),
        ("https://drive.google.com/file/d/1dJn6GYkwMIcoP3zqOEyW1_iQfpBi8UOw/view", None, "needs a browser"),
        ("https://", None, "not the address"),
        ("https://user:secret@example.org/a.pth", None, "not the address"),
        ("https://example.org/a.pth\r\nX: y", None, "not the address"),
        ("https://[::1/a.pth", None, "not the address"),
    ],
)
def test_addresses_that_cannot_be_are_refused_unasked(url, sha256, words):
    with pytest.raises(StudyError, match=words) as error:
        refuse_address(url, sha256=sha256)
    assert "\n" not in str(error.value)
    refuse_address("http://example.org/a.pth", sha256=SHA256)


@pytest.mark.parametrize(
    "name", ["..", "../../etc/passwd", "<b>.pth", "%2e%2e%2fx", ".hidden", "x" * 300, ""]
)
def test_no_address_leads_out_of_the_folder_of_downloads(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    path = place(f"https://example.org/a/{name}")
    assert path.parent.parent == tmp_path / "scratch/downloads/checkpoints"
    assert path.resolve().parent == path.parent.resolve() and "<" not in path.name and len(path.name) <= 100
