"""``evalkit gate`` as CI uses it: exit codes, files, GitHub, candidates that are run first, baselines that are missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import evalkit as library

ROWS = 200
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {name}.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{q}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 16}}
metric_list: [{{metric: exact_match}}]
"""
POLICY = """
gate: release
baseline: base
checks:
  - {{task: say, metric: exact_match, margin: {margin}{more}}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with two tasks, a baseline over both, a candidate that is as good and one that is worse, and policies."""
    folder = tmp_path_factory.mktemp("gate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("EVALKIT_CACHE", str(folder / "cache"))
        for name in ("say", "other"):
            (folder / f"{name}.jsonl").write_text(
                "".join(json.dumps({"q": f"{name} thing {i:03}"}) + "\n" for i in range(ROWS))
            )
            (folder / f"{name}.yaml").write_text(TASK.format(name=name))
        wrong = {f"say thing {i:03}": "no idea" for i in range(30)} | {
            f"say thing {i:03}": f"say thing {i:03}" for i in range(30, 200)
        }
        (folder / "worse.json").write_text(json.dumps(wrong))
        both = ["say.yaml", "other.yaml"]
        library.run(both, "mock/echo", name="base", seed=7, limit=190)
        library.run(both, "mock/echo", name="same", seed=7, limit=190)
        library.run(["say.yaml"], "mock/scripted", model_args={"file": "worse.json"}, name="worse", seed=7, limit=190)
        (folder / "gates").mkdir()
        for name, margin, more in (
            ("release", "2pp", ""),
            ("tight", "0.5pp", ""),
            ("floor", "2pp", ", floor: 0.8"),
        ):
            (folder / "gates" / f"{name}.yaml").write_text(POLICY.format(margin=margin, more=more))
    return folder


@pytest.fixture(autouse=True)
def inside(made, monkeypatch):
    monkeypatch.chdir(made)
    monkeypatch.setenv("EVALKIT_CACHE", str(made / "cache"))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def test_a_candidate_that_is_as_good_passes(evalkit):
    done = evalkit("gate", "gates/release.yaml", "--candidate", "same")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1].startswith("PASS: ")
    assert any(line.startswith("say exact_match") and line.endswith("PASS") for line in done.out.splitlines())


def test_one_that_is_worse_fails_and_the_samples_are_named(evalkit, tmp_path):
    files = [("--json", "g.json"), ("--markdown", "g.md"), ("--junit", "g.xml")]
    flags = [word for flag, name in files for word in (flag, str(tmp_path / "new" / name))]
    done = evalkit("gate", "gates/release.yaml", "--candidate", "worse", *flags)
    assert done.code == 1
    assert done.out.splitlines()[-1].startswith("FAIL: ")
    assert "got worse: " in done.out
    data = json.loads((tmp_path / "new" / "g.json").read_text("utf-8"))
    (check,) = [check for check in data["checks"] if check["kind"] == "metric"]
    assert (data["verdict"], data["exit_code"], check["verdict"], check["lost"], check["n"]) == ("FAIL", 1, "FAIL", 30, 190)
    assert data["detail"]["seed"] == 7
    page = (tmp_path / "new" / "g.md").read_text("utf-8")
    assert page.startswith("### ❌ FAIL: ")
    (link, *_) = re.findall(r"\]\(<(.*?)#samples\?", page)
    assert not Path(link).is_absolute() and (tmp_path / "new" / link).resolve().is_file()
    failure = next(ElementTree.parse(tmp_path / "new" / "g.xml").iter("failure"))
    assert "15.8 pp worse" in failure.attrib["message"]


def test_an_undecided_gate_is_what_the_policy_or_the_caller_says(evalkit):
    asked = ("gate", "gates/tight.yaml", "--candidate", "same")
    done = evalkit(*asked)
    assert done.code == 3 and "needs " in done.out and done.out.splitlines()[-1].startswith("INCONCLUSIVE: ")
    done = evalkit(*asked, "--inconclusive", "warn")
    assert done.code == 0 and "warning: this gate is INCONCLUSIVE" in done.err
    done = evalkit(*asked, "--inconclusive", "pass")
    assert done.code == 0 and "warning" not in done.err
    done = evalkit(*asked, "--inconclusive", "ignore")
    assert done.code == 2 and "inconclusive is one of fail, warn, pass, not 'ignore'" in done.err


