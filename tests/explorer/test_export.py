"""The page as a file: whole or not at all, the same bytes each time, and a sentence where it cannot be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from explorer_page import folder

from trainphase.errors import RequestError
from trainphase.explorer import bundle, document, export


@pytest.fixture(autouse=True)
def page(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    at = folder(tmp_path_factory.mktemp("page"))
    monkeypatch.setattr(bundle, "files", lambda: at)


def test_equal_documents_give_equal_bytes_without_a_server(tmp_path: Path) -> None:
    one = export.write(tmp_path / "one.html", document.document(server=True))
    two = export.write(tmp_path / "two.htm", document.document())
    assert one.read_bytes() == two.read_bytes() == bundle.page(document.document()).html.encode()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.html", "two.htm"]


def test_a_file_that_is_there_is_replaced_whole_or_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "page.html"
    place.write_text("old")
    with monkeypatch.context() as broken:

        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        broken.setattr("os.replace", fail)
        with pytest.raises(RequestError, match="cannot be written \\(No space left on device\\); give another path"):
            export.write(place, document.document())
    assert place.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["page.html"]
    export.write(place, document.document())
    assert place.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(("name", "said"), [("page.png", "end its name in .html"), ("none/page.html", "give another path")])
def test_places_that_will_not_do(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=said):
        export.write(tmp_path / name, document.document())
