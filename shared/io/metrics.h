#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
template <typename T>
class Family;
}  // namespace prometheus

/// Prometheus metrics. A family is made once with its label names; `with()` makes a series, or gives
/// the one there is. Series are handles: keep them, looking one up costs a lock and a hash.
///
/// Values of labels come from configured names only, never from requests; what is no UTF-8 in them
/// is replaced. Everything is thread-safe.
namespace pa {

class CounterMetric {
 public:
  void add(double amount = 1) const;  ///< amount >= 0; a smaller one is ignored.

 private:
  friend class CounterFamily;
  explicit CounterMetric(prometheus::Counter& counter) : counter_(&counter) {}
  prometheus::Counter* counter_;
};

class GaugeMetric {
 public:
  void set(double value) const;

 private:
  friend class GaugeFamily;
  explicit GaugeMetric(prometheus::Gauge& gauge) : gauge_(&gauge) {}
  prometheus::Gauge* gauge_;
};

class HistogramMetric {
 public:
  void observe(double value) const;

 private:
  friend class HistogramFamily;
  explicit HistogramMetric(prometheus::Histogram& histogram) : histogram_(&histogram) {}
  prometheus::Histogram* histogram_;
};

using LabelNames = std::vector<std::string>;
using LabelValues = std::vector<std::string>;  ///< As many as names, in their order.

class CounterFamily {
 public:
  [[nodiscard]] CounterMetric with(const LabelValues& values) const;

 private:
  friend class Metrics;
  prometheus::Family<prometheus::Counter>* family_ = nullptr;
  LabelNames labels_;
};

class GaugeFamily {
 public:
  [[nodiscard]] GaugeMetric with(const LabelValues& values) const;

 private:
  friend class Metrics;
  prometheus::Family<prometheus::Gauge>* family_ = nullptr;
  LabelNames labels_;
};

class HistogramFamily {
 public:
  [[nodiscard]] HistogramMetric with(const LabelValues& values) const;

 private:
  friend class Metrics;
  prometheus::Family<prometheus::Histogram>* family_ = nullptr;
  LabelNames labels_;
  std::vector<double> bounds_;
};

enum class MetricKind { kCounter, kGauge, kHistogram };
[[nodiscard]] std::string_view name_of(MetricKind kind);

struct MetricInfo {
  std::string name;
  MetricKind kind = MetricKind::kCounter;
  LabelNames labels;
  std::string help;
};

/// One value of a metric that is read when it is scraped.
struct MetricSample {
  LabelValues labels;
  double value = 0;
};

/// Every metric of a process.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Names must be new, and valid in Prometheus; anything else aborts.
  [[nodiscard]] CounterFamily counters(const std::string& name, const std::string& help,
                                       LabelNames labels = {});
  [[nodiscard]] GaugeFamily gauges(const std::string& name, const std::string& help,
                                   LabelNames labels = {});
  /// `bounds`: upper bounds of the buckets, ascending, inclusive.
  [[nodiscard]] HistogramFamily histograms(const std::string& name, const std::string& help,
                                           std::vector<double> bounds, LabelNames labels = {});
  /// A counter or gauge whose values `read` gives, on the scraping thread.
  void on_scrape(const std::string& name, MetricKind kind, const std::string& help,
                 LabelNames labels, std::function<std::vector<MetricSample>()> read);

  /// The text exposition format, version 0.0.4.
  [[nodiscard]] std::string scrape() const;
  /// What there is, in the order of definition.
  [[nodiscard]] std::vector<MetricInfo> list() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// 1, 2 and 5 times powers of ten from `first` to `last`, both of that form: {0.1, 0.2, 0.5, 1}.
[[nodiscard]] std::vector<double> decade_bounds(double first, double last);

}  // namespace pa
