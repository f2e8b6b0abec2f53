"""Changes to an image: another size, mode or format, a rotation, a wrong header."""

from __future__ import annotations

import io
import random
import zlib
from typing import Any

from PIL import Image


def in_image(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    image = Image.open(io.BytesIO(data))
    kind, act = image.format or "PNG", rng.randrange(6)
    options: dict[str, Any] = {}
    if act == 0:
        size = rng.choice(((1, 1), (1, 4000), (image.height, image.width), (3000, 2000)))
        image, what = image.resize(size), f"of size {size}"
    elif act == 1:
        mode = rng.choice(("L", "P", "1", "CMYK", "RGBA", "I;16", "LA"))
        kind = kind if kind == "PNG" and mode != "CMYK" else "TIFF"
        image, what = image.convert("L" if mode == "I;16" else mode), f"of mode {mode}"
        image = image.convert("I").convert("I;16") if mode == "I;16" else image
    elif act == 2:
        exif = image.getexif()
        exif[0x0112] = rng.choice((3, 6, 8, 99))
        options["exif"], what = exif, f"turned by EXIF {exif[0x0112]}"
    elif act == 3:
        kind = rng.choice(("GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO"))
        what = f"as {kind}"
    elif act == 4 and data[:4] == b"\x89PNG":
        sides = rng.choice(((0, 0), (100_000, 100_000), (2**31 - 1, 1), (64, 10)))
        head = b"IHDR" + b"".join(side.to_bytes(4, "big") for side in sides) + data[24:29]
        return data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:], f"a header that says {sides}"
    else:
        options, what = {"save_all": True, "append_images": [image.rotate(90)]}, "with a second frame"
        kind = "GIF"
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue(), what
