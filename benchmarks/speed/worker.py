"""One measured process: it loads the model, then answers all requests with evalkit or with lm-eval, timing only that.

    python worker.py SIDE JOB

``JOB`` is a JSON file: ``folder`` (the checkpoint), ``device``, ``dtype``, ``batch`` (lm-eval's), ``requests`` (a list of
a sample's requests) and, for ``tune``, ``batches`` to try on them. Prints one JSON line. Only the standard library is
imported at the top: lm-eval's environment has no evalkit.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import floor

Job = dict[str, Any]


def _clocked(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What ``call`` returns, its seconds and its CPU seconds."""
    begun, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - begun, time.process_time() - cpu


def _flat(job: Job) -> list[dict[str, Any]]:
    return [request for sample in job["requests"] for request in sample]


def run_evalkit(job: Job, engine: str = "auto") -> Job:
    """Log-likelihoods as [sum, greedy], texts as [text, number of tokens]."""
    from evalkit.models.base import ModelOptions
    from evalkit.models.registry import load_model
    from evalkit.types import Request

    args = {"dtype": job["dtype"], "engine": engine}
    model = load_model(f"hf/{job['folder']}", ModelOptions(args=args, device=job["device"]))
    left = [
        Request("generate" if request["params"] else "loglikelihood", request["prompt"], request["rest"], request["params"])
        for request in _flat(job)
    ]
    left = [Request(q.kind, q.prompt, q.continuation, q.params, key=str(at)) for at, q in enumerate(left)]
    results: list[Any] = [None] * len(left)

    class Source:
        def take(self, limit: int) -> list[Request]:
            head = left[:limit]
            del left[:limit]
            return head

    def sink(response: Any) -> None:
        if response.error:
            raise SystemExit(f"request {response.key}: {response.error}")
        scored = response.text is None
        pair = [response.logprob, response.is_greedy] if scored else [response.text, response.tokens]
        results[int(response.key)] = pair

    _, seconds, cpu = _clocked(lambda: model.run(Source(), sink, threading.Event()))
    return {"seconds": seconds, "cpu": cpu, "results": results}


def _lm_eval_model(job: Job, batch: int) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=job["folder"], dtype=job["dtype"], batch_size=batch, device=job["device"])


def _lm_eval_ask(model: Any, requests: list[dict[str, Any]]) -> Any:
    from lm_eval.api.instance import Instance

    if requests[0]["params"]:
        asked = [Instance("generate_until", {}, (q["prompt"], q["params"]), at) for at, q in enumerate(requests)]
        return [[text, None] for text in model.generate_until(asked, disable_tqdm=True)]
    asked = [Instance("loglikelihood", {}, (q["prompt"], q["rest"]), at) for at, q in enumerate(requests)]
    return [[float(total), bool(greedy)] for total, greedy in model.loglikelihood(asked, disable_tqdm=True)]


def run_lm_eval(job: Job) -> Job:
    model = _lm_eval_model(job, job["batch"])
    results, seconds, cpu = _clocked(lambda: _lm_eval_ask(model, _flat(job)))
    return {"seconds": seconds, "cpu": cpu, "results": results}


def tune_lm_eval(job: Job) -> Job:
    """Seconds by batch size, after a first pass that is not timed."""
    model = _lm_eval_model(job, job["batches"][0])
    _lm_eval_ask(model, _flat(job)[:2])
    times = {}
    for batch in job["batches"]:
        model.batch_size_per_gpu = batch
        _, times[str(batch)], _ = _clocked(lambda: _lm_eval_ask(model, _flat(job)))
    return {"times": times}


def _requests(job: Job) -> Job:
    from workloads import requests

    return {"requests": requests(job)}


def main() -> None:
    side, path = sys.argv[1:]
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    sides: dict[str, Callable[[Job], Job]] = {
        "evalkit": run_evalkit,
        "plain": lambda job: run_evalkit(job, "plain"),
        "lm-eval": run_lm_eval,
        "tune": tune_lm_eval,
        "rates": floor.rates,
        "counts": floor.counts,
        "requests": _requests,
    }
    print(json.dumps(sides[side](job)))


if __name__ == "__main__":
    main()
