"""Make one video from one prompt.

Needs KLING_API_KEY; costs units. ``kling emulator`` prints what to export to try it for nothing.
"""

import asyncio

from kling_async import Client, v1


async def main(folder: str = "out") -> None:
    """Submit a request, print the status of its task until it ends, store the video."""
    async with Client() as client:
        request = v1.TextToVideo(prompt="A rabbit reads the newspaper", model_name="kling-v2-6", duration=5)
        task = await client.submit(request)
        print("accepted:", task.id)
        async for record in task.updates():
            print("now:", record.status)
        for path in await task.download(folder):
            print("stored:", path)


if __name__ == "__main__":
    asyncio.run(main())
