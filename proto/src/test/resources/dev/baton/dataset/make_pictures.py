"""Makes the pictures that PictureDecoderTest reads, and what Pillow decodes them to.

python3 make_pictures.py, in this folder; Pillow 9.4.0. For each picture NAME the file NAME.planes
holds [channels, height, width] bytes.
"""
import numpy as np
from PIL import Image

y, x = np.mgrid[0:12, 0:17]
rgb = np.stack([x * 15, y * 20, (x + y) * 8], -1).astype(np.uint8)
gray = ((x * 16 + y * 3) % 256).astype(np.uint8)


def save(name, image, like, **options):
    image.save(name, **options)
    planes = np.asarray(Image.open(name).convert(like))
    planes = planes[None] if planes.ndim == 2 else planes.transpose(2, 0, 1)
    planes.tofile(name + ".planes")


save("rgb.jpg", Image.fromarray(rgb), "RGB", quality=90)
save("gray.jpg", Image.fromarray(gray), "L", quality=90)
save("rgb.png", Image.fromarray(rgb), "RGB")
save("gray.png", Image.fromarray(gray), "L")
save("bilevel.png", Image.fromarray(gray > 128), "L")
save("palette.png", Image.fromarray(rgb).quantize(16), "RGB")
save("alpha.png", Image.merge("RGBA", Image.fromarray(rgb).split() + (Image.fromarray(gray),)), "RGB")
save("gray-alpha.png", Image.merge("LA", (Image.fromarray(gray), Image.fromarray(gray))), "L")
Image.fromarray(gray.astype(np.uint16) * 256 + 77).save("gray16.png")
gray[None].tofile("gray16.png.planes")
Image.fromarray(rgb).convert("CMYK").save("cmyk.jpg")
