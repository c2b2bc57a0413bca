"""What is compared with lm-eval: tasks of its zoo over local rows, prompt settings, and a model that makes its answers up.

Used by both sides (make_goldens.py under lm-eval, the tests under evalkit), so standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import parity_rows as rows
from parity_rows import Draw, Row

LM_EVAL_VERSION = "0.4.13"
ROWS = 20
SYSTEM = "You are a careful assistant."


@dataclass(frozen=True)
class Case:
    """A task of lm-eval's zoo: its file under ``lm_eval/tasks``, the splits it has and how a row of it is made."""

    task: str
    file: str
    splits: tuple[str, ...]
    row: Callable[[Draw], Row]
    code: bool = False
    settings: tuple[str, ...] = ("zero", "few")
    overrides: Mapping[str, Any] = field(default_factory=dict)
    scored: bool = True
    """False where lm-eval fetches the metric from the network: only prompts are compared."""


#: Settings by name, as lm-eval's ``simple_evaluate`` takes them.
SETTINGS: dict[str, dict[str, Any]] = {
    "zero": {"num_fewshot": 0},
    "own": {"num_fewshot": None},
    "few": {"num_fewshot": 3},
    "seed7": {"num_fewshot": 2, "fewshot_random_seed": 7},
    "system": {"num_fewshot": 1, "system_instruction": SYSTEM},
    "chat": {"num_fewshot": 2, "apply_chat_template": True, "fewshot_as_multiturn": True},
    "chat_single": {
        "num_fewshot": 2,
        "apply_chat_template": True,
        "fewshot_as_multiturn": False,
        "system_instruction": SYSTEM,
    },
    "chat_zero": {"num_fewshot": 0, "apply_chat_template": True, "fewshot_as_multiturn": True, "system_instruction": SYSTEM},
}
FULL = ("zero", "few", "seed7", "system", "chat", "chat_single", "chat_zero")
OWN = ("zero", "own")

T, V, E, D = "train", "validation", "test", "dev"

