"""Gates as tests of pytest: the fixture, the marker, the options. The plugin is named, so that it need not be installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gate_results
import pytest

import evalkit.api.gating  # in-process runs of pytest forget what they import, which numpy does not survive

pytest_plugins = ("pytester",)

FIXTURE = """
def test_release(evalkit_gate):
    result = evalkit_gate("gates/release.yaml", candidate="runs/new")
    assert result.verdict in ("PASS", "INCONCLUSIVE")
"""
MARKER = """
import pytest
ran = []
@pytest.mark.evalkit_gate("gates/release.yaml", candidate="runs/new")
def test_release():
    ran.append(1)
def test_the_body_ran_after_the_gate():
    assert ran == {ran}
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest over a test file with `evalkit.gate` replaced; gives its result and what gates were asked for."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def call(code: str, outcome, *arguments: str):
        asked = []

        def gate(policy, candidate=None, baseline=None, **settings):
            asked.append((str(policy), candidate, baseline, settings))
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(evalkit.api, "gate", gate)
        pytester.makepyfile(code)
        return pytester.runpytest_inprocess(
            "-p", "evalkit.pytest_plugin", "--strict-markers", "-Wdefault", *arguments
        ), asked

    return call


@pytest.mark.parametrize("code", [FIXTURE, MARKER.replace("{ran}", "[1]")])
def test_a_gate_that_passes_is_a_test_that_passes(run, code):
    done, asked = run(code, gate_results.result(gate_results.check()))
    assert done.ret == 0
    assert asked == [("gates/release.yaml", "runs/new", None, {})]


@pytest.mark.parametrize("code", [FIXTURE, MARKER.replace("{ran}", "[]")])
def test_a_gate_that_fails_is_a_failure_that_names_the_checks(run, code):
    done, _ = run(code, gate_results.result(gate_results.check(), gate_results.FAILED))
    done.assert_outcomes(failed=1, passed=0 if code is FIXTURE else 1)
    done.stdout.fnmatch_lines(
        [
            "gate release: FAIL: as the checks say",
            "  FAIL arc_easy acc: worse by 3.1 pp, more than the margin of 2.0 pp (p = .001)",
            "    got worse: q-7",
        ]
    )
    assert "Traceback" not in done.stdout.str() and "pytest_plugin.py" not in done.stdout.str()


def test_an_undecided_gate_is_what_its_policy_says(run):
    undecided = gate_results.UNDECIDED
    done, _ = run(FIXTURE, gate_results.result(undecided))
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*needs about 1,900 items*"])
    done, _ = run(FIXTURE, gate_results.result(undecided, inconclusive="warn", exit_code=0))
    done.assert_outcomes(passed=1, warnings=1)
    done.stdout.fnmatch_lines(["*InconclusiveGate: gate release: INCONCLUSIVE*"])
    done, _ = run(FIXTURE, gate_results.result(undecided, inconclusive="pass", exit_code=0))
    done.assert_outcomes(passed=1, warnings=0)


def test_what_cannot_be_gated_fails_with_one_line(run):
    from evalkit.errors import NotComparable

    done, _ = run(FIXTURE, NotComparable("the data differ"))
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["gate gates/release.yaml: no verdict: the data differ"])


def test_options_name_what_a_test_does_not(run):
    code = 'def test_it(evalkit_gate):\n    evalkit_gate("gates/release.yaml", output_dir="out")\n'
    passed = gate_results.result(gate_results.check())
    done, asked = run(code, passed, "--evalkit-candidate", "latest", "--evalkit-baseline", "git:main:b.jsonl.gz")
    assert done.ret == 0
    assert asked == [("gates/release.yaml", "latest", "git:main:b.jsonl.gz", {"output_dir": "out"})]
    _, asked = run(FIXTURE, passed, "--evalkit-candidate", "latest")
    assert asked[0][1] == "runs/new"


def test_without_a_candidate_the_test_fails_and_is_never_left_out(run):
    done, asked = run('def test_it(evalkit_gate):\n    evalkit_gate("gates/release.yaml")\n', None)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*no candidate; the test names one, or pytest --evalkit-candidate RUN"])
    assert asked == []


def test_a_marker_without_a_policy_is_told(run):
    done, asked = run("import pytest\n@pytest.mark.evalkit_gate\ndef test_it(): pass\n", None)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["the marker evalkit_gate names a policy: *"])
    assert asked == []


def test_policies_are_found_from_the_root(run, pytester, monkeypatch):
    pytester.makeini("[pytest]")
    (pytester.path / "gates").mkdir()
    (pytester.path / "gates" / "release.yaml").touch()
    (pytester.path / "below").mkdir()
    monkeypatch.chdir(pytester.path / "below")
    _, asked = run(FIXTURE, gate_results.result(gate_results.check()), "--rootdir", str(pytester.path), str(pytester.path))
    assert Path(asked[0][0]) == pytester.path / "gates" / "release.yaml"


def test_the_plugin_costs_next_to_nothing_where_no_gate_is_asked_for():
    code = "import sys, pytest; before = set(sys.modules); import evalkit.pytest_plugin; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"evalkit", "evalkit.api", "evalkit.pytest_plugin"}