def test_without_its_baseline_there_is_no_verdict_and_every_output_says_so(evalkit, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    flags = (
        "--markdown",
        str(tmp_path / "g.md"),
        "--junit",
        str(tmp_path / "g.xml"),
        "--json",
        str(tmp_path / "g.json"),
        "--github",
    )
    done = evalkit("gate", "gates/release.yaml", "--candidate", "same", "--baseline", "bsae", *flags)
    assert done.code == 4
    assert done.err.strip().splitlines()[-1] == "evalkit: error: baseline bsae: no run 'bsae' here or in runs"
    assert done.out.startswith("::error title=gate release%3A cannot gate::baseline bsae")
    for name in ("g.md", "summary.md"):
        assert "<!-- evalkit-gate:release -->" in (tmp_path / name).read_text("utf-8")
    assert json.loads((tmp_path / "g.json").read_text("utf-8"))["verdict"] is None
    assert next(ElementTree.parse(tmp_path / "g.xml").iter("error")).attrib["message"].startswith("baseline bsae")


def test_a_missing_baseline_can_be_allowed_but_floors_hold(evalkit):
    lenient = ("--baseline", "baselines/none.jsonl.gz", "--allow-missing-baseline")
    done = evalkit("gate", "gates/release.yaml", "--candidate", "same", *lenient)
    assert done.code == 0
    assert "INCONCLUSIVE: there is no baseline (baselines/none.jsonl.gz), so nothing was compared" in done.out
    assert "warning: this gate is INCONCLUSIVE" in done.err
    done = evalkit("gate", "gates/floor.yaml", "--candidate", "same", *lenient)
    assert done.code == 0 and "1 check that need none passed" in done.out
    library.run(["say.yaml"], "mock/uniform", name="nothing", limit=190)
    done = evalkit("gate", "gates/floor.yaml", "--candidate", "nothing", *lenient)
    assert done.code == 1 and "there is no baseline" in done.out


def test_a_baseline_that_cannot_be_read_is_not_missing(evalkit, tmp_path):
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(b"nonsense")
    done = evalkit(
        "gate", "gates/release.yaml", "--candidate", "same", "--baseline", str(broken), "--allow-missing-baseline"
    )
    assert done.code == 4 and "no score file of evalkit" in done.err


def test_a_candidate_that_passed_becomes_the_baseline(evalkit, tmp_path):
    new = tmp_path / "new.jsonl.gz"
    assert evalkit("gate", "gates/release.yaml", "--candidate", "worse", "--promote", str(new)).code == 1
    assert not new.exists()
    done = evalkit("gate", "gates/release.yaml", "--candidate", "same", "--promote", str(new), "--json", "-")
    assert json.loads(done.out)["baseline_promoted"] is True
    assert evalkit("gate", "gates/release.yaml", "--candidate", "same", "--baseline", str(new)).code == 0


def test_a_model_is_run_as_the_baseline_was_on_the_tasks_of_the_policy(evalkit, tmp_path):
    score_file = tmp_path / "base.jsonl.gz"
    evalkit("gate", "gates/release.yaml", "--candidate", "same", "--promote", str(score_file))
    for source in ("base", str(score_file)):
        out = tmp_path / f"runs-{Path(source).name}"
        asked = ("gate", "gates/release.yaml", "--baseline", source, "--model", "mock/scripted", "-M", "file=worse.json")
        if source == "base":
            out = Path("runs")
            done = evalkit(*asked, "--name", "by-gate")
        else:
            done = evalkit(*asked, "--output-dir", str(out))
        assert done.code == 1, done.err
        assert "190 samples" in done.err  # of one task: the policy needs no other
        run = library.open_run("latest", output_dir=out)
        config = run.manifest["config"]
        assert run.tasks == ["say"] and (config["limit"], config["seed"]) == (190, 7)
        assert config["model_args"] == {"file": "worse.json"}
        assert run.manifest["command"][:2] == ["evalkit", "gate"]


def test_a_run_by_its_name_is_not_mistaken_for_those_whose_names_have_it_too(evalkit):
    library.run(["say.yaml"], "mock/uniform", name="same-but-worse", limit=190)
    assert evalkit("gate", "gates/release.yaml", "--candidate", "run:same").code == 0
    done = evalkit("gate", "gates/release.yaml", "--candidate", "run:sam")
    assert done.code == 2 and "'sam' fits 2 runs" in done.err


def test_all_tasks_of_the_baseline_are_run_where_asked_for(evalkit, tmp_path):
    done = evalkit("gate", "gates/release.yaml", "--model", "mock/echo", "--all-tasks", "--name", "all")
    assert done.code == 0 and "380 samples" in done.err


def test_a_candidates_run_that_does_not_finish_is_exit_5(evalkit, made):
    page, document, junit = made / "five.md", made / "five.json", made / "five.xml"
    files = ("--markdown", str(page), "--json", str(document), "--junit", str(junit))
    done = evalkit("gate", "gates/release.yaml", "--model", "mock/failing", "--name", "failing", *files)
    assert done.code == 5
    assert page.read_text("utf-8").startswith("### ⛔ Cannot gate: no verdict, the candidate's run")
    assert (json.loads(document.read_text("utf-8"))["exit_code"], ElementTree.parse(junit).find(".//error").get("type")) == (
        5,
        "Incomplete",
    )
    again = evalkit("gate", "gates/release.yaml", "--model", "mock/failing", "--name", "another")
    assert "_failing_" in again.err and "under the name 'failing'; --new starts another" in again.err
    last = done.err.strip().splitlines()[-1]
    assert (
        "no verdict, the candidate's run" in last
        and "requests failed for good, more than the 5% that a run may lose" in last
    )
    assert last.endswith("The same again changes nothing; --retry-errors asks them again")


def test_tasks_that_changed_since_are_refused_before_anything_is_asked(evalkit, made, monkeypatch):
    text = (made / "say.yaml").read_text()
    (made / "say.yaml").write_text(text + "metadata: {version: 3.0}\n")
    try:
        done = evalkit("gate", "gates/release.yaml", "--model", "mock/echo", "--name", "changed")
    finally:
        (made / "say.yaml").write_text(text)
    assert done.code == 4 and "task say: version was" in done.err and "samples" not in done.err


def test_prompts_that_changed_since_are_refused_before_anything_is_asked(evalkit, made):
    text = (made / "say.yaml").read_text()
    (made / "say.yaml").write_text(text.replace('"{{q}}"', '"Say: {{q}}"', 1))
    try:
        done = evalkit("gate", "gates/release.yaml", "--model", "mock/echo", "--name", "changed")
    finally:
        (made / "say.yaml").write_text(text)
    assert done.code == 4 and "samples" not in done.err.partition("run the baseline again")[0]
    last = done.err.strip().splitlines()[-1]
    assert "task say: its data or prompts have changed since base was run (first sample " in last
    assert "run the baseline again, too: evalkit run --model mock/echo --tasks say.yaml,other.yaml" in last


def test_a_definition_that_asks_the_same_is_run(evalkit, made):
    text = (made / "say.yaml").read_text()
    (made / "say.yaml").write_text(text + "metadata: {description: the same}\n")
    try:
        done = evalkit("gate", "gates/release.yaml", "--model", "mock/echo", "--name", "described")
    finally:
        (made / "say.yaml").write_text(text)
    assert done.code == 0, done.err


def test_github_gets_annotations_and_a_summary(evalkit, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    done = evalkit("gate", "gates/release.yaml", "--candidate", "worse", "--github")
    lines = done.out.splitlines()
    assert lines[-1].startswith("::error title=gate release%3A say exact_match FAIL::15.8 pp worse")
    stop = lines[0].removeprefix("::stop-commands::")
    assert lines.index(f"::{stop}::") == len(lines) - 2
    page = summary.read_text("utf-8")
    assert page.startswith("before\n### ❌ FAIL") and "](" not in page  # a link into the runner's disk leads nowhere
    evalkit(
        "gate", "gates/release.yaml", "--candidate", "worse", "--github", "--report-url", "https://ci.example/report.html"
    )
    assert "https://ci.example/report.html#" in summary.read_text("utf-8")
    summary.write_text("x" * ((1 << 20) - 10))
    done = evalkit("gate", "gates/release.yaml", "--candidate", "worse", "--github")
    assert done.code == 1 and "no room left" in done.err and summary.stat().st_size < 1 << 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name what is judged"),
        (("--candidate", "same", "--model", "mock/echo"), "name what is judged"),
        (("--candidate", "same", "--json", "-", "--markdown", "-"), "--json and --markdown cannot both write to stdout"),
        (("--candidate", "same", "--json", "-", "--github"), "--json and --github cannot both write to stdout"),
        (("--candidate", "same", "--junit", "gates"), "--junit: gates is a folder"),
        (("--candidate", "same", "--batch-size", "4"), "--batch-size is for a model that is run; this candidate is a run"),
        (("--candidate", "same", "--all-tasks"), "--all-tasks is for a model that is run"),
        (("--candidate", "same", "--promote", "new.txt"), "promote new.txt: the name of a score file ends in .jsonl.gz"),
        (("--plan", "--discordance", "0"), "--discordance is the share of answers that flip between equal models: above 0"),
    ],
)
def test_what_is_wrong_is_told_at_once(evalkit, arguments, said):
    done = evalkit("gate", "gates/release.yaml", *arguments)
    assert done.code == 2 and said in done.err


