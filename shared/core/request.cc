#include "shared/core/request.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace pa {

std::string key_of(const std::vector<LoraRef>& loras) {
  std::string text;
  for (const LoraRef& lora : loras) {
    std::array<char, 40> strength{};
    (void)std::snprintf(strength.data(), strength.size(), "%.17g", lora.strength);
    text += lora.name + '\0' + strength.data() + '\n';
  }
  return text;
}

std::int64_t rows_per_sample(const Request& request) {
  const bool guided = request.guidance.cfg != 1.0 || !request.guidance.skip_at_one;
  const auto rows = [](const std::vector<Condition>& conditions) {
    return std::max<std::int64_t>(std::ssize(conditions), 1);
  };
  return rows(request.positive) + (guided ? rows(request.negative) : 0);
}

}  // namespace pa
