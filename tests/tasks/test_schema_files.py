"""What may stand in a task file, and what is said where something else does."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from evalkit.errors import TaskError
from evalkit.tasks.load import TaskLibrary
from evalkit.tasks.schema import json_schema

PLAIN = "task: t\ndataset_path: json\n"


def load(tmp_path: Path, text: str):
    path = tmp_path / "t.yaml"
    path.write_text(text, encoding="utf-8")
    return TaskLibrary(cache=False).resolve([str(path)])


def test_what_lm_eval_tolerates_is_read_the_same(tmp_path):
    (config,) = load(
        tmp_path,
        """
task: t
dataset_path: json
dataset_name: 2020
dataset_kwargs: null
test_split: null
validation_split: dev
doc_to_text: "{{q}}"
doc_to_target: 0
doc_to_choice: {a: yes please, b: no thanks}
generation_kwargs: {until: "\\n", temperature: 0}
filter_list: null
description: null
metadata: {version: 1.0}
""",
    ).tasks
    assert (config.dataset_name, config.dataset_kwargs, config.test_split) == ("2020", {}, None)
    assert (config.doc_to_target, config.doc_to_choice) == (0, {"a": "yes please", "b": "no thanks"})
    assert config.generation_kwargs == {"until": "\n", "temperature": 0}
    assert (config.description, config.target_delimiter, config.fewshot_delimiter) == ("", " ", "\n\n")
    assert (config.output_type, config.repeats, config.version) == ("generate_until", 1, "1.0")
    assert config.source == tmp_path / "t.yaml"


def test_parameters_of_metrics_filters_and_scorers_are_kept(tmp_path):
    (config,) = load(
        tmp_path,
        PLAIN
        + """
metric_list:
  - {metric: exact_match, ignore_case: true}
  - {metric: !function m.score, aggregation: !function m.total, higher_is_better: false}
filter_list:
  - {name: strict, filter: [{function: regex, regex_pattern: "(x)"}, {function: !function f.Own}]}
scorers: [accuracy, {name: bleu, lowercase: true}]
tag: [one, two]
""",
    ).tasks
    first, second = config.metric_list
    assert first.params == {"ignore_case": True}
    assert str(second.aggregation) == "!function m.total"
    assert config.filter_list[0].filter[0].params == {"regex_pattern": "(x)"}
    assert [(scorer.name, scorer.params) for scorer in config.scorers] == [("accuracy", {}), ("bleu", {"lowercase": True})]
    assert config.tags == ["one", "two"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("doc_to_txt: x", r"t\.yaml:3: unknown key 'doc_to_txt' \(did you mean doc_to_text"),
        ("tags: [a]", r"t\.yaml:3: unknown key 'tags' \(did you mean tag"),
        ("source: x", r"t\.yaml:3: unknown key 'source'"),
        ("output_type: multiple-choice", r"t\.yaml:3: output_type: expected one of .*multiple_choice.*'multiple-choice'"),
        ("repeats: 0", r"t\.yaml:3: repeats: expected greater than or equal to 1, found the number 0"),
        ("repeats: many", r"t\.yaml:3: repeats: expected a whole number, found the text 'many'"),
        ("process_docs: utils.clean", r"t\.yaml:3: process_docs: expected a !function, found the text 'utils.clean'"),
        ("dataset_name: no", r"t\.yaml:3: dataset_name: expected text, found the truth value False: .*quote it"),
        ("metric_list:\n  - metric: acc\n  - aggregation: mean", r"t\.yaml:5: missing key 'metric' in metric_list\[1\]"),
        ("fewshot_config:\n  sampler: first_n\n  spilt: x", r"t\.yaml:5: unknown key 'fewshot_config.spilt' .*split"),
        ("doc_to_text: 2001-01-01\nrepeats: x", r"t\.yaml:3: doc_to_text: expected text .*found .* \(and 1 more\)"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_file_line_key_and_what_was_expected(tmp_path, line, message):
    with pytest.raises(TaskError, match=message) as caught:
        load(tmp_path, PLAIN + line + "\n")
    assert "\n" not in str(caught.value)


def test_a_mistake_in_an_included_file_is_placed_there(tmp_path):
    (tmp_path / "_base").write_text("output_type: multiple_choice\nrepeats: x\n")
    with pytest.raises(TaskError, match=r"_base:2: repeats: expected a whole number"):
        load(tmp_path, PLAIN + "include: _base\n")


def test_keys_of_lm_eval_0_5_are_tolerated_and_named_once(tmp_path):
    text = """
formats: mcqa
scorer: {type: first_token}
metric_list: [{metric: exact_match, reduction: mean, kwargs: {ignore_case: true}}]
filter_list:
  - {name: a, filter: [{function: regex, kwargs: {group_select: -1}}], metric_list: [{metric: acc}]}
"""
    selection = load(tmp_path, PLAIN + text)
    (config,) = selection.tasks
    assert config.metric_list[0].params == {"ignore_case": True}
    assert config.filter_list[0].filter[0].params == {"group_select": -1}
    named = [warning.partition(": ")[2] for warning in selection.warnings]
    assert named == [
        "'formats' is a key of lm-eval 0.5; it is not used",
        "'scorer' is a key of lm-eval 0.5; it is not used",
        "'reduction' here is a key of lm-eval 0.5; it is not used",
        "'metric_list' here is a key of lm-eval 0.5; it is not used",
    ]


def test_unquoted_yes_and_no_as_choices_are_pointed_out(tmp_path):
    selection = load(tmp_path, PLAIN + "doc_to_choice: [no, yes]\n")
    assert "t.yaml:3: YAML reads unquoted yes, no" in selection.warnings[0]


def test_a_python_task_class_is_refused_by_name(tmp_path):
    with pytest.raises(TaskError, match=r"'t' is a Python task class; evalkit runs YAML tasks"):
        load(tmp_path, "task: t\nclass: !function task.T\n")


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("task: t\ndataset_path: json\nprocess_docs: !function u.f\ndataset_name: null\nscorers: [acc]\n", True),
        ("include: _base\ndoc_to_choice: [a, b]\n", True),
        ("group: g\ntask: [a, {task: b, num_fewshot: 2}, {group: h, task: [c]}]\nnum_fewshot: 3\n", True),
        ("group: g\ntask: a\naggregate_metric_list: [{metric: acc, filter_list: none}]\n", True),
        ("task: t\ndoc_to_txt: x\n", False),
        ("dataset_path: json\n", False),
        ("task: t\noutput_type: essay\n", False),
        ("group: g\ntask: [{num_fewshot: 1}]\n", False),
    ],
)
def test_the_published_json_schema_tells_good_files_from_bad_ones(text, valid):
    schema = json_schema()
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    assert validator.is_valid(yaml.load(text, _Loader)) is valid


def test_every_built_in_task_file_fits_the_json_schema():
    validator = jsonschema.Draft202012Validator(json_schema())
    files = {entry.path for entry in TaskLibrary(cache=False).listing() if entry.path is not None}
    assert files
    for path in sorted(files):
        errors = [error.message for error in validator.iter_errors(yaml.load(path.read_text("utf-8"), _Loader))]
        assert not errors, f"{path}: {errors}"
