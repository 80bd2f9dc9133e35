"""The command line as a whole."""

import io
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from nealytics import __version__
from nealytics.cli import COMMANDS, main
from nealytics.cli.options import folded
from nealytics.errors import ConfigError


def test_help_lists_every_command_and_loads_none():
    """Quick, and it works where a part cannot be loaded."""
    script = (
        "import sys; from nealytics.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "ours = [m.split('.')[1] for m in sys.modules if m.startswith('nealytics.')]\n"
        "print(set(ours) - {'cli', 'errors'}, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "set()"
    for name, entry in COMMANDS.items():
        assert (f"  {name}" in result.stdout) is not entry.hidden


def test_version_is_the_packages():
    assert CliRunner().invoke(main, ["--version"]).output == f"nealytics {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_loads_under_its_name_and_has_help_worth_reading(name):
    command = COMMANDS[name].load()
    assert command.name == name
    assert command.hidden is COMMANDS[name].hidden
    if not command.hidden:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0
        assert len(result.output.splitlines()) > 6


def test_an_unknown_command_is_named():
    result = CliRunner().invoke(main, ["sevre"])
    assert result.exit_code == 2
    assert "No such command 'sevre'; did you mean serve?" in result.stderr
    result = CliRunner().invoke(main, ["nothing-like-it"])
    assert (result.exit_code, "'nothing-like-it'" in result.stderr) == (2, True)


def test_an_error_raised_on_purpose_is_its_message_and_exit_code_1(monkeypatch):
    @click.command()
    def fails() -> None:
        raise ConfigError("config: one", "config: two")

    monkeypatch.setitem(COMMANDS, "init", COMMANDS["init"]._replace(load=lambda: fails))
    result = CliRunner().invoke(main, ["init"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "config: one\nconfig: two\n")


def _all_commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found is not None
            yield from _all_commands(found, (*path, name))


@pytest.mark.parametrize("path", list(_all_commands(main)), ids=" ".join)
def test_help_fits_into_80_columns(path: tuple[str, ...]):
    result = CliRunner().invoke(main, [*path, "--help"], terminal_width=80)
    assert result.exit_code == 0
    # An address is not broken, so that it can be copied.
    assert [line for line in result.output.splitlines() if len(line) > 80 and "http" not in line] == []


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_long_texts_are_wrapped_on_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = "see /a/path/that-is/kept-whole/however-long-it-is and set wal.bytes_max"
    assert folded("warn  ", text, io.StringIO()) == f"warn  {text}"
    assert folded("warn  ", text, _Terminal()).splitlines() == [
        "warn  see",
        "      /a/path/that-is/kept-whole/however-long-it-is",
        "      and set wal.bytes_max",
    ]
