"""A gate's JUnit XML, GitHub annotations and JSON."""

from __future__ import annotations

import json
import math
import re
from xml.etree import ElementTree

import pytest
from gate_results import BUDGET, FAILED, NASTY, SLICE, UNDECIDED, check, nasty, result
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import NotComparable
from evalkit.gating import annotations, as_json, junit, markdown, terminal

SHOWN = check("arc acc", require="report", verdict="FAIL", sentence="worse, only reported")
UNTESTED = check("mmlu acc [subject=law]", kind="slice", verdict=None, sentence="12 pairs, 30 are needed")


def cases(text: str) -> dict[str, ElementTree.Element]:
    return {case.attrib["name"]: case for case in ElementTree.fromstring(text).iter("testcase")}


def test_junit_has_the_gate_as_suite_and_each_check_as_case():
    text = junit.render(result(check(), FAILED, UNDECIDED, BUDGET, SHOWN, UNTESTED))
    root = ElementTree.fromstring(text)
    suite = root.find("testsuite")
    assert suite is not None and suite.attrib["name"] == "release"
    counts = {key: suite.attrib[key] for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "1", "errors": "0", "skipped": "3"} == {k: root.attrib[k] for k in counts}
    found = cases(text)
    assert [child.tag for child in found["gsm8k exact_match"]] == ["system-out"]
    failure = found["arc_easy acc"].find("failure")
    assert failure is not None and "3.1 pp" in failure.attrib["message"] and "p adjusted 0.002" in str(failure.text)
    skipped = found["ifeval prompt"].find("skipped")
    assert skipped is not None and "needs about 1,900 items" in skipped.attrib["message"]
    assert all(found[name].find("skipped") is not None for name in ("arc acc", "mmlu acc [subject=law]"))


def test_junit_of_what_cannot_be_gated_is_an_error():
    (case,) = cases(junit.refused("release", NotComparable("the data differ"))).values()
    error = case.find("error")
    assert error is not None and error.attrib["message"] == "the data differ"


@pytest.mark.parametrize("text", NASTY)
def test_junit_is_xml_whatever_names_hold(text):
    made = junit.render(nasty(text))
    assert len(list(ElementTree.fromstring(made.encode("utf-8")).iter("testcase"))) == 4
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", made)


def test_annotations_are_errors_for_failures_and_what_the_gate_says_for_the_undecided():
    both = (FAILED, UNDECIDED, check(), SHOWN)
    lines = annotations.render(result(*both))
    assert lines == [
        "::error title=gate release%3A arc_easy acc FAIL::worse by 3.1 pp, more than the margin of 2.0 pp (p = .001)",
        "::error title=gate release%3A ifeval prompt INCONCLUSIVE::the drop may be larger than 2.0 pp; "
        "needs about 1,900 items (it has 541), or a margin of 3.2 pp",
    ]
    assert annotations.render(result(*both, inconclusive="warn"))[1].startswith("::warning ")
    assert annotations.render(result(*both, inconclusive="pass"))[1].startswith("::notice ")


def test_a_gate_that_passed_is_one_notice():
    assert annotations.render(result(check(), SLICE)) == ["::notice title=gate release::PASS: as the checks say"]


def test_github_shows_ten_of_a_level_so_the_tenth_counts_the_rest():
    failed = [check(f"task{i}", verdict="FAIL", sentence="worse") for i in range(25)]
    undecided = [check(f"other{i}", verdict="INCONCLUSIVE", sentence="?") for i in range(10)]
    lines = annotations.render(result(*failed, *undecided, inconclusive="warn"))
    errors = [line for line in lines if line.startswith("::error")]
    assert len(errors) == 10 and errors[-1] == "::error title=gate release::+16 more; the gate's summary has them all"
    assert len([line for line in lines if line.startswith("::warning")]) == 10


@pytest.mark.parametrize("text", NASTY)
def test_annotations_stay_one_command_a_line(text):
    lines = annotations.render(nasty(text))
    for line in lines:
        match = re.fullmatch(r"::(error|warning|notice) title=([^:,\r\n]*)::(.*)", line)
        assert match, line
        assert not re.search(r"%(?!25|0D|0A|3A|2C)", line)
        assert line.isprintable()


def test_annotations_escape_what_github_reads():
    assert annotations.command("error", "50% of a:b,c\nnext", title="x: y, 5%") == (
        "::error title=x%3A y%2C 5%25::50%25 of a:b,c\\nnext"
    )


def test_json_is_strict_and_has_every_field():
    made = result(FAILED, check(p=math.nan, bound=-math.inf), baseline_promoted=True)
    data = json.loads(as_json.render(as_json.document(made)), parse_constant=lambda name: pytest.fail(name))
    assert (data["format"], data["version"], data["error"]) == ("evalkit-gate", 1, None)
    assert (data["gate"], data["verdict"], data["exit_code"], data["baseline_promoted"]) == ("release", "FAIL", 1, True)
    first, second = data["checks"]
    assert first["flips"][0] == {
        "task": "arc_easy", "id": "q-7", "baseline": 1.0, "system": 0.0, "report": "report.html#samples?task=arc_easy&s=q-7",
        "effect": None,
    }  # fmt: skip
    assert first["left_out"]["system_errors"] == 3 and first["ci"] == [-0.048, -0.014]
    assert second["p"] is None and second["bound"] is None
    assert data["candidate"]["report"] == "runs/cand/report.html"


@pytest.mark.parametrize("text", NASTY)
def test_json_gives_names_back_as_they_are(text):
    raw = as_json.render(as_json.document(nasty(text))).encode("utf-8")
    assert json.loads(raw)["checks"][0]["name"] == text


def test_json_without_a_verdict():
    data = as_json.refused("release", NotComparable("the data differ"))
    assert (data["verdict"], data["exit_code"], data["error"], data["checks"]) == (None, 4, "the data differ", [])


@pytest.mark.parametrize("text", NASTY)
def test_nothing_acts_on_the_terminal(text):
    made = nasty(text)
    for words in (*terminal.lines(made), *(cell for row in terminal.table(made) for cell in row)):
        assert words.isprintable()


def test_the_terminal_counts_slices_that_nothing_hangs_on():
    slices = [check(f"mmlu acc [subject={i}]", kind="slice", require="not-fail") for i in range(40)]
    failed = check("mmlu acc [subject=law]", kind="slice", verdict="FAIL", require="not-fail", sentence="worse")
    made = result(check(), *slices, failed)
    assert [row[0] for row in terminal.table(made)] == ["mmlu acc [subject=law]", "gsm8k exact_match"]
    assert "40 slices that the verdict does not hang on: --json and --markdown have all" in terminal.lines(made)


def test_the_terminal_marks_what_the_verdict_does_not_hang_on():
    loose = check(require="not-fail", verdict="INCONCLUSIVE", sentence="?")
    verdicts = [row[-1] for row in terminal.table(result(loose, SHOWN, UNTESTED, UNDECIDED))]
    assert verdicts == ["INCONCLUSIVE", "INCONCLUSIVE (allowed)", "shown (FAIL)", "shown"]


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=80))
def test_any_text_at_all_is_text_in_every_form(text):
    made = nasty(text)
    ElementTree.fromstring(junit.render(made).encode("utf-8"))
    assert all(line.isprintable() and line.startswith("::") for line in annotations.render(made))
    assert json.loads(as_json.render(as_json.document(made)))["headline"] == text
    page = markdown.render(made)
    page.encode("utf-8")
    assert len(re.findall(r"^<!--", page, re.M)) == 1
