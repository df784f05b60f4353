"""A store as a process of its own: ``python -m tests.objectstore --port 9000 --latency 0.05 --tree wide=1000x100``.

Prints one JSON line when it serves; its buckets have the names of the trees. Control: GET /-/counts, /-/reset,
/-/latency?seconds=0.05, each answered with the counters.
"""

import argparse
import contextlib
import json
import signal

from tests.objectstore.server import ObjectStore
from tests.objectstore.trees import tree


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.objectstore")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds per request")
    parser.add_argument("--tree", action="append", default=[], type=tree, metavar="NAME=AxBxF")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), ObjectStore(options.latency, options.port) as store:
        for bucket, keys in options.tree:
            store.fill(bucket, keys)
        print(json.dumps({"url": store.url, "buckets": [bucket for bucket, _ in options.tree]}), flush=True)
        store.closing.wait()


if __name__ == "__main__":
    main()
