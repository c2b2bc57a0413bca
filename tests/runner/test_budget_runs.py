"""What a run spends: counted once whatever happens, stopped at its budget, and not paid for twice where a cache is used."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

import evalkit
from evalkit.errors import ConfigError
from evalkit.models.base import Capabilities, Sink, Source
from evalkit.prices import Price, Quote
from evalkit.runner.budget import Account, Budget
from evalkit.runner.journal import Journal
from evalkit.runner.session import Silent
from evalkit.runner.usage import Usage, restored
from evalkit.types import Failure, Request, Response

ROWS = 40
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: data.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{name} {{{{q}}}}"
doc_to_target: "{{{{q}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 16}}
metric_list: [{{metric: exact_match}}]
"""


class Hosted:
    """Like a hosted model: says what each answer took, and finishes what is in flight when it is told to stop."""

    fingerprint = "hosted-1"
    capabilities = Capabilities(frozenset({"generate"}))

    def __init__(self, connections: int = 4, name: str = "openai/hosted", base_url: str = "https://api.example.org") -> None:
        self.name = name
        self.asked: list[str] = []
        self._connections, self._base_url = connections, base_url

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        while not stop.is_set() and (wave := source.take(self._connections)):
            for request in wave:
                self.asked.append(request.key)
                sink(self.answer(request))

    def answer(self, request: Request) -> Response:
        usage = {"cached_tokens": 40, "reasoning_tokens": 5}
        return Response(
            request.key, text="x", tokens=20, prompt_tokens=100, latency_s=0.5, finish="stop", extra={"usage": usage}
        )

    def describe(self) -> dict[str, Any]:
        return {"provider": "openai", "base_url": self._base_url}


#: 60 fresh and 40 cached prompt tokens, 15 visible and 5 hidden output tokens: 60 + 20 + 150 + 100 millionths of a dollar.
PRICE = "in=1,out=10,cached=0.5,reasoning=20"
COST = 330e-6


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"q": f"thing {i}"}) + "\n" for i in range(ROWS)))
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(TASK.format(name=name))
    return tmp_path


def go(model: Any, *tasks: str, **options: Any) -> evalkit.Run:
    return evalkit.run(tasks=[f"{task}.yaml" for task in tasks or ("one",)], model=model, **options)


def total(run: evalkit.Run, name: str) -> float:
    return sum(row[name] or 0 for row in run.manifest["usage"])


def test_what_answers_took_is_counted_by_task(place: Path) -> None:
    run = go(Hosted(), "one", "two", price=PRICE)
    assert [(row["role"], row["model"], row["task"]) for row in run.manifest["usage"]] == [
        ("model", "openai/hosted", "one"),
        ("model", "openai/hosted", "two"),
    ]
    row = run.manifest["usage"][0]
    assert {name: row[name] for name in ("requests", "attempts", "failed", "from_cache", "unpriced", "estimated")} == {
        "requests": ROWS, "attempts": ROWS, "failed": 0, "from_cache": 0, "unpriced": 0, "estimated": 0,
    }  # fmt: skip
    assert [row[f"{kind}_tokens"] for kind in ("prompt", "cached", "output", "reasoning")] == [4000, 1600, 800, 200]
    assert row["cost_usd"] == pytest.approx(ROWS * COST)
    assert row["latency_p50_s"] == pytest.approx(0.5, rel=0.02)
    with (run.path / "usage.csv").open() as file:
        assert [float(line["cost_usd"]) for line in csv.DictReader(file)] == pytest.approx([ROWS * COST] * 2)
    page = (run.path / "report.html").read_text()
    assert "$0.0264" in page and "4,000 prompt (1,600 cached) + 800 output (200 reasoning)" in page
    assert json.loads((run.path / "results.json").read_text())["evalkit"]["usage"] == run.manifest["usage"]


def test_a_judge_has_an_account_and_a_price_of_its_own() -> None:
    quotes = {"model": Quote(local=True), "judge": Quote(Price(input=1, output=10))}
    account = Account(quotes, Budget(max_cost=2 * 300e-6))
    for key, role in (("a", "model"), ("b", "judge"), ("c", "judge")):
        request = Request("generate", "p", task="t", role=role, key=key)
        assert account.reached() is None
        account.add(request, account.priced(request, Response(key, text="x", tokens=20, prompt_tokens=100)))
    assert account.reached() is not None
    rows = account.public({"model": "hf/small", "judge": "openai/large"})
    assert [(r["role"], r["model"], r["requests"]) for r in rows] == [("model", "hf/small", 1), ("judge", "openai/large", 2)]
    assert rows[0]["cost_usd"] is None
    assert rows[1]["cost_usd"] == pytest.approx(600e-6)
    assert account.tokens == 360


