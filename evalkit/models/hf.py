"""Decoder-only models through transformers: requests to token jobs, the engine's results to responses."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any

from evalkit.digest import module_checksum, module_digest, tokenizer_digest
from evalkit.engine.base import Engine, build_engine
from evalkit.errors import ModelError
from evalkit.models.ahead import Ahead, Halted, HaltedError
from evalkit.models.answer import Answerer, Ask
from evalkit.models.base import Capabilities, ModelOptions, Sink, Source, TokenSplit
from evalkit.models.chat import ChatTemplate
from evalkit.models.hf_load import Loaded, load_checkpoint, load_tokenizer
from evalkit.models.provider import Arg, Provider, flag, mapping, one_of, parse_args, positive, whole
from evalkit.models.settings import max_tokens_of
from evalkit.models.tokens import Tokens, resolve_max_length
from evalkit.quiet import quiet
from evalkit.types import Failure, Json, Message, Prompt, Request, RequestKind, Response, content_hash

#: Requests taken at a time: what an engine can sort, and share prefixes within.
WAVE = 8192

#: ``-M`` options about prompts, for every way a model is loaded.
PROMPT_ARGS = (
    Arg("max_length", "window in tokens (default: the model's own)", positive),
    Arg("add_bos_token", "whether texts begin with BOS (default: the tokenizer's way)", flag),
    Arg("prefix_token_id", "token that stands in for an empty context (default: BOS, else EOS)", whole),
    Arg("chat_template", "file with a chat template, or the name of one of the model's"),
    Arg("chat_template_args", "JSON object of variables for the chat template", mapping, {}),
    Arg("enable_thinking", "the chat template's enable_thinking; needs think_end_token", flag),
    Arg("think_end_token", "text or id that ends the reasoning; the answer is what follows"),
    Arg(
        "engine",
        "prefix computes shared beginnings once, plain never does, auto is prefix where the model allows it",
        one_of("auto", "prefix", "plain"),
        "auto",
    ),
    Arg("threads", "CPU threads while the model answers (default: torch's)", positive),
)
ARGS = (
    Arg(
        "dtype",
        "weights as float32, bfloat16, float16, or auto as saved",
        one_of("auto", "float32", "bfloat16", "float16"),
        "auto",
    ),
    Arg("device", "cpu, cuda, cuda:1, ... (default: the first GPU, else cpu)"),
    Arg("device_map", "spread the model over devices: auto, balanced, ..."),
    Arg("revision", "branch, tag or commit on the hub"),
    Arg("subfolder", "folder inside the repository"),
    Arg("tokenizer", "another tokenizer: folder or hub id"),
    Arg("peft", "adapter to put on top (LoRA, ...): folder or hub id"),
    Arg("gguf_file", "GGUF file inside the folder or repository"),
    Arg("attn_implementation", "eager, sdpa, flash_attention_2, ..."),
    Arg("compile", "torch.compile the model; shared beginnings are then computed anew each time", flag, False),
    *PROMPT_ARGS,
)


class HFModel:
    """A loaded transformers model that answers all kinds of requests.

    Contexts are truncated from the left to the model's window, and counted in the responses. ``engine`` does the
    inference; without one it is what ``-M engine=`` names.
    """

    def __init__(
        self, name: str, loaded: Loaded, args: Mapping[str, Any], batch_size: int | None = None, engine: Engine | None = None
    ) -> None:
        self.name = name
        self._loaded = loaded
        self._args = args
        variables = dict(args["chat_template_args"])
        if args["enable_thinking"] is not None:
            variables["enable_thinking"] = args["enable_thinking"]
        self._chat = ChatTemplate(loaded.tokenizer, args["chat_template"], variables)
        limit = args["max_length"] or resolve_max_length(getattr(loaded.module, "config", None), loaded.tokenizer)
        self._tokens = Tokens(loaded.tokenizer, limit, args["add_bos_token"], args["prefix_token_id"])
        self._engine = engine or _engine(loaded, args, batch_size)
        self._answerer = Answerer(self._tokens, self._engine, _think_end(args))

    @property
    def capabilities(self) -> Capabilities:
        kinds: set[RequestKind] = {"loglikelihood", "loglikelihood_rolling"}
        if hasattr(self._loaded.module, "generate"):
            kinds.add("generate")
        return Capabilities(kinds=frozenset(kinds), chat=self._chat.known, max_length=self._tokens.max_length)

    @property
    def fingerprint(self) -> str:
        think, bos = self._args["think_end_token"], self._args["add_bos_token"]
        window = [self._tokens.max_length, bos, self._tokens.prefix_id, think]
        parts = [self._loaded.weights(), self._dtype(), self._tokenizer_digest, self._chat.digest, window]
        return content_hash(["hf", *parts])

    @cached_property
    def _tokenizer_digest(self) -> str:
        """Asked for by every task, and not free: it writes out the whole vocabulary."""
        return tokenizer_digest(self._loaded.tokenizer)

    def describe(self) -> Mapping[str, Json]:
        import torch
        import transformers

        module, tokenizer = self._loaded.module, self._loaded.tokenizer
        return {
            "provider": "hf",
            **self._loaded.facts,
            "class": type(module).__name__,
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
            "dtype": self._dtype(),
            "device": str(self._loaded.device),
            "attn_implementation": getattr(getattr(module, "config", None), "_attn_implementation", None),
            "threads": self._args["threads"] or torch.get_num_threads(),
            **_engine_facts(self._engine),
            "max_length": self._tokens.max_length,
            "add_bos_token": self._args["add_bos_token"],
            "prefix_token_id": self._tokens.prefix_id,
            "tokenizer": type(tokenizer).__name__,
            "vocabulary": len(tokenizer),
            "chat_template": self._chat.digest,
            "system_messages_dropped": self._chat.dropped,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def render_chat(self, messages: Sequence[Message], *, continue_final: bool) -> str:
        return self._chat.render(messages, continue_final=continue_final)

    def count_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        return [len(ids) for ids in self._tokens.prompts([self._text(prompt) for prompt in prompts])]

    def split(self, request: Request) -> TokenSplit:
        text = self._text(request.prompt)
        if request.kind == "generate":
            ids, excess, _ = self._answerer.room(self._tokens.prompts([text])[0], max_tokens_of(request.params))
            return TokenSplit(self._tokens.texts_of(ids), (), excess)
        if request.kind == "loglikelihood":
            cut = self._tokens.pairs([(text, request.continuation)])[0]
            return TokenSplit(self._tokens.texts_of(cut.context), self._tokens.texts_of(cut.continuation), cut.truncated)
        cuts = self._tokens.windows([text + request.continuation])[0]
        scored = [token for cut in cuts for token in cut.continuation]
        return TokenSplit(self._tokens.texts_of([self._tokens.prefix_id]), self._tokens.texts_of(scored))

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        """One wave is tokenised while the engine works on the one before it, where that leaves processors idle."""
        overlap = overlaps(self._loaded.device)
        with quiet(), _threads(self._args["threads"]), Ahead[list[Ask]](stop, background=overlap) as ahead:
            self._take(source, sink, ahead)
            while not stop.is_set():
                try:
                    asks = ahead.take()
                except HaltedError:
                    return
                if asks is None:
                    return
                self._take(source, sink, ahead)
                for ask in asks:
                    ask(sink, stop)

    def _take(self, source: Source, sink: Sink, ahead: Ahead[list[Ask]]) -> None:
        """Render the next wave, if there is one, and have it tokenised."""
        wave = source.take(WAVE)
        if not wave:
            return
        able = self.capabilities.kinds
        kinds: dict[RequestKind, list[tuple[Request, str]]] = {}
        for request in wave:
            text = self._ready(request, able)
            if isinstance(text, Failure):
                sink(Response(request.key, error=text))
            else:
                kinds.setdefault(request.kind, []).append((request, text))

        def tokenise(halted: Halted) -> list[Ask]:
            return [self._answerer.ready(kind, asked, halted) for kind, asked in kinds.items()]

        ahead.start(tokenise)

    def _ready(self, request: Request, able: frozenset[RequestKind]) -> str | Failure:
        """The prompt as text, or why this request cannot be asked."""
        if request.kind not in able:
            return Failure("unsupported", f"{self.name} cannot answer {request.kind} requests")
        try:
            text = self._text(request.prompt)
            (text + request.continuation).encode("utf-8")
        except ModelError as error:
            if not self._chat.known:
                raise
            return Failure("chat-template", str(error))
        except UnicodeEncodeError as error:
            return Failure("bad-text", f"the prompt is not valid Unicode: {error}")
        return text

    def _text(self, prompt: Prompt) -> str:
        if isinstance(prompt, str):
            return prompt
        return self.render_chat(prompt, continue_final=bool(prompt) and prompt[-1].role == "assistant")

    def _dtype(self) -> str:
        return str(next(self._loaded.module.parameters()).dtype).removeprefix("torch.")


def from_torch(
    module: Any, tokenizer: Any = None, *, name: str | None = None, options: ModelOptions | None = None
) -> HFModel:
    """A model that is already in memory, for instance in the middle of its training.

    It is neither moved nor changed: it is in eval mode, without gradients, only while it answers, and every submodule gets
    its own mode back. ``tokenizer`` may be left out where the model's ``name_or_path`` has one. A plain torch module from
    token ids (batch, length) to logits (batch, length, vocabulary) can be scored but not generate. ``options.args`` are
    those of `PROMPT_ARGS`. The fingerprint follows the weights as they are at that moment. Raises ModelError.
    """
    options = options or ModelOptions()
    if not hasattr(module, "config") and hasattr(module, "module"):
        module = module.module  # DataParallel and its relatives
    source = str(getattr(module, "name_or_path", "") or "")
    if tokenizer is None:
        if not source:
            raise ModelError("a model in memory needs its tokenizer: pass the pair (model, tokenizer)")
        tokenizer = load_tokenizer(source)
    title = name or f"memory/{type(module).__name__}"
    args = parse_args(options.args, PROMPT_ARGS, title, options.flags)

    @lru_cache(maxsize=1)
    def digest(_: object) -> str:
        return module_digest(module)

    device = next(module.parameters()).device
    loaded = Loaded(module, tokenizer, device, lambda: digest(module_checksum(module)), {"source": source or "memory"})
    return HFModel(title, loaded, args, options.batch_size)


def build(name: str, args: Mapping[str, Any], options: ModelOptions) -> HFModel:
    """Load ``hf/<name>``."""
    return HFModel(f"hf/{name}", load_checkpoint(name, args, options), args, options.batch_size)


PROVIDER = Provider("hf", "decoder-only models through transformers, by folder, .gguf file or hub id", build, ARGS)


def _think_end(args: Mapping[str, Any]) -> str | int | None:
    end: str | None = args["think_end_token"]
    if args["enable_thinking"] and end is None:
        raise ModelError("-M enable_thinking=true needs -M think_end_token= (the text or id after which the answer begins)")
    return int(end) if end is not None and end.isdigit() else end


def _engine(loaded: Loaded, args: Mapping[str, Any], batch_size: int | None) -> Engine:
    kind, compiled = args["engine"], bool(args.get("compile"))
    if compiled and kind == "prefix":
        raise ModelError("-M compile=true: a compiled model cannot share beginnings; leave out one of it and engine=prefix")
    return build_engine(kind, loaded.module, loaded.tokenizer, loaded.device, batch_size, compiled=compiled)


def _engine_facts(engine: Engine) -> dict[str, Json]:
    """What is known: `auto` decides when it is first used."""
    return {} if engine.kind == "undecided" else {"engine": engine.kind, "engine_reason": engine.reason}


def overlaps(device: Any) -> bool:
    """Whether tokenising costs the engine nothing: on a CPU both want the same cores, and torch's threads wait in turns."""
    return bool(device.type != "cpu")


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """While it lasts, torch computes with ``count`` CPU threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
