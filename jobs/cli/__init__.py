"""The command line, `gridline` or `python -m jobs`: thin verbs, which import heavy packages only when needed.

In: the arguments of a verb.
Out: text or one JSON document, and an exit code.
Imported by: jobs/__main__.py.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer

from handler.errors import GridlineError
from jobs.cli import deployment, keys, models, prediction, runs, serving, training, upkeep
from jobs.cli.log import end_log
from jobs.cli.output import report_error, report_errors
from jobs.errors import INTERRUPTED, DatasetsError
from model_store.objects.retry import stop_retrying


def _print_version(wanted: bool | None) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"gridline {version('gridline')}")
        raise typer.Exit


app = typer.Typer(
    name="gridline",
    help="Train a linear regression for every dataset and every learning rate of a grid, store the best, serve it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def program(
    version: Annotated[
        bool | None, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = None,
) -> None:
    """Train a linear regression for every dataset and every learning rate of a grid, store the best, serve it."""


for verb in (
    *(training.plan, training.train, training.schema, upkeep.gc),
    *(serving.package, serving.serve, prediction.predict, deployment.deploy, deployment.undeploy),
):
    app.command()(verb)
app.add_typer(models.models, name="models")
app.add_typer(runs.runs, name="runs")
app.add_typer(keys.keys, name="keys")
LEFT = {  # by verb: what an interruption leaves
    "train": ": finished blocks are stored; run again to continue",
    "deploy": ": a canary is taken off, and one version serves; 'gridline deploy --status' shows which",
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with the documented code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as a shell has it for what runs in the background
        signal.signal(signal.SIGINT, _interrupt)
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str]) -> int:
    as_json = "--json" in arguments
    try:
        return _answered(arguments, as_json=as_json)
    finally:
        end_log()


def _answered(arguments: Sequence[str], *, as_json: bool) -> int:
    """Run the verb, and report its errors."""
    try:
        code = app(args=list(arguments), prog_name="gridline", standalone_mode=False)
    except typer.TyperException as exc:
        return _report_usage(exc, as_json=as_json)
    except typer.Abort:
        code = INTERRUPTED
    except DatasetsError as exc:
        return report_errors(exc.lines, exc.exit_code, as_json=as_json)
    except GridlineError as exc:
        return report_error(str(exc), exc.exit_code, as_json=as_json)
    if code == INTERRUPTED:  # typer converts KeyboardInterrupt to it
        left = LEFT.get(arguments[0], "")
        return report_error(f"interrupted{left}", code, as_json=as_json)
    return code if isinstance(code, int) else 0


def _report_usage(exc: typer.TyperException, *, as_json: bool) -> int:
    """Print the usage error; without arguments, the help."""
    message = exc.format_message() if hasattr(exc, "format_message") else str(exc)
    if type(exc).__name__ == "NoArgsIsHelpError":
        print(message, file=sys.stderr)
        return 2
    return report_error(f"{message} See 'gridline --help'.", 2, as_json=as_json)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    stop_retrying()
    raise KeyboardInterrupt
