"""Stands in for the one thing that the nodes lack: ON CLUSTER, for which clickhouse-local has no DDL worker.

An address of ClickHouse that passes each request to a node. A statement with ON CLUSTER is run without it at
every node of the cluster, one after the other, as the DDL workers would.
"""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.cluster.servers import NODES, Cluster

_ON_CLUSTER = re.compile(rb" ON CLUSTER '[^']+'")
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@contextmanager
def on_cluster(cluster: Cluster, behind: str = "r1") -> Iterator[str]:
    """The address of one that passes requests to the node `behind`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass(b"", (behind,))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            # The statement of an insert is in the address, and its body is data.
            is_insert = "query" in parse_qs(urlsplit(self.path).query)
            without, found = (body, 0) if is_insert else _ON_CLUSTER.subn(b"", body, count=1)
            self._pass(without, NODES if found else (behind,))

        def _pass(self, body: bytes, names: tuple[str, ...]) -> None:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            for name in names:
                connection = http.client.HTTPConnection(urlsplit(cluster.url(name)).netloc, timeout=60)
                try:
                    connection.request(self.command, self.path, body, headers)
                    answer = connection.getresponse()
                    status, answered, content = answer.status, answer.getheaders(), answer.read()
                except OSError:
                    self.close_connection = True  # as if this address were down
                    return
                finally:
                    connection.close()
                if status != 200:
                    break
            self.send_response(status)
            for name, value in answered:
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
