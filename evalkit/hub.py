"""Whether the Hugging Face hub can be reached, found out before libraries ask it again and again for half a minute."""

from __future__ import annotations

#: How long the hub is waited for before it counts as out of reach.
SECONDS = 10.0


def out_of_reach() -> str | None:
    """Why the hub cannot be asked, in one line; ``None`` where it answers, whatever it answers. One request, no retry.

    huggingface_hub must be installed.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE forbids it"
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception as error:  # whatever the HTTP client of the day raises for a network that is not there
        return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:100]
    return None
