// Ways of reading memory, of which the measurement of bandwidth (src/evaluation/bandwidth.cc) takes
// the best: how wide the loads are, how many stretches a thread reads side by side, whether it asks
// for memory ahead, and on which pages.
//
//   kernel_bench --benchmark_filter=Read/
//
// GB/s is what the clock says; "while running" is the sum over threads of what each read in its own
// processor time, which other programs on the machine disturb less.

#pragma once

namespace halftone {

// Adds the benchmarks whose names begin with Read/.
void RegisterReads();

}  // namespace halftone
