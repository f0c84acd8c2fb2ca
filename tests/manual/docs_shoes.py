#!/usr/bin/env python3
"""Draws docs/shoes.png: the first photos of each class that `deltamax shoes --size 96` writes. Needs Pillow.

    deltamax shoes --out shoes --size 96 --count 420
    python3 tests/manual/docs_shoes.py shoes docs/shoes.png
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

COLUMNS, STEP, LABEL, ROW = 11, 100, 90, 108

folder, out = Path(sys.argv[1]), sys.argv[2]
classes = ["Sandals", "Slippers", "Shoes", "Boots"]
sheet = Image.new("RGB", (LABEL + COLUMNS * STEP, len(classes) * ROW), "white")
pen = ImageDraw.Draw(sheet)
font = ImageFont.load_default(15)
for row, name in enumerate(classes):
    pen.text((4, row * ROW + ROW // 2), name, fill="#444", font=font, anchor="lm")
    photos = sorted((folder / name).rglob("*.png"), key=lambda path: path.name)
    for column, path in enumerate(photos[:COLUMNS]):
        sheet.paste(Image.open(path), (LABEL + column * STEP, row * ROW + (ROW - 96) // 2))
sheet.quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)
