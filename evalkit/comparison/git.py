"""A file as it is in a git commit, without checking it out."""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath

from evalkit.errors import NotFound, StoreError, nearest

#: How a file that git only points at begins.
_POINTER = b"version https://git-lfs"


def blob(ref: str, path: str, *, folder: Path | None = None) -> bytes:
    """The content of ``path`` (from the repository's top) in the commit, branch or tag ``ref``.

    ``folder`` is in the repository: the current one by default. Raises NotFound where it has no such file, StoreError
    without git, a repository or the commit: a shallow clone that lacks it does not show that there is no baseline.
    """
    where = f"git:{ref}:{path}"
    _git(["rev-parse", "--git-dir"], folder, f"{where}: {(folder or Path.cwd())} is in no git repository")
    if ref.startswith("-") or not ref:
        raise StoreError(f"{where}: {ref!r} is no name of a commit; written git:REF:PATH")
    if _run(["rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"], folder).returncode:
        known = _run(["for-each-ref", "--format=%(refname:short)"], folder).stdout.decode("utf-8", "replace").split()
        hint = nearest(ref, known) or " (a shallow clone lacks other branches: git fetch origin REF)"
        raise StoreError(f"{where}: the repository has no commit, branch or tag {ref!r}{hint}")
    found = _run(["cat-file", "blob", f"{ref}:{path}"], folder)
    if found.returncode:
        listed = _run(["ls-tree", "-r", "-z", "--name-only", "--full-tree", ref], folder).stdout
        known = listed.decode("utf-8", "surrogateescape").split("\0")
        ending = "".join(PurePosixPath(path).suffixes[-2:])
        raise NotFound(f"{where}: {ref} has no file {path!r}{nearest(path, [n for n in known if n.endswith(ending)])}")
    if found.stdout.startswith(_POINTER):
        raise StoreError(f"{where} is kept in Git LFS: check it out (git lfs pull) and name the file itself")
    return found.stdout


def _git(arguments: list[str], folder: Path | None, otherwise: str) -> None:
    if _run(arguments, folder).returncode:
        raise StoreError(otherwise)


def _run(arguments: list[str], folder: Path | None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise StoreError("git:REF:PATH needs git, which is not on this machine's PATH") from error
