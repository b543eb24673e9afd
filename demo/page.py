#!/usr/bin/env python3
"""page.py - write a large HTML page (tables, links, lists, forms) to standard output.

usage: page.py TABLES     60 tables are about 9 MB. The same number gives the same bytes."""
import sys

WORDS = "span page arena cache slot mark sweep grey white black root stack".split()
seed = 1


def below(n):
    global seed
    seed = (seed * 1103515245 + 12345) % 2147483648
    return seed // 65536 % n


def words(n):
    return " ".join(WORDS[below(len(WORDS))] for _ in range(n))


def row():
    return "<tr>" + "".join(
        f"<td><a href='#{column}'>{words(1)}</a> <b>{below(10000)}</b> <i>{words(4)}</i></td>"
        for column in range(8)) + "</tr>\n"


def section(number):
    lines = "\n".join("x" * (i % 80) for i in range(100))
    options = "".join(f"<option>{i}" for i in range(50))
    return (f"<h2>Table {number}</h2><table border=1>" + "".join(row() for _ in range(200)) +
            "</table><ul>" + "".join(f"<li>{words(30)}\n" for _ in range(50)) + "</ul>" +
            f"<form><input name=a value=b><select>{options}</select></form><pre>{lines}</pre>\n")


def page(tables):
    return ("<html><head><title>A large page</title></head><body>\n" +
            "".join(section(i) for i in range(tables)) + "</body></html>\n")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    sys.stdout.write(page(int(sys.argv[1])))
