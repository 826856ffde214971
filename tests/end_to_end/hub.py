"""A hub on loopback: the endpoints that `datasets` asks for, served from a folder in C4's layout."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SHA = "1588ec454efa1a09f29cd18ddd04fe05fc8653a2"
README = "---\nconfigs:\n- config_name: en\n  data_files:\n  - split: train\n    path: en/c4-train.*.json.gz\n---\n"


class _Handler(BaseHTTPRequestHandler):
    root: Path
    asked: list[str]
    outage: list[int]
    """Bytes of shards served before it, and how many requests for shards then get nothing; empty: none."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        path = self.path.split("?")[0]
        if match := re.fullmatch(r"/datasets/allenai/c4/resolve/[^/]+/(.+)", path):
            self._file(match[1])
        elif re.fullmatch(r"/api/datasets/allenai/c4(/revision/.+)?", path):
            siblings = [{"rfilename": name} for name in self._names()]
            self._json({"id": "allenai/c4", "sha": SHA, "siblings": siblings, "private": False, "tags": []})
        elif match := re.fullmatch(rf"/api/datasets/allenai/c4/tree/{SHA}(/.*)?", path):
            self._tree((match[1] or "").strip("/"))
        else:
            self._missing()

    def do_POST(self) -> None:
        self.asked.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        wanted = json.loads(body).get("paths", []) if body.startswith("{") else []
        self._json([entry for name in wanted if (entry := self._entry(name))])

    def _names(self) -> list[str]:
        return ["README.md", *(path.relative_to(self.root).as_posix() for path in sorted(self.root.glob("en/*.gz")))]

    def _entry(self, name: str) -> dict[str, Any] | None:
        if name in self._names():
            return {"type": "file", "path": name, "size": len(self._content(name)), "oid": "0" * 40}
        return {"type": "directory", "path": "en", "size": 0, "oid": "1" * 40} if name == "en" else None

    def _tree(self, folder: str) -> None:
        names = self._names() if folder == "en" else ["README.md", "en"]
        self._json([self._entry(name) for name in names if folder != "en" or name.startswith("en/")])

    def _content(self, name: str) -> bytes:
        return README.encode() if name == "README.md" else (self.root / name).read_bytes()

    def _file(self, name: str) -> None:
        if name not in self._names():
            self._missing()
            return
        content, status, headers = self._content(name), 200, {}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(asked[1]), int(asked[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"
            content, status = content[first : last + 1], 206
        self._send(status, content, {"X-Repo-Commit": SHA, "ETag": f'"{name}"', "Accept-Ranges": "bytes", **headers})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self) -> None:
        self._send(404, b"", {"X-Error-Code": "EntryNotFound"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self._served(content))

    def _served(self, content: bytes) -> bytes:
        """All of it; in an outage what was left before it, and then nothing, until it is over."""
        if not self.outage or ".gz" not in self.path:
            return content
        self.close_connection = True
        left, lost = self.outage
        self.outage[:] = [left - len(content), lost] if left > len(content) else [0, lost - 1] if lost else []
        return content[:left] if self.outage else content


@contextmanager
def serve(root: Path, outage: tuple[int, int] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serve `root`; yields the address and the list of requests, which grows."""
    handler = type("Handler", (_Handler,), {"root": root, "asked": [], "outage": list(outage or ())})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
