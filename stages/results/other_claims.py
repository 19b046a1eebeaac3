"""The claims of other studies, which the report draws beside the claims of this study."""

import json
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from stages.study.errors import StudyError
from stages.study.places import is_address

PATIENCE = 30  # s to wait for an answer from the web


def joined_claims(content: Any, *, where: str) -> list[dict[str, Any]]:
    """Return one mapping per claim of a claims.json, with words and numbers, in the order of the paper.

    where: name of the file in error messages
    Raises StudyError if the content is not that of a claims.json.
    """
    numbers = content.get("claims") if isinstance(content, dict) else None
    entries = content.get("entries") if isinstance(content, dict) else None
    if not isinstance(numbers, dict) or not isinstance(entries, list):
        raise StudyError(f"{where}: not the claims of a study; name its results/claims.json")
    try:
        return [words | numbers[words["name"]] for words in entries]
    except (KeyError, TypeError):
        raise StudyError(f"{where}: claims and entries do not match; copy the file again") from None


def other_claims(name: str, place: str) -> list[dict[str, Any]]:
    """Return the claims of another study in the form of `joined_claims`.

    name:  key under report.compare_with, for error messages
    place: path or web address of its claims.json
    Raises StudyError with the key if the file cannot be read or is no claims.json.
    """
    key = f"params.yaml: report.compare_with.{name} is {place!r}"
    try:
        if is_address(place):
            with urlopen(place, timeout=PATIENCE) as answer:
                content = json.loads(answer.read())
        else:
            content = json.loads(Path(place).read_text(encoding="utf-8"))
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise StudyError(f"{key}: cannot be read ({reason}); correct the path or address") from None
    except ValueError:
        raise StudyError(f"{key}: not JSON; name the results/claims.json of a study") from None
    return joined_claims(content, where=key)
