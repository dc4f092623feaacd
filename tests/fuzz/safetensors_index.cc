// model.safetensors.index.json of a folder with two parts.

#include "container/hf_folder.h"
#include "tests/fuzz/targets.h"
#include "tests/testing/byte_builder.h"
#include "tests/testing/temp_folder.h"

namespace halftone {

void Fuzz_safetensors_index(std::string_view bytes) {
  static const TempFolder folder(FolderInMemory());
  [[maybe_unused]] static const bool once = [] {
    for (const char* name : {"a", "b"}) {
      const std::string header =
          std::string(R"({")") + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
      folder.Write(std::string(name) + ".safetensors", SafetensorsBytes(header, "1234"));
    }
    return true;
  }();
  folder.Write("model.safetensors.index.json", bytes);
  MayRefuse([&] { OpenHfFolder(folder.path()); });
}

}  // namespace halftone
