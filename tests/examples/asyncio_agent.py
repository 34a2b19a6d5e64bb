"""An asyncio agent: it records while it works, tells how it does, and asks what it has learned.

Run it beside a daemon: `python tests/examples/asyncio_agent.py`.
"""

import asyncio
import random

from buddyd.client import AsyncClient, Recorder

recorder = Recorder("navigator")


@recorder.tool("geocode")
async def geocode(place: str) -> tuple[float, float]:
    """Recorded with every call, from the first step of the coroutine to its last."""
    await asyncio.sleep(random.uniform(0.001, 0.01))
    if place == "Atlantis":
        raise LookupError(place)
    return 52.5, 13.4


async def travel(place: str) -> None:
    async with asyncio.timeout(10):
        with recorder.execution(f"to-{place}", "route") as run:
            try:
                await geocode(place)
            except LookupError:
                run.error_type = "unknown_place"


async def main() -> None:
    async with AsyncClient() as client:
        places = ["Berlin", "Tartu", "Lima", "Atlantis"]
        await client.report_agent("navigator", queue_depth=len(places), concurrency=4)
        async with asyncio.TaskGroup() as tasks:
            for place in places:
                tasks.create_task(travel(place))
        await client.report_agent("navigator", queue_depth=0)
        # To wait for the records is not the event loop's to do.
        await asyncio.to_thread(recorder.flush, 10)
        learned = await client.get_system_learning()
        for tool in learned.tool_profiles:
            print(f"{tool.tool_name}: {tool.successful_executions} of {tool.total_executions}")


if __name__ == "__main__":
    asyncio.run(main())
