# Compiles the files of a folder into the library as bytes: assets.h declares how to find them. The
# bytes are written as numbers, since CMake strings and C++ literals each have characters that they
# cannot carry (semicolons, brackets, backslashes, a raw literal's own delimiter).

function(halftone_embed out folder)
  file(GLOB assets CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*)
  # 32 bytes on a line: some tools choke on a line of a megabyte.
  string(REPEAT "[0-9a-f]" 64 line)
  set(arrays "")
  set(lookups "")
  set(count 0)
  foreach(asset IN LISTS assets)
    get_filename_component(name ${asset} NAME)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${asset})
    file(READ ${asset} hex HEX)
    string(LENGTH "${hex}" length)
    math(EXPR length "${length} / 2")
    if(length EQUAL 0)
      set(hex "00")  # an array must not be empty; its length below is 0
    endif()
    string(REGEX REPLACE "(${line})" "\\1\n" hex "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(APPEND arrays "constexpr unsigned char kAsset${count}[] = {\n${bytes}\n};\n")
    string(APPEND lookups "  if (name == \"${name}\") {\n"
                          "    return {reinterpret_cast<const char*>(kAsset${count}), ${length}};\n"
                          "  }\n")
    math(EXPR count "${count} + 1")
  endforeach()
  set(source ${PROJECT_BINARY_DIR}/assets.cc)
  # file(CONFIGURE) leaves the file alone if nothing changed, so that nothing is recompiled.
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT
"// Generated from ${folder} by cmake/HalftoneEmbed.cmake.
#include \"pipeline/assets.h\"

namespace halftone {
namespace {

${arrays}
}  // namespace

std::string_view Asset([[maybe_unused]] std::string_view name) {
${lookups}  return {};
}

}  // namespace halftone
")
  set(${out} ${source} PARENT_SCOPE)
endfunction()
