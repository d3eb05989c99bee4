"""Makes resizes.bin for BilinearResizeTest: pictures and what Pillow makes of them.

python3 make_resizes.py, in this folder; Pillow 9.4.0. Each case is eight int32, little-endian:
channels, height, width, new height, new width, 0, 0, 0; then the picture and the resized one,
[channels, height, width] bytes each.
"""
import struct
import numpy as np
from PIL import Image

random = np.random.default_rng(1)
cases = [
    (1, 28, 28, 96, 96), (1, 28, 28, 32, 32), (1, 28, 28, 14, 9), (3, 32, 32, 40, 24), (3, 33, 47, 20, 20),
    (3, 50, 40, 7, 5), (3, 9, 31, 9, 12), (1, 17, 8, 30, 8), (3, 1, 1, 3, 3), (1, 64, 64, 1, 1),
]
with open("resizes.bin", "wb") as out:
    for c, h, w, new_h, new_w in cases:
        picture = random.integers(0, 256, (h, w, c), np.uint8)
        if c == 3:
            picture[: h // 2] = np.linspace(0, 255, w).astype(np.uint8)[None, :, None]
        image = Image.fromarray(picture[..., 0] if c == 1 else picture)
        resized = np.asarray(image.resize((new_w, new_h), Image.BILINEAR)).reshape(new_h, new_w, c)
        out.write(struct.pack("<8i", c, h, w, new_h, new_w, 0, 0, 0))
        out.write(picture.transpose(2, 0, 1).tobytes())
        out.write(resized.transpose(2, 0, 1).tobytes())
