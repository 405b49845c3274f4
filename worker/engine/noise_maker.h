#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "shared/core/result.h"
#include "shared/io/mutex.h"

namespace pa {

/// How to make a noise: a pure function, which may take a tenth of a second.
using NoiseRecipe = std::function<at::Tensor()>;

/// A noise that is made, or will be.
class MadeNoise {
 public:
  explicit MadeNoise(NoiseRecipe recipe) : recipe_(std::move(recipe)) {}

  [[nodiscard]] bool ready() const { return ready_.load(std::memory_order_acquire); }
  /// Once ready(). kOverloaded if there was no memory for it.
  [[nodiscard]] const Result<at::Tensor>& value() const { return value_; }

 private:
  friend class NoiseMaker;
  void make();

  NoiseRecipe recipe_;
  Result<at::Tensor> value_ = at::Tensor();
  std::atomic<bool> ready_ = false;
};

/// Makes noises on threads of its own, in the order they are asked for. Those that nobody holds any more are left out.
///
/// Does not bound how many wait: whoever asks does, with what it holds. Thread-safe.
class NoiseMaker {
 public:
  /// threads >= 1.
  explicit NoiseMaker(std::int64_t threads);
  /// Leaves out what is not begun, and waits for what is.
  ~NoiseMaker();
  NoiseMaker(const NoiseMaker&) = delete;
  NoiseMaker& operator=(const NoiseMaker&) = delete;

  [[nodiscard]] std::shared_ptr<const MadeNoise> make(NoiseRecipe recipe);

  /// Blocks until a noise has become ready since the last call; at once if none is being made.
  void wait();

 private:
  void serve();

  Mutex mutex_;
  CondVar asked_;
  CondVar made_;
  std::deque<std::weak_ptr<MadeNoise>> waiting_ GUARDED_BY(mutex_);
  std::int64_t unmade_ GUARDED_BY(mutex_) = 0;  ///< Waiting, or being made.
  bool fresh_ GUARDED_BY(mutex_) = false;       ///< One was made since the last wait().
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace pa
