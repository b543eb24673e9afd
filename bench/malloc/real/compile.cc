// compile.cc - input for the compiler: the standard library's templates, instantiated. Never linked.
// -DINSTANCES=1 makes it short.
#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct account {
	std::string name;
	std::map<std::string, std::vector<double>> entries;
	std::variant<int, double, std::string> state = N;

	double total() const
	{
		return std::accumulate(
			entries.begin(), entries.end(), double(N), [](double sum, const auto &e) {
				return std::accumulate(e.second.begin(), e.second.end(), sum);
			});
	}
};

template <int N> std::string report(std::vector<account<N>> all)
{
	std::ostringstream out;
	std::unordered_map<std::string, std::unique_ptr<account<N>>> index;
	std::set<double> totals;
	std::sort(all.begin(), all.end(),
		  [](const auto &a, const auto &b) { return a.total() < b.total(); });
	for (auto &a : all) {
		totals.insert(a.total());
		out << a.name << ' '
		    << std::visit(
			       [](const auto &s) {
				       std::ostringstream o;
				       o << s;
				       return o.str();
			       },
			       a.state);
		index.emplace(a.name, std::make_unique<account<N>>(std::move(a)));
	}
	std::function<double(int)> deep = [&](int d) {
		return d > N ? *totals.begin() : deep(d + 1) + index.size();
	};
	out << deep(0);
	return out.str();
}

template std::string report<1>(std::vector<account<1>>);
#if INSTANCES > 1
template std::string report<2>(std::vector<account<2>>);
template std::string report<3>(std::vector<account<3>>);
#endif
