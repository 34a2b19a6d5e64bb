"""An agent with threads: a queue of orders, three workers, one recorder for them all.

Run it beside a daemon: `python tests/examples/threads_agent.py`. It works as well without one, and
then the records wait on disk for the next run.
"""

import queue
import random
import threading
import time

from buddyd.client import Recorder

recorder = Recorder("scout")


class OutOfStock(Exception):
    """What the shop says about every fifth article."""


def task_of(order: int) -> str:
    return f"order-{order}"


@recorder.tool("web_search", task_id=task_of)
def search(order: int) -> str:
    """A function whose every call is recorded: how long it took, and whether it raised."""
    time.sleep(random.uniform(0.001, 0.01))
    return f"https://shop.example/{order}"


def buy(order: int, address: str) -> None:
    """A block that tells more about itself than its duration."""
    with recorder.execution(task_of(order), "browser") as run:
        run.browser_used = True
        run.cost = 0.002
        run.tokens = len(address)
        if order % 5 == 0:
            raise OutOfStock(address)


def work(orders: "queue.SimpleQueue[int | None]") -> None:
    while (order := orders.get()) is not None:
        try:
            buy(order, search(order))
        except OutOfStock as problem:
            print("not bought:", problem)


def main() -> None:
    orders: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    workers = [threading.Thread(target=work, args=[orders]) for _ in range(3)]
    for worker in workers:
        worker.start()
    for order in range(20):
        orders.put(order)
    for _ in workers:
        orders.put(None)
    for worker in workers:
        worker.join()
    # At the end of the process this happens by itself; here it is for the figures.
    recorder.close()
    print(recorder.statistics)


if __name__ == "__main__":
    main()
