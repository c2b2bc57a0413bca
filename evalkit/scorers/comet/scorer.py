"""COMET, the learned metric of translation quality, over records and over lists of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.encoder.base import Encoder, EncoderSpec, Loader, checkpoint
from evalkit.errors import ScorerError
from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.comet.checkpoint import HPARAMS, WEIGHTS, encoder_digest, foreseen, load, stated
from evalkit.scorers.comet.settings import Settings
from evalkit.scorers.comet.spans import PENALTIES
from evalkit.scorers.comet.verdicts import Job, Verdict, verdicts
from evalkit.scorers.common import NO_REFERENCE, answers, no_answer, one_of, references, serves, source_text
from evalkit.scorers.neural import NeuralScorer, scored
from evalkit.types import Json, Record, Score

DEFAULT = "Unbabel/wmt22-comet-da"
_VALUE, _COPY, _EMPTY, _MQM, _ERRORS, _FIRST = range(6)


@serves("generate_until")
class Comet(NeuralScorer):
    """Mean quality of translations as a COMET model judges them by source and reference; higher is better.

    What a model reads is in its checkpoint: ``regression_metric`` (wmt22-comet-da) source and reference,
    ``referenceless_regression_metric`` and Kiwi the source, UniTE and XCOMET either or both. The scale is the model's own:
    wmt22-comet-da mostly 0 to 1, wmt20-comet-da around 0 without bounds, XCOMET at most 1. With several references the mean
    over them counts (as COMET's authors advise), with several answers their mean. XCOMET also reports ``comet_mqm`` (in
    [0, 1]) and mean error counts, and each sample's error spans in its detail.

    Translations that only copy their source, to which COMET models give high scores, and empty ones are counted.

    Args:
        model: a directory with ``hparams.yaml`` and ``checkpoints/model.ckpt`` (or the path of that file), or a hub id.
        encoder: a directory or hub id of the encoder's configuration and tokeniser, in place of the one the checkpoint
            names (offline use).
        source: the data's column of source texts; ``None`` for UniTE and XCOMET by reference alone.
        use_references: ``False`` for UniTE and XCOMET by source alone.
        layer_transformation: ``softmax`` or ``sparsemax`` in place of what the checkpoint says.
        dtype, device, batch_tokens, cache, revision: see `NeuralScorer`.
    """

    name = "comet"
    needs = (HPARAMS, WEIGHTS)
    kind = "a COMET checkpoint"

    def __init__(
        self,
        model: str = DEFAULT,
        encoder: str | None = None,
        source: str | None = "source",
        use_references: bool = True,
        layer_transformation: str | None = None,
        dtype: str = "float32",
        device: str = "auto",
        batch_tokens: int | None = None,
        cache: bool = True,
        revision: str | None = None,
    ) -> None:
        super().__init__(
            _directory(model), dtype=dtype, device=device, batch_tokens=batch_tokens, cache=cache, revision=revision
        )
        self._encoder_name = encoder
        self._mix = layer_transformation
        if layer_transformation is not None:
            one_of("layer_transformation", layer_transformation, ("softmax", "sparsemax"))
        self._stated: Settings | None = None
        plan = foreseen(self.spec.model) or self.settings
        self._source = source if "src" in plan.segments else None
        self._by_reference = "ref" in plan.segments and (use_references or plan.kind == "regression_metric")
        self._check_inputs(plan, source, use_references)
        self.columns = (self._source,) if self._source is not None else ()
        self.network = f"comet|{encoder or ''}|{layer_transformation or ''}"
        self._counts_errors = plan.kind == "xcomet_metric"
        self.metrics = _metrics(plan)

    def _check_inputs(self, plan: Settings, source: str | None, use_references: bool) -> None:
        """A model cannot do without what it was trained on."""
        either = plan.joint and plan.segments == ("src", "ref")
        if source is None and "src" in plan.segments and not either:
            raise ScorerError(
                f"COMET model {self.spec.model} ({plan.kind}) reads the source: name its column (source=COLUMN)"
            )
        if plan.kind == "regression_metric" and not use_references:
            raise ScorerError(
                f"COMET model {self.spec.model} ({plan.kind}) reads a reference: leave use_references on, or take a model "
                "without (Unbabel/wmt22-cometkiwi-da)"
            )
        if self._source is None and not self._by_reference:
            raise ScorerError(
                f"COMET model {self.spec.model} ({plan.kind}) has nothing to judge by: give source or references"
            )

    @property
    def settings(self) -> Settings:
        """What the checkpoint's ``hparams.yaml`` says. Raises ScorerError."""
        if self._stated is None:
            self._stated = stated(self.place, self._mix)
        return self._stated

    def parameters(self) -> Mapping[str, Json]:
        """Adds the class, what is read, the layer mix, and configuration and tokeniser of the encoder."""
        found = self.settings
        named = self._encoder_name or found.pretrained_model
        digest = encoder_digest(named)
        reads = [*(["src"] if self._source is not None else []), *(["ref"] if self._by_reference else [])]
        return {
            **super().parameters(),
            "class": found.kind,
            "reads": "+".join(reads),
            **({"source": self._source} if self._source is not None else {}),
            **({"refs": "mean"} if self._by_reference else {}),
            **({"mix": "sparsemax" if found.sparse else "softmax"} if found.layer is None else {}),
            "encoder": f"{Path(named).name}@{digest}" if digest else named,
        }

    def loader(self) -> Loader:
        def made(spec: EncoderSpec) -> tuple[Any, Any]:
            place = checkpoint(spec.model, spec.revision, needs=self.needs, kind=self.kind)
            return load(place, self._encoder_name, self._mix)

        return made

    def judged(self, jobs: Sequence[Job]) -> list[Verdict]:
        """A verdict for each job. Raises ScorerError where the network cannot be loaded."""
        if not jobs:
            return []
        network: Encoder = self.encoder()
        digest = encoder_digest(self._encoder_name or self.settings.pretrained_model)
        return verdicts(network, jobs, digest)

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        planned = [self._jobs(record) for record in records]
        found = iter(self.judged([job for jobs in planned if not isinstance(jobs, Score) for job in jobs]))
        return [jobs if isinstance(jobs, Score) else self._score(jobs, [next(found) for _ in jobs]) for jobs in planned]

    def _jobs(self, record: Record) -> list[Job] | Score:
        """Every answer by every reference; an unscored score where something is missing."""
        given = answers(record)
        if given is None:
            return Score.unscored(no_answer(record))
        src = None if self._source is None else source_text(record.sample, self._source)
        if self._source is not None and src is None:
            return Score.unscored(f"the sample has no source (column {self._source!r})")
        refs: tuple[str | None, ...] = references(record.sample) if self._by_reference else (None,)
        if not refs:
            return Score.unscored(NO_REFERENCE)
        return [Job(answer, src, ref) for answer in given for ref in refs]

    def _score(self, jobs: Sequence[Job], found: Sequence[Verdict]) -> Score:
        columns = np.mean([self._row(job, verdict) for job, verdict in zip(jobs, found, strict=True)], axis=0).tolist()
        detail: dict[str, Json] = {}
        if any(verdict.readings for verdict in found):
            names = found[0].readings
            detail["readings"] = {n: round(float(np.mean([v.readings[n] for v in found])), 6) for n in names}
        if any(verdict.mqm is not None for verdict in found):
            detail["mqm"] = columns[_MQM]
        if any(verdict.spans is not None for verdict in found):
            detail["errors"] = _errors(jobs, found)
        if columns[_COPY]:
            detail["copies_source"] = True
        return scored(columns, columns[_VALUE], [row for verdict in found for row in verdict.rows], **detail)

    def _row(self, job: Job, verdict: Verdict) -> list[float]:
        mt = job.mt.strip()
        copy = bool(mt) and job.src is not None and mt == job.src.strip()
        row = [verdict.value, float(copy), float(not mt)]
        if self._counts_errors:
            found = verdict.spans or ()
            by_severity = [float(sum(span.severity == name for span in found)) for name in PENALTIES]
            row += [float(verdict.mqm or 0.0), float(len(found)), *by_severity]
        return row

    def detail(self, stats: Array) -> Mapping[str, Json]:
        """Adds ``copies`` (samples with an answer equal to its source) and ``empty`` (with an empty answer)."""
        doubt = self.settings.doubt
        return {
            **super().detail(stats),
            "copies": int((stats[:, _COPY] > 0).sum()),
            "empty": int((stats[:, _EMPTY] > 0).sum()),
            **({"warning": doubt} if doubt else {}),
        }

    def notes(self, stats: Array) -> Sequence[str]:
        copies, empty = (int((stats[:, column] > 0).sum()) for column in (_COPY, _EMPTY))
        told = list(super().notes(stats))
        told += [f"{copies} translations equal to their source (COMET scores such copies high)"] if copies else []
        told += [f"{empty} empty translations"] if empty else []
        return (*told, *([self.settings.doubt] if self.settings.doubt else []))


