"""Where the weights of an imported arm come from: a file, an address, or a name of the Hugging Face Hub."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from stages.encoders.downloads import download, place
from stages.encoders.weights_file import BESIDE, FILES, shards_of, weights_file, weights_files
from stages.study.errors import StudyError
from stages.study.paths import file_digest, scratch
from stages.study.settings import Arm

HUB = "hf-hub:"


class HubName(NamedTuple):
    """hf-hub:owner/name[@revision][/file]"""

    repository: str
    revision: str | None
    file: str | None


def is_remote(weights: str) -> bool:
    """Return whether weights are named by an address or by a name of the Hub, and not by a path."""
    return weights.startswith((HUB, "https://", "http://"))


def local_path(weights: str) -> Path:
    """Return where a file of params.yaml lies; DVC's temporary runs have no copy of what Git ignores."""
    path = Path(weights).expanduser()
    places = (path, Path(os.environ.get("DVC_ROOT", ".")) / path)
    return next((place for place in places if place.exists()), path)


def fetch(arm: Arm) -> Path:
    """Return the file of weights of an imported arm, downloaded if need be, and verified.

    Raises StudyError in one line if it is not to be had, or is another file than arm.sha256 says.
    """
    weights = str(arm.weights)
    if weights.startswith(HUB):
        # What is here stays, so that a study does not change with a repository of the Hub.
        path = downloaded(weights) or _from_hub(hub_name(weights))
    elif is_remote(weights):
        return download(weights, sha256=arm.sha256)
    else:
        path = weights_file(local_path(weights))
    if arm.sha256 and (digest := file_digest(path)) != arm.sha256.lower():
        raise StudyError(f"{path}: its sha256 is {digest}, not {arm.sha256}")
    return path


def weights_digest(arm: Arm) -> str:
    """Return what names the weights of an imported arm and how they are read; nothing is downloaded.

    Raises StudyError if a file on this disk cannot be read.
    """
    weights = str(arm.weights)
    if is_remote(weights):
        path = downloaded(weights)
        if path is None:  # as long as nothing is there, nothing can have been made of it
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
    """Return the parts of a name of the Hub.

    Raises StudyError if it is none, or leads out of its repository.
    """
    match = re.fullmatch(r"hf-hub:([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/([\w./-]+))?", weights, re.ASCII)
    if match is None or ".." in weights:
        raise StudyError(f"{weights!r}: not a name of the Hub; give hf-hub:owner/name[@revision][/file]")
    return HubName(*match.groups())


def downloaded(weights: str) -> Path | None:
    """Return the file of remote weights if it is on this disk."""
    if not weights.startswith(HUB):
        return place(weights) if place(weights).is_file() else None
    from huggingface_hub import try_to_load_from_cache

    name = hub_name(weights)
    for file in [name.file] if name.file else FILES:
        path = try_to_load_from_cache(name.repository, file, cache_dir=_hub_cache(), revision=name.revision)
        if isinstance(path, str):
            found = Path(path)
            whole = not file.endswith(".index.json") or all(
                found.with_name(shard).is_file() for shard in shards_of(found, complete=False).values()
            )
            return found if whole else None
    return None


def _from_hub(name: HubName) -> Path:
    """Return a file of the Hub, with what says how it is read beside it.

    Raises StudyError in one line if it is not to be had.
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
                f"{HUB}{name.repository}: the Hub does not answer, and {file} is not here"
            ) from None
        except RepositoryNotFoundError:
            raise StudyError(f"{HUB}{name.repository}: no such repository, or it needs a log-in") from None
        except EntryNotFoundError:
            return None
        except Exception as error:  # of many kinds: revision, gate, proxy, disk
            reason = " ".join(str(error).split())[:120]
            raise StudyError(f"{HUB}{name.repository}: {type(error).__name__}: {reason}") from None

    folder = (name.file or "").rpartition("/")[0]
    within = f"{folder}/" if folder else ""
    for beside in BESIDE:  # first, so that they are here if the weights are
        get(f"{within}{beside}")
    path = next(filter(None, map(get, [name.file] if name.file else FILES)), None)
    if path is None:
        raise StudyError(f"{HUB}{name.repository}: has no {name.file or ', '.join(FILES)}")
    if path.name.endswith(".index.json"):
        for shard in sorted(set(shards_of(path, complete=False).values())):
            get(f"{within}{shard}")
    return path


def _hub_cache() -> Path:
    return scratch() / "downloads" / "hub"
