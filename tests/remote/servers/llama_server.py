"""llama.cpp's own OpenAI-compatible server over a GGUF file, as a process: ``python llama_server.py MODEL.gguf [THREADS]``.

Prints its base URL once the model is loaded, then serves until it is killed.
"""

from __future__ import annotations

import signal
import socket
import sys


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.hostnames, params.port = ["127.0.0.1"], free_port()
    params.n_parallel, params.n_ctx = 4, 8192
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    params.warmup = False
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}/v1\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
