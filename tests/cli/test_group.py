"""The command line as a whole."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from nealytics import __version__
from nealytics.cli import COMMANDS, main
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
    assert "sevre" in result.stderr


def test_an_error_raised_on_purpose_is_its_message_and_exit_code_1(monkeypatch):
    @click.command()
    def fails() -> None:
        raise ConfigError("config: one", "config: two")

    monkeypatch.setitem(COMMANDS, "init", COMMANDS["init"]._replace(load=lambda: fails))
    result = CliRunner().invoke(main, ["init"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "config: one\nconfig: two\n")
