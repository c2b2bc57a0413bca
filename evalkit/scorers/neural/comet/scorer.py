"""COMET, the learned metric of translation quality, over records and over lists of texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.encoder.base import Encoder, EncoderSpec, Loader, checkpoint
from evalkit.errors import ScorerError
from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.common import NO_REFERENCE, answers, no_answer, one_of, references, serves, source_text
from evalkit.scorers.neural.base import NeuralScorer, scored
from evalkit.scorers.neural.comet.checkpoint import HPARAMS, WEIGHTS, encoder_digest, foreseen, load, stated
from evalkit.scorers.neural.comet.settings import Settings
from evalkit.scorers.neural.comet.spans import PENALTIES
from evalkit.scorers.neural.comet.verdicts import Job, Verdict, verdicts
from evalkit.scorers.ngram.reference_texts import reference_lists
from evalkit.types import Json, Record, Score

DEFAULT = "Unbabel/wmt22-comet-da"
_VALUE, _COPY, _EMPTY, _MQM, _ERRORS, _FIRST = range(6)


@serves("generate_until")
class Comet(NeuralScorer):
    """Mean quality of translations as a COMET model judges them by source and reference; higher is better.

    What a model reads is in its checkpoint: ``regression_metric`` (wmt22-comet-da) source and reference,
    ``referenceless_regression_metric`` and Kiwi the source, UniTE and XCOMET either or both. The scale is the model's own:
    wmt22-comet-da mostly 0 to 1, wmt20-comet-da around 0 without bounds, XCOMET at most 1. Several answers count with their
    mean. XCOMET also reports ``comet_mqm`` (in [0, 1]) and mean error counts, and each sample's error spans in its detail.

    Translations that only copy their source, to which COMET models give high scores, and empty ones are counted.

    Args:
        model: a directory with ``hparams.yaml`` and ``checkpoints/model.ckpt`` (or the path of that file), or a hub id.
        encoder: a directory or hub id of the encoder's configuration and tokeniser, in place of the one the checkpoint
            names (offline use).
        source: the data's column of source texts; ``None`` for UniTE and XCOMET by reference alone.
        references: ``mean`` or ``max`` over several references (COMET's authors advise the mean), ``none`` for UniTE and
            XCOMET by source alone. Models without references ignore it.
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
        references: str = "mean",
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
        self._over = one_of("references", references, ("mean", "max", "none"))
        self._by_reference = "ref" in plan.segments and self._over != "none"
        self._check_inputs(plan)
        self.columns = (self._source,) if self._source is not None else ()
        self.network = f"comet|{encoder or ''}|{layer_transformation or ''}"
        self._counts_errors = plan.kind == "xcomet_metric"
        self.metrics = _metrics(plan)

    def _check_inputs(self, plan: Settings) -> None:
        """A model cannot do without what it was trained on."""
        what = f"COMET model {self.spec.model} ({plan.kind})"
        either = plan.joint and plan.segments == ("src", "ref")
        if "src" in plan.segments and self._source is None and not either:
            raise ScorerError(f"{what} reads the source of each translation: name its column (source=COLUMN)")
        if "ref" in plan.segments and not self._by_reference and not either:
            raise ScorerError(
                f"{what} reads references, so references cannot be none; a model without is Unbabel/wmt22-cometkiwi-da"
            )
        if self._source is None and not self._by_reference:
            raise ScorerError(f"{what} has nothing to judge by: give it a source column, references or both")

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
            **({"references": self._over} if self._by_reference else {}),
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

    def prepare(self, records: Iterable[Record]) -> Encoder:
        return self.encoder()

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        planned = [self._jobs(record) for record in records]
        flat = [job for plan in planned if not isinstance(plan, Score) for jobs in plan for job in jobs]
        found = dict(zip(flat, self.judged(flat), strict=True))
        return [plan if isinstance(plan, Score) else self._score(plan, found) for plan in planned]

    def _jobs(self, record: Record) -> list[list[Job]] | Score:
        """For every answer a job by each reference; an unscored score where something is missing."""
        given = answers(record)
        if given is None:
            return Score.unscored(no_answer(record))
        src = None if self._source is None else source_text(record.sample, self._source)
        if self._source is not None and src is None:
            return Score.unscored(f"the sample has no source (column {self._source!r})")
        refs: tuple[str | None, ...] = references(record.sample) if self._by_reference else (None,)
        if not refs:
            return Score.unscored(NO_REFERENCE)
        return [[Job(answer, src, ref) for ref in refs] for answer in given]

    def _score(self, plan: Sequence[Sequence[Job]], found: Mapping[Job, Verdict]) -> Score:
        if self._over == "max":
            plan = [[max(jobs, key=lambda job: found[job].value)] for jobs in plan]
        # every answer has as many jobs, so that one mean over all is the mean of the answers' means
        pairs = [(job, found[job]) for jobs in plan for job in jobs]
        columns = np.mean([self._row(job, verdict) for job, verdict in pairs], axis=0).tolist()
        first = pairs[0][1]
        detail: dict[str, Json] = {}
        if first.readings:
            detail["readings"] = {n: round(float(np.mean([v.readings[n] for _, v in pairs])), 6) for n in first.readings}
        if first.mqm is not None:
            detail["mqm"] = columns[_MQM]
        if first.spans is not None:
            detail["errors"] = _errors(plan, found)
        if columns[_COPY]:
            detail["copies_source"] = True
        return scored(columns, columns[_VALUE], [row for _, verdict in pairs for row in verdict.rows], **detail)

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
        copies = int((stats[:, _COPY] > 0).sum())
        told = list(super().notes(stats))
        told += [f"{copies} equal to the source (COMET rates copies high)"] if copies else []
        return (*told, *(["layers mixed by sparsemax, unlike the published models"] if self.settings.doubt else []))


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


def _errors(plan: Sequence[Sequence[Job]], found: Mapping[Job, Verdict]) -> list[Json]:
    """All error spans, with the answer and the reference they belong to where there are several."""
    return [
        {
            **span.json(),
            **({"answer": at} if len(plan) > 1 else {}),
            **({"reference": job.ref} if len(jobs) > 1 else {}),
        }
        for at, jobs in enumerate(plan)
        for job in jobs
        for span in found[job].spans or ()
    ]


def comet_verdicts(
    translations: Sequence[str],
    sources: Sequence[str] | None = None,
    references: Sequence[str] | None = None,
    model: str = DEFAULT,
    **settings: Any,
) -> list[Verdict]:
    """COMET's verdict on each translation: score, readings, error spans; ``settings`` are the parameters of `Comet`.

    Lists that the model does not read are ignored. Raises ScorerError where the model needs what is not given, or lists
    differ in length.
    """
    _same_length(translations, sources=sources, references=references)
    given = {"source": None if sources is None else "source", "references": "none" if references is None else "mean"}
    scorer = Comet(model, **{**given, **settings})
    nothing = [None] * len(translations)
    reads = scorer.settings.segments
    srcs = nothing if sources is None or "src" not in reads else sources
    refs = nothing if references is None or "ref" not in reads else references
    return scorer.judged([Job(*texts) for texts in zip(translations, srcs, refs, strict=True)])


def comet_scores(
    translations: Sequence[str],
    sources: Sequence[str] | None = None,
    references: Sequence[str | Sequence[str]] | None = None,
    model: str = DEFAULT,
    **settings: Any,
) -> list[float]:
    """The score of each translation, by several references the mean; see `comet_verdicts`."""
    _same_length(translations, sources=sources, references=references)
    if references is None or all(isinstance(item, str) for item in references):
        singles = None if references is None else [str(item) for item in references]
        return [verdict.value for verdict in comet_verdicts(translations, sources, singles, model, **settings)]
    lists = reference_lists(translations, references)
    at = [i for i, several in enumerate(lists) for _ in several]
    found = comet_verdicts(
        [translations[i] for i in at],
        None if sources is None else [sources[i] for i in at],
        [reference for several in lists for reference in several],
        model,
        **settings,
    )
    totals = np.bincount(at, [verdict.value for verdict in found]) / np.bincount(at)
    return [float(total) for total in totals]


def _same_length(translations: Sequence[str], **lists: Sequence[Any] | None) -> None:
    for what, items in lists.items():
        if items is not None and len(items) != len(translations):
            raise ScorerError(f"{len(translations)} translations but {len(items)} {what}: give one entry for each")
