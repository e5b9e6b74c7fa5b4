"""Token ids of open_clip's CLIP tokenizer (with ftfy's repairs) for texts of every kind.

    --write   writes the fixture model/tests/data/open_clip_tokens.json
    --check   computes again and compares; exit status 1 on a difference
"""

import argparse
import json
import pathlib
import sys

import open_clip

FIXTURE = pathlib.Path(__file__).parents[2] / "model/tests/data/open_clip_tokens.json"
END_OF_TEXT = 49407
TEXTS = [
    "a photo of a metal nut.",
    "transistor",
    "Pcb1, α-test!",
    "HDPE bottle Ø 12 mm ±0.5",
    "“curly” ‘quotes’ don’t",
    "ﬁne ﬂaw oﬀset Ĳssel",
    "ＦＵＬＬ　ｗｉｄｔｈ　１２３",
    "étude cafe\u0301 A\u030angstro\u0308m",
    "AT&amp;T &lt;b&gt; &quot;x&quot; &eacute; &#233; &#xe9;",
    "&amp;amp;amp;amp;lt;deep",
    "<p>&amp;amp;lt;once",
    "tab\tnew\nline\r\nand\u00a0no-break\u2003em\u2028separator",
    "zero\u200bwidth soft\u00adhyphen",
    "\x1b[31mred\x1b[0m bell\x07 nul\x00 \ufeffmark",
    "<start_of_text> inside <end_of_text> after",
    "they'll we've i'd he's can't o'clock 'tis",
    "x² ½ ① Ⅷ ٣ 七",
    "snake_case kebab-case path/to.file v1.2.3-rc4",
    "!!! ... ??? --- ((())) [[]] {}",
    "日本語のテキスト 한국어 العربية עברית हिन्दी ไทย",
    "🙂👩‍🔬🏭 ✅™©®",
    "ΣΊΣΥΦΟΣ İstanbul ẞ straße",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "0123456789 1e-5 3.14159",
    "word " * 100,
    "   ",
]


def unpadded(ids: list[int]) -> list[int]:
    """Up to the last end token."""
    return ids[: len(ids) - ids[::-1].index(END_OF_TEXT)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    tokenizer = open_clip.SimpleTokenizer()
    found = [{"text": text, "ids": unpadded(tokenizer([text])[0].tolist())} for text in TEXTS]
    if arguments.write:
        lines = ",\n".join(json.dumps(entry) for entry in found)
        FIXTURE.write_text(f"[\n{lines}\n]\n")
        print(f"wrote {FIXTURE}")
        return 0
    expected = json.loads(FIXTURE.read_text())
    wrong = [entry["text"] for entry in found if entry not in expected]
    for text in wrong:
        print(f"DIFFERS: {text!r}")
    print(f"{len(found) - len(wrong)} of {len(found)} texts agree")
    return int(bool(wrong) or len(expected) != len(found))


if __name__ == "__main__":
    sys.exit(main())
