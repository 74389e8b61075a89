"""Networks that change under a balancer: `python3 networks.py BINARY [CASE]` (as root, or where users may make namespaces).

Each case runs in network and mount namespaces of its own, all at the same time: the balancer and its clients *here*, the scripted
endpoints in a second network, *far*, with a cable (veth) between the two. Nothing leaves them. Prints a line a case, as torture.py does;
ends with 1 where one failed. The times in which the balancer finds things out are set to seconds.
"""
import asyncio, contextlib, ctypes, os, shutil, signal, socket, subprocess, sys, tempfile, time

import empty_root, torture
from torture import Client, Endpoint, ask

# A case ends by then.
CASE_SECONDS = 50
NAMESPACES = ["unshare", "--mount", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
# Addresses for documentation (RFC 5737, RFC 3849): they lead nowhere. SECOND and FAR are equally near to HERE, so that a name that has
# both keeps their order (RFC 6724).
HERE, FAR, SECOND, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"


def ip(words):
    return subprocess.run(["ip", *words.split()], check=True, stdout=subprocess.PIPE, text=True).stdout


class Far:
    """The other network. Within `with`, sockets and commands are there."""

    def __init__(self):
        self.here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        self.far = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        ip("link set lo up")
        self.enter(self.here)
        ip("link set lo up")
        self.cable("cable", "192.0.2")

    @staticmethod
    def enter(namespace):
        if libc.setns(namespace, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def __enter__(self):
        self.enter(self.far)

    def __exit__(self, *_):
        self.enter(self.here)

    def cable(self, name, net):
        """Between `net`.1 here and `net`.2 there."""
        ip(f"link add {name} type veth peer name {name} netns /proc/{os.getpid()}/fd/{self.far}")
        ip(f"address add {net}.1/24 dev {name}")
        ip(f"link set {name} up")
        with self:
            ip(f"address add {net}.2/24 dev {name}")
            ip(f"link set {name} up")

    def address(self, address):
        with self:
            ip(f"address add {address}/24 dev cable")

    def swallow(self, address):
        """What is sent to it arrives there, where nobody has that address."""
        with self:
            mac = ip("-o link show cable").split("link/ether ")[1].split()[0]
        ip(f"neigh replace {address} lladdr {mac} dev cable nud permanent")

    @staticmethod
    def look_at_rules_first():
        """Before what the kernel begins with, its own addresses."""
        ip("rule add pref 100 lookup local")
        ip("rule del pref 0")

    async def endpoint(self, run, name, host=FAR, port=0, script=None):
        endpoint = Endpoint(name, script, host)
        endpoint.port = port
        run.endpoints.append(endpoint)
        with self:
            door = endpoint.door()
        return await endpoint.open(door)


CASES = {}


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


def put(run, path, text):
    """The text stands at `path` from now on, for this case alone."""
    name = os.path.join(run.folder, os.path.basename(path))
    with open(name, "w", encoding="ascii") as file:
        file.write(text)
    if not os.path.samefile(name, path):
        subprocess.run(["mount", "--bind", name, path], check=True)


def unreachables():
    """How often the kernel was told, or has told itself, that something cannot be reached."""
    with open("/proc/net/snmp", encoding="ascii") as file:
        names, numbers = [line.split() for line in file if line.startswith("Icmp:")]
    return int(numbers[names.index("InDestUnreachs")])


async def until(what, is_so, seconds=10):
    """Waits for what can be seen."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise torture.Failed(f"{what}: not within {seconds} s")
        await asyncio.sleep(0.01)


async def keep(port, number):
    """So many connections to endpoints are kept afterwards."""
    answers = await asyncio.gather(*(ask(port, "wait 0.5") for _ in range(number)))
    assert all(answer.good for answer in answers), [str(answer) for answer in answers if not answer.good]


async def streams(balancer, endpoint, number, pieces):
    """Streams that have begun: ten pieces a second."""
    before = endpoint.requests
    tasks = [asyncio.create_task(ask(balancer.port, f"stream {pieces} 0.1")) for _ in range(number)]
    await until(f"{number} streams", lambda: endpoint.requests >= before + number)
    return tasks


def all_good(run, answers, what, seconds):
    """All of them are good, and came within their time."""
    run.expect(all(a.good for a in answers), f"good answers {what}", [str(a) for a in answers if not a.good][:2])
    slowest = max(a.seconds for a in answers)
    run.expect(slowest < seconds, f"answers within {seconds:.1f} s {what}", f"{slowest:.2f} s")
    return slowest


@case
async def link(run):
    """The link goes down for 3 s and comes back, under streams and kept connections."""
    far = Far()
    one = await far.endpoint(run, "one")
    async with run.balancer([one]) as balancer:
        running = await streams(balancer, one, 10, 40)
        await keep(balancer.port, 4)
        ip("link set cable down")
        down = time.monotonic()
        # All at once, so that four go out on kept connections, and the rest finds no way.
        meanwhile = [asyncio.create_task(ask(balancer.port)) for _ in range(20)]
        await until("an answer to those that find no way", lambda: sum(task.done() for task in meanwhile) >= 16, 2)
        refused, hanging = [task.result() for task in meanwhile if task.done()], [task for task in meanwhile if not task.done()]
        run.expect(all(a.status == 500 and a.error == "internal_error" for a in refused), "our own errors",
                   [str(a) for a in refused if a.status != 500][:2])
        health = await ask(balancer.port, path="/health", method="GET", body=b"")
        run.expect(health.good and health.seconds < 1, "/health at once", f"{health.seconds:.2f} s {health}")
        await asyncio.sleep(max(down + 3 - time.monotonic(), 0))
        ip("link set cable up")
        back = all_good(run, [await ask(balancer.port)], "as soon as the link is back", 3)
        run.expect(all(a.good for a in await asyncio.gather(*hanging)), "good answers on what was kept", [str(task.result()) for task in hanging][:2])
        answers = await asyncio.gather(*running)
        run.expect(all(a.streamed(40) for a in answers), "whole streams", [str(a) for a in answers if not a.streamed(40)][:2])
        run.figure(f"down for 3 s: 10 streams whole, {len(refused)} of 20 told at once, {len(hanging)} served after it; an answer {back * 1e3:.0f} ms after its return")


@case
async def other_network(run):
    """The way to an endpoint ends at a gateway that has gone, and there is another one: a request that is on its way takes it."""
    far = Far()
    far.cable("second", "198.51.100")
    host = "203.0.113.1"
    with far:
        ip(f"address add {host}/32 dev lo")
    ip(f"route add {host}/32 via {FAR} metric 1")
    ip(f"route add {host}/32 via 198.51.100.2 metric 2")
    one = await far.endpoint(run, "one", host)
    # What is not acknowledged for half of it is dead; the kernel looks for the gateway for three seconds.
    async with run.balancer([one], responseSeconds=10) as balancer:
        await keep(balancer.port, 4)
        with far:
            ip("link set cable down")
            # The other gateway knows nothing of connections from before.
            far.look_at_rules_first()
            ip(f"rule add pref 1 from {HERE} blackhole")
        asking = asyncio.create_task(ask(balancer.port))
        await until("the gateway's absence", lambda: unreachables() > 0)
        ip(f"route del {host}/32 metric 1")
        first = all_good(run, [await asking], "to the one that finds it out", 9)
        rest = all_good(run, await asyncio.gather(*(ask(balancer.port, "wait 0.2") for _ in range(4))), "to the next ones", 1.5)
        failures = (await balancer.health())["endpoints"][0]["failures"]
        run.expect(failures == 0, "no failure of the endpoint", failures)
        run.figure(f"found out after {first:.1f} s (dead after 5), four more at once within {rest:.2f} s of 0.2")


@case
async def nat(run):
    """A NAT forgets all connections, without a word: requests go out again, streams end with an error that says so."""
    far = Far()
    one = await far.endpoint(run, "one")
    async with run.balancer([one], responseSeconds=4, idleSeconds=3) as balancer:
        await keep(balancer.port, 8)
        running = await streams(balancer, one, 2, 300)
        with far:
            far.look_at_rules_first()
            for writer in one.writers:
                port = writer.get_extra_info("peername")[1]
                ip(f"rule add pref 1 ipproto tcp sport {port} blackhole")
                ip(f"rule add pref 1 ipproto tcp dport {port} blackhole")
        first = all_good(run, await asyncio.gather(*(ask(balancer.port, "wait 0.2") for _ in range(2))), "on dead connections", 4)
        rest = all_good(run, await asyncio.gather(*(ask(balancer.port, "wait 0.2") for _ in range(12))), "afterwards", 1.5)
        answers = await asyncio.gather(*running)
        run.expect(all(a.good and b"event: error" in a.body and a.seconds < 3 + run.within(3) for a in answers), "streams with a last error event after idleSeconds", [str(a) for a in answers])
        state = (await balancer.health())["endpoints"][0]
        run.expect(state["failures"] == 2 and state["state"] == "up", "no failures but of the two streams", state)
        run.figure(f"two requests on dead connections answered within {first:.1f} s (dead after 2), 12 more at once within {rest:.2f} s of 0.2")


@case
async def moves(run):
    """An endpoint's name gets another address: once the old one closes, once it is silent."""
    far = Far()
    name = "endpoint.test"
    far.address(SECOND)
    far.address(THIRD)
    one = await far.endpoint(run, "one")
    two = await far.endpoint(run, "two", SECOND, one.port)
    three = await far.endpoint(run, "three", THIRD, one.port)
    put(run, "/etc/hosts", f"{FAR} {name}\n")
    entry = one.entry(baseURL=f"http://{name}:{one.port}")
    async with run.balancer([entry], responseSeconds=4) as balancer:
        await keep(balancer.port, 4)
        put(run, "/etc/hosts", f"{SECOND} {name}\n")
        one.stop()
        closed = all_good(run, await asyncio.gather(*(ask(balancer.port, "wait 0.2") for _ in range(6))), "when the old address has closed", 1.5)
        put(run, "/etc/hosts", f"{THIRD} {name}\n")
        with far:
            ip(f"address del {SECOND}/24 dev cable")
        far.swallow(SECOND)
        silent = all_good(run, await asyncio.gather(*(ask(balancer.port, "wait 0.2") for _ in range(2))), "when the old address is silent", 4)
        after = all_good(run, await asyncio.gather(*(ask(balancer.port, "wait 0.2") for _ in range(6))), "afterwards", 1.5)
        counts = (one.requests, two.requests, three.requests)
        run.expect(counts == (4, 6, 8), "each request at the address of its time", counts)
        state = (await balancer.health())["endpoints"][0]
        run.expect(state["failures"] == 0, "no failure", state)
        run.figure(f"old address closed: answers of 0.2 s within {closed:.2f} s; silent: within {silent:.1f} s (dead after 2), then {after:.2f} s")


class NameServer(asyncio.DatagramProtocol):
    """Takes questions, and answers them from when it is told to."""

    def __init__(self):
        self.asked, self.answers = 0, False

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, client):
        self.asked += 1
        if self.answers:
            self.transport.sendto(empty_root.name_answer(data, FAR)[1], client)


@case
async def resolver(run):
    """The name server says nothing for a while: everybody else is served, it costs one thread, and it is noticed when it is back."""
    far = Far()
    lost, well = await far.endpoint(run, "lost"), await far.endpoint(run, "well")
    put(run, "/etc/hosts", "127.0.0.1 localhost\n")
    put(run, "/etc/resolv.conf", f"nameserver {FAR}\noptions timeout:3\n")
    with far:
        door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        door.bind((FAR, 53))
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, sock=door)
    entry = lost.entry(baseURL=f"http://endpoint.test:{lost.port}")
    async with run.balancer([entry, well], workers=8, connectSeconds=1.5, cooldownSeconds=1) as balancer:
        first = [asyncio.create_task(ask(balancer.port)) for _ in range(40)]
        health = []
        while not all(task.done() for task in first):
            health.append(await ask(balancer.port, path="/health", method="GET", body=b""))
            await asyncio.sleep(0.02)
        wave = all_good(run, [task.result() for task in first], "while the first ones wait for a name", 4)
        looks = all_good(run, health, "to /health meanwhile", 1)
        threads = balancer.facts().threads
        load = torture.Load(balancer.port, 4)
        asked = server.asked
        await until("a look-up of ours", lambda: server.asked > asked, 15)
        balancer.configure([entry, well.entry(weight=2)])
        while not await balancer.total('claude_loadbalancer_config_reloads_total{result="success"'):
            await asyncio.sleep(0.02)
        await load.stop()
        run.expect(not load.bad, "no request lost", load.bad[:2])
        times, bad = await torture.others(balancer.port, 1)
        run.expect(not bad and max(times) < 1.4, "others sooner than connectSeconds", f"{max(times):.2f} s, {bad[:1]}")
        run.expect(lost.requests == 0 and threads < 8 + 16, "no thread but one for the name", f"{threads} threads")
        server.answers = True
        back = time.monotonic()
        while not lost.requests:
            answer = await ask(balancer.port)
            run.expect(answer.good, "good answers", answer)
            if time.monotonic() - back > 25:
                raise torture.Failed("the endpoint did not come back within 25 s of its name server")
            await asyncio.sleep(0.02)
        back = time.monotonic() - back
    server.answers = False
    async with run.balancer([entry], connectSeconds=30, drainSeconds=0.5) as balancer:
        asked = server.asked
        waiting = asyncio.create_task(ask(balancer.port))
        await until("a look-up", lambda: server.asked > asked)
        balancer.process.terminate()
        start = time.monotonic()
        status = await balancer.exit(10)
        end = time.monotonic() - start
        run.expect(status == 0 and end < 0.5 + 2, "an end after drainSeconds", f"{status} after {end:.1f} s")
        answer = await waiting
        run.expect(answer.status in (500, 503), "an answer to the one that waited", answer)
    transport.close()
    run.figure(f"40 requests at 8 workers within {wave:.1f} s (connectSeconds 1.5), /health within {looks * 1e3:.0f} ms, {threads} threads, later ones within "
               f"{max(times) * 1e3:.0f} ms; back {back:.1f} s after the name server; exit {status} {end:.1f} s after SIGTERM")


