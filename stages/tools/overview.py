"""The forest plot of README.md: the claims of three published studies, one line per claim."""

from pathlib import Path

from PIL import Image

from stages.study.paths import file_digest, read_json, writing

PICTURE = "claims.png"
MAIN = "replicates"
OTHERS = {"CIFAR-10": "cifar10", "Imagenette": "imagenette"}  # in the legend -> folder
SOURCE = "Description"  # the text of the PNG file that holds the digests of the claims


def overview(folder: Path, *, check: bool) -> str:
    """Draw the claims of the published studies in a folder, unless the picture already shows them.

    check: draw nothing
    Returns: what was done; empty if the picture shows other claims and `check` is set
    """
    picture, digest = folder / PICTURE, claims_digest(folder)
    if picture.is_file() and shown_digest(picture) == digest:
        return f"{picture}: agrees with the published results"
    if check:
        return ""
    draw(folder, digest=digest)
    return f"{picture}: drawn"


def claims_digest(folder: Path) -> str:
    """Return the digests of the claims that the picture shows, one per study."""
    return " ".join(file_digest(folder / name / "claims.json") for name in (MAIN, *OTHERS.values()))


def shown_digest(picture: Path) -> str:
    """Return the digests of the claims that a picture was drawn from; empty if it does not say."""
    with Image.open(picture) as image:
        return str(image.info.get(SOURCE, ""))


def draw(folder: Path, *, digest: str) -> None:
    """Draw the claims that any of the studies tests, and store the digests of all claims in it."""
    from stages.render.figures.forest import forest_figure  # matplotlib and pandas take seconds
    from stages.render.figures.forest_rows import forest_rows
    from stages.results.other_claims import joined_claims

    claims = {
        name: joined_claims(read_json(folder / name / "claims.json"), where=str(folder / name))
        for name in (MAIN, *OTHERS.values())
    }
    rows = forest_rows(claims[MAIN], others={label: claims[name] for label, name in OTHERS.items()})
    tested = [row for row in rows if row.main or row.others]
    with writing(folder / PICTURE) as target:
        forest_figure(tested).savefig(target, format="png", dpi=150, metadata={SOURCE: digest})
