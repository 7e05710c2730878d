# SPDX-License-Identifier: Apache-2.0
"""The system that most people build for this today, for ./run bench peers: FastAPI, Celery, RabbitMQ, Redis."""
