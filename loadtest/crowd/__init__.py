# SPDX-License-Identifier: Apache-2.0
"""The load test behind ./run bench load: its clients, when they come, what they send, and what is drawn of it."""
