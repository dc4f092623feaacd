#include "hub/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cmath>
#include <set>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "hub/hub_id.h"

namespace halftone {
namespace {

constexpr int kMaxRedirects = 10;
// A repository of 100,000 files has a listing of some 10 MB.
constexpr uint64_t kMaxListingBytes = uint64_t{64} << 20;
constexpr size_t kMaxEtagBytes = 128;

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool IsSuccess(int status) { return status >= 200 && status < 300; }

bool IsWorthAnother(const HttpReply& reply) {
  if (!reply.error.empty() || reply.status == 0) return !reply.hopeless;
  constexpr int kStatuses[] = {408, 429, 500, 502, 503, 504};
  return std::ranges::find(kStatuses, reply.status) != std::end(kStatuses);
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

// An etag without the mark of a weak one and without its quotes. Empty where it is no name for a
// file: the cache's files are named by it.
std::string EtagName(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') {
    etag = etag.substr(1, etag.size() - 2);
  }
  const auto allowed = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_'; };
  if (etag.empty() || etag.size() > kMaxEtagBytes || !std::ranges::all_of(etag, allowed)) return {};
  return std::string(etag);
}

bool ParseNumber(std::string_view text, uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string RemoteFile::Shown() const { return repo + ": file '" + Printable(name) + "'"; }

std::string Origin(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == url.npos) return {};
  return Lower(url.substr(0, url.find_first_of("/?#", scheme + 3)));
}

std::string Resolved(std::string_view url, std::string_view location) {
  const std::string lower = Lower(location.substr(0, 8));
  if (lower.starts_with("http://") || lower.starts_with("https://")) return std::string(location);
  if (location.starts_with("//")) {
    return std::string(url.substr(0, url.find("://") + 1)) + std::string(location);
  }
  const std::string origin(url.substr(0, Origin(url).size()));
  if (location.starts_with('/')) return origin + std::string(location);
  const std::string_view path = url.substr(0, url.find_first_of("?#"));
  const size_t slash = path.rfind('/');
  if (slash < origin.size()) return origin + "/" + std::string(location);
  return std::string(path.substr(0, slash + 1)) + std::string(location);
}

std::string EscapedPath(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) ||
        std::string_view("-._~/").find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<uint8_t>(c));
    }
  }
  return out;
}

double RetryAfterSeconds(std::string_view value) {
  uint64_t seconds = 0;
  if (!ParseNumber(value, seconds)) return -1;
  return static_cast<double>(seconds);
}

bool Attempts::Again(const HttpReply& reply) {
  if (!IsWorthAnother(reply) || ++failed_ >= settings_.attempts) return false;
  double seconds = settings_.first_wait * std::pow(2.0, failed_ - 1);
  const double asked = RetryAfterSeconds(reply.Header("retry-after"));
  if (asked > settings_.longest_wait) return false;
  seconds = std::max(seconds, asked);
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end) {
    if (cancelled_ && cancelled_()) Fail(Error::Kind::kCancelled, "the download was cancelled");
    const std::chrono::duration<double> left = end - Clock::now();
    std::this_thread::sleep_for(std::min(left, std::chrono::duration<double>(0.1)));
  }
  return true;
}

HubClient::HubClient(const HubSettings& settings, std::function<bool()> cancelled,
                     std::unique_ptr<Transport> transport)
    : settings_(settings),
      cancelled_(std::move(cancelled)),
      transport_(transport ? std::move(transport) : MakeTransport()) {}

HttpReply HubClient::Send(HttpRequest request, bool leave_origin, std::string* answered) {
  const std::vector<std::string> headers = request.headers;
  const std::string home = Origin(settings_.endpoint);
  request.cancelled = cancelled_;
  std::set<std::string> seen;
  for (int hop = 0; hop <= kMaxRedirects; ++hop) {
    request.headers = headers;
    // Compressed, a range would be one of other bytes.
    request.headers.push_back("Accept-Encoding: identity");
    if (!settings_.token.empty() && Origin(request.url) == home) {
      request.headers.push_back("Authorization: Bearer " + settings_.token);
    }
    HttpReply reply = transport_->Send(request);
    if (cancelled_ && cancelled_()) {
      Fail(Error::Kind::kCancelled, "the download was cancelled");
    }
    if (answered != nullptr) *answered = request.url;
    const std::string& location = reply.Header("location");
    if (!reply.error.empty() || !IsRedirect(reply.status) || location.empty()) return reply;
    const std::string next = Resolved(request.url, location);
    if (!leave_origin && Origin(next) != Origin(request.url)) return reply;
    if (Origin(request.url).starts_with("https:") && !Origin(next).starts_with("https:")) {
      reply.error = "a redirect leads from https to '" + Printable(Origin(next)) + "'";
      reply.hopeless = true;
      return reply;
    }
    if (!seen.insert(request.url).second) break;
    request.url = next;
  }
  HttpReply reply;
  reply.error = "redirects lead in a circle";
  reply.hopeless = true;
  return reply;
}

HttpReply HubClient::Retried(const std::string& repo, const std::string& subject,
                             const std::function<HttpReply()>& send) {
  Attempts attempts(settings_, cancelled_);
  while (true) {
    HttpReply reply = send();
    const bool whole = reply.error.empty() && (IsSuccess(reply.status) || IsRedirect(reply.status));
    if (whole) return reply;
    if (!attempts.Again(reply)) FailReply(repo, subject, reply);
  }
}

