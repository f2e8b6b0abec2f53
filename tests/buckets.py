"""An S3 of our own on loopback, and buckets in it that tests fill and look into, past the code under test."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "hush-hush", "AWS_DEFAULT_REGION": "us-east-1"}
SILENT = {"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_EC2_METADATA_DISABLED": "true"}


def client_of(address: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


class ObjectStore:
    """An S3 server in a thread of this process."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.environment = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", **CREDENTIALS, **SILENT}
        self.client = client_of(self.environment["AWS_ENDPOINT_URL"])

    def stop(self) -> None:
        self._server.stop()


class Bucket:
    """One bucket of the server."""

    def __init__(self, client: Any, environment: dict[str, str], name: str) -> None:
        self._client = client
        self.environment = environment
        self.name = name

    @classmethod
    def create(cls, store: ObjectStore, name: str) -> Bucket:
        store.client.create_bucket(Bucket=name)
        return cls(store.client, store.environment, name)

    @classmethod
    def of_environment(cls, name: str) -> Bucket:
        """A bucket of a server in another process."""
        return cls(client_of(os.environ["AWS_ENDPOINT_URL"]), dict(os.environ), name)

    def address(self, key: str = "") -> str:
        return f"s3://{self.name}/{key}" if key else f"s3://{self.name}"

    def write(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=data)

    def upload(self, folder: Path, prefix: str) -> str:
        """Write every file below a folder; give the address of the prefix."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.write(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return self.address(prefix)

    def contents(self, prefix: str = "") -> dict[str, bytes]:
        """Every object below a prefix by its name there."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {
            key.removeprefix(prefix).lstrip("/"): self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
            for key in keys
        }

    def written(self, prefix: str = "") -> dict[str, object]:
        """When each object below a prefix was written, by its whole key."""
        answer = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return {item["Key"]: item["LastModified"] for item in answer.get("Contents", ())}

    def digest(self, key: str) -> str | None:
        """What the metadata of an object say of its bytes."""
        return self._client.head_object(Bucket=self.name, Key=key)["Metadata"].get("sha256")

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.name, Key=key)
