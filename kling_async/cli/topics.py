"""Run ``kling help``: what the options of one command do not explain, by topic."""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING, Final

from kling_async.cli.commands import COMMANDS, make_parser
from kling_async.cli.exit_codes import INTERRUPTED, ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from kling_async.cli.commands import LazyParser

__all__ = ["TOPICS", "add_help_arguments", "run_help"]

_JOB_FILES: Final = """\
A jobs file holds one request a line, as JSON (JSONL), or is a CSV file.

  {"endpoint": "text_to_video", "key": "shot-1", "prompt": "a paper boat"}
  {"endpoint": "image_generation", "key": "still-1", "prompt": "a lighthouse"}

  endpoint,key,prompt,duration,camera_control.type
  text_to_video,shot-1,a paper boat,5,

  endpoint   names the endpoint (kling create --help lists them)
  key        names the job in the journal and its files; must be unique;
             default: the position
  others     fields of the request (kling create ENDPOINT --help);
             in CSV nested by dots

Images, sounds and videos are https addresses, Base64, or paths of files below
--allow-files DIR (default: the folder of the jobs file). Every line is checked
before anything is paid; a bad one is named with its number, field and fix.
kling check does only that. Standard input (-) is read to its first bad line.

kling run notes in FILE.journal.sqlite how far each job has come: the same
command goes on after any end, and makes and pays nothing twice. A changed line
is a new job. Standard input and --emulator have no journal without --journal.
kling journal show, export, verify and compact look into it."""

_ENVIRONMENT: Final = """\
The first place that has a setting counts: --env-file, the environment, the
TOML file. Keys count as one setting. They are never taken from the command
line, where every user of the machine could read them.

  KLING_API_KEY         the key from the console
  KLING_ACCESS_KEY, KLING_SECRET_KEY
                        the older kind of key: a pair
  KLING_REGION          global (default) or china
  KLING_BASE_URL        an address, instead of the region
  KLING_LIMITS          slots, where you know better than the packs:
                        video=20,image=9
  KLING_CALLBACK_URL    where the vendor posts changes of tasks
  KLING_WEBHOOK_SECRET, KLING_WEBHOOK_TOKEN
                        for kling listen: the secret of the console, and the
                        last segment of the address
  KLING_FLEET_DSN       for kling fleet: the database; its password belongs into
                        PGPASSWORD or ~/.pgpass
  KLING_CONFIG, KLING_PROFILE
                        as --config and --profile
  KLING_DEBUG=1         as --debug
  NO_COLOR=1            no colours

The TOML file has the same names in small letters without KLING_, and those of
kling_async.Client:

  api_key = "..."
  region = "global"
  limits = { video = 20 }
  [polling]
  min_interval = 2
  [profile.studio]
  api_key = "..."

It lies at {path}
kling settings shows where each setting comes from, without its value."""

_EMULATOR: Final = """\
An emulator plays the vendor on this machine: nothing is sent out, nothing is
paid.

With --emulator a command runs against one of its own, which ends with it: good
for create --wait and for run. wait, get, download and list find no tasks there.
For several commands start one, and name it to the others:

  kling emulator --speed 20
  export KLING_BASE_URL=http://127.0.0.1:... KLING_API_KEY=...  # as it prints

Words in a prompt steer a task: emulator:fail, emulator:refuse,
emulator:seconds=12."""

_REQUESTS: Final = """\
kling create ENDPOINT and kling estimate ENDPOINT have an option for each field
of the request.

  --model-name kling-v3      a field; --model_name is the same
  --sound, --no-sound        a field that is true or false
  --image @start.png         a file; or an https address
  --camera-control.type simple --camera-control.config.zoom 5
                             fields of an object, nested by dots
  --multi-prompt '[{"index": 1, "prompt": "...", "duration": 5}]'
                             a list as JSON; @shots.json reads it from a file;
                             "@start.png" in it is a file where the field
                             takes one
  --extra '{"new_field": 1}' fields that this version does not know

kling create ENDPOINT --help has the fields with their bounds and defaults,
kling models what each model can do. Tasks are written ENDPOINT:ID; under an
API key the ID alone is enough."""


