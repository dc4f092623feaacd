// Fetching one file into the cache.
//
// Several connections ask for pieces of the file, side by side; the pieces are appended in order to
// <blob>.incomplete, which therefore is a beginning of the file at every moment: a later run, or
// another program, goes on from its end. Every byte passes through the checksum on its way; the
// file gets its name only if that is the one which the hub gave. Memory: two pieces for each
// connection.
//
// A server that does not answer ranges is read from the beginning over one connection.

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "hub/client.h"
#include "hub/settings.h"

namespace halftone {

struct DownloadWatch {
  // Bytes of the file that are here, those of an earlier run included. May fall back where the file
  // has to be fetched anew.
  std::function<void(uint64_t bytes)> advanced;
  std::function<bool()> cancelled;
};

// Throws Error: kIo where the hub or the disk fails, kFormat for bytes that are not what the hub
// promised, kCancelled. Whatever came correctly so far is kept, but for a wrong checksum. Whoever
// calls holds the file's lock.
void DownloadBlob(const HubSettings& settings, const RemoteFile& file,
                  const std::filesystem::path& blob, const DownloadWatch& watch);

}  // namespace halftone
