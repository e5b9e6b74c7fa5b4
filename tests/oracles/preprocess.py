#!/usr/bin/env python3
"""What Pillow and torchvision make of images of every mode: the fixtures of model/tests/preprocess.rs.

For each case an image file is written, and beside it the RGB square that the authors' transform gives before its
normalisation: Resize(shorter side, bicubic), CenterCrop, convert("RGB"); upright first, where EXIF says so.

    preprocess.py --write [--dir DIR]   writes the images and answers
    preprocess.py --check [--dir DIR]   computes the answers for the committed images anew and compares

Needs tests/oracles/requirements.txt (Pillow, torchvision, torch, numpy).
"""

import argparse
import hashlib
import io
import json
import pathlib
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

DEFAULT_DIR = pathlib.Path(__file__).resolve().parents[2] / "model/tests/data/preprocess"
SIZE = 48
ORIENTATION = 0x0112


def texture(width, height, channels, seed=7):
    """Smooth waves with some noise and hard edges: all that a resampler can get wrong."""
    random = np.random.default_rng(seed + 1000 * width + height)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for channel in range(channels):
        wave = 127 + 90 * np.sin(x / (5.0 + channel) + channel) * np.cos(y / (7.0 - channel))
        wave += random.normal(0, 12, wave.shape)
        wave[(x // 9 + y // 11) % 5 == channel] = 255 * (channel % 2)
        planes.append(wave)
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def image(mode, width=90, height=70):
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    array = texture(width, height, channels)
    return Image.fromarray(array[..., 0] if channels == 1 else array, mode)


def palette(colors=20, width=90, height=70):
    return image("RGB", width, height).quantize(colors, dither=Image.Dither.NONE)


def saved(picture, format, **options):
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def raw_png(array, depth, color_type, extra=b""):
    """A PNG of samples that Pillow cannot write: 16-bit colours, 2 and 4-bit grey, a transparent colour."""
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = array.shape[:2]
    if depth == 16:
        rows = array.astype(">u2").reshape(height, -1).view(np.uint8)
    elif depth == 8:
        rows = array.reshape(height, -1)
    else:
        bits = np.unpackbits(array.reshape(height, -1)[..., None], axis=-1)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(height, -1), axis=-1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def trns(body):
    return struct.pack(">I", len(body)) + b"tRNS" + body + struct.pack(">I", zlib.crc32(b"tRNS" + body))


def wide_samples(channels):
    low = texture(90, 70, channels).astype(np.uint16)
    return (low << 8) | texture(90, 70, channels, seed=8)


def ycck(cmyk_jpeg):
    """The same scan under Adobe's transform 2: decoders take it for luma, chroma and black."""
    at = cmyk_jpeg.index(b"Adobe") + 11
    return cmyk_jpeg[:at] + b"\x02" + cmyk_jpeg[at + 1 :]


def cases():
    """Name of the file -> its bytes."""
    rgb, jpeg = image("RGB"), {"quality": 95, "subsampling": 0}
    yield "l.png", saved(image("L"), "PNG")
    yield "l2.png", raw_png(texture(90, 70, 1) >> 6, 2, 0)
    yield "l4.png", raw_png(texture(90, 70, 1) >> 4, 4, 0)
    yield "l-keyed.png", raw_png(texture(90, 70, 1), 8, 0, trns(b"\0\xff"))
    yield "la.png", saved(image("LA"), "PNG")
    yield "p.png", saved(palette(), "PNG")
    yield "p4.png", saved(palette(13), "PNG", bits=4)
    yield "p-transparent.png", saved(palette(), "PNG", transparency=bytes(range(0, 200, 10)))
    yield "p-tall.png", saved(palette(20, 31, 100), "PNG")
    yield "p-up.png", saved(palette(20, 32, 33), "PNG")
    yield "bit.png", saved(image("L").convert("1"), "PNG")
    yield "rgb.png", saved(rgb, "PNG")
    yield "rgb-keyed.png", raw_png(texture(90, 70, 3), 8, 2, trns(b"\0\0\0\xff\0\0"))
    yield "rgba.png", saved(image("RGBA"), "PNG")
    yield "rgba-same-size.png", saved(image("RGBA", SIZE, SIZE), "PNG")
    yield "i16-dark.png", raw_png(texture(90, 70, 1).astype(np.uint16) * 4 // 3, 16, 0)
    yield "i16.png", raw_png(wide_samples(1), 16, 0)
    yield "la16.png", raw_png(wide_samples(2), 16, 4)
    yield "rgb16.png", raw_png(wide_samples(3), 16, 2)
    yield "rgba16.png", raw_png(wide_samples(4), 16, 6)
    yield "one-pixel.png", saved(Image.new("RGB", (1, 1), (10, 120, 250)), "PNG")
    yield "one-row.png", saved(image("RGB", 75, 1), "PNG")
    yield "one-column.png", saved(image("RGB", 1, 66), "PNG")
    yield "tiny.png", saved(image("RGB", 3, 2), "PNG")
    yield "tall.png", saved(image("RGB", 40, 211), "PNG")
    yield "wide.png", saved(image("RGB", 243, 50), "PNG")
    yield "same-size.png", saved(image("RGB", SIZE, SIZE), "PNG")
    yield "same-height.png", saved(image("RGB", 83, SIZE), "PNG")
    yield "large.png", saved(image("L", 400, 301), "PNG")
    yield "rgb.jpg", saved(rgb, "JPEG", **jpeg)
    yield "rgb-420.jpg", saved(rgb, "JPEG", quality=90, subsampling=2)
    yield "rgb-progressive.jpg", saved(rgb, "JPEG", progressive=True, **jpeg)
    yield "l.jpg", saved(image("L"), "JPEG", quality=95)
    yield "cmyk.jpg", saved(image("CMYK"), "JPEG", **jpeg)
    yield "ycck.jpg", ycck(saved(image("CMYK"), "JPEG", **jpeg))
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        yield f"exif{orientation}.jpg", saved(rgb, "JPEG", exif=exif, **jpeg)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    yield "exif6.png", saved(rgb, "PNG", exif=exif)
    yield "exif6.webp", saved(rgb, "WEBP", lossless=True, exif=exif)
    yield "exif6.tif", saved(rgb, "TIFF", exif=exif)
    yield "rgb.bmp", saved(image("RGB", 61, 50), "BMP")
    yield "l.bmp", saved(image("L", 61, 50), "BMP")
    yield "p.bmp", saved(palette(20, 61, 50), "BMP")
    yield "bit.bmp", saved(image("L", 61, 50).convert("1"), "BMP")
    yield "rgb.tif", saved(rgb, "TIFF", compression="tiff_lzw")
    yield "l.tif", saved(image("L"), "TIFF", compression="tiff_adobe_deflate")
    yield "bit.tif", saved(image("L").convert("1"), "TIFF")
    yield "i16.tif", saved(Image.fromarray(texture(90, 70, 1)[..., 0].astype(np.uint16) * 4 // 3), "TIFF")
    yield "rgba.tif", saved(image("RGBA"), "TIFF", compression="tiff_lzw")
    yield "cmyk.tif", saved(image("CMYK"), "TIFF", compression="tiff_lzw")
    yield "rgb.webp", saved(rgb, "WEBP", lossless=True)
    yield "rgba.webp", saved(image("RGBA"), "WEBP", lossless=True, exact=True)
    yield "lossy.webp", saved(rgb, "WEBP", quality=90)
    yield "p.gif", saved(palette(), "GIF")
    yield "l.gif", saved(image("L"), "GIF")
    second = ImageOps.invert(rgb)
    yield "animated.gif", saved(palette(), "GIF", save_all=True, append_images=[second.quantize(20)], duration=40)
    yield "animated.png", saved(rgb, "PNG", save_all=True, append_images=[second], duration=40)
    yield "animated.webp", saved(rgb, "WEBP", save_all=True, append_images=[second], duration=40, lossless=True)


def upright(data):
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data)))


def cropped(picture):
    picture = Resize(SIZE, interpolation=InterpolationMode.BICUBIC)(picture)
    return CenterCrop(SIZE)(picture).convert("RGB")


def letterboxed(picture):
    width, height = picture.size
    longer = max(width, height)
    kept = max(1, SIZE * width // longer), max(1, SIZE * height // longer)
    return picture.resize(kept, Image.Resampling.BICUBIC).convert("RGB")


def answers(data):
    picture = upright(data)
    return {
        "crop": cropped(picture),
        "letterbox": letterboxed(picture),
        "rgb": picture.convert("RGB"),
        "mode": picture.mode,
    }


def montage(answer):
    """The answers side by side in one picture: the cropped square, the letterboxed part."""
    width = SIZE + answer["letterbox"].width
    canvas = Image.new("RGB", (width, SIZE))
    canvas.paste(answer["crop"], (0, 0))
    canvas.paste(answer["letterbox"], (SIZE, 0))
    return canvas


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    parser.add_argument("--dir", type=pathlib.Path, default=DEFAULT_DIR)
    arguments = parser.parse_args()
    listing = arguments.dir / "cases.json"
    if arguments.write:
        arguments.dir.mkdir(parents=True, exist_ok=True)
        for name, data in cases():
            (arguments.dir / name).write_bytes(data)
        names = [name for name, _ in cases()]
    else:
        names = [case["file"] for case in json.loads(listing.read_text())["cases"]]

    described, wrong = [], []
    for name in names:
        answer = answers((arguments.dir / name).read_bytes())
        expected = arguments.dir / f"{name}.expected.png"
        if arguments.write:
            montage(answer).save(expected, optimize=True)
        elif np.array(Image.open(expected)).tolist() != np.array(montage(answer)).tolist():
            wrong.append(name)
        described.append({
            "file": name,
            "mode": answer["mode"],
            "source": list(answer["rgb"].size),
            "letterbox": list(answer["letterbox"].size),
            "rgb_sha256": hashlib.sha256(answer["rgb"].tobytes()).hexdigest(),
        })
    described = {"size": SIZE, "cases": described}
    if arguments.write:
        listing.write_text(json.dumps(described, indent=1) + "\n")
    elif json.loads(listing.read_text()) != described:
        wrong.append("cases.json")
    if wrong:
        sys.exit(f"answers differ: {', '.join(wrong)}; the versions in requirements.txt make them")
    print(f"{len(names)} cases {'written' if arguments.write else 'agree'}")


if __name__ == "__main__":
    main()
