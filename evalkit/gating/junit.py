"""A gate's result as JUnit XML, which GitLab, Jenkins, Azure and the like show as tests."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from evalkit.comparison.numbers import visible
from evalkit.errors import EvalkitError
from evalkit.gating.base import CheckResult, GateResult
from evalkit.gating.cells import failed, told


def render(result: GateResult) -> str:
    """The document: the gate is the test suite, each check a test case. `visible` leaves no character that XML cannot hold.

    FAIL is a failure, INCONCLUSIVE skipped with what would settle it, and skipped are checks that are only shown, too.
    """
    cases = [_case(result.gate, check) for check in result.checks]
    properties = {
        "verdict": result.verdict,
        "exit_code": str(result.exit_code),
        "headline": result.headline,
        "baseline": f"{result.baseline.source} {result.baseline.fingerprint}",
        "candidate": f"{result.candidate.source} {result.candidate.fingerprint}",
        "alpha": f"{result.alpha:g}",
        "policy_hash": result.policy_hash,
    }
    return _document(result.gate, cases, properties)


def refused(gate: str, error: EvalkitError) -> str:
    """The document where there is no verdict: one test case that ended in an error."""
    case = ElementTree.Element("testcase", classname=visible(gate), name="gate")
    ElementTree.SubElement(case, "error", type=type(error).__name__, message=visible(str(error)))
    return _document(gate, [case], {"verdict": "none", "exit_code": str(error.exit_code)})


def _case(gate: str, check: CheckResult) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=visible(gate), name=visible(check.name), time="0")
    if failed(check):
        failure = ElementTree.SubElement(case, "failure", type="regression", message=visible(check.sentence))
        failure.text = visible(_figures(check))
    elif check.verdict == "INCONCLUSIVE":
        ElementTree.SubElement(case, "skipped", message=visible(f"INCONCLUSIVE: {told(check)}"))
    elif check.verdict is None or check.verdict == "FAIL":
        ElementTree.SubElement(case, "skipped", message=visible(f"only shown: {told(check)}"))
    else:
        ElementTree.SubElement(case, "system-out").text = visible(told(check))
    return case


def _figures(check: CheckResult) -> str:
    """The numbers behind a failure, in the metric's own units."""
    pairs: list[tuple[str, object]] = [
        ("baseline", check.baseline),
        ("candidate", check.candidate),
        ("difference", check.difference),
        ("95% interval", check.ci),
        ("one-sided bound", check.bound),
        ("margin", check.margin),
        ("floor", check.floor),
        ("p", check.p),
        ("p adjusted", check.p_adjusted),
        ("n", check.n),
        ("gained", check.gained),
        ("lost", check.lost),
    ]
    return "; ".join(f"{name} {_number(value)}" for name, value in pairs if value is not None)


def _number(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_number, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _document(gate: str, cases: list[ElementTree.Element], properties: dict[str, str]) -> str:
    def count(kind: str) -> str:
        return str(sum(case.find(kind) is not None for case in cases))

    counts = {"tests": str(len(cases)), "failures": count("failure"), "errors": count("error"), "skipped": count("skipped")}
    root = ElementTree.Element("testsuites", {"name": "evalkit gate", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": visible(gate), "time": "0", **counts})
    _properties(suite, properties.items())
    suite.extend(cases)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _properties(suite: ElementTree.Element, pairs: Iterable[tuple[str, str]]) -> None:
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in pairs:
        ElementTree.SubElement(properties, "property", name=name, value=visible(value))
