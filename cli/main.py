"""The command line: parse, one library call, print. Commands are imported only when used."""

import os
import sys
from pkgutil import resolve_name

import click

from .console import prepare, say

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


def main() -> None:
    """Run the command line; exit 2 with one line on a user's mistake, 130 on Ctrl-C."""
    prepare()
    settings: dict[str, bool] = {}
    try:
        status = toolkit.main(standalone_mode=False, obj=settings)
    except click.exceptions.Abort:
        _stop("interrupted; finished work is kept, run the same command to resume", 130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        more = f" (see: {context.command_path} --help)" if context else ""
        _stop(f"toolkit: {error.format_message()}{more}", error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        from toolkit.errors import ToolkitError

        if settings.get("debug") or not isinstance(error, ToolkitError):
            raise
        _stop(f"toolkit: {error}", 2)
    sys.exit(status if isinstance(status, int) else 0)


def _stop(message: str, status: int) -> None:
    say(message, err=True)
    sys.exit(status)
