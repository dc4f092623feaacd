// Where the hub is, where its files are kept, and who asks. The variables are those of Hugging
// Face's own libraries, so that what is set for them holds here as well:
//
//   HF_ENDPOINT                     the hub, https://huggingface.co
//   HF_HUB_CACHE                    the cache, $HF_HOME/hub
//   HF_HOME                         $XDG_CACHE_HOME/huggingface, ~/.cache/huggingface
//   HF_TOKEN                        the token; else the content of $HF_TOKEN_PATH, $HF_HOME/token
//   HF_HUB_OFFLINE                  1: no network, only what the cache has
//   HF_HUB_DISABLE_IMPLICIT_TOKEN   1: a token that lies in a file is not sent
//
// Source: huggingface_hub's documentation, "Environment variables".

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace halftone {

struct HubSettings {
  std::string endpoint = "https://huggingface.co";  // without a slash at the end
  std::filesystem::path cache;
  std::string token;  // empty: none
  bool offline = false;

  int connections = 8;
  // Bytes of one request. Twice as many as there are connections may wait in memory.
  uint64_t piece_bytes = uint64_t{8} << 20;
  int attempts = 6;         // without a single byte of progress
  double first_wait = 0.5;  // seconds before the second attempt, twice as many before each further
  double longest_wait = 300;  // what a server may ask for
};

// Throws Error (kUsage) for an endpoint or a token that is none.
HubSettings HubSettingsFromEnvironment();

}  // namespace halftone
