"""Where a checkpoint is and what is in it, told without loading it; every trouble on the way becomes one line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from evalkit.digest import file_digest
from evalkit.encoder.base import Checkpoint
from evalkit.errors import EvalkitError, ScorerError
from evalkit.hub import out_of_reach
from evalkit.types import content_hash

PACKAGES = "pip install 'evalkit[hf,metrics]'"

#: Weights by preference: where there are safetensors, transformers reads nothing else.
_WEIGHTS = (("*.safetensors",), ("*.bin", "*.pt", "*.pth", "*.ckpt", "checkpoints/*.ckpt"))
#: What else of a folder can change a number.
_RULES = (
    "*config*.json", "modules.json", "hparams.yaml", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.*", "merges.txt", "*.model", "*/config.json", "*/*.safetensors",
)  # fmt: skip
#: Beside a checkpoint, but no part of it.
_NOT_RULES = frozenset({"data_config.json", "generation_config.json", "trainer_config.json"})


def locate(model: str, revision: str | None, needs: Sequence[str], kind: str) -> Checkpoint:
    """See `evalkit.encoder.base.checkpoint`."""
    path = Path(model).expanduser()
    if path.is_dir():
        place = _in_folder(path)
    elif path.exists() or model.startswith(("/", ".", "~")) or model.count("/") > 1:
        what = "is a file, not a directory" if path.exists() else "is not there"
        raise ScorerError(f"{model} {what}: give the directory of a checkpoint, or a hub id such as org/name")
    else:
        place = _on_hub(model, revision, needs[0] if needs else "config.json", kind)
    if place.folder is not None:
        _require(place, needs, kind)
    return place


def file_of(place: Checkpoint, name: str) -> Path | None:
    """See `Checkpoint.file`."""
    if place.folder is not None:
        path = place.folder / name
        return path if path.is_file() else None
    return _fetched(place.source, name, place.revision, optional=True)


def misfit(place: Checkpoint, expected: str) -> ScorerError:
    """What was found at ``place``, and what was ``expected`` there."""
    return ScorerError(f"{place.source} is not {expected}: found {_contents(place)}")


def _in_folder(path: Path) -> Checkpoint:
    folder = path.resolve()
    found = tuple(sorted(item.name + ("/" if item.is_dir() else "") for item in folder.iterdir() if item.name[0] != "."))
    return Checkpoint(folder.name, str(folder), folder, None, folder_fingerprint(folder), found)


def folder_fingerprint(folder: Path) -> str:
    """One hash over what of a checkpoint's folder can change a number, by file name and content."""
    rules = {path for pattern in _RULES for path in folder.glob(pattern) if path.name not in _NOT_RULES}
    weights: set[Path] = set()
    for patterns in _WEIGHTS:
        weights = weights or {path for pattern in patterns for path in folder.glob(pattern)}
    files = sorted(path for path in rules | weights if path.is_file())
    return content_hash([[path.relative_to(folder).as_posix(), file_digest(path)] for path in files])


def _require(place: Checkpoint, needs: Sequence[str], kind: str) -> None:
    assert place.folder is not None
    lacking = [name for name in needs if not (place.folder / name).is_file()]
    if lacking:
        expected = f"{kind or 'a checkpoint'}, which has {' and '.join(needs)}"
        raise misfit(place, expected)


def _contents(place: Checkpoint, limit: int = 8) -> str:
    """A folder's files in words, with the model type where its config tells."""
    if place.folder is None:
        return f"model_type {_model_type(place)}" if _model_type(place) else "something else"
    if not place.found:
        return "an empty directory"
    more = f" and {len(place.found) - limit} more" if len(place.found) > limit else ""
    kind = _model_type(place)
    return ", ".join(place.found[:limit]) + more + (f" (model_type {kind})" if kind else "")


def _model_type(place: Checkpoint) -> str | None:
    try:
        path = file_of(place, "config.json")
        found = None if path is None else json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError, ScorerError):
        return None
    return None if found is None else str(found)


def _on_hub(model: str, revision: str | None, first: str, kind: str) -> Checkpoint:
    path = _fetched(model, first, revision)
    if path is None:
        expected = kind or "a checkpoint"
        raise ScorerError(f"{model} on the Hugging Face hub is not {expected}: it has no {first}")
    # a file of the hub's cache stands in .../snapshots/<commit>/...
    parts = path.parts
    commit = parts[parts.index("snapshots") + 1] if "snapshots" in parts else revision
    return Checkpoint(model, model, None, commit, content_hash([model, commit]))


def _fetched(model: str, name: str, revision: str | None, *, optional: bool = False) -> Path | None:
    """A hub repository's file in the local cache; ``None`` where the repository has no such file.

    ``optional``: also where the hub cannot be asked, as transformers does for files that not every checkpoint has.
    """
    with one_line(model, revision):
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            if not _offline() and try_to_load_from_cache(model, name, revision=revision) is None and (why := out_of_reach()):
                raise LocalEntryNotFoundError(f"the hub is out of reach ({why})")
            return Path(hf_hub_download(model, name, revision=revision))
        except LocalEntryNotFoundError:  # not in the cache, and the hub cannot be asked
            if optional:
                return None
            raise
        except EntryNotFoundError:
            return None


@contextmanager
def one_line(name: str, revision: str | None) -> Iterator[None]:
    """Turn what libraries raise while they find and load ``name`` into a ScorerError that says what to do."""
    try:
        yield
    except EvalkitError:
        raise
    except ImportError as error:
        missing = error.name or _line(error)
        raise ScorerError(f"{name} needs the package {missing}: {PACKAGES}") from error
    except Exception as error:  # loading runs the libraries of many model families, which raise whatever they like
        raise ScorerError(_reason(f"{name}@{revision}" if revision else name, name, error)) from error


def _reason(what: str, name: str, error: BaseException) -> str:
    text = str(error)
    if "trust_remote_code" in text or "contains custom code" in text:
        return f"{what} needs code from its own repository, which evalkit does not run for metrics"
    if isinstance(error, OSError) and not Path(name).expanduser().exists():
        if _offline():
            return (
                f"cannot find {what}: it is neither a directory nor in the Hugging Face cache, and HF_HUB_OFFLINE "
                "forbids to ask the hub; give a local directory, or fetch it first"
            )
        return (
            f"cannot find {what}: it is neither a directory nor in the Hugging Face cache, and not to be had from the hub: "
            f"{_line(error)}; give a local directory, or check id, access (HF_TOKEN) and network"
        )
    return f"cannot load {what}: {type(error).__name__}: {_line(error)}"


def _offline() -> bool:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return bool(HF_HUB_OFFLINE)


def _line(error: BaseException, limit: int = 200) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return first if len(first) <= limit else first[: limit - 1] + "…"
