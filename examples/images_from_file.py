"""Make new pictures of the subject of a picture: ``python3 -m examples.images_from_file cat.jpg``.

Needs KLING_API_KEY; costs units. ``kling emulator`` prints what to export to try it for nothing.
"""

import asyncio
import sys
from pathlib import Path

from kling_async import Client, RequestInvalid, v1


async def main(picture: Path, folder: str = "out") -> None:
    """Send a picture and store three images; a file that cannot work is refused before anything is paid."""
    request = v1.ImageGeneration(
        model_name="kling-v2-1",
        prompt="The same character on a beach at sunset, watercolour",
        image=picture,
        image_reference="subject",
        n=3,
        aspect_ratio="4:3",
    )
    async with Client() as client:
        try:
            task = await client.submit(request)
        except RequestInvalid as error:
            print(error)
            return
        for path in await task.download(folder):
            print("stored:", path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m examples.images_from_file PICTURE")
    asyncio.run(main(Path(sys.argv[1])))