RepoListing HubClient::List(const std::string& repo, const std::string& revision) {
  std::string escaped = EscapedPath(revision);
  for (size_t at; (at = escaped.find('/')) != escaped.npos;) escaped.replace(at, 1, "%2F");
  HttpRequest request;
  request.url = settings_.endpoint + "/api/models/" + repo + "/revision/" + escaped;
  std::string text;
  const std::string subject = "revision '" + Printable(revision) + "'";
  const HttpReply reply = Retried(repo, subject, [&] {
    text.clear();
    request.on_body = [&](const HttpReply&, std::span<const uint8_t> bytes) {
      text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      return text.size() <= kMaxListingBytes;
    };
    return Send(request, true);
  });
  if (!IsSuccess(reply.status)) FailReply(repo, subject, reply);
  const Json json = ParseJson(text, repo + ": the hub's listing");
  RepoListing listing;
  const auto sha = json.find("sha");
  const auto siblings = json.find("siblings");
  if (sha == json.end() || !sha->is_string() || !IsCommit(sha->get<std::string>()) ||
      siblings == json.end() || !siblings->is_array()) {
    FailFormat("{}: the hub's listing has no commit and files", repo);
  }
  listing.commit = *sha;
  for (const Json& sibling : *siblings) {
    const auto name = sibling.find("rfilename");
    if (name == sibling.end() || !name->is_string() || !IsSafeName(name->get<std::string>())) {
      FailFormat("{}: the hub's listing names a file that is none: {}", repo,
                 Printable(sibling.dump(-1, ' ', false, Json::error_handler_t::replace)));
    }
    listing.files.push_back(*name);
  }
  return listing;
}

RemoteFile HubClient::Head(const std::string& repo, const std::string& commit,
                           const std::string& name) {
  RemoteFile file{repo, commit, name, {}, 0};
  HttpRequest request;
  request.method = "HEAD";
  request.url =
      fmt::format("{}/{}/resolve/{}/{}", settings_.endpoint, repo, commit, EscapedPath(name));
  const std::string subject = "file '" + Printable(name) + "'";
  // A redirect to another host is where the bytes lie; what they are says the hub's own reply.
  const HttpReply reply = Retried(repo, subject, [&] { return Send(request, false); });
  const std::string& answering = reply.Header("x-repo-commit");
  if (!answering.empty() && answering != commit) {
    FailFormat("{}: the hub answers for commit '{}', not '{}'", file.Shown(), Printable(answering),
               commit);
  }
  const auto either = [&](const char* linked, const char* own) -> const std::string& {
    return reply.Header(linked).empty() ? reply.Header(own) : reply.Header(linked);
  };
  file.etag = EtagName(either("x-linked-etag", "etag"));
  if (file.etag.empty()) FailFormat("{}: the hub names no checksum", file.Shown());
  if (!ParseNumber(either("x-linked-size", "content-length"), file.bytes)) {
    FailFormat("{}: the hub names no size", file.Shown());
  }
  return file;
}

HttpReply HubClient::Get(const RemoteFile& file, uint64_t begin, uint64_t end,
                         const OnBody& on_body) {
  const std::string url = fmt::format("{}/{}/resolve/{}/{}", settings_.endpoint, file.repo,
                                      file.commit, EscapedPath(file.name));
  HttpRequest request;
  request.on_body = on_body;
  if (end > 0) request.headers.push_back(fmt::format("Range: bytes={}-{}", begin, end - 1));
  const bool known = asked_ == url && !answered_.empty();
  request.url = known ? answered_ : url;
  HttpReply reply = Send(request, true, &answered_);
  asked_ = url;
  const bool well = reply.error.empty() && IsSuccess(reply.status);
  if (!well) {
    asked_.clear();
    // Addresses of large files expire.
    if (known && reply.error.empty()) reply.error = "the address that the hub gave has expired";
  }
  return reply;
}

void HubClient::FailReply(const std::string& repo, const std::string& subject,
                          const HttpReply& reply) const {
  const std::string& endpoint = settings_.endpoint;
  if (!reply.error.empty() || reply.status == 0) {
    const std::string message = fmt::format("{}: {}: cannot be fetched from {}: {}", repo, subject,
                                            endpoint, Printable(reply.error, 300));
    if (reply.hopeless) throw Error(Error::Kind::kIo, message);
    throw HubUnreachable(message);
  }
  const std::string& code = reply.Header("x-error-code");
  if (reply.status == 403 || code == "GatedRepo") {
    FailIo(
        "{}: {}: the hub refuses access ({}): accept the model's terms on {}/{}, and set "
        "HF_TOKEN to a token that may read it",
        repo, subject, reply.status, endpoint, repo);
  }
  if (reply.status == 401) {
    if (settings_.token.empty()) {
      FailIo(
          "{}: there is no such model, or it is not public (401): set HF_TOKEN to a token from "
          "{}/settings/tokens, or check the name",
          repo, endpoint);
    }
    FailIo(
        "{}: the hub does not accept the token (401), or there is no such model: set HF_TOKEN "
        "to a valid one from {}/settings/tokens, or check the name",
        repo, endpoint);
  }
  if (reply.status == 404) {
    if (code == "RepoNotFound") FailIo("{}: {} has no such model (404)", repo, endpoint);
    FailIo("{}: there is no {} (404)", repo, subject);
  }
  if (reply.status == 429) {
    const std::string& after = reply.Header("retry-after");
    FailIo("{}: {}: too many requests (429){}; a token in HF_TOKEN allows more", repo, subject,
           after.empty() ? "" : ", to be asked again in " + Printable(after) + " seconds");
  }
  const std::string message =
      fmt::format("{}: {}: {} answers with status {}", repo, subject, endpoint, reply.status);
  if (reply.status >= 500) throw HubUnreachable(message);
  throw Error(Error::Kind::kIo, message);
}

}  // namespace halftone
