"""The command line: parse, one library call, print. Commands are imported only when used."""

import os
import sys
import traceback
from pathlib import Path
from pkgutil import resolve_name
from typing import NoReturn

import click

from toolkit.errors import ToolkitError
from toolkit.runtime.failures import explained

from .console import prepare, say
from .signals import Signals

INTERNAL = 70  # exit status of a fault of the toolkit itself: EX_SOFTWARE of sysexits.h

COMMANDS = {
    "embed": ("embed:embed", "Cache features of a folder or csv of images."),
    "fit": ("fit:fit", "Train one head on a cached store."),
    "compare": ("fit:compare", "Fit several heads, print the F1 table, mark the best."),
    "tune": ("heads:tune", "Compare a fitted head's decision rules, or set one."),
    "predict": ("predict:predict", "Tag a folder, csv or store; write img_path,tags."),
    "evaluate": ("predict:evaluate", "Score any predictions csv against a label file."),
    "export": ("heads:export", "Write a fitted head as one file, for numpy or scikit-learn."),
    "info": ("info:info", "Show this machine, stores and fitted heads."),
    "verify": ("embed:verify", "Embed some rows of a store again, another way, and compare."),
    "import": ("embed:import_features", "Make a store of features computed elsewhere."),
    "demo": ("demo:demo", "The whole job on a data set it draws itself."),
}


def _remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(dict)["debug"] = True


def _debug() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_remember,
        help="Show the traceback of an error.",
    )


class LazyGroup(click.Group):
    """A group that knows names and one-line helps, and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, and let it take ``--debug`` too."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = resolve_name(f"{__package__}.{COMMANDS[cmd_name][0]}")
        if all(parameter.name != "debug" for parameter in command.params):
            command.params.append(_debug())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


@click.group(
    cls=LazyGroup,
    params=[_debug()],
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _hyphens},
)
@click.version_option(package_name="toolkit", prog_name="toolkit")
def toolkit() -> None:
    """Tag images: embed once with a frozen ResNet50, then fit and compare heads in minutes."""


def run(signals: Signals) -> NoReturn:
    """Run the command line; exit 2 with one line on a user's mistake, 128 and more on a signal."""
    prepare()
    settings: dict[str, bool] = {}
    try:
        with explained():
            status = toolkit.main(standalone_mode=False, obj=settings)
            if sys.stdout is not None:  # closed by the shell with >&-
                sys.stdout.flush()
    except BaseException as error:
        if signals.number is not None:
            signals.leave()
        signals.working = False  # from here on a signal ends the process at once
        if settings.get("debug") and isinstance(error, Exception):
            raise
        sys.exit(_explain(error))
    signals.working = False
    sys.exit(status if isinstance(status, int) else 0)


def _explain(error: BaseException) -> int:
    """Print one line about what ended the command; return the exit status."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        more = f" (see: {context.command_path} --help)" if context else ""
        return _say(f"{error.format_message()}{more}", error.exit_code)
    if isinstance(error, ToolkitError):
        return _say(str(error), 2)
    return _say(f"{_where(error)}; please report it, with what --debug shows", INTERNAL)


def _where(error: BaseException) -> str:
    """Return the exception and the line of the toolkit that it came from, in words."""
    frames = traceback.extract_tb(error.__traceback__)
    place = next((frame for frame in reversed(frames) if "toolkit" in Path(frame.filename).parts), frames[-1])
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return f"a fault of the toolkit itself, not of yours: {words} ({place.name}, line {place.lineno})"


def _say(message: str, status: int) -> int:
    say(f"toolkit: {message}", err=True)
    return status
