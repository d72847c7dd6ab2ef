"""The files of this process's downloads, found by the address they came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kling_async.display.stored import StoredFiles

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_found_by_its_address_while_it_is_there(tmp_path: Path) -> None:
    """The latest path counts; a file that is gone is not found; another signature is another address."""
    files = StoredFiles()
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    for path in (first, second):
        path.write_bytes(b"x")
        files.note("https://x.example/a?sig=1", path)
    assert files.find("https://x.example/a?sig=1") == second
    assert files.find("https://x.example/a?sig=2") is None
    second.unlink()
    assert files.find("https://x.example/a?sig=1") is None


def test_memory_is_bounded_and_holds_no_address(tmp_path: Path) -> None:
    """The oldest addresses are forgotten; what is kept does not show them."""
    files = StoredFiles(2)
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    for n in range(3):
        files.note(f"https://x.example/{n}?secret", path)
    assert [files.find(f"https://x.example/{n}?secret") is None for n in range(3)] == [True, False, False]
    assert "secret" not in repr(vars(files))
