#!/usr/bin/env python3
"""heap.py - reads what mgc_dump_heap wrote (docs/debugging.md has the format).

  heap.py FILE                 objects and bytes by type
  heap.py FILE why ADDRESS     the shortest way from a root to the object, and what it retains
  heap.py FILE retained [N]    the N objects that retain most: what would die with each (20)

An object retains what every way from the roots leads through it to (its subtree in the dominator tree)."""
import bisect
import json
import sys
from collections import Counter, deque


class Heap:
    def __init__(self, path):
        self.types, self.objects, self.roots, self.symbols = {}, {}, [], {}
        self.whole = False
        with open(path, encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    self.add(json.loads(line))
                except ValueError:
                    sys.exit(f"{path}:{number}: not a line of a heap dump")
        if not self.whole:
            sys.exit(f"{path}: the last line is missing: the dump was cut off")
        self.addresses = sorted(self.objects)

    def add(self, row):
        if "object" in row:
            self.objects[row["object"]] = (row["type"], row["bytes"], row["refs"])
        elif "root" in row:
            self.roots.append(row)
        elif "type" in row:
            self.types[row["type"]] = row["name"]
        elif "symbol" in row:
            self.symbols[row["symbol"]] = row["name"]
        elif "end" in row:
            self.whole = row["end"] == len(self.objects)

    def at(self, address):
        """The object that holds the address."""
        i = bisect.bisect_right(self.addresses, address) - 1
        if i >= 0 and address < self.addresses[i] + self.objects[self.addresses[i]][1]:
            return self.addresses[i]
        sys.exit(f"{address:#x} is in no object of this dump")

    def text(self, address):
        kind, nbytes, _ = self.objects[address]
        return f"{self.types[kind]} {address:#x} ({nbytes} B)"

    def root_text(self, root):
        where = f", word at {root['at']:#x}" if root["at"] else ""
        symbol = self.symbols.get(root["at"])
        thread = f", thread {root['thread']}" if root["thread"] else ""
        return root["root"] + where + (f", {symbol}" if symbol else "") + thread

    def way(self, wanted):
        """From a root on, or None."""
        parent, queue = {}, deque()
        for root in self.roots:
            if root["to"] not in parent:
                parent[root["to"]] = root
                queue.append(root["to"])
        while queue and wanted not in parent:
            at = queue.popleft()
            for to in self.objects[at][2]:
                if to in self.objects and to not in parent:
                    parent[to] = at
                    queue.append(to)
        if wanted not in parent:
            return None
        way = [wanted]
        while isinstance(parent[way[-1]], int):
            way.append(parent[way[-1]])
        return parent[way[-1]], way[::-1]

    def order(self):
        """Reachable objects in reverse postorder from a root of all roots (None)."""
        done, seen = [], {None}
        stack = [(None, iter(sorted({r["to"] for r in self.roots})))]
        while stack:
            at, edges = stack[-1]
            for to in edges:
                if to in self.objects and to not in seen:
                    seen.add(to)
                    stack.append((to, iter(self.objects[to][2])))
                    break
            else:
                done.append(at)
                stack.pop()
        return done[::-1]

    def retained(self):
        """Bytes retained by each reachable object (Cooper, Harvey, Kennedy)."""
        order = self.order()
        number = {at: i for i, at in enumerate(order)}
        before = [[] for _ in order]
        for to in {r["to"] for r in self.roots}:
            before[number[to]].append(0)
        for at in order[1:]:
            for to in self.objects[at][2]:
                if to in number:
                    before[number[to]].append(number[at])
        dom = [0] + [None] * (len(order) - 1)
        changed = True
        while changed:
            changed = False
            for i in range(1, len(order)):
                new = None
                for p in before[i]:
                    if dom[p] is None:
                        continue
                    a, b = p, p if new is None else new
                    while a != b:
                        while a > b:
                            a = dom[a]
                        while b > a:
                            b = dom[b]
                    new = a
                if dom[i] != new:
                    dom[i], changed = new, True
        size = [0] + [self.objects[at][1] for at in order[1:]]
        for i in range(len(order) - 1, 0, -1):
            size[dom[i]] += size[i]
        return {at: size[i] for i, at in enumerate(order) if i}


def show_types(heap):
    objects, nbytes = Counter(), Counter()
    for kind, size, _ in heap.objects.values():
        objects[heap.types[kind]] += 1
        nbytes[heap.types[kind]] += size
    for name, size in nbytes.most_common():
        print(f"{size:12} bytes {objects[name]:9} objects  {name}")
    print(f"{sum(nbytes.values()):12} bytes {len(heap.objects):9} objects  in all")


def show_why(heap, address):
    wanted = heap.at(address)
    found = heap.way(wanted)
    if found is None:
        print(f"{heap.text(wanted)} is kept by nothing")
        return
    root, way = found
    print(heap.root_text(root))
    for at in way:
        print(f"  -> {heap.text(at)}")
    print(f"it retains {heap.retained()[wanted]} bytes")


def show_retained(heap, n):
    retained = heap.retained()
    for at, size in sorted(retained.items(), key=lambda pair: -pair[1])[:n]:
        print(f"{size:12} bytes  {heap.text(at)}")


def main():
    args = sys.argv[1:]
    if len(args) == 1:
        show_types(Heap(args[0]))
    elif len(args) == 3 and args[1] == "why":
        show_why(Heap(args[0]), int(args[2], 0))
    elif len(args) in (2, 3) and args[1] == "retained":
        show_retained(Heap(args[0]), int(args[2]) if len(args) == 3 else 20)
    else:
        sys.exit(__doc__)


main()
