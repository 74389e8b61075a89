"""What `scripts/torture` runs: the balancer between scripted endpoints and clients that mean it no good.

    python3 torture.py BINARY [--quick] [--only NAME]... [--list] [--soak SECONDS] [--sdk PYTHON FOLDER]

Everything happens in one asyncio loop, on loopback. A check is judged by counts and by what /proc says of the balancer
(threads, descriptors, memory), and by times only where a time is promised: those are three times as long where the
machine has other work to do.
"""
import argparse, asyncio, collections, contextlib, http.client, json, os, re, resource, shutil, signal, socket, struct, subprocess, sys, tempfile, time

# The whole run ends by then, and one check, whatever happens; those that take as long as the soak have that time beside it.
MOST_SECONDS = 450
CHECK_SECONDS = 100
LONG = ["crowd", "soak", "at_once"]
EVENTS_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
OK_BODY = b'{"type":"message","content":[]}'
children = []


# The scripted endpoint.

class Request:
    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = lines[0].split(" ", 2)
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | fields)}\n\n".encode()


def delta(n):
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": f"piece {n} "})


def plain(status, body=OK_BODY, more=""):
    return f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {len(body)}\r\n\r\n".encode() + body


def reset(writer):
    """Closes so that the other side gets a reset, not an end."""
    if sock := writer.get_extra_info("socket"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Endpoint:
    """Answers as the request's `x-do` header asks: `stream N PAUSE`, `large BYTES`, `wait SECONDS`; else with a short message. `script`,
    if set, sees each request first; what it returns is a fault's name, or bytes to answer with, or None."""

    def __init__(self, name, script=None, host="127.0.0.1"):
        self.name, self.script, self.host = name, script, host
        self.port, self.server, self.writers = 0, None, set()
        self.requests, self.times, self.paths, self.tokens = 0, [], {}, {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self):
        return await self.open(self.door())

    def door(self):
        return socket.create_server((self.host, self.port), backlog=4096)

    async def open(self, door):
        self.server = await asyncio.start_server(self.serve, sock=door, limit=1 << 17, backlog=4096)
        self.port = door.getsockname()[1]
        return self

    def stop(self):
        """Refuses and breaks every connection, until it is started again."""
        if self.server:
            self.server.close()
            self.server = None
        for writer in list(self.writers):
            reset(writer)

    def entry(self, **more):
        return {"name": self.name, "baseURL": f"http://{self.host}:{self.port}", "authToken": f"token-{self.name}"} | more

    async def serve(self, reader, writer):
        self.writers.add(writer)
        # A balancer that hangs up is no news here, nor is the end of a check.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            while await self.serve_one(reader, writer):
                pass
        self.writers.discard(writer)
        writer.close()

    async def serve_one(self, reader, writer):
        request = Request(await reader.readuntil(b"\r\n\r\n"))
        left = int(request.headers.get("content-length", 0))
        while left > 0:
            piece = await reader.read(min(left, 1 << 20))
            if not piece:
                return False
            left -= len(piece)
        self.requests += 1
        self.times.append(time.monotonic())
        self.paths[request.path] = self.paths.get(request.path, 0) + 1
        token = request.headers.get("x-api-key")
        self.tokens[token] = self.tokens.get(token, 0) + 1
        await self.gate.wait()
        fault = self.script(request) if self.script else None
        if callable(fault):
            return await fault(reader, writer)
        if isinstance(fault, bytes):
            writer.write(fault)
            await writer.drain()
            return True
        if fault:
            return await FAULTS[fault](reader, writer)
        what, *numbers = (request.headers.get("x-do") or "message").split()
        if what == "stream":
            await self.stream(writer, int(numbers[0]), float(numbers[1]))
        elif what == "large":
            await self.large(writer, int(numbers[0]))
        else:
            if what == "wait":
                await asyncio.sleep(float(numbers[0]))
            writer.write(plain(200))
            await writer.drain()
        return True

    async def stream(self, writer, pieces, pause):
        writer.write(EVENTS_HEAD + chunk(event("message_start", message={"usage": {"input_tokens": 1}}) + event("ping")))
        for n in range(pieces):
            if pause:
                await asyncio.sleep(pause)
            writer.write(chunk(delta(n)))
            await writer.drain()
        writer.write(chunk(event("message_delta", usage={"output_tokens": pieces}) + event("message_stop")) + b"0\r\n\r\n")
        await writer.drain()

    async def large(self, writer, size):
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n".encode())
        piece = bytes(1 << 18)
        while size > 0:
            writer.write(piece[:size] if size < len(piece) else piece)
            size -= len(piece)
            await writer.drain()


async def silence(reader):
    """Until the balancer hangs up."""
    while await reader.read(1 << 16):
        pass
    return False


async def send_endless(writer, piece, most=64 << 20):
    while most > 0:
        writer.write(piece)
        most -= len(piece)
        await writer.drain()
    return False


def fault(data, then="close"):
    """A fault that sends `data`, and closes, resets, falls silent or goes on."""
    async def play(reader, writer):
        writer.write(data)
        await writer.drain()
        if then == "silent":
            return await silence(reader)
        if then == "reset":
            reset(writer)
        return then == "go on"
    return play


START = EVENTS_HEAD + chunk(event("message_start", message={})) + chunk(delta(0))
FAULTS = {
    "closed": fault(b""),
    "reset": fault(b"", "reset"),
    "garbage": fault(b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(range(256)) * 40),
    "endless head": lambda _, writer: send_endless(writer, b"HTTP/1.1 200 OK\r\nx: " + b"a" * 65536),
    "1 MB of headers": fault(b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %s\r\n" % (n, b"v" * 90) for n in range(10000)) + b"content-length: 2\r\n\r\n{}"),
    "silent": fault(b"", "silent"),
    "silent in the head": fault(b"HTTP/1.1 200 OK\r\nconte", "silent"),
    "silent before the first event": fault(EVENTS_HEAD, "silent"),
    "silent in an event": fault(START + b"50\r\nevent: content_bl", "silent"),
    "reset in an event": fault(START + b"50\r\nevent: content_bl", "reset"),
    "no message_stop": fault(START + b"0\r\n\r\n", "go on"),
    "empty stream": fault(EVENTS_HEAD + b"0\r\n\r\n", "go on"),
    "error first": fault(EVENTS_HEAD + chunk(event("error", error={"type": "overloaded_error", "message": "x"})) + b"0\r\n\r\n", "go on"),
    "too short": fault(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"a" * 500),
    "too long": fault(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello HTTP/1.1 200 OK\r\nx-evil: 1\r\ncontent-length: 0\r\n\r\n", "go on"),
    "bad chunks": fault(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nworld\r\n"),
    "negative length": fault(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello"),
    "closed when idle": fault(plain(200)),
}


# The client.

class Answer:
    def __init__(self):
        self.status, self.headers, self.body, self.whole, self.seconds, self.why = 0, {}, b"", False, 0.0, ""

    @property
    def good(self):
        return self.status == 200 and self.whole

    def streamed(self, pieces):
        return (self.good and self.body.count(b"event: content_block_delta") == pieces
                and self.body.endswith(event("message_stop")) and b"event: error" not in self.body)

    @property
    def error(self):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return json.loads(self.body)["error"]["type"]
        return None

    def __str__(self):
        return f"{self.status} {'whole' if self.whole else 'cut'} {self.why} {self.body[-120:]!r}"


async def read_answer(reader, answer):
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    answer.status = int(lines[0].split()[1])
    answer.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    if answer.headers.get("transfer-encoding") == "chunked":
        pieces = []
        while True:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            piece = await reader.readexactly(size + 2)
            if not size:
                break
            pieces.append(piece[:-2])
            answer.body = b"".join(pieces) if len(pieces) % 64 == 0 else answer.body
        answer.body = b"".join(pieces)
    elif "content-length" in answer.headers:
        answer.body = await reader.readexactly(int(answer.headers["content-length"]))
    answer.whole = True


class Client:
    """A connection that serves one request after the other, and is made anew where it was closed."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def ask(self, do="", path="/v1/messages", method="POST", body=b'{"stream":true}', timeout=30, **headers):
        answer, start = Answer(), time.monotonic()
        try:
            await asyncio.wait_for(self._ask(answer, do, path, method, body, headers), timeout)
        except asyncio.IncompleteReadError as err:
            answer.body += err.partial
            answer.why = "cut"
            self.close()
        except (OSError, asyncio.TimeoutError, ValueError, IndexError) as err:
            answer.why = f"{type(err).__name__} {err}"
            self.close()
        answer.seconds = time.monotonic() - start
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    async def _ask(self, answer, do, path, method, body, headers):
        kept = self.writer is not None
        if not kept:
            await self.connect()
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        data = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nx-do: {do}\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body
        try:
            self.writer.write(data)
            await read_answer(self.reader, answer)
        except (OSError, asyncio.IncompleteReadError):
            # An idle connection may be closed at any time: sending again on a fresh one is what every client does.
            if not kept or answer.status:
                raise
            self.close()
            await self.connect()
            self.writer.write(data)
            await read_answer(self.reader, answer)

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None


async def ask(port, *args, **kwargs):
    client = Client(port)
    answer = await client.ask(*args, **kwargs)
    client.close()
    return answer


def ask_health(port):
    """`GET /health` from a thread of its own (`asyncio.to_thread`), for where the endpoints here keep everything else waiting: a
    client that connects and then says nothing for `clientSeconds` is closed, and a late look at an answer says nothing of it.
    The seconds it took and what it said."""
    start = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/health", headers={"connection": "close"})
        answer = connection.getresponse()
        health = json.loads(answer.read())
    return time.monotonic() - start, health


def raw_connections(port, number):
    """Sockets that are connecting; nothing is waited for."""
    sockets = []
    for _ in range(number):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", port))
        sockets.append(sock)
    return sockets


def send_what_fits(sock, data):
    with contextlib.suppress(OSError):
        return sock.send(data)
    return 0


async def exchange(port, data, seconds, pause=0.0):
    """Sends raw bytes (in pieces, if `data` is a list), and reads until the other side closes, `seconds` at most."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received, closed, start = b"", False, time.monotonic()

    async def send():
        with contextlib.suppress(OSError):
            for piece in data if isinstance(data, list) else [data]:
                writer.write(piece)
                await writer.drain()
                if pause:
                    await asyncio.sleep(pause)

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(seconds):
            while piece := await reader.read(1 << 16):
                received += piece
            closed = True
    except TimeoutError:
        pass
    except OSError:
        closed = True
    sending.cancel()
    writer.close()
    return received, closed, time.monotonic() - start


# The balancer, from outside.

class Balancer:
    def __init__(self, run, endpoints, stderr=None, port=0, popen=None, **settings):
        self.run, self.endpoints, self.stderr, self.port, self.popen = run, endpoints, stderr, port, popen or {}
        self.settings = {"affinity": "off"} | settings
        self.folder = tempfile.mkdtemp(dir=run.folder)
        os.chmod(self.folder, 0o755)
        self.config, self.log = os.path.join(self.folder, "endpoints.json"), os.path.join(self.folder, "log")

    def text(self, endpoints=None, **settings):
        entries = [e if isinstance(e, dict) else e.entry() for e in endpoints or self.endpoints]
        return json.dumps({"endpoints": entries} | self.settings | settings)

    def configure(self, *args, **settings):
        """Replaces the file as editors do."""
        with open(self.config + ".new", "w", encoding="utf-8") as file:
            file.write(self.text(*args, **settings))
        os.replace(self.config + ".new", self.config)

    async def __aenter__(self):
        self.configure()
        with contextlib.ExitStack() as stack:
            stderr = stack.enter_context(open(self.log, "wb")) if self.stderr is None else self.stderr
            self.process = subprocess.Popen(
                [self.run.binary, "--config", self.config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
                env={**os.environ, "HOST": "127.0.0.1", "PORT": str(self.port)}, **self.popen)
        children.append(self.process)
        self.pid, end = self.process.pid, time.monotonic() + 15
        while not (self.port and self.answers()):
            if self.stderr is None:
                with open(self.log, encoding="utf-8", errors="replace") as log:
                    if ready := re.search(r"listening on http://127\.0\.0\.1:(\d+)", text := log.read()):
                        self.port = int(ready[1])
                        continue
                if self.process.poll() is not None:
                    raise RuntimeError(f"the balancer did not start: {text.strip()[-300:]}")
            elif self.stderr == subprocess.PIPE and not self.port:
                line = await asyncio.to_thread(self.process.stderr.readline)
                if ready := re.search(rb"listening on http://127\.0\.0\.1:(\d+)", line):
                    self.port = int(ready[1])
                continue
            if time.monotonic() > end:
                raise RuntimeError("the balancer did not start in 15 s")
            await asyncio.sleep(0.02)
        return self

    def answers(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    async def __aexit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        await self.exit(5)

    async def exit(self, seconds):
        """The exit status, or None where it goes on running."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            await asyncio.sleep(0.01)
        return self.process.returncode

    def facts(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            text = status.read()
        number = lambda key: int(re.search(rf"{key}:\s+(\d+)", text)[1])
        return Facts(len(os.listdir(f"/proc/{self.pid}/fd")), number("Threads"), number("VmRSS"), number("VmHWM"))

    async def settled(self, seconds=2.0, descriptors=20, threads=None):
        """How long until it serves no request and has few descriptors (and threads) left; None if it takes longer than `seconds`."""
        start, facts = time.monotonic(), None
        while time.monotonic() - start < seconds:
            facts = self.facts()
            health = await self.health()
            if health.get("inFlight") == 0 and facts.fds <= descriptors and facts.threads <= (threads or 1 << 30):
                return time.monotonic() - start
            await asyncio.sleep(0.02)
        return None

    async def health(self, timeout=5):
        token = {"x-api-key": client["token"] for client in self.settings.get("clientTokens", [])[:1]}
        answer = await ask(self.port, path="/health", method="GET", body=b"", timeout=timeout, **token)
        return json.loads(answer.body) if answer.good else {}

    async def metrics(self):
        answer = await ask(self.port, path="/metrics", method="GET", body=b"")
        return {name: float(value) for name, value in
                (line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if line and line[0] != "#")}

    async def total(self, prefix):
        return sum(value for name, value in (await self.metrics()).items() if name.startswith(prefix))


class Facts:
    def __init__(self, fds, threads, rss, peak):
        self.fds, self.threads, self.rss, self.peak = fds, threads, rss, peak

    def __str__(self):
        return f"{self.fds} descriptors, {self.threads} threads, {self.rss / 1024:.1f} MiB"


# The run.

class Failed(Exception):
    pass


class Run:
    def __init__(self, binary, quick, soak, folder, sdk=None):
        self.sdk = sdk
        self.binary, self.quick, self.soak, self.folder = os.path.abspath(binary), quick, soak, folder
        self.endpoints, self.faults, self.figures = [], [], []

    def pick(self, full, quick):
        return quick if self.quick else full

    def expect(self, good, expected, found):
        if not good:
            self.faults.append(f"expected {expected}, found {found}")

    def figure(self, text):
        self.figures.append(text)

    async def endpoint(self, name, script=None):
        endpoint = await Endpoint(name, script).start()
        self.endpoints.append(endpoint)
        return endpoint

    def balancer(self, endpoints, **settings):
        return Balancer(self, endpoints, **settings)

    def within(self, seconds):
        """A time that was promised, on this machine as it is now."""
        return seconds * 3 if self.busy else seconds


CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


def busy_share():
    """How much of the machine's time others took within a fifth of a second."""
    def read():
        with open("/proc/stat", encoding="ascii") as stat:
            numbers = [int(n) for n in stat.readline().split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]
    (total, idle) = read()
    time.sleep(0.2)
    (total2, idle2) = read()
    return 1 - (idle2 - idle) / max(total2 - total, 1)


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("inf")


async def others(port, seconds, pause=0.01):
    """What everybody else sees meanwhile: a kept connection and new ones by turns. Returns the times and the bad answers."""
    kept, times, bad, end = Client(port), [], [], time.monotonic() + seconds
    while time.monotonic() < end:
        for answer in (await kept.ask(timeout=15), await ask(port, timeout=15)):
            times.append(answer.seconds)
            if not answer.good:
                bad.append(str(answer))
        await asyncio.sleep(pause)
    kept.close()
    return times, bad


async def highest(balancer, seconds):
    """The most that it has in the latter half of some seconds: load goes up and down."""
    end, seen = time.monotonic() + seconds, []
    while time.monotonic() < end:
        await asyncio.sleep(0.5)
        seen.append(balancer.facts())
    return Facts(*(max(getattr(facts, key) for facts in seen[len(seen) // 2:]) for key in ("fds", "threads", "rss", "peak")))


# Clients.

async def flood(run, balancer, number=200):
    """One flood: are the streams that run whole, does /health answer meanwhile, and how soon is all well afterwards?"""
    streams = [asyncio.create_task(ask(balancer.port, "stream 12 0.05")) for _ in range(3)]
    await asyncio.sleep(0.1)
    sockets = raw_connections(balancer.port, number)
    for n, sock in enumerate(sockets):
        # Who has begun a head is left in peace for a second, and not closed for others at once.
        if n % 8 == 0:
            send_what_fits(sock, b"POST /v1/messages HTTP/1.1\r\n")
    health = await ask(balancer.port, path="/health", method="GET", body=b"", timeout=15)
    run.expect(health.good, "/health during the flood", health)
    for answer in await asyncio.gather(*streams):
        run.expect(answer.streamed(12), "whole streams during the flood", answer)
    for sock in sockets:
        sock.close()
    after = await ask(balancer.port, timeout=15)
    run.expect(after.good and after.seconds < run.within(1), "an answer within 1 s after the flood", f"{after.seconds:.2f} s, {after}")
    return health.seconds, after.seconds


async def floods(run, balancer, rounds):
    """Rounds of `flood`; nothing grows after the second one."""
    times = [await flood(run, balancer) for _ in range(2)]
    await balancer.settled(3)
    before = balancer.facts()
    times += [await flood(run, balancer) for _ in range(rounds - 2)]
    await balancer.settled(3)
    facts = balancer.facts()
    for what, most in (("fds", before.fds + 4), ("threads", before.threads + 8), ("rss", before.rss * 1.1 + 2048)):
        run.expect(getattr(facts, what) <= most, f"{what} of at most {most:.0f} after {rounds} floods", getattr(facts, what))
    run.expect(balancer.process.poll() is None, "a running balancer", "its end")
    run.figure(f"{rounds} floods, /health within {max(t[0] for t in times):.2f} s during, an answer {max(t[1] for t in times):.3f} s after; "
               f"after the second: {before}; at the end: {facts}")


@check
async def descriptors(run):
    """Floods of 200 connections where 64 descriptors are allowed."""
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))}
    async with run.balancer([await run.endpoint("one")], popen=limit) as balancer:
        await floods(run, balancer, run.pick(20, 5))


@check
async def descriptors_lowered(run):
    """The limit lowered to 64 while it runs."""
    async with run.balancer([await run.endpoint("one")]) as balancer:
        await flood(run, balancer)
        resource.prlimit(balancer.pid, resource.RLIMIT_NOFILE, (64, 64))
        await floods(run, balancer, run.pick(6, 3))


@check
async def threads(run):
    """Floods of 200 connections where 48 threads are allowed."""
    # The limit counts all of a user's threads, and does not bind root.
    if os.geteuid() == 0:
        who, used = 64123, 0
    else:
        who, used = os.geteuid(), sum(len(os.listdir(f"/proc/{pid}/task")) for pid in os.listdir("/proc")
                                      if pid.isdigit() and os.path.exists(f"/proc/{pid}/task") and os.stat(f"/proc/{pid}").st_uid == os.geteuid())

    def limit():
        resource.setrlimit(resource.RLIMIT_NPROC, (used + 48, used + 48))
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(who)
            os.setuid(who)

    # The other user may not be allowed to reach the binary where it lies.
    binary, run.binary = run.binary, shutil.copy(run.binary, os.path.join(run.folder, "claude-loadbalancer"))
    os.chmod(run.binary, 0o755)
    try:
        async with run.balancer([await run.endpoint("one")], popen={"preexec_fn": limit}) as balancer:
            await floods(run, balancer, run.pick(10, 4))
    finally:
        run.binary = binary


@check
async def slow_clients(run):
    """2,000 connections that send a byte now and then, and 2,000 that send nothing."""
    number = min(2000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500) // 5)
    for most, seconds in ((3 * number, 4), (1024, 4)):
        async with run.balancer([await run.endpoint("one")], maxConnections=most, clientSeconds=seconds) as balancer:
            await ask(balancer.port)
            first = balancer.facts()
            sockets = []
            for _ in range(number // 50):
                sockets += raw_connections(balancer.port, 100)
                await asyncio.sleep(0.02)
            start, head = time.monotonic(), b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx: "

            async def drip():
                sent = 0
                while True:
                    for n, sock in enumerate(sockets[::2]):
                        send_what_fits(sock, head[sent:sent + 1] or b"a")
                        if n % 100 == 0:
                            await asyncio.sleep(0)
                    sent += 1
                    await asyncio.sleep(0.5)

            dripping = asyncio.create_task(drip())
            times, bad = await others(balancer.port, seconds - 1)
            during = balancer.facts()
            gone = None
            while time.monotonic() - start < 3 * seconds and gone is None:
                await asyncio.sleep(0.1)
                gone = time.monotonic() - start if balancer.facts().fds <= first.fds + 8 else None
            dripping.cancel()
            for sock in sockets:
                sock.close()
            p99 = percentile(times, 0.99)
            run.expect(not bad, "good answers for others", bad[:2])
            run.expect(p99 < run.within(0.1), "a p99 of others under 100 ms", f"{p99 * 1e3:.1f} ms")
            run.expect(gone is not None and gone < seconds + 2 + run.within(1), f"all closed within {seconds} s, and 2 s to read the 408", f"{gone} s, {balancer.facts()}")
            run.figure(f"{2 * number} with maxConnections {most}: others ({len(times)}) p50 {percentile(times, 0.5) * 1e3:.1f} ms, "
                       f"p99 {p99 * 1e3:.1f} ms; {during}; all closed after {gone or 0:.1f} s (clientSeconds {seconds})")


def most_connections():
    """Of the balancer, and of all its clients together, as far as descriptors allow."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(8192, allowed // 2), min(10_000, allowed - 1000)


ASK_HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


@check
async def crowd(run):
    """10,000 connections of clients that come and go, half of them silent, as long as the soak."""
    most, number = most_connections()
    asks = [b"GET /v1/mod", ASK_HEALTH, POST + b"content-length: 2\r\n\r\n{}"]
    async with run.balancer([await run.endpoint("one")], maxConnections=most) as balancer:
        await ask(balancer.port)
        empty, here, going, came = balancer.facts(), collections.deque(), True, 0

        async def come(count):
            for n, sock in enumerate(raw_connections(balancer.port, count)):
                send_what_fits(sock, asks[n % 6 // 2] if n % 2 else b"")
                here.append(sock)
            await asyncio.sleep(0.05)

        async def come_and_go():
            nonlocal came
            while going:
                await come(40)
                came += 40
                while len(here) > number:
                    sock = here.popleft()
                    if len(here) % 2:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.close()

        while len(here) < number:
            await come(200)
        passing, facts, times = asyncio.create_task(come_and_go()), [], []
        for _ in range(4):
            (quarter, bad), peak = await asyncio.gather(others(balancer.port, run.soak / 4), highest(balancer, run.soak / 4))
            times += quarter
            facts.append(peak)
            run.expect(not bad, "good answers for others", bad[:2])
        going = False
        await passing
        p99 = percentile(times, 0.99)
        run.expect(p99 < run.within(0.1), "a p99 of others under 100 ms", f"{p99 * 1e3:.1f} ms")
        run.expect(facts[-1].fds <= most + 200, f"at most {most} connections", facts[-1])
        # The table of the clients doubles once, when as many as it can hold have come and gone.
        run.expect(facts[-1].rss <= empty.rss + 2 * most, "at most 2 KiB a place", f"{empty}, then {facts[-1]}")
        for sock in here:
            sock.close()
        gone = await balancer.settled(10, 100)
        run.expect(gone is not None, "all gone within 10 s", balancer.facts())
        run.figure(f"{number} at a time, {came} came and went in {run.soak:.0f} s: others' p99 {p99 * 1e3:.1f} ms; at most {'; then '.join(map(str, facts))}")


@check
async def staying(run):
    """8,192 clients that have asked once and stay."""
    most, _ = most_connections()
    async with run.balancer([await run.endpoint("one")], maxConnections=most) as balancer:
        await ask(balancer.port)
        before, here = balancer.facts(), []
        # Some places are for the others.
        while len(here) < most - 10:
            here += raw_connections(balancer.port, min(200, most - 10 - len(here)))
            await asyncio.sleep(0.02)
            for sock in here[-200:]:
                send_what_fits(sock, ASK_HEALTH)
        times, bad = await others(balancer.port, 5)
        facts, p99 = balancer.facts(), percentile(times, 0.99)
        each = (facts.rss - before.rss) / len(here)
        run.expect(not bad and p99 < run.within(0.1), "good answers for others, a p99 under 100 ms", f"{bad[:2]}, {p99 * 1e3:.1f} ms")
        run.expect(facts.fds >= len(here), f"{len(here)} connections that stay", facts)
        run.expect(each < 2, "at most 2 KiB for each that stays", f"{each:.2f} KiB")
        run.figure(f"{len(here)}: others' p99 {p99 * 1e3:.1f} ms, {each:.2f} KiB each; {before} before, {facts} with them")
        for sock in here:
            sock.close()


@check
async def heads(run):
    """Heads without end: fast, slow, of many lines."""
    async with run.balancer([await run.endpoint("one")], clientSeconds=2) as balancer:
        start = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n"
        await exchange(balancer.port, start + b"\r\n", 0.5)
        before, number = balancer.facts(), 50
        answers = await asyncio.gather(*(exchange(balancer.port, start + b"x: " + b"a" * (1 << 20), 10) for _ in range(number)))
        grown = balancer.facts().peak - before.peak
        # A reset may overtake the answer: then the client sees a close.
        ends = [answer.startswith(b"HTTP/1.1 431 ") or not answer for answer, _, _ in answers]
        run.expect(all(ends) and all(closed for _, closed, _ in answers), "431 and a close for an endless header", answers[0])
        # The head, and the thread that reads it.
        run.expect(grown < number * (64 + 64) + 2048, f"at most 64 KiB and a thread each for {number} connections", f"{grown} KiB")
        for lines, status in ((126, b"200"), (128, b"431"), (20000, b"431")):
            answer, *_ = await exchange(balancer.port, start + b"x: 1\r\n" * lines + b"connection: close\r\n\r\n", 10)
            run.expect(answer.startswith(b"HTTP/1.1 " + status) or (status == b"431" and not answer and lines > 1000),
                       f"{status} for {lines + 2} header lines", answer[:60])
        slow, closed, seconds = await exchange(balancer.port, [bytes([b]) for b in start + b"x: " + b"a" * 100], 10, pause=0.1)
        run.expect(slow.startswith(b"HTTP/1.1 408 ") and closed and seconds < run.within(6), "408 after clientSeconds for a head that never ends",
                   f"{slow[:40]} after {seconds:.1f} s")
        run.figure(f"{number} endless headers took {grown} KiB in all; {sum(bool(a) for a, *_ in answers)} read their 431; slow head: 408 after {seconds:.1f} s of 2")


@check
async def pipelining(run):
    """100,000 requests on one connection, of which nobody reads the answers."""
    async with run.balancer([await run.endpoint("one")], clientSeconds=3) as balancer:
        for path in (b"/health", b"/v1/models"):
            await others(balancer.port, 0.3)
            before = balancer.facts()
            (sock,) = raw_connections(balancer.port, 1)
            line = b"GET %s HTTP/1.1\r\nhost: localhost\r\n\r\n" % path
            data, sent = memoryview(line * 100_000), 0

            async def send():
                nonlocal sent
                while sent < len(data):
                    sent += send_what_fits(sock, data[sent:sent + (1 << 18)])
                    await asyncio.sleep(0.005)

            sending = asyncio.create_task(send())
            times, bad = await others(balancer.port, 1.5)
            await asyncio.sleep(0.2)  # Their own connections are gone by then.
            during, p99 = balancer.facts(), percentile(times, 0.99)
            grown = during.rss - before.rss
            sending.cancel()
            run.expect(not bad and p99 < run.within(0.1), "others unharmed (p99 under 100 ms)", f"{p99 * 1e3:.1f} ms, {bad[:2]}")
            run.expect(grown < 4096, "flat memory", f"{grown} KiB more")
            # First it answers until the kernel's buffers are full, one request after the other: some 30,000.
            freed = await balancer.settled(40, during.fds - 1)
            run.expect(freed is not None, "the connection closed after clientSeconds", balancer.facts())
            sock.close()
            run.figure(f"{path.decode()}: {sent // len(line):,} taken, others' p99 {p99 * 1e3:.1f} ms, {grown} KiB more, closed after another {freed or 0:.1f} s")


@check
async def never_reading(run):
    """300 clients that ask for a large answer and never read it."""
    async with run.balancer([await run.endpoint("one")], clientSeconds=2) as balancer:
        await ask(balancer.port)
        before = balancer.facts()

        async def never_read(number):
            sockets = []
            for _ in range(number):
                sock = socket.socket()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", balancer.port))
                sockets.append(sock)
            await asyncio.sleep(0.3)
            for sock in sockets:
                send_what_fits(sock, b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx-do: large 16000000\r\n\r\n")
            return sockets

        (sock,) = await never_read(1)
        await asyncio.sleep(0.2)
        single = await balancer.settled(20, before.fds + 8)
        run.expect(single is not None and single < 2 + run.within(0.7), "one worker free after clientSeconds (2)", f"{single or 20:.1f} s")
        sock.close()
        sockets = await never_read(300)
        start, slowest, most, freed, all_sent = time.monotonic(), 0, 0, None, False
        while time.monotonic() - start < 25:
            seconds, load = await asyncio.to_thread(ask_health, balancer.port)
            slowest = max(slowest, seconds)
            most = max(most, load["inFlight"])
            all_sent |= load["inFlight"] + load["queued"] > 200
            if all_sent and load["inFlight"] + load["queued"] == 0:
                freed = time.monotonic() - start
                break
            await asyncio.sleep(0.1)
        run.expect(slowest < run.within(0.5), "/health within 500 ms meanwhile", f"{slowest * 1e3:.0f} ms")
        answer = await ask(balancer.port)
        # What the endpoint here writes into 300 sockets takes time of its own, on a busy machine some seconds.
        run.expect(freed is not None and freed < 4 + run.within(6) and answer.good, "workers free after clientSeconds (2), in two waves", f"{freed or 25:.1f} s, {most} busy, {answer}")
        run.figure(f"one client: free after {single or 20:.1f} s (clientSeconds 2); 300: {most} workers busy at most, all free after {freed or 0:.1f} s, "
                   f"/health within {slowest * 1e3:.0f} ms; {balancer.facts()}")
        for sock in sockets:
            sock.close()


@check
async def leaving(run):
    """1,500 clients that reset at once or after sending, and 1,500 that send a request and go."""
    async with run.balancer([await run.endpoint("one")]) as balancer:
        data = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-do: wait 0.05\r\ncontent-length: 2\r\n\r\n{}"

        async def wave(number):
            for n in range(number):
                (sock,) = raw_connections(balancer.port, 1)
                if n % 4:
                    send_what_fits(sock, data)
                if n % 2:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
                if n % 20 == 0:
                    await asyncio.sleep(0.002)

        await wave(1000)
        await balancer.settled(10)
        before = balancer.facts()
        await wave(3000)
        answer = await ask(balancer.port, timeout=10)
        back = await balancer.settled(10, before.fds + 4)
        facts = balancer.facts()
        run.expect(answer.good and answer.seconds < run.within(2), "an answer within 2 s", f"{answer.seconds:.2f} s, {answer}")
        run.expect(back is not None and back < run.within(2), "all gone within 2 s", f"{back} s, {facts}")
        run.expect(facts.rss < before.rss * 1.1 + 2048, "flat memory", f"{before} before, {facts} after")
        run.figure(f"an answer after {answer.seconds:.3f} s, all gone after {back or 0:.2f} s; {before} after 1,000, {facts} after 4,000")


# Every malformed shape: what is sent, and the statuses that are right for it. 0 is a close without an answer.
POST = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n"
SMUGGLED = b"GET /v1/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"
MALFORMED = [
    ("two lengths", POST + b"content-length: 2\r\ncontent-length: 40\r\n\r\n{}" + SMUGGLED, {400}),
    ("two equal lengths", POST + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}" + SMUGGLED, {400}),
    ("a list of lengths", POST + b"content-length: 2, 2\r\n\r\n{}" + SMUGGLED, {400}),
    ("a signed length", POST + b"content-length: +2\r\n\r\n{}" + SMUGGLED, {400}),
    ("a negative length", POST + b"content-length: -2\r\n\r\n{}" + SMUGGLED, {400}),
    ("a hexadecimal length", POST + b"content-length: 0x2\r\n\r\n{}" + SMUGGLED, {400}),
    ("an empty length", POST + b"content-length:\r\n\r\n" + SMUGGLED, {400}),
    *[(f"a length of {digits} digits", POST + b"content-length: " + b"9" * digits + b"\r\n\r\n" + SMUGGLED, {413, 400}) for digits in (9, 11, 16, 19, 20, 40)],
    ("a length and chunks", POST + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, {400}),
    ("chunks and a length", POST + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n" + SMUGGLED, {400}),
    ("an unknown coding", POST + b"transfer-encoding: gzip\r\n\r\n" + SMUGGLED, {400}),
    ("two codings", POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, {400}),
    ("chunked twice", POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, {400}),
    ("a coding with a tab", POST + b"transfer-encoding:\tchun\tked\r\n\r\n0\r\n\r\n" + SMUGGLED, {400}),
    ("a folded header", POST + b"x: a\r\n b\r\ncontent-length: 2\r\n\r\n{}" + SMUGGLED, {400}),
    ("a folded first header", b"POST /v1/messages HTTP/1.1\r\n host: localhost\r\n\r\n" + SMUGGLED, {400}),
    ("a space before the colon", POST + b"content-length : 2\r\n\r\n{}" + SMUGGLED, {400}),
    ("bare LF", b"POST /v1/messages HTTP/1.1\nhost: a\n\n" + SMUGGLED, {400}),
    ("a bare LF in one line", POST + b"x: y\ncontent-length: 2\r\n\r\n{}" + SMUGGLED, {400}),
    ("a bare CR", POST + b"x: a\rcontent-length: 2\r\n\r\n{}" + SMUGGLED, {400}),
    ("NUL in a header", POST + b"x: a\0b\r\n\r\n" + SMUGGLED, {400}),
    ("NUL in the target", b"GET /v1/\0 HTTP/1.1\r\nhost: localhost\r\n\r\n" + SMUGGLED, {400}),
    ("no version", b"GET /v1/models\r\nhost: localhost\r\n\r\n" + SMUGGLED, {400}),
    ("HTTP/0.9", b"GET /v1/models\r\n", {400}),
    ("HTTP/2.0", b"GET /v1/models HTTP/2.0\r\nhost: localhost\r\n\r\n" + SMUGGLED, {505}),
    ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), {505, 400}),
    ("a TLS greeting", bytes.fromhex("16030100c8010000c40303") + b"a" * 190, {400}),
    ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", {400}),
    ("noise", bytes(range(256)), {400}),
    ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nhost: localhost\r\n\r\n" + SMUGGLED, {405}),
    ("an asterisk", b"GET * HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", {404, 400}),
    ("an absolute target", b"GET http://localhost/v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", {200}),
    ("no host", b"GET /v1/models HTTP/1.1\r\n\r\n" + SMUGGLED, {400}),
    ("two hosts", b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: b\r\n\r\n" + SMUGGLED, {400}),
    ("a target of 1 MB", b"GET /v1/" + b"a" * (1 << 20) + b" HTTP/1.1\r\nhost: localhost\r\n\r\n", {431, 414, 0}),
    ("chunk extensions and trailers", POST + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nx: y\r\n\r\n", {200}),
    ("a bad chunk size", POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n" + SMUGGLED, {400}),
    ("a signed chunk size", POST + b"transfer-encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, {400}),
    ("a huge chunk size", POST + b"transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n{}\r\n0\r\n\r\n" + SMUGGLED, {400, 413}),
    ("a chunk size of 17 digits", POST + b"transfer-encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n" + SMUGGLED, {400, 413}),
    ("a chunk longer than its size", POST + b"transfer-encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n" + SMUGGLED, {400}),
    ("chunks with bare LF", POST + b"transfer-encoding: chunked\r\n\r\n2\n{}\n0\n\n" + SMUGGLED, {400}),
    ("an endless chunk extension", POST + b"transfer-encoding: chunked\r\n\r\n2;" + b"a" * (1 << 20), {400, 431, 0}),
    ("a body shorter than announced", POST + b"content-length: 100\r\n\r\n{}", {400, 408}),
    ("chunks that do not end", POST + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", {400, 408}),
    ("a body longer than announced", POST + b"content-length: 2\r\nconnection: close\r\n\r\n{}" + SMUGGLED, {200}),
    ("an expectation", POST + b"expect: 200-ok\r\ncontent-length: 2\r\n\r\n{}" + SMUGGLED, {417}),
    ("a body for HTTP/1.0 in chunks", b"POST /v1/messages HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, {400}),
]


@check
async def malformed(run):
    """Every malformed shape of a request: one clear answer or a close, never a second request out of a body."""
    endpoint = await run.endpoint("one")
    async with run.balancer([endpoint], clientSeconds=1) as balancer:
        await ask(balancer.port)

        async def one(name, data, statuses):
            received, closed, seconds = await exchange(balancer.port, data, 15)
            found = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", received)]
            run.expect(len(found) <= 1 and (found or [0])[0] in statuses, f"for {name} one of {sorted(statuses)}", found)
            run.expect(closed, f"a close after {name}", f"an open connection after {seconds:.1f} s")

        before = balancer.facts()
        for _ in range(run.pick(5, 2)):
            await asyncio.gather(*(one(*row) for row in MALFORMED))
        smuggled = [path for path in endpoint.paths if "smuggled" in path]
        run.expect(not smuggled, "no smuggled request", smuggled)
        good = await ask(balancer.port)
        run.expect(good.good and await balancer.settled(5, before.fds + 4) is not None, "normal service and no leak", f"{good}, {balancer.facts()}")
        run.figure(f"{len(MALFORMED)} shapes, all closed, none smuggled; {balancer.facts()}")


async def upload(port, size, announced=None, body=None):
    """Sends a body from one shared piece of memory, without a copy; returns the status, 0 where the connection broke."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    received = b""
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))

        async def send():
            with contextlib.suppress(OSError):
                await loop.sock_sendall(sock, POST + b"content-length: %d\r\nconnection: close\r\n\r\n" % (announced or size))
                await loop.sock_sendall(sock, body[:size])

        sending = asyncio.create_task(send())
        with contextlib.suppress(OSError):
            async with asyncio.timeout(60):
                while piece := await loop.sock_recv(sock, 65536):
                    received += piece
        sending.cancel()
    finally:
        sock.close()
    return int(received[9:12]) if received.startswith(b"HTTP/1.1 ") else 0


@check
async def bodies(run):
    """Bodies that are too large, slow or cut; more at once than memory is set aside for."""
    endpoint = await run.endpoint("one")
    # 64 of the largest are promised, where that is at most half of the machine.
    with open("/proc/meminfo", encoding="ascii") as info:
        machine = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in info}
    total = machine["MemTotal"]
    mebi = run.pick(32, 4) if machine["MemAvailable"] > 6000 else 4
    size, number = mebi << 20, 64
    body = memoryview(bytes(size + 1))
    async with run.balancer([endpoint], clientSeconds=2, maxBodyMB=mebi) as balancer:
        await ask(balancer.port)
        announced = await upload(balancer.port, 0, size + 1, body)
        chunks = [POST + b"transfer-encoding: chunked\r\n\r\n"] + [chunk(bytes(1 << 20))] * (mebi + 1)
        chunked, *_ = await exchange(balancer.port, chunks, 15)
        run.expect(announced == 413 and (chunked.startswith(b"HTTP/1.1 413 ") or not chunked), "413 for a body over the limit, with and without a length", (announced, chunked[:40]))
        cut, *_ = await exchange(balancer.port, [POST + b"content-length: 5000\r\n\r\n"] + [b"a"] * 10, 15, pause=0.05)
        run.expect(cut.startswith(b"HTTP/1.1 408 "), "408 for a body that stops", cut[:40])
        most = balancer.facts()
        endpoint.gate.clear()
        uploads = [asyncio.create_task(upload(balancer.port, size, None, body)) for _ in range(number + 16)]
        start = time.monotonic()
        while time.monotonic() - start < 40 and sum(task.done() for task in uploads) + endpoint.requests - 1 < number + 16:
            await asyncio.sleep(0.05)
        health = await ask(balancer.port, path="/health", method="GET", body=b"")
        run.expect(health.good, "/health while bodies fill the memory", health)
        endpoint.gate.set()
        small = await ask(balancer.port)
        run.expect(small.good, "an answer to a small request", small)
        statuses = await asyncio.gather(*uploads)
        counts = {status: statuses.count(status) for status in sorted(set(statuses))}
        peak, bound = balancer.facts().peak // 1024, min(number * mebi, total // 2)
        run.expect(counts.get(200, 0) >= min(number, bound // mebi) * 0.9 and set(counts) <= {200, 503, 0} and counts.get(503, 0) > 0,
                   f"{number} served (or a few less), the others 503", counts)
        run.expect(peak < bound * 1.1 + 64, f"a peak within {bound} MiB and a tenth", f"{peak} MiB")
        await balancer.settled(5)
        run.figure(f"{number + 16} of {mebi} MiB at once: {counts}, peak {peak} MiB (bound {bound}); afterwards {balancer.facts()}")


# Endpoints.

@check
async def faults(run):
    """An endpoint that resets, stalls, sends garbage, at every point: the contract's row for each."""
    wanted = {"x": None}
    sick = await run.endpoint("sick", lambda request: wanted["x"])
    well = await run.endpoint("well")
    is_ok = lambda answer: answer.good and answer.headers.get("x-served-by") == "well"
    is_408 = lambda answer: answer.status == 408 and answer.error == "timeout_error"
    # Nothing at all of it may have been passed on.
    is_cut = lambda answer: answer.status in (0, 200) and not answer.whole and "Timeout" not in answer.why
    ends_with_error = lambda answer: answer.good and answer.body.count(b"event: error") == 1 and b"piece 0" in answer.body
    rows = dict.fromkeys(FAULTS, is_ok) | {
        "silent": is_408, "silent in the head": is_408, "silent before the first event": is_408,
        "silent in an event": ends_with_error, "reset in an event": ends_with_error, "no message_stop": ends_with_error,
        "too short": is_cut, "bad chunks": is_cut, "too long": lambda answer: answer.good and answer.body == b"hello",
        "closed when idle": lambda answer: answer.good}
    settings = {"cooldownSeconds": 0.05, "responseSeconds": 0.7, "idleSeconds": 0.7}
    async with run.balancer([sick, well], **settings) as balancer:
        await others(balancer.port, 0.5)
        first = balancer.facts()
        for _ in range(run.pick(3, 1)):
            for name, is_right in rows.items():
                wanted["x"], seen, kept = name, sick.requests, Client(balancer.port)
                for _ in range(6):
                    answer = await kept.ask(timeout=10)
                    if sick.requests > seen:
                        break
                    await asyncio.sleep(0.03)
                else:
                    run.expect(False, f"the endpoint asked, for {name}", "other endpoints only")
                run.expect(is_right(answer), f"the contract's row for {name}", answer)
                wanted["x"] = None
                await asyncio.sleep(0.06)
                # What the fault left behind must not reach the next ones.
                for _ in range(3):
                    after = await kept.ask(timeout=10)
                    run.expect(after.good and "x-evil" not in after.headers and after.body == OK_BODY, f"a normal answer after {name}", after)
                kept.close()
        await balancer.settled(5)
        facts = balancer.facts()
        run.expect(facts.peak < first.rss + 16384, "flat memory", f"{first} first, {facts}, peak {facts.peak} KiB")
        run.figure(f"{len(rows)} faults; {first} first, {facts}, peak {facts.peak / 1024:.1f} MiB")
    # A connection that is never taken, one on which TLS never answers, and nobody there at all.
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fill = raw_connections(full.getsockname()[1], 4)
    silent = await asyncio.start_server(lambda reader, writer: silence(reader), "127.0.0.1", 0)
    entry = lambda name, scheme, port: {"name": name, "baseURL": f"{scheme}://127.0.0.1:{port}", "authToken": "x"}
    ports = full.getsockname()[1], silent.sockets[0].getsockname()[1]
    names = [entry("full", "http", ports[0]), entry("tls", "https", ports[1]), entry("nobody", "http", 1), well]
    async with run.balancer(names, connectSeconds=0.5) as balancer:
        answers = [await ask(balancer.port, timeout=20) for _ in range(4)]
        slowest = max(answer.seconds for answer in answers)
        run.expect(all(is_ok(answer) for answer in answers) and slowest < 1 + run.within(1), "another endpoint where no connection is made", [str(a) for a in answers])
        health = {e["name"]: e["state"] for e in (await balancer.health())["endpoints"]}
        run.expect([name for name, state in health.items() if state != "resting"] == ["well"], "rests for all but one", health)
        run.figure(f"no connection, no TLS, nobody: {slowest:.2f} s at most (connectSeconds 0.5, two of them in one request)")
    silent.close()
    for sock in [full, *fill]:
        sock.close()


@check
async def large_answer(run):
    """An answer of 1 GB."""
    size = run.pick(1_000_000_000, 300_000_000)
    async with run.balancer([await run.endpoint("one")]) as balancer:
        await ask(balancer.port)
        before, start, got, loop = balancer.facts(), time.monotonic(), 0, asyncio.get_running_loop()
        (sock,) = raw_connections(balancer.port, 1)
        await asyncio.sleep(0.1)
        send_what_fits(sock, f"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx-do: large {size}\r\nconnection: close\r\n\r\n".encode())
        room = bytearray(1 << 19)
        while more := await loop.sock_recv_into(sock, room):
            got += more
        sock.close()
        seconds, grown = time.monotonic() - start, balancer.facts().peak - before.rss
        run.expect(size < got < size + 2000, f"{size} bytes and a head", got)
        run.expect(grown < 4096, "flat memory", f"{grown} KiB more")
        run.figure(f"{got / 1e6:.0f} MB in {seconds:.1f} s, {grown} KiB more at most")


@check
async def chaos(run):
    """One of two endpoints fails 30 of 100 requests and 40 of 100 streams: no client sees it."""
    sick, well, number = await run.endpoint("sick"), await run.endpoint("well"), run.pick(3000, 1500)
    count, rests = 0, []
    overloaded, limited = plain(529, b'{"type":"error"}'), plain(429, b'{"type":"error"}')
    failing = [overloaded, limited, plain(500, b'{"type":"error"}'), "reset"]

    def script(request):
        nonlocal count
        count += 1
        # 30 (40) of each 100, spread. An answer takes 40 ms: a share of the traffic is one of time, too, while an endpoint rests.
        is_stream = request.headers.get("x-do", "").startswith("stream")
        if count * 37 % 100 >= (40 if is_stream else 30):
            return None
        fault = (failing + ["error first"] if is_stream else failing)[count % (5 if is_stream else 4)]
        if fault in failing[2:]:
            rests.append(time.monotonic())
        return fault

    async def load(balancer, share, pause=0.0, seconds=None):
        bad, client, end = [], Client(balancer.port), time.monotonic() + (seconds or CHECK_SECONDS)
        for n in range(share):
            answer = await (client.ask("stream 5 0.008") if n % 2 else client.ask("wait 0.04"))
            if not (answer.streamed(5) if n % 2 else answer.good):
                bad.append(str(answer))
            if time.monotonic() > end:
                break
            await asyncio.sleep(pause)
        return bad

    sick.script = script
    async with run.balancer([sick, well], cooldownSeconds=0.1) as balancer:
        start = time.monotonic()
        bad = sum(await asyncio.gather(*(load(balancer, number // 8) for _ in range(8))), [])
        seconds, share = time.monotonic() - start, (sick.requests / (sick.requests + well.requests))
        run.expect(not bad, "no failure that a client sees", f"{len(bad)}: {bad[:2]}")
        run.expect(share >= 0.15, "15 % of the traffic at least for the sick endpoint (cooldownSeconds 0.1)", f"{share:.1%}")
        run.figure(f"{number} requests, {len(bad)} failures, {count} at the sick one of which {len(rests)} made it rest, {share:.0%} of the traffic, {seconds:.0f} s")
    cooldown = run.pick(10, 2)
    rests.clear()
    sick.times.clear()
    async with run.balancer([sick, well], cooldownSeconds=cooldown) as balancer:
        bad = sum(await asyncio.gather(*(load(balancer, 1 << 30, 0.02, cooldown * 2.6) for _ in range(8))), [])
        run.expect(not bad, "no failure that a client sees", f"{len(bad)}: {bad[:2]}")
        late = []
        # Requests that were under way as the rest began do not count.
        for ended in (begin + cooldown for begin in rests):
            if ended < time.monotonic() - 1:
                late.append(min((t for t in sick.times if t > ended - 0.3), default=float("inf")) - ended)
        run.expect(late and max(late) < run.within(1), "a try within 1 s of each rest's end", late)
        run.figure(f"cooldownSeconds {cooldown}: {len(late)} rests, tried again {max(late, default=0):.2f} s after the end at most")


@check
async def all_down(run):
    """Every endpoint is down for a while, under load, and comes back."""
    one, two, seconds = await run.endpoint("one"), await run.endpoint("two"), run.pick(30, 6)
    async with run.balancer([one, two], cooldownSeconds=1, failures=1) as balancer:
        outcomes, running = [], True

        async def load():
            client = Client(balancer.port)
            while running:
                answer = await client.ask(timeout=15)
                outcomes.append((time.monotonic(), answer))
                await asyncio.sleep(0.05)
            client.close()

        clients = [asyncio.create_task(load()) for _ in range(16)]
        await asyncio.sleep(1)
        down = time.monotonic()
        one.stop(), two.stop()
        await asyncio.sleep(seconds / 2)
        health = await balancer.health()
        run.expect(health.get("status") == "failing", "failing on /health", health)
        await asyncio.sleep(seconds / 2)
        await one.start()
        await two.start()
        up = time.monotonic()
        await asyncio.sleep(3)
        running = False
        await asyncio.gather(*clients)
        before = [answer for when, answer in outcomes if when < down]
        during = [answer for when, answer in outcomes if down + 0.1 < when < up]
        late = [(when - up, str(answer)) for when, answer in outcomes if when > up + 1 and not answer.good]
        last = max((when - up for when, answer in outcomes if when > up and not answer.good), default=0)
        run.expect(all(answer.good for answer in before), "good answers before", [str(a) for a in before if not a.good][:2])
        run.expect(during and all(answer.status == 500 and answer.error == "internal_error" for answer in during), "500 internal_error while down",
                   [str(a) for a in during if a.status != 500][:2])
        run.expect(not late, "no error once the first rest is over", late[:2])
        run.figure(f"{seconds} s down: {len(during)} times the contract's 500, the last one {last:.2f} s after the return")
    # A rest ends while 50 clients ask, and the endpoint takes its time: it sees one probe.
    number = run.pick(100, 50)
    for entries in ([one, two], [one]):
        async with run.balancer(entries, cooldownSeconds=1.5, failures=1, check=False) as balancer:
            one.script = lambda request: plain(503, b'{"type":"error"}')
            two.script = one.script if len(entries) == 1 else None
            # All that is there rests, or one of two.
            await asyncio.gather(*(ask(balancer.port) for _ in range(2 * len(entries))))
            await asyncio.sleep(1.7)
            one.script = None
            one.gate.clear()
            seen = one.requests
            asking = [asyncio.create_task(ask(balancer.port)) for _ in range(number)]
            await asyncio.sleep(0.6)
            probes = one.requests - seen
            one.gate.set()
            answers = await asyncio.gather(*asking)
            run.expect(probes == 1, f"one probe of {number} requests after a rest", probes)
            run.expect(all(answer.good for answer in answers), "good answers for all", [str(a) for a in answers if not a.good][:2])
            run.figure(f"{number} at once after a rest, of {len(entries)}: {probes} probe, slowest answer {max(a.seconds for a in answers):.2f} s")


# The machine and its operator.

class Load:
    """Clients that go on until they are stopped; what they should not have seen is in `bad`."""

    def __init__(self, port, clients, do=("", "stream 10 0.02"), pause=0.01):
        self.port, self.do, self.pause, self.running, self.bad, self.count = port, do, pause, True, [], 0
        self.tasks = [asyncio.create_task(self.go_on(n)) for n in range(clients)]

    async def go_on(self, n):
        client = Client(self.port)
        while self.running:
            do = self.do[n % len(self.do)]
            answer = await client.ask(do, timeout=90)
            self.count += 1
            n += 1
            if not (answer.streamed(int(do.split()[1])) if do.startswith("stream") else answer.good):
                self.bad.append(f"{do or 'message'}: {answer}")
            await asyncio.sleep(self.pause)
        client.close()

    async def stop(self):
        self.running = False
        await asyncio.gather(*self.tasks)


@check
async def reloads(run):
    """The configuration file changed in every way, and often, under load."""
    one, two, three = await run.endpoint("one"), await run.endpoint("two"), await run.endpoint("three")
    async with run.balancer([one, two]) as balancer:
        load, slowest = Load(balancer.port, 6), 0.0

        async def in_force(what, is_so, seconds=2.0):
            nonlocal slowest
            start = time.monotonic()
            while not is_so(await balancer.health()):
                await asyncio.sleep(0.02)
                if time.monotonic() - start > run.within(seconds):
                    return run.expect(False, f"{what} to take effect within {seconds} s", (await balancer.health()).get("endpoints"))
            slowest = max(slowest, time.monotonic() - start)

        names = lambda health: [endpoint["name"] for endpoint in health["endpoints"]]

        def write(text):
            with open(balancer.config, "w", encoding="utf-8") as file:
                file.write(text)

        await asyncio.sleep(0.5)
        counted = (await balancer.health())["endpoints"][0]["requests"]
        write(balancer.text([one, two, three]))
        await in_force("an edit in place", lambda health: names(health) == ["one", "two", "three"])
        streams, seen = [asyncio.create_task(ask(balancer.port, "stream 40 0.05")) for _ in range(6)], three.requests
        await asyncio.sleep(0.3)
        run.expect(three.requests > seen, "a stream from the endpoint that is removed next", "none")
        balancer.configure([one, two])
        await in_force("a rename", lambda health: names(health) == ["one", "two"])
        for answer in await asyncio.gather(*streams):
            run.expect(answer.streamed(40), "whole streams from an endpoint that is removed", answer)
        os.remove(balancer.config)
        await asyncio.sleep(1.2)
        run.expect(names(await balancer.health()) == ["one", "two"], "the old configuration while there is no file", "another one")
        balancer.configure([two, one])
        await in_force("the file restored", lambda health: names(health) == ["two", "one"])
        os.remove(balancer.config)
        os.mkdir(balancer.config)  # Root may read any file, but no folder.
        await asyncio.sleep(1.2)
        run.expect(names(await balancer.health()) == ["two", "one"], "the old configuration while the file is unreadable", "another one")
        os.rmdir(balancer.config)
        text = balancer.text([one.entry(authToken="changed"), two])
        write(text[:len(text) // 2])
        await asyncio.sleep(1.2)
        run.expect(names(await balancer.health()) == ["two", "one"], "the old configuration while half of the file is written", "another one")
        write(text)
        await in_force("the second half and a new token", lambda health: names(health) == ["one", "two"] and "changed" in one.tokens)
        good, failed = [await balancer.total(f'claude_loadbalancer_config_reloads_total{{result="{result}"') for result in ("success", "failure")]
        run.expect(good == 4 and failed >= 3, "4 reloads counted and 3 refused", (good, failed))
        before, number, facts = None, run.pick(1000, 150), None
        for n in range(number):
            more = [three] if n % 3 == 0 else []
            entries = [one.entry(weight=1 + n % 7), two, *more]
            balancer.configure(entries, cooldownSeconds=1 + n) if n % 2 else write(balancer.text(entries, cooldownSeconds=1 + n))
            await asyncio.sleep(0.04)
            if n == number // 4:
                before = balancer.facts()
        balancer.configure([one, two], cooldownSeconds=5000, maxCooldownSeconds=5000)
        await asyncio.sleep(1.2)
        await load.stop()
        await asyncio.sleep(0.3)
        facts, health = balancer.facts(), await balancer.health()
        run.expect(not load.bad, "no request lost", f"{len(load.bad)} of {load.count}: {load.bad[:2]}")
        run.expect(facts.fds <= before.fds + 8 and facts.threads <= before.threads + 8 and facts.rss < before.rss * 1.1 + 2048, "no leak", f"{before} before, {facts} after")
        run.expect(names(health) == ["one", "two"] and health["endpoints"][0]["requests"] > counted, "the counters of endpoints that stay", health["endpoints"])
        taken = await balancer.total('claude_loadbalancer_config_reloads_total{result="success"') - good
        run.figure(f"in force within {slowest:.2f} s; {number} changes in a row ({taken:.0f} of them seen in force) under {load.count} requests, "
                   f"{len(load.bad)} lost; {before} after a quarter, {facts} at the end")


@check
async def shutdown(run):
    """SIGTERM under load with streams; a drain that is too short; a second signal."""
    one = await run.endpoint("one")
    async with run.balancer([one]) as balancer:
        streams = [asyncio.create_task(ask(balancer.port, "stream 20 0.1")) for _ in range(30)]
        load = Load(balancer.port, 4)
        await asyncio.sleep(0.7)
        load.running = False
        balancer.process.terminate()
        start = time.monotonic()
        while balancer.answers() and time.monotonic() - start < 5:
            await asyncio.sleep(0.005)
        refused = time.monotonic() - start
        answers = await asyncio.gather(*streams)
        status = await balancer.exit(10)
        run.expect(refused < run.within(0.2), "new connections refused at once", f"{refused:.2f} s")
        run.expect(all(answer.streamed(20) for answer in answers), "whole streams", [str(a) for a in answers if not a.streamed(20)][:2])
        run.expect(status == 0, "exit 0", status)
        run.figure(f"refused after {refused * 1e3:.0f} ms, 30 streams whole, exit {status} after {time.monotonic() - start:.1f} s")
        await load.stop()
    async with run.balancer([one], drainSeconds=1) as balancer:
        streams = [asyncio.create_task(ask(balancer.port, "stream 200 0.1")) for _ in range(10)]
        await asyncio.sleep(0.5)
        balancer.process.terminate()
        start = time.monotonic()
        answers, status = await asyncio.gather(*streams), await balancer.exit(10)
        run.expect(all(a.good and b"event: error" in a.body for a in answers), "streams with a last error event after drainSeconds", str(answers[0]))
        run.expect(status == 0 and time.monotonic() - start < 1 + run.within(2), "exit 0 after drainSeconds 1", f"{status} after {time.monotonic() - start:.1f} s")
        run.figure(f"drainSeconds 1: ten streams ended with an error event, exit {status} after {time.monotonic() - start:.1f} s")
    async with run.balancer([one]) as balancer:
        stream = asyncio.create_task(ask(balancer.port, "stream 200 0.1"))
        await asyncio.sleep(0.5)
        for _ in range(2):
            balancer.process.terminate()
            start = time.monotonic()
            await asyncio.sleep(0.3)
        status = await balancer.exit(5)
        run.expect(status is not None and time.monotonic() - start < run.within(1), "an end at the second signal", f"{status} after {time.monotonic() - start:.1f} s")
        await stream
        run.figure(f"second signal: exit {status}")


@check
async def paused(run):
    """SIGSTOP and SIGCONT while streams run and clients knock."""
    async with run.balancer([await run.endpoint("one"), await run.endpoint("two")]) as balancer:
        load, seconds = Load(balancer.port, 4), run.pick(30, 4)
        streams = [asyncio.create_task(ask(balancer.port, "stream 30 0.1", timeout=90)) for _ in range(20)]
        await asyncio.sleep(1)
        before = balancer.facts()
        balancer.process.send_signal(signal.SIGSTOP)
        load.running = False
        await asyncio.sleep(0.2)
        knocking = [asyncio.create_task(ask(balancer.port, timeout=90)) for _ in range(100)]
        await asyncio.sleep(seconds)
        balancer.process.send_signal(signal.SIGCONT)
        start = time.monotonic()
        answers = await asyncio.gather(*knocking)
        after = time.monotonic() - start
        run.expect(all(a.good for a in answers) and after < run.within(2), "all who knocked served within 2 s", f"{after:.2f} s, {[str(a) for a in answers if not a.good][:2]}")
        answers = await asyncio.gather(*streams)
        run.expect(all(a.streamed(30) for a in answers), "whole streams", [str(a) for a in answers if not a.streamed(30)][:2])
        await load.stop()
        run.expect(not load.bad, "no request lost", load.bad[:2])
        # 64 idle connections to each endpoint may stay.
        back = await balancer.settled(5, before.fds + 128)
        run.expect(back is not None, "no leak", f"{before} before, {balancer.facts()} after")
        run.figure(f"{seconds} s: 20 streams whole, 100 who knocked served {after:.2f} s after; {balancer.facts()}")


async def cases(run, file, *arguments):
    """Those of another file beside this one, which says how each went."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, os.path.join(os.path.dirname(__file__), file), run.binary, *arguments, stdout=subprocess.PIPE)
    try:
        async for line in process.stdout:
            result, _, figures = line.decode().strip().partition(" ")
            run.figure(figures) if result == "ok" else run.faults.append(figures)
    except asyncio.CancelledError:
        # Only then: a signal to a process that has just ended would take its status from who waits for it.
        process.terminate()
        raise
    finally:
        run.expect(await process.wait() == (1 if run.faults else 0), "an end of its own", f"status {process.returncode}")


@check
async def networks(run):
    """Networks that change: links down, NATs that forget, names that hang, addresses that are dead (networks.py)."""
    await cases(run, "networks.py")


@check
async def log_trouble(run):
    """A closed pipe, a pipe that nobody reads and a full disk under stderr."""
    one, number = await run.endpoint("one"), run.pick(4000, 1500)

    async def serve(balancer, what):
        # The log's line of a request has its path.
        async def client():
            kept = Client(balancer.port)
            answers = [await kept.ask(path="/v1/" + "a" * 300) for _ in range(number // 8)]
            kept.close()
            return answers
        answers = sum(await asyncio.gather(*(client() for _ in range(8))), [])
        good, p99 = sum(a.good for a in answers), percentile([a.seconds for a in answers], 0.99)
        run.expect(good == len(answers), f"good answers with {what}", f"{good} of {len(answers)}")
        balancer.process.terminate()
        start = time.monotonic()
        status = await balancer.exit(10)
        run.expect(status == 0 and time.monotonic() - start < run.within(3), f"a clean end with {what}", f"{status} after {time.monotonic() - start:.1f} s")
        run.figure(f"{what}: {good} of {len(answers)}, p99 {p99 * 1e3:.0f} ms, exit {status} after {time.monotonic() - start:.1f} s")

    async with run.balancer([one], stderr=subprocess.PIPE) as balancer:
        balancer.process.stderr.close()
        await serve(balancer, "a closed pipe")
    async with run.balancer([one], stderr=subprocess.PIPE) as balancer:
        await serve(balancer, "a pipe that nobody reads")
        balancer.process.stderr.close()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with open("/dev/full", "wb") as full:
        async with run.balancer([one], stderr=full, port=port) as balancer:
            await serve(balancer, "a full disk")


# The long run.

@check
async def soak(run):
    """Mixed load for a while: streams, failures, reloads, disconnects. Nothing grows, every request is in the counters."""
    sick, well = await run.endpoint("sick"), await run.endpoint("well")
    count = resets = 0

    def script(request):
        nonlocal count, resets
        count += 1
        if count % 10 in (3, 6):
            resets += count // 10 % 6 == 0
            return ("reset", "garbage", "empty stream", "error first", plain(529, b"{}"), plain(500, b"{}"))[count // 10 % 6]
        return None

    sick.script = script
    async with run.balancer([sick, well], cooldownSeconds=0.2, clientSeconds=5) as balancer:
        end, sent, left, own, bad = time.monotonic() + run.soak, 0, 0, 0, []

        async def client(n):
            nonlocal sent, left, own
            kept = Client(balancer.port)
            while time.monotonic() < end:
                n += 1
                if n % 16 == 0:
                    # Goes in the middle of a stream.
                    gone, pieces = Client(balancer.port), 50
                    with contextlib.suppress(asyncio.TimeoutError):
                        await gone.ask(f"stream {pieces} 0.05", timeout=0.3)
                    gone.close()
                    left += 1
                elif n % 16 == 5:
                    (received, *_), own = await exchange(balancer.port, POST + b"content-length: x\r\n\r\n", 10), own + 1
                    if not received.startswith(b"HTTP/1.1 400 "):
                        bad.append(f"malformed: {received[:40]}")
                else:
                    do = ("", "stream 10 0.01", "large 200000", "wait 0.02")[n % 4]
                    answer = await kept.ask(do, body=b"{" + b" " * (n % 16 * 20000) + b"}")
                    sent += 1
                    if not (answer.streamed(10) if do.startswith("stream") else answer.good):
                        bad.append(f"{do or 'message'}: {answer}")
                if n % 50 == 0:
                    kept.close()
                await asyncio.sleep(0.01)
            kept.close()

        async def reload():
            n = 0
            while time.monotonic() < end - 2:
                n += 1
                balancer.configure([sick.entry(weight=1 + n % 3), well], cooldownSeconds=0.2 + n % 5 / 10)
                await asyncio.sleep(2)

        tasks = [asyncio.create_task(client(n * 3)) for n in range(12)] + [asyncio.create_task(reload())]
        await asyncio.sleep(min(60, run.soak / 3))
        samples = []
        for _ in range(5):
            samples.append(balancer.facts())
            await asyncio.sleep(0.2)
        # Load goes up and down: the most of a few looks.
        first = Facts(*(max(getattr(s, key) for s in samples) for key in ("fds", "threads", "rss", "peak")))
        await asyncio.sleep(max(end - time.monotonic() - 2, 0))
        last = balancer.facts()
        await asyncio.gather(*tasks)
        await balancer.settled(10, 160)
        after = balancer.facts()
        for key, spare in (("fds", 8), ("threads", 8), ("rss", 512)):
            at_first, at_last = getattr(first, key), getattr(last, key)
            run.expect(at_last <= at_first * 1.1 + spare, f"{key} within 10 % of {at_first}", at_last)
        run.expect(not bad, "good answers", f"{len(bad)}: {bad[:2]}")
        metrics = await balancer.metrics()
        total = lambda start, *ends: sum(v for k, v in metrics.items() if k.startswith("claude_loadbalancer_" + start) and (not ends or any(e in k for e in ends)))
        answered = total("requests_total", 'answer="forwarded"')
        attempts, seen = total("attempts_total"), sick.requests + well.requests
        run.expect(answered == sent + left, f"{sent} answers and {left} that left in the counters", f"{answered:.0f}")
        run.expect(total("requests_total", 'code="400"') == own, f"{own} malformed ones in the counters", total("requests_total", 'code="400"'))
        # Where a kept connection breaks before an answer, sending again belongs to the same attempt.
        run.expect(seen - resets - 2 <= attempts <= seen + 2, f"the attempts that the endpoints saw ({seen}, {resets} broke off at once)", attempts)
        health = await balancer.health()
        run.expect(health.get("inFlight") == 0 and all(e["inFlight"] == 0 for e in health["endpoints"]), "nothing in flight at the end", health)
        # Workers that nobody needs end after 15 s, and what is free of the heap goes back then.
        await asyncio.sleep(17)
        rest = balancer.facts()
        run.figure(f"{run.soak:.0f} s, {sent} requests, {left} that left, {own} malformed, {attempts:.0f} attempts, {len(bad)} failures; "
                   f"early {first}; late {last}; at its end {after}; at rest {rest}")


@check
async def at_once(run):
    """With --sdk, as long as the soak: every fault of clients and endpoints at the same time, the official SDKs as clients (at_once.py)."""
    await cases(run, "at_once.py", str(run.soak), *run.sdk)


async def run_check(run, name, function, limit):
    run.endpoints, run.faults, run.figures, run.busy = [], [], [], busy_share() > 0.3
    start = time.monotonic()
    try:
        async with asyncio.timeout(limit):
            await function(run)
    except TimeoutError:
        run.faults.append(f"expected an end within {limit:.0f} s, found none")
    except Exception as err:
        run.faults.append(f"expected no surprise, found {type(err).__name__}: {err} (line {err.__traceback__.tb_next and err.__traceback__.tb_next.tb_lineno})")
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    for endpoint in run.endpoints:
        endpoint.stop()
    await asyncio.sleep(0)
    figures = f"{'; '.join(run.figures) or 'no figures'} ({time.monotonic() - start:.0f} s{', busy machine' if run.busy else ''})"
    if run.faults:
        # The same fault a hundred times is one fault.
        print(f"FAILED {name}: {' | '.join(dict.fromkeys(run.faults[:5]))}{' | …' if run.faults[5:] else ''}; {figures}", flush=True)
    else:
        print(f"ok {name}: {figures}", flush=True)
    return not run.faults


async def run_all(run, names):
    end, passed = time.monotonic() + MOST_SECONDS + run.soak * len([name for name in names if name in LONG]), 0
    for name in names:
        limit = CHECK_SECONDS + (run.soak if name in LONG else 0)
        passed += await run_check(run, name, CHECKS[name], max(min(limit, end - time.monotonic()), 1))
    print(f"torture: {passed} passed, {len(names) - passed} failed", flush=True)
    return passed == len(names)


def main():
    parser = argparse.ArgumentParser(usage="scripts/torture [--quick] [--only NAME]... [--list] [--soak SECONDS] [--sdk]")
    parser.add_argument("binary")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=CHECKS, metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--soak", type=float)
    parser.add_argument("--sdk", nargs=2, metavar=("PYTHON", "FOLDER"))
    options = parser.parse_args()
    if options.list:
        for name, function in CHECKS.items():
            print(f"{name:20} {function.__doc__}")
        return 0
    names = options.only or [name for name in CHECKS if name != "at_once" or options.sdk]
    if "at_once" in names and not options.sdk:
        parser.error("at_once needs --sdk")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Ends through `finally`, so that nothing that was started stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        soak = options.soak if options.soak is not None else 20 if options.quick else 180
        try:
            return 0 if asyncio.run(run_all(Run(options.binary, options.quick, soak, folder, options.sdk), names)) else 1
        finally:
            for child in children:
                if child.poll() is None:
                    child.kill()
                    child.wait()


if __name__ == "__main__":
    sys.exit(main())
