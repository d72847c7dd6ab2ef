"""Make a character with a voice of its own, and a video of it.

``python3 -m examples.own_element FRONT SIDE VOICE``: two pictures of the character and the address of a
recording, 5 to 30 s of one clear voice. Needs KLING_API_KEY; costs units. ``kling emulator`` prints what to
export to try it for nothing.
"""

import asyncio
import sys
from pathlib import Path

from kling_async import Client, v1


async def main(front: Path, side: Path, recording: str, folder: str = "out") -> None:
    """Clone a voice, make a character with it, let it speak; voice and character can be used again."""
    async with Client() as client:
        voices = await client.run(v1.CustomVoice(voice_name="Ann", voice_url=recording))
        voice = voices.voices[0]
        print("voice:", voice.voice_id)

        character = v1.CustomElement(
            element_name="Ann",
            element_description="A walker with a red scarf",
            reference_type="image_refer",
            element_image_list=v1.ElementImages(
                frontal_image=front, refer_images=(v1.ReferImage(image_url=side),)
            ),
            element_voice_id=voice.voice_id,
        )
        elements = await client.run(character)
        element = elements.elements[0]
        print("element:", element.element_id)

        video = v1.OmniVideo(
            prompt='<<<element_1>>> looks out over the sea and says: "We are home."',
            element_list=(v1.ElementRef(element_id=element.element_id),),
            sound=True,
            aspect_ratio="16:9",
            duration=5,
        )
        task = await client.submit(video)
        for path in await task.download(folder):
            print("stored:", path)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python3 -m examples.own_element FRONT SIDE VOICE")
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
