"""Voices of lip sync and text to speech, from lists of 2026, and rules about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.errors import Problem
from kling_async.wire.checks import Doubt

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TTS_VOICES", "speed_is_rounded", "voice_is_taken", "voice_speaks"]

TTS_VOICES: Final = {
    "zh": frozenset(
        {
            "genshin_vindi2",
            "zhinen_xuesheng",
            "tiyuxi_xuedi",
            "ai_shatang",
            "genshin_klee2",
            "genshin_kirara",
            "ai_kaiya",
            "tiexin_nanyou",
            "ai_chenjiahao_712",
            "girlfriend_1_speech02",
            "chat1_female_new-3",
            "girlfriend_2_speech02",
            "cartoon-boy-07",
            "cartoon-girl-01",
            "ai_huangyaoshi_712",
            "you_pingjing",
            "ai_laoguowang_712",
            "chengshu_jiejie",
            "zhuxi_speech02",
            "uk_oldman3",
            "laopopo_speech02",
            "heainainai_speech02",
            "dongbeilaotie_speech02",
            "chongqingxiaohuo_speech02",
            "chuanmeizi_speech02",
            "chaoshandashu_speech02",
            "ai_taiwan_man2_speech02",
            "xianzhanggui_speech02",
            "tianjinjiejie_speech02",
            "diyinnansang_DB_CN_M_04-v2",
            "yizhipiannan-v1",
            "guanxiaofang-v2",
            "tianmeixuemei-v1",
            "daopianyansang-v1",
            "mengwa-v1",
        }
    ),
    "en": frozenset(
        {
            "genshin_vindi2",
            "zhinen_xuesheng",
            "AOT",
            "ai_shatang",
            "genshin_klee2",
            "genshin_kirara",
            "ai_kaiya",
            "oversea_male1",
            "ai_chenjiahao_712",
            "girlfriend_4_speech02",
            "chat1_female_new-3",
            "chat_0407_5-1",
            "cartoon-boy-07",
            "uk_boy1",
            "cartoon-girl-01",
            "PeppaPig_platform",
            "ai_huangzhong_712",
            "ai_huangyaoshi_712",
            "ai_laoguowang_712",
            "chengshu_jiejie",
            "you_pingjing",
            "calm_story1",
            "uk_man2",
            "laopopo_speech02",
            "heainainai_speech02",
            "reader_en_m-v1",
            "commercial_lady_en_f-v1",
        }
    ),
}
"""Voices by the language they speak; some speak both. The lists change: others are taken too."""

REFUSED: Final = frozenset({"commercial_lady_en_f-v1", "oversea_female1", "reader_en_m-v1"})
"""Voices that the global host refused for text to speech in 2026."""


def voice_speaks(voice: str | None, language: str | None, prefix: str = "") -> Iterator[Problem | Doubt]:
    """Judge a voice and its language: an unknown voice passes with a warning.

    Args:
        voice: Id of the voice. A missing one is judged elsewhere.
        language: Language of the text; None is Chinese, the vendor's default.
        prefix: Prefix of the paths of both fields.
    """
    if voice is None or not voice.strip():
        return
    spoken = [known for known, voices in TTS_VOICES.items() if voice in voices]
    wanted = language or "zh"
    if not spoken:
        yield Doubt(f"{prefix}voice_id", f"{voice!r} is not known here; the vendor will judge it")
    elif wanted not in spoken:
        yield Problem(f"{prefix}voice_language", f"{voice} speaks {' and '.join(spoken)}, not {wanted}")


def voice_is_taken(voice: str) -> Iterator[Problem | Doubt]:
    """Warn of a voice that is listed and was refused nevertheless."""
    if voice in REFUSED:
        yield Doubt("voice_id", f"{voice!r} was refused in 2026, though it is listed")


def speed_is_rounded(speed: float | None, prefix: str = "") -> Iterator[Problem | Doubt]:
    """Warn of a speed that the vendor rounds."""
    if speed is not None and round(speed, 1) != speed:
        yield Doubt(f"{prefix}voice_speed", f"{speed:g} is rounded to one decimal place by the vendor")