@case
async def first_address(run):
    """A name's first address is dead: a new connection takes 250 ms more (RFC 8305)."""
    far = Far()
    one = await far.endpoint(run, "one", script=lambda _: torture.plain(200, more="connection: close\r\n"))
    ip("address add 2001:db8::1/64 dev cable nodad")
    for dead in (SECOND, "2001:db8::3"):
        far.swallow(dead)
    put(run, "/etc/hosts", f"{FAR} live.test\n{SECOND} four.test\n{FAR} four.test\n2001:db8::3 six.test\n{FAR} six.test\n")
    figures = []
    for name, more in (("live", 0), ("four", 0.25), ("six", 0.25)):
        async with run.balancer([one.entry(baseURL=f"http://{name}.test:{one.port}")]) as balancer:
            answers = [await ask(balancer.port) for _ in range(6)]
            # Once at least nothing else came between, and the dead address was tried first.
            slowest, fastest = all_good(run, answers, f"of {name}.test", 1.5), min(a.seconds for a in answers)
            run.expect(more <= fastest < more + run.within(0.15), f"{more} s more for {name}.test", f"{fastest:.3f} s")
            figures.append(f"{name} {fastest * 1e3:.0f} to {slowest * 1e3:.0f} ms")
    run.figure(f"new connections: {', '.join(figures)}")


