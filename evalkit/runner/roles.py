"""What a scorer may know of the models that answer it, from the models and from a run's memory of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evalkit.models.base import ConnectingModel, Model
from evalkit.scorers.base import RoleInfo
from evalkit.types import Json

#: A word in a model's name -> whose family it is of.
_FAMILIES: Mapping[str, str] = {
    "gpt": "gpt", "o1": "gpt", "o3": "gpt", "o4": "gpt", "chatgpt": "gpt", "davinci": "gpt",
    "claude": "claude", "gemini": "gemini", "gemma": "gemini", "palm": "gemini",
    "llama": "llama", "vicuna": "llama", "alpaca": "llama", "tulu": "llama",
    "mistral": "mistral", "mixtral": "mistral", "ministral": "mistral", "codestral": "mistral",
    "qwen": "qwen", "qwq": "qwen", "deepseek": "deepseek", "phi": "phi", "smollm": "smollm", "olmo": "olmo",
    "falcon": "falcon", "command": "command", "aya": "command", "grok": "grok", "yi": "yi", "glm": "glm", "chatglm": "glm",
    "kimi": "kimi", "granite": "granite", "nemotron": "nemotron", "mpt": "mpt", "bloom": "bloom", "pythia": "pythia",
}  # fmt: skip


def family(name: str) -> str | None:
    """Whose model this is, as far as its name tells."""
    words = re.findall(r"[a-z]+\d*", name.lower().rpartition("/")[2])
    for word in words:
        found = _FAMILIES.get(word) or _FAMILIES.get(word.rstrip("0123456789"))
        if found:
            return found
    return None


def role_info(role: str, model: Model) -> RoleInfo:
    """Of a model that is loaded."""
    able = model.capabilities
    kinds = able.kinds
    if able.chat and isinstance(model, ConnectingModel):
        kinds = kinds & {"generate"}  # its chat template is on the other side, where no given text is scored in it
    return RoleInfo(role, model.name, model.fingerprint, kinds, able.chat, family(model.name))


def role_infos(models: Mapping[str, Model]) -> dict[str, RoleInfo]:
    """Of models by role."""
    return {role: role_info(role, model) for role, model in models.items()}


def public(info: RoleInfo) -> dict[str, Json]:
    """For the manifest."""
    return {"name": info.name, "fingerprint": info.fingerprint, "kinds": sorted(info.kinds), "chat": info.chat}


def remembered(manifest: Mapping[str, Any]) -> dict[str, RoleInfo]:
    """All models of a stored run by role, the one under test as ``model`` (which alone is known of older runs)."""
    name = str(manifest.get("model", {}).get("name"))
    known = {"model": {"name": name, "fingerprint": manifest["fingerprints"].get("model", ""), "kinds": [], "chat": False}}
    known |= manifest.get("roles", {})
    return {
        role: RoleInfo(role, item["name"], item["fingerprint"], frozenset(item["kinds"]), item["chat"], family(item["name"]))
        for role, item in known.items()
    }
