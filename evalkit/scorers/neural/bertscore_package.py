"""The bert-score package itself, for comparison. It breaks in known places; what it cannot score is NaN here.

Under transformers 5: any blank text ends its whole run (such pairs are left out); RoBERTa's and GPT-2's first words lose
their leading space, so that numbers differ from those under transformers 4 and from the native ones; a tokeniser that
names no maximal length ends in an OverflowError. Everywhere: a token whose best similarity is negative counts as 0 if its
pair was padded in the batch, so that numbers depend on the batch.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from evalkit.encoder.base import Checkpoint, EncoderSpec, Tokens
from evalkit.errors import ScorerError
from evalkit.quiet import quiet
from evalkit.scorers.neural.bertscore_match import Match
from evalkit.scorers.neural.bertscore_tables import folder

_ROWS = {False: Tokens(()), True: Tokens((), blank=True)}


class Package:
    """A ``BERTScorer`` of the package; ``sentences`` are those that idf is counted on, ``None`` for no idf."""

    def __init__(self, spec: EncoderSpec, place: Checkpoint, layer: int, sentences: Sequence[str] | None) -> None:
        try:
            from bert_score import BERTScorer
        except ImportError as error:
            raise ScorerError(f"bertscore: backend bert-score needs {error.name}: pip install 'evalkit[metrics]'") from error
        device = None if spec.device == "auto" else spec.device
        self._source = place.source
        try:
            with quiet():
                self._scorer: Any = BERTScorer(
                    model_type=place.source, num_layers=layer, device=device, idf=sentences is not None, nthreads=0
                )
                if sentences is not None:
                    self._scorer.compute_idf([text for text in sentences if text.strip()])
        except Exception as error:  # the package and transformers raise whatever they like
            raise self._broken(error) from error

    def pairs(
        self, candidates: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[tuple[Match, tuple[Tokens, ...]]]:
        """A match and stand-ins for the token rows (blank or not) a candidate; NaN where a side is blank."""
        golds = [[text for text in own if text.strip()] for own in references]
        kept = [i for i, text in enumerate(candidates) if text.strip() and golds[i]]
        found = {i: Match(math.nan, math.nan, math.nan) for i in range(len(candidates))}
        if kept:
            try:
                with quiet():
                    values = self._scorer.score([candidates[i] for i in kept], [golds[i] for i in kept])
            except Exception as error:
                raise self._broken(error) from error
            found |= {i: Match(*row) for i, row in zip(kept, zip(*(v.tolist() for v in values), strict=True), strict=True)}
        return [
            (found[i], tuple(_ROWS[not text.strip()] for text in (candidates[i], *references[i])))
            for i in range(len(candidates))
        ]

    def _broken(self, error: Exception) -> ScorerError:
        reason = " ".join(str(error).split())[:200]
        return ScorerError(
            f"bertscore: bert-score {version('bert-score')} fails on {self._source} under transformers "
            f"{version('transformers')}: {type(error).__name__}: {reason}; backend native has no such trouble"
        )


def package_hash(model: str, layer: int, idf: bool, rescaled: bool, custom: bool) -> str:
    """What the package would call these settings, for papers that cite its hash."""
    rescaling = ("-custom-rescaled" if custom else "-rescaled") if rescaled else ""
    kind = "idf" if idf else "no-idf"
    return f"{model}_L{layer}_{kind}_version={_own_version()}(hug_trans={version('transformers')}){rescaling}"


def _own_version() -> str:
    """The version that the package reports of itself, which may be another than its distribution's."""
    for node in ast.parse((folder() / "__init__.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["__version__"]:
            return str(ast.literal_eval(node.value))
    return version("bert-score")
