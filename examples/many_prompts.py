"""Make a video of each line of a text file; ended at any time, the same command resumes.

``python3 -m examples.many_prompts PROMPTS [UNITS]``: UNITS is what may be spent, over all runs. Needs
KLING_API_KEY; costs units. ``kling emulator`` prints what to export to try it for nothing.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

from kling_async import Client, v1


def requests(prompts: Path) -> Iterator[v1.TextToVideo]:
    """Read the prompts one by one: the file may be of any length."""
    with prompts.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield v1.TextToVideo(prompt=line.strip(), duration=5)


async def main(prompts: Path, units: float | None = None, folder: str = "out") -> None:
    """Print the estimated cost, then make the videos that earlier runs have not made."""
    journal = prompts.with_suffix(".sqlite")
    async with Client() as client:
        plan = await client.batch(requests(prompts), journal=journal).dry_run()
        left = plan.jobs - plan.done - plan.refused
        print(f"{left} of {plan.jobs} to make, {plan.most.get('video', 0):g} units at most,")
        print(f"about {plan.seconds / 60:.0f} minutes at this account's limit")
        for problem in plan.problems:
            print(problem)

        batch = client.batch(
            requests(prompts),
            journal=journal,
            download_to=folder,
            name="{index}",
            max_units=units,
            retries=1,
        )
        async with batch as results:
            async for outcome in results:
                print(outcome.position, outcome.files[0].name if outcome.ok else outcome.error)
        report = results.report
        print(f"{report.done} videos, {report.failed} failures, {report.units.get('video', 0):g} units")
        if report.advice:
            print(report.advice)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python3 -m examples.many_prompts PROMPTS [UNITS]")
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) == 3 else None))
