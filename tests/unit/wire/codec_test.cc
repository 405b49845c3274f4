#include "shared/wire/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/members.h"

namespace pa {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

Result<Message> decode_text(const std::string& text) { return decode(bytes_of(text)); }

template <class T>
concept Vector = requires(T& value) {
  value.emplace_back();
};

/// Gives every member of every struct a value that is not its default, each another one.
class Filler {
 public:
  template <class T>
  void operator()(T& value) {
    ++count_;
    if constexpr (std::is_same_v<T, bool>) {
      value = !value;
    } else if constexpr (std::is_same_v<T, StreamKind>) {
      value = StreamKind::kShardInput;
    } else if constexpr (std::is_same_v<T, DType>) {
      value = DType::kBF16;
    } else if constexpr (std::is_same_v<T, Code>) {
      value = Code::kDeadline;
    } else if constexpr (std::is_same_v<T, std::uint32_t>) {
      value = kProtocolVersion + count_;
    } else if constexpr (std::is_arithmetic_v<T>) {
      value = static_cast<T>(count_) * (std::is_unsigned_v<T> ? 1 : -1);
    } else if constexpr (std::is_same_v<T, Duration>) {
      value = Duration(count_);
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = "text \u00e9 " + std::to_string(count_);
    } else if constexpr (Vector<T>) {
      for (int i = 0; i < 3; ++i) (*this)(value.emplace_back());
    } else {
      visit_members(value, std::ref(*this));
    }
  }

 private:
  std::uint32_t count_ = 0;
};

template <class T>
bool equal(const T& a, const T& b) {
  if constexpr (Vector<T>) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (!equal(a[i], b[i])) return false;
    }
    return true;
  } else if constexpr (requires { a == b; }) {
    return a == b;
  } else {
    std::vector<const void*> members;
    visit_members(b, [&](const auto& member) { members.push_back(&member); });
    bool same = true;
    std::size_t next = 0;
    visit_members(a, [&](const auto& member) {
      same = same && equal(member, *static_cast<decltype(&member)>(members[next++]));
    });
    return same;
  }
}

template <std::size_t... I>
std::vector<Message> filled(std::index_sequence<I...>) {
  std::vector<Message> messages(sizeof...(I));
  Filler filler;
  (filler(messages[I].emplace<I>()), ...);
  return messages;
}

/// One of every message, no member of which is its default.
std::vector<Message> every_message() {
  return filled(std::make_index_sequence<std::variant_size_v<Message>>{});
}

TEST(CodecTest, EveryMemberOfEveryMessageComesBack) {
  for (const Message& message : every_message()) {
    const Result<Message> back = decode_text(encode(message));
    ASSERT_TRUE(back.ok()) << back.error().message;
    ASSERT_EQ(back->index(), message.index());
    const bool same = std::visit(
        [&](const auto& m) { return equal(m, std::get<std::decay_t<decltype(m)>>(*back)); },
        message);
    EXPECT_TRUE(same) << name_of(message);
  }
}

TEST(CodecTest, DefaultsComeBackToo) {
  for (const std::string_view name : message_names()) {
    for (const Message& message : every_message()) {
      if (name_of(message) != name) continue;
      const Message empty =
          std::visit([](const auto& m) -> Message { return std::decay_t<decltype(m)>{}; }, message);
      const Result<Message> back = decode_text(encode(empty));
      ASSERT_TRUE(back.ok()) << back.error().message;
      EXPECT_EQ(encode(*back), encode(empty)) << name;
    }
  }
}

TEST(CodecTest, ExtremesComeBack) {
  Heartbeat beat;
  beat.sequence = std::numeric_limits<std::uint64_t>::max();
  beat.free_memory_bytes = std::numeric_limits<std::int64_t>::min();
  beat.busy_for = Duration::max();
  const Result<Message> back = decode_text(encode(beat));
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(equal(beat, std::get<Heartbeat>(*back)));
}

TEST(CodecTest, AppendsToWhatIsThere) {
  std::string out = "before";
  encode(Rehello{}, out);
  EXPECT_EQ(out, "before" + encode(Rehello{}));
}

// ------------------------------------------------------------------------------------ made by hand

