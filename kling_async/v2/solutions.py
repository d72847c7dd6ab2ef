"""Solutions: products of the second generation for shops, presenters and dramas, at ``/solutions``.

No page says which slots they take: billing names videos (of try-on, images), so they count as such.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.redaction import Discreet
from kling_async.v1.parts import Image, Images, Video, Videos
from kling_async.v1.rules import exactly_one, is_set
from kling_async.v2.parts import (
    BGM,
    CLIP,
    PRODUCT,
    WATERMARK,
    GlossaryEntry,
)
from kling_async.v2.rules import extra_is_read, known_words
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
from kling_async.wire.requests import File, Result, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "APPAREL_VOICES",
    "AVATARS",
    "PRESENTER_VOICES",
    "ClothingDupe",
    "DramaSubtitle",
    "GoodsStudio",
    "ProductVideos",
    "SubtitledVideos",
    "TalkingAgent",
    "VirtualTryOn",
]

APPAREL_VOICES: Final = (
    *("energetic_sales_girl", "gentle_sales_woman", "crisp_sales_girl", "mature_sales_woman"),
    *("calm_sales_woman", "soft_sales_woman", "energetic_sales_boy", "enthusiastic_sales_man"),
    *("steady_sales_man", "calm_sales_man"),
)
"""Voices of `ClothingDupe` known on 2026-09-20."""
PRESENTER_VOICES: Final = (
    *("male_calm_informative", "female_clear_rational", "female_gentle_soothing", "female_bright_engaging"),
    *("male_crisp_persuasive", "female_intelligent_narrative", "male_clear_professional"),
    *("male_energetic_sporty", "female_warm_rich"),
)
"""Voices of `TalkingAgent` known on 2026-09-20."""
AVATARS: Final = (
    *("avatar_vivian_female", "avatar_lee_male", "avatar_chenjing_female", "avatar_zhaochen_male"),
    *("avatar_wanglei_male", "avatar_eva_female", "avatar_oliver_male", "avatar_elena_female"),
    *("avatar_adam_male", "avatar_anna_female", "avatar_rajput_male", "avatar_mia_female"),
    *("avatar_river_male", "avatar_marcus_male", "avatar_toto_cartoon"),
)
"""Figures of `TalkingAgent` known on 2026-09-20."""

_RESOLUTION: Final = Meta(extra={"default": "720p", "place": "settings.resolution"})
_WATERMARK: Final = Meta(extra={"default": False, "place": "options.watermark.enabled"})
_URL_ONLY: Final = PRODUCT._replace(max_mb=10, base64=False)


class ProductVideos(Result, frozen=True, kw_only=True):
    """Result of `ClothingDupe`: the video, and the images that it was made from."""

    product_images: tuple[Image, ...] = ()
    """Images of the product."""
    model_images: tuple[Image, ...] = ()
    """Images of who wears it."""
    product_videos: tuple[Video, ...] = ()
    """The videos."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the videos and images."""
        groups: tuple[tuple[str, str, tuple[Image | Video, ...]], ...] = (
            ("", ".mp4", self.product_videos),
            ("product_", ".png", self.product_images),
            ("model_", ".png", self.model_images),
        )
        return tuple(
            File(url, suffix, f"{name}{index}")
            for name, suffix, outputs in groups
            for index, output in enumerate(outputs)
            if (url := output.watermark_url if watermarked else output.url)
        )


class SubtitleFile(Discreet, frozen=True, kw_only=True):
    """Subtitles as a file. The address expires 30 days after the task ended."""

    url: str = ""
    """Address of the file."""


class SubtitledVideos(Result, frozen=True, kw_only=True):
    """Result of `DramaSubtitle`: the video with subtitles, and the subtitles as files."""

    subbed_videos: tuple[Video, ...] = ()
    """The video with its subtitles burnt in."""
    srt_files: tuple[SubtitleFile, ...] = ()
    """The subtitles as SRT."""
    ass_files: tuple[SubtitleFile, ...] = ()
    """The subtitles as ASS, with their styles."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the video and of the subtitles."""
        if watermarked:
            urls = (video.watermark_url for video in self.subbed_videos)
            return tuple(File(url, ".mp4", str(i)) for i, url in enumerate(urls) if url)
        groups: tuple[tuple[str, tuple[SubtitleFile | Video, ...]], ...] = (
            (".mp4", self.subbed_videos),
            (".srt", self.srt_files),
            (".ass", self.ass_files),
        )
        return tuple(
            File(output.url, suffix, str(index))
            for suffix, outputs in groups
            for index, output in enumerate(outputs)
            if output.url
        )