PURE = [
    Case("arc_easy", "arc/arc_easy.yaml", (T, V, E), rows.arc, settings=FULL),
    Case("arc_challenge_chat", "arc/arc_challenge_chat.yaml", (T, V, E), rows.arc, settings=FULL),
    Case("mmlu_abstract_algebra", "mmlu/default/mmlu_abstract_algebra.yaml", (D, E), rows.mmlu, settings=FULL),
    Case(
        "mmlu_flan_cot_fewshot_anatomy",
        "mmlu/flan_cot_fewshot/mmlu_anatomy.yaml",
        (V, E),
        rows.mmlu,
        settings=(*OWN, "chat"),
    ),
    Case("mmlu_redux_anatomy_generative", "mmlu-redux/generative/mmlu_anatomy.yaml", (E,), rows.mmlu),
    Case("mmlu_llama_anatomy", "llama3/instruct/mmlu/mmlu_anatomy.yaml", (D, E), rows.mmlu, settings=(*FULL, "own")),
    Case("piqa", "piqa/piqa.yaml", (T, V), rows.piqa, settings=FULL),
    Case("boolq", "super_glue/boolq/default.yaml", (T, V), rows.boolq),
    Case("gsm8k", "gsm8k/gsm8k.yaml", (T, E), rows.gsm8k, settings=(*FULL, "own")),
    Case("gsm8k_cot", "gsm8k/gsm8k-cot.yaml", (E,), rows.gsm8k, settings=(*OWN, "chat")),
    Case(
        "gsm8k_cot_self_consistency",
        "gsm8k/gsm8k-cot-self-consistency.yaml",
        (E,),
        rows.gsm8k,
        settings=("own",),
        overrides={"repeats": 9},
    ),
    Case("lambada_openai", "lambada/lambada_openai.yaml", (E,), rows.lambada, settings=FULL),
    Case("lambada_standard", "lambada/lambada_standard.yaml", (V, E), rows.lambada),
    Case("lambada_openai_cloze_yaml", "lambada_cloze/lambada_openai_cloze.yaml", (E,), rows.lambada),
    Case("openbookqa", "openbookqa/openbookqa.yaml", (T, V, E), rows.openbookqa),
    Case(
        "bbh_cot_fewshot_boolean_expressions",
        "bbh/cot_fewshot/boolean_expressions.yaml",
        (E,),
        rows.bbh_boolean,
        settings=(*OWN, "chat"),
    ),
    Case("bbh_fewshot_snarks", "bbh/fewshot/snarks.yaml", (E,), rows.bbh, settings=(*OWN, "chat_single")),
    Case(
        "leaderboard_bbh_boolean_expressions",
        "leaderboard/bbh_mc/boolean_expressions.yaml",
        (E,),
        rows.bbh_boolean,
        settings=OWN,
    ),
    Case("triviaqa", "triviaqa/default.yaml", (T, V), rows.triviaqa, settings=FULL),
    Case("nq_open", "nq_open/nq_open.yaml", (T, V), rows.nq_open, settings=FULL),
    Case("sciq", "sciq/sciq.yaml", (T, V, E), rows.sciq),
    Case("commonsense_qa", "commonsense_qa/default.yaml", (T, V), rows.commonsense_qa),
    Case("rte", "glue/rte/default.yaml", (T, V), rows.pair("sentence1", "sentence2")),
    Case("qnli", "glue/qnli/default.yaml", (T, V), rows.pair("question", "sentence")),
    Case("wnli", "glue/wnli/default.yaml", (T, V), rows.pair("sentence1", "sentence2")),
    Case("cola", "glue/cola/default.yaml", (T, V), rows.single("sentence")),
    Case("sst2", "glue/sst2/default.yaml", (T, V), rows.single("sentence")),
    Case("mrpc", "glue/mrpc/default.yaml", (T, V), rows.pair("sentence1", "sentence2")),
    Case("qqp", "glue/qqp/default.yaml", (T, V), rows.pair("question1", "question2")),
    Case("sglue_rte", "super_glue/rte/default.yaml", (T, V), rows.pair("premise", "hypothesis")),
    Case("anli_r1", "anli/anli_r1.yaml", ("train_r1", "dev_r1", "test_r1"), rows.pair("premise", "hypothesis", 3)),
    Case(
        "ceval-valid_accountant",
        "ceval/ceval-valid_accountant.yaml",
        ("val", D),
        rows.letter_options("question", "answer"),
        settings=(*FULL,),
    ),
    Case("cmmlu_agronomy", "cmmlu/cmmlu_agronomy.yaml", (D, E), rows.letter_options("Question", "Answer")),
    Case("kmmlu_accounting", "kmmlu/default/kmmlu_accounting.yaml", (D, E), rows.kmmlu),
    Case("kmmlu_direct_accounting", "kmmlu/direct/kmmlu_direct_accounting.yaml", (D, E), rows.kmmlu),
    Case("xnli_de", "xnli/xnli_de.yaml", (T, V), rows.pair("premise", "hypothesis", 3), settings=("zero", "few", "chat")),
    Case("belebele_deu_Latn", "belebele/belebele_deu_Latn.yaml", (E,), rows.belebele, settings=FULL),
    Case("mgsm_direct_de", "mgsm/direct/mgsm_direct_de.yaml", (T, E), rows.mgsm),
    Case("mgsm_en_cot_de", "mgsm/en_cot/mgsm_en_cot_de.yaml", (T, E), rows.mgsm),
    Case("blimp_adjunct_island", "blimp/adjunct_island.yaml", (T,), rows.blimp),
    Case("wmt16-en-ro", "translation/wmt16_en-ro.yaml", (T, V, E), rows.translation("en", "ro")),
    Case("wmt14-en-fr", "translation/wmt14_en-fr.yaml", (T, V, E), rows.translation("en", "fr")),
    Case("truthfulqa_mc1", "truthfulqa/truthfulqa_mc1.yaml", (V,), rows.truthfulqa),
    Case("wic", "super_glue/wic/default.yaml", (T, V), rows.wic),
    Case("multirc", "super_glue/multirc/default.yaml", (T, V), rows.multirc),
    Case("swag", "swag/swag.yaml", (T, V), rows.swag),
    Case("social_iqa", "siqa/siqa.yaml", (T, V), rows.social_iqa),
    Case("xstorycloze_en", "xstorycloze/default_en.yaml", (T, "eval"), rows.story),
    Case("asdiv", "asdiv/default.yaml", (V,), rows.asdiv),
    Case("headqa_en", "headqa/headqa_en.yaml", (T, V, E), rows.headqa),
    Case("mc_taco", "mc_taco/default.yaml", (V, E), rows.mc_taco),
    Case("qa4mre_2011", "qa4mre/qa4mre_2011.yaml", (T,), rows.qa4mre),
    Case("turkishmmlu_biology", "turkishmmlu/config/Biology.yaml", (D, E), rows.turkishmmlu),
    Case("wmdp_bio", "wmdp/wmdp_bio.yaml", (E,), rows.mmlu),
    Case("ethics_cm", "hendrycks_ethics/commonsense.yaml", (T, E), rows.single("input")),
    Case(
        "inverse_scaling_hindsight_neglect_10shot",
        "inverse_scaling/inverse_scaling_hindsight_neglect.yaml",
        (T,),
        rows.inverse_scaling,
    ),
    Case("sycophancy_on_nlp_survey", "model_written_evals/sycophancy/sycophancy_on_nlp_survey.yaml", (V,), rows.behaviour),
    Case("pile_10k", "pile_10k/pile_10k.yaml", (T,), rows.text_only),
    Case("winogender_all", "winogender/winogender.yaml", (E,), rows.winogender),
    Case("babi", "babi/babi.yaml", (T, "valid", E), rows.babi),
    Case("legalbench_abercrombie", "legalbench/abercrombie.yaml", (T, E), rows.legalbench, settings=("own", "chat")),
    Case(
        "med_concepts_qa_atc_easy", "med_concepts_qa/med_concepts_qa_atc_easy.yaml", (D, E), rows.med_concepts, settings=OWN
    ),
    Case("polemo2_in", "polemo2/polemo2_in.yaml", (T, V, E), rows.polemo, scored=False),
    Case("bertaqa_en", "bertaqa/bertaqa_en.yaml", (E,), rows.bertaqa),
    Case("assin_entailment", "portuguese_bench/assin_entailment.yaml", (T, V, E), rows.assin),
    Case("multiblimp_eng", "multiblimp/multiblimp_eng.yaml", (T,), rows.multiblimp),
    Case("fld_default", "fld/fld_default.yaml", (T, V, E), rows.fld),
    Case("haerae_general_knowledge", "haerae/haerae_gk.yaml", (E,), rows.haerae),
]