def test_a_plan_says_what_can_be_certified_and_judges_nothing(evalkit):
    done = evalkit("gate", "gates/tight.yaml", "--plan")
    assert done.code == 0
    assert any(line.startswith("say exact_match") and "190" in line for line in done.out.splitlines())
    data = json.loads(evalkit("gate", "gates/tight.yaml", "--plan", "--json", "-").out)
    assert data["checks"][0]["name"] == "say exact_match" and data["checks"][0]["can"] is False


def test_a_plan_for_a_baseline_that_is_not_there_is_no_plan(evalkit):
    done = evalkit("gate", "gates/tight.yaml", "--plan", "--baseline", "nope.jsonl.gz")
    assert done.code == 4 and "no score file nope.jsonl.gz" in done.err


def test_what_the_environment_sets_for_every_command_is_no_slip(evalkit, monkeypatch):
    monkeypatch.setenv("EVALKIT_DEVICE", "cpu")
    assert evalkit("gate", "gates/release.yaml", "--candidate", "same").code == 0


def test_the_terminal_names_both_runs_and_the_report(evalkit):
    lines = evalkit("gate", "gates/release.yaml", "--candidate", "worse").out.splitlines()
    assert "candidate worse (mock/scripted, file=worse.json) against baseline base (mock/echo)" in lines
    (report,) = [line for line in lines if line.startswith("report: ")]
    assert Path(report.removeprefix("report: ")).is_file()


