// Asking the hub: redirects, the token, further attempts, and what its refusals mean.
//
//   GET  /api/models/ORG/NAME/revision/REV   JSON: "sha" and "siblings" [{"rfilename"}]
//   HEAD /ORG/NAME/resolve/COMMIT/FILE       X-Repo-Commit, ETag, Content-Length; for large files,
//                                            which lie elsewhere, X-Linked-Etag, X-Linked-Size and
//                                            a redirect to where
//   GET  the same, with Range                the bytes, perhaps after redirects
//
// The token goes to the endpoint's own scheme, host and port and nowhere else: a redirect to
// another place is followed without it, and none leads from https to http.
//
// Worth another attempt are connections that fail or are cut and the statuses 408, 429, 500, 502,
// 503 and 504; the wait doubles each time, or is what Retry-After says.
//
// Source: huggingface_hub's documentation; RFC 9110 for redirects, ranges and Retry-After.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "halftone/error.h"
#include "hub/settings.h"
#include "hub/transport.h"

namespace halftone {

// The hub did not answer, or only that it cannot: what a cache may stand in for.
class HubUnreachable : public Error {
 public:
  explicit HubUnreachable(const std::string& message) : Error(Kind::kIo, message) {}
};

// What a HEAD request tells of a file.
struct RemoteFile {
  std::string repo;
  std::string commit;
  std::string name;
  std::string etag;  // without quotes; safe as a file's name
  uint64_t bytes = 0;

  // "ORG/NAME: file 'x'", for messages.
  std::string Shown() const;
};

struct RepoListing {
  std::string commit;
  std::vector<std::string> files;
};

// "https://host:port" of an address, in lower case.
std::string Origin(std::string_view url);

// Where a reply's Location leads from `url`.
std::string Resolved(std::string_view url, std::string_view location);

// With what may not stand in a path as %XX; '/' stays.
std::string EscapedPath(std::string_view text);

// Seconds that a Retry-After header asks for; -1 where it does not say (a date, or nonsense).
double RetryAfterSeconds(std::string_view value);

// Counts attempts and waits between them.
class Attempts {
 public:
  Attempts(const HubSettings& settings, std::function<bool()> cancelled)
      : settings_(settings), cancelled_(std::move(cancelled)) {}

  // Something went well: the next failure is the first again.
  void Reset() { failed_ = 0; }
  // Waits until the next attempt. False where there is none: all are used up, the failure would be
  // the same, or the server asks for too long a wait. Throws Error (kCancelled).
  bool Again(const HttpReply& reply);
  // The same after a reply that was whole but wrong.
  bool Again() { return Again(HttpReply{.status = 503, .headers = {}, .error = {}}); }

 private:
  const HubSettings& settings_;
  std::function<bool()> cancelled_;
  int failed_ = 0;
};

// Used by one thread at a time. The settings must outlive it.
class HubClient {
 public:
  // `transport` null: libcurl's.
  HubClient(const HubSettings& settings, std::function<bool()> cancelled,
            std::unique_ptr<Transport> transport = nullptr);

  // Throws Error (kIo) that says what the hub answered and what to do.
  RepoListing List(const std::string& repo, const std::string& revision);
  RemoteFile Head(const std::string& repo, const std::string& commit, const std::string& name);

  // One attempt to get bytes [begin, end) of a file, or with end = 0 the whole without asking for a
  // range. Redirects are followed; where they led is remembered for the same file's next range, and
  // forgotten if that place refuses.
  using OnBody = std::function<bool(const HttpReply& reply, std::span<const uint8_t> bytes)>;
  HttpReply Get(const RemoteFile& file, uint64_t begin, uint64_t end, const OnBody& on_body);

  // Throws Error for a reply that is no success; `subject` is what was asked for.
  [[noreturn]] void FailReply(const std::string& repo, const std::string& subject,
                              const HttpReply& reply) const;

  const std::function<bool()>& cancelled() const { return cancelled_; }

 private:
  HttpReply Send(HttpRequest request, bool leave_origin, std::string* answered = nullptr);
  HttpReply Retried(const std::string& repo, const std::string& subject,
                    const std::function<HttpReply()>& send);

  const HubSettings& settings_;
  std::function<bool()> cancelled_;
  std::unique_ptr<Transport> transport_;
  std::string asked_, answered_;  // the last file's address, and where it led
};

}  // namespace halftone
