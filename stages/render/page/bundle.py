"""The data of all figures in one ZIP file, which stands in the page once and gives every CSV away."""

import base64
import io
import zipfile

from bs4 import BeautifulSoup

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a ZIP can say: the same data give the same bytes


def bundle_data(soup: BeautifulSoup) -> str:
    """Take the CSV of every figure out of its link, and give all as a ZIP.

    Every link becomes a button that a script fills from the ZIP. Figures of two pages may have one name, so
    files are named by the id of their figure.

    Returns: base64 of the ZIP, empty if there is no data
    """
    files = {}
    for link in soup.select("figure a[download]"):
        figure = link.find_parent("figure")
        name = (
            f"{str(figure['id']).replace('-fig-', '-')}.csv" if figure is not None else str(link["download"])
        )
        files[name] = base64.b64decode(str(link["href"]).partition(",")[2])
        link.name = "button"
        link.attrs = {"type": "button", "data-csv": name, "hidden": ""}
    return base64.b64encode(zipped(files)).decode("ascii") if files else ""


def zipped(files: dict[str, bytes]) -> bytes:
    """The bytes of a ZIP of some files, which depend on names and content alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=9)
    return buffer.getvalue()
