"""The naive design, as one would write it first: three Flask services, threads, `requests`, polls every 5 s.

    python benchmarks/peers/naive.py substation PORT CAPACITY SESSION_S
    python benchmarks/peers/naive.py balancer PORT SUBSTATION_URL…
    python benchmarks/peers/naive.py request PORT BALANCER_URL

It holds no limit, writes nothing down and checks one field only. In its favour: no access log, and no thread a session.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque

import requests
from flask import Flask, Response, jsonify, request

POLL_S = 5.0
TIMEOUT_S = 10.0


def substation(capacity: int, session_s: float) -> Flask:
    """Charges whoever comes, for `session_s` wall seconds, and tells its load."""
    app, lock, ends, told = Flask("substation"), threading.Lock(), deque[float](), [0]

    @app.post("/charge")
    def charge() -> tuple[Response, int]:
        ev_id = request.get_json()["ev_id"]
        with lock:
            ends.append(time.monotonic() + session_s)
            told[0] += 1
        return jsonify(status="charging started", vehicle_id=ev_id), 202

    @app.get("/metrics")
    def metrics() -> Response:
        with lock:
            while ends and ends[0] <= time.monotonic():
                ends.popleft()
            lines = (
                f"substation_current_load {len(ends)}",
                f"substation_capacity_sessions {capacity}",
                f'substation_requests_total{{outcome="accepted"}} {told[0]}',
            )
        return Response("\n".join(lines) + "\n", mimetype="text/plain")

    return app


def balancer(urls: list[str]) -> Flask:
    """Sends each EV to the substation whose load was least when last asked."""
    app, loads = Flask("balancer"), dict.fromkeys(urls, 0.0)

    def poll() -> None:
        while True:
            for url in urls:
                try:
                    lines = requests.get(f"{url}/metrics", timeout=TIMEOUT_S).text.splitlines()
                    loads[url] = float(lines[0].split()[1])
                except requests.RequestException:
                    loads[url] = float("inf")
            time.sleep(POLL_S)

    threading.Thread(target=poll, daemon=True).start()

    @app.post("/route")
    def route() -> tuple[Response, int]:
        url = min(urls, key=lambda each: loads[each])
        answer = requests.post(f"{url}/charge", json=request.get_json(), timeout=TIMEOUT_S)
        return jsonify(response=answer.json(), routed_to=url), answer.status_code

    return app


def charge_request(balancer_url: str) -> Flask:
    """Takes EVs' requests and passes them on."""
    app = Flask("charge-request")

    @app.post("/charge")
    def charge() -> tuple[Response, int]:
        wanted = request.get_json()
        if "ev_id" not in wanted:
            return jsonify(error="ev_id is missing"), 400
        answer = requests.post(f"{balancer_url}/route", json=wanted, timeout=TIMEOUT_S)
        return jsonify(answer.json()), answer.status_code

    return app


def main() -> None:
    """Run one of the three."""
    role, port, *rest = sys.argv[1:]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    if role == "substation":
        app = substation(int(rest[0]), float(rest[1]))
    else:
        app = balancer(rest) if role == "balancer" else charge_request(rest[0])
    app.run(host="127.0.0.1", port=int(port), threaded=True)


if __name__ == "__main__":
    main()
