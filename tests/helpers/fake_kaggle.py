"""A server on this machine that answers kagglehub as Kaggle does."""

import http.server
import json
import threading


class FakeKaggle(http.server.ThreadingHTTPServer):
    """Serve a zip as Kaggle does; the first answer stops after `stop` bytes and hangs."""

    daemon_threads = True

    def __init__(self, data, stop):
        super().__init__(("127.0.0.1", 0), FakeKaggleHandler)
        self.data, self.stop, self.ranges = data, stop, []
        self.closing = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class FakeKaggleHandler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/GetDataset"):
            answer = json.dumps({"currentVersionNumber": 2}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        else:
            self.send_response(302)
            self.send_header("Location", f"{self.server.url}/archive.zip")
            self.end_headers()

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        # kagglehub asks for the whole first, and then again for the part that it lacks.
        hangs = not server.ranges
        server.ranges.append(first)
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(server.data) - first))
        self.end_headers()
        try:
            self.wfile.write(server.data[first : server.stop] if hangs else server.data[first:])
            if hangs:
                server.closing.wait(60)
        except ConnectionError:
            pass  # It has read the headers, seen that it can go on, and asks for the rest.

    def log_message(self, *arguments):
        pass
