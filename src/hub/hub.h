// A model of the hub, brought into the cache.

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "halftone/progress.h"
#include "hub/hub_id.h"
#include "hub/settings.h"

namespace halftone {

struct PulledModel {
  std::filesystem::path path;  // what to open: a file, or the folder of the snapshot
  std::string commit;
  struct File {
    std::string name;
    uint64_t bytes = 0;
    bool fetched = false;  // false: the cache had it
  };
  std::vector<File> files;
};

// Finds the files that make up the model (hub/select.h) and fetches those that the cache lacks.
// Where the hub cannot be reached at all, what the cache has of this revision is used and a note
// says so; with settings.offline nothing else is tried. The revision is written down when all is
// there. `progress` may be null. Throws Error.
PulledModel PullModel(const HubId& id, const HubSettings& settings, Progress* progress);

}  // namespace halftone
