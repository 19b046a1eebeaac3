"""What params.yaml may hold under report: what the report shows beside the results of this study."""

from typing import Annotated

from pydantic import Field

from stages.study.section import Section

Title = Annotated[str, Field(min_length=1, max_length=24)]  # in the legend of a figure


class Report(Section):
    """What only the report depends on; nothing else runs when it changes.

    compare_with: name -> results/claims.json of another study, a path or an address
    """

    compare_with: Annotated[dict[Title, Annotated[str, Field(min_length=1)]], Field(max_length=2)]
