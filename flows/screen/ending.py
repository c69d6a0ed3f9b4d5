"""How a command ends: the exit code, one message for people, and the traceback in a file of its own."""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from flows.screen.hints import as_typed
from models.errors import InterruptedRunError, NestorError
from models.text.address import mask_address
from models.text.safe import shorten, to_printable
from tasks.system import private
from tasks.system.disk import is_full, make_full_disk_error
from tasks.system.secret_addresses import SafeLogFormatter, hide_passwords

LOGS = Path("mlruns/logs")


def report_error(error: BaseException) -> int:
    """The exit code of a command that this error ended; the user is told in a few lines."""
    if isinstance(error, NestorError):
        write_message(f"{'Interrupted' if isinstance(error, InterruptedRunError) else 'Error'}: {error}")
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        write_message("Interrupted.")
        return InterruptedRunError.exit_code
    if isinstance(error, OSError) and error.filename is None and (code := flush_output("\n")):
        return code
    if is_full(error):
        write_message(f"Error: {make_full_disk_error(error)}")
        return NestorError.exit_code
    path = keep_traceback(error)
    write_message(
        f"Error: {type(error).__name__}: {shorten(hide_passwords(str(error)), 300)}\n"
        "Nestor did not expect this. "
        + (f"The whole story is in {path}: " if path else "")
        + "please report it. What is finished is kept; --resume goes on."
    )
    return NestorError.exit_code


def keep_traceback(error: BaseException) -> Path | None:
    """The file that now has the error's traceback; None where none can be written."""
    path = _locate_log()
    try:
        private.make_private_folder(path.parent)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{time.strftime('%F %T')} {_mask_command(sys.argv)}\n")
            file.write(hide_passwords("".join(traceback.format_exception(error))))
    except OSError:
        return None
    return path


@cache
def _locate_log() -> Path:
    """This process's log."""
    return (LOGS / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log").absolute()


def log_to_file() -> None:
    """From now on what libraries log goes to a file, or nowhere in a folder where none may be written; on the screen it
    would tear the display apart."""
    with suppress(OSError):
        private.make_private_folder(LOGS)
    logging.getLogger().handlers = [_make_handler() if os.access(LOGS, os.W_OK) else logging.NullHandler()]
    logging.captureWarnings(True)


@cache
def _make_handler() -> logging.Handler:
    handler = logging.FileHandler(_locate_log(), delay=True, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(SafeLogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return handler


def make_resume_command(arguments: list[str]) -> str:
    """The command that goes on with an interrupted one."""
    words, skip = [], False
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        if skip:
            skip = False
        elif argument == "--resume":
            skip = not following
        elif not argument.startswith("--resume="):
            words.append(argument)
    return "nestor " + _mask_command([*words, "--resume"])


def _mask_command(arguments: list[str]) -> str:
    """A command line without passwords."""
    return hide_passwords(shlex.join(map(mask_address, arguments)))


def fill_resume_value(arguments: list[str]) -> list[str]:
    """The arguments with an empty value put after a bare `--resume`: what follows it is its RUN only where it looks
    like a run's folder or id, and is no file."""
    words = []
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        words.append(argument)
        if argument == "--resume" and (not following or _is_no_run(following)):
            words.append("")
    return words


def _is_no_run(text: str) -> bool:
    # Tables have a dot, a slash, a colon or a percent sign in them; folders of runs and MLflow's ids never do.
    return not re.fullmatch(r"\w[\w-]*", text) or Path(text).is_file()


def write_message(text: str) -> None:
    """Writes to standard error, whatever its encoding, and nothing that a terminal obeys; to nobody where it can't be
    written."""
    text = to_printable(text)
    encoding = sys.stderr.encoding or "utf-8"
    with suppress(OSError):
        print(as_typed(text).encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr, flush=True)


def flush_output(text: str = "") -> int:
    """0 once standard output has taken everything, and this text; else the exit code, and who reads errors is told."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
        return 0
    except OSError as error:
        # What is left would be tried again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # who reads has read enough, such as `| head`
            write_message(f"Error: the result can't be written to standard output: {error.strerror}.")
        return NestorError.exit_code


@contextmanager
def allow_interrupt(sentence: str = "") -> Iterator[None]:
    """Lets Ctrl-C, and a polite kill, end the command with a sentence: `sentence`, else how to resume it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError(
            sentence or f"What is finished is kept; go on with\n  {make_resume_command(sys.argv[1:])}"
        ) from None
