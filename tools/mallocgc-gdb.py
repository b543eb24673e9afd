"""mallocgc-gdb.py - gdb commands that look at a heap of mallocgc: in a live process, none of whose functions they call,
or in a core.

  (gdb) source mallocgc-gdb.py      installed in share/mallocgc
  (gdb) mgc spans [NAME]            what the heap consists of, by type (those with NAME in it) and size
  (gdb) mgc object EXPR             the object that an address points into: type, size, state, its words
  (gdb) mgc roots                   ranges, threads, fibers

The signals by which collections interrupt threads no longer stop the program in gdb.

They read the library's own structures by their debug information, as built here (make, cmake --install); without it
they say so. docs/debugging.md shows what they print."""
import struct
import gdb

PAGE, GRANULE, BITS_NBYTES = 8192, 16, 16 * 8  # bytes; of a page: 8 pairs of mark and allocation bits
ROOT_FLAGS = {1: "unbarriered", 2: "ambiguous"}
LAYOUT_FLAGS = {1: "ambiguous", 4: "uncollectable", 8: "tiny"}
PHASES = ("no collection", "ARM", "ROOTS", "MARK", "TERM", "CLOSED", "CLEAR", "FLIP")


class Heap:
    """The one heap of the process, read when a command starts."""

    def __init__(self):
        self.runtime = find_runtime()
        self.heap = self.runtime["heap"]
        if int(self.heap["pageheap"]["space"]["nbytes"]) == 0:
            raise gdb.GdbError("the heap has not been used yet")
        self.space = self.heap["pageheap"]["space"]
        self.layouts = self.heap["layouts"]
        self.base, self.nbytes = int(self.space["base"]), int(self.space["nbytes"])
        self.spans = int(self.space["spans"])
        self.span_type = self.space["spans"].type.target()
        self.memory = gdb.selected_inferior()

    def read(self, address, nbytes):
        return bytes(self.memory.read_memory(address, nbytes))

    def span(self, page):
        return (gdb.Value(self.spans + page * self.span_type.sizeof)
                .cast(self.span_type.pointer()).dereference())

    def each_span(self):
        """(first page, its record) of every span in use."""
        npages = int(self.space["grown"])
        desc = struct.unpack(f"<{npages}I", self.read(int(self.space["desc"]), 4 * npages)) if npages else ()
        page = 0
        while page < npages:
            if desc[page] == 0:
                page += 1
                continue
            s = self.span(page)
            yield page, s
            page += max(1, int(s["npages"]))

    def first_page(self, address):
        """The first page of the span that the address lies in, or None."""
        if not 0 <= address - self.base < self.nbytes:
            return None
        page = (address - self.base) // PAGE
        while True:
            desc, = struct.unpack("<I", self.read(int(self.space["desc"]) + 4 * page, 4))
            if desc == 0:
                return None
            page -= desc >> 16
            if desc >> 16 != 0xffff:
                return page

    def bits(self, page, npages):
        """(mark, allocation) bits of those pages, as two numbers."""
        raw = self.read(int(self.space["bits"]) + page * BITS_NBYTES, npages * BITS_NBYTES)
        return (int.from_bytes(b"".join(raw[i:i + 8] for i in range(0, len(raw), 16)), "little"),
                int.from_bytes(b"".join(raw[i + 8:i + 16] for i in range(0, len(raw), 16)), "little"))

    def layout_of(self, span):
        return int(self.layouts["spanclass"][int(span["spanclass"])]["layout"])

    def name_of(self, layout):
        row = self.layouts["layout"][layout]
        flags = [word for bit, word in LAYOUT_FLAGS.items() if int(row["desc"]["flags"]) & bit]
        name = row["name"].string() if int(row["name"]) else str(row["desc"]["kind"]).replace("LAYOUT_", "").lower()
        return " ".join([name] + flags)


def find_runtime():
    """The library's `runtime`, wherever it is linked in."""
    for objfile in gdb.objfiles():
        symbol = objfile.lookup_global_symbol("runtime") or objfile.lookup_static_symbol("runtime")
        if symbol is None:
            continue
        value = symbol.value()
        if value.type.strip_typedefs().code == gdb.TYPE_CODE_STRUCT and has_heap(value.type):
            return value
    raise gdb.GdbError("no mallocgc with debug information is loaded here (a stripped library? the malloc face?)")


def has_heap(kind):
    names = {field.name for field in kind.strip_typedefs().fields()}
    return {"heap", "gc", "poll_finalizers"} <= names



def kib(nbytes):
    return f"{nbytes / 1024:,.0f}"


class Mgc(gdb.Command):
    """Looks at the heap of mallocgc: mgc spans, mgc object ADDRESS, mgc roots."""

    def __init__(self):
        super().__init__("mgc", gdb.COMMAND_DATA, prefix=True)