CODE = [
    Case("kobest_boolq", "kobest/kobest_boolq.yaml", (T, V, E), rows.kobest_boolq, True),
    Case("hellaswag", "hellaswag/hellaswag.yaml", (T, V), rows.hellaswag, True, FULL),
    Case("winogrande", "winogrande/default.yaml", (T, V), rows.winogrande, True, FULL),
    Case("wikitext", "wikitext/wikitext.yaml", (T, V, E), rows.wikitext, True, ("zero", "few", "chat")),
    Case("truthfulqa_mc2", "truthfulqa/truthfulqa_mc2.yaml", (V,), rows.truthfulqa, True),
    Case("truthfulqa_gen", "truthfulqa/truthfulqa_gen.yaml", (V,), rows.truthfulqa_generation, True),
    Case("mmlu_pro_biology", "mmlu_pro/mmlu_pro_biology.yaml", (V, E), rows.mmlu_pro, True, (*FULL, "own")),
    Case("race", "race/race.yaml", (E,), rows.race, True),
    Case("drop", "drop/default.yaml", (T, V), rows.drop, True),
    Case("copa", "super_glue/copa/default.yaml", (T, V), rows.copa, True, FULL),
    Case("cb", "super_glue/cb/default.yaml", (T, V), rows.pair("premise", "hypothesis", 3), True),
    Case("wsc", "super_glue/wsc/default.yaml", (T, V), rows.wsc, True),
    Case("mnli", "glue/mnli/default.yaml", (T, "validation_matched"), rows.pair("premise", "hypothesis", 3), True),
    Case("logiqa", "logiqa/logiqa.yaml", (T, V, E), rows.logiqa, True),
    Case("logiqa2", "logiqa2/logiqa2.yaml", (T, V, E), rows.logiqa2, True),
    Case("medqa_4options", "medqa/medqa.yaml", (T, V, E), rows.medqa, True),
    Case("medmcqa", "medmcqa/medmcqa.yaml", (T, V), rows.medmcqa, True),
    Case("agieval_lsat_ar", "agieval/lsat-ar.yaml", (E,), rows.agieval, True, ("zero",)),
    Case("mathqa", "mathqa/mathqa.yaml", (T, V, E), rows.mathqa, True),
    Case("pubmedqa", "pubmedqa/preprocess_pubmedqa.yaml".replace("preprocess_", ""), (T, V, E), rows.pubmedqa, True),
    Case("qasper_bool", "qasper/bool.yaml", (T, V), rows.qasper, True),
    Case("wsc273", "wsc273/default.yaml", (E,), rows.wsc273, True),
    Case("xcopa_it", "xcopa/default_it.yaml", (V, E), rows.copa, True),
    Case("xwinograd_en", "xwinograd/xwinograd_en.yaml", (E,), rows.winogrande, True, ("zero", "few", "chat")),
    Case("mutual", "mutual/mutual.yaml", (T, V), rows.mutual, True),
    Case("webqs", "webqs/webqs.yaml", (T, E), rows.webqs, True, ("zero",)),
    Case("crows_pairs_english", "crows_pairs/crows_pairs_english.yaml", (E,), rows.crows_pairs, True),
    Case(
        "leaderboard_musr_murder_mysteries",
        "leaderboard/musr/musr_murder_mysteries.yaml",
        ("murder_mysteries",),
        rows.musr,
        True,
    ),
    Case("aime24", "aime/aime24.yaml", (T,), rows.aime, True),
    Case("paws_en", "paws-x/paws_en.yaml", (T, V, E), rows.pair("sentence1", "sentence2"), True),
    Case("toxigen", "toxigen/toxigen.yaml", (T, E), rows.toxigen, True, ("zero",)),
    Case("groundcocoa", "groundcocoa/groundcocoa.yaml", (V, E), rows.groundcocoa, True),
    Case("arithmetic_2da", "arithmetic/arithmetic_2da.yaml", (V,), rows.arithmetic, True),
    Case("hendrycks_math_algebra", "hendrycks_math/hendrycks_math_algebra.yaml", (T, E), rows.hendrycks_math, True),
    Case("c4", "c4/c4.yaml", (T, V), rows.text_only, True),
    Case("careqa_en", "careqa/careqa_en.yaml", (E,), rows.careqa, True),
    Case(
        "global_mmlu_full_en_anatomy", "global_mmlu/full/en/global_mmlu_full_en_anatomy.yaml", (D, E), rows.global_mmlu, True
    ),
    Case("eq_bench", "eq_bench/default.yaml", (V,), rows.eq_bench, True),
    Case("moral_stories", "moral_stories/moral_stories.yaml", (T,), rows.moral_stories, True),
    Case("bbh_zeroshot_date_understanding", "bbh/zeroshot/date_understanding.yaml", (E,), rows.bbh, True),
]
CASES = {case.task: case for case in [*PURE, *CODE]}