def test_latencies_are_quantiles_within_two_percent() -> None:
    usage = Usage()
    for n in range(1, 1001):
        usage.add(Response("k", text="x", latency_s=n / 100))
    again = restored(json.loads(json.dumps(usage.stored())))
    assert again.quantile(0.5) == pytest.approx(5.0, rel=0.02)
    assert again.quantile(0.95) == pytest.approx(9.5, rel=0.02)
    again += usage
    assert again.latency.total() == 2000
    assert Usage().quantile(0.5) is None


def test_an_unknown_price_is_no_zero(place: Path) -> None:
    run = go(Hosted())
    assert run.manifest["usage"][0]["cost_usd"] is None
    assert run.manifest["usage"][0]["unpriced"] == ROWS
    assert "price not known" in (run.path / "report.html").read_text()


@pytest.mark.parametrize(
    ("limits", "answers"),
    [({"max_cost": 10 * COST - 1e-9}, 10), ({"max_tokens_total": 1200}, 10), ({"max_tokens_total": 1}, 1)],
)
@pytest.mark.parametrize("connections", [1, 7])
def test_a_budget_stops_the_run_and_more_of_it_goes_on(limits: dict, answers: int, connections: int) -> None:
    model = Hosted(connections)
    run = go(model, price=PRICE, **limits)
    assert run.status == "incomplete"
    assert "is spent" in run.manifest["counts"]["budget"]
    assert answers <= len(model.asked) < answers + connections, "only what was in flight comes on top"
    assert len(model.asked) == len(Journal(run.path / "journal")), "nothing that was answered is lost"

    still = Hosted(connections)
    again = go(still, price=PRICE, **limits)
    assert (again.path, again.status, still.asked) == (run.path, "incomplete", []), "it is the run's budget, not today's"

    rest = Hosted(connections)
    done = go(rest, price=PRICE, **{name: limit * 100_000 for name, limit in limits.items()})
    assert (done.path, done.status) == (run.path, "complete"), "another budget is no other configuration"
    assert len(model.asked) + len(rest.asked) == ROWS
    assert total(done, "cost_usd") == pytest.approx(ROWS * COST)
    assert done.manifest["counts"]["budget"] is None


def test_what_is_on_its_way_to_a_server_is_waited_for() -> None:
    class Far(Hosted):
        told = False

        def connect(self) -> None: ...

        def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
            while wave := source.take(self._connections):
                for request in wave:
                    self.told |= stop.is_set()
                    self.asked.append(request.key)
                    sink(self.answer(request))

    model = Far(8)
    run = go(model, max_tokens_total=1)
    assert (run.status, len(model.asked), model.told) == ("incomplete", 8, False)
    assert run.manifest["counts"]["answers"] == 8


def test_a_budget_that_is_just_enough_is_enough() -> None:
    assert go(Hosted(), price=PRICE, max_tokens_total=ROWS * 120).status == "complete"


def test_a_budget_needs_a_price() -> None:
    model = Hosted()
    with pytest.raises(ConfigError, match=r"price .* openai/hosted is not known; give it with --price in=") as told:
        go(model, max_cost=1)
    assert told.value.exit_code == 2
    assert model.asked == []
    with pytest.raises(ConfigError, match="output is missing"):
        go(model, price="in=1")
    with pytest.raises(ConfigError, match="--price names the role 'judge'"):
        go(model, price=["in=1,out=1", "judge:in=1,out=1"])


def test_the_table_of_a_user_is_enough_for_a_budget(place: Path) -> None:
    (place / "mine.yaml").write_text("prices: [{model: openai/hosted, input: 1, output: 1}]")
    run = go(Hosted(), prices="mine.yaml", max_cost=1)
    assert run.manifest["prices"] == {
        "model": {"model": "openai/hosted", "input": 1.0, "output": 1.0, "local": False, "origin": "mine.yaml"}
    }


