"""Decoding: what the fields of the API's answers mean, in either vocabulary and whatever their types.

`lenient` reads fields that are not of the documented type, `outputs` puts the results of ``/tasks`` under the
names of ``/v1``, `generations` tells where the tasks of a path are asked about, and `shown` finds the task
that the answer to a create shows.

From outside: all of it, for records, transport and orchestrator alike. Data goes from plain JSON values to
plain JSON values; nothing here raises, waits or knows a task.
"""
