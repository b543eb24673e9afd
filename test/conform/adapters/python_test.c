/* python_test.c - adapters/mallocgc-python.h: an embedded Python on the collected heap; threads, a fork, the limit.
 * links: mallocgc
 * needs: python3-embed */
#include <mallocgc-python.h>

#include "lib/plain.h"

static const char *const script =
	"import collections, gc, json, os, re, threading\n"
	"data = {str(i): [i, {'x': i * 1.5}, 'text %d' % i] for i in range(20000)}\n"
	"assert json.loads(json.dumps(data)) == data\n"
	"words = re.findall(r'\\w+', 'one two three ' * 5000)\n"
	"assert collections.Counter(words)['two'] == 5000\n"
	"class Node:\n"
	"    def __init__(self): self.me = self\n"
	"for _ in range(50000): Node()\n"
	"gc.collect()\n"
	"out = []\n"
	"def work(k):\n"
	"    out.append(sum(len(str(i)) for i in range(30000)) + k)\n"
	"threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]\n"
	"for t in threads: t.start()\n"
	"for t in threads: t.join()\n"
	"assert sorted(out) == [138890 + k for k in range(4)], out\n"
	"pid = os.fork()\n"
	"if pid == 0:\n"
	"    os._exit(7 if len([bytearray(1000) for _ in range(2000)]) == 2000 else 1)\n"
	"assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7\n"
	"import subprocess\n"
	"assert subprocess.run(['true']).returncode == 0\n";

static const char *const limited = "def grow():\n"
				   "    kept = []\n"
				   "    try:\n"
				   "        while True: kept.append(bytearray(100000))\n"
				   "    except MemoryError:\n"
				   "        return len(kept)\n"
				   "counts = [grow() for _ in range(3)]\n"
				   "assert all(100 < n < 1000 for n in counts), counts\n"
				   "assert len(bytearray(10000000)) == 10000000\n";

TEST_SECONDS(embedded, 40)
{
	mgc_python_use();
	Py_InitializeEx(0);
	PyObject *number = PyLong_FromString("123456789012345678901234567890", NULL, 10);
	CHECK(mgc_is_heap(number));
	CHECK(mgc_is_heap(PyMem_RawMalloc(10)));
	Py_DECREF(number);
	CHECK_EQ(PyRun_SimpleString(script), 0);
	mgc_collect();
	struct mgc_stats st = { .struct_size = sizeof st };
	mgc_read_stats(&st);
	CHECK(st.heap_live > 2000000 && st.cycles > 0);
	mgc_set_memory_limit(64 << 20);
	CHECK_EQ(PyRun_SimpleString(limited), 0);
	CHECK_EQ(Py_FinalizeEx(), 0);
}
