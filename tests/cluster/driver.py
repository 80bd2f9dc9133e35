"""Runs the ZooKeeper and the nodes of a cluster as its children, and ends them when its standard input ends.

    driver.py CLUSTER_PY DIRECTORY

Reads names from standard input, one on each line, and starts that process (again): `zookeeper`, or a node of
CLUSTER_PY. Answers with the pid on a line of its own, for a node once it answers. So nothing is left behind,
even if the tests are killed.
"""

import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.servers import load


def main(cluster_py: Path, root: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the tests and to this process
    cluster = load(cluster_py)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in map(str.strip, sys.stdin):
            if name in processes:
                processes[name].kill()
                processes[name].wait()
            started = cluster.zookeeper(root) if name == "zookeeper" else cluster.start(root, name)
            processes[name] = started
            print(started.pid, flush=True)
    finally:
        for process in processes.values():
            process.kill()
        for process in processes.values():
            process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
