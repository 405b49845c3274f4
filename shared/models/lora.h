#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shared/core/result.h"
#include "shared/io/safetensors.h"
#include "shared/models/blueprint.h"

namespace pa {

/// Rows of a LoRA layer's product, and the parameter's rows that they are added to.
struct LoraRows {
  std::int64_t from = 0;
  std::int64_t to = 0;
  std::int64_t count = 0;
};

/// A change of one parameter: its rows += strength * scale * (up x down), with scale = alpha / rank,
/// or 1 without alpha (Hu et al. 2021, and the files that kohya's and diffusers' trainers write).
struct LoraLayer {
  std::string parameter;
  std::vector<LoraRows> rows;
  const TensorView* down = nullptr;   ///< [rank, in] or [rank, in, k, k].
  const TensorView* up = nullptr;     ///< [out, rank] or [out, rank, 1, 1].
  const TensorView* alpha = nullptr;  ///< One number; nullptr: as large as the rank.
};

/// A LoRA file's layers, found among a network's parameters.
struct LoraMatch {
  std::vector<LoraLayer> layers;
  std::vector<std::string>
      unmatched;  ///< Layers that the network does not have, as the file names them.
  std::vector<std::string> problems;  ///< In words: layers that are not whole, or of other sizes.
  /// Layers for the text encoders, which run elsewhere: whoever encodes the prompt applies them.
  std::int64_t text_encoder_layers = 0;
};

/// Whether a file's names are those of a LoRA, of whatever algorithm.
[[nodiscard]] bool looks_like_lora(const std::vector<TensorView>& tensors);

/// Finds the layers of a file among the parameters of a network. Layers may have the names of the
/// network or of diffusers, with dots (PEFT) or underscores (kohya), behind any of the prefixes that
/// trainers write; queries, keys and values may be apart though the parameter holds all three.
///
/// The views point into `tensors`. Unmatched layers and problems are told and are no error.
///
/// Errors: kInvalid for algorithms other than LoRA (DoRA, LoHa, LoKr, ...), by name.
[[nodiscard]] Result<LoraMatch> match_lora(const std::vector<TensorView>& tensors,
                                           const Blueprint& blueprint);

}  // namespace pa