def _directory(model: Any) -> Any:
    """The checkpoint's directory where ``model`` is the path of its weights, as COMET's own loader takes it."""
    if isinstance(model, str) and model.endswith(".ckpt") and Path(model).expanduser().is_file():
        return str(Path(model).expanduser().parent.parent)
    return model


def _metrics(plan: Settings) -> tuple[MetricInfo, ...]:
    bounded = plan.final_activation == "Sigmoid"
    top = 1.0 if bounded or plan.kind == "xcomet_metric" else None
    value = MetricInfo("comet", low=0.0 if bounded else None, high=top, ideal=top, mean=True, column=_VALUE)
    if plan.kind != "xcomet_metric":
        return (value,)
    quality = MetricInfo("comet_mqm", low=0.0, high=1.0, ideal=1.0, mean=True, column=_MQM, headline=False)
    errors = [
        MetricInfo(f"comet_{name}", False, low=0.0, ideal=0.0, mean=True, column=_ERRORS + i, headline=False)
        for i, name in enumerate(("errors", *PENALTIES))
    ]
    return (value, quality, *errors)


def _errors(jobs: Sequence[Job], found: Sequence[Verdict]) -> list[Json]:
    """All error spans; where there are several answers or references, which of them a span belongs to."""
    mts = list(dict.fromkeys(job.mt for job in jobs))
    several = len(jobs) > 1
    return [
        {**span.json(), **({"answer": mts.index(job.mt), "reference": job.ref} if several else {})}
        for job, verdict in zip(jobs, found, strict=True)
        for span in verdict.spans or ()
    ]


def comet_verdicts(
    translations: Sequence[str],
    sources: Sequence[str] | None = None,
    references: Sequence[str] | None = None,
    **params: Any,
) -> list[Verdict]:
    """COMET's verdict on each translation, for notebooks and benchmarks; ``params`` are those of `Comet`.

    Raises ScorerError where the lists differ in length, or where the model reads what is not given.
    """
    for what, texts in (("sources", sources), ("references", references)):
        if texts is not None and len(texts) != len(translations):
            raise ScorerError(f"{len(translations)} translations but {len(texts)} {what}: give one for each")
    scorer = Comet(**{"source": None if sources is None else "source", "use_references": references is not None, **params})
    reads = scorer.settings.segments
    srcs = sources if sources is not None and "src" in reads else [None] * len(translations)
    refs = references if references is not None and "ref" in reads else [None] * len(translations)
    return scorer.judged([Job(*texts) for texts in zip(translations, srcs, refs, strict=True)])


def comet_scores(
    translations: Sequence[str],
    sources: Sequence[str] | None = None,
    references: Sequence[str] | None = None,
    **params: Any,
) -> list[float]:
    """The scores of `comet_verdicts` alone."""
    return [verdict.value for verdict in comet_verdicts(translations, sources, references, **params)]
