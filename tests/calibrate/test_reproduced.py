"""From text to published tables: ROUGE on SummEval (the G-Eval paper's rows), BLEU and chrF of Codex on WMT16."""

from __future__ import annotations

import pytest
from published import SUMMEVAL, WMT16, expected, wmt16

from evalkit.calibrate.validate import validate_metrics

needs_summeval = pytest.mark.skipif(not SUMMEVAL.is_file(), reason="SummEval is not beside the checkout")
needs_wmt16 = pytest.mark.skipif(not WMT16.is_dir(), reason="the WMT16 translations are not beside the checkout")

#: Spearman and Kendall at the summary level, coherence, consistency, fluency, relevance. The paper's table 1 prints
#: .128/.099 .115/.092 .105/.084 .311/.237; these are the values behind it to the digits that were recomputed.
ROUGE_LSUM = ((0.130, 0.100), (0.115, 0.091), (0.106, 0.085), (0.311, 0.238))
PAPER = {
    "rouge1": ((0.167, 0.126), (0.160, 0.130), (0.115, 0.094), (0.326, 0.252)),
    "rouge2": ((0.184, 0.139), (0.187, 0.155), (0.159, 0.128), (0.290, 0.219)),
    "rougeLsum": ((0.128, 0.099), (0.115, 0.092), (0.105, 0.084), (0.311, 0.237)),
}


#: As the paper computed them: stemmed, the mean F over the 11 references, sentences on lines of their own.
ROUGE = {
    "name": "rouge",
    "types": ["rouge1", "rouge2", "rougeLsum"],
    "use_stemmer": True,
    "multi_reference": "mean",
    "split_sentences": True,
}


@needs_summeval
def test_the_rouge_rows_of_the_g_eval_papers_summeval_table() -> None:
    found = validate_metrics(SUMMEVAL, [ROUGE], replicates=0)
    assert found.data.ratings == ("coherence", "consistency", "fluency", "relevance")
    for kind, printed in PAPER.items():
        for rating, (rho, tau) in zip(found.data.ratings, printed, strict=True):
            level = found.find(kind, rating, "summary")
            assert level.coefficients["spearman"].value == pytest.approx(rho, abs=0.0025)
            assert level.coefficients["kendall"].value == pytest.approx(tau, abs=0.0025)
            assert level.coefficients["kendall"].used == {"consistency": 96, "fluency": 98}.get(rating, 100)
    for kind in ("rouge1", "rouge2"):
        for rating, numbers in expected(f"{kind}_avg11_summeval16").items():
            for level, key in (("segment", "sample"), ("summary", "summary"), ("system", "system")):
                coefficients = found.find(kind, rating, level).coefficients
                three = [coefficients[name].value for name in ("pearson", "spearman", "kendall")]
                assert three == pytest.approx(numbers[key], abs=5e-6), (kind, rating, level)
    for rating, (rho, tau) in zip(found.data.ratings, ROUGE_LSUM, strict=True):
        level = found.find("rougeLsum", rating, "summary")
        assert (round(level.coefficients["spearman"].value or 0, 3), round(level.coefficients["kendall"].value or 0, 3)) == (
            rho,
            tau,
        )


@needs_wmt16
@pytest.mark.parametrize(
    ("file", "bleu", "chrf"),
    [("wmt_de2en_codex_choose_first_N16.json.gz", 38.99, 62.94), ("wmt_de2en_codex_bertscore_N16.json.gz", 45.82, 67.73)],
)
def test_codex_on_wmt16(file: str, bleu: float, chrf: float) -> None:
    """The first of 16 samples, and the one that BERTScore prefers (Suzgun et al. 2022)."""
    from evalkit.scorers.ngram.corpus import corpus_scores

    outputs, references = wmt16(file)
    assert len(outputs) == 2998
    assert round(corpus_scores("bleu", outputs, references).score, 2) == bleu
    assert round(corpus_scores("chrf", outputs, references).score, 2) == chrf
