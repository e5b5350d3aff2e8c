"""A publisher on this machine, who may truncate, lie, stall or refuse."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        name, _, manner = self.path.strip("/").partition("/")
        getattr(self, f"_{manner or 'send'}")(self.server.files[name])

    def _answer(self, status, content, **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)
        self.server.sent += len(content)

    def _send(self, content):
        wanted = self.headers.get("Range")
        if not wanted:
            self._answer(200, content, Content_Length=len(content))
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        rest = content[start:]
        self._answer(206, rest, Content_Length=len(rest), Content_Range=span)

    def _whole(self, content):
        """Know nothing of ranges."""
        self._answer(200, content, Content_Length=len(content))

    def _truncate(self, content):
        self._answer(200, content[: len(content) // 2], Content_Length=len(content))

    def _short(self, content):
        """End early, and say that this is all."""
        self._answer(200, content[:-10], Content_Length=len(content) - 10)

    def _lie(self, content):
        self._answer(200, content[::-1], Content_Length=len(content))

    def _lie_and_truncate(self, content):
        self._answer(200, content[::-1][: len(content) // 2], Content_Length=len(content))

    def _endless(self, content):
        self.send_response(200)
        self.end_headers()
        while not self.server.over.is_set():
            try:
                self.wfile.write(content)
            except OSError:
                return
            self.server.sent += len(content)

    def _stall(self, content):
        self._answer(200, content[: len(content) // 2], Content_Length=len(content))
        self.server.over.wait(30)

    def _mute(self, content):
        self.server.over.wait(30)

    def _refuse(self, content):
        self.send_response(404, "\x1b[31mmine")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def publisher(**files):
    """Serve files by name; ``URL/NAME/MANNER`` serves one in a manner of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.files, server.asked, server.sent = files, [], 0
    server.over = threading.Event()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
