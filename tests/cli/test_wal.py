import asyncio
import json
import time
from pathlib import Path

from click.testing import CliRunner, Result

from nealytics.cli.wal import wal
from tests.wal.logs import segments, write


def run(*arguments: object) -> Result:
    return CliRunner().invoke(wal, [str(argument) for argument in arguments])


def make_logs(root: Path) -> None:
    hour_ago = time.time_ns() // 1_000_000 - 3_700_000
    asyncio.run(write(root / "0", [[bytes(500)]] * 3, segment_bytes_max=700, clock_ms=lambda: hour_ago))
    asyncio.run(write(root / "1", []))


def test_inspect_shows_every_log_of_a_root(tmp_path: Path):
    make_logs(tmp_path)
    result = run("inspect", tmp_path)
    assert result.exit_code == 0
    assert str(tmp_path / "0") in result.output
    assert "rows         1-3" in result.output
    assert "waiting      3, the oldest for 1 h 1 min" in result.output
    assert "rows         none (the last was 0)" in result.output


def test_inspect_as_json_is_one_object_per_line(tmp_path: Path):
    make_logs(tmp_path)
    logs = [json.loads(line) for line in run("inspect", tmp_path, "--json").output.splitlines()]
    assert [Path(log["directory"]).name for log in logs] == ["0", "1"]
    assert (logs[0]["waiting"], logs[0]["segments"], logs[0]["problems"]) == (3, 3, [])


def test_verify_exits_with_1_and_names_the_place_of_the_damage(tmp_path: Path):
    make_logs(tmp_path)
    result = run("verify", tmp_path)
    assert (result.exit_code, result.output) == (0, f"{tmp_path / '0'}: fine\n{tmp_path / '1'}: fine\n")
    path = segments(tmp_path / "0")[1]
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    result = run("verify", tmp_path)
    assert result.exit_code == 1
    assert f"damage: wal: {path}: byte 68" in result.output
    assert f"{tmp_path / '0'}: damaged" in result.output
    assert f"{tmp_path / '1'}: fine" in result.output


def test_the_directory_may_come_from_the_configuration(tmp_path: Path):
    make_logs(tmp_path / "logs")
    config = tmp_path / "nealytics.toml"
    config.write_text(f'[wal]\ndirectory = "{tmp_path / "logs"}"\n')
    result = run("inspect", "--config", config)
    assert result.exit_code == 0, result.output
    assert "rows         1-3" in result.output


def test_before_the_first_start_there_is_nothing_to_see_and_nothing_wrong(tmp_path: Path):
    config = tmp_path / "nealytics.toml"
    config.write_text(f'[wal]\ndirectory = "{tmp_path / "nowhere"}"\n')
    result = run("verify", "--config", config)
    assert result.exit_code == 0
    assert "no server has run yet" in result.output
