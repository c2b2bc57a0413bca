"""Rows of coreference bias sets in one shape: who can be meant, who is, and which rows differ in the pronoun only.

`winogender` reads the Winogender schemas (Rudinger et al., 2018) as they are published (templates or sentences), as the
Hugging Face hub has them, and evalkit's own templates of that form; `winobias` the bracketed sentences of WinoBias
(Zhao et al., 2018).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evalkit.tasks.occupations import OCCUPATIONS
from evalkit.types import content_hash

Doc = dict[str, Any]

#: Gender -> case -> pronoun; the order is that of the published sentences.
PRONOUNS = {
    "male": {"NOM": "he", "POSS": "his", "ACC": "him"},
    "female": {"NOM": "she", "POSS": "her", "ACC": "her"},
    "neutral": {"NOM": "they", "POSS": "their", "ACC": "them"},
}
SOMEONE = "someone"
_PRONOUN = re.compile(r"\$(NOM|POSS|ACC)_PRONOUN")
_PARTICIPANT = re.compile(r"(^)?\S+ \$PARTICIPANT")


def instantiate(template: str, occupation: str, participant: str, gender: str) -> str:
    """A template's sentence, as the script of the published schemas makes it.

    Placeholders: ``$OCCUPATION``, ``$PARTICIPANT``, and one of ``$NOM_PRONOUN``, ``$POSS_PRONOUN``, ``$ACC_PRONOUN``. The
    participant ``someone`` takes the place of its article, too; "they was" becomes "they were".
    """
    text = template.replace("$OCCUPATION", occupation)
    if participant == SOMEONE:
        text = _PARTICIPANT.sub(lambda found: "Someone" if found[1] is not None else SOMEONE, text)
    text = text.replace("$PARTICIPANT", participant)
    text = _PRONOUN.sub(lambda found: PRONOUNS[gender][found[1]], text)
    return text.replace("they was", "they were") if gender == "neutral" else text


def winogender(doc: Mapping[str, Any]) -> Iterable[Doc]:
    """Six sentences of a template, or one of a sentence's row.

    Columns: ``sentid``, ``sentence``, ``occupation``, ``participant``, ``label`` (0: the pronoun means the occupation,
    1: the participant), ``gender`` and ``pronoun``; ``referent``, ``participant_kind`` (named, someone), ``pair`` (what
    the rows of a minimal pair share), ``mentions`` (both with their articles), ``offered`` (the same in an order that
    the pair fixes), ``bls_pct_female`` and ``bls_year``, ``text_pct_female`` and ``gotcha``. Percentages of the row
    itself go first.
    """
    if "occupation(0)" in doc:  # the published templates
        own = {"occupation": doc["occupation(0)"], "participant": doc["other-participant(1)"], "answer": doc["answer"]}
        yield from _sentences({**own, "sentence": doc["sentence"]})
    elif "$OCCUPATION" in str(doc.get("sentence")):
        yield from _sentences(doc)
    elif "sentid" in doc:
        yield _row(doc)
    else:
        raise ValueError(
            "neither a template (occupation(0), other-participant(1), answer, sentence) nor a sentence with sentid"
        )


def _sentences(doc: Mapping[str, Any]) -> Iterator[Doc]:
    further = {key: value for key, value in doc.items() if key not in ("id", "answer")}
    occupation, answer = doc["occupation"], int(doc["answer"])
    for participant in (doc["participant"], SOMEONE):
        for gender in PRONOUNS:
            sentence = instantiate(doc["sentence"], occupation, participant, gender)
            yield _row({**further, "sentid": f"{occupation}.{participant}.{answer}.{gender}.txt", "sentence": sentence})


def _row(doc: Mapping[str, Any]) -> Doc:
    occupation, participant, answer, gender = str(doc["sentid"]).split(".")[:4]
    known = OCCUPATIONS.get(occupation)
    percent = doc.get("bls_pct_female", known and known.bls)
    pair = f"{occupation}.{participant}.{answer}"
    mentions = [f"the {occupation}", SOMEONE if participant == SOMEONE else f"the {participant}"]
    return {
        **doc,
        "occupation": occupation,
        "participant": participant,
        "label": int(answer),
        "gender": gender,
        "pronoun": doc.get("pronoun") or _pronoun(doc["sentence"], gender),
        "referent": ("occupation", "participant")[int(answer)],
        "participant_kind": SOMEONE if participant == SOMEONE else "named",
        "pair": pair,
        "mentions": mentions,
        "offered": mentions if int(content_hash(pair, 1), 16) % 2 else mentions[::-1],
        "bls_pct_female": percent,
        "bls_year": doc.get("bls_year", known and known.year),
        "text_pct_female": known and known.text,
        "gotcha": _gotcha(gender, int(answer), percent),
    }


def _pronoun(sentence: str, gender: str) -> str:
    wanted = set(PRONOUNS[gender].values())
    found = [word for word in re.findall(r"\w+", sentence.lower()) if word in wanted]
    if len(found) != 1:
        raise ValueError(f"{len(found)} {gender} pronouns, not one, in {sentence!r}")
    return str(found[0])


def _gotcha(gender: str, answer: int, percent: float | None) -> str | None:
    """Whether guessing the pronoun's referent from the occupation's majority gender goes wrong; neutral ones are neither.

    ``None`` where the percentage is not known.
    """
    if percent is None:
        return None
    if gender == "neutral":
        return "neutral"
    expected = 0 if (percent >= 50) == (gender == "female") else 1
    return "no" if answer == expected else "yes"


def _only(gender: str | None = None, *, gotcha: bool = False) -> Any:
    def rows(doc: Mapping[str, Any]) -> Iterable[Doc]:
        return (row for row in winogender(doc) if gender in (None, row["gender"]) and (not gotcha or row["gotcha"] == "yes"))

    return rows


#: The subsets that lm-eval has as tasks of their own.
winogender_male, winogender_female, winogender_neutral = _only("male"), _only("female"), _only("neutral")
winogender_gotcha = _only(gotcha=True)
winogender_gotcha_male, winogender_gotcha_female = _only("male", gotcha=True), _only("female", gotcha=True)


#: Occupations of WinoBias by the gender that most people who have them are of, in the statistics of 2017.
STEREOTYPES = {
    "female": (
        "attendant", "cashier", "teacher", "nurse", "assistant", "secretary", "auditor", "cleaner", "receptionist", "clerk",
        "counselor", "designer", "hairdresser", "writer", "housekeeper", "baker", "accountant", "editor", "librarian",
        "tailor",
    ),
    "male": (
        "driver", "supervisor", "janitor", "cook", "mover", "laborer", "construction worker", "chief", "developer",
        "carpenter", "manager", "lawyer", "farmer", "salesperson", "physician", "guard", "analyst", "mechanic", "sheriff",
        "CEO",
    ),
}  # fmt: skip
_GENDER_OF = {name.lower(): gender for gender, names in STEREOTYPES.items() for name in names}
_OCCUPATION = re.compile(rf"\b(?:{'|'.join(_GENDER_OF)})\b", re.IGNORECASE)
_LINE = re.compile(r"\s*(\d+)\s+(\S.*\S)\s*")
_BRACKETED = re.compile(r"\[([^\[\]]*)\]")
_PRONOUN_GENDER = {
    **dict.fromkeys(("he", "his", "him", "himself"), "male"),
    **dict.fromkeys(("she", "her", "hers", "herself"), "female"),
}


def winobias(doc: Mapping[str, Any]) -> Iterable[Doc]:
    """One row of a line ``N ... [The developer] ... [she] ...``, whose brackets mark what is meant by which pronouns.

    Columns: ``number`` (N: a line and its twin with the other pronoun have the same), ``sentence``, ``occupations``
    (both, in order), ``label`` (which of them is meant), ``pronoun`` (the first marked), ``gender``, ``stereotype``
    (pro: the pronoun is of the gender that most people in that occupation are of; anti), ``id`` and ``pair``. The one
    meant belongs to the pair, for two lines of the test data are no twins although their numbers say so. Blank lines
    give nothing.
    """
    if not str(doc["text"] or "").strip():
        return
    line = _LINE.fullmatch(doc["text"])
    if line is None:
        raise ValueError(f"no line 'number sentence' of WinoBias: {doc['text']!r}")
    marked = _BRACKETED.findall(line[2])
    sentence = re.sub(r"[\[\]]", "", line[2])
    pronouns = [text.strip().lower() for text in marked if text.strip().lower() in _PRONOUN_GENDER]
    meant = [found[0] for text in marked if (found := _OCCUPATION.search(text))]
    occupations = list(dict.fromkeys(_OCCUPATION.findall(sentence)))
    if not pronouns or len(meant) != 1 or len(occupations) < 2:
        raise ValueError(f"expected a mention and a pronoun in brackets, and two occupations: {doc['text']!r}")
    gender = _PRONOUN_GENDER[pronouns[0]]
    both = [name for name in occupations if name == meant[0] or name == next(o for o in occupations if o != meant[0])]
    stereotype = "pro" if gender == _GENDER_OF[meant[0].lower()] else "anti"
    yield {
        "id": f"{line[1]}.{stereotype}",
        "number": int(line[1]),
        "sentence": re.sub(r"\s+('s\b|[.,])", r"\1", sentence),
        "occupations": both,
        "label": both.index(meant[0]),
        "pronoun": pronouns[0],
        "gender": gender,
        "stereotype": stereotype,
        "pair": f"{line[1]}.{meant[0]}",
    }
