"""The demo's vocabulary: a CLIP tokenizer over the captions' words, and the ways a caption is worded.

The byte-level alphabet is CLIP's, so any prompt can be written; words the model never met become single
characters, which training teaches it to ignore.
"""

import json
import string

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from .scenes import scenes

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = 300
OPENINGS = ("", "", "", "a ", "a poster of ", "a picture of ", "a painting of ", "a landscape, ", "beautiful ")
ENDINGS = ("", "", "", "", ", high quality", ", flat colours", ", minimal poster", ", detailed")
SYNONYMS = {
    "sunset": ("sunset", "evening"),
    "dawn": ("dawn", "sunrise"),
    "sea": ("sea", "ocean"),
    "day": ("day", "noon"),
}


def worded(caption: str, rng: np.random.Generator) -> str:
    """Return `caption` as a person might type it; sometimes with a word that means nothing here."""
    words = [
        str(rng.choice(SYNONYMS[word])) if word in SYNONYMS and rng.random() < 0.2 else word for word in caption.split()
    ]
    if rng.random() < 0.15:
        letters = rng.choice(list(string.ascii_lowercase), rng.integers(3, 9))
        words.insert(int(rng.integers(len(words) + 1)), "".join(letters))
    return str(rng.choice(OPENINGS)) + " ".join(words) + str(rng.choice(ENDINGS))


def new_tokenizer() -> CLIPTokenizer:
    """A CLIPTokenizer whose merges were learnt from the captions; always the same one."""
    rng = np.random.default_rng(0)
    corpus = [worded(scene.caption, rng) for scene in scenes(0, 4000)]
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    learner.train_from_iterator(
        corpus,
        trainers.BpeTrainer(vocab_size=MERGES, min_frequency=100, end_of_word_suffix="</w>", show_progress=False),
    )
    merges = _merges(learner)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(pair) for pair in merges), START, END]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def _merges(learner: Tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
