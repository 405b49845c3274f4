#include "worker/engine/noise_maker.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "worker/models/torch_errors.h"

namespace pa {

void MadeNoise::make() {
  const c10::InferenceMode inference;
  value_ = guarded<at::Tensor>([&]() -> Result<at::Tensor> { return recipe_(); });
  recipe_ = nullptr;  // It may hold a request's tensors.
  ready_.store(true, std::memory_order_release);
}

NoiseMaker::NoiseMaker(std::int64_t threads) {
  PA_CHECK(threads >= 1);
  for (std::int64_t i = 0; i < threads; ++i) threads_.emplace_back([this] { serve(); });
}

NoiseMaker::~NoiseMaker() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  asked_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::shared_ptr<const MadeNoise> NoiseMaker::make(NoiseRecipe recipe) {
  auto noise = std::make_shared<MadeNoise>(std::move(recipe));
  {
    const MutexLock lock(mutex_);
    waiting_.push_back(noise);
    ++unmade_;
  }
  asked_.notify_one();
  return noise;
}

void NoiseMaker::wait() {
  const MutexLock lock(mutex_);
  while (!fresh_ && unmade_ > 0) made_.wait(mutex_);
  fresh_ = false;
}

void NoiseMaker::serve() {
  while (true) {
    std::shared_ptr<MadeNoise> noise;
    {
      const MutexLock lock(mutex_);
      while (waiting_.empty() && !stopping_) asked_.wait(mutex_);
      if (stopping_) return;
      noise = waiting_.front().lock();
      waiting_.pop_front();
    }
    if (noise != nullptr) noise->make();
    {
      const MutexLock lock(mutex_);
      --unmade_;
      fresh_ = fresh_ || noise != nullptr;
    }
    made_.notify_all();
  }
}

}  // namespace pa
