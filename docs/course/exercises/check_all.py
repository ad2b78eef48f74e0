"""Check all exercises in this folder, a line for each function: python check_all.py."""

import runpy
from importlib import import_module
from pathlib import Path

from _checking import Exercise

HERE = Path(__file__).parent


def main():
    """Print the verdict on every function, and how many are right."""
    verdicts = []
    for sheet in sorted(path.stem for path in HERE.glob("_session*.py")):
        parts = vars(import_module(sheet)).values()
        for exercise in (part for part in parts if isinstance(part, Exercise)):
            path = HERE / f"{exercise.name}.py"
            if not path.exists():
                continue
            try:
                answers = exercise.answers(runpy.run_path(str(path)))
            except Exception as error:
                print(f"{exercise.name:22}{type(error).__name__}: {error}")
                verdicts.append(False)
                continue
            for answer in answers:
                print(f"{exercise.name:22}{answer.function}: {answer.verdict}")
                verdicts.append(answer.ok)
    print(f"\n{sum(verdicts)} of {len(verdicts)} functions are right.")


if __name__ == "__main__":
    main()
