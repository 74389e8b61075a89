"""Proof that a binary needs nothing: `unshare --net python3 empty_root.py BINARY` (as root, or with --map-root-user).

In a root with the binary, its JSON file and /etc/resolv.conf alone, it must serve a request whose endpoint is a host name. The
name server is ours, on the loopback of a network namespace, where port 53 is free.
"""
import fcntl, json, os, re, shutil, socket, struct, subprocess, sys, tempfile, threading, urllib.request

import fake


def loopback_up():
    """SIOCSIFFLAGS with IFF_UP, so that no `ip` is needed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))


def name_answer(query, address):
    """The name that is asked for, and the answer of a name server: it has that IPv4 address, and no other record."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += query[at] + 1
    is_a = query[at + 1:at + 3] == b"\0\1"
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(address) if is_a else b""
    return ".".join(labels), query[:2] + struct.pack(">5H", 0x8180, 1, int(is_a), 0, 0) + query[12:at + 5] + answer


def name_server(asked):
    """Every name is this machine's."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, client = server.recvfrom(512)
        name, answer = name_answer(query, "127.0.0.1")
        asked.append(name)
        server.sendto(answer, client)


def serve_once(binary, files, endpoint):
    """One request to `binary` in a root of its own; returns what it answered."""
    with tempfile.TemporaryDirectory() as root:
        shutil.copy(binary, f"{root}/claude-loadbalancer")
        files = files | {
            "endpoints.json": json.dumps([{"baseURL": endpoint, "authToken": "token"}]),
            "etc/resolv.conf": "nameserver 127.0.0.1\n",
        }
        os.mkdir(f"{root}/etc")
        for name, text in files.items():
            with open(f"{root}/{name}", "w") as file:
                file.write(text)
        program = subprocess.Popen(["/claude-loadbalancer"], cwd=root, stderr=subprocess.PIPE, text=True,
                                   preexec_fn=lambda: os.chroot("."), env={"HOST": "127.0.0.1", "PORT": "0"})
        try:
            log = []
            for line in program.stderr:
                log.append(line)
                if found := re.search(r"listening on (http://\S+)", line):
                    break
            else:
                raise SystemExit(f"FAIL empty root: ended with {program.wait()}: {''.join(log)}")
            # It must never wait for us to read its log.
            threading.Thread(target=lambda: log.extend(program.stderr), daemon=True).start()
            body = {"model": "claude-a", "messages": [{"role": "user", "content": "hello"}]}
            try:
                with urllib.request.urlopen(found[1] + "/v1/messages", json.dumps(body).encode(), timeout=20) as answer:
                    return json.load(answer)["content"][0]["text"]
            except OSError as err:
                raise SystemExit(f"FAIL empty root: {err}: {''.join(log)}")
        finally:
            program.terminate()
            program.wait()


if __name__ == "__main__":
    loopback_up()
    asked = []
    threading.Thread(target=name_server, args=(asked,), daemon=True).start()
    server = fake.Server("one", True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://endpoint.example:{server.server_address[1]}/"
    for what, files in {
        "with its JSON file and /etc/resolv.conf alone": {},
        # A static glibc would load that module, and crash where it was built against another glibc.
        "where nsswitch.conf wants a module": {"etc/nsswitch.conf": "hosts: mymachines [NOTFOUND=return] nowhere\n"},
    }.items():
        asked.clear()
        assert serve_once(sys.argv[1], files, endpoint) == "one heard: hello"
        assert "endpoint.example" in asked, asked
        print(f"ok   empty root {what}: served a request, resolved {asked[0]}")
