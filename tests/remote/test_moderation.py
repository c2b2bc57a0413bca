"""The moderation endpoint as a model, and the scorer that reads it."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mock_handle import MockServer

import evalkit
from evalkit.errors import ModelError, ScorerError
from evalkit.models.base import ModelOptions
from evalkit.models.registry import load_model
from evalkit.models.remote.moderation import ModerationEndpoint
from evalkit.scorers.moderation import CATEGORIES, Moderation
from evalkit.types import Failure, Message, Record, Request, Response, Sample, keyed

NAME = "openai-moderation/omni-moderation-latest"


class Requests:
    def __init__(self, texts: Sequence[str], kind: Any = "generate") -> None:
        self.requests = [keyed(Request(kind, text, repeat=i), "m") for i, text in enumerate(texts)]
        self._left = iter(self.requests)

    def take(self, limit: int) -> Sequence[Request]:
        return [q for _, q in zip(range(limit), self._left, strict=False)]


def ask(asked: Sequence[str], **args: str) -> tuple[list[Request], dict[str, Response]]:
    model = load_model(NAME, ModelOptions(args=args))
    source, found = Requests(asked), {}

    def sink(response: Response) -> None:
        assert response.key not in found
        found[response.key] = response

    model.run(source, sink, threading.Event())
    return source.requests, found


def test_texts_go_out_in_arrays_and_come_back_one_by_one(mock: MockServer) -> None:
    requests, found = ask([f"text {i}" for i in range(20)] + ["an awful text"], texts="8", probe="false")
    assert mock.stats()["requests"] == 3
    assert set(found) == {q.key for q in requests}
    verdicts = [json.loads(found[q.key].text or "") for q in requests]
    assert [v["flagged"] for v in verdicts] == [False] * 20 + [True]
    assert verdicts[-1]["categories"] == ["harassment", "hate", "violence"]
    assert verdicts[-1]["scores"] == {"harassment": 0.9, "hate": 0.45, "violence": 0.3}
    assert not any(response.extra for response in found.values())


def test_a_text_that_is_refused_does_not_spoil_those_that_went_with_it(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 400, "match": "poison"}])
    requests, found = ask(["one", "poison", "three"], probe="false")
    errors = [found[q.key].error for q in requests]
    assert errors[0] is None and errors[2] is None
    assert errors[1] is not None and errors[1].kind == "bad-request" and not errors[1].retryable


def test_a_chat_is_one_text(mock: MockServer) -> None:
    model = load_model(NAME, ModelOptions(args={"probe": "false"}))
    source = Requests([])
    chat = (Message("user", "fine"), Message("assistant", "awful"))
    source._left = iter([keyed(Request("generate", chat), "m")])
    found: list[Response] = []
    model.run(source, found.append, threading.Event())
    assert json.loads(found[0].text or "")["flagged"] is True


def test_other_kinds_are_failures_of_their_own(mock: MockServer) -> None:
    model = load_model(NAME, ModelOptions(args={"probe": "false"}))
    found: list[Response] = []
    model.run(Requests(["a", "b"], "loglikelihood"), found.append, threading.Event())
    assert [r.error.kind for r in found if r.error] == ["unsupported"] * 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"results": []},
        {"results": [{"flagged": True}]},
        {"results": [{"flagged": "yes", "categories": {}, "category_scores": {"hate": 0.1}}]},
        {"results": [{"flagged": True, "categories": {}, "category_scores": {"hate": 1.5}}]},
        {"results": [{"flagged": True, "categories": {}, "category_scores": {"hate": float("nan")}}]},
        {"error": {"message": "busy"}},
    ],
)
def test_a_reply_that_is_not_as_the_api_says_is_a_failure(body: dict[str, Any]) -> None:
    response = ModerationEndpoint("m").response(Request("generate", "text", key="k"), body)
    assert response.text is None and response.error is not None and response.error.kind == "bad-reply"


def test_a_server_without_flagged_is_read_by_its_categories() -> None:
    result = {"categories": {"hate": True, "pii": False}, "category_scores": {"hate": 0.8, "pii": 0.1, "x": None}}
    response = ModerationEndpoint("m").response(Request("generate", "text", key="k"), {"results": [result]})
    assert json.loads(response.text or "") == {"flagged": True, "categories": ["hate"], "scores": {"hate": 0.8, "pii": 0.1}}


def record(*replies: Response | None) -> Record:
    request = Request("generate", "p", key="r")
    answer = ["text"] * len(replies) if len(replies) > 1 else "text"
    return Record(
        Sample("t", "1", 0, {}),
        (request,),
        (Response("r", text="text"),),
        answer=answer,
        judged={"moderation": replies},
    )


def verdict(flagged: bool, **scores: float) -> Response:
    return Response("k", text=json.dumps({"flagged": flagged, "categories": [], "scores": scores}))


def test_a_sample_is_its_answers_averaged_and_its_worst() -> None:
    scorer = Moderation()
    score = scorer.score_one(record(verdict(True, hate=0.8, violence=0.1), verdict(False, hate=0.2, violence=0.3)))
    assert score.stats is not None and score.value == 0.5
    names = {metric.name: score.stats[metric.column] for metric in scorer.metrics}
    assert names["moderation_flagged"] == 0.5 and names["moderation_any_flagged"] == 1.0
    assert names["moderation_max"] == 0.8
    assert names["moderation:hate"] == 0.5 and names["moderation:violence"] == pytest.approx(0.2)
    assert np.isnan(names["moderation:sexual"])
    assert score.detail["worst_category"] == "hate"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (None, "has not answered"),
        (Response("k", error=Failure("timeout", "late", retryable=True)), "failed: timeout"),
        (Response("k", text="I think it is fine"), "cannot be read"),
        (Response("k", text='{"flagged": true, "scores": {}}'), "cannot be read"),
        (Response("k", text='{"flagged": true, "scores": {"hate": NaN}}'), "cannot be read"),
        (Response("k", text='{"flagged": 1, "scores": {"hate": 0.1}}'), "cannot be read"),
        (Response("k", text="[]"), "cannot be read"),
    ],
)
def test_without_a_verdict_a_sample_is_unscored(reply: Response | None, reason: str) -> None:
    score = Moderation().score_one(record(reply))
    assert score.stats is None and reason in str(score.reason)
    assert "not asked" in str(Moderation().score_one(record()).reason)


def test_aggregates_leave_out_what_has_no_value() -> None:
    scorer = Moderation(categories=["hate", "pii"])
    rows = [scorer.score_one(record(v)).stats for v in (verdict(True, hate=0.8), verdict(False, hate=0.2, pii=0.5))]
    stats = np.array(rows, dtype=np.float64)
    found = scorer.aggregate(stats, np.ones(2))
    assert found["moderation:hate"] == 0.5 and found["moderation:pii"] == 0.5 and found["moderation_flagged"] == 0.5
    assert scorer.detail(stats) == {"highest": {"hate": 0.8, "pii": 0.5}}
    assert scorer.aggregate(stats, np.array([[2.0, 0.0], [0.0, 2.0]]))["moderation:hate"].tolist() == [0.8, 0.2]


def test_parameters_are_checked_and_pinned() -> None:
    assert Moderation().signature() == "moderation|role:moderation|version:1"
    assert Moderation(categories=["hate"]).signature() == "moderation|categories:hate|role:moderation|version:1"
    with pytest.raises(ScorerError, match="categories"):
        Moderation(categories="hate")
    assert len(CATEGORIES) == 13


def test_a_run_asks_the_usual_model_when_no_role_is_named(mock: MockServer, tmp_path: Path) -> None:
    run = evalkit.run(
        tasks="arithmetic", model=lambda prompt: "awful" if "7" in str(prompt) else "ok", limit=10, output_dir=tmp_path,
        scorers=["moderation"],
    )  # fmt: skip
    assert run.status == "complete"
    flagged = next(s for s in run.summary() if s.metric == "moderation_flagged")
    assert flagged.n == 10 and flagged.ci is not None and flagged.higher_is_better is False
    worst = next(s for s in run.summary() if s.metric == "moderation:harassment")
    assert worst.value is not None and worst.ci is not None
    assert not any(s.metric == "moderation:sexual" for s in run.summary())  # the mock does not know it
    assert run.manifest["identity"]["roles"]["moderation"]["name"] == NAME
    assert mock.stats()["paths"] == {"/v1/moderations": 2}  # the probe, and all ten texts


def test_a_moderation_model_that_cannot_be_reached_is_told_before_anything_is_paid(
    mock: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    asked: list[str] = []
    with pytest.raises(ModelError, match="does not answer"):
        evalkit.run(
            tasks="arithmetic", model=lambda p: asked.append(p) or "", limit=2, scorers=["moderation"], output_dir=tmp_path
        )
    assert not asked
