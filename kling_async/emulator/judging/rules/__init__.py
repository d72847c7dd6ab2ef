"""Rules between the fields of a request: one module per family of endpoints, collected in `table`.

Only `table` is for use from outside (and `speech.CUT_MS`, the shortest cut of a sound). A rule is a
function of the body: it gets the fields that are set, each judged alone already, and raises `Refusal`.
"""
