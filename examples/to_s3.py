"""Make a video and copy it to S3, or to any storage that speaks its protocol; nothing is stored here.

``python3 -m examples.to_s3 BUCKET``. Needs ``pip install aiobotocore``, the storage's usual environment
variables (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_DEFAULT_REGION``, for other storage
``AWS_ENDPOINT_URL``) and KLING_API_KEY; costs units. ``kling emulator`` prints what to export to try it for
nothing.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from aiobotocore.session import get_session

from kling_async import Client, FileStream, v1

PART = 8 * 1024**2
"""Bytes of a part; S3 takes no smaller ones than 5 MiB, except as the last."""


async def parts_of(file: FileStream) -> AsyncIterator[bytes]:
    """Collect the chunks of a stream into parts of one size; the last may be shorter."""
    part = bytearray()
    async for chunk in file:
        part += chunk
        while len(part) >= PART:
            yield bytes(part[:PART])
            del part[:PART]
    if part:
        yield bytes(part)


async def copy(file: FileStream, s3: Any, bucket: str, key: str) -> None:
    """Upload a file in parts: the object appears once the stream has ended well, or not at all."""
    at = {"Bucket": bucket, "Key": key}
    at["UploadId"] = (await s3.create_multipart_upload(**at, ContentType=file.content_type))["UploadId"]
    done: list[dict[str, Any]] = []
    try:
        async for part in parts_of(file):
            sent = await s3.upload_part(**at, PartNumber=len(done) + 1, Body=part)
            done.append({"PartNumber": len(done) + 1, "ETag": sent["ETag"]})
        await s3.complete_multipart_upload(**at, MultipartUpload={"Parts": done})
    except BaseException:  # also when cancelled: storage bills parts that nobody completes
        await s3.abort_multipart_upload(**at)
        raise


async def main(bucket: str) -> None:
    """Submit a request and copy its video, under the task's id, as it comes."""
    async with Client() as client, get_session().create_client("s3") as s3:
        task = await client.submit(v1.TextToVideo(prompt="A rabbit reads the newspaper", duration=5))
        print("accepted:", task.id)
        async with task.stream() as file:  # waits for the task and for the file's first bytes
            key = f"{task.id}{file.suffix}"
            print("copying:", file.length, "bytes of", file.content_type)
            await copy(file, s3, bucket, key)
        print("stored:", f"s3://{bucket}/{key}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m examples.to_s3 BUCKET")
    asyncio.run(main(sys.argv[1]))
