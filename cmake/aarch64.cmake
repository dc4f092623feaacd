# Toolchain file: builds for 64-bit Arm on another machine, and runs tests in QEMU.
#
#   cmake -S . -B build-aarch64 -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake
#
# Compiler and C library are Debian's cross packages. The other libraries lie in a folder that
# scripts/aarch64 unpacks their arm64 packages into: .cache/aarch64/root, or HALFTONE_AARCH64_ROOT.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

if(DEFINED ENV{HALFTONE_AARCH64_ROOT})
  set(root $ENV{HALFTONE_AARCH64_ROOT})
else()
  set(root ${CMAKE_CURRENT_LIST_DIR}/../.cache/aarch64/root)
endif()
get_filename_component(root ${root} ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH ${root})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
foreach(kind LIBRARY INCLUDE PACKAGE)
  set(CMAKE_FIND_ROOT_PATH_MODE_${kind} ONLY)
endforeach()
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(ENV{PKG_CONFIG_LIBDIR} ${root}/usr/lib/aarch64-linux-gnu/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${root})
# Debian keeps what differs between processors in a folder of its own, openssl/opensslconf.h.
set(CMAKE_CXX_FLAGS_INIT "-isystem ${root}/usr/include/aarch64-linux-gnu")
# Libraries that the others need (libcrypto's own) are looked for beside them.
set(CMAKE_EXE_LINKER_FLAGS_INIT -Wl,-rpath-link,${root}/usr/lib/aarch64-linux-gnu)

set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;/usr/aarch64-linux-gnu)
