// How much memory this machine has, for RAM and for GPUs.
//
// RAM is what the kernel says could be used without swapping (MemAvailable of /proc/meminfo),
// bounded by the control groups that this process runs in: a container's limit is invisible in
// meminfo. Both generations of control groups are read, and every ancestor's limit counts. Page
// cache is not held against a group, since the kernel drops it for a model that needs the room.
// VRAM comes from NVIDIA's management library, opened at run time: there is no link dependency, and
// a machine without it has no GPU.

#pragma once

#include <cstdint>
#include <filesystem>

namespace halftone {

struct MachineMemory {
  uint64_t installed = 0;  // bytes that this process may have at most
  uint64_t available = 0;  // bytes that are free for it now
};

// `root` stands for "/". All zero where the kernel does not say.
MachineMemory ReadMachineMemory(const std::filesystem::path& root = "/");

// Of the GPU with the most free memory; all zero without a GPU.
MachineMemory ReadGpuMemory();

}  // namespace halftone
