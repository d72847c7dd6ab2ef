"""Let the face in a video speak a text: ``python3 -m examples.lip_sync``.

Needs KLING_API_KEY; costs units. ``kling emulator`` prints what to export to try it for nothing.
"""

import asyncio

from kling_async import Client, v1


async def main(folder: str = "out") -> None:
    """Make a video and a speech, identify the faces, choose one for the speech, make the new video."""
    async with Client() as client:
        portrait = v1.TextToVideo(prompt="A pilot looks into the camera", model_name="kling-v2-6", duration=5)
        video = await client.run(portrait)
        text = "Good morning, and welcome on board. I am your pilot today."
        speech = await client.call(v1.TextToSpeech(text=text, voice_id="oversea_male1", voice_language="en"))

        faces = await client.call(v1.IdentifyFace(video_id=video.videos[0].id))
        if not faces.face_data:
            print("no face was found")
            return
        # the first three seconds of the speech, from the moment that the face appears
        choice = v1.FaceChoice.of(faces.face_data[0], audio_id=speech.audios[0].id, sound_end_time=3000)
        request = v1.AdvancedLipSync(session_id=faces.session_id, face_choose=(choice,))

        task = await client.submit(request)
        for path in await task.download(folder):
            print("stored:", path)


if __name__ == "__main__":
    asyncio.run(main())
