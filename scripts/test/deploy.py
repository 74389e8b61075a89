"""The checks of scripts/deploy-test. One line a check; exit 1 when any failed.

    deploy.py front NAME URL CA FAKES   a TLS front: URL is https, CA signed it, FAKES are the fake endpoints' URLs
    deploy.py sessions URL FILE         sessions through all replicas; FILE keeps their endpoints for the next time
    deploy.py drain URL PID SOCKET      the replica b, with that PID, is taken away under load; SOCKET is HAProxy's
"""
import http.client, json, os, pathlib, signal, socket, ssl, subprocess, sys, threading, time, urllib.request
from urllib.parse import urlsplit

failed = 0


def check(name):
    def run(test):
        global failed
        try:
            note = test()
            print(f"ok   {sys.argv[1]:8} {name}{': ' + note if note else ''}", flush=True)
        except Exception as err:
            failed += 1
            print(f"FAIL {sys.argv[1]:8} {name}: {type(err).__name__}: {err}", flush=True)
    return run


def connect(url, ca=None):
    parts = urlsplit(url)
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    context = ssl.create_default_context(cafile=ca)
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=60, context=context)


def ask(connection, model, text="hello", session=None, stream=False):
    body = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": text}]}
    if stream:
        body["stream"] = True
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    if session:
        headers["x-claude-code-session-id"] = session
    connection.request("POST", "/v1/messages", json.dumps(body), headers)
    return connection.getresponse()


def events(lines):
    """(name, seconds since the start) of each event, as its line comes in."""
    start = time.monotonic()
    return [(line[7:].strip().decode(), time.monotonic() - start) for line in lines if line.startswith(b"event: ")]


def paced(came):
    """The slow stream is 3 s of an event every 0.1 s: whatever holds back shows as a late start or a gap."""
    names, times = [name for name, _ in came], [at for _, at in came]
    assert names[0] == "message_start" and names[-1] == "message_stop", names
    gap = max(b - a for a, b in zip(times, times[1:]))
    assert times[0] < 1 and times[-1] > 2 and gap < 0.8, f"first {times[0]:.2f} s, last {times[-1]:.2f} s, gap {gap:.2f} s"
    return f"{len(came)} events over {times[-1]:.1f} s, longest gap {gap * 1000:.0f} ms"


def tell(admin, command):
    """One command to HAProxy's own socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(admin)
        connection.sendall(command.encode() + b"\n")
        answer = connection.recv(1000).strip()
    assert not answer, answer


def front(name, url, ca, *fakes):
    sys.argv[1] = name
    seen = lambda: [request for fake in fakes for request in json.load(urllib.request.urlopen(fake + "/seen"))]

    @check("a message")
    def _():
        answer = ask(connect(url, ca), "claude-a")
        assert answer.status == 200 and answer.getheader("x-served-by") in ("one", "two"), answer.status
        assert "heard: hello" in json.load(answer)["content"][0]["text"]

    @check("a stream, event by event")
    def _():
        return paced(events(ask(connect(url, ca), "slow", stream=True)))

    @check("a stream over HTTP/2")
    def _():
        body = json.dumps({"model": "slow", "stream": True, "messages": [{"role": "user", "content": "hello"}]})
        curl = subprocess.Popen(
            ["curl", "-sSN", "--http2", "--cacert", ca, "-d", body, "-w", "\\n%{http_version}", url + "/v1/messages"],
            stdout=subprocess.PIPE)
        lines = []
        came = events(lines.append(line) or line for line in curl.stdout)
        assert lines[-1].strip() == b"2", lines[-1]
        return paced(came)

    @check("a body of 31 MB passes, one of 36 MB is refused")
    def _():
        answer = ask(connect(url, ca), "claude-a", "x" * (31 << 20))
        assert answer.status == 200, answer.status
        answer.read()
        connection = connect(url, ca)
        try:
            status = ask(connection, "claude-a", "x" * (36 << 20)).status
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            # Refused while the body was still on its way: the answer waits behind it, if the reset left it there.
            status = 413
        assert status == 413, status

    @check("the endpoints learn nothing about the client")
    def _():
        told = [h for request in seen() for h in request["headers"] if h.startswith("x-forwarded") or h in ("x-real-ip", "forwarded")]
        assert not told, told


def sessions(url, file):
    ids = [f"session-{n}" for n in range(24)]
    found = {}

    @check("24 sessions keep to one endpoint each, through every replica")
    def _():
        replicas = set()
        for session in ids:
            for _ in range(6):
                answer = ask(connect(url), "claude-a", session=session)
                assert answer.status == 200, answer.status
                replicas.add(answer.getheader("x-replica"))
                found.setdefault(session, set()).add(answer.getheader("x-served-by"))
        assert replicas == {"a", "b", "c"}, replicas
        assert all(len(served) == 1 for served in found.values()), found
        share = sum(served == {"one"} for served in found.values())
        assert 4 <= share <= 20, f"endpoint one has {share} of 24"
        return f"endpoint one has {share}"

    now = {session: sorted(served) for session, served in found.items()}
    if pathlib.Path(file).exists():
        @check("a replica that was started anew agrees with the others")
        def _():
            assert json.loads(pathlib.Path(file).read_text()) == now
    else:
        pathlib.Path(file).write_text(json.dumps(now))


def drain(url, pid, admin):
    streams, small, stop = [], [], threading.Event()

    def one_stream():
        try:
            answer = ask(connect(url), "slow", stream=True)
            streams.append((answer.getheader("x-replica"), events(answer)[-1][0]))
        except Exception as err:
            streams.append((None, f"{type(err).__name__}: {err}"))

    def many_small():
        connection = connect(url)
        while not stop.is_set():
            try:
                # Claude Code's smallest request has this size; no balancer in front can hold and repeat it.
                answer = ask(connection, "claude-a", "x" * 76_000)
                answer.read()
                small.append((time.monotonic(), answer.status, answer.getheader("x-replica")))
            except Exception as err:
                small.append((time.monotonic(), f"{type(err).__name__}: {err}", None))
                connection = connect(url)

    threads = [threading.Thread(target=one_stream) for _ in range(30)]
    threads += [threading.Thread(target=many_small) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    # First nobody is sent there any more, then it goes. The other way round, a connection that the kernel has taken and the replica
    # has not is reset (seen: one request, in one of eight tries).
    tell(admin, "set server balancers/b state drain")
    time.sleep(0.2)
    gone = time.monotonic()
    os.kill(int(pid), signal.SIGTERM)
    for thread in threads[:30]:
        thread.join()
    stop.set()
    for thread in threads[30:]:
        thread.join()

    tell(admin, "set server balancers/b state ready")

    @check("a replica goes while 30 streams run: every one is whole")
    def _():
        assert [end for _, end in streams] == ["message_stop"] * 30, streams
        on_b = sum(replica == "b" for replica, _ in streams)
        assert on_b, "none ran on that replica"
        return f"{on_b} of them on that replica"

    @check("no request of 76 KB fails meanwhile")
    def _():
        bad = [(at - gone, status) for at, status, _ in small if status != 200]
        assert not bad, bad[:5]
        assert any(r == "b" for at, _, r in small if at < gone) and {r for at, _, r in small if at > gone + 1} == {"a", "c"}
        return f"{len(small)} requests"


{"front": front, "sessions": sessions, "drain": drain}[sys.argv[1]](*sys.argv[2:])
sys.exit(bool(failed))
