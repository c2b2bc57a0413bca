"""``show``, ``report``, ``rescore`` and the progress of a run."""

from __future__ import annotations

import json

import pytest

from evalkit.cli import progress


def test_show_prints_the_results_of_a_run(api, evalkit):
    done = evalkit("show", "latest")
    assert (done.code, "exact_match" in done.out, "(complete)" in done.err) == (0, True, True)


@pytest.mark.parametrize("wanted", ["metals-8", "8"])
def test_show_prints_a_sample_by_id_or_position(api, evalkit, wanted):
    done = evalkit("show", "latest", "--sample", wanted, "--task", "metals")
    assert done.code == 0
    assert "=== metals · metals-8 · position 8 · filter none · ok" in done.out
    assert "Question: Which metal is number 8?" in done.out
    assert "-1.0000  ' copper'  (greedy)" in done.out
    assert "acc: 1.0000" in done.out


def test_show_prints_failures_and_missing_scores(api, evalkit):
    assert "timeout: no answer in 60 s" in evalkit("show", "--sample", "metals-7").out
    assert "exact_match: unscored (no number in the answer)" in evalkit("show", "--sample", "sums-5").out


def test_show_gives_a_sample_as_json(api, evalkit):
    (line,) = json.loads(evalkit("show", "--sample", "sums-1", "--json").out)
    assert (line["task"], line["resps"], line["exact_match"]) == ("sums", [["2"]], 1.0)


def test_report_writes_every_file_and_prints_their_paths(api, evalkit, tmp_path):
    done = evalkit("report")
    assert done.code == 0
    assert sorted(done.out.split()) == sorted(str(p) for p in tmp_path.iterdir())
    assert len(done.out.split()) == 6


def test_rescore_passes_scorers_on(api, evalkit):
    assert evalkit("rescore", "latest", "--scorers", "rouge:use_stemmer=true", "--scorers", "bleu").code == 0
    assert api.rescored == ("latest", "rouge:use_stemmer=true", "bleu")


def test_a_log_gets_a_line_now_and_then(api, capsys, monkeypatch):
    clock = iter(float(n) for n in range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    lines = progress.Lines()
    lines.started(api.run_made, 100, 400, 40)
    for done in range(1, 10):
        lines.answered("metals", done * 10, 1, ("acc", 0.5))
    lines.phase("scoring")
    err = capsys.readouterr().err.splitlines()
    assert err[0].startswith("evalkit: 100 samples, about 400 requests, 40 of them answered already; run ")
    assert (
        err[1] == "evalkit: 70 of about 400 requests (18%), 2.5/s, about 2 min 12 s left, 1 error, metals acc 0.500 so far"
    )
    assert len(err) == 5
    assert err[-1].startswith("evalkit: scoring (")


def test_a_network_at_work_gets_a_line_now_and_then_too(api, capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines = progress.Lines()
    for done in range(0, 2001, 100):
        lines.working("encoding", done, 2000)
        now += 1.5
    err = capsys.readouterr().err.splitlines()
    assert err == [
        "evalkit: encoding, 700 of 2,000 texts (10 s so far)",
        "evalkit: encoding, 1,400 of 2,000 texts (21 s so far)",
    ]


def test_a_network_at_work_has_a_bar_of_its_own_on_a_terminal(monkeypatch):
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    bar = progress._bar()
    shown = progress.OnTerminal(bar)
    shown.working("encoding", 10, 10)  # nothing to do: nothing to show
    assert not bar.tasks
    shown.working("encoding", 10, 2000)
    shown.working("enc[od]ing", 700, 2000)
    console.print(bar.get_renderable())
    text = console.file.getvalue()
    assert "enc[od]ing" in text and "700/2000" in text
    shown.working("encoding", 2000, 2000)
    assert not bar.tasks


def test_a_terminal_gets_a_bar(api, monkeypatch):
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    bar = progress._bar()
    shown = progress.OnTerminal(bar)
    shown.started(api.run_made, 100, 400, 40)
    shown.answered("met[al]s", 60, 2, ("acc", 0.5))
    shown.scored("metals", [])
    shown.phase("scoring")
    shown.answered("met[al]s", 60, 2, ("acc", 0.5))
    console.print(bar.get_renderable())
    text = console.file.getvalue()
    for words in ("met[al]s", "100/400", "acc 0.500", "2 errors"):
        assert words in text


def test_a_content_warning_is_said_before_a_sample_is_shown(api, evalkit):
    api.run_made.manifest["tasks"]["metals"]["definition"] = {"content_warning": "insults and threats."}
    line = "evalkit: content warning (metals): insults and threats\n"
    for flags in ((), ("--json",)):
        done = evalkit("show", "latest", "--sample", "metals-8", *flags)
        assert (done.code, done.err) == (0, line)
    assert "content warning" not in evalkit("show", "latest", "--sample", "sums-1").err
