"""Reads and writes safetensors files with NumPy: 8 bytes of header length, a JSON header, the data."""

import json
import struct

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}
BITS = {"BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1"}  # What NumPy has no type for.


class File:
    """`metadata` is a dict of texts; `tensors` a dict of arrays. BF16 and F8 are kept as their bits."""

    def __init__(self, path):
        raw = path.read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + length])
        self.metadata = header.pop("__metadata__", {})
        self.tensors, self.dtypes = {}, {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            values = np.frombuffer(raw[8 + length + begin : 8 + length + end], DTYPES.get(entry["dtype"]) or BITS[entry["dtype"]])
            self.tensors[name] = values.reshape(entry["shape"])
            self.dtypes[name] = entry["dtype"]


def write(path, tensors, metadata=None, dtypes=None):
    """Writes arrays of the dtypes above, or of those that `dtypes` names for their bits."""
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    names = {np.dtype(code): name for name, code in DTYPES.items()}
    for name, array in tensors.items():
        dtype = (dtypes or {}).get(name) or names[array.dtype]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).data)
    return path


def write_request(path, request, **tensors):
    """A request file; `request` is its JSON as a dict, tensors are named with `__` for a dot."""
    arrays = {name.replace("__", "."): np.asarray(array, np.float32) for name, array in tensors.items()}
    return write(path, arrays, {"request": json.dumps(request)})
