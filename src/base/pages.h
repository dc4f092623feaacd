// Memory for what is large and read often: weights.

#pragma once

#include <cstdint>
#include <memory>

namespace halftone {

// `bytes` zeroed bytes, aligned to 64, that cost nothing until they are touched: whoever writes
// them first, on whichever thread, gets them near it. Large blocks lie on huge pages, as far as
// they fill them, where the system has such: with small ones a product waits for the tables of
// pages. Throws std::bad_alloc.
std::shared_ptr<uint8_t[]> AllocatePages(uint64_t bytes);

}  // namespace halftone
