"""Brotli's own decoder, by the library that turnoutd links: Debian has no module of it that comes with Python."""

import ctypes
import ctypes.util

library = ctypes.CDLL(ctypes.util.find_library("brotlidec") or "libbrotlidec.so.1")
library.BrotliDecoderDecompress.argtypes = (ctypes.c_size_t, ctypes.c_char_p, ctypes.POINTER(ctypes.c_size_t), ctypes.c_char_p)
SUCCESS = 1


def decompress(data, most=1 << 20):
    room, size = ctypes.create_string_buffer(most), ctypes.c_size_t(most)
    assert library.BrotliDecoderDecompress(len(data), data, ctypes.byref(size), room) == SUCCESS, "no brotli"
    return room.raw[:size.value]