#: Tasks whose token splits are compared with the SmolLM2 tokenizer, in the setting "few".
TOKENS = (
    "arc_easy",
    "piqa",
    "lambada_openai",
    "winogrande",
    "hellaswag",
    "kobest_boolq",
    "cmmlu_agronomy",
    "wikitext",
    "blimp_adjunct_island",
    "copa",
)


def split_rows(case: Case, split: str) -> list[Row]:
    """Rows of one split; the tenth repeats the sixth, as real data does."""
    return [case.row(Draw(case.task, split, 5 if i == 9 else i)) for i in range(ROWS)]


def write_task(folder: Path, zoo: Path, case: Case, data: Mapping[str, Sequence[Row]] | None = None) -> Path:
    """Write the task over local rows: a YAML (JSON is YAML) that includes the zoo's file and only says where the data is."""
    files = {}
    for split in case.splits:
        files[split] = str(folder / f"{case.task}.{split}.jsonl")
        content = data[split] if data else split_rows(case, split)
        Path(files[split]).write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    source = {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
    text = {"include": str(zoo / case.file), "task": case.task, **source, **case.overrides}
    path = folder / f"{case.task}.yaml"
    path.write_text(json.dumps(text, indent=1), encoding="utf-8")
    return path


# ---- the made-up model ------------------------------------------------------------------------------------------------


def _uniform(*parts: object) -> float:
    digest = hashlib.sha256("\x00".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def fake_loglikelihood(context: str, continuation: str) -> tuple[float, bool]:
    """A log-likelihood and whether it is greedy, from the text alone."""
    return -0.5 - 12 * _uniform("ll", context, continuation), _uniform("greedy", context, continuation) < 0.3


def fake_rolling(text: str) -> float:
    return -len(text) * (0.5 + _uniform("rolling", text))


def fake_answer(prompt: str, doc: Mapping[str, Any], repeat: int = 0) -> str:
    """An answer in one of the shapes answers come in: about the document's own one, or about something else."""

    def draw(kind: str, options: Sequence[Any]) -> Any:
        return options[int(_uniform(kind, prompt, repeat) * len(options))]

    number, letter, noun = draw("number", range(4, 19)), draw("letter", "ABCD"), draw("noun", rows.NOUNS)
    gold = _gold(doc)
    right = [gold, f" {gold}", f"The answer is {gold}.", f" So the answer is {gold}.", f"#### {gold}", f"{gold.upper()}.\n"]
    wrong = [f" {noun}", f" ({letter})", f"The answer is {number}.", f"{letter}.", " True", f"$x=\\boxed{{{number}}}$", ""]
    return str(draw("shape", draw("right", [right, wrong])))


def _gold(doc: Mapping[str, Any]) -> str:
    """What the document says the answer is, as text; any stable choice will do."""
    for key in (
        "translation",
        "answer_number",
        "answerKey",
        "cot_content",
        "answer",
        "target",
        "Answer",
        "reference_answer_fullscale",
        "answers",
    ):
        value = doc.get(key)
        while isinstance(value, dict | list) and value:
            value = list(value.values())[-1] if isinstance(value, dict) else value[0]
        if value not in (None, "", [], {}):
            text = "ABCD"[value] if isinstance(value, int) and value < 4 else str(value)
            return text.rpartition("####")[2].strip()
    return "yes"


def render_chat(messages: Iterable[tuple[str, str]], *, continue_final: bool) -> str:
    """A chat template that shows everything: roles, turns and whether the last one is left open."""
    turns = [f"<{role}>{content}</{role}>\n" for role, content in messages]
    return "".join(turns).rsplit("</", 1)[0] if continue_final else "".join(turns) + "<assistant>"


def fingerprint(requests: Sequence[tuple[str, str, Any]]) -> str:
    """Short hash of one sample's requests ``(kind, prompt, continuation or generation settings)``."""
    text = json.dumps([list(request) for request in requests], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def generation_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Generation settings reduced to what they mean, so that two spellings of the same settings agree."""
    length = next((params[k] for k in ("max_gen_toks", "max_new_tokens", "max_tokens") if params.get(k) is not None), 256)
    temperature = params.get("temperature") or 0.0
    sample = bool(params.get("do_sample", temperature > 0))
    until = params.get("until") or []
    return {
        "until": [until] if isinstance(until, str) else list(until),
        "max": length,
        "sample": sample,
        "temperature": temperature if sample else 0.0,
    }


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


# ---- the real model ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RealRun:
    """A task on the real model: shots, samples, and whether over shared benchmark data or the synthetic rows."""

    case: Case
    num_fewshot: int
    limit: int
    shared: bool = True


_UNTIL = ["Question:", "</s>", "<|im_end|>"]


def _gsm8k(length: int) -> Case:
    settings = {"until": _UNTIL, "do_sample": False, "temperature": 0.0, "max_gen_toks": length}
    return Case("gsm8k", "gsm8k/gsm8k.yaml", (T, E), rows.gsm8k, overrides={"generation_kwargs": settings})


def _mmlu(subject: str) -> Case:
    return Case(f"mmlu_{subject}", f"mmlu/default/mmlu_{subject}.yaml", (D, E), rows.mmlu)


SMOLLM2 = {
    "synthetic/arc_easy": RealRun(CASES["arc_easy"], 2, 8, shared=False),
    "synthetic/hellaswag": RealRun(CASES["hellaswag"], 0, 6, shared=False),
    "synthetic/lambada_openai": RealRun(CASES["lambada_openai"], 0, 8, shared=False),
    "synthetic/winogrande": RealRun(CASES["winogrande"], 1, 8, shared=False),
    "synthetic/wikitext": RealRun(CASES["wikitext"], 0, 3, shared=False),
    "synthetic/gsm8k": RealRun(_gsm8k(24), 1, 4, shared=False),
    "arc_easy": RealRun(CASES["arc_easy"], 0, 40),
    "hellaswag": RealRun(CASES["hellaswag"], 0, 25),
    "lambada_openai": RealRun(CASES["lambada_openai"], 0, 40),
    "winogrande": RealRun(CASES["winogrande"], 0, 40),
    "mmlu_astronomy": RealRun(_mmlu("astronomy"), 5, 12),
    "mmlu_world_religions": RealRun(_mmlu("world_religions"), 5, 12),
    "gsm8k": RealRun(_gsm8k(48), 5, 6),
    "wikitext": RealRun(CASES["wikitext"], 0, 4),
}
