"""Packed files are whole or not there, and hold the same bytes for the same contents."""

from __future__ import annotations

import gzip

import pytest

from evalkit.runner import files
from evalkit.runner.files import gzipped


def test_the_same_contents_give_the_same_bytes_whatever_the_pieces(tmp_path):
    lines = [f"line {at} äöü\n".encode() * 40 for at in range(5000)]
    for name, some in (("a.gz", lines), ("b.gz", [b"".join(lines)])):
        with gzipped(tmp_path / name) as file:
            for line in some:
                file.write(line)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"".join(lines)
    with gzipped(tmp_path / "c.gz") as file:
        for line in lines:
            file.write(line)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "c.gz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gz", "b.gz", "c.gz"]


@pytest.mark.parametrize("size", [10, 10 * files._PIECE])
def test_what_goes_wrong_while_packing_is_raised_and_leaves_nothing(size, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", full)
    with pytest.raises(OSError, match="No space left"), gzipped(tmp_path / "a.gz") as file:
        file.write(b"x" * size)
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_caller_leaves_the_old_file(tmp_path):
    (tmp_path / "a.gz").write_bytes(b"old")
    with pytest.raises(KeyError), gzipped(tmp_path / "a.gz") as file:
        file.write(b"new")
        raise KeyError
    assert (tmp_path / "a.gz").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1
