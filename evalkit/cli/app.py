"""The ``evalkit`` command: its commands, and what becomes of every error.

``evalkit --help`` must not wait for heavy imports, so the command modules import what they need inside their bodies.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from evalkit import secrets
from evalkit.cli import (
    baseline,
    cache,
    classifier,
    compare,
    gate,
    human,
    import_run,
    judge,
    ls,
    metrics,
    report,
    rescore,
    run,
    score,
    show,
    validate,
)
from evalkit.errors import EvalkitError, Interrupted

INTERNAL, INTERRUPTED, PIPE = 70, 130, 141

#: Errors of the file system that the user can mend: full, read-only, not allowed, over quota, too large.
_MENDABLE = {errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.EFBIG}

app = typer.Typer(
    name="evalkit",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
app.command("run")(run.run)
app.command("score")(score.score)
app.command("compare")(compare.compare)
app.command("import")(import_run.import_run)
app.command("ls")(ls.ls)
app.command("validate")(validate.validate)
app.command("show")(show.show)
app.command("rescore")(rescore.rescore)
app.command("report")(report.report)
app.command("gate")(gate.gate)
app.command("cache")(cache.cache)
app.add_typer(baseline.app, name="baseline")
app.add_typer(metrics.app, name="metrics")
app.add_typer(judge.app, name="judge")
app.add_typer(classifier.app, name="classifier")
app.add_typer(human.app, name="human")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"evalkit {version('evalkit')}")
        raise typer.Exit


@app.callback()
def evalkit(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Evaluate language models: right numbers, with error bars, fast, and nothing ever lost.

    Exit codes: 0 done (a gate: PASS), 1 FAIL, 2 bad input, 3 INCONCLUSIVE, 4 runs that cannot be compared or gated,
    5 incomplete (run the same command again to resume), 70 internal error, 130 interrupted. Every option can come
    from the environment, as EVALKIT_ and its name.
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # model text may hold characters that the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    # A process that ends looks for garbage among the objects of all modules first, for a tenth of a second.
    atexit.register(gc.freeze)
    # Libraries read these when they are imported. What keeps a hub from answering is told once, as our error.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    arguments = list(sys.argv[1:] if argv is None else argv)
    with secrets.scrubbed_output():
        secrets.protect(secrets.secret_values(arguments))
        code = _guarded(arguments)
    sys.exit(code)


def _guarded(arguments: list[str]) -> int:
    """The exit code of a command; every error becomes one line here."""
    try:
        code = app(arguments, prog_name="evalkit", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return _closed_pipe()
    except SystemExit as stop:  # the command parser turns a closed pipe into exit 1, which means FAIL
        if isinstance(stop.__context__, BrokenPipeError):
            return _closed_pipe()
        return stop.code if isinstance(stop.code, int) else 1
    except (KeyboardInterrupt, typer.Abort):
        return _fail(Interrupted.exit_code, _INTERRUPTED)
    except EvalkitError as error:
        return _fail(error.exit_code, str(error))
    except typer.TyperException as error:
        if error.format_message().startswith("Usage:"):  # a command without its words: the whole help, as it is
            print(error.format_message(), file=sys.stderr)
            return error.exit_code
        message = error.format_message().rstrip(".").replace("Value error, ", "").replace("Input should be", "expected")
        return _fail(error.exit_code, f"{message}; evalkit --help tells more")
    except OSError as error:
        return _fail(2, _disk(error)) if error.errno in _MENDABLE else _internal(error)
    except Exception as error:
        return _internal(error)
    if code == INTERRUPTED:
        return _fail(code, _INTERRUPTED)
    return int(code or 0)


_INTERRUPTED = "interrupted; whatever was answered is kept, run the same command again to resume"


def _fail(code: int, message: str) -> int:
    line = secrets.scrub_message(" ".join(message.split("\n")) if code != INTERNAL else message)
    print(f"evalkit: {'' if code in (5, INTERRUPTED) else 'error: '}{line}", file=sys.stderr)
    return code


def _disk(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    return f"cannot write or read{where}: {error.strerror}; make room or mend the permissions, then run the same again"


def _internal(error: Exception) -> int:
    """A fault of evalkit itself: one line, and the traceback in a file (or on the screen with EVALKIT_DEBUG=1)."""
    import tempfile
    import traceback

    text = secrets.scrub_message("".join(traceback.format_exception(error)))
    if os.environ.get("EVALKIT_DEBUG"):
        print(text, file=sys.stderr, end="")
        where = "above"
    else:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="backslashreplace", prefix="evalkit-", suffix=".traceback.txt", delete=False
        ) as file:
            file.write(text)
        where = f"in {file.name}"
    summary = " ".join(str(error).split()) or "no message"
    return _fail(INTERNAL, f"internal error, {type(error).__name__}: {summary} (traceback {where})")


def _closed_pipe() -> int:
    """Whoever read our output has left (``| head``): say nothing, and keep Python from complaining at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE
