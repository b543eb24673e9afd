#!/usr/bin/env python3
"""heap.py [LIBRARY] - the collected heap from Python, by ctypes: a starting point for bindings.

The collector does not read Python's memory, so that Python holds objects by handles (mgc_handle), and addresses only
while a handle, a root or another object keeps them. An address that mgc_new has just returned is in a Python number,
too: MGC_INIT_POLL makes that safe, for then a thread answers the collector in calls only, and the next call is the one
that makes the handle. (A thread that makes no call for long goes between mgc_blocking_enter and _leave.)"""
import ctypes
import sys
from ctypes import (POINTER, Structure, c_char_p, c_int, c_long, c_size_t, c_uint, c_uint8, c_uint16, c_uint32,
                    c_uint64, c_void_p)

mgc = ctypes.CDLL(sys.argv[1] if len(sys.argv) > 1 else "libmallocgc.so.0", use_errno=True)


class Type(Structure):
    """struct mgc_type: one for each shape, kept as long as the program runs."""
    _fields_ = [("name", c_char_p), ("size", c_size_t), ("ptr_bytes", c_size_t), ("ptr_mask", POINTER(c_uint8)),
                ("trace", c_void_p), ("flags", c_uint32), ("ptr_tags", c_uint16), ("ptr_tag_mask", c_uint8),
                ("reserved", c_uint8), ("trace_part", c_void_p), ("mgc_id", c_uint64)]


def declare(name, result, *arguments):
    function = getattr(mgc, name)
    function.restype, function.argtypes = result, arguments
    return function


new = declare("mgc_new", c_void_p, POINTER(Type))
write = declare("mgc_write", None, c_void_p, c_void_p)
collect = declare("mgc_collect", None)
handle_new = declare("mgc_handle_new", c_size_t, c_void_p)
handle_get = declare("mgc_handle_get", c_void_p, c_size_t)
handle_free = declare("mgc_handle_free", None, c_size_t)
is_heap = declare("mgc_is_heap", c_int, c_void_p)
version = declare("mgc_version", c_char_p)
write_stats = declare("mgc_write_stats", c_int, c_int, c_char_p)
init = declare("mgc_init", c_int, c_uint)
INIT_POLL = 1


class Node(Structure):
    """What is at an address of that type."""
    _fields_ = [("next", c_void_p), ("number", c_long)]


TYPE = Type(name=b"node", size=ctypes.sizeof(Node), ptr_bytes=8, ptr_mask=(c_uint8 * 1)(1))


class Handle:
    """Keeps an object; `at` is its address as long as this lives."""

    def __init__(self, address):
        if not address:
            raise MemoryError
        self.number = handle_new(address)
        self.at = address

    def __del__(self):
        handle_free(self.number)


def push(first, number):
    """A new node in front of the list that the handle `first` has, or None."""
    fresh = Handle(new(ctypes.byref(TYPE)))
    node = Node.from_address(fresh.at)
    node.number = number
    if first is not None:
        write(fresh.at + Node.next.offset, first.at)
    return fresh


def numbers(first):
    at = first.at
    while at:
        node = Node.from_address(at)
        yield node.number
        at = node.next


def main():
    if init(INIT_POLL) != 0:
        raise OSError(ctypes.get_errno(), "mgc_init")
    first = None
    for number in range(1000):
        first = push(first, number)
        if number % 100 == 0:
            collect()
    collect()
    assert list(numbers(first)) == list(range(999, -1, -1))
    assert is_heap(first.at) and handle_get(first.number) == first.at
    print("mallocgc", version().decode(), "- a list of 1000 nodes after 11 collections: good", flush=True)
    return write_stats(1, b"json") if "--stats" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
