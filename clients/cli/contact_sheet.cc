#include "clients/cli/contact_sheet.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "clients/cli/font.h"

namespace pa::cli {
namespace {

constexpr int kSmallPicture = 96;   ///< Longer side that small samples are enlarged to.
constexpr int kLargePicture = 512;  ///< Longer side that none exceeds.
constexpr int kMargin = 16;
constexpr int kGap = 10;
constexpr int kStrip = 4;  ///< The bar in its group's colour under each sample.
constexpr int kCaptionScale = 2;
constexpr int kCaptionHeight = kGlyphHeight * kCaptionScale + 4;
constexpr int kLegendHeight = kGlyphHeight * kCaptionScale + 8;

constexpr Colour kBackground{24, 26, 31};
constexpr Colour kText{222, 224, 229};
/// Told apart by the colour-blind, too (Okabe and Ito).
constexpr std::array<Colour, 7> kGroupColours{{{86, 180, 233},
                                               {230, 159, 0},
                                               {0, 158, 115},
                                               {204, 121, 167},
                                               {240, 228, 66},
                                               {213, 94, 0},
                                               {0, 114, 178}}};

Colour group_colour(int group) {
  return group < 0 ? Colour{90, 94, 102}
                   : kGroupColours[static_cast<std::size_t>(group) % kGroupColours.size()];
}

float from_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 0x1F;
  const double fraction = bits & 0x3FF;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 0x1F) return std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0) return static_cast<float>(sign * std::ldexp(fraction, -24));
  return static_cast<float>(sign * std::ldexp(1024 + fraction, exponent - 25));
}

/// Reads elements of a tensor as numbers.
class Numbers {
 public:
  Numbers(DType dtype, std::span<const std::byte> bytes) : dtype_(dtype), bytes_(bytes) {}

  float operator[](std::size_t index) const {
    if (dtype_ == DType::kF32) return read<float>(index);
    const auto bits = read<std::uint16_t>(index);
    if (dtype_ == DType::kF16) return from_half(bits);
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }

 private:
  template <class T>
  T read(std::size_t index) const {
    T value;
    std::memcpy(&value, bytes_.data() + index * sizeof(T), sizeof(T));
    return value;
  }

  DType dtype_;
  std::span<const std::byte> bytes_;
};

/// The samples as planes of numbers that go linearly from black (low) to white (high).
struct Planes {
  std::size_t colours = 1;  ///< 1 or 3 planes a sample.
  std::size_t height = 0, width = 0;
  std::vector<float> values;  ///< [N, colours, height, width].
  double low = 0, high = 1;
};

/// Of every `skip`-th pixel.
Planes planes_of(const SheetContents& contents, std::size_t count, std::size_t skip) {
  const Numbers numbers(contents.spec.dtype, contents.bytes);
  const auto channels = static_cast<std::size_t>(contents.spec.shape[1]);
  const auto height = static_cast<std::size_t>(contents.spec.shape[2]);
  const auto width = static_cast<std::size_t>(contents.spec.shape[3]);
  const bool pixels = contents.pixel_max > contents.pixel_min;
  Planes planes;
  const bool coloured = !pixels && contents.colours.size() == 3 * (1 + channels);
  planes.colours = coloured || (pixels && channels == 3) ? 3 : 1;
  planes.height = (height + skip - 1) / skip;
  planes.width = (width + skip - 1) / skip;
  planes.low = contents.pixel_min;
  planes.high = contents.pixel_max;
  // A plane is the mean of some of the channels, or by `colours` a sum of all of them.
  const std::size_t merged = coloured ? channels : channels / planes.colours;
  planes.values.reserve(count * planes.colours * planes.height * planes.width);
  double sum = 0;
  double squares = 0;
  for (std::size_t plane = 0; plane < count * planes.colours; ++plane) {
    for (std::size_t y = 0; y < height; y += skip) {
      for (std::size_t x = 0; x < width; x += skip) {
        const std::size_t first = coloured ? plane / 3 * channels : plane * merged;
        const std::size_t colour = plane % 3;
        double value = coloured ? contents.colours[colour] : 0;
        for (std::size_t c = 0; c < merged; ++c) {
          const double factor =
              coloured ? contents.colours[3 * (1 + c) + colour] : 1 / static_cast<double>(merged);
          value += factor * static_cast<double>(numbers[((first + c) * height + y) * width + x]);
        }
        if (!std::isfinite(value)) value = 0;
        sum += value;
        squares += value * value;
        planes.values.push_back(static_cast<float>(value));
      }
    }
  }
  if (coloured) {
    planes.low = 0;
    planes.high = 1;
  } else if (!pixels) {
    const auto n = static_cast<double>(planes.values.size());
    const double mean = sum / n;
    const double deviation = std::sqrt(std::max(squares / n - mean * mean, 1e-12));
    planes.low = mean - 2.5 * deviation;
    planes.high = mean + 2.5 * deviation;
  }
  return planes;
}

std::uint8_t shade(const Planes& planes, float value) {
  const double part = (static_cast<double>(value) - planes.low) / (planes.high - planes.low);
  return static_cast<std::uint8_t>(std::lround(std::clamp(part, 0.0, 1.0) * 255));
}

void draw_picture(Image& sheet, int left, int top, int scale, const Planes& planes,
                  std::size_t sample) {
  const std::size_t plane = planes.height * planes.width;
  const float* first = planes.values.data() + sample * planes.colours * plane;
  for (std::size_t y = 0; y < planes.height; ++y) {
    for (std::size_t x = 0; x < planes.width; ++x) {
      const float* at = first + y * planes.width + x;
      const std::uint8_t red = shade(planes, at[0]);
      const Colour colour =
          planes.colours == 1 ? Colour{red, red, red}
                              : Colour{red, shade(planes, at[plane]), shade(planes, at[2 * plane])};
      fill(sheet, left + static_cast<int>(x) * scale, top + static_cast<int>(y) * scale, scale,
           scale, colour);
    }
  }
}

