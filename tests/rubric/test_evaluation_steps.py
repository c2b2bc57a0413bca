"""Steps that a model writes: read from any list, frozen into the file without touching the rest."""

from __future__ import annotations

import pytest
import yaml
from typer.testing import CliRunner

import evalkit.models.mock as mock
from evalkit.calibrate.steps import steps_prompt, written_steps
from evalkit.cli.app import app
from evalkit.errors import ModelError, RubricError
from evalkit.rubric.load import load_rubric, shipped
from evalkit.rubric.steps import read_steps, with_steps
from evalkit.types import Failure, Response

TWO = ("Read the text.", "Choose a level.")


@pytest.mark.parametrize(
    "reply",
    [
        "1. Read the text.\n2. Choose a level.",
        "Evaluation Steps:\n\n1) Read the text.\n\n2) Choose a level.\n\nI hope this helps!",
        "**Step 1:** Read the text.\n**Step 2:** Choose a level.",
        "### 1. Read the text.\n### 2. Choose a level.",
        "1. **Read** the text.\n2. Choose a\n   level.",
        "- Read the text.\n- Choose a level.",
        "* 1. Read the text.\n* 2. Choose a level.",
        "<think>1. Hm. 2. What?\n1. x\n2. y\n3. z</think>1. Read the text.\n2. Choose a level.",
        "A draft:\n1. Look.\n2. See.\n3. Go.\n\nBetter:\n1. Read the text.\n2. Choose a level.",
        "1. Read the text.\n1. Read the text.\n2. Choose a level.",
    ],
)
def test_lists_of_all_shapes_are_read(reply):
    assert read_steps(reply) == TWO


@pytest.mark.parametrize(
    "reply", ["", "I would rate it 4.", "1. Only one.", "\n".join(f"{i}. Step {i}" for i in range(1, 30))]
)
def test_what_is_no_list_of_steps_is_refused(reply):
    with pytest.raises(RubricError, match="no list"):
        read_steps(reply)


BLOCK = """# our rubric
rubric: ours   # a name
task: >-
  You will read a text,
  and rate it.
criteria:
  # the first one
  - name: clarity
    definition: How clear it is
    scale: {low: 1, high: 5}
    levels:
      1: Not at all
      5: Wholly

  # the second one
  - definition: >-
      How brief
      it is
    name: brevity
    scale: {low: 1, high: 3}
    steps: [Count., Compare.]
    # a remark at the end
"""


def test_the_rest_of_the_file_stays_as_it_is():
    made = with_steps(BLOCK, {"clarity": ["Read it: twice.", "Choose a level."]})
    assert made == BLOCK.replace(
        "      5: Wholly\n", '      5: Wholly\n    steps:\n      - "Read it: twice."\n      - Choose a level.\n'
    ).replace("# a name\n", "# a name\nversion: 2\n")


def test_steps_that_are_there_are_written_over_only_by_force():
    with pytest.raises(RubricError, match="--force"):
        with_steps(BLOCK, {"brevity": TWO})
    made = with_steps(BLOCK, {"brevity": TWO}, force=True)
    assert yaml.safe_load(made)["criteria"][1]["steps"] == list(TWO)
    assert "# a remark at the end" in made and "Count." not in made


@pytest.mark.parametrize(
    "text",
    [
        "{rubric: r, task: Rate., criteria: [{name: q, definition: Good, scale: {low: 1, high: 2}}]}",
        "rubric: r\nversion: 7 # seven\ntask: Rate.\ncriteria:\n- name: q\n  definition: Good\n  scale: {low: 1, high: 2}",
        "criteria:\n- {name: q, definition: Good, scale: {low: 1, high: 2}, steps: []}\nrubric: r\ntask: Rate.\n",
        "rubric: r\r\ntask: Rate.\r\ncriteria:\r\n- name: q\r\n  definition: >\r\n    Good\r\n"
        "  scale: {low: 1, high: 2}\r\n\r\n# end",
        "rubric: r\ntask: Rate.\ncriteria:\n- name: q\n  scale: {low: 1, high: 2}\n  definition: |\n    Good\n"
        "    # not a comment\n\nneeds: [output]\n",
    ],
)
def test_any_layout_that_yaml_allows(text):
    before = yaml.safe_load(text)
    try:
        after = yaml.safe_load(with_steps(text, {"q": ["Say 'no': \"yes\" #1", *TWO]}))
    except RubricError as error:
        assert "no safe place" in str(error) and "# not a comment" in text
        return
    assert after.pop("version") == before.pop("version", 1) + 1
    assert after["criteria"][0].pop("steps") == ["Say 'no': \"yes\" #1", *TWO]
    before["criteria"][0].pop("steps", None)
    assert after == before


def test_every_shipped_rubric_can_be_given_steps():
    for name, path in shipped().items():
        rubric = load_rubric(name)
        made = with_steps(path.read_text("utf-8"), {one: TWO for one in rubric.names}, force=True)
        assert all(one["steps"] == list(TWO) for one in yaml.safe_load(made)["criteria"])


def test_the_question_holds_the_introduction_the_criterion_and_no_item():
    rubric = load_rubric("summarisation")
    (message,) = steps_prompt(rubric, rubric.criterion("coherence"))
    assert message.role == "user" and rubric.task.strip() in message.content
    assert "Criterion: Coherence (1 to 5)" in message.content and "Rate nothing now" in message.content


def test_a_model_that_fails_or_writes_none_is_an_error_with_a_reason():
    rubric = load_rubric("summarisation")
    broken = mock.MockModel("mock/x", lambda q: Response(q.key, error=Failure("timeout", "too late")))
    with pytest.raises(ModelError, match="too late"):
        written_steps(broken, rubric, rubric.criteria[0])
    mute = mock.MockModel("mock/x", lambda q: Response(q.key, text="No."))
    with pytest.raises(RubricError, match="no list"):
        written_steps(mute, rubric, rubric.criteria[0])
    endless = mock.MockModel("mock/x", lambda q: Response(q.key, text="1. Read it.\n2. Judge it, and", finish="length"))
    with pytest.raises(RubricError, match="found no end: its reply was cut off after 1024 tokens"):
        written_steps(endless, rubric, rubric.criteria[0])


def run(*words: str):
    return CliRunner().invoke(app, ["judge", "steps", *words])


def test_the_command_writes_a_copy_of_a_shipped_rubric(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ["--model", "mock/echo,text=1. Read the text.\n2. Choose a level."]
    shown = run("dialogue", *model)
    assert shown.exit_code == 0 and "  1. Read the text." in shown.stdout and not (tmp_path / "dialogue.yaml").exists()
    assert set(shown.stdout.split(":\n")[0].split()) == {"responsiveness"}  # those that have none
    written = run("dialogue", *model, "--write")
    assert written.exit_code == 0, written.output
    made = load_rubric("dialogue.yaml")
    assert made.version == 2 and made.criterion("naturalness").steps == TWO
    assert made.criterion("engagingness").steps == load_rubric("dialogue").criterion("engagingness").steps
    assert "is there already" in str(run("dialogue", *model, "--write").exception)
    assert "have steps already" in str(run("dialogue.yaml", *model).exception)
    assert "no criterion" in str(run("dialogue", "--criterion", "tone", *model).exception)
    again = run("dialogue.yaml", *model, "--criterion", "engagingness", "--write", "--force")
    assert again.exit_code == 0 and load_rubric("dialogue.yaml").version == 3
