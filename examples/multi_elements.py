"""Swap an object in a video for the one in a picture: ``python3 -m examples.multi_elements swan.jpg``.

Needs KLING_API_KEY; costs units. ``kling emulator`` prints what to export to try it for nothing.
"""

import asyncio
import sys
from pathlib import Path

from kling_async import Client, v1


async def main(picture: Path, folder: str = "out") -> None:
    """Make a video, mark the object in the middle of its first frame, preview the mark, swap the object."""
    async with Client() as client:
        meadow = v1.TextToVideo(
            prompt="A chick stands on a meadow, close up", model_name="kling-v2-6", duration=5
        )
        video = await client.run(meadow)

        selection = await client.call(v1.InitSelection(video_id=video.videos[0].id))
        session = selection.session_id
        middle = v1.Point(x=0.5, y=0.5)
        marks = await client.call(v1.AddSelection(session_id=session, frame_index=0, points=(middle,)))
        print("objects marked:", len(marks.res.rle_mask_list))
        preview = await client.call(v1.PreviewSelection(session_id=session))
        print("look at it:", preview.res.video)

        swap = v1.MultiElements(
            session_id=session,
            edit_mode="swap",
            image_list=(v1.InputImage(image=picture),),
            prompt="Swap the chick in <<<video_1>>> for the animal in <<<image_1>>>",
            duration=5,
        )
        task = await client.submit(swap)
        for path in await task.download(folder):
            print("stored:", path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m examples.multi_elements PICTURE")
    asyncio.run(main(Path(sys.argv[1])))
