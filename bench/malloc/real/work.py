"""A program of dictionaries, objects, strings and JSON; prints a digest of all it made."""
import hashlib
import json
import re
import sys

SCALE = int(sys.argv[1]) if len(sys.argv) > 1 else 4


class Account:
    def __init__(self, number, name):
        self.number, self.name, self.entries, self.tags = number, name, [], {}

    def post(self, day, amount):
        self.entries.append((day, amount, f"{self.name}:{day}"))
        self.tags[day % 7] = self.tags.get(day % 7, 0) + amount


def random_numbers(state):
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield state >> 33


def accounts(rng, n):
    everyone = {}
    for number in range(n):
        name = "customer-%x" % (next(rng) % (n * 4))
        account = everyone.setdefault(name, Account(number, name))
        for _ in range(8):
            account.post(next(rng) % 365, next(rng) % 10000)
    return everyone


def main():
    rng, digest = random_numbers(2026), hashlib.sha256()
    for _ in range(SCALE):
        everyone = accounts(rng, 5000)
        rows = sorted(({"name": a.name, "entries": a.entries, "tags": a.tags}
                       for a in everyone.values()), key=lambda row: row["name"])
        text = json.dumps(rows, indent=1)
        assert len(json.loads(text)) == len(rows)
        words = re.findall(r"[a-z]+-[0-9a-f]+", text)
        longest = max(words, key=lambda word: (len(word), word))
        lines = "\n".join(line.strip().upper() for line in text.splitlines() if ":" in line)
        matrix = [[float(next(rng) % 100) for _ in range(200)] for _ in range(200)]
        turned = [sum(column) for column in zip(*matrix)]
        digest.update(f"{len(words)} {longest} {sum(turned)} {len(lines)}".encode())
        digest.update(text.encode())
    print(digest.hexdigest())


main()
