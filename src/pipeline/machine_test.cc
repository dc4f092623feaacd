#include "pipeline/machine.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace halftone {
namespace {

namespace fs = std::filesystem;

// A file tree that looks like a machine.
class MachineTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) /
            (std::string("machine_test_") +
             testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
    Write("proc/meminfo", "MemTotal:       1000 kB\nMemFree:  300 kB\nMemAvailable:    800 kB\n");
  }
  void TearDown() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  void Expect(uint64_t installed, uint64_t available) const {
    const MachineMemory memory = ReadMachineMemory(root_);
    EXPECT_EQ(memory.installed, installed);
    EXPECT_EQ(memory.available, available);
  }

  fs::path root_;
};

TEST_F(MachineTest, ReadsMeminfo) { Expect(1000 * 1024, 800 * 1024); }

TEST_F(MachineTest, OldKernelsSayFreeOnly) {
  Write("proc/meminfo", "MemTotal:       1000 kB\nMemFree:         300 kB\n");
  Expect(1000 * 1024, 300 * 1024);
}

TEST_F(MachineTest, NoMeminfoIsNoMemory) {
  fs::remove_all(root_);
  Expect(0, 0);
}

// Limits as systemd writes them: the slice's is the tighter one here.
TEST_F(MachineTest, UnifiedGroupsOfAllAncestorsBound) {
  Write("proc/self/cgroup", "0::/user.slice/job.scope\n");
  Write("sys/fs/cgroup/user.slice/job.scope/memory.max", "max\n");
  Write("sys/fs/cgroup/user.slice/memory.max", "500000\n");
  Write("sys/fs/cgroup/user.slice/memory.current", "200000\n");
  Write("sys/fs/cgroup/user.slice/memory.stat", "anon 1\ninactive_file 150000\nactive_file 7\n");
  Expect(500000, 450000);
}

TEST_F(MachineTest, GroupOverItsLimitLeavesNothing) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.max", "500000\n");
  Write("sys/fs/cgroup/memory.current", "600000\n");
  Expect(500000, 0);
}

// In a container the legacy group's path belongs to the host; its files lie at the mount.
TEST_F(MachineTest, LegacyGroupOfContainerBounds) {
  Write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "400000\n");
  Write("sys/fs/cgroup/memory/memory.usage_in_bytes", "100000\n");
  Write("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 40000\n");
  Expect(400000, 340000);
}

// "Unlimited" in the legacy files is a huge number.
TEST_F(MachineTest, LegacyUnlimitedDoesNotBound) {
  Write("proc/self/cgroup", "4:memory:/\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Expect(1000 * 1024, 800 * 1024);
}

TEST_F(MachineTest, ThisMachineHasWhatTheCLibrarySays) {
  const MachineMemory memory = ReadMachineMemory();
  EXPECT_GT(memory.available, 0u);
  EXPECT_LE(memory.available, memory.installed);
  EXPECT_LE(memory.installed, static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                                  static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
}

TEST_F(MachineTest, GpuHasMemory) {
  if (!fs::exists("/dev/nvidia0")) GTEST_SKIP() << "no GPU";
  const MachineMemory memory = ReadGpuMemory();
  EXPECT_GT(memory.installed, 1'000'000'000u);
  EXPECT_LE(memory.available, memory.installed);
}

}  // namespace
}  // namespace halftone
