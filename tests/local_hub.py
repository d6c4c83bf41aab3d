"""A server on this machine in the layout of the Hugging Face hub."""

import http.server
import json
from urllib.parse import unquote, urlsplit


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` (path -> bytes), and what the hub's client asks of a repository. `cut` bytes of every
    answer's end are lost."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.bodies: list[str] = []
        """Of these, those whose content was sent."""
        self.cut = 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        kind = "application/octet-stream"
        data = self.server.files.get(path.split("/resolve/main/")[-1].lstrip("/"))
        if path.startswith("/api/"):
            tree = [{"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                    for name, content in self.server.files.items()]
            listing = {"id": "x/y", "sha": "a" * 40, "siblings": [{"rfilename": file["path"]} for file in tree]}
            data, kind = json.dumps(tree if "/tree/" in path else listing).encode(), "application/json"
        self.send_response(200 if data is not None else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.send_header("Content-Type", kind)
        if data is not None:
            self.send_header("ETag", f'"{hash(data):x}"')
            self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        if body and data:
            self.server.bodies.append(path)
            self.wfile.write(data[:len(data) - self.server.cut])
            self.close_connection = True