@case
async def pause(run):
    """The process stands still for longer than all its patience: what came meanwhile counts."""
    far = Far()
    one = await far.endpoint(run, "one")
    async with run.balancer([one], connectSeconds=1.5, responseSeconds=1.5, idleSeconds=1.5, clientSeconds=1.5, requestSeconds=1.5) as balancer:
        running = await streams(balancer, one, 10, 50)
        waiting = [asyncio.create_task(ask(balancer.port, "wait 1")) for _ in range(10)]
        await until("requests that wait", lambda: one.requests >= 20)
        slow = [Client(balancer.port) for _ in range(10)]
        for client in slow:
            await client.connect()
            client.writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        await asyncio.sleep(0.2)
        balancer.process.send_signal(signal.SIGSTOP)
        for client in slow:
            client.writer.write(b" " * 98 + b"}")
        knocking = [asyncio.create_task(ask(balancer.port)) for _ in range(20)]
        await asyncio.sleep(3)
        balancer.process.send_signal(signal.SIGCONT)
        start = time.monotonic()
        for what, tasks in (("knocked", knocking), ("waited for an answer", waiting)):
            all_good(run, await asyncio.gather(*tasks), f"to those that {what} meanwhile", 3 + run.within(2))
        for client in slow:
            answer = torture.Answer()
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await asyncio.wait_for(torture.read_answer(client.reader, answer), 5)
            run.expect(answer.good, "good answers to those that sent the rest meanwhile", answer)
            client.close()
        after = time.monotonic() - start
        answers = await asyncio.gather(*running)
        run.expect(all(a.streamed(50) for a in answers), "whole streams", [str(a) for a in answers if not a.streamed(50)][:2])
        failures = (await balancer.health())["endpoints"][0]["failures"]
        run.expect(failures == 0, "no failure of the endpoint", failures)
        run.figure(f"3 s, with all patience 1.5 s: 10 streams whole, 40 requests answered within {after:.2f} s after it")


