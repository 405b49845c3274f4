#include "shared/io/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/support/http_get.h"

namespace pa {
namespace {

using test::http_exchange;
using test::http_get;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::unique_ptr<HttpServer> serve(std::map<std::string, HttpServer::Handler> handlers) {
  auto server = HttpServer::start({}, std::move(handlers));
  EXPECT_TRUE(server.ok()) << server.error().message;
  return std::move(server).value();
}

TEST(HttpServer, AnswersOnAFreePort) {
  const auto server = serve({{"/a", [] { return HttpResponse{.body = "hello\n"}; }}});
  EXPECT_GT(server->port(), 0);
  const auto answer = http_get(server->port(), "/a");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "hello\n");
  EXPECT_THAT(answer.head, HasSubstr("Content-Length: 6"));
}

TEST(HttpServer, SaysWhichPathsThereAre) {
  const auto server = serve({{"/a", [] { return HttpResponse{}; }}});
  const auto answer = http_get(server->port(), "/b");
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.body, "there are: /a\n");
  EXPECT_EQ(http_get(server->port(), "/a/../../etc/passwd").status, 404);
}

TEST(HttpServer, TakesGetAndHeadOnly) {
  const auto server = serve({{"/a", [] { return HttpResponse{.body = "hello\n"}; }}});
  EXPECT_THAT(http_exchange(server->port(),
                            "POST /a HTTP/1.1\r\nHost: h\r\n"
                            "Content-Length: 0\r\n\r\n"),
              StartsWith("HTTP/1.1 405 "));
  const std::string head = http_exchange(server->port(), "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(head, testing::EndsWith("\r\n\r\n"));
}

TEST(HttpServer, TurnsAHandlersExceptionInto500) {
  const auto server =
      serve({{"/a", []() -> HttpResponse { throw std::runtime_error("out of luck"); }}});
  const auto answer = http_get(server->port(), "/a");
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.body, "out of luck\n");
}

TEST(HttpServer, SaysThatAPortIsTaken) {
  const auto first = serve({});
  const auto second = HttpServer::start({.port = first->port()}, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::kUnavailable);
  EXPECT_THAT(second.error().message, HasSubstr("cannot serve HTTP on 127.0.0.1:"));
  EXPECT_THAT(second.error().message, HasSubstr("Address already in use"));
}

TEST(HttpServer, AnswersBesideHalfSentRequests) {
  const auto server = serve({{"/a", [] { return HttpResponse{.body = "hello\n"}; }}});
  std::vector<std::thread> stuck;
  for (int i = 0; i < 3; ++i) {
    stuck.emplace_back([&] { (void)http_exchange(server->port(), "GET /a HT"); });
  }
  EXPECT_EQ(http_get(server->port(), "/a").status, 200);
  for (std::thread& thread : stuck) thread.join();
}

TEST(HttpServer, ServesManyAtOnce) {
  std::atomic<int> calls = 0;
  const auto server = serve({{"/a", [&calls] {
                                ++calls;
                                return HttpResponse{.body = std::string(100'000, 'x')};
                              }}});
  std::atomic<int> good = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      for (int j = 0; j < 5; ++j) {
        const auto answer = http_get(server->port(), "/a");
        if (answer.status == 200 && answer.body.size() == 100'000) ++good;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(good, 40);
  EXPECT_EQ(calls, 40);
}

}  // namespace
}  // namespace pa
