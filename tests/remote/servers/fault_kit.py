"""A small generation task for the mock API, and what must be true of a run however its server behaved."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mock_answers import answer
from mock_handle import MockServer

import evalkit
from evalkit.models.remote import adapter

#: In every prompt of the task and in none of a probe: what rules match and logs are searched for.
MARK = "Riddle"
TASK = """
task: riddles
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n\\n"], max_gen_toks: 16, do_sample: false}
metric_list: [{metric: exact_match}]
"""


def question(number: int) -> str:
    """No question is the beginning of another one."""
    return f"{MARK} {number}."


def write_task(folder: Path, count: int) -> Path:
    """Riddles whose every second target is what the mock says."""
    rows = [
        {"question": question(i), "answer": answer(question(i)) if i % 2 else "no such answer"} for i in range(count)
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "riddles.yaml").write_text(TASK)
    return folder / "riddles.yaml"


@dataclass(frozen=True)
class Outcome:
    """A run, and its samples by state: number of the riddle -> the answer's text, the failure, or None."""

    run: evalkit.Run
    count: int
    answered: dict[int, str]
    failed: dict[int, Any]
    unanswered: set[int]

    def attempts(self) -> int:
        """The most that any answer took."""
        found = [r.extra.get("attempts", 1) for view in self.run.records() for r in view.record.responses if r is not None]
        return max(found, default=0)


def outcome(run: evalkit.Run, count: int) -> Outcome:
    """The run's samples by state, after checking what must be true of every run."""
    answered, failed, unanswered = {}, {}, set()
    for view in run.records():
        number = int(view.record.requests[0].prompt.removeprefix(f"{MARK} ").rstrip("."))
        (response,) = view.record.responses
        if response is None:
            unanswered.add(number)
            assert view.status == "missing"
        elif response.error is not None:
            assert response.text is None, "a failure is not an answer"
            assert response.error.kind and response.error.message and response.error.attempts >= 1
            assert "\n" not in response.error.message, "a reason is one line"
            assert view.status == "error" and not any(score.stats for score in view.scores.values())
            failed[number] = response.error
        else:
            assert response.text == answer(question(number)), "every sample has its own answer"
            assert view.status == "ok"
            answered[number] = response.text
    known = len(answered) + len(failed) + len(unanswered)
    assert len(answered.keys() | failed.keys() | unanswered) == known <= count, "every sample is in one state"
    check_summary(run, answered, failed)
    if run.status == "complete":
        assert known == count
    else:  # a run that stops early has not looked at all of its samples
        unanswered |= set(range(count)) - answered.keys() - failed.keys()
    return Outcome(run, count, answered, failed, unanswered)


def check_summary(run: evalkit.Run, answered: dict[int, str], failed: dict[int, Any]) -> None:
    """What was answered is scored, what failed is counted, and no failure is a score."""
    for summary in run.summary():
        assert summary.n == len(answered)
        assert summary.errors == len(failed), "failures are counted as such"
        assert summary.unscored == 0
        if answered:
            assert summary.value == sum(number % 2 for number in answered) / len(answered)
        else:
            assert summary.value is None


class Riddles:
    """The task in a folder of its own, run against a mock server, again and again."""

    def __init__(self, folder: Path, mock: MockServer, count: int = 24) -> None:
        self.folder, self.mock, self.count = folder, mock, count
        self.task = write_task(folder, count)

    def go(self, **args: Any) -> Outcome:
        """Run (or resume), as a new process would, with ``-M`` options ``args``."""
        adapter._PROBED.clear()
        given = {"base_url": self.mock.url, "max_connections": "8", **{name: str(value) for name, value in args.items()}}
        run = evalkit.run(
            [str(self.task)], "openai/mock", model_args=given, output_dir=self.folder / "runs", max_error_rate=0.99
        )
        found = outcome(run, self.count)
        assert run.status == ("incomplete" if found.unanswered or self._retryable(found) else "complete")
        return found

    @staticmethod
    def _retryable(found: Outcome) -> bool:
        return any(failure.retryable for failure in found.failed.values())

    def asked(self) -> Counter[str]:
        """How often each riddle reached the server."""
        return Counter(row["text"] for row in self.mock.seen(MARK))

    def runs(self) -> int:
        return sum(path.is_dir() and not path.is_symlink() for path in (self.folder / "runs").iterdir())
