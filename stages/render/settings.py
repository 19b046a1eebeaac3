"""Settings under `report` in params.yaml: other studies to draw beside this one."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from stages.study.section import Section

Title = Annotated[str, Field(min_length=1, max_length=24)]  # for the legend of a figure


def _reachable(place: str) -> str:
    """Check that an address names a host. Raises ValueError if it does not."""
    if place.startswith(("https://", "http://")) and not urlsplit(place).hostname:
        raise ValueError("names no host; write https://host/path/claims.json")
    return place


Place = Annotated[str, Field(min_length=1), AfterValidator(_reachable)]


class Report(Section):
    """Settings that only the report depends on; no other stage runs when they change.

    compare_with: name -> results/claims.json of another study, a path or an address
    """

    compare_with: Annotated[dict[Title, Place], Field(max_length=2)]
