// containers.cc THREADS ROUNDS SIZE - C++: new and delete through the standard containers.
//
// WHAT   Strings in hash maps, ordered maps, vectors of vectors, lists, deques, shared pointers and
//        over-aligned objects: the sized, aligned and array forms of the operators all get called.
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>
#include "bench_malloc.h"

namespace
{
uint64_t rounds, size;

struct alignas(64) line {
	uint64_t word[8];
};

uint64_t text(uint64_t *rng)
{
	std::unordered_map<std::string, std::vector<uint64_t>> index;
	for (uint64_t i = 0; i < size; i++) {
		uint64_t r = bench_random(rng);
		index["a key too long for the short form " + std::to_string(r % (size / 4 + 1))].push_back(
			i);
	}
	uint64_t sum = 0;
	std::map<std::string, size_t> sorted;
	for (const auto &entry : index)
		sorted[entry.first] = entry.second.size();
	for (const auto &entry : sorted)
		sum = sum * 31 + entry.second;
	return sum;
}

uint64_t nested(uint64_t *rng)
{
	std::vector<std::vector<std::string>> rows;
	std::deque<std::shared_ptr<line>> lines;
	std::list<uint64_t> order;
	uint64_t sum = 0;
	for (uint64_t i = 0; i < size; i++) {
		uint64_t r = bench_random(rng);
		if (r % 8 == 0 || rows.empty())
			rows.emplace_back();
		rows.back().push_back(std::string(r % 40, 'x'));
		lines.push_back(std::make_shared<line>());
		lines.back()->word[7] = r;
		if (reinterpret_cast<uintptr_t>(lines.back().get()) % alignof(line))
			bm_die("an object is not aligned");
		if (lines.size() > 100) {
			sum += lines.front()->word[7];
			lines.pop_front();
		}
		if (r & 256)
			order.push_back(r);
		else
			order.push_front(r);
		if (order.size() > 1000)
			order.pop_back();
	}
	for (const auto &row : rows)
		for (const auto &cell : row)
			sum += cell.size();
	for (uint64_t x : order)
		sum ^= x;
	return sum;
}

void *work(void *arg)
{
	auto *t = static_cast<bm_thread *>(arg);
	for (uint64_t r = 0; r < rounds; r++)
		t->sum += text(&t->rng) + nested(&t->rng);
	return nullptr;
}
} // namespace

int main(int argc, char **argv)
{
	auto n = static_cast<unsigned>(bench_arg(argc, argv, 1, 1));
	rounds = bench_arg(argc, argv, 2, 20);
	size = bench_arg(argc, argv, 3, 20000);
	bench_print_int("checksum", bm_run(n, 1, work));
}