def test_a_run_against_itself_is_told(evalkit):
    done = evalkit("gate", "gates/release.yaml", "--candidate", "base")
    assert done.code == 0 and "baseline and candidate are the same run: no difference can show" in done.out
    assert "same run" not in evalkit("gate", "gates/release.yaml", "--candidate", "same").out


def test_the_first_candidate_of_all_is_run_where_no_baseline_is_allowed(evalkit, made, tmp_path):
    (made / "gates" / "first.yaml").write_text("gate: f\nchecks: [{task: arithmetic, floor: 0.9, margin: 2pp}]\n")
    new = tmp_path / "first.jsonl.gz"
    asked = ("gate", "gates/first.yaml", "--model", "mock/echo", "--baseline", str(new), "--promote", str(new))
    assert evalkit(*asked).code == 4
    done = evalkit(*asked, "--allow-missing-baseline")
    assert done.code == 1 and not new.exists(), done.err  # the floor is not reached
    (made / "gates" / "first.yaml").write_text("gate: f\nchecks: [{task: arithmetic, margin: 2pp}]\n")
    done = evalkit(*asked, "--allow-missing-baseline")
    assert done.code == 0 and f"written to {new}: the next baseline" in done.err
    assert evalkit("gate", "gates/first.yaml", "--candidate", "latest", "--baseline", str(new)).code == 3


def test_a_policy_of_floors_needs_no_baseline(evalkit, made):
    (made / "gates" / "floors.yaml").write_text("gate: f\nchecks: [{task: say, floor: 0.8}]\n")
    done = evalkit("gate", "gates/floors.yaml", "--candidate", "same")
    assert done.code == 0 and done.out.splitlines()[-1] == "PASS: 1 check passed"
    (made / "gates" / "floors.yaml").write_text("gate: f\nchecks: [{task: say, floor: 0.95}]\n")
    assert evalkit("gate", "gates/floors.yaml", "--candidate", "worse").code == 1


def test_a_baselines_path_that_is_not_here_is_told_as_the_baselines(evalkit, made, tmp_path, monkeypatch):
    base = next((made / "runs").glob("*_base_*"))
    monkeypatch.chdir(tmp_path)
    done = evalkit("gate", str(made / "gates" / "release.yaml"), "--model", "mock/echo", "--baseline", str(base))
    assert (
        done.code == 2 and "no task file or folder say.yaml (a task of the baseline); relative paths are those" in done.err
    )
