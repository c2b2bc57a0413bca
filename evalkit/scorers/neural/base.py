"""What scorers with a network of their own share: its parameters, and how many texts were cut or blank.

A subclass gives its metrics' columns first; `scored` puts the two counts behind them, so that they are known of any part
of the data (a slice, a resample) without scoring again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from evalkit.encoder.base import (
    Checkpoint,
    Dtype,
    Encoder,
    EncoderSpec,
    Loader,
    Tokens,
    checkpoint,
    encoder,
    require_device,
)
from evalkit.errors import ScorerError, nearest
from evalkit.scorers.base import Array, BaseScorer
from evalkit.scorers.common import whole
from evalkit.types import Json, Score

_DTYPES: Mapping[str, Dtype] = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
}


class NeuralScorer(BaseScorer):
    """A scorer whose numbers come from a network behind `evalkit.encoder.base.encoder`.

    Subclasses set ``network`` (tells apart networks that several scorers load from one directory), ``needs`` and ``kind``
    (the files of a checkpoint, and what it is called in messages), and where ``AutoModel`` is not right, `loader`.

    Args:
        model: a hub id or a directory.
        dtype: ``float32``, ``bfloat16`` or ``float16`` (``fp32``, ``bf16``, ``fp16``). Part of the signature.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``. Not part of the signature: it moves a value by rounding
            only.
        batch_tokens: most tokens of a batch, padding included; default by device.
        cache: whether encoded texts are kept on disk for the next run.
        revision: branch, tag or commit of a hub id.
    """

    live = False
    network: str = "encoder"
    needs: tuple[str, ...] = ("config.json",)
    kind: str = "an encoder (Hugging Face format)"

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "float32",
        device: str = "auto",
        batch_tokens: int | None = None,
        cache: bool = True,
        revision: str | None = None,
    ) -> None:
        if not isinstance(model, str) or not model.strip():
            raise ScorerError(f"scorer parameter 'model' must be a hub id or a directory, not {model!r}")
        self.spec = EncoderSpec(
            model,
            dtype=dtype_of(dtype),
            device=str(device),
            revision=revision,
            batch_tokens=None if batch_tokens is None else whole("batch_tokens", batch_tokens),
            cache=bool(cache),
        )
        self._place: Checkpoint | None = None

    @property
    def place(self) -> Checkpoint:
        """Where the network's files are. Raises ScorerError (see `evalkit.encoder.base.checkpoint`)."""
        if self._place is None:
            self._place = checkpoint(self.spec.model, self.spec.revision, needs=self.needs, kind=self.kind)
        return self._place

    def loader(self) -> Loader | None:
        """How the network is loaded; ``None``: as an ``AutoModel`` with its ``AutoTokenizer``."""
        return None

    def encoder(self) -> Encoder:
        """The loaded network, the same one for every scorer that asks for it. Raises ScorerError."""
        self.place  # noqa: B018 (a directory of the wrong kind is told with what was expected)
        return encoder(self.spec, self.loader(), name=self.network)

    def check(self) -> None:
        """What can be known to fail before anything is asked of a model. Raises ScorerError."""
        _major("transformers")
        self.place  # noqa: B018
        if self.spec.device != "auto" or self.spec.dtype == "float16":  # else there is nothing that could be missing
            require_device(self.spec)

    def parameters(self) -> Mapping[str, Json]:
        """``model``, ``weights`` (hash), ``dtype``, ``transformers`` (major version); subclasses add theirs."""
        place = self.place
        return {
            "model": place.name,
            "weights": place.fingerprint[:12],
            "dtype": self.spec.dtype,
            "transformers": _major("transformers"),
        }

    def detail(self, stats: Array) -> Mapping[str, Json]:
        """``truncated`` and ``blank``: samples with a text that was cut, or that had nothing in it."""
        truncated, blank = _counts(stats)
        return {"truncated": truncated, "blank": blank}

    def notes(self, stats: Array) -> Sequence[str]:
        """The same for readers, where there is something to tell."""
        truncated, blank = _counts(stats)
        told = [f"{truncated} with text cut at the network's length"] if truncated else []
        return (*told, *([f"{blank} with a blank text"] if blank else []))


def scored(values: Sequence[float], value: float | None, rows: Iterable[Tokens], **detail: Json) -> Score:
    """A score of the columns ``values`` with the counts of its texts behind them.

    ``rows`` are the texts that went into it. Columns -2 and -1 of the statistics are the tokens that were cut off and the
    number of blank texts; ``detail`` of the sample says ``cut`` (tokens) and ``blank`` where that is so.
    """
    given = list(rows)
    cut, blank = sum(row.cut for row in given), sum(row.blank for row in given)
    told: dict[str, Json] = dict(detail)
    if cut:
        told["cut"] = cut
    if blank:
        told["blank"] = True
    return Score((*map(float, values), float(cut), float(blank)), value, detail=told)


def dtype_of(name: str) -> Dtype:
    """The dtype called ``name``. Raises ScorerError."""
    found = _DTYPES.get(str(name).removeprefix("torch."))
    if found is None:
        hint = nearest(str(name), _DTYPES) or ": use float32, bfloat16 or float16"
        raise ScorerError(f"scorer parameter 'dtype' is {name!r}, which is no dtype{hint}")
    return found


def _counts(stats: Array) -> tuple[int, int]:
    return int((stats[:, -2] > 0).sum()), int((stats[:, -1] > 0).sum())


def _major(package: str) -> str:
    try:
        return version(package).split(".")[0]
    except PackageNotFoundError as error:
        raise ScorerError(f"neural metrics need {package}: pip install 'evalkit[hf,metrics]'") from error
