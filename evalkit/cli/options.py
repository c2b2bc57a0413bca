"""Options that several commands share. Every one has a twin in the environment: EVALKIT_ and its name."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def option(names: str, text: str, **more: Any) -> Any:
    """An option by its names (``--long -s``, or ``--yes/--no``) with its twin in the environment."""
    words = names.split()
    twin = more.pop("envvar", None) or "EVALKIT_" + words[0].split("/")[0].lstrip("-").replace("-", "_").upper()
    return typer.Option(*words, envvar=twin, show_envvar=False, help=text, **more)


Tasks = Annotated[list[str] | None, option("--tasks -t", "Tasks, groups, tags, patterns or YAML files: a,b,c.")]
Model = Annotated[str | None, option("--model -m", "provider/name (evalkit ls models lists them).")]
ModelArg = Annotated[list[str] | None, option("--model-arg -M", "A model's own option: key=value.")]
ModelGlob = Annotated[
    str | None,
    option("--model-glob", "A series of checkpoints instead of one model: [provider/]glob, quoted. [default provider: hf]"),
]
Margin = Annotated[
    str | None, option("--margin", "What a drop must exceed to count as a regression of the series. [default: 1pp]")
]
TaskDir = Annotated[list[str] | None, option("--task-dir", "A folder of task files, lm-eval's own too.")]
Data = Annotated[list[str] | None, option("--data", "A local copy of a task's data: TASK=PATH.")]
NumFewshot = Annotated[int | None, option("--num-fewshot -f", "Examples in the prompt. [default: the task's]")]
Limit = Annotated[str | None, option("--limit -L", "The first N samples of each task, or a share below 1.")]
Samples = Annotated[str | None, option("--samples", 'Ids or positions, as JSON or a JSON file: {"task": [0, 7]}.')]
Seed = Annotated[int | None, option("--seed", "Of few-shot draws and sampling. [default: 1234]")]
BatchSize = Annotated[str | None, option("--batch-size -b", "auto, or at most N sequences in flight. [default: auto]")]
ChatTemplate = Annotated[
    bool | None,
    option("--apply-chat-template/--no-apply-chat-template", "Render prompts with the model's chat template."),
]
SystemInstruction = Annotated[str | None, option("--system-instruction", "A system message, or the start of every prompt.")]
Multiturn = Annotated[
    bool | None,
    option(
        "--fewshot-as-multiturn/--no-fewshot-as-multiturn",
        "Few-shot examples as turns of the chat. [default: with a chat template]",
    ),
]
GenKwargs = Annotated[list[str] | None, option("--gen-kwargs", "Generation settings over the task's: key=value,...")]
Compat = Annotated[str | None, option("--compat", "lm-eval: draw few-shot examples exactly as it does.")]
Form = Annotated[
    str | None,
    option("--form", "How choices are asked for: auto, loglikelihood, letter or letter-logprobs. [default: auto]"),
]
AllowCode = Annotated[bool | None, option("--allow-code/--no-allow-code", "Run Python functions of task folders.")]
TrustRemoteCode = Annotated[
    bool | None, option("--trust-remote-code/--no-trust-remote-code", "Run Python code that comes with a model.")
]
Device = Annotated[str | None, option("--device", "cpu, cuda, cuda:1, ... [default: the best there is]")]
Engine = Annotated[
    str | None,
    option("--engine", "How a local model computes: auto, prefix (shared beginnings once) or plain. [default: auto]"),
]
AttnImplementation = Annotated[
    str | None, option("--attn-implementation", "A local model's attention: eager, sdpa, flash_attention_2, ...")
]
Threads = Annotated[int | None, option("--threads", "CPU threads of a local model. [default: torch's]")]
MaxConnections = Annotated[
    int | None, option("--max-connections", "Requests in flight to a remote model at most. [default: 64]")
]
MaxRetries = Annotated[int | None, option("--max-retries", "Retries of a request to a remote model.")]
Timeout = Annotated[float | None, option("--timeout", "Seconds for a request to a remote model, retries included.")]
Rpm = Annotated[int | None, option("--rpm", "Requests a minute to a remote model at most.")]
Tpm = Annotated[int | None, option("--tpm", "Tokens a minute to a remote model at most.")]
BatchApi = Annotated[
    bool | None, option("--batch-api/--no-batch-api", "Ask through the provider's batch API: half the price, hours later.")
]
Role = Annotated[list[str] | None, option("--role", "A model that scorers ask: judge=provider/name,option=value.")]
Scorers = Annotated[list[str] | None, option("--scorers", "Further scorers: name or name:param=value,... (repeat it).")]
OutputDir = Annotated[str | None, option("--output-dir", "Where runs go. [default: runs]")]
Name = Annotated[str | None, option("--name", "A name for the run. [default: model and tasks]")]
MaxErrorRate = Annotated[
    float | None, option("--max-error-rate", "Share of failures above which a run is incomplete. [default: 0.05]")
]
RetryErrors = Annotated[bool | None, option("--retry-errors/--no-retry-errors", "Ask again what failed for good, too.")]
MaxCost = Annotated[
    float | None, option("--max-cost", "US dollars that the whole run may spend; then it stops and can be resumed.")
]
MaxTokensTotal = Annotated[
    int | None, option("--max-tokens-total", "Tokens, prompts and answers of all models, that the whole run may spend.")
]
Price = Annotated[
    list[str] | None, option("--price", "USD per 1M tokens: in=2.5,out=10[,cached=1.25][,reasoning=10], or judge:in=...")
]
Prices = Annotated[str | None, option("--prices", "A YAML file of prices; ~/.config/evalkit/prices.yaml is looked at, too.")]
Cache = Annotated[
    bool | None,
    # EVALKIT_CACHE is the folder of everything that evalkit caches
    option("--cache/--no-cache", "Take answers from other runs, and keep them for others.", envvar="EVALKIT_RESPONSE_CACHE"),
]
CacheDir = Annotated[str | None, option("--cache-dir", "As --cache, in this folder.")]
Resume = Annotated[str | None, option("--resume", "Go on with this run.", metavar="RUN")]
New = Annotated[bool, option("--new", "Start a new run, never resume.")]
DryRun = Annotated[bool, option("--dry-run", "Count requests and tokens; ask nothing.")]
Sample = Annotated[str | None, option("--sample", "A sample's id, or its position in the data.")]
Task = Annotated[str | None, option("--task", "Only this task.")]
MaxSamples = Annotated[int, option("--max-samples", "Samples inside report.html.", min=0)]
Json = Annotated[bool, option("--json", "One JSON document on stdout instead of a table.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run: directory, (part of its) name, or latest.")]
