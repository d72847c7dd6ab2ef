"""Submit many prompts at once, more than the account runs at a time.

Nothing here counts slots or catches "too many tasks": a submit waits for its slot. Needs KLING_API_KEY; costs
units. ``kling emulator`` prints what to export to try it for nothing.
"""

import asyncio

from kling_async import Client, KlingError, v1

PROMPTS = [
    f"A {animal} crosses a mountain stream"
    for animal in ("fox", "bear", "lynx", "deer", "goat", "wolf", "ibex")
]


async def one(client: Client, prompt: str) -> str:
    """Take one prompt from queue to file; return a failure as text, so that it does not end the others."""
    try:
        task = await client.submit(v1.TextToVideo(prompt=prompt, mode="pro"))
        paths = await task.download("out")
    except KlingError as error:
        return f"{prompt}: {error}"
    return f"{prompt}: {paths[0]}"


async def main() -> None:
    """Run all prompts side by side and show how each ended, in order."""
    async with Client() as client, asyncio.TaskGroup() as group:
        jobs = [group.create_task(one(client, prompt)) for prompt in PROMPTS]
    for job in jobs:
        print(job.result())


if __name__ == "__main__":
    asyncio.run(main())
