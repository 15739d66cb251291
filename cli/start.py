"""The entry of the command line: signals are handled before anything large is imported."""

from .signals import Signals


def main() -> None:
    """Run the command line."""
    signals = Signals()
    signals.listen()
    from .main import run

    signals.working = True
    run(signals)
