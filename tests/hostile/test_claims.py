"""Claims of another study, from a file or a server that lies."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stages.results.other_claims import LARGEST, other_claims
from stages.study.errors import StudyError
from tests.hostile.one_line import one_line
from tests.render.synthetic_claims import claims


class Handler(BaseHTTPRequestHandler):
    """Answers with what the path asks for."""

    def do_GET(self):
        kind = self.path.strip("/")
        if kind == "nonsense":
            self.wfile.write(b"no HTTP at all\r\n\r\n")
            return
        if kind in ("host", "file", "here"):
            self.send_response(302)
            target = {"host": "http://localhost:1/x", "file": "file:///etc/passwd", "here": "/good"}[kind]
            self.send_header("Location", target)
            self.end_headers()
            return
        self.send_response(200)
        if kind == "short":
            self.send_header("Content-Length", "1000")
        self.end_headers()
        text = {"good": json.dumps(claims()), "deep": "[" * 100_000, "short": "{", "text": "<html>"}
        with contextlib.suppress(ConnectionError):
            self.wfile.write(b" " * (LARGEST + 10) if kind == "endless" else text[kind].encode())
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def address(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("host", "redirects to 'http://localhost:1/x'"),
        ("file", "cannot be read"),
        ("here", "redirects to"),
        ("endless", "larger than"),
        ("deep", "not JSON"),
        ("short", "not JSON"),
        ("text", "not JSON"),
        ("nonsense", "cannot be read"),
    ],
)
def test_a_server_that_lies_is_one_line(address, path, words):
    assert len(other_claims("theirs", f"{address}/good")) == len(claims()["entries"])
    with pytest.raises(StudyError, match=r"report\.compare_with\.theirs") as error:
        other_claims("theirs", f"{address}/{path}")
    assert words in str(error.value) and one_line(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"effect": "<b>"},
        {"low": None},
        {"margin": "1"},
        {"verdict": ["supported"]},
        {"specifications": [1]},
        {"corrected_low": {}},
        {"effect": float("nan")},
        {"high": float("inf")},
    ],
)
def test_claims_of_other_types_are_one_line(tmp_path, changes):
    content = claims()
    name = next(name for name, claim in content["claims"].items() if claim.get("effect") is not None)
    content["claims"][name] |= changes
    (tmp_path / "theirs.json").write_text(json.dumps(content))
    with pytest.raises(StudyError, match=r"report\.compare_with\.theirs") as error:
        other_claims("theirs", f"{tmp_path}/theirs.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null"])
def test_a_device_has_no_claims_and_does_not_hang(place):
    with pytest.raises(StudyError):
        other_claims("theirs", place)
