"""What the daemons tell of themselves: /healthz, /readyz and /metrics, the lock on their folder."""

import signal

from cluster import HANG, MODELS, UNAVAILABLE, Cluster, Daemon, get, pa, short_folder, wait_for


def coordinator(folder):
    return Daemon("pa-coordinator", folder, f"run_dir={folder}/run", f"journal.folder={folder}/journal")


def worker(folder, *settings):
    return Daemon("pa-worker", folder, f"connect.run_dir={folder}/run", "name=a", f"models={MODELS}", *settings)


def test_a_coordinator_is_ready_while_a_worker_is_live():
    with short_folder() as folder, coordinator(folder) as coordinator_:
        wait_for("a healthy coordinator", lambda: get(coordinator_.url("healthz"))[0] == 200)
        code, why = get(coordinator_.url("readyz"))
        assert (code, why.strip()) == (503, "no live worker with a loaded model")
        with worker(folder) as worker_:
            wait_for("a ready worker", worker_.is_ready)
            wait_for("a ready coordinator", coordinator_.is_ready)
            assert get(worker_.url("healthz"))[0] == 200
        wait_for("a coordinator that misses its worker", lambda: not coordinator_.is_ready())
        assert get(coordinator_.url("healthz"))[0] == 200


def test_a_worker_without_a_coordinator_is_not_ready():
    with short_folder() as folder, worker(folder) as worker_:
        wait_for("a healthy worker", lambda: get(worker_.url("healthz"))[0] == 200)
        code, why = get(worker_.url("readyz"))
        assert code == 503
        assert why.strip()


def test_a_worker_that_is_leaving_is_healthy_and_not_ready():
    with Cluster(["name=a,sim=30ms+10ms"]) as cluster:
        ready, healthy = (cluster.url("a", page) for page in ("readyz", "healthz"))
        assert get(ready)[0] == 200
        run = cluster.start_digits(8)
        wait_for("steps of the worker", lambda: cluster.computing("a"))
        cluster.signal("a", signal.SIGTERM)
        wait_for("a worker that leaves", lambda: get(ready) == (503, "draining\n"))
        assert get(healthy)[0] == 200
        run.result()


def test_a_folder_serves_one_coordinator():
    with short_folder() as folder, coordinator(folder) as first:
        wait_for("a healthy coordinator", lambda: get(first.url("healthz"))[0] == 200)
        with Daemon("pa-coordinator", folder / "run", f"run_dir={folder}/run", 'journal.folder=""') as second:
            assert second.process.wait(HANG) != 0
            assert f"in use by coordinator process {first.process.pid}" in second.log.read_text()
        assert pa("status", "--connect", f"ipc://{folder}/run/client.sock").returncode == 0


def test_daemons_stop_when_told_to():
    with short_folder() as folder, coordinator(folder) as coordinator_, worker(folder) as worker_:
        wait_for("a ready worker", worker_.is_ready)
        for daemon in (worker_, coordinator_):
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.process.wait(HANG) == 0
        answer = pa("status", "--connect", f"ipc://{folder}/run/client.sock")
        assert answer.returncode == UNAVAILABLE


def value(series, name, **labels):
    text = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    return series[f"{name}{{{text}}}" if text else name]


def test_metrics_count_what_was_run():
    with Cluster(["name=a,weight=70", "name=b,weight=30"]) as cluster:
        by_weight = ("--set", "scheduling=static")
        cluster.digits(21, "--steps", 3, *by_weight)
        cluster.digits(10, "--steps", 2, *by_weight)
        assert cluster.pa("sample", "--model", "digits", "--count", 1).returncode == 3
        expected = {"a": (15 + 7, 15 * 3 + 7 * 2), "b": (6 + 3, 6 * 3 + 3 * 2)}
        wait_for("an idle cluster", cluster.idle)
        page = cluster.metrics("coordinator")
        assert value(page, "pa_requests_total", outcome="ok") == 2
        assert value(page, "pa_requests_total", outcome="rejected") == 1
        assert value(page, "pa_batch_items_sum") == 31
        assert value(page, "pa_inflight_requests") == 0
        for name, (samples, steps) in expected.items():
            assert value(page, "pa_worker_state", device=name, state="live") == 1
            assert value(page, "pa_device_assigned_items_total", device=name) == samples
            assert value(page, "pa_device_completed_items_total", device=name) == samples
            assert value(page, "pa_device_completed_steps_total", device=name) == steps
            of_worker = cluster.metrics(name)
            assert value(of_worker, "pa_device_items_total", device=name) == samples
            assert value(of_worker, "pa_device_steps_total", device=name) == steps
            busy = value(of_worker, "pa_device_busy_seconds_total", device=name, phase="compute")
            passes = value(of_worker, "pa_step_duration_seconds_sum", device=name)
            assert 0 < passes <= busy * 1.001
            row = cluster.workers()[name]
            assert (row["samples_done"], row["steps_done"]) == (samples, steps)
        assert value(page, "pa_plan_share_ratio", device="a") == 0.7


def test_metrics_count_what_was_lost():
    with Cluster(["name=a,sim=30ms+10ms", "name=b,sim=30ms+10ms"]) as cluster:
        run = cluster.start_digits(16)
        wait_for("steps of worker a", lambda: cluster.computing("a"))
        cluster.signal("a", signal.SIGKILL)
        run.result()
        page = cluster.metrics("coordinator")
        assert value(page, "pa_chunk_retries_total", reason="lost") >= 1
        done = [value(page, "pa_device_completed_items_total", device=name) for name in ("a", "b")]
        assert sum(done) == 16
