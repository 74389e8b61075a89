"""Every fault at once: `python3 at_once.py BINARY SECONDS PYTHON FOLDER` (PYTHON has the SDK, FOLDER the one for Node).

The official SDKs ask and stream, with the retries that they come with, while one endpoint plays every fault, another one comes and
goes, clients send what is malformed, dribble, read nothing, leave and flood, the configuration changes and the process is stopped now
and then. Nothing that the SDKs ask may be lost, no answer may be another one's, no broken one may look whole. Prints a line, as
torture.py does; ends with 1 where it failed.
"""
import asyncio, functools, itertools, json, os, signal, socket, subprocess, sys, tempfile, time

import torture
from torture import EVENTS_HEAD, FAULTS, MALFORMED, chunk, event, exchange, fault, highest, plain, raw_connections, send_what_fits

TOKEN = "a-client-token"
CLIENTS = 6  # Of each SDK.
PIECES = 12
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
OTHERS = {
    "529": plain(529, b"{}"), "500": plain(500, b"{}"), "503": plain(503, b"<html>"),
    "429": plain(429, b'{"type":"error","error":{"type":"rate_limit_error","message":"x"}}', "retry-after: 1\r\n"),
    "interim flood": INTERIM * 4000,
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    "gzip and chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
}
# They reach the client in the middle of its answer: for those only that ask for them.
LATE = ["silent in an event", "reset in an event", "no message_stop", "too short", "bad chunks"]
# The rest, and what else an endpoint may say; each sends the request on, or back to its SDK, which asks again (408).
EARLY = [name for name in FAULTS if name not in (*LATE, "too long", "closed when idle")] + [
    "interim with fields", "closed after the answer", *OTHERS]
TARGETS = [b"TRACE /v1/messages", b"CONNECT a:443", b"GET /v1/../x", b"GET /v1/" + b"a" * 65481, b"POST /v1/" + b"%2e%2e/" * 9, b"A" * 1588 + b" /v1/messages"]
ODD = [
    *[line + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" for line in TARGETS],
    b"POST /v1/messages HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
    b"POST /v1/messages HTTP/1.1\r\nhost: a b\r\ncontent-length: 2\r\n\r\n{}",
    b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: " + b"," * 62000 + b"\r\n\r\n",
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: wrong\r\ncontent-length: 60000\r\nconnection: close\r\n\r\n" + b"a" * 60000,
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 20000,
]


def message(word):
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-a", "content": [{"type": "text", "text": word}],
            "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 1}}


def stream(word):
    """An answer in events, which says `word` again and again."""
    async def play(_, writer):
        writer.write(EVENTS_HEAD + chunk(event("message_start", message=message("") | {"content": [], "stop_reason": None})
                     + event("content_block_start", index=0, content_block={"type": "text", "text": ""}) + event("ping")))
        for _ in range(PIECES):
            writer.write(chunk(event("content_block_delta", index=0, delta={"type": "text_delta", "text": word + " "})))
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(chunk(event("content_block_stop", index=0) + event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None},
                     usage={"output_tokens": PIECES}) + event("message_stop")) + b"0\r\n\r\n")
        await writer.drain()
        return True
    return play


def answer(request):
    """A good answer, in events where the SDK says that it streams."""
    word = request.headers.get("x-word", "")
    return stream(word) if request.headers.get("x-stream") else fault(plain(200, json.dumps(message(word)).encode()), "go on")


def early(name, request):
    """A fault before an answer has begun, or around one."""
    async def behind_interims(reader, writer):
        writer.write(INTERIM * 3)
        return await answer(request)(reader, writer)

    async def closed(reader, writer):
        await answer(request)(reader, writer)
        return False

    made = {"interim with fields": behind_interims, "closed after the answer": closed}
    return made.get(name) or OTHERS.get(name) or name