_FLEET: Final = """\
A fleet runs jobs on many machines with one account. Jobs lie in a PostgreSQL
database (14 or newer); a worker on each machine takes them, and all workers
together keep to the account's slots.

  pip install 'kling-async[fleet]'              on each machine
  export KLING_FLEET_DSN=postgresql://me@db.example:5432/kling
  kling fleet init                              once; and after upgrades
  kling fleet submit jobs.jsonl --batch spring  as often as you like
  kling fleet worker --out films                on each machine
  kling fleet status --watch                    what runs where
  kling fleet dashboard                         the same as a page, with charts
  kling fleet results spring --follow           outcomes as they come

The same line of a file is one job, however often it is submitted. A worker may
be killed at any time: what it had is taken over by the others, looked up before
it is sent again, and paid once. SIGTERM or Ctrl-C drain a worker: it takes
nothing new and waits for what runs. kling fleet retry tries failed jobs again,
kling fleet cancel-queued takes back what was not sent.

While the database is away, or cannot be written, all wait for it and say so. Of
several servers the one that can be written is used, also after a failover:
postgresql://me@db1.example,db2.example/kling.

Addresses of results are erased from the database once they were read; workers
with --out store the files. A batch begun by kling run moves into a fleet, with
what ran, what ended, and what was not begun yet:

  kling journal export FILE.journal.sqlite --jobs FILE --with-files |
    kling fleet submit -

The journal is marked as moved before anything is written; kling run refuses it
from then on. Where it lies on another machine than the one that submits, it is
marked there first, by kling journal move, then exported; --moved says so."""

_EXPORT: Final = """\
kling journal export prints a line of JSON for each job, with these fields:

  journal, path, host   the journal's own name, its file, and whose file it is
  identity              the job's name in the journal, and in a fleet
  key, position         the job's key, and its place in the jobs file, from 0
  endpoint, pool, label
  state                 not sent, in doubt, running, files to fetch, done,
                        failed, or missing: the vendor does not know the task
  attempt               how many tasks were made for it before, and failed
  task_id               the vendor's name of the task
  external_task_id      the name that the task was sent with
  units, reserved       units spent, and held for a task that runs
  files                 stored files: name, size in bytes, SHA-256
  error                 why it failed: kind, message, and more as it is known
  planned, created, ended, done
                        when it was sent, accepted, ended and stored: seconds
                        since 1970
  account               names the account, never its key
  request               what is made, only with --jobs; files as paths below
                        the jobs file's folder, as Base64 with --with-files
  moved                 null, or when and where to the jobs have moved
  entry                 all that the journal knows of the job, packed; only for
                        kling fleet submit
  version               of the fields that kling fleet submit reads
  last                  true in the last line alone

With --jobs the jobs of the file come first, in its order, also those that no
run has begun; then those of the journal that the file does not name."""


def _environment() -> str:
    from kling_async.cli.config import default_path  # noqa: PLC0415 - the other topics do without it

    return _ENVIRONMENT.replace("{path}", str(default_path()))


def _exit_codes() -> str:
    lines = [f"  {code.value:<5}{code.meaning}" for code in ExitCode]
    lines.append(f"  {INTERRUPTED:<5}ended by Ctrl-C with nothing to resume, or at once by a second one")
    return "\n".join(lines)


TOPICS: Final[dict[str, tuple[str, Callable[[], str]]]] = {
    "job-files": ("files with many requests", lambda: _JOB_FILES),
    "requests": ("how fields of requests are written as options", lambda: _REQUESTS),
    "environment": ("keys, settings, and where they are looked for", _environment),
    "exit-codes": ("what the exit status says", _exit_codes),
    "emulator": ("trying all without paying", lambda: _EMULATOR),
    "export": ("what kling journal export prints", lambda: _EXPORT),
    "fleet": ("many machines, one account", lambda: _FLEET),
}
"""Topics: a line about each, and the function that returns its text."""


def add_help_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling help``."""
    parser.description = "Explain a topic, or a command."
    parser.add_argument("topic", nargs="*", metavar="TOPIC", help=f"{', '.join(TOPICS)}; or a command")


def run_help(options: argparse.Namespace) -> int:
    """Print a topic, the help of a command, or the list of both."""
    topic = "-".join(options.topic)
    if not topic:
        print("topics:")
        for name, (line, _) in TOPICS.items():
            print(f"  {name:<16}{line}")
        print("\ncommands:")
        for name, command in COMMANDS.items():
            print(f"  {name:<16}{command.summary}")
        return ExitCode.DONE
    if topic in TOPICS:
        print(TOPICS[topic][1]())
        return ExitCode.DONE
    if options.topic[0] in COMMANDS:
        make_parser().parse_args([*options.topic, "--help"])
    known = [*TOPICS, *COMMANDS]
    close = [name for name in known if topic in name] or difflib.get_close_matches(topic, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"topics are {', '.join(TOPICS)}"
    print(f"kling: no topic {topic!r}; {hint}", file=sys.stderr)
    return ExitCode.USAGE
