// A hub that speaks as much of the real one's protocol as fetching a model needs: the listing of a
// repository, HEAD and GET of its files, large ones (those of Git LFS) on another host. Tests put
// their own replies in front of any request.

#pragma once

#include <openssl/evp.h>

#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/http_server.h"

namespace halftone {

inline std::string HexDigest(const EVP_MD* type, const std::string& bytes) {
  unsigned char value[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), value, &size, type, nullptr);
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += "0123456789abcdef"[value[i] >> 4];
    text += "0123456789abcdef"[value[i] & 15];
  }
  return text;
}

class FakeHub {
 public:
  struct File {
    std::string bytes;
    bool large = false;
  };
  // A reply of the test's own; none: the hub's. Called by the servers' threads. Setting it waits
  // for the calls of what it was before, whose variables may then go away.
  class Hook {
   public:
    using Function = std::function<std::optional<ServerReply>(const ServerRequest&)>;

    Hook& operator=(Function function) {
      const std::unique_lock lock(mutex_);
      function_ = std::move(function);
      return *this;
    }
    std::optional<ServerReply> operator()(const ServerRequest& request) const {
      const std::shared_lock lock(mutex_);
      return function_ ? function_(request) : std::nullopt;
    }

   private:
    mutable std::shared_mutex mutex_;
    Function function_;
  };

  explicit FakeHub(std::map<std::string, File> files, std::string repo = "org/model")
      : files_(std::move(files)),
        repo_(std::move(repo)),
        cdn_([this](const ServerRequest& request) { return Logged(request, cdn_hook, cdn_log_); }),
        hub_([this](const ServerRequest& request) { return Logged(request, hub_hook, hub_log_); }) {
  }

  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

  Hook hub_hook, cdn_hook;

  const std::string& url() const { return hub_.url(); }
  const std::string& cdn_url() const { return cdn_.url(); }

  std::vector<ServerRequest> hub_log() const { return Copy(hub_log_); }
  std::vector<ServerRequest> cdn_log() const { return Copy(cdn_log_); }

  static std::string Etag(const File& file) {
    if (file.large) return HexDigest(EVP_sha256(), file.bytes);
    return HexDigest(EVP_sha1(), "blob " + std::to_string(file.bytes.size()) +
                                     std::string(1, '\0') + file.bytes);
  }

 private:
  ServerReply Logged(const ServerRequest& request, const Hook& hook,
                     std::vector<ServerRequest>& log) {
    {
      std::lock_guard lock(mutex_);
      log.push_back(request);
    }
    if (auto reply = hook(request)) return *reply;
    return &log == &cdn_log_ ? Cdn(request) : Hub(request);
  }

  std::vector<ServerRequest> Copy(const std::vector<ServerRequest>& log) const {
    std::lock_guard lock(mutex_);
    return log;
  }

  static ServerReply Error(int status, const std::string& code) {
    return {status, {"X-Error-Code: " + code}, "{}", {}, {}};
  }

  ServerReply Hub(const ServerRequest& request) const {
    const std::string api = "/api/models/" + repo_ + "/revision/";
    if (request.path.starts_with(api)) {
      const std::string revision = request.path.substr(api.size());
      if (revision != "main" && revision != kCommit && revision != "refs%2Fpr%2F1") {
        return Error(404, "RevisionNotFound");
      }
      nlohmann::json siblings = nlohmann::json::array();
      for (const auto& [name, file] : files_) siblings.push_back({{"rfilename", name}});
      return {200,
              {"Content-Type: application/json"},
              nlohmann::json({{"sha", kCommit}, {"siblings", siblings}}).dump(),
              {},
              {}};
    }
    const std::string resolve = "/" + repo_ + "/resolve/" + kCommit + "/";
    if (!request.path.starts_with(resolve)) return Error(404, "RepoNotFound");
    const auto it = files_.find(request.path.substr(resolve.size()));
    if (it == files_.end()) return Error(404, "EntryNotFound");
    const File& file = it->second;
    ServerReply reply;
    reply.headers.push_back(std::string("X-Repo-Commit: ") + kCommit);
    if (!file.large) {
      reply.headers.push_back("ETag: \"" + Etag(file) + "\"");
      return WithRange(request, file, std::move(reply));
    }
    reply.status = 302;
    reply.headers.push_back("X-Linked-Etag: \"" + Etag(file) + "\"");
    reply.headers.push_back("X-Linked-Size: " + std::to_string(file.bytes.size()));
    reply.headers.push_back("ETag: \"of-the-redirect\"");
    reply.headers.push_back("Location: " + cdn_.url() + "/blob/" + it->first + "?signature=1");
    return reply;
  }

  ServerReply Cdn(const ServerRequest& request) const {
    const std::string begin = "/blob/";
    const size_t query = request.path.find('?');
    const auto it = files_.find(request.path.substr(begin.size(), query - begin.size()));
    if (it == files_.end()) return {404, {}, "", {}, {}};
    return WithRange(request, it->second, {});
  }

  static ServerReply WithRange(const ServerRequest& request, const File& file, ServerReply reply) {
    size_t first = 0, last = 0;
    if (std::sscanf(request.Header("range").c_str(), "bytes=%zu-%zu", &first, &last) != 2) {
      reply.body = file.bytes;
      return reply;
    }
    last = std::min(last, file.bytes.size() - 1);
    reply.status = 206;
    reply.body = file.bytes.substr(first, last - first + 1);
    reply.headers.push_back("Content-Range: bytes " + std::to_string(first) + "-" +
                            std::to_string(last) + "/" + std::to_string(file.bytes.size()));
    return reply;
  }

  std::map<std::string, File> files_;
  std::string repo_;
  mutable std::mutex mutex_;
  std::vector<ServerRequest> hub_log_, cdn_log_;
  HttpServer cdn_;
  HttpServer hub_;  // its replies name the other's address
};

}  // namespace halftone
