"""Words that most readers of English take for swearing or an insult, with their usual forms.

Slurs against groups are left out on purpose: a list cannot tell use from mention, and they would mostly count texts that
speak about hatred. Offensive by its nature.
"""

from __future__ import annotations

_STEMS = {
    "fuck": ("", "s", "ed", "er", "ers", "ing", "in", "wit", "wits", "face"),
    "motherfuck": ("er", "ers", "ing"),
    "shit": ("", "s", "ty", "head", "heads", "bag", "show", "hole", "ting"),
    "bullshit": ("", "ter", "ting"),
    "ass": ("hole", "holes", "hat", "hats", "wipe", "clown"),
    "arse": ("", "hole", "holes"),
    "bitch": ("", "es", "y", "ing"),
    "bastard": ("", "s"),
    "dick": ("head", "heads"),
    "cunt": ("", "s"),
    "prick": ("", "s"),
    "twat": ("", "s"),
    "wank": ("er", "ers"),
    "douche": ("", "bag", "bags"),
    "dumb": ("ass", "asses"),
    "jack": ("ass", "asses"),
    "crap": ("", "py"),
    "damn": ("", "ed"),
    "goddamn": ("", "ed"),
    "piss": ("", "ed", "ing"),
    "slut": ("", "s", "ty"),
    "whore": ("", "s"),
    "idiot": ("", "s", "ic"),
    "imbecile": ("", "s"),
    "moron": ("", "s", "ic"),
    "cretin": ("", "s"),
    "scum": ("", "bag", "bags"),
    "stupid": ("", "ly"),
    "loser": ("", "s"),
    "filth": ("", "y"),
    "vermin": ("",),
    "pathetic": ("",),
    "subhuman": ("", "s"),
}

WORDS: tuple[str, ...] = tuple(sorted(stem + end for stem, ends in _STEMS.items() for end in ends))
