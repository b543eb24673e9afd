#!/usr/bin/env python3
"""programs_test.py - real programs print the same on our malloc as on the C library's, and end as well. Those
that are not installed are skipped, but not all.

usage: programs_test.py COMMAND      (`COMMAND run --malloc` starts them)"""
import os
import shutil
import subprocess
import sys
import tempfile

PYTHON = """
import json, multiprocessing, random, threading
random.seed(1)
data = [{str(i * j): [i, j, str(i) * 3] for j in range(10)} for i in range(1000)]
print(len(json.dumps(data)), json.loads(json.dumps(data)) == data)
def sum_up(n):
    return sum(len(str(i)) for i in range(n))
threads = [threading.Thread(target=sum_up, args=(20000,)) for _ in range(3)]
[t.start() for t in threads]
with multiprocessing.Pool(2) as pool:
    print(pool.map(sum_up, [1000, 20000]))
[t.join() for t in threads]
"""
CXX = """#include <map>
#include <string>
#include <vector>
#include <algorithm>
int main(int argc, char **) { std::map<std::string, std::vector<int>> m; m["a"].push_back(argc);
  std::sort(m["a"].begin(), m["a"].end()); return m["a"][0] - 1; }
"""
LUA = "local t = {} for r = 1, 3 do for i = 1, 50000 do t[i] = {i, tostring(i * r)} end end print(#t, t[7][2])"
SQL = ("create table t(a, b); with recursive n(i) as (select 1 union all select i + 1 from n where i < 50000) "
       "insert into t select i, i * 7919 % 50021 from n; create index x on t(b); "
       "select count(*), sum(b) from t where b > 100; select b from t order by b limit 3;")
# A library whose constructor comes before that of our malloc allocates there.
EARLY = r"""set -e; dir=$(mktemp -d); cd $dir; trap 'rm -r $dir' EXIT
cat >early.c <<END
#include <stdlib.h>
char *early[1000];
__attribute__((constructor)) static void make(void) { for (int i = 0; i < 1000; i++) early[i] = calloc(1, i); }
END
cat >main.c <<END
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern char *early[1000];
int main(void) { for (int i = 0; i < 1000; i++) { char *p = malloc(i); memset(p, 1, i); free(early[i]); early[i] = p; }
  for (int i = 0; i < 1000; i++) free(early[i]); return puts("early") < 0; }
END
cc -shared -fPIC -o libearly.so early.c; cc -o main main.c -L. -learly -Wl,-rpath,$dir; ./main"""
NODE = ("let a = []; for (let i = 0; i < 200000; i++) a.push({i, s: 'x' + i}); "
        "console.log(a.length, require('zlib').gzipSync(JSON.stringify(a)).length > 0)")

PROGRAMS = {
    "bash": ["bash", "-c", "x=; for i in {1..3000}; do x=$x$i; done; echo ${#x} $(echo sub | tr a-z A-Z)"],
    "perl": ["perl", "-e", r'my %h; $h{$_ % 5000} .= "x$_" for 1..100000; print scalar(keys %h), "\n"; '
             r'print join(",", (sort { $a <=> $b } keys %h)[0..3]), "\n"'],
    "python3": ["python3", "-c", PYTHON],
    "git": ["git", "-C", os.path.dirname(os.path.abspath(__file__)), "log", "--stat", "-20"],
    "sort": ["bash", "-c", "seq 200000 | rev | LC_ALL=C sort --parallel=2 | md5sum"],
    "gcc": ["gcc", "-O2", "-x", "c++", "-S", "-o", "-", "CXX"],
    "cc": ["bash", "-c", EARLY],
    "lua5.4": ["lua5.4", "-e", LUA],
    "sqlite3": ["sqlite3", ":memory:", SQL],
    "node": ["node", "-e", NODE],
    "xz": ["bash", "-c", "seq 300000 | xz -T2 --block-size=100000 | xz -d | md5sum"],
}


def main():
    command, ran, wrong = sys.argv[1], 0, 0
    if not os.path.exists(os.path.join(os.path.dirname(command), "../lib/libmallocgc-malloc.so.0")):
        print("skipped: no library in this build")
        sys.exit(77)
    env = dict(os.environ, PYTHONMALLOC="malloc", PYTHONHASHSEED="0", GIT_PAGER="cat")
    env.pop("LD_PRELOAD", None)
    with tempfile.NamedTemporaryFile("w", suffix=".cc") as source:
        source.write(CXX)
        source.flush()
        for name, argv in PROGRAMS.items():
            if shutil.which(name) is None:
                print(f"{name}: not here")
                continue
            argv = [source.name if word == "CXX" else word for word in argv]
            plain = subprocess.run(argv, capture_output=True, env=env)
            ours = subprocess.run([command, "run", "--malloc", "--", *argv], capture_output=True, env=env)
            same = (plain.returncode, plain.stdout, plain.stderr) == (ours.returncode, ours.stdout, ours.stderr)
            good = same and plain.returncode == 0 and plain.stdout
            print(f"{name}: {'same' if good else 'NOT THE SAME'}, {len(ours.stdout)} bytes, status {ours.returncode}")
            if not good:
                print(ours.stderr.decode(errors="replace")[-1000:])
            ran, wrong = ran + 1, wrong + (not good)
    print(f"{ran} programs, {wrong} wrong")
    sys.exit(1 if wrong or ran < 4 else 0)


main()
