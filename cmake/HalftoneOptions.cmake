# Compiler settings that every target of this project shares.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  # With paths from here on, so that clones in other folders share what is known.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} ${CCACHE})
endif()

add_library(halftone_options INTERFACE)
target_compile_options(halftone_options INTERFACE -Wall -Wextra -Werror=return-type)
# Bit-exactness with the formats' owners is a promise: no fused multiply-add unless a kernel asks
# for one.
target_compile_options(halftone_options INTERFACE -ffp-contract=off)
target_compile_definitions(halftone_options INTERFACE HALFTONE_VERSION="${PROJECT_VERSION}")
# Nothing that is built says in which folder. Build folders lie within, so that one option serves them
# all and ccache knows them for the same.
target_compile_options(halftone_options INTERFACE -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)

if(HALFTONE_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "HALFTONE_FUZZ needs clang 16 or newer as the compiler, for its libFuzzer")
  endif()
  set(HALFTONE_SANITIZE ON)
  # Counts which branches an input takes; the programs of tests/fuzz link libFuzzer itself.
  target_compile_options(halftone_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(HALFTONE_SANITIZE)
  if(HALFTONE_SANITIZE STREQUAL "thread")
    set(sanitize -fsanitize=thread -fno-omit-frame-pointer)
  else()
    # GCC moves the checks of object sizes together with loads out of the branch that guards them.
    set(sanitize -fsanitize=address,undefined -fno-sanitize=object-size -fno-sanitize-recover=all
                 -fno-omit-frame-pointer)
    # For what computes nothing: the checks of each pointer's alignment take the compiler half as long again.
    set(HALFTONE_UNCHECKED_POINTERS -fno-sanitize=null,alignment,vptr)
  endif()
  target_compile_options(halftone_options INTERFACE ${sanitize})
  target_link_options(halftone_options INTERFACE ${sanitize})
endif()

# Under the sanitizers the optimizer takes longer over many files than the tests run in them: these
# sources are compiled with `option` instead of the build type's.
function(halftone_sanitized_option option)
  if(HALFTONE_SANITIZE)
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS ${option})
  endif()
endfunction()