class ClothingDupe(TaskRequest[ProductVideos], frozen=True, kw_only=True, omit_defaults=True):
    """A video of clothes after the pattern of another one: ``POST /solutions/e-commerce/clothing_dupe``.

    Args:
        product_info: What the product is, at most 2500 characters.
        source_video: The pattern: MP4 or MOV, 5 to 180 seconds, at most 100 MB.
        product_images: 1 to 5 images of the product.
        model_images: Up to 5 images of who wears it; without them the person of the pattern is kept.
        bgm: Address of the music, of 5 seconds to 10 minutes; without one the service picks some.
        voice_id: A voice of `APPAREL_VOICES` speaks; without one sound is made with the picture.
        resolution: 720p or 1080p. Default: 720p.
        aspect_ratio: Width to height.
        watermark: True also makes a watermarked copy. Default: False.
        extra: Fields of the API that this class lacks; merged into the body last. Each warns once.
    """

    endpoint_name = "v2.clothing_dupe"

    product_info: Annotated[str, Meta(max_length=2500, extra={"place": "contents.product_info.text"})]
    source_video: Annotated[
        Media | str | bytes | Path, Meta(extra={"media": CLIP, "place": "contents.source_video.url"})
    ]
    product_images: Annotated[
        tuple[Media | str | bytes | Path, ...],
        Meta(min_length=1, max_length=5, extra={"media": PRODUCT, "place": "contents.product_image.url"}),
    ]
    model_images: (
        Annotated[
            tuple[Media | str | bytes | Path, ...],
            Meta(max_length=5, extra={"media": PRODUCT, "place": "contents.model_image.url"}),
        ]
        | None
    ) = None
    bgm: (
        Annotated[Media | str | bytes | Path, Meta(extra={"media": BGM, "place": "contents.bgm.url"})] | None
    ) = None
    voice_id: Annotated[str, Meta(extra={"place": "contents.voice.voice_id"})] | None = None
    resolution: Annotated[Literal["720p", "1080p"], _RESOLUTION] | None = None
    aspect_ratio: (
        Annotated[
            Literal["9:16", "2:3", "3:4", "1:1", "4:3", "3:2", "16:9", "21:9"],
            Meta(extra={"place": "settings.aspect_ratio"}),
        ]
        | None
    ) = None
    watermark: Annotated[bool, WATERMARK] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]] = (extra_is_read, known_words("voice_id", APPAREL_VOICES))


