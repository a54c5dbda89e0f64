import os

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that reaches for the hub is wrong, and should say so at once

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from muki_stages import terminal
from tests import tiny

FIRST = ("tests/stages", "tests/test_door.py", "tests/pipeline/test_api.py")
"""End to end: what a user does."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files come first, so that no process is left with one of them at the end; then end-to-end tests."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, not item.nodeid.startswith(FIRST)))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny models are slower on more threads."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that runs the command line with --quiet or --json silences no other one."""
    for name in ("_quiet", "_as_json"):
        monkeypatch.setattr(terminal, name, False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """params.yaml of a project with two tiny teachers and a corpus of 30 texts."""
    return tiny.save_project(tmp_path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster: a head and two nodes with a core each."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=40)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """A server that speaks S3, with one bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}".replace("0.0.0.0", "127.0.0.1")
    keys = {"aws_access_key_id": "test-key", "aws_secret_access_key": "not-a-real-secret"}
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys).create_bucket(Bucket="tables")
    yield endpoint
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh prefix in a bucket; the environment says how to reach it, as it would in earnest."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-real-secret")
    return f"s3://tables/{uuid.uuid4().hex}"
