"""Gates as tests: a fixture and a marker ``evalkit_gate`` for pytest.

pytest imports this module wherever evalkit is installed, so nothing of evalkit is imported before a test asks for a gate.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from evalkit.gating.base import GateResult

_MARKER = (
    "evalkit_gate(policy, candidate=None, baseline=None, **settings): the test fails unless evalkit.gate passes, "
    "which is asked before the test's own code"
)


class InconclusiveGate(UserWarning):
    """A gate could not be decided, and its policy wants to be told so without failing."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("evalkit")
    group.addoption("--evalkit-candidate", metavar="RUN", help="the run that gates judge whose test names none")
    group.addoption("--evalkit-baseline", metavar="RUN", help="the baseline of gates whose test names none")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """The gates of a test's markers, the nearest first: a gate that fails is a failure of the test, no error around it."""
    for marker in item.iter_markers("evalkit_gate"):
        if not marker.args and "policy" not in marker.kwargs:
            pytest.fail(
                'the marker evalkit_gate names a policy: @pytest.mark.evalkit_gate("gates/release.yaml")', pytrace=False
            )
        _judged(item.config, *marker.args, **marker.kwargs)


@pytest.fixture
def evalkit_gate(request: pytest.FixtureRequest) -> Callable[..., GateResult]:
    """``evalkit_gate(policy, candidate=None, baseline=None, **settings)``: `evalkit.gate`, and the test's verdict with it.

    FAIL fails the test with the headline and the checks that failed. INCONCLUSIVE fails it, warns or passes as the policy
    says. The result is given back, for further assertions. What is relative starts where pytest runs, policies else at its
    root. Candidate and baseline come from ``--evalkit-candidate`` and ``--evalkit-baseline`` where the test names none.
    """

    def judge(policy: str | Path, candidate: Any = None, baseline: Any = None, **settings: Any) -> GateResult:
        __tracebackhide__ = True
        return _judged(request.config, policy, candidate, baseline, **settings)

    return judge


def _judged(
    config: pytest.Config, policy: str | Path, candidate: Any = None, baseline: Any = None, **settings: Any
) -> GateResult:
    __tracebackhide__ = True
    from evalkit import api
    from evalkit.errors import EvalkitError

    path = Path(policy)
    if not path.exists() and (config.rootpath / path).exists():
        path = config.rootpath / path
    if candidate is None and settings.get("model") is None:
        candidate = config.getoption("--evalkit-candidate")
        if candidate is None:
            pytest.fail(f"gate {policy}: no candidate; the test names one, or pytest --evalkit-candidate RUN", pytrace=False)
    if baseline is None:
        baseline = config.getoption("--evalkit-baseline")
    try:
        result = api.gate(path, candidate, baseline, **settings)
    except EvalkitError as error:
        raise pytest.fail.Exception(f"gate {policy}: no verdict: {error}", pytrace=False) from None
    if result.exit_code:
        pytest.fail(_told(result), pytrace=False)
    if result.verdict == "INCONCLUSIVE" and result.inconclusive != "pass":
        warnings.warn(InconclusiveGate(_told(result)), stacklevel=3)
    return result


def _told(result: GateResult) -> str:
    """The headline, then every check that failed or is undecided, a line each."""
    from evalkit.gating.terminal import lines

    *reasons, headline = lines(result)
    return "\n".join([f"gate {result.gate}: {headline}", *(f"  {line}" for line in reasons)])