class GoodsStudio(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video that sells a product: ``POST /solutions/e-commerce/goods_studio``.

    Args:
        ref_images: 1 to 5 images of the product.
        goods_title: Name of the product, at most 200 characters.
        resolution: 720p or 1080p. Required here.
        aspect_ratio: Width to height. Required here.
        duration: Length in seconds: 15, 30 or 60. Required here.
        goods_description: What to say of it, at most 2000 characters.
        watermark: True also makes a watermarked copy. Default: False.
        extra: Fields of the API that this class lacks; merged into the body last. Each warns once.
    """

    endpoint_name = "v2.goods_studio"

    ref_images: Annotated[
        tuple[Media | str | bytes | Path, ...],
        Meta(min_length=1, max_length=5, extra={"media": PRODUCT, "place": "contents.ref_image.url"}),
    ]
    goods_title: Annotated[str, Meta(max_length=200, extra={"place": "contents.goods_title.text"})]
    resolution: Annotated[Literal["720p", "1080p"], Meta(extra={"place": "settings.resolution"})]
    aspect_ratio: Annotated[Literal["9:16", "1:1", "16:9"], Meta(extra={"place": "settings.aspect_ratio"})]
    duration: Annotated[Literal[15, 30, 60], Meta(extra={"unit": "s", "place": "settings.duration"})]
    goods_description: (
        Annotated[str, Meta(max_length=2000, extra={"place": "contents.goods_description.text"})] | None
    ) = None
    watermark: Annotated[bool, _WATERMARK] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]] = (extra_is_read,)


class TalkingAgent(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A presenter who speaks a text, perhaps about a product: ``POST /solutions/talking_agent``.

    The length of the text decides the length of the video, and its price. Any ``goods_`` field or ref_images
    makes it speak of goods: then ref_images and goods_title are needed.

    Args:
        speech_script: What to say, at most 2000 characters.
        avatar_image: Picture of who speaks; it needs a voice_id. Exactly one of avatar_image and avatar_id.
        avatar_id: A figure of `AVATARS`, which has a voice of its own; at most 128 characters.
        ref_images: Up to 5 images of the product.
        goods_title: Name of the product, at most 500 characters.
        goods_price: Its price, at most 256 characters.
        goods_target_audiences: Up to 20 audiences, of at most 200 characters each.
        goods_selling_points: Up to 20 selling points, of at most 500 characters each.
        resolution: 720p or 1080p. Default: 720p.
        aspect_ratio: Width to height. Default: 9:16.
        allow_polish: True lets the service polish the text. Default: False.
        voice_id: A voice of `PRESENTER_VOICES`, for an avatar_image.
        speech_rate: 0.8, 1.0 or 1.2, without goods only. Default: 1.0.
        action_prompt: How to move, at most 2500 characters.
        bgm_enabled: True adds music. Default: False.
        watermark: True also makes a watermarked copy. Default: False.
        extra: Fields of the API that this class lacks; merged into the body last. Each warns once.
    """

    endpoint_name = "v2.talking_agent"

    speech_script: Annotated[str, Meta(max_length=2000, extra={"place": "contents.speech_script.text"})]
    avatar_image: (
        Annotated[
            Media | str | bytes | Path, Meta(extra={"media": PRODUCT, "place": "contents.avatar_image.url"})
        ]
        | None
    ) = None
    avatar_id: Annotated[str, Meta(max_length=128, extra={"place": "contents.avatar_id.text"})] | None = None
    ref_images: (
        Annotated[
            tuple[Media | str | bytes | Path, ...],
            Meta(max_length=5, extra={"media": PRODUCT, "place": "contents.ref_image.url"}),
        ]
        | None
    ) = None
    goods_title: Annotated[str, Meta(max_length=500, extra={"place": "contents.goods_title.text"})] | None = (
        None
    )
    goods_price: Annotated[str, Meta(max_length=256, extra={"place": "contents.goods_price.text"})] | None = (
        None
    )
    goods_target_audiences: (
        Annotated[
            tuple[Annotated[str, Meta(max_length=200)], ...],
            Meta(max_length=20, extra={"place": "contents.goods_target_audience.text"}),
        ]
        | None
    ) = None
    goods_selling_points: (
        Annotated[
            tuple[Annotated[str, Meta(max_length=500)], ...],
            Meta(max_length=20, extra={"place": "contents.goods_selling_point.text"}),
        ]
        | None
    ) = None
    resolution: Annotated[Literal["720p", "1080p"], _RESOLUTION] | None = None
    aspect_ratio: (
        Annotated[Literal["9:16", "16:9"], Meta(extra={"default": "9:16", "place": "settings.aspect_ratio"})]
        | None
    ) = None
    allow_polish: Annotated[bool, Meta(extra={"default": False, "place": "settings.allow_polish"})] | None = (
        None
    )
    voice_id: Annotated[str, Meta(extra={"place": "settings.voice_id"})] | None = None
    speech_rate: Annotated[float, Meta(extra={"default": 1.0, "place": "settings.speech_rate"})] | None = None
    action_prompt: Annotated[str, Meta(max_length=2500, extra={"place": "settings.action_prompt"})] | None = (
        None
    )
    bgm_enabled: Annotated[bool, Meta(extra={"default": False, "place": "settings.bgm_enabled"})] | None = (
        None
    )
    watermark: Annotated[bool, _WATERMARK] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


class VirtualTryOn(TaskRequest[Images], frozen=True, kw_only=True, omit_defaults=True):
    """An image of a person who wears a product: ``POST /solutions/virtual_try_on``. Takes one try-on slot.

    Args:
        product_image: Address of an image of the product: 300 to 2048 pixels, at most 10 MB.
        person_image: Address of an image of the person, likewise.
        keep_face: False lets the face change. Default: True.
        keep_pose: False lets the pose change. Default: True.
        keep_background: False lets the background change. Default: True.
        watermark: True also makes a watermarked copy. Default: False.
        extra: Fields of the API that this class lacks; merged into the body last. Each warns once.
    """

    endpoint_name = "v2.virtual_try_on"

    product_image: Annotated[
        Media | str | bytes | Path, Meta(extra={"media": _URL_ONLY, "place": "contents.product_image.url"})
    ]
    person_image: Annotated[
        Media | str | bytes | Path, Meta(extra={"media": _URL_ONLY, "place": "contents.person_image.url"})
    ]
    keep_face: Annotated[bool, Meta(extra={"default": True, "place": "settings.keep_face"})] | None = None
    keep_pose: Annotated[bool, Meta(extra={"default": True, "place": "settings.keep_pose"})] | None = None
    keep_background: (
        Annotated[bool, Meta(extra={"default": True, "place": "settings.keep_background"})] | None
    ) = None
    watermark: Annotated[bool, _WATERMARK] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]] = (extra_is_read,)


