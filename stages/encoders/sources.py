"""Find the weights of an imported arm: a file, a web address, or a name on the Hugging Face Hub."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from stages.encoders.downloads import download, place, refuse_address
from stages.encoders.weights_file import (
    BESIDE,
    FILES,
    refuse_other_kinds,
    shards_of,
    weights_file,
    weights_files,
)
from stages.study.errors import ParamsError, StudyError
from stages.study.paths import file_digest, scratch
from stages.study.settings import Arm

HUB = "hf-hub:"


class HubName(NamedTuple):
    """hf-hub:owner/name[@revision][/file]"""

    repository: str
    revision: str | None
    file: str | None


def is_remote(weights: str) -> bool:
    """Return whether weights are a web address or a name on the Hub rather than a path."""
    return weights.startswith((HUB, "https://", "http://"))


def local_path(weights: str) -> Path:
    """Return the path of a file in params.yaml; DVC's temporary runs find it in the original project."""
    path = Path(os.path.expanduser(weights))  # Path.expanduser would raise for an unknown user
    places = (path, Path(os.environ.get("DVC_ROOT", ".")) / path)
    return next((place for place in places if place.exists()), path)


def fetch(arm: Arm) -> Path:
    """Return the verified weights file of an imported arm; download it if necessary.

    Raises StudyError if the file is not available, or if its digest differs from arm.sha256.
    """
    weights = str(arm.weights)
    if weights.startswith(HUB):
        # A downloaded file is used as it is, so that changes on the Hub do not change the study.
        path = downloaded(weights) or _from_hub(hub_name(weights))
    elif is_remote(weights):
        return download(weights, sha256=arm.sha256)
    else:
        path = weights_file(local_path(weights))
    if arm.sha256 and (digest := file_digest(path)) != arm.sha256.lower():
        raise StudyError(f"{path}: sha256 is {digest}, not {arm.sha256}; check the file, or correct sha256")
    return path


def weights_digest(arm: Arm) -> str:
    """Return a digest of an imported arm's weights and of the configuration beside them; download nothing.

    Raises StudyError if a local file cannot be read.
    """
    weights = str(arm.weights)
    if is_remote(weights):
        path = downloaded(weights)
        if path is None:  # not downloaded yet, so no result can depend on its content
            return arm.sha256 or weights
    else:
        path = local_path(weights)
    try:
        files = weights_files(path)
        files += [beside for name in BESIDE if (beside := files[0].with_name(name)).is_file()]
        digests = [file_digest(file) for file in files]
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}") from None
    return digests[0] if len(digests) == 1 else hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def hub_name(weights: str) -> HubName:
    """Split a name on the Hub into its parts.

    Raises StudyError if the name is invalid or leads out of its repository.
    """
    match = re.fullmatch(r"hf-hub:([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/([\w./-]+))?", weights, re.ASCII)
    if match is None or ".." in weights:
        raise StudyError(f"{weights!r}: not a name on the Hub; write hf-hub:owner/name[@revision][/file]")
    return HubName(*match.groups())


def downloaded(weights: str) -> Path | None:
    """Return the local file of remote weights; None if it is not downloaded."""
    if not weights.startswith(HUB):
        return place(weights) if place(weights).is_file() else None
    from huggingface_hub import try_to_load_from_cache

    name = hub_name(weights)
    for file in [name.file] if name.file else FILES:
        path = try_to_load_from_cache(name.repository, file, cache_dir=_hub_cache(), revision=name.revision)
        if isinstance(path, str):
            cached = Path(path)
            complete = not file.endswith(".index.json") or all(
                cached.with_name(shard).is_file() for shard in shards_of(cached, complete=False).values()
            )
            return cached if complete else None
    return None


def _from_hub(name: HubName) -> Path:
    """Download a weights file from the Hub, with its configuration beside it, and return its path.

    Raises StudyError if the file is not available.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    def get(file: str) -> Path | None:
        try:
            return Path(
                hf_hub_download(
                    name.repository,
                    file,
                    revision=name.revision,
                    cache_dir=_hub_cache(),
                    endpoint=os.environ.get("HF_ENDPOINT"),
                )
            )
        except LocalEntryNotFoundError:
            raise StudyError(
                f"{HUB}{name.repository}: the Hub does not answer, and {file} is not downloaded yet; connect "
                "to the internet and try again"
            ) from None
        except RepositoryNotFoundError:
            raise StudyError(
                f"{HUB}{name.repository}: no such repository, or it needs a login; check the name, or run "
                "`hf auth login`"
            ) from None
        except EntryNotFoundError:
            return None
        except Exception as error:  # of many kinds: wrong revision, gated repository, proxy, disk
            reason = " ".join(str(error).split())[:120]
            raise StudyError(f"{HUB}{name.repository}: {type(error).__name__}: {reason}") from None

    folder = (name.file or "").rpartition("/")[0]
    within = f"{folder}/" if folder else ""
    for beside in BESIDE:  # before the weights, so that weights never exist without their configuration
        get(f"{within}{beside}")
    path = next(filter(None, map(get, [name.file] if name.file else FILES)), None)
    if path is None:
        raise StudyError(f"{HUB}{name.repository}: no {name.file or ', '.join(FILES)}; check the name")
    if path.name.endswith(".index.json"):
        for shard in sorted(set(shards_of(path, complete=False).values())):
            get(f"{within}{shard}")
    return path


def _hub_cache() -> Path:
    return scratch() / "downloads" / "hub"


def refuse_weights(key: str, weights: str, *, sha256: str | None) -> None:
    """Refuse weights that do not exist, are files of another kind, or have an impossible address.

    The network is not used.
    """
    try:
        if weights.startswith(HUB):
            hub_name(weights)
        elif is_remote(weights):
            refuse_address(weights, sha256=sha256)
        else:
            for file in weights_files(local_path(weights)):
                refuse_other_kinds(file)
    except OSError as error:  # such as a name that is too long, or an unreadable folder
        raise ParamsError(f"params.yaml: {key} is {weights!r}: {error.strerror}") from None
    except (RecursionError, ValueError):  # JSON without end, names that no file can have
        raise ParamsError(
            f"params.yaml: {key} is {weights!r}: its index is broken; download it again"
        ) from None
    except StudyError as error:
        raise ParamsError(f"params.yaml: {key} is {weights!r}: {str(error).partition(': ')[2]}") from None


def weights_of(name: str, arm: Arm) -> str:
    """Return the digest of the checkpoint of an imported arm.

    Raises StudyError with the key if the file cannot be read.
    """
    try:
        return weights_digest(arm)
    except StudyError as error:
        raise StudyError(f"params.yaml: arms.{name}.weights: {error}") from None
