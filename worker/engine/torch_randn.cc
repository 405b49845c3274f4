#include "worker/engine/torch_randn.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <array>
#include <vector>

#include "shared/core/result.h"

namespace pa {
namespace {

constexpr std::int64_t kBlock = 16;  // Values that randn transforms together.

/// The next 624 words of a Mersenne twister (Matsumoto, Nishimura 1998), untempered.
void twist(std::array<std::uint32_t, at::MERSENNE_STATE_N>& state) {
  const std::size_t n = at::MERSENNE_STATE_N;
  const std::size_t m = at::MERSENNE_STATE_M;
  const auto mixed = [](std::uint32_t high, std::uint32_t low) {
    const std::uint32_t word = (high & 0x80000000U) | (low & 0x7fffffffU);
    return (word >> 1) ^ ((0U - (low & 1U)) & 0x9908b0dfU);
  };
  for (std::size_t i = 0; i < n - m; ++i) state[i] = state[i + m] ^ mixed(state[i], state[i + 1]);
  for (std::size_t i = n - m; i < n - 1; ++i) {
    state[i] = state[i - (n - m)] ^ mixed(state[i], state[i + 1]);
  }
  state[n - 1] = state[m - 1] ^ mixed(state[n - 1], state[0]);
}

/// Leaves out the next `words` outputs.
void advance(at::mt19937& engine, std::int64_t words) {
  at::mt19937_data_pod data = engine.data();
  const std::int64_t left = data.left_ - 1;  // Of this state's 624.
  if (words <= left) {
    data.left_ -= static_cast<int>(words);
    data.next_ += static_cast<std::uint32_t>(words);
    engine.set_data(data);
    return;
  }
  words -= left;
  for (; words > at::MERSENNE_STATE_N; words -= at::MERSENNE_STATE_N) twist(data.state_);
  twist(data.state_);
  data.left_ = at::MERSENNE_STATE_N + 1 - static_cast<int>(words);
  data.next_ = static_cast<std::uint32_t>(words);
  engine.set_data(data);
}

/// Words of the generator that a draw takes.
std::int64_t words_of(std::int64_t size) { return size + (size % kBlock == 0 ? 0 : kBlock); }

}  // namespace

TorchRandn::TorchRandn(std::uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}

void TorchRandn::step_over(std::int64_t values) {
  if (values == 0) return;
  auto* const impl = generator_.get<at::CPUGeneratorImpl>();
  at::mt19937 engine = impl->engine();
  advance(engine, values);
  impl->set_engine(engine);
}

void TorchRandn::fill(std::span<float> out) {
  at::from_blob(out.data(), {std::ssize(out)}, at::kFloat).normal_(0.0, 1.0, generator_);
}

void TorchRandn::skip(std::int64_t size, std::int64_t times) {
  if (size >= kBlock) {
    step_over(words_of(size) * times);
    return;
  }
  std::array<float, kBlock> dropped{};
  for (; times > 0; --times) fill(std::span(dropped).first(static_cast<std::size_t>(size)));
}

void TorchRandn::draw(std::int64_t size, std::int64_t begin, std::span<float> out) {
  const std::int64_t end = begin + std::ssize(out);
  PA_CHECK(begin >= 0 && end <= size);
  if (size < kBlock) {
    std::array<float, kBlock> all{};
    fill(std::span(all).first(static_cast<std::size_t>(size)));
    std::copy(all.begin() + begin, all.begin() + end, out.begin());
    return;
  }

  const std::int64_t first = begin / kBlock * kBlock;
  const std::int64_t last = std::min((end + kBlock - 1) / kBlock, size / kBlock) * kBlock;
  std::int64_t at = 0;
  if (first < last) {
    step_over(first);
    at = last;
    if (first == begin && last == end) {
      fill(out);
    } else {
      std::vector<float> blocks(static_cast<std::size_t>(last - first));
      fill(blocks);
      const std::int64_t copied = std::min(end, last) - begin;
      std::copy_n(blocks.begin() + (begin - first), copied, out.begin());
    }
  }
  const std::int64_t redrawn = size - kBlock;
  if (size % kBlock != 0 && end > redrawn) {
    step_over(size - at);
    std::array<float, kBlock> tail{};
    fill(tail);
    const std::int64_t from = std::max(begin, redrawn);
    std::copy_n(tail.begin() + (from - redrawn), end - from, out.begin() + (from - begin));
    return;
  }
  step_over(words_of(size) - at);
}

}  // namespace pa