def test_a_server_that_counts_nothing_is_estimated() -> None:
    class Silent(Hosted):
        def answer(self, request: Request) -> Response:
            return Response(request.key, text="y" * 40)

    run = go(Silent(1), price="in=1,out=1", max_tokens_total=70)
    row = run.manifest["usage"][0]
    prompt = -(-len("one thing 0") // 4)
    assert (row["prompt_tokens"], row["output_tokens"]) == (prompt * row["requests"], 10 * row["requests"])
    assert row["estimated"] == row["requests"] == -(-70 // (prompt + 10))


def test_a_killed_run_counts_what_it_spent_from_its_journal(place: Path) -> None:
    first = go(Hosted(), "one", "two", price=PRICE, max_tokens_total=60 * 120)
    manifest = json.loads((first.path / "run.json").read_text())
    for name in ("usage", "spent", "prices"):
        del manifest[name]  # a kill comes before they are written
    (first.path / "run.json").write_text(json.dumps(manifest))
    done = go(Hosted(), "one", "two", price=PRICE)
    calm = go(Hosted(), "one", "two", price=PRICE, new=True)
    assert done.path == first.path != calm.path
    assert done.manifest["usage"] == calm.manifest["usage"]
    assert done.manifest["spent"]["rows"] == calm.manifest["spent"]["rows"]


def test_the_account_is_read_on_from_any_place_of_the_journal(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.runner.log.SEGMENT_BYTES", 400)
    journal = Journal(place / "journal", write=True)
    places = []
    for n in range(20):
        places.append(journal.position())
        journal.append(Response(f"{n:032x}", text="x", tokens=1, prompt_tokens=1), task="t", role="judge")
    journal.release()
    assert len(list((place / "journal").iterdir())) > 3, "several segments, the full ones compressed"
    for n, position in enumerate(places):
        account = Account()
        account.restore({"upto": position, "rows": []}, Journal(place / "journal"))
        assert account.tokens == 2 * (20 - n)
        assert set(account.rows) == {("judge", "t")}


def test_failures_and_further_attempts_are_counted() -> None:
    class Flaky(Hosted):
        def answer(self, request: Request) -> Response:
            if int(request.key[:2], 16) % 4 == 0:
                return Response(request.key, error=Failure("server", "no", retryable=True, attempts=3))
            return Response(request.key, text="x", tokens=1, prompt_tokens=1, extra={"attempts": 2})

    run = go(Flaky(), price="in=1,out=1")
    row = run.manifest["usage"][0]
    assert row["requests"] == ROWS
    assert row["attempts"] == 3 * row["failed"] + 2 * (ROWS - row["failed"])
    done = go(Hosted(), price="in=1,out=1")
    assert done.path == run.path
    assert done.manifest["usage"][0]["requests"] == ROWS + row["failed"], "what was asked again was asked twice"


def test_answers_of_another_run_are_taken_and_marked(place: Path) -> None:
    first = go(Hosted(), price=PRICE, cache=True)
    model = Hosted()
    second = go(model, price=PRICE, cache=True, new=True, max_tokens_total=1)
    assert (second.status, model.asked) == ("complete", [])
    assert second.path != first.path
    assert second.manifest["counts"]["from_cache"] == ROWS
    row = second.manifest["usage"][0]
    assert (row["from_cache"], row["requests"], row["prompt_tokens"], row["cost_usd"]) == (ROWS, 0, 0, 0.0)
    assert row["latency_p50_s"] is None
    assert second.summary() == first.summary()
    answers = [response for view in second.records() for response in view.record.responses]
    assert all(response.extra["cached"] is True for response in answers)
    again = go(Hosted(), "one", "two", price=PRICE, cache=True)
    assert {row["task"]: row["from_cache"] for row in again.manifest["usage"]} == {"one": ROWS, "two": 0}


def test_another_model_or_setting_finds_nothing_in_the_cache() -> None:
    go(Hosted(), cache=True)
    other = Hosted()
    other.fingerprint = "hosted-2"
    assert go(other, cache=True).manifest["counts"]["from_cache"] == 0
    assert go(Hosted(), cache=True, new=True, gen_kwargs={"temperature": 0.5}).manifest["counts"]["from_cache"] == 0
    assert go(Hosted(), new=True).manifest["counts"]["from_cache"] == 0, "it is for those who ask for it"


def test_failures_are_not_kept_in_the_cache(place: Path) -> None:
    class Refusing(Hosted):
        def answer(self, request: Request) -> Response:
            return Response(request.key, error=Failure("refusal", "I will not"))

    go(Refusing(), cache=True, max_error_rate=1.0)
    model = Hosted()
    assert go(model, cache=True, new=True).manifest["counts"]["from_cache"] == 0
    assert len(model.asked) == ROWS


def test_answers_of_python_callables_are_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    from evalkit.cli.progress import Lines

    for said in "ab":
        run = go(lambda prompt, said=said: said, cache=True, new=True, progress=Lines())
        assert run.manifest["counts"]["from_cache"] == 0
        assert "not cached" in capsys.readouterr().err


def test_a_spoilt_cache_is_told_and_the_run_goes_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from evalkit.cli.progress import Lines

    (place / "kept").mkdir()
    (place / "kept" / "answers.sqlite").write_bytes(b"no database at all, but a file of some length" * 30)
    run = go(Hosted(), cache="kept", progress=Lines())
    assert run.status == "complete"
    told = [line for line in capsys.readouterr().err.splitlines() if "cache" in line]
    assert len(told) == 1 and "the run goes on without it" in told[0]


def test_the_dry_run_estimates_cost_and_tokens() -> None:
    (plan,) = evalkit.plan(tasks=["one.yaml"], model=Hosted(), price="in=100,out=1000")
    context = sum(-(-len(f"one thing {i}") // 4) for i in range(ROWS))
    assert (plan.context_tokens, plan.estimated, plan.generated_tokens_at_most) == (context, True, ROWS * 16)
    assert plan.cost_usd_at_most == pytest.approx((context * 100 + ROWS * 16 * 1000) / 1e6)
    assert evalkit.plan(tasks=["one.yaml"], model=Hosted())[0].cost_usd_at_most is None


class InBatches(Hosted):
    """Like a batch API: commits itself to all it is given before it has a single answer."""

    def __init__(self) -> None:
        super().__init__(connections=10_000)
        self.portions: list[int] = []

    def keep(self, folder: Path) -> None: ...

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        wave: list[Request] = []
        while more := source.take(7):
            wave += more
        self.portions.append(len(wave))
        for request in wave:
            self.asked.append(request.key)
            sink(Response(request.key, text="x", tokens=8, prompt_tokens=4, finish="stop"))  # half of what it may take


def test_no_more_is_submitted_at_once_than_the_budget_covers(place: Path) -> None:
    model, cost = InBatches(), ROWS * 84e-6
    run = go(model, price=PRICE, max_cost=0.7 * cost)
    assert run.status == "incomplete" and "--max-cost" in run.manifest["counts"]["budget"]
    assert 0.6 * cost < total(run, "cost_usd") <= 0.7 * cost
    assert model.portions[0] < 0.4 * ROWS and len(model.portions) > 1

    before = len(model.portions)
    more = go(model, price=PRICE, max_cost=1.1 * cost)  # the answers so far foretell what the rest takes
    assert more.status == "complete" and len(model.asked) == len(set(model.asked)) == ROWS
    assert total(more, "cost_usd") == pytest.approx(cost)
    assert len(model.portions) == before + 1


def test_without_a_budget_all_is_submitted_at_once(place: Path) -> None:
    model = InBatches()
    assert go(model, price=PRICE).status == "complete"
    assert model.portions == [ROWS]


def test_a_budget_too_small_for_one_request_submits_nothing(place: Path) -> None:
    model = InBatches()
    run = go(model, price="in=1,out=10000", max_cost=0.001)
    assert (run.status, model.asked) == ("incomplete", [])
    assert "may not be enough for the next request" in run.manifest["counts"]["budget"]


def test_tokens_are_foreseen_too(place: Path) -> None:
    model = InBatches()
    run = go(model, max_tokens_total=12 * 20)
    assert run.status == "incomplete" and total(run, "prompt_tokens") + total(run, "output_tokens") <= 12 * 20


def test_samples_that_a_budget_left_out_are_counted_everywhere(place: Path) -> None:
    run = go(Hosted(), "one", "two", price=PRICE, max_cost=10 * COST)
    one, two = run.summary()
    assert 10 <= one.n < 15 and two.n == 0
    left = f"incomplete: {ROWS - one.n} not answered"
    assert left in one.notes
    assert f"incomplete: {ROWS} not answered" in two.notes
    for name in ("summary.csv", "report.html", "results.json"):
        assert left in (run.path / name).read_text(), name
    whole = go(Hosted(), "one", "two", price=PRICE)
    assert whole.path == run.path and not any("incomplete" in note for s in whole.summary() for note in s.notes)


def test_a_budget_for_what_has_no_bill_is_said_to_have_no_effect(place: Path) -> None:
    class Told(Silent):
        lines: ClassVar[list[str]] = []

        def warning(self, text: str) -> None:
            self.lines.append(text)

    evalkit.run(tasks="one.yaml", model="mock/echo", max_cost=1.0, progress=Told())
    assert [line for line in Told.lines if "--max-cost has no effect" in line]