async def run_case(binary, name):
    with tempfile.TemporaryDirectory() as folder:
        run = torture.Run(binary, True, 0, folder)
        try:
            return await torture.run_check(run, name, CASES[name], CASE_SECONDS)
        finally:
            for child in torture.children:
                child.kill()
                child.wait()


def missing():
    """What these cases need and this machine has not."""
    for command in ("unshare", "ip", "mount"):
        if not shutil.which(command):
            return f"no `{command}`"
    probe = subprocess.run([*NAMESPACES, "ip", "link", "add", "cable", "type", "veth", "peer", "name", "other"], capture_output=True, text=True)
    return f"no namespaces with a veth: {probe.stderr.strip()}" if probe.returncode else None


def run_all(binary):
    if why := missing():
        must = os.environ.get("CI") == "true"
        print(f"{'FAILED' if must else 'ok'} networks: left out: {why}", flush=True)
        return not must
    cases = [subprocess.Popen([*NAMESPACES, sys.executable, __file__, binary, name]) for name in CASES]
    try:
        return not any([process.wait() for process in cases])
    finally:
        for process in cases:
            process.terminate()


def main():
    binary, *name = sys.argv[1:]
    # The way to the endpoints is the case's own.
    for variable in [v for v in os.environ if v.lower().endswith("_proxy")]:
        del os.environ[variable]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    good = asyncio.run(run_case(binary, name[0])) if name else run_all(os.path.abspath(binary))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
