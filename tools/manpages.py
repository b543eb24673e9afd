#!/usr/bin/env python3
"""manpages.py [FOLDER] - a page of section 3 for each docstring of the public headers, one for each struct and
function by its name, and mallocgc(3), which lists them; written to FOLDER.

Without a folder: checks that every public function has a docstring of its own, and what mandoc says of the pages."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import lintlib

TOP = lintlib.root()
HEADERS = ("mallocgc.h", "mallocgc-heap.h", "mallocgc-inline.h")
SECTION = re.compile(r"^/\* ── (.*?) ─+(?:[^*]|\*(?!/))*?\*/\n", re.M | re.S)
FUNCTION = re.compile(r"\b(mgc_\w+)\(", re.M)


def comment_text(comment):
    """The lines of a comment, without its stars."""
    lines = comment[2:-2].strip("\n").split("\n")
    return [re.sub(r"^ ?\* ?", "", line) if number else line.lstrip() for number, line in enumerate(lines)]


class Entry:
    """A comment (or several, when only struct names stand between them) and what it is about."""

    def __init__(self, header, section):
        self.header, self.section, self.text, self.code, self.functions = header, section, [], [], []

    @property
    def names(self):
        structs = [m for line in self.code for m in re.findall(r"^struct (mgc_\w+) \{", line, re.M)]
        return self.functions + structs


def declarations(code):
    """(functions, text) of the code after a comment: MGC_API functions and inlined ones, structs, enums."""
    found = []
    for match in re.finditer(r"^MGC_API ([^;{]*?\b(mgc_\w+)\((?:[^;])*?);", code, re.M | re.S):
        if not re.match(r"extern|__thread", match.group(1)):
            found.append((match.group(2), " ".join(match.group(1).split()) + ";"))
    for match in re.finditer(r"^static inline ([^;{]*?\b(mgc_\w+)\([^)]*\))\n\{", code, re.M):
        if not match.group(2).startswith("mgc_inline_"):
            found.append((match.group(2), " ".join(match.group(1).split()) + ";"))
    return found


def entries(header):
    """The entries of a header, in order."""
    text = lintlib.read(TOP, "include/" + header)
    text = text[text.index("*/") + 2:]
    section, pending, out = "", None, []
    for match in re.finditer(r"^(/\*(?:[^*]|\*(?!/))*\*/)\n((?:(?!^/\*)[\s\S])*)", text, re.M):
        comment, code = match.groups()
        title = re.match(r"/\* ── (.*?) ─", comment)
        if title:
            section, pending = title.group(1), None
        lines = comment_text(comment)[1:] if title else comment_text(comment)
        entry = pending or Entry(header, section)
        entry.text += ([""] if entry.text else []) + lines
        for name, declaration in declarations(code):
            entry.functions.append(name)
            entry.code.append(declaration)
        entry.code += re.findall(r"^((?:struct|enum) mgc_\w+ \{.*?^\};)", code, re.M | re.S)
        entry.code += re.findall(r"^(typedef [^;]*;)", code, re.M)
        pending = None if entry.names else entry
        if entry.names:
            out.append(entry)
    return out


SUMMARY = 80  # columns of the NAME section


def documented(name, entry):
    """The words of the docstring about that name: `name - …`, `_suffix - …` or a list `a, b - …`."""
    text = " ".join(entry.text)
    for match in re.finditer(r"(?:^|[\s.])((?:struct )?mgc_\w+(?:, _?\w+)*) - ", text):
        heads = match.group(1).replace("struct ", "").split(", ")
        full = [head if head.startswith("mgc_") else re.sub(r"_[^_]*$", "", heads[0]) + head for head in heads]
        if name in full:
            return text[match.end():]
    return None


def summary(name, entry):
    text = documented(name, entry) or documented(entry.names[0], entry) or " ".join(entry.text)
    words = re.split(r"(?<=[^0-9])[.;:](?:\s|$)", text)[0].strip()
    return re.sub(r"\s+", " ", words)


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def body(lines):
    """Paragraphs; a line further in is an item, `word  text` with its name in front; so is a word in capitals."""
    out, fresh, within = [], True, False
    for line in lines:
        item = (re.match(r"^ {2,3}(\S.*?) {2,}(\S.*)$", line) or
                re.match(r"^([A-Z]{3,}(?: [A-Z]+)*) {2,}(\S.*)$", line))
        if item:
            out += [".TP", ".B " + roff(item.group(1)), roff(item.group(2))]
            within = True
        elif line.strip():
            starts = fresh or within and line[0] != " " or re.match(r"(?:struct )?mgc_\w+(?:, _?\w+)* - ", line)
            within = within and line[0] == " "
            out += ([".PP"] if starts and out else []) + [roff(line.strip())]
        fresh = not line.strip()
    return out


def synopsis(entry):
    out = [".nf", f".B #include <{entry.header}>", ".PP"]
    for line in "\n".join(entry.code).split("\n"):
        out.append(".B " + '"' + roff(line.replace("\t", "    ")).replace('"', '\\(dq') + '"')
    return out + [".fi"]


def head(title):
    version = lintlib.read(TOP, "VERSION").strip()
    return ['.\\" Written by tools/manpages.py from the header; do not edit.',
            f'.TH {title.upper().replace("-", chr(92) + "-")} 3 "" "mallocgc {version}" "mallocgc"', ".SH NAME"]


def page(entry, peers):
    names = entry.names
    out = head(names[0]) + [", ".join(roff(n) for n in names) + " \\- " + roff(summary(names[0], entry))]
    out += [".SH SYNOPSIS"] + synopsis(entry) + [".SH DESCRIPTION"] + body(entry.text)
    others = [p.names[0] for p in peers if p is not entry][:12]
    out += [".SH SEE ALSO"] + [f".BR {roff(n)} (3)," for n in ["mallocgc"] + others]
    return "\n".join(out + [".BR mallocgc (7)"]) + "\n"


def overview(all_entries):
    text = lintlib.read(TOP, "include/mallocgc.h")
    first = comment_text(text[:text.index("*/") + 2])
    opening = " ".join(first[:first.index("")]).partition(" - ")[2]
    out = head("mallocgc") + ["mallocgc \\- " + roff(opening.rstrip(".")), ".SH SYNOPSIS", ".B #include <mallocgc.h>",
                              ".PP", ".B cc prog.c $(pkg\\-config \\-\\-cflags \\-\\-libs mallocgc)", ".SH DESCRIPTION"]
    out += body(first[first.index("") + 1:])
    section = None
    for entry in all_entries:
        title = entry.section if entry.header == "mallocgc.h" else {
            "mallocgc-heap.h": "regions (-lmallocgc-malloc)"}.get(entry.header, "inlined paths")
        if title != section:
            section = title
            out += [f'.SH "{roff(title.upper())}"']
        for name in entry.names:
            out += [".TP", f".BR {roff(name)} (3)", roff(summary(name, entry))]
    return "\n".join(out + [".SH SEE ALSO", ".BR mallocgc (1),", ".BR mallocgc (7)"]) + "\n"


def write(folder):
    os.makedirs(folder, exist_ok=True)
    everything = [entry for header in HEADERS for entry in entries(header)]
    pages = {"mallocgc": overview(everything)}
    for entry in everything:
        peers = [e for e in everything if (e.header, e.section) == (entry.header, entry.section)]
        for number, name in enumerate(entry.names):
            pages[name] = f".so man3/{entry.names[0]}.3\n" if number else page(entry, peers)
    for name, text in pages.items():
        with open(os.path.join(folder, name + ".3"), "w", encoding="utf-8") as file:
            file.write(text)
    return everything, pages


def main():
    if len(sys.argv) > 1 and not sys.argv[1].startswith("--root"):
        write(sys.argv[1])
        return
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        everything, pages = write(folder)
        described = {name: documented(name, entry) for entry in everything for name in entry.functions}
        public = {name for header in HEADERS for name in
                  re.findall(r"^MGC_API [^;]*?\b(mgc_\w+)\(", lintlib.read(TOP, "include/" + header), re.M)}
        errors += [f"{name}: no docstring (`{name} - …`) before it in the header" for name in
                   sorted(public | set(described)) if not described.get(name)]
        errors += [f"{entry.names[0]}: what it does takes more than {SUMMARY} characters up to the first . ; or :"
                   for entry in everything if len(summary(entry.names[0], entry)) > SUMMARY]
        if shutil.which("mandoc"):
            done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *sorted(
                os.path.join(folder, name + ".3") for name, text in pages.items() if text[:3] != ".so")],
                capture_output=True, text=True)
            errors += [line.replace(folder + "/", "") for line in done.stdout.splitlines()
                       if "missing date" not in line]
    lintlib.finish("functions with a page", len(described), errors)


if __name__ == "__main__":
    main()
