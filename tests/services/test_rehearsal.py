"""What a rehearsal leaves behind, in a process of its own: less to copy for whoever is forked then, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

_TWO_CHILDREN = """
import gc, importlib, json, logging, os, socket, sys, threading
gc.disable()
from services.run import needs, run
from config.settings import SubstationSettings
for module in needs({}):
    importlib.import_module(module)
from services.rehearsal import rehearse

def child():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        run("substation", SubstationSettings(), listener)
        os._exit(0)
    with socket.create_connection(("127.0.0.1", port)) as client:
        for path in ("/health", "/report"):
            client.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
            assert b"HTTP/1.1 20" in client.recv(65536)
        with open(f"/proc/{pid}/smaps_rollup") as file:
            dirty = next(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    listener.close()
    return dirty

def seen():
    return sorted(os.listdir("/proc/self/fd")), threading.active_count(), logging.getLogger().handlers, logging.root.level

gc.freeze()
before = child()
rehearse()  # libuv keeps a pipe for the whole process from the first loop on, and makes it anew after a fork
was = seen()
rehearse()
assert seen() == was, (was, seen())
gc.collect()
gc.freeze()
print(json.dumps([before, child()]))
"""


def test_whoever_is_forked_after_it_has_less_of_its_own(unmeasured: dict[str, str]) -> None:
    found = subprocess.run(
        [sys.executable, "-c", _TWO_CHILDREN], env=unmeasured, capture_output=True, text=True, check=False, timeout=60
    )
    assert found.returncode == 0, found.stderr
    before_kb, after_kb = json.loads(found.stdout.splitlines()[-1])
    assert after_kb < 0.9 * before_kb
    assert after_kb < 10_000, "what a substation has of its own, in KB"
