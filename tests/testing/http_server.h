// A small HTTP/1.1 server on this machine, for tests of whoever asks one: each reply is what the
// test says, down to bodies that end too early. One thread for each connection.

#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace halftone {

struct ServerRequest {
  std::string method, path;
  std::map<std::string, std::string> headers;  // names in lower case

  std::string Header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? "" : it->second;
  }
};

struct ServerReply {
  int status = 200;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
  std::optional<size_t> cut;     // so many bytes of the body, then the connection is closed
  std::optional<size_t> length;  // what Content-Length says instead of the truth
};

class HttpServer {
 public:
  using Handler = std::function<ServerReply(const ServerRequest&)>;

  explicit HttpServer(Handler handler) : handler_(std::move(handler)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no port to listen on");
    }
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    acceptor_ = std::thread([this] { Accept(); });
  }

  ~HttpServer() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    {
      std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  const std::string& url() const { return url_; }

 private:
  void Accept() {
    for (int fd; (fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd] {
        Serve(fd);
        std::lock_guard closing(mutex_);
        std::erase(open_, fd);
        ::close(fd);
      });
    }
  }

  void Serve(int fd) {
    std::string input;
    while (true) {
      const size_t end = input.find("\r\n\r\n");
      if (end == input.npos) {
        char buffer[4096];
        const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0) return;
        input.append(buffer, static_cast<size_t>(n));
        continue;
      }
      const ServerRequest request = Parse(input.substr(0, end + 2));
      input.erase(0, end + 4);
      if (!Send(fd, request, handler_(request))) return;
    }
  }

  static ServerRequest Parse(const std::string& head) {
    ServerRequest request;
    const size_t space = head.find(' ');
    request.method = head.substr(0, space);
    request.path = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
    size_t at = head.find("\r\n") + 2;
    for (size_t end; (end = head.find("\r\n", at)) != head.npos; at = end + 2) {
      const std::string line = head.substr(at, end - at);
      const size_t colon = line.find(':');
      if (colon == line.npos) continue;
      std::string name = line.substr(0, colon);
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
      const size_t value = line.find_first_not_of(' ', colon + 1);
      request.headers[name] = value == line.npos ? "" : line.substr(value);
    }
    return request;
  }

  // False where the connection is to be closed.
  static bool Send(int fd, const ServerRequest& request, const ServerReply& reply) {
    std::string out = "HTTP/1.1 " + std::to_string(reply.status) + " -\r\n";
    for (const std::string& header : reply.headers) out += header + "\r\n";
    out +=
        "Content-Length: " + std::to_string(reply.length.value_or(reply.body.size())) + "\r\n\r\n";
    if (request.method != "HEAD")
      out += reply.body.substr(0, reply.cut.value_or(reply.body.size()));
    for (size_t sent = 0; sent < out.size();) {
      const ssize_t n = ::send(fd, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return !reply.cut && !reply.length;
  }

  Handler handler_;
  std::string url_;
  int listener_ = -1;
  std::thread acceptor_;
  std::mutex mutex_;
  std::vector<std::thread> threads_;
  std::vector<int> open_;
};

}  // namespace halftone
