#!/usr/bin/env python3
"""Chooses the size classes and writes src/heap/sizeclass_table.h.

A class is a slot size and a span length in pages. Sizes are 16, 24, 32, then every 16 B to 128, then
eight steps per doubling (so rounding up wastes at most 1/8 above 128 B). A span is the shortest run
of pages that wastes at most 1/16 behind its last slot and holds the slots named in MIN_SLOTS.

  mksizes.py            print the waste table
  mksizes.py --write    also write the header
  mksizes.py --check    exit 1 when the header is not what --write would write
"""
import pathlib
import sys

PAGE = 8192
MAX_SMALL = 32768
MAX_PAGES = 16
DENSE = 512  # the largest class whose spans have one page and a mask of all their slots
HEADER = pathlib.Path(__file__).parent.parent / "src/heap/sizeclass_table.h"


def sizes():
    out = [16, 24, 32] + list(range(48, 129, 16))
    base = 128
    while base < MAX_SMALL:
        out += [base + base // 8 * k for k in range(1, 9)]
        base *= 2
    return out


def min_slots(size):
    """Slots a refill of the cache can count on: the cost of a refill is spread over them."""
    return 16 if size <= 512 else 8 if size <= 2048 else 4 if size <= 8192 else 2 if size <= 16384 else 1


def span_pages(size):
    for pages in range(1, MAX_PAGES + 1):
        nbytes = pages * PAGE
        if nbytes // size >= min_slots(size) and nbytes % size <= nbytes // 16:
            return pages
    raise SystemExit(f"no span length up to {MAX_PAGES} pages suits {size} B")


def reciprocal(size, nbytes):
    """ceil(2^32 / size), checked to divide every offset of a span exactly."""
    r = ((1 << 32) + size - 1) // size
    for slot in range(nbytes // size + 1):
        for off in (slot * size, min(slot * size + size - 1, nbytes - 1)):
            assert off >= nbytes or (off * r) >> 32 == off // size, (size, off)
    return r


def rows():
    prev = 0
    for size in sizes():
        pages = span_pages(size)
        nbytes = pages * PAGE
        nslots = nbytes // size
        tail = nbytes - nslots * size
        worst = (size - prev - 1) * nslots + tail
        yield size, pages, nslots, reciprocal(size, nbytes), tail, worst / nbytes
        prev = size


def lookup_sizes():
    """The largest size of each bucket that sizeclass_of() looks up."""
    return [1] + list(range(8, 1025, 8)) + list(range(1152, MAX_SMALL + 1, 128))


def header(table):
    lines = [
        "/* sizeclass_table.h - written by tools/mksizes.py; `make lint` fails when it is stale.",
        " * One row a class: slot bytes, pages of a span, slots of a span, ceil(2^32 / slot bytes). */",
        "#ifndef MGC_HEAP_SIZECLASS_TABLE_H",
        "#define MGC_HEAP_SIZECLASS_TABLE_H",
        "#ifndef MGC_IMPL",
        '#error "internal header of mallocgc"',
        "#endif",
        "",
        f"#define MGC_NSIZECLASS {len(table) + 1} /* class 0 is a large object */",
        "#define MGC_SIZECLASSES(X) \\",
    ]
    lines += [f"\tX({s}, {p}, {n}, {r}u) \\" for s, p, n, r, _, _ in table]
    lines[-1] = lines[-1].removesuffix(" \\")
    dense = [size for size, *_ in table if size <= DENSE]
    lines += ["", f"/* Allocation bits of an 8 KiB span whose every slot is taken, per class up to {DENSE} B. */",
              f"#define MGC_NDENSE {len(dense)}", "#define MGC_DENSE_MASKS(X) \\"]
    for size in dense:
        bits = sum(1 << (slot * size // 16) for slot in range(PAGE // size))
        words = ", ".join(f"{bits >> 64 * k & (1 << 64) - 1:#x}" for k in range(PAGE // 16 // 64))
        lines.append(f"\tX({words}) \\")
    lines[-1] = lines[-1].removesuffix(" \\")
    slots = [row[0] for row in table]
    index = [next(c for c, s in enumerate(slots, 1) if s >= n) for n in lookup_sizes()]
    lines += ["", "/* class by size: sizes to 1024 B in steps of 8, then to 32 KiB in steps of 128 */",
              "#define MGC_CLASS_BY_SIZE \\"]
    for at in range(0, len(index), 24):
        lines.append("\t" + ", ".join(map(str, index[at:at + 24])) + ", \\")
    lines[-1] = lines[-1].removesuffix(", \\")
    lines += ["", "#endif", ""]
    return "\n".join(lines)


def main():
    table = list(rows())
    assert len(table) + 1 <= 80, "config.h: MGC_MAX_SIZECLASS"
    text = header(table)
    if "--check" in sys.argv:
        if HEADER.read_text() != text:
            raise SystemExit(f"{HEADER} is stale: run tools/mksizes.py --write")
        print(f"ok: {len(table)} size classes are what tools/mksizes.py chooses")
        return
    print("class   slot B  span B  slots  tail waste  worst waste")
    for i, (s, p, n, _, tail, worst) in enumerate(table, 1):
        print(f"{i:5} {s:8} {p * PAGE:7} {n:6} {tail:11} {100 * worst:11.2f} %")
    if "--write" in sys.argv:
        HEADER.write_text(text)


main()
