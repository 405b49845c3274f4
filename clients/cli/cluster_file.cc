#include "clients/cli/cluster_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "shared/io/descriptor.h"

namespace pa::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string file_in(const std::string& state) { return state + "/cluster.json"; }

Json json_of(const ClusterFile::Process& process) {
  Json object = Json::object();
  if (!process.name.empty()) object["name"] = process.name;
  if (!process.device.empty()) object["device"] = process.device;
  object["pid"] = process.pid;
  object["metrics"] = process.metrics;
  object["log"] = process.log;
  return object;
}

ClusterFile::Process process_of(const Json& object) {
  return {object.value("name", ""), object.value("device", ""),
          object.value("pid", std::int64_t{0}), object.value("metrics", ""),
          object.value("log", "")};
}

}  // namespace

std::string state_directory(const Where& where) {
  if (!where.state.empty()) {
    std::error_code error;
    const auto path = std::filesystem::absolute(where.state, error).lexically_normal();
    const std::string text = error ? where.state : path.string();
    return text.size() > 1 && text.back() == '/' ? text.substr(0, text.size() - 1) : text;
  }
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') return std::string(runtime) + "/parallelanything";
  return "/tmp/parallelanything-" + std::to_string(::getuid());
}

Status write_cluster_file(const std::string& state, const ClusterFile& cluster) {
  Json workers = Json::array();
  for (const auto& worker : cluster.workers) workers.push_back(json_of(worker));
  const Json document = {{"client", cluster.client},
                         {"control", cluster.control},
                         {"data", cluster.data},
                         {"pid", cluster.pid},
                         {"coordinator", json_of(cluster.coordinator)},
                         {"workers", workers}};
  const std::string text = document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  const std::string part = file_in(state) + ".part";
  const Descriptor file(::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const bool written = file.get() >= 0 && ::write(file.get(), text.data(), text.size()) ==
                                              static_cast<ssize_t>(text.size());
  if (!written || ::rename(part.c_str(), file_in(state).c_str()) != 0) {
    return internal(file_in(state) + ": cannot be written: " + std::strerror(errno));
  }
  return {};
}

Result<ClusterFile> read_cluster_file(const std::string& state) {
  std::ifstream file(file_in(state));
  if (!file) return unavailable(file_in(state) + ": " + std::strerror(errno));
  std::ostringstream text;
  text << file.rdbuf();
  try {
    const Json document = Json::parse(text.str());
    ClusterFile cluster;
    cluster.client = document.at("client");
    cluster.control = document.at("control");
    cluster.data = document.at("data");
    cluster.pid = document.at("pid");
    cluster.coordinator = process_of(document.at("coordinator"));
    for (const Json& worker : document.at("workers")) cluster.workers.push_back(process_of(worker));
    return cluster;
  } catch (const std::exception& error) {
    return internal(file_in(state) + ": " + error.what());
  }
}

void remove_cluster_file(const std::string& state) { (void)::unlink(file_in(state).c_str()); }

Result<std::string> find_endpoint(const Where& where) {
  if (!where.connect.empty()) return where.connect;
  const std::string state = state_directory(where);
  const Result<ClusterFile> cluster = read_cluster_file(state);
  if (cluster.ok()) return cluster->client;
  if (cluster.error().code != Code::kUnavailable) return cluster.error();
  return unavailable(
      "no cluster is known: start one with `pa up`, or name one with --connect or --state (looked "
      "in " +
      state + ")");
}

Result<std::unique_ptr<Client>> connect_to(const Where& where, ClientOptions options) {
  PA_ASSIGN(const std::string endpoint, find_endpoint(where));
  options.keys = where.keys;
  return Client::connect(endpoint, std::move(options));
}

}  // namespace pa::cli