class Siege:
    def __init__(self, run):
        self.run, self.faults, self.late, self.played = run, itertools.cycle(EARLY), itertools.cycle(LATE), 0
        self.sent = self.wrong = 0
        self.away = False

    def sick(self, request):
        self.sent += 1
        if request.headers.get("x-break"):
            self.played += 1
            return next(self.late)
        if self.sent % 5 in (1, 3) and request.path.startswith("/v1/messages"):
            self.played += 1
            return early(next(self.faults), request)
        return answer(request)

    def other(self, request):
        """Comes and goes: what is running then comes to its end, as with any server that is restarted with care."""
        return "closed" if self.away else answer(request)

    async def malformed(self, balancer):
        rows = [(data, statuses) for _, data, statuses in MALFORMED if 200 not in statuses]
        for data, statuses in itertools.cycle([*rows, *[(data, {400, 401, 403, 404, 405, 413, 414, 431, 0}) for data in ODD]]):
            received, *_ = await exchange(balancer.port, data, 20)
            status = int(received[9:12]) if received.startswith(b"HTTP/1.1 ") else 0
            self.wrong += 1
            # Without a token the door says so first.
            self.run.expect(status in statuses | {401, 503}, f"one of {sorted(statuses)} for {data[:60]}", received[:60])
            await asyncio.sleep(0.05)

    async def floods(self, balancer):
        """New connections in crowds: silent, dribbling, never reading, and gone."""
        post = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: %s\r\n" % TOKEN.encode()
        while True:
            sockets = raw_connections(balancer.port, 200)
            await asyncio.sleep(0.1)
            for n, sock in enumerate(sockets):
                send_what_fits(sock, (b"", post[:20], post + b"content-length: 90000\r\n\r\n{", post + b"content-length: 2\r\n\r\n{}")[n % 4])
            for _ in range(30):
                await asyncio.sleep(0.1)
                for sock in sockets[2::8]:
                    send_what_fits(sock, b" ")
            for n, sock in enumerate(sockets):
                if n % 2:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.close()

    async def changes(self, balancer, sick, well, other):
        """The configuration, an endpoint and the process itself."""
        for n in itertools.count(1):
            await asyncio.sleep(2)
            balancer.configure([sick.entry(weight=1 + n % 3), well, other], cooldownSeconds=0.2 + n % 5 / 10)
            if n % 7 == 3:
                self.away = True
                other.server.close()
            elif n % 7 == 5:
                self.away = False
                await other.start()
            if n % 10 == 0:
                balancer.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(1)
                balancer.process.send_signal(signal.SIGCONT)


async def at_once(run, seconds, python, folder):
    siege = Siege(run)
    sick, well, other = [await run.endpoint(name) for name in ("sick", "well", "other")]
    sick.script, well.script, other.script = siege.sick, answer, siege.other
    settings = {"cooldownSeconds": 0.2, "connectSeconds": 2, "responseSeconds": 5, "idleSeconds": 6, "clientSeconds": 5,
                "clientTokens": [{"name": "sdk", "token": TOKEN}]}
    async with run.balancer([sick, well, other], **settings) as balancer:
        here = os.path.dirname(os.path.abspath(__file__))
        url = f"http://127.0.0.1:{balancer.port}"
        commands = {"python": [python, os.path.join(here, "sdk_load.py")], "node": ["node", os.path.join(folder, "sdk_load.mjs")]}
        sdks = {name: await asyncio.create_subprocess_exec(*command, url, TOKEN, str(seconds), str(CLIENTS), stdout=subprocess.PIPE)
                for name, command in commands.items()}
        load = [asyncio.create_task(task) for task in (siege.malformed(balancer), siege.floods(balancer), siege.changes(balancer, sick, well, other))]
        results = {name: asyncio.create_task(process.communicate()) for name, process in sdks.items()}
        early_on, late = await highest(balancer, seconds / 3), await highest(balancer, seconds / 2)
        told = {}
        for name, result in results.items():
            out, _ = await asyncio.wait_for(result, seconds + 120)
            told[name] = json.loads(out.decode() or "{}")
            run.expect(sdks[name].returncode == 0, f"an end of the {name} SDK's own", sdks[name].returncode)
        for task in load:
            task.cancel()
        ended = await asyncio.gather(*load, return_exceptions=True)
        run.expect(all(isinstance(end, asyncio.CancelledError) for end in ended), "no surprise in the clients", ended)
        balancer.process.send_signal(signal.SIGCONT)
        for name, figures in told.items():
            run.expect(not figures.get("lost") and figures.get("answered", 0) > seconds, f"nothing lost by the {name} SDK", figures)
        run.expect(any(figures.get("told") for figures in told.values()), "broken answers that the SDKs were told of", told)
        run.expect(siege.played > seconds, "faults played", siege.played)
        for key, spare in (("fds", 200), ("threads", 30), ("rss", 6144)):
            run.expect(getattr(late, key) <= getattr(early_on, key) * 1.2 + spare, f"{key} that do not grow", f"{early_on}, then {late}")
        await balancer.settled(20, 260)
        health = await balancer.health()
        run.expect(health.get("inFlight") == 0 and health.get("queued") == 0, "nothing in flight at the end", health)
        with open(balancer.log, encoding="utf-8", errors="replace") as log:
            text = log.read()
        run.expect("panicked" not in text and TOKEN not in text and "token-sick" not in text, "no panic and no token in the log", "one of them")
        counts = "; ".join(f"{name} {f.get('answered', 0)} answered, {f.get('left', 0)} left, {f.get('told', 0)} broken and told, {len(f.get('lost', []))} lost"
                           for name, f in told.items())
        run.figure(f"{seconds:.0f} s: {counts}; {siege.played} faults of {len(EARLY) + len(LATE)} kinds, {siege.wrong} malformed; "
                   f"early {early_on}; late {late}; at its end {balancer.facts()}")


def main():
    binary, seconds, python, folder = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as place:
        run = torture.Run(binary, True, float(seconds), place)
        try:
            check = functools.partial(at_once, seconds=float(seconds), python=python, folder=folder)
            return 0 if asyncio.run(torture.run_check(run, "sdks", check, float(seconds) + 200)) else 1
        finally:
            for child in torture.children:
                child.kill()
                child.wait()


if __name__ == "__main__":
    sys.exit(main())
