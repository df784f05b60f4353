"""Measure the work queue: operations a second by threads, and memory of delayed keys against a Timer for each.

Run it as ``python bench/bench_workqueue.py``; it prints Markdown. Each figure is the median of five rounds, the
contestants interleaved; each memory figure comes from a process of its own.
"""

import resource
import statistics
import subprocess
import sys
import threading
import time

from workqueue import ShutDown, WorkQueue

ROUNDS = 5
OPERATIONS = 100_000
DELAYED = 10_000


def operations_per_second(workers: int) -> float:
    """Return how many keys a second are taken and done by so many threads, with nothing to do for a key."""
    queue: WorkQueue[int] = WorkQueue(slow_limit=workers)
    for key in range(OPERATIONS):
        queue.add(key)
    start = threading.Barrier(workers + 1)

    def work() -> None:
        start.wait()
        while True:
            try:
                key = queue.get()
            except ShutDown:
                return
            queue.done(key)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    queue.shut_down(drain=True)
    seconds = time.perf_counter() - began
    for thread in threads:
        thread.join()
    return OPERATIONS / seconds


def adds_per_second() -> float:
    """Return how many new keys a second one thread adds."""
    queue: WorkQueue[int] = WorkQueue(slow_limit=1)
    began = time.perf_counter()
    for key in range(OPERATIONS):
        queue.add(key)
    seconds = time.perf_counter() - began
    queue.shut_down()
    return OPERATIONS / seconds


def delay_in_queue(count: int) -> int:
    """Add keys to be due in an hour; return how many were."""
    queue: WorkQueue[str] = WorkQueue(slow_limit=1)
    for number in range(count):
        queue.add_after(f"namespace/dataset-{number}", 3600)
    return queue.gauges().delayed


def delay_with_timers(count: int) -> int:
    """Start a Timer for each key, or as many as the system lets us; return how many were started."""
    for number in range(count):
        timer = threading.Timer(3600, print, args=(f"namespace/dataset-{number}",))
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # no more threads
            return number
    return count


def measure_delay(name: str) -> None:
    """Print, for the parent process: how many, seconds, kilobytes of resident memory that came with them."""
    contestant = {"queue": delay_in_queue, "timers": delay_with_timers}[name]
    before, began = resident_kilobytes(), time.perf_counter()
    count = contestant(DELAYED)
    print(count, time.perf_counter() - began, resident_kilobytes() - before, flush=True)


def resident_kilobytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() // 1024


def delayed(name: str) -> tuple[int, float, int]:
    """Measure in a fresh process."""
    # It is ended hard: ten thousand timer threads take their time to leave.
    child = subprocess.Popen([sys.executable, __file__, name], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    count, seconds, kilobytes = child.stdout.readline().split()
    child.kill()
    child.wait()
    return int(count), float(seconds), int(kilobytes)


def main() -> None:
    """Print both tables."""
    speeds: dict[int, list[float]] = {1: [], 4: [], 16: []}
    adds: list[float] = []
    memory: dict[str, list[tuple[int, float, int]]] = {"queue": [], "timers": []}
    for _ in range(ROUNDS):
        adds.append(adds_per_second())
        for workers, measured in speeds.items():
            measured.append(operations_per_second(workers))
        for name, rows in memory.items():
            rows.append(delayed(name))
    print(f"Python {sys.version.split()[0]}, median (lowest to highest) of {ROUNDS} rounds\n")
    print("| work queue | keys/s |\n|---|---|")
    print(f"| add, 1 thread | {spread(adds)} |")
    for workers, measured in speeds.items():
        print(f"| get + done, threads: {workers} | {spread(measured)} |")
    print("\n| delayed keys | how many | seconds to add | memory, MB | bytes a key |\n|---|---|---|---|---|")
    for name, rows in memory.items():
        count = min(row[0] for row in rows)
        seconds = statistics.median(row[1] for row in rows)
        kilobytes = statistics.median(row[2] for row in rows)
        print(f"| {name} | {count:,} | {seconds:.3f} | {kilobytes / 1024:.1f} | {1024 * kilobytes / count:,.0f} |")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure_delay(sys.argv[1])
    else:
        main()
