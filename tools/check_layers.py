#!/usr/bin/env python3
"""check_layers.py - each file includes only what stands before it in tools/layers.txt.

Rules: includes are written from src/ ("heap/span.h"); x.c includes its own x.h first; a layer
sees the layers above it in the list; in a layer with modules a file sees the modules before its
own; an `only` line narrows one file further; no include cycles anywhere."""
import os
import re
import lintlib

TOP = lintlib.root()
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)


def load_order():
    layers, modules, only = [], {}, {}
    text = lintlib.read(TOP, "tools/layers.txt")
    for line in text.splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        name, _, rest = line.partition(":")
        if name.startswith("only "):
            only[name.split()[1]] = set(rest.split())
        else:
            layers.append(name)
            modules[name] = {module: rank for rank, group in enumerate(rest.split())
                             for module in group.split("+")}
    return layers, modules, only


LAYERS, MODULES, ONLY = load_order()


def place(path):
    """(layer, module) of a path below src/, with module the listed name it belongs to."""
    layer, _, name = path.partition("/")
    stem = os.path.splitext(name)[0]
    fits = [m for m in MODULES.get(layer, {}) if stem == m or stem.startswith(m + "_")]
    return layer, max(fits, key=len) if fits else stem


def wrong(path, target):
    """Why `path` may not include `target`, or None."""
    layer, module = place(path)
    to_layer, to_module = place(target)
    if to_layer not in LAYERS:
        return "write includes from src/, as \"heap/span.h\""
    if not os.path.exists(os.path.join(TOP, "src", target)):
        return "no such file"
    for prefix, allowed in ONLY.items():
        if os.path.splitext(path)[0].startswith(prefix) and to_layer not in allowed | {layer}:
            return f"{prefix} may use only {' '.join(sorted(allowed))}"
    if LAYERS.index(to_layer) > LAYERS.index(layer):
        return f"layer {to_layer} stands after {layer}"
    order = MODULES[layer]
    if to_layer == layer and order.get(to_module, 0) > order.get(module, 0):
        return f"module {to_module} stands after {module}"
    return None


def find_cycle(graph):
    state, stack = {}, []

    def visit(node):
        state[node] = 1
        stack.append(node)
        for target in graph.get(node, []):
            if state.get(target) == 1:
                return stack[stack.index(target):] + [target]
            if target not in state and (found := visit(target)):
                return found
        state[node] = 2
        stack.pop()
        return None

    for node in graph:
        if node not in state and (found := visit(node)):
            return found
    return None


def main():
    errors, graph, checked = [], {}, 0
    for path in lintlib.files(TOP, ".c", ".h", ".def", under=("src",)):
        name = path[len("src/"):]
        layer, module = place(name)
        checked += 1
        if layer not in LAYERS or (MODULES[layer] and module not in MODULES[layer]):
            errors.append(f"{path}: module {layer}/{module} is not in tools/layers.txt")
            continue
        code = lintlib.code_only(lintlib.read(TOP, path), keep_strings=True)
        includes = [i for i in INCLUDE.findall(code) if not i.startswith("mallocgc")]
        graph[name] = includes
        own = os.path.splitext(name)[0] + ".h"
        first = re.search(r"#[ \t]*include[ \t]*[\"<]([^\">]+)", code)
        if name.endswith(".c") and os.path.exists(os.path.join(TOP, "src", own)):
            if not first or first.group(1) != own:
                errors.append(f"{path}: its first include must be \"{own}\"")
        for target in includes:
            reason = wrong(name, target)
            if reason:
                errors.append(f"{path}: includes \"{target}\": {reason}")
    cycle = find_cycle(graph)
    if cycle:
        errors.append("include cycle: " + " -> ".join(cycle))
    lintlib.finish("source files", checked, errors)


main()
