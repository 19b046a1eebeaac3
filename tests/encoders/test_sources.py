"""Weights by path, by address and by a name of the Hub, from a stand-in for the Hub on loopback."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save

from stages.encoders.imported import open_checkpoint
from stages.encoders.sources import fetch, hub_name, is_remote, local_path, weights_digest
from stages.study.errors import StudyError
from stages.study.settings import Arm
from tests.encoders import originals
from tests.encoders.originals import HEADS, Encoder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def arm(weights, **settings):
    return Arm(objective="imported", format="timm", weights=str(weights), **settings)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The files of a stand-in for the Hub, by repository/name, and what it was asked for."""
    files: dict[str, bytes] = {}
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.do_GET(body=False)

        def do_GET(self, body=True):
            repository, _, file = self.path.strip("/").partition("/resolve/")
            name = f"{repository}/{file.partition('/')[2]}"
            requests.append(name)
            content = files.get(name)
            if content is None:
                known = any(key.startswith(repository + "/") for key in files)
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield files, requests
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_name_of_the_hub_brings_its_config_and_is_read_by_it(hub):
    files, _ = hub
    original = originals.filled(Encoder())
    files["timm/tiny/model.safetensors"] = save(original.state_dict())
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": HEADS}
    config = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {}, "model_args": arguments}
    files["timm/tiny/config.json"] = json.dumps(config).encode()
    theirs = arm("hf-hub:timm/tiny")
    before = weights_digest(theirs)
    path = fetch(theirs)
    encoder, _, notes = open_checkpoint(path, format="timm")
    assert notes == () and encoder.blocks[0].attn.num_heads == HEADS
    assert torch.equal(encoder.cls_token, original.cls_token)
    assert len(weights_digest(theirs)) == 64 and before == "hf-hub:timm/tiny" and COMMIT in str(path)


def test_shards_of_the_hub_come_with_their_index(hub):
    files, requests = hub
    tensors = originals.filled(Encoder()).state_dict()
    names = list(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        files[f"org/big/{file}"] = save({name: tensors[name] for name in part})
    shards = {name: file for file, part in parts.items() for name in part}
    files["org/big/model.safetensors.index.json"] = json.dumps({"weight_map": shards}).encode()
    encoder = open_checkpoint(fetch(arm("hf-hub:org/big@main")), format="timm", num_heads=HEADS).encoder
    assert torch.equal(encoder.cls_token, tensors["cls_token"])
    assert {"org/big/a.safetensors", "org/big/b.safetensors"} <= set(requests)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("hf-hub:org/none", "no such repository"),
        ("hf-hub:org/x/other.bin", "no other.bin"),
        ("hf-hub:org", "not a name on the Hub"),
        ("hf-hub:org/x/../../y", "not a name on the Hub"),
        ("hf-hub:org/x@main/a b", "not a name on the Hub"),
    ],
)
def test_what_the_hub_does_not_have_is_one_line(hub, weights, words):
    hub[0]["org/x/model.safetensors"] = b"x"
    with pytest.raises(StudyError, match=words) as error:
        fetch(arm(weights))
    assert "\n" not in str(error.value)


def test_a_hub_that_does_not_answer_is_one_line_and_what_is_here_is_used(hub, monkeypatch):
    hub[0]["org/x/model.safetensors"] = save({"a": torch.ones(1)})
    path = fetch(arm("hf-hub:org/x"))
    count = len(hub[1])

    def fail(*_, **__):
        raise LocalEntryNotFoundError("no connection\nat all")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    assert fetch(arm("hf-hub:org/x")) == path and len(hub[1]) == count
    with pytest.raises(StudyError, match="does not answer"):
        fetch(arm("hf-hub:org/y"))


def test_names_of_the_hub():
    assert hub_name("hf-hub:timm/vit_small_patch16_224.dino") == (
        "timm/vit_small_patch16_224.dino",
        None,
        None,
    )
    assert hub_name("hf-hub:o/n@v1/sub/x.safetensors") == ("o/n", "v1", "sub/x.safetensors")
    assert is_remote("https://a/b") and is_remote("hf-hub:a/b") and not is_remote("~/x.pth")


def test_a_path_is_found_in_the_project_of_a_temporary_run_and_in_the_home(tmp_path, monkeypatch):
    (tmp_path / "project/copy").mkdir(parents=True)
    (tmp_path / "project/mine.pth").write_bytes(b"x")
    monkeypatch.chdir(tmp_path / "project/copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    monkeypatch.setenv("HOME", str(tmp_path / "project"))
    for name in ("mine.pth", "~/mine.pth"):
        assert local_path(name).read_bytes() == b"x"
        assert fetch(arm(name)).is_file()


def test_a_digest_is_that_of_the_file_and_of_what_stands_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "x.pth"
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert weights_digest(arm(path)) == digest
    assert fetch(arm(path, sha256=digest.upper())) == path
    with pytest.raises(StudyError, match=f"sha256 is {digest}, not {'1' * 64}"):
        fetch(arm(path, sha256="1" * 64))
    (tmp_path / "config.json").write_text("{}")
    assert weights_digest(arm(path)) not in (digest, "")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    address = "https://example.org/a.pth"
    assert weights_digest(arm(address)) == address  # nothing is downloaded for a digest
    assert weights_digest(arm(address, sha256=digest)) == digest
