#include "method/allocation.h"

#include <algorithm>

namespace halftone {
namespace {

// The option that saves most cost for each byte more than `from`, among those that cost less and
// need at most `spare` bytes more; none if there is none.
std::optional<size_t> BestStep(const std::vector<AllocationOption>& options, size_t from,
                               uint64_t spare, double* rate) {
  std::optional<size_t> best;
  const AllocationOption& now = options[from];
  for (size_t o = 0; o < options.size(); ++o) {
    const AllocationOption& option = options[o];
    if (option.cost >= now.cost || option.bytes > now.bytes + spare) continue;
    // What is better for no more bytes comes before everything else.
    const double bytes =
        option.bytes > now.bytes ? static_cast<double>(option.bytes - now.bytes) : 1e-9;
    const double saved = (now.cost - option.cost) / bytes;
    if (best && saved <= *rate) continue;
    best = o;
    *rate = saved;
  }
  return best;
}

}  // namespace

std::optional<std::vector<size_t>> Allocate(const std::vector<std::vector<AllocationOption>>& items,
                                            uint64_t budget) {
  std::vector<size_t> chosen;
  uint64_t used = 0;
  for (const auto& options : items) {
    const auto least = std::ranges::min_element(options, {}, &AllocationOption::bytes);
    chosen.push_back(static_cast<size_t>(least - options.begin()));
    used += least->bytes;
  }
  if (used > budget) return std::nullopt;
  for (;;) {
    std::optional<size_t> item, step;
    double best_rate = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      double rate = 0;
      const auto candidate = BestStep(items[i], chosen[i], budget - used, &rate);
      if (!candidate || (step && rate <= best_rate)) continue;
      item = i;
      step = candidate;
      best_rate = rate;
    }
    if (!step) return chosen;
    used = used - items[*item][chosen[*item]].bytes + items[*item][*step].bytes;
    chosen[*item] = *step;
  }
}

}  // namespace halftone
