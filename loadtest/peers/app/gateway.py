# SPDX-License-Identifier: Apache-2.0
"""The peer's gateway: FastAPI in front of Celery, with the calls that the load generators make.

Publishing is done in whichever way measured faster. Waiting for a result costs no thread: Celery's Redis backend
announces results on a channel per job, which is listened to. Bodies are checked by the type of their members alone, and
not by a model of every number. JSON is ujson's, the fastest that Debian has.
"""

import asyncio
import os
from typing import Optional

import redis.asyncio as redis
import ujson
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import UJSONResponse

import tasks

app = FastAPI()
results = redis.from_url(os.environ["FLEET_REDIS_URL"])


async def submit(task, *arguments):
    if tasks.STYLE == "careful":  # it waits for the broker's answer
        job = await run_in_threadpool(task.apply_async, arguments)
    else:  # it writes to a socket, and the thread pool would only add to that
        job = task.apply_async(arguments)
    return UJSONResponse({"id": job.id, "state": "pending"}, 202)


@app.post("/matrix_multiplication")
async def multiply(request: Request):
    try:
        operands = ujson.loads(await request.body())
        a, b = operands["A"], operands["B"]
    except (ValueError, KeyError, TypeError):
        raise HTTPException(400, 'a JSON object with the matrices "A" and "B" is expected') from None
    if not all(isinstance(matrix, list) and matrix and isinstance(matrix[0], list) for matrix in (a, b)):
        raise HTTPException(400, "a matrix is a list of rows")
    if len(a[0]) != len(b):
        raise HTTPException(400, "the columns of A are not as many as the rows of B")
    return await submit(tasks.multiply, a, b)


@app.put("/enqueue")
async def enqueue(request: Request, iterations: int = Query(1, ge=1)):
    return await submit(tasks.chain, tasks.packed(await request.body()), iterations)


@app.post("/jobs/spin")
async def spin(seconds: float = Query(gt=0)):
    return await submit(tasks.spin, seconds)


@app.get("/jobs/{job}")
async def record(job: str, wait: float = 0):
    ended = await ended_job(job, wait)
    return UJSONResponse({"id": job, "state": state_of(ended)})


@app.get("/jobs/{job}/result")
async def result(job: str, wait: float = 0):
    ended = await ended_job(job, wait)
    if state_of(ended) != "completed":
        raise HTTPException(409, f"the job is {state_of(ended)}")
    return UJSONResponse(ended["result"])


@app.get("/stats")
async def stats():
    """Results have a database of their own: each key is a job that has ended."""
    return UJSONResponse({"jobs": {"completed": await results.dbsize()}})


@app.get("/readyz")
async def ready():
    await results.ping()
    return UJSONResponse({"status": "ready"})


def state_of(ended: Optional[dict]):
    """A job that Celery has no result of may wait, run, be lost, or never have been."""
    if ended is None:
        return "pending"
    return "completed" if ended["status"] == "SUCCESS" else "failed"


async def ended_job(job: str, wait: float):
    """What Celery wrote about its end, or None when it has not come within the time to wait."""
    key = f"celery-task-meta-{job}"
    text = await results.get(key)
    if text is None and wait > 0:
        text = await announced(key, wait)
    return tasks.read_result(text) if text else None


async def announced(key: str, wait: float):
    end = asyncio.get_running_loop().time() + wait
    text = None
    while text is None and (left := end - asyncio.get_running_loop().time()) > 0:
        try:
            text = await next_news(key, left)
        except redis.ConnectionError:  # Redis cuts off who is told more than 32 MB at once; it is there to be fetched
            await asyncio.sleep(0.05)
            text = await results.get(key)
    return text


async def next_news(key: str, wait: float):
    """What is announced, or was while we began to listen; None when something else came, or nothing."""
    async with results.pubsub(ignore_subscribe_messages=True) as news:
        await news.subscribe(key)
        await news.get_message(timeout=wait)  # the server's word that it listens
        text = await results.get(key)
        if text is None:
            message = await news.get_message(timeout=wait)
            text = message["data"] if message else None
    return text
