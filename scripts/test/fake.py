"""Fake Claude endpoints for the tests: one HTTP server a name on a free loopback port.

    python3 fake.py NAME...      prints {"NAME": PORT, ...} as one line, then serves until it is ended

The request's `model` is the script: `status-NNN` answers with that error everywhere, `sick-KIND` fails on the first
server alone (KIND: a status, `reset`, `empty`, `first-event`), `cut` breaks a stream off, `slow` takes 3 s for one.
Any other model answers. `GET /seen` tells what arrived: a list of {method, path, headers, model}.
"""
import json, os, socket, struct, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODELS = ["claude-a", "claude-b", "claude-c"]
ERRORS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error",
          429: "rate_limit_error", 529: "overloaded_error"}


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # An event is written in one piece, when it is flushed.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json"):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("request-id", f"req_{self.server.name}")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def error(self, status):
        kind = ERRORS.get(status, "api_error")
        self.answer(status, {"type": "error", "error": {"type": kind, "message": f"scripted {status}"}})

    def seen(self, model=None):
        path, headers = self.path, {k.lower(): v for k, v in self.headers.items()}
        self.server.log.append({"method": self.command, "path": path, "headers": headers, "model": model})

    def do_GET(self):
        if self.path == "/seen":
            return self.answer(200, self.server.log)
        self.seen()
        path, _, query = self.path.partition("?")
        if path == "/v1/models":
            # Two pages, so that a lost query string shows.
            page = MODELS[2:] if "after_id=claude-b" in query else MODELS[:2]
            data = [{"type": "model", "id": m, "display_name": m, "created_at": "2026-01-01T00:00:00Z"} for m in page]
            more = page[-1] != MODELS[-1]
            return self.answer(200, {"data": data, "has_more": more, "first_id": page[0], "last_id": page[-1]})
        self.error(404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model = body.get("model", "")
        self.seen(model)
        word, _, what = model.partition("-")
        if word == "status":
            return self.error(int(what))
        if word == "sick" and self.server.first:
            return self.fail(what)
        if self.path.startswith("/v1/messages/count_tokens"):
            return self.answer(200, {"input_tokens": len(json.dumps(body["messages"])) // 4})
        text = f"{self.server.name} heard: {body['messages'][-1]['content']}"
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [],
                   "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 1}}
        if body.get("stream"):
            return self.stream(message, text, model)
        message |= {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
        self.answer(200, message)

    def fail(self, what):
        if what == "reset":
            # No linger: the close is a reset, before a byte of the answer.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return os.close(self.connection.detach())
        if what in ("empty", "first-event"):
            self.begin_stream()
            if what == "first-event":
                self.event("error", {"error": {"type": "overloaded_error", "message": "scripted"}})
            return self.chunk(b"")
        self.error(int(what))

    def begin_stream(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("request-id", f"req_{self.server.name}")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def event(self, kind, fields):
        self.chunk(f"event: {kind}\ndata: {json.dumps({'type': kind} | fields)}\n\n".encode())

    def stream(self, message, text, model):
        pause = 0.1 if model == "slow" else 0.01
        pieces = [f"piece {n} " for n in range(29)] if model == "slow" else []
        pieces += [text[n:n + 5] for n in range(0, len(text), 5)]
        self.begin_stream()
        self.event("message_start", {"message": message})
        self.event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
        self.event("ping", {})
        for n, piece in enumerate(pieces):
            if model == "cut" and n == 3:
                self.close_connection = True
                return self.connection.shutdown(socket.SHUT_RDWR)
            self.event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": piece}})
            time.sleep(pause)
        self.event("content_block_stop", {"index": 0})
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        self.event("message_delta", {"delta": end, "usage": {"output_tokens": len(pieces)}})
        self.event("message_stop", {})
        self.chunk(b"")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, name, first):
        super().__init__(("127.0.0.1", 0), Endpoint)
        self.name, self.first, self.log = name, first, []

    def handle_error(self, *_):
        pass  # A balancer that hangs up is no news.


if __name__ == "__main__":
    servers = [Server(name, n == 0) for n, name in enumerate(sys.argv[1:])]
    threads = [threading.Thread(target=s.serve_forever) for s in servers]
    for thread in threads:
        thread.start()
    print(json.dumps({s.name: s.server_address[1] for s in servers}), flush=True)
