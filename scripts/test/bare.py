"""Machines that lack something: `unshare --mount --net python3 bare.py BINARY CASE FOLDER` (as root, or with --map-root-user).

The balancer must serve all the same. Prints `ok` or `FAIL` and what it is about, and ends with 0 or 1. CASE is one of `CASES`,
FOLDER an empty one.
"""
import json, os, re, subprocess, sys, tempfile, time, urllib.request

import empty_root


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def full_disk(folder):
    """Its log and its output go to files on a disk without a free byte."""
    mount("-t", "tmpfs", "-o", "size=16k", "tmpfs", folder)
    files = {"stdout": open(f"{folder}/out", "wb"), "stderr": open(f"{folder}/log", "wb")}
    with open(f"{folder}/filler", "wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return files


def read_only(_):
    for folder in ["/", "/tmp", "/run", "/dev/shm", "/var/tmp"]:
        if os.path.ismount(folder):
            mount("-o", "remount,bind,ro", folder)
    try:
        tempfile.TemporaryFile()
    except OSError:
        return {}
    raise SystemExit("FAIL bare     everything read-only: it is not")


def no_proc(_):
    mount("-t", "tmpfs", "tmpfs", "/proc")


def no_resolver(_):
    mount("--bind", "/dev/null", "/etc/resolv.conf")


def ipv6_alone(_):
    subprocess.run(["ip", "-4", "address", "flush", "dev", "lo"], check=True)


CASES = {
    "full-disk": ("a disk without a free byte under its log", full_disk, "127.0.0.1"),
    "read-only": ("everything read-only, /tmp too", read_only, "127.0.0.1"),
    "no-proc": ("no /proc", no_proc, "127.0.0.1"),
    "no-resolver": ("no name server", no_resolver, "127.0.0.1"),
    "ipv6-alone": ("IPv6 and no IPv4", ipv6_alone, "[::1]"),
}
# Nothing else has it: the network is our own.
PORT = "13255"


def ask(url, body=None):
    with urllib.request.urlopen(url, body and json.dumps(body).encode(), timeout=10) as answer:
        return json.load(answer)


def serve(binary, host, streams):
    """The demo, that is: two endpoints and the balancer. It must answer, reload and end."""
    program = subprocess.Popen([binary, "--demo"], env={"HOST": host, "PORT": PORT}, **({"stdout": -3, "stderr": -3} | streams))
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                status = ask(f"http://{host}:{PORT}/health")["status"]
                break
            except OSError:
                assert program.poll() is None, f"it ended with {program.returncode}"
                assert time.monotonic() < deadline, "it does not listen"
                time.sleep(0.02)
        assert status == "healthy", status
        names = set()
        for _ in range(4):
            message = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
            text = ask(f"http://{host}:{PORT}/v1/messages", message)["content"][0]["text"]
            names.add(re.search(r"demo-\d", text)[0])
        assert names == {"demo-1", "demo-2"}, names
        program.terminate()
        assert program.wait(10) == 0, f"it ended with {program.returncode}"
    finally:
        program.kill()
        program.wait()


what, prepare, host = CASES[sys.argv[2]]
empty_root.loopback_up()
try:
    serve(sys.argv[1], host, prepare(sys.argv[3]) or {})
    print(f"ok   bare     {what}", flush=True)
except (AssertionError, OSError, subprocess.SubprocessError) as err:
    print(f"FAIL bare     {what}: {type(err).__name__}: {err}", flush=True)
    sys.exit(1)
