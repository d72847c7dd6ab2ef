"""Extend a video twice: each time the whole video comes back, about 5 s longer.

``python3 -m examples.extend_twice VIDEO_ID``: the ``id`` of a video (not of its task) that kling-v1,
kling-v1-5 or kling-v1-6 made in the last 30 days. Needs KLING_API_KEY; costs units.
"""

import asyncio
import sys

from kling_async import Client, v1


async def main(video_id: str, folder: str = "out") -> None:
    """Extend a video, extend the result, and store both."""
    async with Client() as client:
        for prompt in ("It turns into a drain", "It comes out at the sea"):
            task = await client.submit(v1.VideoExtend(video_id=video_id, prompt=prompt))
            video = (await task.wait()).videos[0]
            print("now", video.seconds, "s:", *await task.download(folder))
            video_id = video.id


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m examples.extend_twice VIDEO_ID")
    asyncio.run(main(sys.argv[1]))
