// One HTTP request and its reply: all that the rest of src/hub knows of the network.
//
// A transport follows no redirects, sends no header of its own but those that HTTP needs, and never
// asks twice: who gets a token, where a redirect may lead and what is worth another attempt is for
// HubClient to say. It is used by one thread at a time and keeps its connection open.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace halftone {

struct HttpReply {
  int status = 0;                              // 0: no reply came
  std::map<std::string, std::string> headers;  // names in lower case
  // What went wrong below HTTP, also in the middle of a body; empty: the reply is whole.
  std::string error;
  bool hopeless = false;  // the error would be the same next time (a certificate that is not valid)

  // The header's value, or empty.
  const std::string& Header(const std::string& name) const;
};

struct HttpRequest {
  std::string method = "GET";  // or "HEAD"
  std::string url;             // http:// or https://
  std::vector<std::string> headers;
  // Takes the body piece by piece; `reply` has status and headers. False ends the transfer.
  std::function<bool(const HttpReply& reply, std::span<const uint8_t> bytes)> on_body;
  // Asked several times a second; true ends the transfer.
  std::function<bool()> cancelled;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Never throws for what a network can do: see HttpReply::error.
  virtual HttpReply Send(const HttpRequest& request) = 0;
};

// HTTP by libcurl. Throws Error (kUnsupported) in a build without it.
std::unique_ptr<Transport> MakeTransport();

// Whether this build has one.
bool HasTransport();

}  // namespace halftone