class Spans(gdb.Command):
    """mgc spans [NAME] - spans by type and slot size, most bytes first. `taken` counts slots that are in use, or handed
    to a thread; of a collection that has run since, the dead that no sweep has reached count too."""

    def __init__(self):
        super().__init__("mgc spans", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        heap, rows = Heap(), {}
        for page, span in heap.each_span():
            name = heap.name_of(heap.layout_of(span))
            if argument.strip() not in name:
                continue
            npages, nslots, slot = int(span["npages"]), int(span["nslots"]), int(span["slot_nbytes"])
            row = rows.setdefault((name, slot if int(span["sizeclass"]) else 0), [0, 0, 0, 0])
            taken = bin(heap.bits(page, npages)[1]).count("1")
            for i, value in enumerate((1, nslots, taken, npages * PAGE)):
                row[i] += value
        phase = int(heap.heap["phase_gen"]) & 0xff
        print(f"{'type':32} {'slot':>8} {'spans':>7} {'slots':>9} {'taken':>9} {'KiB':>9}   "
              f"[{PHASES[min(phase, 7)]}, {int(heap.runtime['gc']['ncycles'])} collections]")
        for (name, slot), row in sorted(rows.items(), key=lambda item: -item[1][3]):
            print(f"{name[:32]:32} {slot or 'large':>8} {row[0]:>7} {row[1]:>9} {row[2]:>9} {kib(row[3]):>9}")


class Object(gdb.Command):
    """mgc object EXPR - the object that the value of the expression points into."""

    def __init__(self):
        super().__init__("mgc object", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        if not argument.strip():
            raise gdb.GdbError("mgc object: which address?")
        try:
            address = int(gdb.parse_and_eval(argument).cast(gdb.lookup_type("unsigned long")))
        except gdb.error as error:
            raise gdb.GdbError(f"mgc object {argument}: {error}")
        heap = Heap()
        page = heap.first_page(address)
        if page is None:
            where = "a free page of the heap" if 0 <= address - heap.base < heap.nbytes else "not in the heap"
            print(f"{address:#x}: {where}")
            return
        span = heap.span(page)
        slot_nbytes, start = int(span["slot_nbytes"]), int(span["base"])
        slot = (address - start) // slot_nbytes
        if slot >= int(span["nslots"]):
            print(f"{address:#x}: behind the last slot of a span of {slot_nbytes} bytes")
            return
        base = start + slot * slot_nbytes
        mark, alloc = heap.bits(page, int(span["npages"]))
        granule = (base - start) // GRANULE
        state = "taken" if alloc >> granule & 1 else "free"
        marked = ", marked" if mark >> granule & 1 else ""
        print(f"{address:#x}: {heap.name_of(heap.layout_of(span))} {base:#x}, {slot_nbytes} bytes"
              f"{f' + {address - base}' if address != base else ''}: {state}{marked} "
              f"(slot {slot} of {int(span['nslots'])} in the span at {start:#x})")
        self.words(heap, base, min(slot_nbytes, 128))
        if slot_nbytes > 128:
            print(f"  … {slot_nbytes - 128} bytes more")

    def words(self, heap, base, nbytes):
        for i, (word,) in enumerate(struct.iter_unpack("<Q", heap.read(base, nbytes // 8 * 8))):
            page = heap.first_page(word)
            name = f"  → {heap.name_of(heap.layout_of(heap.span(page)))}" if page is not None else ""
            print(f"  +{8 * i:<4} {word:#018x}{name}")


class Roots(gdb.Command):
    """mgc roots - what keeps objects alive from outside: registered ranges, data segments, threads, fibers."""

    def __init__(self):
        super().__init__("mgc roots", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        heap = Heap()
        roots = heap.runtime["gc"]["roots"]
        print(f"{int(roots['nranges'])} ranges"
              + ("; data segments and thread-local variables of all objects" if roots["globals"] else ""))
        for i in range(int(roots["nranges"])):
            row = roots["range"][i]
            flags = [word for bit, word in ROOT_FLAGS.items() if int(row["flags"]) & bit]
            flags += ["owned by a stack"] if int(row["owned"]) else []
            symbol = gdb.execute(f"info symbol {int(row['lo']):#x}", to_string=True).strip()
            known = "" if symbol.startswith("No symbol") else "  " + symbol.split(" in section")[0]
            print(f"  {int(row['lo']):#x} … {int(row['hi']):#x}  {' '.join(flags) or 'barriered'}{known}")
        for record in each(heap.heap["mutators"], gdb.lookup_type("struct mutator"), "node"):
            print(f"thread {int(record['tid'])}: stack {int(record['stack_lo']):#x} … {int(record['stack_hi']):#x}")
        for stack in each(roots["stacks"], gdb.lookup_type("struct mgc_stack"), "node"):
            used = int(stack["hi"]) - int(stack["sp"]) if int(stack["sp"]) else 0
            print(f"fiber {int(stack.address):#x}: stack {int(stack['lo']):#x} … {int(stack['hi']):#x}, "
                  + ("runs" if int(stack["running"]) else f"waits, {used} bytes used"))


def each(head, kind, member):
    """The records of an intrusive list."""
    offset = next(f.bitpos // 8 for f in kind.fields() if f.name == member)
    at = int(head["next"])
    while at != int(head.address):
        record = gdb.Value(at - offset).cast(kind.pointer()).dereference()
        yield record
        at = int(record[member]["next"])


Mgc()
Spans()
Object()
Roots()
# SIGRTMAX - 2 of the native API, SIGPWR and SIGXCPU of the libgc face.
gdb.execute("handle SIG62 SIGPWR SIGXCPU nostop noprint pass", to_string=True)
