#include "base/npy.h"

#include <string>

#include "base/atomic_file.h"

namespace halftone {

void WriteNpy(const std::filesystem::path& path, std::span<const int64_t> shape,
              std::span<const float> values) {
  std::string dims;
  for (const int64_t d : shape) dims += std::to_string(d) + ",";
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + dims + "), }";
  // Magic, version and length take 10 bytes; the data must begin at a multiple of 64.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  const auto length = static_cast<uint16_t>(header.size());
  const std::string prefix = {'\x93',
                              'N',
                              'U',
                              'M',
                              'P',
                              'Y',
                              1,
                              0,
                              static_cast<char>(length & 255),
                              static_cast<char>(length >> 8)};
  AtomicFile file(path);
  file.Write(prefix);
  file.Write(header);
  file.Write(std::span(reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()));
  file.Commit();
}

}  // namespace halftone