/// MessagePack of a few elements, put together by hand.
std::string map(std::size_t size) { return std::string(1, static_cast<char>(0x80 | size)); }
std::string array(std::size_t size) { return std::string(1, static_cast<char>(0x90 | size)); }
std::string text(const std::string& value) {
  return std::string(1, static_cast<char>(0xa0 | value.size())) + value;
}
std::string number(int value) { return std::string(1, static_cast<char>(value)); }
std::string envelope(std::size_t keys, const std::string& type) {
  return map(keys + 2) + text("t") + text(type) + text("v") + number(kProtocolVersion);
}
const std::string kNil = "\xc0";

std::string error_of(const std::string& header) {
  const Result<Message> result = decode_text(header);
  if (result.ok()) return "decoded " + std::string(name_of(*result));
  EXPECT_EQ(result.error().code, Code::kInvalid);
  return result.error().message;
}

TEST(CodecTest, IgnoresKeysItDoesNotKnow) {
  const Result<Message> result =
      decode_text(envelope(3, "Revoke") + text("new") + array(2) + number(1) + kNil +
                  text("shard") + number(7) + text("newer") + map(0));
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(std::get<Revoke>(*result).shard, ShardId{7});
}

TEST(CodecTest, TakesKeysInAnyOrder) {
  const Result<Message> result = decode_text(
      map(5) + text("sequence") + number(4) + text("v") + number(kProtocolVersion) +
      text("worker") + number(3) + text("t") + text("Heartbeat") + text("passes") + number(9));
  ASSERT_TRUE(result.ok()) << result.error().message;
  const auto& beat = std::get<Heartbeat>(*result);
  EXPECT_EQ(beat.worker, WorkerId{3});
  EXPECT_EQ(beat.sequence, 4U);
  EXPECT_EQ(beat.passes, 9U);
  EXPECT_EQ(beat.free_memory_bytes, 0);
}

TEST(CodecTest, SaysWhichKeyOfWhichMessageIsWrong) {
  EXPECT_THAT(error_of(envelope(0, "Revoke")),
              AllOf(HasSubstr("Revoke.shard"), HasSubstr("missing")));
  EXPECT_THAT(error_of(envelope(1, "Revoke") + text("shard") + text("x")),
              HasSubstr("Revoke.shard: expected a whole number"));
  EXPECT_THAT(error_of(envelope(1, "Revoke") + text("shard") + number(-1)),
              HasSubstr("Revoke.shard: is too small"));
  EXPECT_THAT(error_of(envelope(1, "Rejected") + text("error") + map(0)),
              HasSubstr("Rejected.error.code: is missing"));
  EXPECT_THAT(error_of(envelope(2, "WorkerProgress") + text("worker") + number(1) + text("shards") +
                       array(2) + map(2) + text("shard") + number(1) + text("steps") + number(1) +
                       map(2) + text("shard") + number(1) + text("steps") + kNil),
              HasSubstr("WorkerProgress.shards[1].steps: expected a whole number"));
}

TEST(CodecTest, RefusesWhatIsNoMessage) {
  EXPECT_THAT(error_of(""), HasSubstr("not MessagePack"));
  EXPECT_THAT(error_of("\xc1"), HasSubstr("not MessagePack"));
  EXPECT_THAT(error_of(number(5)), HasSubstr("expected a map"));
  EXPECT_THAT(error_of(map(0)), HasSubstr("without a type"));
  EXPECT_THAT(error_of(map(1) + number(1) + number(2)), HasSubstr("not a string"));
  EXPECT_THAT(error_of(envelope(0, "Nonsense")), HasSubstr("not known"));
  EXPECT_THAT(error_of(map(1) + text("t") + text("Rehello")), HasSubstr("version"));
  EXPECT_THAT(error_of(envelope(0, "Rehello") + kNil), HasSubstr("after its end"));
  EXPECT_THAT(error_of(map(3) + text("t") + text("Rehello") + text("v") + number(1) + text("t") +
                       text("Rehello")),
              HasSubstr("twice"));
}