int text_width(std::string_view text) {
  return static_cast<int>(text.size()) * kGlyphWidth * kCaptionScale;
}

/// As much of `text` as fits.
std::string_view fitting(std::string_view text, int width) {
  const auto most = static_cast<std::size_t>(std::max(width / (kGlyphWidth * kCaptionScale), 1));
  return text.substr(0, most);
}

/// Columns of a grid that is one to three times as wide as high, with the fewest empty places; of
/// equals the one nearest to twice as wide.
int best_columns(int count, int width, int height) {
  int best = count;
  double best_cost = std::numeric_limits<double>::max();
  for (int columns = 1; columns <= count; ++columns) {
    const int rows = (count + columns - 1) / columns;
    const double aspect = static_cast<double>(columns * width) / static_cast<double>(rows * height);
    const double shape = std::abs(std::log2(aspect / 2));
    const double empty = static_cast<double>(rows * columns - count) / columns;
    const double cost = shape + empty;
    if (cost < best_cost) {
      best_cost = cost;
      best = columns;
    }
  }
  return best;
}

}  // namespace

SheetLayout layout_sheet(int count, std::int64_t height, std::int64_t width, int legend_lines) {
  const std::int64_t longer = std::max<std::int64_t>({height, width, 1});
  SheetLayout layout;
  layout.scale = static_cast<int>(std::max<std::int64_t>(kSmallPicture / longer, 1));
  layout.skip = static_cast<int>((longer + kLargePicture - 1) / kLargePicture);
  const auto side = [&](std::int64_t n) {
    return static_cast<int>((n + layout.skip - 1) / layout.skip) * layout.scale;
  };
  layout.picture_width = side(width);
  layout.picture_height = side(height);
  layout.cell_width = std::max(layout.picture_width, kGlyphWidth * kCaptionScale * 2) + kGap;
  layout.cell_height = layout.picture_height + kStrip + kCaptionHeight + kGap;
  layout.columns = best_columns(count, layout.cell_width, layout.cell_height);
  layout.rows = (count + layout.columns - 1) / layout.columns;
  layout.width = 2 * kMargin + layout.columns * layout.cell_width - kGap;
  layout.height =
      2 * kMargin + layout.rows * layout.cell_height - kGap + legend_lines * kLegendHeight;
  return layout;
}

Result<Image> draw_contact_sheet(const SheetContents& contents) {
  const TensorSpec& spec = contents.spec;
  if (spec.shape.size() != 4 || *std::min_element(spec.shape.begin(), spec.shape.end()) < 1) {
    return invalid("a contact sheet is drawn of samples [N, C, H, W], and these are " +
                   to_string(spec.shape));
  }
  if (spec.dtype != DType::kF32 && spec.dtype != DType::kF16 && spec.dtype != DType::kBF16) {
    return invalid("a contact sheet is drawn of F32, F16 or BF16, and these samples are " +
                   std::string(name_of(spec.dtype)));
  }
  PA_ASSIGN(const std::uint64_t bytes, byte_size(spec));
  if (bytes != contents.bytes.size())
    return invalid("the samples have fewer bytes than their shape needs");

  const int count = static_cast<int>(std::min<std::int64_t>(spec.shape[0], kMaxCells));
  SheetLayout layout =
      layout_sheet(count, spec.shape[2], spec.shape[3], static_cast<int>(contents.legend.size()));
  for (const std::string& line : contents.legend) {
    layout.width = std::max(layout.width, 2 * kMargin + kLegendHeight + text_width(line));
  }
  Image sheet{layout.width, layout.height, {}};
  sheet.rgb.resize(static_cast<std::size_t>(layout.width) *
                   static_cast<std::size_t>(layout.height) * 3);
  fill(sheet, 0, 0, layout.width, layout.height, kBackground);

  const Planes planes =
      planes_of(contents, static_cast<std::size_t>(count), static_cast<std::size_t>(layout.skip));
  for (int i = 0; i < count; ++i) {
    const auto sample = static_cast<std::size_t>(i);
    const int cell_width = layout.cell_width - kGap;
    const int left = kMargin + i % layout.columns * layout.cell_width;
    const int top = kMargin + i / layout.columns * layout.cell_height;
    const int inset = (cell_width - layout.picture_width) / 2;
    draw_picture(sheet, left + inset, top, layout.scale, planes, sample);
    const int group = sample < contents.groups.size() ? contents.groups[sample] : -1;
    const int strip_top = top + layout.picture_height;
    fill(sheet, left + inset, strip_top, layout.picture_width, kStrip, group_colour(group));
    if (sample < contents.captions.size()) {
      const std::string_view caption = fitting(contents.captions[sample], cell_width);
      const int indent = (cell_width - text_width(caption) + kCaptionScale) / 2;
      draw_text(sheet, left + std::max(indent, 0), strip_top + kStrip + 4, kCaptionScale, kText,
                caption);
    }
  }
  int y = layout.height - kMargin - static_cast<int>(contents.legend.size()) * kLegendHeight + 8;
  for (std::size_t i = 0; i < contents.legend.size(); ++i, y += kLegendHeight) {
    const int square = kGlyphHeight * kCaptionScale - 2;
    fill(sheet, kMargin, y, square, square, group_colour(static_cast<int>(i)));
    draw_text(sheet, kMargin + kLegendHeight, y, kCaptionScale, kText, contents.legend[i]);
  }
  return sheet;
}

}  // namespace pa::cli
