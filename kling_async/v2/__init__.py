"""Requests and results of the second generation of the API, whose paths name the model.

    from kling_async import Client, v2

    async with Client() as client:
        video = await client.run(v2.TextToVideo(prompt="A lighthouse at dusk", model_name="kling-3.0-turbo"))

All take an API key; a key pair works under ``/v1`` only. Images, sounds, voices, elements, avatars and
effects are in `kling_async.v1` only. Fields are the API's own, out of its ``contents``, ``settings`` and
``options``; production ignores what a model does not read and charges for the task, so the check refuses it.
`kling_async.v2.convert` turns requests of ``v1`` into these.
"""

from kling_async.v1.parts import Image, Images, Video, Videos
from kling_async.v2.models import model_capabilities
from kling_async.v2.parts import (
    GlossaryEntry,
    NamedElement,
    NamedImage,
    NamedVideo,
    NamedVoice,
)
from kling_async.v2.solutions import (
    APPAREL_VOICES,
    AVATARS,
    PRESENTER_VOICES,
    ClothingDupe,
    DramaSubtitle,
    GoodsStudio,
    ProductVideos,
    SubtitledVideos,
    SubtitleFile,
    TalkingAgent,
    VirtualTryOn,
)
from kling_async.v2.video import (
    DEFAULT_MOTION_MODEL,
    DEFAULT_OMNI_VIDEO_MODEL,
    DEFAULT_VIDEO_MODEL,
    ImageToVideo,
    MotionControl,
    OmniVideo,
    TextToVideo,
)

__all__ = [
    "APPAREL_VOICES",
    "AVATARS",
    "DEFAULT_MOTION_MODEL",
    "DEFAULT_OMNI_VIDEO_MODEL",
    "DEFAULT_VIDEO_MODEL",
    "PRESENTER_VOICES",
    "ClothingDupe",
    "DramaSubtitle",
    "GlossaryEntry",
    "GoodsStudio",
    "Image",
    "ImageToVideo",
    "Images",
    "MotionControl",
    "NamedElement",
    "NamedImage",
    "NamedVideo",
    "NamedVoice",
    "OmniVideo",
    "ProductVideos",
    "SubtitleFile",
    "SubtitledVideos",
    "TalkingAgent",
    "TextToVideo",
    "Video",
    "Videos",
    "VirtualTryOn",
    "model_capabilities",
]
