# Highway 1.0 or newer, as the target halftone_highway: the system's, or where that is older (Ubuntu
# 22.04 has 0.16, whose scalar target lacks short vectors) the source that scripts/highway brought.

pkg_check_modules(HWY QUIET IMPORTED_TARGET libhwy>=1.0)
if(HWY_FOUND)
  add_library(halftone_highway INTERFACE)
  target_link_libraries(halftone_highway INTERFACE PkgConfig::HWY)
else()
  set(highway ${PROJECT_SOURCE_DIR}/.cache/highway)
  if(NOT EXISTS ${highway}/hwy/highway.h)
    message(FATAL_ERROR "Highway 1.0 or newer (libhwy-dev) is needed; scripts/setup brings it")
  endif()
  add_library(halftone_highway STATIC ${highway}/hwy/aligned_allocator.cc
                                      ${highway}/hwy/per_target.cc ${highway}/hwy/targets.cc)
  target_include_directories(halftone_highway SYSTEM PUBLIC ${highway})
  target_compile_definitions(halftone_highway PUBLIC HWY_STATIC_DEFINE)
endif()

# Every 64-bit Arm processor has NEON, so that nothing is chosen at run time there. What Highway could
# choose besides does not fit: vectors of SVE can be neither members nor elements of arrays.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  add_compile_definitions(HWY_COMPILE_ONLY_STATIC TOOLCHAIN_MISS_SYS_AUXV_H)
endif()
