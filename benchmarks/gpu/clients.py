"""The UNet behind `BatchingEngine`, called by 1, 2, 4 and 8 clients at a time: calls a second."""

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import BatchingEngine, Engine, Loading, find_backend
from outpaint_engine.tensors import Array

from .part import feeds_of
from .results import arguments, write

CLIENTS = (1, 2, 4, 8)
ROWS = 2


def rate(engine: Engine, feeds: dict[str, Array], clients: int, calls: int) -> float:
    """Calls a second of `clients` threads that make `calls` each."""
    shared = BatchingEngine(engine, max_rows=ROWS * clients)

    def client(number: int) -> None:
        for call in range(calls):
            shared.run({**feeds, "timestep": feeds["timestep"] - number - call})

    with ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        list(pool.map(client, range(clients)))
        return clients * calls / (time.perf_counter() - began)


def main() -> None:
    parser = arguments("clients", "Time clients that share a UNet.")
    parser.add_argument("--engines", required=True)
    parser.add_argument("--size", type=int, default=512)
    given = parser.parse_args()
    rounds, calls = (1, 2) if given.few else (5, 20)
    rates: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
    with find_backend(given.device).load(Loading(EngineSet.open(given.engines, verify=False), "unet")) as engine:
        feeds = feeds_of(engine, ROWS, given.size)
        for clients in CLIENTS:
            # Each number of rows is recorded once.
            rate(engine, feeds, clients, 3)
        for _ in range(rounds):
            for clients in CLIENTS:
                rates[clients].append(round(rate(engine, feeds, clients, calls), 3))
    times = {clients: round(median(rates[clients]) / median(rates[1]), 3) for clients in CLIENTS}
    write(given.out, {"size": given.size, "device": given.device, "calls_per_second": rates, "times_one": times})


if __name__ == "__main__":
    main()
