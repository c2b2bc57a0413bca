"""Stands in for ``lm_eval.api.filter`` and ``lm_eval.filters.extraction``."""

from __future__ import annotations

from evalkit.tasks.filters import MultiChoiceRegexFilter, RegexFilter
from evalkit.tasks.filters import ResponseFilter as Filter

__all__ = ["Filter", "MultiChoiceRegexFilter", "RegexFilter"]
