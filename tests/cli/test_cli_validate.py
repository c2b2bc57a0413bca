"""`evalkit validate` on right and wrong tasks: what cannot work is said before any model is asked."""

from __future__ import annotations

import json

import pytest

ROWS = [{"q": f"{i}+{i}?", "options": ["nought", "four", "six"], "gold": i % 3, "pair": f"p{i // 2}"} for i in range(8)]
CODE = """
def louder(dataset):
    return dataset.map(lambda row: {"q": row["q"].upper()})

def score(doc, results):
    return {"acc": float(results[0][0] >= results[1][0])}

def broken(doc, results):
    return {"acc": doc["nope"]}

class Backwards:
    def apply(self, responses, docs):
        return [[text[::-1] for text in texts] for texts in responses]

class Angry:
    def apply(self, responses, docs):
        raise RuntimeError("no filter today")
"""
COMMON = """
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
doc_to_text: "Q: {{q}}"
doc_to_choice: options
doc_to_target: gold
"""
CHOOSE = "output_type: multiple_choice\n"
WRITE = 'output_type: generate_until\ndoc_to_choice: null\ndoc_to_target: "{{options[gold]}}"\n'


@pytest.fixture
def check(tmp_path, monkeypatch, evalkit):
    """Validate a task made of the common part and ``keys``."""
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (tmp_path / "utils.py").write_text(CODE)
    (tmp_path / "common").write_text(COMMON)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))

    def call(keys: str, *flags: str):
        (tmp_path / "mine.yaml").write_text(f"task: mine\ninclude: common\n{keys}")
        return evalkit("validate", "mine.yaml", *flags)

    return call


FILTERS = "filter_list: [{name: x, filter: [{function: %s}, {function: take_first}]}]\n"


@pytest.mark.parametrize(
    "keys",
    [
        CHOOSE,
        CHOOSE + "scorers: [{name: pair_consistency, group: pair}, brier]\n",
        CHOOSE + "process_docs: !function utils.louder\n",
        CHOOSE + "process_results: !function utils.score\nmetric_list: [{metric: acc}]\n",
        WRITE,
        WRITE + FILTERS % "!function utils.Backwards",
        WRITE + "scorers: [{name: llm_judge_yes_no, question: Is it?}]\n",
    ],
)
def test_right_tasks_pass(check, keys):
    done = check(keys, "--allow-code", "--model", "mock/echo")
    assert done.code == 0, done.err
    assert "=== mine" in done.out and "note:" not in done.out


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (CHOOSE + "doc_to_txt: q\n", "mine.yaml:4: unknown key 'doc_to_txt' (did you mean doc_to_text"),
        (
            CHOOSE + "fewshot_config: {samplr: first_n}\n",
            "mine.yaml:4: unknown key 'fewshot_config.samplr' (did you mean sampler",
        ),
        ("output_type: multiple_choise\n", "mine.yaml:3: output_type: expected one of multiple_choice"),
        (CHOOSE + "repeats: [1\n", "mine.yaml:5: YAML error: while parsing a flow sequence (begun in line 4)"),
        (CHOOSE + 'doc_to_text: "{{question}}"\n', "no column 'question' (did you mean options?)"),
        (CHOOSE + 'doc_to_text: "{% if q %}"\n', "mine, first row of split 'test': template"),
        (CHOOSE + "test_split: tets\n", "no split 'tets'"),
        (CHOOSE + "doc_to_target: 7\n", "the first sample cannot be scored: target 7 is not among the 3 choices"),
        (CHOOSE + "slices: [par]\n", "slice 'par' names no column 'par' of the data (did you mean pair?)"),
        (CHOOSE + "cluster: par\n", "cluster names no column 'par' of the data (did you mean pair?)"),
        (CHOOSE + "metric_list: [{metric: acc_nrm}]\n", "no metric 'acc_nrm' (did you mean acc_norm"),
        (CHOOSE + "scorers: [brierr]\n", "unknown scorer 'brierr' (did you mean brier"),
        (CHOOSE + "scorers: [{name: pair_consistency, grop: pair}]\n", "has no parameter 'grop' (did you mean group?)"),
        (
            CHOOSE + "scorers: [{name: pair_consistency, group: par}]\n",
            "scorer 'pair_consistency' reads the column 'par', which the data has not (did you mean pair?)",
        ),
        (CHOOSE + "process_docs: !function utils.quieter\n", "no function 'quieter'"),
        (
            CHOOSE + "process_results: !function utils.broken\nmetric_list: [{metric: acc}]\n",
            "process_results failed: KeyError: 'nope'",
        ),
        (WRITE + FILTERS % "regexx", "unknown filter 'regexx' (did you mean regex"),
        (WRITE + FILTERS % "regex, regex_pattern: '(['", "step 'regex': unterminated character set"),
        (WRITE + FILTERS % "!function utils.Angry", "RuntimeError: no filter today"),
        (CHOOSE + "num_fewshot: 20\n", "20 few-shot examples are asked for and the pool of 8 rows gives 7"),
    ],
)
def test_wrong_tasks_are_refused_with_one_line(check, keys, words):
    done = check(keys, "--allow-code")
    assert done.code == 2
    assert words in done.err.splitlines()[-1]


def test_code_is_refused_by_name_without_the_flag(check):
    done = check(CHOOSE + "process_docs: !function utils.louder\n")
    assert done.code == 2
    assert "louder()" in done.err and "--allow-code" in done.err


def test_a_scorer_that_gets_too_few_answers_is_noted(check):
    done = check(WRITE + "repeats: 4\nscorers: [exact_match, {name: pass_at_k, k: 8}]\n")
    assert done.code == 0, done.err
    assert "note:    pass_at_k on filter none: pass@8 needs that many answers" in done.out


def test_a_newer_harness_keys_are_tolerated_with_a_warning(check):
    done = check(CHOOSE + "formats: [mcqa]\n")
    assert done.code == 0, done.err
    assert "mine.yaml:4: 'formats' is a key of lm-eval 0.5; it is not used" in done.err


def test_a_content_warning_comes_before_the_first_prompt(check):
    done = check(CHOOSE + "content_warning: insults and threats.\n")
    assert (done.code, "content warning (mine): insults and threats\n" in done.err) == (0, True), done.err
