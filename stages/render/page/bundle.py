"""Put the data of all figures into one ZIP file in the page, which also serves each CSV file."""

import base64
import io
import zipfile

from bs4 import BeautifulSoup

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a ZIP entry: the same data give the same bytes


def bundle_data(soup: BeautifulSoup) -> str:
    """Move the CSV data of every figure from its link into one ZIP file.

    Every link becomes a button that a script serves from the ZIP. Each file is named after the id of its
    figure, because figures of two pages may have the same name.

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
    """Return a ZIP of files as bytes that depend only on names and content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=9)
    return buffer.getvalue()
