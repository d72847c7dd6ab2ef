"""Judging of requests: which fields, files and combinations the API accepts, by its published reference.

One of the two lowest storeys: it imports nothing of the emulator outside this folder. From outside:
`reference.REFERENCE` (the facts), `judge.judge_body` and `judge.judge_query` (each field alone),
`rules.table.check_rules` (fields against each other and against the model), `refusals.Refusal` (the one
exception), and the readers of file headers in `media`, `pixels` and `sounds`; for the second generation
`second` (the facts) and `contents` (the judgement). A parsed JSON body goes in; the fields that are set come
out, or a `Refusal` with the API's code and message is raised. There is no state. reference.json is package
data, written by ``python -m tests.make_reference``, and reference_v2.json by ``python -m
tests.make_reference_v2``.
"""
