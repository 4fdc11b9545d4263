"""Recognise the regions of the body that the words of a header name."""

from __future__ import annotations

import unicodedata

STEMS = {
    "head": ("head", "brain", "skull", "kopf", "schadel", "crane", "cranio", "cerebr", "sinus"),
    "neck": ("neck", "hals", "cuello", "collo", "larynx"),
    "chest": ("chest", "thora", "torax", "torace", "lung", "pulm", "poumon", "brust"),
    "heart": ("heart", "cardi", "coronar", "herz"),
    "abdomen": ("abdo", "liver", "leber", "kidney", "niere", "renal", "hepat", "bauch"),
    "pelvis": ("pelvi", "becken", "bassin", "hip", "bladder"),
    "spine": ("spine", "wirbel", "lumbar", "cervical", "rachis"),
    "limb": ("extremit", "knee", "foot", "ankle", "hand", "wrist", "elbow", "shoulder", "femur"),
}
"""By region, how words about it begin or what they are made of (CHESTABDPELVIS is one word), in
languages of some departments, without accents."""


def regions(*texts: str) -> list[str]:
    """The regions that are named in `texts`, in the order of `STEMS`; nothing else of the texts."""
    joined = unicodedata.normalize("NFKD", " ".join(texts).casefold())
    plain = "".join(letter for letter in joined if not unicodedata.combining(letter))
    return [region for region, stems in STEMS.items() if any(stem in plain for stem in stems)]
