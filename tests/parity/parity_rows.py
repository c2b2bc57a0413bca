"""Synthetic rows in the hub columns of well-known benchmarks.

Used by both sides of the parity check: lm-eval (make_goldens.py, in an environment of its own) and evalkit (the tests).
Standard library only. All wording is this project's own; everything is drawn from a seed of task, split and row.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]

NAMES = ["Amira", "Boris", "Chen", "Dilek", "Emeka", "Freya", "Gustavo", "Hana"]
NOUNS = [
    "lantern",
    "orchard",
    "ferry",
    "violin",
    "glacier",
    "saddle",
    "teapot",
    "compass",
    "meadow",
    "chisel",
    "harbour",
    "quilt",
]
VERBS = ["repaired", "painted", "borrowed", "measured", "hid", "carried", "sold", "photographed"]
PLACES = ["in the valley", "near Årjäng", "at the old mill", "on Thursday", "behind the 东门 gate", "for 3.50 dollars"]
#: What real data holds and templates trip over: template braces, quotes, odd spaces, digits only, other scripts.
SPICE = [
    'She said "no {{ braces }} here" and {% left %}.',
    "It's the user's own  double  space.",
    "42",
    "Über 1,000 Bücher – größer als c:\\temp\\new.",
    "这句话没有空格。",
    "Line one\nline two",
]


class Draw:
    """Random text for one row."""

    def __init__(self, *seed: object) -> None:
        self.rnd = random.Random("|".join(map(str, seed)))
        self.position = int(str(seed[-1]))

    def pick(self, options: Any) -> Any:
        return options[self.rnd.randrange(len(options))]

    def number(self, low: int = 2, high: int = 9) -> int:
        return self.rnd.randint(low, high)

    def name(self) -> str:
        return str(self.pick(NAMES))

    def noun(self) -> str:
        return str(self.pick(NOUNS))

    def nouns(self, count: int) -> list[str]:
        return self.rnd.sample(NOUNS, count)

    def clause(self) -> str:
        return f"{self.name()} {self.pick(VERBS)} the {self.noun()} {self.pick(PLACES)}"

    def sentence(self) -> str:
        return f"{self.clause()}."

    def passage(self, sentences: int = 3) -> str:
        text = " ".join(self.sentence() for _ in range(sentences))
        return f"{text} {SPICE[self.position % len(SPICE)]}" if self.position % 3 == 1 else text

    def question(self) -> str:
        return f"Who {self.pick(VERBS)} the {self.noun()} {self.pick(PLACES)}?"

    def letter(self, count: int = 4) -> str:
        return "ABCDEFGHIJ"[self.rnd.randrange(count)]

    def label(self, count: int = 2) -> int:
        return self.rnd.randrange(count)


def arc(d: Draw) -> Row:
    labels = list("1234") if d.position % 4 == 3 else list("ABCD")
    return {
        "id": f"q{d.position}",
        "question": d.passage(1) + " " + d.question(),
        "choices": {"text": d.nouns(4), "label": labels},
        "answerKey": d.pick(labels),
    }


def openbookqa(d: Draw) -> Row:
    row = arc(d)
    stem = "1984" if d.position == 4 else row["question"]
    return {"id": row["id"], "question_stem": stem, "choices": row["choices"], "answerKey": " " + row["answerKey"]}


def commonsense_qa(d: Draw) -> Row:
    return {
        "question": f"  {d.question()} ",
        "choices": {"text": d.nouns(5), "label": list("ABCDE")},
        "answerKey": d.letter(5),
    }


def mmlu(d: Draw) -> Row:
    choices = [str(d.number(1, 99)) if d.position % 5 == 2 else noun for noun in d.nouns(4)]
    return {"question": f" {d.passage(1)} {d.question()}\n", "subject": "s", "choices": choices, "answer": d.label(4)}


def letter_options(question: str, answer: str) -> Callable[[Draw], Row]:
    """Four options in columns A to D."""

    def row(d: Draw) -> Row:
        return {question: f"{d.question()} ", **dict(zip("ABCD", d.nouns(4), strict=True)), answer: d.letter()}

    return row


def kmmlu(d: Draw) -> Row:
    return {**letter_options("question", "x")(d), "answer": d.number(1, 4)}


def pair(first: str, second: str, labels: int = 2, label: str = "label") -> Callable[[Draw], Row]:
    return lambda d: {first: d.passage(1), second: d.sentence(), label: d.label(labels)}


def single(column: str, label: str = "label") -> Callable[[Draw], Row]:
    return lambda d: {column: d.passage(1), label: d.label()}


def gsm8k(d: Draw) -> Row:
    a, b = d.number(), d.number()
    text = f"{d.name()} sold {a} of each {d.noun()} and {b} more. How many in all?"
    return {"question": text, "answer": f"There were {a} + {b} = <<{a}+{b}={a + b}>>{a + b}.\n#### {a + b}"}


def mgsm(d: Draw) -> Row:
    row = gsm8k(d)
    number = int(row["answer"].split()[-1])
    if d.position % 2 == 0:  # as in the hub's training rows, where question and answer carry their labels
        answer = f"Step-by-Step Answer: {row['answer'].splitlines()[0]} The answer is {number}."
        return {"question": f"Frage: {row['question']}", "answer": answer, "answer_number": number}
    return {"question": row["question"], "answer": None, "answer_number": number}


def lambada(d: Draw) -> Row:
    return {"text": f"{d.passage()} In the end {d.name()} went back to the {d.noun()}"}


def bbh(d: Draw) -> Row:
    return {"input": f"{d.question()}\nOptions:\n(A) {d.noun()}\n(B) {d.noun()}", "target": f"({d.letter(2)})"}


def bbh_boolean(d: Draw) -> Row:
    first, second = d.pick(["True", "False"]), f"{d.number()} > {d.number()}"
    return {"input": f"not ( {first} ) and ( {second} ) is", "target": d.pick(["True", "False"])}


def triviaqa(d: Draw) -> Row:
    first, second = d.nouns(2)
    return {"question": d.question()[:-1], "answer": {"aliases": [first, second], "value": first}}


def nq_open(d: Draw) -> Row:
    return {"question": d.question()[:-1].lower(), "answer": d.nouns(d.number(1, 3))}


def sciq(d: Draw) -> Row:
    wrong = dict(zip(("distractor1", "distractor2", "distractor3", "correct_answer"), d.nouns(4), strict=True))
    return {"question": d.question(), "support": "" if d.position % 4 == 0 else "\n " + d.passage(), **wrong}


def piqa(d: Draw) -> Row:
    return {"goal": d.passage(1), "sol1": d.sentence(), "sol2": d.sentence(), "label": d.label()}


def boolq(d: Draw) -> Row:
    return {"passage": d.passage(), "question": d.question()[:-1].lower(), "label": d.label()}


def belebele(d: Draw) -> Row:
    options = {f"mc_answer{i + 1}": noun for i, noun in enumerate(d.nouns(4))}
    return {
        "flores_passage": d.passage(),
        "question": f"{d.question()} ",
        **options,
        "correct_answer_num": str(d.number(1, 4)),
    }


def blimp(d: Draw) -> Row:
    text = d.sentence()
    return {"sentence_good": text, "sentence_bad": " ".join(reversed(text.split()))}


def translation(*languages: str) -> Callable[[Draw], Row]:
    return lambda d: {"translation": {language: d.passage(1) for language in languages}}


def truthfulqa(d: Draw) -> Row:
    labels = [1, *(d.label() for _ in range(d.number(2, 4))), 0]
    choices = [d.sentence() for _ in labels]
    targets = {"choices": choices, "labels": labels}
    return {
        "question": d.question(),
        "mc1_targets": {**targets, "labels": [1] + [0] * (len(labels) - 1)},
        "mc2_targets": targets,
    }


def truthfulqa_generation(d: Draw) -> Row:
    answers = {"best_answer": d.sentence(), "correct_answers": [d.noun(), d.sentence()], "incorrect_answers": [d.sentence()]}
    return {"type": "t", "category": "c", "question": f"{d.question()} ", **answers, "source": "s"}


def wic(d: Draw) -> Row:
    word = d.noun()
    first, second = f"The {word} was new.", f"Nobody saw the {word}."
    places = {"start1": 4, "end1": 4 + len(word), "start2": 15, "end2": 15 + len(word)}
    return {"word": word, "sentence1": first, "sentence2": second, **places, "label": d.label()}


def multirc(d: Draw) -> Row:
    return {"paragraph": d.passage(), "question": d.question(), "answer": d.noun(), "label": d.label()}


def swag(d: Draw) -> Row:
    endings = {f"ending{i}": d.sentence() for i in range(4)}
    return {"startphrase": "7" if d.position == 2 else d.clause(), **endings, "label": d.label(4)}


def social_iqa(d: Draw) -> Row:
    answers = dict(zip(("answerA", "answerB", "answerC"), d.nouns(3), strict=True))
    return {"context": d.passage(1), "question": d.question(), **answers, "label": str(d.number(1, 3))}


def story(d: Draw) -> Row:
    lines = {f"input_sentence_{i}": d.sentence() for i in range(1, 5)}
    return {**lines, "sentence_quiz1": d.sentence(), "sentence_quiz2": d.sentence(), "answer_right_ending": d.number(1, 2)}


def asdiv(d: Draw) -> Row:
    return {"body": d.passage(1), "question": "How many are left?", "answer": f"{d.number()} (apples)"}


def headqa(d: Draw) -> Row:
    answers = [{"aid": i + 1, "atext": noun} for i, noun in enumerate(d.nouns(4))]
    return {"qtext": d.question(), "ra": d.number(1, 4), "answers": answers}


def mc_taco(d: Draw) -> Row:
    return {"sentence": d.sentence(), "question": d.question(), "answer": f"{d.number()} hours", "label": d.label()}


def qa4mre(d: Draw) -> Row:
    options = {"answer_id": [str(i + 1) for i in range(5)], "answer_str": d.nouns(5)}
    row = {"document_str": f"\n{d.passage()}\n", "question_str": d.question(), "answer_options": options}
    return {**row, "correct_answer_id": str(d.number(1, 5))}


def turkishmmlu(d: Draw) -> Row:
    return {"question": f"{d.question()} ", "choices": d.nouns(5), "answer": d.letter(5)}


def inverse_scaling(d: Draw) -> Row:
    return {"prompt": d.passage(2) + "\nAnswer:", "classes": [" Y", " N"], "answer_index": d.label()}


def behaviour(d: Draw) -> Row:
    answers = {"answer_matching_behavior": " (A)", "answer_not_matching_behavior": " (B)"}
    return {"question": d.question(), **answers}


def text_only(d: Draw) -> Row:
    return {"text": d.passage(d.number(1, 6)) + "\n"}


def winogender(d: Draw) -> Row:
    first, second = d.nouns(2)
    row = {"sentence": d.sentence(), "pronoun": d.pick(["she", "he", "they"]), "occupation": first, "participant": second}
    return {**row, "label": d.label(), "gender": "x", "target": first}


def babi(d: Draw) -> Row:
    return {"passage": f"{d.sentence()}\n{d.sentence()}\n", "question": d.question(), "answer": d.noun(), "task": 1}


def legalbench(d: Draw) -> Row:
    return {"text": d.passage(1), "answer": d.pick(["generic", "descriptive"])}


def med_concepts(d: Draw) -> Row:
    options = "\n".join(f"{letter}. {noun}" for letter, noun in zip("ABCD", d.nouns(4), strict=True))
    answer = d.label(4)
    return {"question": f"{d.question()}\n{options}", "answer_id": "ABCD"[answer], "answer": "x"}


def polemo(d: Draw) -> Row:
    labels = ["__label__meta_zero", "__label__meta_minus_m", "__label__meta_plus_m", "__label__meta_amb"]
    return {"sentence": d.passage(1), "target": d.pick(labels)}


def bertaqa(d: Draw) -> Row:
    return {"question": d.question(), "candidates": d.nouns(3), "answer": d.label(3)}


def assin(d: Draw) -> Row:
    return {"premise": d.clause(), "hypothesis": d.sentence(), "entailment_judgment": d.label()}


def multiblimp(d: Draw) -> Row:
    row = blimp(d)
    return {"sen": row["sentence_good"], "wrong_sen": row["sentence_bad"]}


def fld(d: Draw) -> Row:
    label = d.pick(["PROVED", "DISPROVED", "UNKNOWN"])
    return {"prompt_serial": f"$hypothesis$ = {d.clause()} ; $context$ = {d.clause()}", "world_assump_label": label}


def haerae(d: Draw) -> Row:
    return {"query": d.passage(1) + "\n### 정답:", "answer": f"({d.letter(5)})"}


def kobest_boolq(d: Draw) -> Row:
    return {"paragraph": d.passage(), "question": d.question(), "label": d.label()}


# ---- tasks whose files name functions ---------------------------------------------------------------------------------


def hellaswag(d: Draw) -> Row:
    endings = [f"{d.clause()[6:]} [note{i}]." for i in range(4)]
    activity = f"{d.noun()} [title] care"
    return {
        "activity_label": activity,
        "ctx_a": d.sentence(),
        "ctx_b": d.name().lower(),
        "endings": endings,
        "label": str(d.label(4)),
    }


def winogrande(d: Draw) -> Row:
    first, second = d.rnd.sample(NAMES, 2)
    text = f"{first} told {second} about the {d.noun()} because _ had seen it {d.pick(PLACES)}."
    return {"sentence": text, "option1": first, "option2": second, "answer": str(d.number(1, 2))}


def wikitext(d: Draw) -> Row:
    lines = [
        f" = {d.noun()} = \n",
        *(f" {d.sentence()[:-1]} , worth {d.number()} @,@ 000 ( about {d.number()} @.@ 5 ) . \n" for _ in range(4)),
    ]
    return {"page": "".join(lines) + ' " quoted words " and the owner \'s N things .\n'}


def mmlu_pro(d: Draw) -> Row:
    letter = d.letter(6)
    thought = f"A: Let's think step by step. It is the {d.noun()}. The answer is ({letter})."
    category = "law" if d.position % 5 == 4 else "biology"
    return {"question": d.question(), "options": d.nouns(6), "answer": letter, "cot_content": thought, "category": category}


def race(d: Draw) -> Row:
    problems = [
        {"question": d.question() if i != 1 else "They met at the  _  .", "answer": d.letter(), "options": d.nouns(4)}
        for i in range(d.number(2, 4))
    ]
    return {"article": d.passage(), "problems": str(problems)}


def drop(d: Draw) -> Row:
    empty = {"day": "", "month": "", "year": ""}
    kind = d.position % 3
    answer = {
        "number": str(d.number()) if kind == 0 else "",
        "date": {"day": "3", "month": "May", "year": "1901"} if kind == 2 else empty,
        "spans": d.nouns(2) if kind == 1 else [],
    }
    validated = {"number": [str(d.number())], "date": [empty], "spans": [[]]}
    return {
        "query_id": f"q{d.position}",
        "passage": d.passage(),
        "question": d.question(),
        "answer": answer,
        "validated_answers": validated,
    }


def copa(d: Draw) -> Row:
    row = {"premise": f"{d.sentence()} ", "choice1": d.sentence(), "choice2": d.sentence()}
    return {**row, "question": d.pick(["cause", "effect"]), "label": d.label()}


def logiqa(d: Draw) -> Row:
    return {"context": d.passage(), "question": d.question(), "options": d.nouns(4), "label": "abcd"[d.label(4)] + " "}


def logiqa2(d: Draw) -> Row:
    return {"text": d.passage(), "question": d.question(), "options": d.nouns(4), "answer": d.label(4)}


def medqa(d: Draw) -> Row:
    endings = {f"ending{i}": noun for i, noun in enumerate(d.nouns(4))}
    return {"id": f"m{d.position}", "sent1": d.passage(), "sent2": "", **endings, "label": d.label(4)}


def agieval(d: Draw) -> Row:
    return {
        "query": f"Q: {d.question()}\nA: Among A through D, the answer is",
        "choices": ["(A)x", "(B)yy", "(C)zzz", "(D)w"],
        "gold": [d.label(4)],
    }


def mathqa(d: Draw) -> Row:
    letters = "abcde"
    options = " , ".join(f"{letter} ) {d.number(1, 99)}" for letter in letters)
    return {"Problem": d.passage(1), "Rationale": "r", "options": options, "correct": d.pick(letters)}


def pubmedqa(d: Draw) -> Row:
    return {
        "QUESTION": d.question(),
        "CONTEXTS": [d.passage(), d.passage(1)],
        "final_decision": d.pick(["yes", "no", "maybe"]),
    }


def qasper(d: Draw) -> Row:
    def blob() -> Row:
        kind = d.label(3)
        blank = {"unanswerable": False, "extractive_spans": [], "yes_no": None, "free_form_answer": ""}
        return {**blank, "yes_no": bool(kind)} if kind < 2 else {**blank, "free_form_answer": d.noun()}

    answers = [{"answer": [blob()]} for _ in range(2)]
    qas = {"question": [d.question() for _ in range(2)], "answers": answers}
    return {"id": f"p{d.position}", "title": d.noun(), "abstract": d.passage(), "qas": qas}


def wsc273(d: Draw) -> Row:
    first, second = d.nouns(2)
    start = f"The {first} would not fit in the {second} because "
    text = f"{start}it was too big."
    row = {"text": text, "pronoun": "it", "pronoun_loc": len(start), "quote": text, "quote_loc": 0}
    return {**row, "options": [f"The {first}", f"The {second}"], "label": d.label(), "source": "x"}


def mutual(d: Draw) -> Row:
    article = f"m : {d.clause()} , is n't it ? f : {d.clause()} ."
    options = [f"m : {d.clause()} ." for _ in range(4)]
    return {"answers": d.letter(), "options": options, "article": article, "id": f"dev_{d.position}"}


def webqs(d: Draw) -> Row:
    first, second = d.nouns(2)
    return {"url": "u", "question": d.question(), "answers": [second, first, f"{first} two"]}


def medmcqa(d: Draw) -> Row:
    return {"question": d.question(), **dict(zip(("opa", "opb", "opc", "opd"), d.nouns(4), strict=True)), "cop": d.label(4)}


def crows_pairs(d: Draw) -> Row:
    return {
        "id": d.position,
        "sent_more": d.sentence(),
        "sent_less": d.sentence(),
        "stereo_antistereo": "stereo",
        "bias_type": "age",
    }


def wsc(d: Draw) -> Row:
    who, thing = d.name(), d.noun()
    row = {"text": f"{who} put down the {thing} , as it was n't ( so he said ) light .", "span1_text": who, "span1_index": 0}
    return {**row, "span2_text": "it", "span2_index": 7, "label": d.label()}


def musr(d: Draw) -> Row:
    names = d.rnd.sample(NAMES, 2)
    answer = d.label()
    return {
        "narrative": d.passage(5),
        "question": d.question(),
        "choices": str(names),
        "answer_index": answer,
        "answer_choice": names[answer],
    }


def aime(d: Draw) -> Row:
    return {"ID": f"a{d.position}", "Problem": d.question(), "Solution": "s", "Answer": d.number()}


def toxigen(d: Draw) -> Row:
    return {"text": d.sentence(), "toxicity_ai": float(d.number(1, 5)), "toxicity_human": float(d.number(1, 5))}


def groundcocoa(d: Draw) -> Row:
    options = {f"Option {letter}": f"{{'price': {d.number(100, 900)}}}" for letter in "ABCDE"}
    return {"query": d.passage(1), **options, "Answer": d.letter(5)}


def arithmetic(d: Draw) -> Row:
    a, b = d.number(10, 99), d.number(10, 99)
    return {"context": f"Q: What is {a} plus {b}?\n\nA:", "completion": f" {a + b}"}


def hendrycks_math(d: Draw) -> Row:
    number = d.number()
    answer = f"\\frac{{{number}}}{{3}}" if d.position % 3 == 0 else str(number)
    return {"problem": d.passage(1), "level": "Level 1", "type": "Algebra", "solution": f"So $x=\\boxed{{{answer}}}$."}


def careqa(d: Draw) -> Row:
    return {"question": d.question(), **{f"op{i + 1}": noun for i, noun in enumerate(d.nouns(4))}, "cop": d.number(1, 4)}


def global_mmlu(d: Draw) -> Row:
    options = dict(zip(("option_a", "option_b", "option_c", "option_d"), d.nouns(4), strict=True))
    return {
        "question": f"{d.question()} ",
        **options,
        "answer": d.letter(),
        "subject": "law" if d.position % 4 == 3 else "anatomy",
    }


def eq_bench(d: Draw) -> Row:
    feelings = ["Joy", "Anger", "Fear", "Pride"]
    scores = {f"emotion{i + 1}_score": d.number(0, 9) for i in range(4)}
    reference = {**{f"emotion{i + 1}": feeling for i, feeling in enumerate(feelings)}, **scores}
    return {"prompt": d.passage(), "reference_answer_fullscale": str(reference), "reference_answer": str(reference)}


def moral_stories(d: Draw) -> Row:
    keys = ("norm", "situation", "intention", "moral_action", "immoral_action")
    return {"guid": str(d.position), "label": d.label(), **{key: d.sentence() for key in keys}}
