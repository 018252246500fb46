"""Prompts of every kind that a user or an attacker may send, generated from a seed."""

import random
from collections.abc import Callable

ENGLISH = (
    "a photo of an astronaut riding a horse on the beach at sunset highly detailed oil painting by old masters soft "
    "light f/1.8 35mm don't it's we'll I'd they've she's 4k 8K HDR UHD trending masterpiece supercalifragilistic"
)
FOREIGN = (
    "naïve café Ångström Straße İstanbul ŉ ﬁ ǆ καλημέρα ΣΊΣΥΦΟΣ доброе утро Ё 日の出と海 山水画 ガギグ 한국어 안녕 "
    "صباح الخير \u200fעברית हिन्दी क्षि தமிழ் ไทย မြန်မာ ภาษา"
)
PICTURES = "😀 👩\u200d🚀 🏳\ufe0f\u200d🌈 🇩🇪 👍🏽 ❤\ufe0f 🌅 🏔\ufe0f 0\ufe0f⃣ ☃"
COUNTS = "0 7 42 1,000.50 1e-5 2026-11-22 16:9 ½ ² Ⅷ ٣٤٥ ९ 𝟘"
WORDS, SCRIPTS, EMOJI, NUMBERS = (text.split(" ") for text in (ENGLISH, FOREIGN, PICTURES, COUNTS))
SPACES = " \t\n\r\v\f\x1c\x1f\x85\u00a0\u1680\u2003\u2009\u200b\u2028\u202f\u205f\u3000\ufeff"
MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿«»—…‘’“”•©®™°±×÷€£¥"
SPECIAL = (
    "<|endoftext|>",
    "<|startoftext|>",
    "<|ENDOFTEXT|>",
    "<|endoftext",
    "</w>",
    "a\u0301e\u0308o\u0302",
    "\u0041\u030a\u0327",
    "\u1100\u1161\u11a8",
    "'s't're've'm'll'd",
    "\U0001d4d0\U0001d4d1",
    "\ufffd",
    "\x00\x01\x7f",
)


def _anything(rng: random.Random) -> str:
    """Code points of all planes but for surrogates, which no request may hold."""
    points = (rng.choice((0x250, 0x3000, 0xD7FF, 0x1FFFF, 0x10FFFF)) for _ in range(rng.randint(1, 8)))
    chosen = [rng.randint(0, top) for top in points]
    return "".join(chr(point) for point in chosen if not 0xD800 <= point <= 0xDFFF)


def _noun(rng: random.Random) -> str:
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABCXYZ") for _ in range(rng.randint(1, 30)))


KINDS: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: rng.choice(WORDS),
    lambda rng: rng.choice(WORDS).upper(),
    lambda rng: rng.choice(MARKS) * rng.randint(1, 4),
    lambda rng: rng.choice(EMOJI),
    lambda rng: rng.choice(SCRIPTS),
    lambda rng: rng.choice(NUMBERS),
    lambda rng: rng.choice(SPECIAL),
    lambda rng: chr(rng.randint(0, 31)),
    _anything,
    _noun,
)


def varied_prompts(count: int, seed: int = 0) -> list[str]:
    """`count` prompts: most of up to 12 pieces, every hundredth of 300 words."""
    rng = random.Random(seed)
    prompts = []
    for index in range(count):
        if index % 100 == 0:
            pieces = [rng.choice(WORDS) for _ in range(300)]
        else:
            pieces = [rng.choice(KINDS)(rng) for _ in range(rng.randint(0, 12))]
        between = rng.choice(("", " ", " ", ", ", None))
        joined = [piece + (rng.choice(SPACES) if between is None else between) for piece in pieces]
        prompts.append("".join(joined))
    return prompts
