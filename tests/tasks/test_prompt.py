import pytest
from task_kit import choice_config, config, make, prompts

from evalkit.tasks.prompt import Turn, as_messages, as_text, joined, turns
from evalkit.types import Message


class Chat:
    """Renders messages visibly."""

    def render_chat(self, messages, *, continue_final):
        text = "".join(f"<{m.role}>{m.content}</>" for m in messages)
        return text.removesuffix("</>") if continue_final else f"{text}<assistant>"


FIRST = {"training_split": "train", "fewshot_config": {"sampler": "first_n"}}


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [("a", "b", "a-b"), ("a ", "b", "a b"), ("a", "\nb", "a\nb"), ("", "b", "b"), ("a", None, "a"), (None, None, "")],
)
def test_joined(prefix, suffix, expected):
    assert joined(prefix, suffix, "-") == expected


def test_turns_with_and_without_an_answer():
    assert as_text(turns("Q", "A", None, " ", "\n\n")) == "Q A\n\n"
    assert as_text(turns("Q", None, None, " ", "")) == "Q"
    assert as_text(turns("Q", "A", "So", " ", "|")) == "Q So A|"
    assert as_text(turns("Q ", "A", "So ", "-", "|")) == "Q So A|"
    assert as_text(turns("Q", None, "So", "-", "")) == "Q-So"


def test_single_turn_collapses_to_one_user_message():
    prompt = [Turn("system", "S"), Turn("user", "q1", " "), Turn("assistant", "a1", "\n"), Turn("user", "q2", " ")]
    assert as_messages(prompt, multiturn=False) == (Message("system", "S"), Message("user", "q1 a1\nq2"))
    prefilled = [*prompt, Turn("assistant", "So")]
    assert as_messages(prefilled, multiturn=False)[1:] == (Message("user", "q1 a1\nq2"), Message("assistant", "So"))
    assert len(as_messages(prefilled, multiturn=True)) == 5


def test_text_prompt():
    cfg = config(description="About {{question}}. ", **FIRST)
    assert prompts(make(cfg, num_fewshot=1))[0] == "About q0. Q: train0\nA: a0\n\nQ: q0\nA:"
    assert prompts(make(cfg, system_instruction="Sys"))[0] == "Sys\n\nAbout q0. Q: q0\nA:"
    assert prompts(make(config(), system_instruction="Sys"))[0] == "SysQ: q0\nA:"


def test_text_prompt_with_prefix():
    cfg = config(doc_to_text="Q: {{question}}", gen_prefix="{{question}} is", **FIRST)
    assert prompts(make(cfg, num_fewshot=1))[0] == "Q: train0 train0 is a0\n\nQ: q0 q0 is"


def test_chat_prompt_multiturn_is_the_default():
    cfg = config(description="Desc", **FIRST)
    task = make(cfg, num_fewshot=1, apply_chat_template=True, system_instruction="Sys")
    assert (
        prompts(task, Chat())[0]
        == "<system>Sys\n\nDesc</><user>Q: train0\nA:</><assistant>a0</><user>Q: q0\nA:</><assistant>"
    )


def test_chat_prompt_single_turn():
    task = make(config(**FIRST), num_fewshot=1, apply_chat_template=True, fewshot_as_multiturn=False)
    assert prompts(task, Chat())[0] == "<user>Q: train0\nA: a0\n\nQ: q0\nA:</><assistant>"


def test_chat_prefix_is_left_open():
    task = make(config(gen_prefix="So"), apply_chat_template=True)
    assert prompts(task, Chat())[0] == "<user>Q: q0\nA:</><assistant>So"


def test_without_a_renderer_the_messages_are_the_prompt():
    task = make(config(gen_prefix="So"), apply_chat_template=True)
    assert prompts(task)[0] == (Message("user", "Q: q0\nA:"), Message("assistant", "So"))


@pytest.mark.parametrize(
    ("keys", "chat", "delimiter"),
    [
        ({}, False, " "),
        ({"target_delimiter": ""}, False, ""),
        ({}, True, ""),
        ({"gen_prefix": "Answer:"}, True, " "),
        ({"gen_prefix": "Answer: "}, True, ""),
    ],
)
def test_what_stands_before_a_choice(keys, chat, delimiter):
    task = make(choice_config(**keys), apply_chat_template=chat)
    sample = next(task.samples())
    assert [q.continuation for q in task.requests(sample, Chat())] == [f"{delimiter}c0{letter}" for letter in "abcd"]


def test_multiple_inputs():
    cfg = choice_config(
        doc_to_text="{{label}}", doc_to_choice="{{[question ~ ' x', question ~ ' y']}}", doc_to_target="{{answer}}", **FIRST
    )
    task = make(cfg, num_fewshot=1)
    sample = next(task.samples())
    requests = task.requests(sample)
    assert [q.prompt for q in requests] == ["train0 x a0\n\nq0 x", "train0 x a0\n\nq0 y"]
    assert {q.continuation for q in requests} == {" a0"}
    assert task.scoring.multiple_inputs
    assert (sample.target, sample.choices) == (0, ("q0 x", "q0 y"))
