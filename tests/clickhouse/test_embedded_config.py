"""What the engine is told: addresses, users, and how much memory it may take."""

import os
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from nealytics.clickhouse.embedded import Access, listen_hosts
from nealytics.clickhouse.embedded_config import memory_bytes, server_xml, users_xml
from nealytics.config import BackupConfig, ClickHouseConfig, QueryConfig

MIB = 1024**2
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

UNIT = "/system.slice/nealytics.service"


def limited(directory: Path, own: str, limits: dict[str, str]) -> int:
    """What it is in a control group `own` (as in /proc/self/cgroup) with these files below /sys/fs/cgroup."""
    groups, root = directory / "cgroup", directory / "root"
    groups.write_text(own)
    for name, value in limits.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    return memory_bytes(groups, root)


@pytest.mark.parametrize(
    ("own", "limits", "mib"),
    [
        pytest.param(
            f"0::{UNIT}\n", {f"{UNIT[1:]}/memory.max": str(900 * MIB)}, 900, id="MemoryMax= of the unit"
        ),
        pytest.param(
            f"0::{UNIT}\n",
            {f"{UNIT[1:]}/memory.max": "max", "system.slice/memory.max": str(700 * MIB)},
            700,
            id="of the slice around it",
        ),
        pytest.param(
            f"0::{UNIT}\n",
            {f"{UNIT[1:]}/memory.max": str(900 * MIB), f"{UNIT[1:]}/memory.high": str(800 * MIB)},
            800,
            id="MemoryHigh=, where the kernel begins to slow it down",
        ),
        pytest.param("0::/\n", {"memory.max": str(600 * MIB)}, 600, id="of a container"),
        pytest.param(
            "0::/../../docker/0123\n",
            {"memory.max": str(600 * MIB)},
            600,
            id="of a container seen from outside",
        ),
        pytest.param(
            "12:cpu,cpuacct:/\n7:memory:/docker/0123\n1:name=systemd:/docker/0123\n0::/\n",
            {"memory/memory.limit_in_bytes": str(500 * MIB)},
            500,
            id="version 1, of a container",
        ),
        pytest.param(
            f"7:memory:{UNIT}\n",
            {
                f"memory{UNIT}/memory.limit_in_bytes": str(400 * MIB),
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
            400,
            id="version 1, of the unit",
        ),
    ],
)
def test_the_engine_goes_by_the_memory_of_its_control_group(
    tmp_path: Path, own: str, limits: dict[str, str], mib: int
):
    assert limited(tmp_path, own, limits) == mib * MIB


@pytest.mark.parametrize(
    ("own", "limits"),
    [
        pytest.param(f"0::{UNIT}\n", {f"{UNIT[1:]}/memory.max": "max"}, id="no limit"),
        pytest.param("0::/\n", {"other.slice/memory.max": str(MIB)}, id="limits of others"),
        pytest.param("7:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, id="version 1"),
        pytest.param("", {}, id="no control groups"),
    ],
)
def test_without_a_limit_it_is_the_machines(tmp_path: Path, own: str, limits: dict[str, str]):
    assert limited(tmp_path, own, limits) == MACHINE


def test_a_kernel_without_control_groups_is_a_machine(tmp_path: Path):
    assert memory_bytes(tmp_path / "cgroup", tmp_path) == MACHINE


CONFIG = ClickHouseConfig(embedded_listen="10.0.0.5:8123", embedded_password="p")


@pytest.mark.parametrize(
    ("listen", "hosts"),
    [
        ("", ["127.0.0.1"]),
        ("127.0.0.1:8123", ["127.0.0.1"]),
        ("0.0.0.0:8123", ["0.0.0.0"]),
        ("[::]:8123", ["::"]),
        ("10.0.0.5:8123", ["127.0.0.1", "10.0.0.5"]),
        ("[fd00::1]:8123", ["127.0.0.1", "fd00::1"]),
        ("localhost:8123", ["127.0.0.1"]),
    ],
)
def test_the_node_reaches_it_on_loopback_wherever_tools_do(listen: str, hosts: list[str]):
    assert listen_hosts(msgspec.structs.replace(CONFIG, embedded_listen=listen)) == hosts


def test_the_files_hold_no_password_and_are_well_formed(tmp_path: Path):
    access = Access(8124, "writer's secret", "reader's secret", "saved's secret", "operator's secret")
    config = msgspec.structs.replace(CONFIG, embedded_password="<tools' secret>", embedded_project="a<b'c\\d")
    users = users_xml(
        config, QueryConfig(), access, control="control's secret", backup="backup's secret", memory=1024
    )
    assert "secret" not in users
    tree = ElementTree.fromstring(users)
    assert {user.tag for user in tree.findall("users/")} == {
        "default", "control", "writer", "reader", "saved", "operator", "backup", "nealytics",
    }  # fmt: skip
    (policy,) = tree.findall("users/nealytics/databases/nealytics_core/global_events/filter")
    assert policy.text == "project_id = 'a<b\\'c\\\\d'"
    # Only tools come from elsewhere.
    assert {user.tag for user in tree.findall("users/") if user.findtext("networks/ip") != "127.0.0.1"} == {
        "nealytics"
    }
    bucket = BackupConfig(s3_url="http://s3/b", s3_access_key_id="a<b", s3_secret_access_key="the secret")
    server = server_xml(config, access, tmp_path, memory=1024, backup=bucket)
    assert "the secret" not in server
    disk = ElementTree.fromstring(server).find("storage_configuration/disks/backups_s3")
    assert disk is not None
    assert disk.findtext("access_key_id") == "a<b"


def test_without_a_listener_there_is_no_user_for_tools_and_no_operator():
    text = users_xml(
        ClickHouseConfig(), QueryConfig(), Access(1, "w", "r"), control="c", backup="b", memory=1024
    )
    users = ElementTree.fromstring(text).findall("users/")
    assert {user.tag for user in users} == {"default", "control", "writer", "reader", "backup"}
