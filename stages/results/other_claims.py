"""The claims of other studies, which the report draws beside the claims of this study."""

import json
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, build_opener

from stages.study.errors import StudyError
from stages.study.places import is_address

PATIENCE = 30  # s to wait for an answer from the web
NUMBERS = ("effect", "low", "high", "margin", "corrected_low", "corrected_high")
LARGEST = 2**24  # bytes; the claims of a study take a hundredth of them


class _NoRedirect(HTTPRedirectHandler):
    """Refuses redirects, so that the file comes from the host that params.yaml names."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        raise URLError(f"redirects to {newurl[:100]!r}; if you trust it, name that address")


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
    Raises StudyError with the key if the file cannot be read or is not a claims.json.
    """
    key = f"params.yaml: report.compare_with.{name} is {place!r}"
    try:
        if is_address(place):
            with build_opener(_NoRedirect).open(place, timeout=PATIENCE) as answer:
                text = answer.read(LARGEST + 1)
        else:
            with Path(place).expanduser().open("rb") as file:
                text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise StudyError(f"{key}: larger than {LARGEST} bytes; name the results/claims.json of a study")
        content = json.loads(text, parse_constant=_refuse_constant)
    except (OSError, HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise StudyError(f"{key}: cannot be read ({reason}); correct the path or address") from None
    except (ValueError, RecursionError):
        raise StudyError(f"{key}: not JSON; name the results/claims.json of a study") from None
    claims = joined_claims(content, where=key)
    for claim in claims:
        numbers = {name: claim.get(name) for name in NUMBERS}
        if claim.get("effect") is None:
            continue
        lacking = [name for name in ("effect", "low", "high") if not isinstance(numbers[name], int | float)]
        wrong = [name for name in NUMBERS[3:] if not isinstance(numbers[name], int | float | None)]
        wrong += [
            name for name in ("specifications", "by_seed") if not isinstance(claim.get(name), dict | None)
        ]
        if lacking or wrong or not isinstance(claim.get("verdict"), str):
            names = ", ".join([*lacking, *wrong]) or "verdict"
            raise StudyError(f"{key}: {names} of claim {claim['name']!r} cannot be read; copy the file again")
    return claims


def _refuse_constant(name: str) -> float:
    """Refuse NaN and Infinity, which JSON does not have."""
    raise ValueError(name)