class DramaSubtitle(TaskRequest[SubtitledVideos], frozen=True, kw_only=True, omit_defaults=True):
    """Subtitles in another language for an episode: ``POST /solutions/drama_subtitle``.

    Subtitles that are burnt in already are not removed.

    Args:
        source_video: Address of an MP4 with sound, of at most 300 seconds and 500 MB.
        glossary: Up to 200 terms with their translations.
        target_cps: Reading speed in characters a second, 10 to 20. Default: 17.
        target_language: ``en``. Default: en.
        margin_v: Space below the subtitles, 1 to 4096 pixels. If unset, 340 in upright videos, 80 in wide.
        font_size: Size of the letters, 1 to 512. If unset, 60 in upright videos, 56 in wide ones.
        extra: Fields of the API that this class lacks; merged into the body last. Each warns once.
    """

    endpoint_name = "v2.drama_subtitle"

    source_video: Annotated[
        Media | str | bytes | Path,
        Meta(extra={"media": CLIP._replace(formats=("mp4",)), "place": "contents.source_video.url"}),
    ]
    glossary: (
        Annotated[tuple[GlossaryEntry, ...], Meta(max_length=200, extra={"place": "contents.glossary"})]
        | None
    ) = None
    target_cps: (
        Annotated[
            int,
            Meta(ge=10, le=20, extra={"unit": "characters/s", "default": 17, "place": "settings.target_cps"}),
        ]
        | None
    ) = None
    target_language: (
        Annotated[Literal["en"], Meta(extra={"default": "en", "place": "settings.target_language"})] | None
    ) = None
    margin_v: (
        Annotated[int, Meta(ge=1, le=4096, extra={"unit": "px", "place": "settings.margin_v"})] | None
    ) = None
    font_size: Annotated[int, Meta(ge=1, le=512, extra={"place": "settings.font_size"})] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]] = (extra_is_read,)


_RATES: Final = (0.8, 1.0, 1.2)
_GOODS: Final = ("ref_images", "goods_title", "goods_price", "goods_target_audiences", "goods_selling_points")


def speaks_of_goods(r: TalkingAgent) -> Iterator[Problem | Doubt]:
    """Require image and title of goods, and no speech_rate beside them; hold the rate to its three values."""
    if any(is_set(getattr(r, name)) for name in _GOODS):
        for name in ("ref_images", "goods_title"):
            if not is_set(getattr(r, name)):
                yield Problem(name, "is required where goods are spoken of")
        if r.speech_rate is not None:
            yield Problem("speech_rate", "is not taken where goods are spoken of")
    if r.speech_rate is not None and r.speech_rate not in _RATES:
        yield Problem("speech_rate", f"{r.speech_rate:g} is not one of 0.8, 1.0, 1.2")


def voice_of_the_image(r: TalkingAgent) -> Iterator[Problem | Doubt]:
    """Require a voice for an image; a figure of the library has its own."""
    if r.avatar_image and not r.voice_id:
        yield Problem("voice_id", "is required with avatar_image")
    if r.avatar_id and r.voice_id:
        yield Problem("voice_id", "must be left out with avatar_id, which has a voice of its own")


TalkingAgent.rules = (
    extra_is_read,
    exactly_one("avatar_image", "avatar_id"),
    voice_of_the_image,
    speaks_of_goods,
    known_words("avatar_id", AVATARS),
    known_words("voice_id", PRESENTER_VOICES),
)