TEST(CodecTest, RefusesNumbersAndTextsOutOfRange) {
  const std::string infinite = std::string("\xcb\x7f\xf0") + std::string(6, '\0');
  Refused refused;
  const std::string good = encode(refused);
  const std::string key = text("retry_after_seconds");
  const std::size_t at = good.find(key) + key.size();
  EXPECT_THAT(error_of(good.substr(0, at) + infinite),
              HasSubstr("Refused.retry_after_seconds: is not finite"));
  EXPECT_TRUE(decode_text(good.substr(0, at) + number(3)).ok()) << "a whole number is a number";
  EXPECT_THAT(error_of(envelope(1, "Rejected") + text("error") + map(2) + text("code") +
                       text("invalid") + text("message") + text("\xff")),
              HasSubstr("Rejected.error.message: is not UTF-8"));
  const Got got;
  std::string wrong_kind = encode(got);
  const std::string kind = text("kind");
  wrong_kind[wrong_kind.find(kind) + kind.size()] = 5;
  EXPECT_THAT(error_of(wrong_kind), HasSubstr("Got.stream.kind: expected 0 to 4"));
}

TEST(CodecTest, ACodeOfALaterVersionIsInternal) {
  const Result<Message> result = decode_text(envelope(1, "Rejected") + text("error") + map(1) +
                                             text("code") + text("too_purple"));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(std::get<Rejected>(*result).error.code, Code::kInternal);
}

TEST(CodecTest, OfAnotherVersionReadsOnlyWhatCanBeAnswered) {
  const auto of_version = [](const std::string& type, int version) {
    return map(4) + text("t") + text(type) + text("v") + number(version) + text("name") +
           text("box") + text("device") + number(3);
  };
  const Result<Message> hello = decode_text(of_version("Hello", 99));
  ASSERT_TRUE(hello.ok()) << hello.error().message;
  EXPECT_EQ(std::get<Hello>(*hello).protocol, 99U);
  EXPECT_EQ(std::get<Hello>(*hello).name, "box");
  const Result<Message> submit = decode_text(of_version("Submit", 99));
  ASSERT_TRUE(submit.ok()) << submit.error().message;
  EXPECT_EQ(std::get<Submit>(*submit).protocol, 99U);
  EXPECT_THAT(error_of(of_version("Bye", 99)), HasSubstr("protocol 99"));
  EXPECT_THAT(error_of(of_version("Bye", 0)), HasSubstr("protocol 0"));
}

// ----------------------------------------------------------------------------------------- hostile

TEST(CodecTest, RefusesLiesAboutSizeWithoutBelievingThem) {
  const std::string huge_array = std::string("\xdd\xff\xff\xff\xff", 5);
  const std::string huge_map = std::string("\xdf\xff\xff\xff\xff", 5);
  const std::string huge_text = std::string("\xdb\xff\xff\xff\xff", 5);
  const std::string huge_bytes = std::string("\xc6\xff\xff\xff\xff", 5);
  const std::string extension = std::string("\xd4\x01\x01", 3);
  for (const std::string& lie : {huge_array, huge_map, huge_text, huge_bytes, extension}) {
    EXPECT_THAT(error_of(lie), HasSubstr("not MessagePack"));
    EXPECT_THAT(error_of(envelope(1, "Revoke") + text("shard") + lie),
                HasSubstr("not MessagePack"));
  }
}

TEST(CodecTest, RefusesDepth) {
  EXPECT_THAT(error_of(std::string(100000, '\x91')), HasSubstr("not MessagePack"));
  EXPECT_THAT(error_of(std::string(100, '\x81')), HasSubstr("not MessagePack"));
}

TEST(CodecTest, SurvivesMutations) {
  std::mt19937_64 random(20260727);
  const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  std::vector<std::string> corpus;
  for (const Message& message : every_message()) corpus.push_back(encode(message));
  std::size_t accepted = 0;
  for (int i = 0; i < 200000; ++i) {
    std::string header = corpus[below(corpus.size())];
    for (std::size_t changes = 1 + below(4); changes > 0 && !header.empty(); --changes) {
      const std::size_t at = below(header.size());
      switch (below(4)) {
        case 0:
          header[at] = static_cast<char>(random());
          break;
        case 1:
          header.erase(at, 1 + below(8));
          break;
        case 2:
          header.insert(at, 1 + below(4), static_cast<char>(random()));
          break;
        default: {
          const std::string& other = corpus[below(corpus.size())];
          header = header.substr(0, at) + other.substr(below(other.size()));
        }
      }
    }
    const Result<Message> result = decode_text(header);
    if (!result.ok()) continue;
    ++accepted;
    EXPECT_TRUE(decode_text(encode(*result)).ok());
  }
  EXPECT_GT(accepted, 0U);
}

}  // namespace
}  // namespace pa
