#pragma once

#include "shared/io/metrics.h"

namespace pa {

/// Adds what every daemon exports about itself: process_cpu_seconds_total,
/// process_resident_memory_bytes, process_virtual_memory_bytes, process_open_fds, process_max_fds,
/// process_threads and process_start_time_seconds, read from /proc when scraped (no values where
/// there is no /proc); pa_log_messages_total; and pa_build_info.
void add_process_metrics(Metrics& metrics);

}  // namespace pa
