#include "shared/io/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <cmath>
#include <exception>
#include <mutex>

#include "shared/core/result.h"
#include "shared/core/utf8.h"

namespace pa {
namespace {

prometheus::Labels pair_up(const LabelNames& names, const LabelValues& values) {
  PA_CHECK(names.size() == values.size());
  prometheus::Labels labels;
  for (std::size_t i = 0; i < names.size(); ++i) labels[names[i]] = to_valid_utf8(values[i]);
  return labels;
}

/// Runs `make`; what prometheus-cpp throws at a bad or repeated name is a bug of ours.
template <class Make>
auto& or_abort(const Make& make) {
  try {
    return make();
  } catch (const std::exception& exception) {
    broken(__FILE__, __LINE__, exception.what());
  }
}

prometheus::ClientMetric to_client_metric(const LabelNames& names, const MetricSample& sample) {
  prometheus::ClientMetric metric;
  for (const auto& [name, value] : pair_up(names, sample.labels)) {
    metric.label.push_back({name, value});
  }
  metric.counter.value = sample.value;
  metric.gauge.value = sample.value;
  return metric;
}

}  // namespace

void CounterMetric::add(double amount) const {
  if (amount >= 0) counter_->Increment(amount);
}

void GaugeMetric::set(double value) const { gauge_->Set(value); }

void HistogramMetric::observe(double value) const { histogram_->Observe(value); }

CounterMetric CounterFamily::with(const LabelValues& values) const {
  return CounterMetric(or_abort([&]() -> auto& { return family_->Add(pair_up(labels_, values)); }));
}

GaugeMetric GaugeFamily::with(const LabelValues& values) const {
  return GaugeMetric(or_abort([&]() -> auto& { return family_->Add(pair_up(labels_, values)); }));
}

HistogramMetric HistogramFamily::with(const LabelValues& values) const {
  return HistogramMetric(
      or_abort([&]() -> auto& { return family_->Add(pair_up(labels_, values), bounds_); }));
}

std::string_view name_of(MetricKind kind) {
  constexpr std::array<std::string_view, 3> kNames{"counter", "gauge", "histogram"};
  return kNames[static_cast<std::size_t>(kind)];
}

struct Metrics::State {
  struct OnScrape {
    MetricInfo info;
    std::function<std::vector<MetricSample>()> read;
  };

  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Throw};
  mutable std::mutex mutex;
  std::vector<MetricInfo> list;     // Guarded by mutex.
  std::vector<OnScrape> on_scrape;  // Guarded by mutex.

  void note(MetricInfo info) {
    const std::lock_guard lock(mutex);
    for (const MetricInfo& known : list) PA_CHECK(known.name != info.name);
    list.push_back(std::move(info));
  }
};

Metrics::Metrics() : state_(std::make_unique<State>()) {}
Metrics::~Metrics() = default;

CounterFamily Metrics::counters(const std::string& name, const std::string& help,
                                LabelNames labels) {
  state_->note({name, MetricKind::kCounter, labels, help});
  CounterFamily family;
  family.family_ = &or_abort([&]() -> auto& {
    return prometheus::BuildCounter().Name(name).Help(help).Register(state_->registry);
  });
  family.labels_ = std::move(labels);
  return family;
}

GaugeFamily Metrics::gauges(const std::string& name, const std::string& help, LabelNames labels) {
  state_->note({name, MetricKind::kGauge, labels, help});
  GaugeFamily family;
  family.family_ = &or_abort([&]() -> auto& {
    return prometheus::BuildGauge().Name(name).Help(help).Register(state_->registry);
  });
  family.labels_ = std::move(labels);
  return family;
}

HistogramFamily Metrics::histograms(const std::string& name, const std::string& help,
                                    std::vector<double> bounds, LabelNames labels) {
  state_->note({name, MetricKind::kHistogram, labels, help});
  HistogramFamily family;
  family.family_ = &or_abort([&]() -> auto& {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(state_->registry);
  });
  family.labels_ = std::move(labels);
  family.bounds_ = std::move(bounds);
  return family;
}

void Metrics::on_scrape(const std::string& name, MetricKind kind, const std::string& help,
                        LabelNames labels, std::function<std::vector<MetricSample>()> read) {
  PA_CHECK(kind != MetricKind::kHistogram);
  MetricInfo info{name, kind, std::move(labels), help};
  state_->note(info);
  const std::lock_guard lock(state_->mutex);
  state_->on_scrape.push_back({std::move(info), std::move(read)});
}

std::string Metrics::scrape() const {
  std::vector<prometheus::MetricFamily> families = state_->registry.Collect();
  {
    const std::lock_guard lock(state_->mutex);
    for (const State::OnScrape& entry : state_->on_scrape) {
      prometheus::MetricFamily family;
      family.name = entry.info.name;
      family.help = entry.info.help;
      family.type = entry.info.kind == MetricKind::kCounter ? prometheus::MetricType::Counter
                                                            : prometheus::MetricType::Gauge;
      for (const MetricSample& sample : entry.read()) {
        family.metric.push_back(to_client_metric(entry.info.labels, sample));
      }
      families.push_back(std::move(family));
    }
  }
  return prometheus::TextSerializer().Serialize(families);
}

std::vector<MetricInfo> Metrics::list() const {
  const std::lock_guard lock(state_->mutex);
  return state_->list;
}

std::vector<double> decade_bounds(double first, double last) {
  constexpr std::array<double, 3> kSteps{1, 2, 5};
  constexpr double kTolerance = 1e-9;
  std::vector<double> bounds;
  for (int exponent = static_cast<int>(std::floor(std::log10(first) + kTolerance));; ++exponent) {
    for (const double step : kSteps) {
      // Dividing keeps 0.2 the double nearest to 0.2; multiplying by 0.1 would not.
      const double scale = std::pow(10.0, std::abs(exponent));
      const double bound = exponent < 0 ? step / scale : step * scale;
      if (bound > last * (1 + kTolerance)) return bounds;
      if (bound >= first * (1 - kTolerance)) bounds.push_back(bound);
    }
  }
}

}  // namespace pa
