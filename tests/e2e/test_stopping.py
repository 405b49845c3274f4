"""`pa up` stops everything that it started, in order, and says what went wrong if something did."""

import signal

import pytest

from cluster import DONE, INTERNAL, INVALID, USAGE, Cluster, is_running, pa, short_folder, wait_for


def check_gone(cluster, pids):
    assert not any(map(is_running, pids))
    assert not (cluster.state / "cluster.json").exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left(how):
    with Cluster(2) as cluster:
        pids = cluster.pids()
        assert all(map(is_running, pids))
        assert cluster.stop(how) == DONE
        check_gone(cluster, pids)
        assert cluster.log.read_text().endswith("\nstopped\n")


def test_workers_finish_what_they_have():
    with Cluster(["name=a,sim=30ms+10ms", "name=b,sim=30ms+10ms"]) as cluster:
        pids = cluster.pids()
        run = cluster.start_digits(16)
        for name in cluster.names():
            wait_for(f"steps of worker {name}", lambda: cluster.computing(name))
        assert cluster.stop() == DONE
        check_gone(cluster, pids)
        assert sum(run.result().shares().values()) == 16


def test_nothing_outlives_a_killed_supervisor():
    with Cluster(2) as cluster:
        pids = cluster.pids()
        cluster.process.kill()
        cluster.process.wait()
        for pid in pids:
            wait_for("the end of a process", lambda: not is_running(pid))


def test_a_state_directory_serves_again():
    with short_folder() as folder:
        for _ in range(2):
            with Cluster(1, state=folder / "s") as cluster:
                assert cluster.digits(1, "--steps", 1).values.shape == (1, 1, 8, 8)
                cluster.process.kill()


def test_a_state_directory_serves_one_cluster_at_a_time():
    with Cluster(1) as cluster:
        answer = pa("up", "--state", cluster.state)
        assert answer.returncode not in (DONE, INTERNAL)
        assert str(cluster.state) in answer.stderr
        assert str(cluster.process.pid) in answer.stderr
        assert cluster.digits(1, "--steps", 1).values.shape == (1, 1, 8, 8)


def test_a_worker_that_never_starts_is_given_up(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.yaml").write_text("family: flx\n")
    with short_folder() as folder:
        answer = pa("up", "--models", tmp_path, "--state", folder / "s")
    assert answer.returncode == INTERNAL
    assert "broken/model.yaml:1:9: family: expected" in answer.stdout
    assert "no worker stays up" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--models", "/nowhere"], INVALID, "--models: /nowhere: No such file or directory"),
        (["--workers", "0"], USAGE, "--workers"),
        (["--worker", "nam=a"], USAGE, "expected one of name, device, weight and sim"),
        (["--worker", "name=a", "--worker", "name=a"], USAGE, "two workers are called 'a'"),
        (["--worker", "sim=fast"], USAGE, "expected FIXED+PER_ROW"),
    ],
)
def test_what_cannot_be_started_is_said(arguments, code, expected):
    with short_folder() as folder:
        answer = pa("up", *arguments, "--state", folder / "s")
    assert answer.returncode == code
    assert expected in answer.stderr
