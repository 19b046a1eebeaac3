"""One ZIP holds the data of all figures of a page."""

import base64
import io
import zipfile

from bs4 import BeautifulSoup

from stages.render.page.bundle import bundle_data, zipped


def test_every_csv_is_in_the_zip_under_the_name_of_its_figure() -> None:
    csv = {"attention-fig-distance": b"a,b\n1,2\n" * 50, "summary-fig-distance": b"c\n3\n"}
    html = "".join(
        f'<figure id="{name}"><a download="distance.csv" href="data:text/csv;base64,'
        f'{base64.b64encode(content).decode()}">CSV</a></figure>'
        for name, content in csv.items()
    )
    soup = BeautifulSoup(html, "html.parser")
    packed = base64.b64decode(bundle_data(soup))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "attention-distance.csv": csv["attention-fig-distance"],
            "summary-distance.csv": csv["summary-fig-distance"],
        }
    assert [tag["data-csv"] for tag in soup.find_all("button")] == [
        "attention-distance.csv",
        "summary-distance.csv",
    ]
    assert "href" not in str(soup) and len(packed) < 400


def test_the_same_data_give_the_same_bytes() -> None:
    assert zipped({"a": b"1"}) == zipped({"a": b"1"}) != zipped({"a": b"2"})
    assert bundle_data(BeautifulSoup("<p></p>", "html.parser")) == ""
